#!/bin/sh
# Builds the guest for the scenarios: unmodified Debian 12 or 13, its own kernel with snd-usb-audio, systemd, and
# the virtual microphone. It does not contain recorder-agent: each run installs that.
#
#   build_image.sh 12|13 amd64|arm64 FOLDER   as root, on Debian; see docs/testing.md for the packages it needs
#
# Writes rootfs.ext4, vmlinuz, initrd.img and key (ssh) to FOLDER. Downloads stay in FOLDER/build, so
# that a second build takes seconds.
set -eu

case $1 in
  12) suite=bookworm ;;
  13) suite=trixie ;;
  *) echo "Cannot build Debian $1: only 12 and 13 are known" >&2; exit 64 ;;
esac
arch=$2
images=$3
here=$(cd "$(dirname "$0")" && pwd)
host_arch=$(dpkg --print-architecture)
build=$images/build
root=$build/root
packages=systemd-sysv,udev,kmod,dbus,iproute2,procps,openssh-server,alsa-utils,ffmpeg,curl,e2fsprogs,cryptsetup-bin
# The mirror that this machine uses.
mirror=$(sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\).*/\2/p' \
  /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null |
  grep -v security | head -n 1)

say() { echo "$(date +%T) $*"; }

# Programs of the guest run on this machine during the setup of its packages.
register_arm64() {
  [ "$arch" = arm64 ] && [ "$host_arch" != arm64 ] || return 0
  misc=/proc/sys/fs/binfmt_misc
  # Another image may be built at this moment: what it has done in between fails here, and is as good.
  [ -e $misc/register ] || mount -t binfmt_misc binfmt_misc $misc || [ -e $misc/register ]
  [ -e $misc/qemu-aarch64 ] || printf '%s' \
    ':qemu-aarch64:M::\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:/usr/bin/qemu-aarch64-static:F' \
    >$misc/register || [ -e $misc/qemu-aarch64 ]
}

install_debian() {
  [ "$(cat "$build/.installed" 2>/dev/null)" != "$suite $packages" ] || return 0
  say "installing Debian $suite for $arch"
  # An installation that failed leaves /proc mounted, and nothing there may be deleted.
  for dir in proc sys; do
    if mountpoint -q "$root/$dir"; then umount -R "$root/$dir"; fi
  done
  rm -rf --one-file-system "$root"
  mkdir -p "$build/packages"
  debootstrap --variant=minbase --arch="$arch" --cache-dir="$build/packages" \
    --include="$packages" "$suite" "$root" "$mirror" >"$build/debootstrap.log" 2>&1
  echo "$suite $packages" >"$build/.installed"
}

