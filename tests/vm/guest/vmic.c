/* vmic: a virtual USB Audio Class 1 microphone, in user space of the guest.
 *
 * It makes a socket pair, hands one end to vhci-hcd of the kernel (USB/IP) through sysfs, and answers
 * USB requests on the other. The kernel sees a real USB device: enumeration, snd-usb-audio, isochronous
 * transfers, uevents. When this process ends, for any reason, the kernel sees an unplug. It knows
 * nothing about the program that records from it.
 *
 *   vmic [-p PORT] [-f HZ] [-s SERIAL] [-n NAME] [-t STATISTICS_FILE]
 *        -p  port of the virtual hub, 0 to 7 (default 0: USB path 1-1; port 1: 1-2)
 *        -f  frequency of the sine it hears, a whole number of Hz (default 440)
 *        -s  serial number (default: none, as cheap microphones have none)
 *        -n  product name
 *        -t  one line per second: the time of the plug (seconds since boot), and the deliveries since the
 *            stream began
 *
 *   SIGUSR1  toggles a hang: it stays plugged in and delivers nothing
 *   SIGALRM  a hang that ends when the stream is opened again, as with most hung microphones
 *   SIGUSR2  toggles digital silence
 *   SIGHUP   toggles an error on every packet (-EPROTO)
 *   SIGTERM, SIGINT  unplug
 *
 * If the host asks late, it delivers the missed sound, up to 2 s, so that a slow emulator causes no holes
 * that a real microphone would not cause. The protocol is in Documentation/usb/usbip_protocol.rst of the
 * kernel; the descriptors are those of USB Audio Class 1.0.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CMD_SUBMIT = 1, CMD_UNLINK = 2, RET_SUBMIT = 3, RET_UNLINK = 4 };
enum { HEADER_BYTES = 48, MAX_REQUESTS = 64, MAX_PACKETS = 128, ISO_BYTES = 16 };
enum { RATE = 48000, PACKET_BYTES = (RATE / 1000 + 1) * 2, BATCH = 8 };
enum { CATCH_UP_MS = 2000, STRING_MAKER = 1, STRING_PRODUCT = 2, STRING_SERIAL = 3 };
#define MS 1000000LL
#define SECOND 1000000000LL

/* A request for isochronous packets, one per millisecond, and when the last of them has been heard. */
struct request {
	uint32_t sequence;
	int packets;
	int64_t due_ns;
	uint32_t offset[MAX_PACKETS], length[MAX_PACKETS];
};

static int port, frequency = 440, wire = -1;
static const char *product = "USB PnP Sound Device", *serial = "", *statistics_file;
static volatile sig_atomic_t hangs, hangs_until_opened, is_mute, is_bad, must_end;

static struct request queue[MAX_REQUESTS]; /* oldest first */
static int queued;
static int64_t heard_until_ns; /* the end of the last packet asked for; 0: no stream yet */
static uint64_t sample_no;
static int16_t sine[RATE];
static int configuration, alternate[2], feature_mute, feature_volume;
static int64_t plugged_ns;
static long delivered_packets, dry_ms_max, lost_ms;

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SECOND + now.tv_nsec;
}

static void on_signal(int number)
{
	if (number == SIGUSR1) hangs = !hangs;
	else if (number == SIGALRM) hangs_until_opened = 1;
	else if (number == SIGUSR2) is_mute = !is_mute;
	else if (number == SIGHUP) is_bad = !is_bad;
	else must_end = 1;
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htonl(value);
	memcpy(at, &value, 4);
}

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;
	memcpy(&value, at, 4);
	return ntohl(value);
}

/* ---- the wire: buffered both ways, one system call for many requests or answers ---- */

static uint8_t in[1 << 16], out[1 << 18];
static size_t in_at, in_end, out_end;

static int flush_out(void)
{
	for (size_t at = 0; at < out_end;) {
		ssize_t sent = send(wire, out + at, out_end - at, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR && !must_end) continue;
		if (sent <= 0) return -1;
		at += sent;
	}
	out_end = 0;
	return 0;
}

static int put(const void *bytes, size_t size)
{
	if (out_end + size > sizeof out && flush_out()) return -1;
	memcpy(out + out_end, bytes, size);
	out_end += size;
	return 0;
}

static int take(void *to, size_t size)
{
	for (uint8_t *at = to; size > 0;) {
		if (in_at == in_end) {
			ssize_t got = recv(wire, in, sizeof in, 0);
			if (got < 0 && errno == EINTR && !must_end) continue;
			if (got <= 0) return -1;
			in_at = 0;
			in_end = got;
		}
		size_t some = in_end - in_at < size ? in_end - in_at : size;
		memcpy(at, in + in_at, some);
		at += some;
		in_at += some;
		size -= some;
	}
	return 0;
}

