# Tries what a process in the sandbox of the unit may and may not do, and prints a line for each attempt:
# "name=allowed" or "name=" and the error. It never changes anything outside of its own folders.
use strict;
use warnings;
use Socket;
use POSIX ();

my $state = $ENV{STATE_DIRECTORY} =~ s/:.*//r;
my $spool = $ENV{STATE_DIRECTORY} =~ s/.*://r;
my $arm = (POSIX::uname())[4] eq 'aarch64';

sub say_result { my ($name, $ok) = @_; print "$name=", ($ok ? 'allowed' : "$!"), "\n" }

# A copy of a harmless program, started from this path.
sub starts {
  my ($name, $path) = @_;
  open(my $from, '<:raw', '/usr/bin/true') or die "true: $!";
  local $/;
  my $bytes = <$from>;
  open(my $to, '>:raw', $path) or return say_result($name, 0);
  print $to $bytes;
  close $to;
  chmod 0700, $path;
  my $code = system { $path } $path;
  say_result($name, $code == 0);
  unlink $path;
}

sub binds {
  my ($name, $family, $type, $address) = @_;
  socket(my $socket, $family, $type, 0) or return say_result($name, 0);
  say_result($name, bind($socket, $address));
}

sub opens {
  my ($name, $mode, $path) = @_;
  say_result($name, open(my $file, $mode, $path));
}

sub calls {
  my ($name, $x86, $aarch64, @args) = @_;
  $! = 0;
  say_result($name, syscall($arm ? $aarch64 : $x86, @args) == 0);
}

starts('program beside the spool', "$state/probe");
starts('program in the spool', "$spool/probe");
starts('program in RuntimeDirectory', "$ENV{RUNTIME_DIRECTORY}/probe");
starts("program in $_", "$_/probe") for qw(/tmp /var/tmp /dev/shm);
say_result('program of the system', system('/usr/bin/true') == 0);

binds('TCP port on 127.0.0.1', PF_INET, SOCK_STREAM, pack_sockaddr_in(8099, INADDR_LOOPBACK));
binds('TCP port on ::1', PF_INET6, SOCK_STREAM, Socket::pack_sockaddr_in6(8099, Socket::IN6ADDR_LOOPBACK));
binds('UDP port', PF_INET, SOCK_DGRAM, pack_sockaddr_in(8099, INADDR_LOOPBACK));
say_result('packet socket', socket(my $packet, 17, 3, 0));
say_result('netlink socket of udev', socket(my $netlink, 16, 3, 15));

opens('the microphone', '+<', glob('/dev/snd/controlC*') // '/dev/snd/controlC0');
opens('the disk', '<', '/dev/vda');
opens('/dev/null', '+<', '/dev/null');
opens('a file in the spool', '>', "$state/probe");
opens('a file in /etc', '>', '/etc/probe');
opens('a file in /usr', '>', '/usr/local/lib/probe');
opens('the token', '<', '/etc/recorder-agent/token');
say_result('the home of root', opendir(my $home, '/root'));

calls('a user namespace', 272, 97, 0x10000000);
calls('a mount', 165, 40, my $none = "none", my $tmp = "/tmp", my $type = "tmpfs", 0, 0);
calls('ptrace', 101, 117, 0, 0, 0, 0);
calls('a keyring', 250, 219, 0, 0, 0, 0, 0);
calls('io_uring', 425, 425, 1, 0);
calls('another priority limit', 160, 164, 13, my $limit = pack('QQ', 1, 1));
chmod 0700, "$state/probe";
say_result('a setuid file', chmod(04755, "$state/probe"));
unlink "$state/probe";

opendir(my $proc, '/proc') or die "/proc: $!";
my @others = grep { /^\d+$/ && (stat "/proc/$_")[4] != $> } readdir $proc;
$! = POSIX::ENOENT();
say_result('processes of others', scalar @others);
