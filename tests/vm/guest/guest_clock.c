/* guest_clock: the time daemon of the guest. It sets the clock and its synchronized state in the kernel
 * (adjtimex), which timedatectl reads. It never uses the network.
 *
 *   guest_clock boot             reads vm.clock=UNIX_SECONDS,synced|unsynced from the command line of the
 *                                kernel: the time at power-on
 *   guest_clock step SECONDS     adds this (may be negative) and keeps the state
 *   guest_clock synced|unsynced  sets the state
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>
#include <time.h>

static int set_synced(int synced)
{
	struct timex timex = { .modes = ADJ_STATUS | ADJ_MAXERROR | ADJ_ESTERROR };
	timex.status = synced ? 0 : STA_UNSYNC;
	timex.maxerror = timex.esterror = synced ? 1000 : 16000000;
	return adjtimex(&timex) < 0 ? -1 : 0;
}

static int step(double seconds)
{
	struct timespec now;
	if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
	long long ns = now.tv_sec * 1000000000LL + now.tv_nsec + (long long)(seconds * 1e9);
	now.tv_sec = ns / 1000000000LL;
	now.tv_nsec = ns % 1000000000LL;
	return clock_settime(CLOCK_REALTIME, &now);
}

static int boot(void)
{
	char line[4096] = "", word[16] = "";
	double unix_seconds;
	FILE *file = fopen("/proc/cmdline", "r");
	if (!file || !fgets(line, sizeof line, file)) return -1;
	fclose(file);
	const char *at = strstr(line, "vm.clock=");
	if (!at || sscanf(at, "vm.clock=%lf,%15[a-z]", &unix_seconds, word) != 2) return -1;
	struct timespec now, up;
	if (clock_gettime(CLOCK_REALTIME, &now) || clock_gettime(CLOCK_BOOTTIME, &up)) return -1;
	double wanted = unix_seconds + up.tv_sec + up.tv_nsec / 1e9;
	if (step(wanted - now.tv_sec - now.tv_nsec / 1e9)) return -1;
	return set_synced(!strcmp(word, "synced"));
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int failed = -1;
	if (!strcmp(what, "boot")) failed = boot();
	else if (!strcmp(what, "step") && argc > 2) failed = step(atof(argv[2]));
	else if (!strcmp(what, "synced")) failed = set_synced(1);
	else if (!strcmp(what, "unsynced")) failed = set_synced(0);
	else fprintf(stderr, "usage: guest_clock boot | step SECONDS | synced | unsynced\n");
	if (failed) perror("guest_clock");
	return failed ? 1 : 0;
}