/* ---- descriptors ---- */

static const uint8_t configuration_descriptor[] = {
	9, 2, 109, 0, 2, 1, 0, 0x80, 50,                      /* 109 bytes, 2 interfaces, 100 mA */
	9, 4, 0, 0, 0, 1, 1, 0, 0,                            /* interface 0: audio control */
	9, 0x24, 1, 0, 1, 39, 0, 1, 1,
	12, 0x24, 2, 1, 0x01, 0x02, 0, 1, 0, 0, 0, 0,         /* input terminal: a microphone, mono */
	9, 0x24, 6, 2, 1, 1, 3, 0, 0,                         /* feature unit: mute, volume */
	9, 0x24, 3, 3, 0x01, 0x01, 0, 2, 0,                   /* output terminal: USB streaming */
	9, 4, 1, 0, 0, 1, 2, 0, 0,                            /* interface 1: streaming, nothing yet */
	9, 4, 1, 1, 1, 1, 2, 0, 0,                            /* the same with an endpoint */
	7, 0x24, 1, 3, 1, 1, 0,
	11, 0x24, 2, 1, 1, 2, 16, 1, RATE & 255, RATE >> 8, 0, /* PCM, mono, 16 bits, one rate */
	9, 5, 0x81, 0x05, PACKET_BYTES, 0, 1, 0, 0,           /* isochronous IN, asynchronous, 1 ms */
	7, 0x25, 1, 0, 0, 0, 0,
};

static int device_descriptor(uint8_t *to)
{
	const uint8_t bytes[18] = { 18, 1, 0x10, 1, 0, 0, 0, 64, 0x8c, 0x0d, 0x14, 0x00, 0, 1,
		STRING_MAKER, STRING_PRODUCT, *serial ? STRING_SERIAL : 0, 1 };
	memcpy(to, bytes, sizeof bytes);
	return sizeof bytes;
}

static int string_descriptor(int index, uint8_t *to)
{
	const char *text = index == STRING_MAKER ? "C-Media Electronics Inc." :
		index == STRING_PRODUCT ? product : index == STRING_SERIAL ? serial : "";
	if (index == 0) {
		memcpy(to, (uint8_t[]){ 4, 3, 9, 4 }, 4); /* languages: English */
		return 4;
	}
	if (!*text) return -1;
	int size = 2;
	for (; *text && size < 254; text++) {
		to[size++] = *text;
		to[size++] = 0;
	}
	to[0] = size;
	to[1] = 3;
	return size;
}

/* ---- control requests: each returns the length of the answer, or -1 for a stall ---- */

static int little16(uint8_t *to, int value)
{
	to[0] = value & 255;
	to[1] = (value >> 8) & 255;
	return 2;
}

static int standard_request(int request, int value, int index, uint8_t *data)
{
	switch (request) {
	case 0: return little16(data, 0);                     /* GET_STATUS */
	case 1: case 3: case 5: return 0;                     /* features, address: handled by the kernel */
	case 6:                                               /* GET_DESCRIPTOR */
		if (value >> 8 == 1) return device_descriptor(data);
		if (value >> 8 == 3) return string_descriptor(value & 255, data);
		if (value >> 8 != 2) return -1;
		memcpy(data, configuration_descriptor, sizeof configuration_descriptor);
		return sizeof configuration_descriptor;
	case 8: data[0] = configuration; return 1;
	case 9: configuration = value; return 0;
	case 10: data[0] = alternate[index & 1]; return 1;
	case 11:                                              /* SET_INTERFACE: starts or stops the stream */
		if (index > 1) return -1;
		alternate[index] = value;
		if (index == 1 && value == 1) hangs_until_opened = 0;
		if (index == 1) heard_until_ns = delivered_packets = dry_ms_max = lost_ms = 0;
		return 0;
	}
	return -1;
}

static int feature_request(int request, int control, uint8_t *data)
{
	if (control == 1 && request == 0x01) { feature_mute = data[0]; return 0; }
	if (control == 1 && request == 0x81) { data[0] = feature_mute; return 1; }
	if (control != 2) return -1;
	switch (request) {
	case 0x01: feature_volume = (int16_t)(data[0] | data[1] << 8); return 0;
	case 0x81: return little16(data, feature_volume);
	case 0x82: return little16(data, -16 * 256);          /* minimum, in 1/256 dB */
	case 0x83: return little16(data, 0);
	case 0x84: return little16(data, 256);
	}
	return -1;
}