# The kernel is unpacked, not installed: no initramfs-tools, no boot loader.
fetch_kernel() {
  [ ! -e "$build/.kernel" ] || return 0
  apt=$build/apt
  mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial"
  : >"$apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
    >"$apt/sources.list"
  cat >"$apt/apt.conf" <<END
Dir::Etc::sourcelist "$apt/sources.list"; Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null"; Dir::State "$apt/state"; Dir::Cache "$apt/cache";
Dir::State::status "$apt/status"; APT::Architecture "$arch"; APT::Architectures { "$arch"; };
APT::Sandbox::User "root";
END
  export APT_CONFIG="$apt/apt.conf"
  apt-get -qq update
  kernel=$(apt-cache depends "linux-image-$arch" |
    awk '/Depends: linux-image-[0-9]/ { sub(":.*", "", $2); print $2; exit }')
  say "kernel $kernel"
  (cd "$apt" && rm -f ./*.deb && apt-get -qq download "$kernel" busybox-static)
  unset APT_CONFIG
  rm -rf "$build/kernel" "$build/busybox"
  dpkg-deb -x "$apt"/linux-image-*.deb "$build/kernel"
  dpkg-deb -x "$apt"/busybox-static*.deb "$build/busybox"
  touch "$build/.kernel"
}

install_kernel() {
  modules=$build/kernel/lib/modules
  [ -e "$modules" ] || modules=$build/kernel/usr/lib/modules # since Debian 13
  version=$(ls "$modules")
  cp "$build/kernel/boot/vmlinuz-$version" "$images/vmlinuz"
  rm -rf "$root/lib/modules"
  mkdir -p "$root/lib/modules"
  cp -a "$modules/$version" "$root/lib/modules/"
  # Hardware that no guest here has; snd-usb-audio needs drivers/media/mc.
  (cd "$root/lib/modules/$version/kernel" &&
    rm -rf drivers/gpu drivers/infiniband drivers/scsi drivers/staging drivers/iio drivers/isdn \
      drivers/net/wireless drivers/net/ethernet fs/xfs fs/btrfs fs/ocfs2 fs/nfsd fs/gfs2 sound/soc &&
    find drivers/media -mindepth 1 -maxdepth 1 ! -name mc -exec rm -rf {} +)
  depmod -b "$root" "$version"
}

# Everything that does not concern this rig stays as in Debian.
configure() {
  [ -e "$images/key" ] || ssh-keygen -q -t ed25519 -N '' -f "$images/key"
  echo rig >"$root/etc/hostname"
  # 10.0.2.100 leads to the ingest server of the tests, the only reachable address.
  printf '127.0.0.1 localhost rig\n10.0.2.100 ingest.test\n' >"$root/etc/hosts"
  echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
  printf '/dev/vda / ext4 rw,noatime 0 1\nshare /share 9p trans=virtio,version=9p2000.L,msize=262144,nofail,x-systemd.device-timeout=5 0 0\n' \
    >"$root/etc/fstab"
  mkdir -p "$root/share" "$root/root/.ssh" "$root/etc/systemd/journald.conf.d" "$root/etc/modules-load.d"
  cp "$images/key.pub" "$root/root/.ssh/authorized_keys"
  chmod -R go= "$root/root/.ssh"
  printf 'PermitRootLogin prohibit-password\nUseDNS no\nUsePAM no\nPrintMotd no\n' \
    >"$root/etc/ssh/sshd_config.d/rig.conf"
  printf '[Match]\nName=eth*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' \
    >"$root/etc/systemd/network/10-qemu.network"
  printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\n' >"$root/etc/systemd/journald.conf.d/rig.conf"
  echo vhci-hcd >"$root/etc/modules-load.d/vhci.conf"
  # No periodic job may run during a measurement.
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    e2scrub_reap.service fstrim.timer systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  cp "$here"/guest/*.service "$root/etc/systemd/system/"
  chroot "$root" systemctl -q enable systemd-networkd.service guest-clock.service
}

compile_tools() {
  cc=gcc
  [ "$arch" = "$host_arch" ] || cc=aarch64-linux-gnu-gcc
  for tool in vmic guest_clock; do
    $cc -O2 -Wall -Wextra -Werror -static -o "$root/usr/local/bin/$tool" "$here/guest/$tool.c" -lm
  done
}

# The kernel of Debian has the disk and its file system as modules: the initrd has to load them.
make_initrd() {
  initrd=$build/initrd
  rm -rf "$initrd"
  mkdir -p "$initrd/bin" "$initrd/dev" "$initrd/proc" "$initrd/sys" "$initrd/newroot" "$initrd/modules"
  cp "$build"/busybox/bin/busybox "$initrd/bin/busybox" 2>/dev/null ||
    cp "$build/busybox/usr/bin/busybox" "$initrd/bin/busybox" # since Debian 13
  ln -s busybox "$initrd/bin/sh"
  for module in virtio_pci virtio_blk ext4 crc32c_generic; do
    modprobe -d "$root" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++' | while read -r file; do
    name=$(basename "$file" .xz)
    case $file in # Debian 13 compresses them
      *.xz) xz -dc "$file" >"$initrd/modules/$name" ;;
      *) cp "$file" "$initrd/modules/" ;;
    esac
    echo "$name" >>"$initrd/modules/order"
  done
  cat >"$initrd/init" <<'END'
#!/bin/sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for module in $($b cat /modules/order); do $b insmod "/modules/$module"; done
tries=0
while [ ! -b /dev/vda ] && [ $tries -lt 200 ]; do $b sleep 0.05; tries=$((tries + 1)); done
# After a power cut the mount replays the journal.
$b mount -t ext4 -o rw,noatime /dev/vda /newroot || exec sh
$b umount /proc /sys
$b mount -o move /dev /newroot/dev
exec $b switch_root /newroot /sbin/init
END
  chmod 755 "$initrd/init"
  (cd "$initrd" && find . | cpio -o -H newc --quiet | gzip -1) >"$images/initrd.img"
}

make_disk() {
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
  rm -f "$images/rootfs.ext4"
  mke2fs -q -t ext4 -d "$root" "$images/rootfs.ext4" 4G
}

mkdir -p "$build"
register_arm64
install_debian
fetch_kernel
install_kernel
configure
compile_tools
make_initrd
make_disk
say "built $images: Debian $1, $(du -h "$images/rootfs.ext4" | cut -f1) on disk, kernel $version"