static int control(const uint8_t *setup, uint8_t *data)
{
	int type = setup[0], request = setup[1];
	int value = setup[2] | setup[3] << 8, index = setup[4] | setup[5] << 8;
	if ((type & 0x60) == 0) return standard_request(request, value, index, data);
	if ((type & 0x1f) == 1 && index >> 8 == 2) return feature_request(request, value >> 8, data);
	if ((type & 0x1f) == 2 && (index & 255) == 0x81 && request == 0x81) { /* which rate? */
		little16(data, RATE & 0xffff);
		data[2] = RATE >> 16;
		return 3;
	}
	return (type & 0x1f) == 2 && request == 0x01 ? 0 : -1; /* one rate: setting it changes nothing */
}

/* ---- answers ---- */

static int answer_control(uint32_t sequence, int status, const uint8_t *data, int sent, int length)
{
	uint8_t header[HEADER_BYTES] = { 0 };
	put32(header, RET_SUBMIT);
	put32(header + 4, sequence);
	put32(header + 20, status);
	put32(header + 24, length);
	return put(header, sizeof header) || put(data, sent);
}

static void hear(uint8_t *to, int samples)
{
	int factor = is_mute || feature_mute ? 0 : lrint(pow(10, feature_volume / 256.0 / 20) * 4096);
	for (int i = 0; i < samples; i++) to += little16(to, sine[sample_no++ % RATE] * factor >> 12);
}

static int answer_packets(const struct request *request)
{
	static uint8_t bytes[HEADER_BYTES + MAX_PACKETS * (PACKET_BYTES + ISO_BYTES)];
	uint8_t *data = bytes + HEADER_BYTES;
	int length = RATE / 1000 * 2, total = 0, errors = 0;
	memset(bytes, 0, HEADER_BYTES);
	for (int i = 0; i < request->packets; i++) {
		if (is_bad) {
			errors++;
			sample_no += RATE / 1000;
			continue;
		}
		hear(data + total, RATE / 1000);
		total += length;
	}
	uint8_t *iso = data + total;
	for (int i = 0; i < request->packets; i++, iso += ISO_BYTES) {
		put32(iso, request->offset[i]);
		put32(iso + 4, request->length[i]);
		put32(iso + 8, errors ? 0 : length);
		put32(iso + 12, errors ? -EPROTO : 0);
	}
	put32(bytes, RET_SUBMIT);
	put32(bytes + 4, request->sequence);
	put32(bytes + 24, total);
	put32(bytes + 32, request->packets);
	put32(bytes + 36, errors);
	delivered_packets += request->packets;
	return put(bytes, iso - bytes);
}

static int unlink_request(uint32_t sequence, uint32_t victim)
{
	uint8_t header[HEADER_BYTES] = { 0 };
	put32(header, RET_UNLINK);
	put32(header + 4, sequence);
	for (int i = 0; i < queued; i++) {
		if (queue[i].sequence != victim) continue;
		memmove(queue + i, queue + i + 1, (--queued - i) * sizeof *queue);
		put32(header + 20, -ECONNRESET);
		break;
	}
	return put(header, sizeof header);
}

static int queue_packets(uint32_t sequence, int packets)
{
	uint8_t iso[MAX_PACKETS * ISO_BYTES];
	if (packets <= 0 || packets > MAX_PACKETS || queued == MAX_REQUESTS) return -1;
	if (take(iso, packets * ISO_BYTES)) return -1;
	struct request *request = &queue[queued++];
	request->sequence = sequence;
	request->packets = packets;
	for (int i = 0; i < packets; i++) {
		request->offset[i] = get32(iso + i * ISO_BYTES);
		request->length[i] = get32(iso + i * ISO_BYTES + 4);
	}
	int64_t now = now_ns();
	if (heard_until_ns == 0) heard_until_ns = now;
	long dry_ms = now > heard_until_ns ? (now - heard_until_ns) / MS : 0;
	if (dry_ms > dry_ms_max) dry_ms_max = dry_ms;
	if (dry_ms > CATCH_UP_MS) {
		lost_ms += dry_ms;
		sample_no += (uint64_t)dry_ms * (RATE / 1000);
		heard_until_ns += dry_ms * MS;
	}
	heard_until_ns += packets * MS;
	request->due_ns = heard_until_ns;
	return 0;
}

/* Handles one message of the kernel; -1 ends the program. */
static int handle_message(void)
{
	uint8_t header[HEADER_BYTES], data[65536] = { 0 };
	if (take(header, sizeof header)) return -1;
	uint32_t command = get32(header), sequence = get32(header + 4);
	int is_in = get32(header + 12), endpoint = get32(header + 16), length = get32(header + 24);
	if (command == CMD_UNLINK) return unlink_request(sequence, get32(header + 20));
	if (command != CMD_SUBMIT || length < 0 || length > (int)sizeof data) return -1;
	if (endpoint == 1 && is_in) return queue_packets(sequence, get32(header + 32));
	if (endpoint != 0) return -1;
	if (!is_in && take(data, length)) return -1;
	int answer = control(header + 40, data);
	if (answer < 0) return answer_control(sequence, -EPIPE, data, 0, 0);
	if (!is_in) return answer_control(sequence, 0, data, 0, length);
	if (answer > length) answer = length;
	return answer_control(sequence, 0, data, answer, answer);
}

/* ---- the program ---- */

static int plug_in(void)
{
	int ends[2];
	char line[64];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) return -1;
	/* port, socket, device id (any), speed: 2 is full speed */
	snprintf(line, sizeof line, "%d %d %u 2", port, ends[1], 0x10002u + port);
	plugged_ns = now_ns();
	int attach = open("/sys/devices/platform/vhci_hcd.0/attach", O_WRONLY);
	if (attach < 0 || write(attach, line, strlen(line)) < 0) return -1;
	close(attach);
	close(ends[1]);
	wire = ends[0];
	return 0;
}

static void write_statistics(void)
{
	FILE *file = statistics_file ? fopen(statistics_file, "w") : NULL;
	if (!file) return;
	fprintf(file, "plugged=%.3f stream=%d packets=%ld queued=%d dry_ms_max=%ld lost_ms=%ld\n",
		plugged_ns / 1e9, alternate[1], delivered_packets, queued, dry_ms_max, lost_ms);
	fclose(file);
}

static int serve(void)
{
	for (int64_t statistics_ns = 0; !must_end;) {
		int64_t now = now_ns(), wait_ns = SECOND;
		for (; queued && !hangs && !hangs_until_opened && queue[0].due_ns <= now; queued--) {
			if (answer_packets(queue)) return -1;
			memmove(queue, queue + 1, (queued - 1) * sizeof *queue);
		}
		if (now >= statistics_ns) {
			statistics_ns = now + SECOND;
			write_statistics();
		}
		if (flush_out()) return -1;
		if (queued && !hangs && !hangs_until_opened) {
			wait_ns = queue[queued < BATCH ? queued - 1 : BATCH - 1].due_ns - now;
			if (wait_ns < 0) wait_ns = 0;
		}
		struct timespec wait = { wait_ns / SECOND, wait_ns % SECOND };
		struct pollfd readable = { .fd = wire, .events = POLLIN };
		int ready = ppoll(&readable, 1, &wait, NULL);
		if (ready < 0 && errno != EINTR) return -1;
		if (ready <= 0) continue;
		do if (handle_message()) return -1; while (in_at < in_end);
		if (flush_out()) return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	for (int option; (option = getopt(argc, argv, "p:f:s:n:t:")) != -1;) {
		if (option == 'p') port = atoi(optarg);
		else if (option == 'f') frequency = atoi(optarg);
		else if (option == 's') serial = optarg;
		else if (option == 'n') product = optarg;
		else if (option == 't') statistics_file = optarg;
		else return 2;
	}
	for (int i = 0; i < RATE; i++)
		sine[i] = lrint(16384 * sin(2 * M_PI * ((long long)frequency * i % RATE) / RATE));
	struct sigaction action = { .sa_handler = on_signal };
	const int signals[] = { SIGUSR1, SIGALRM, SIGUSR2, SIGHUP, SIGTERM, SIGINT };
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);

	_Static_assert(sizeof configuration_descriptor == 109, "it says so itself");
	/* Hardware does not wait for the scheduler. */
	struct sched_param realtime = { .sched_priority = 50 };
	if (sched_setscheduler(0, SCHED_FIFO, &realtime)) perror("vmic: no real-time priority");
	mlockall(MCL_CURRENT | MCL_FUTURE);
	if (plug_in()) {
		perror("vmic: cannot be plugged in (is vhci-hcd loaded and the port free?)");
		return 1;
	}
	fprintf(stderr, "plugged into port %d\n", port);
	serve();
	fprintf(stderr, "unplugged (%s)\n", must_end ? "asked to" : "by the kernel");
	return 0;
}
