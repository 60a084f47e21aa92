#!/bin/sh
# Boots Debian's kernel under emulation, with control groups of one version and nothing of the other, runs a test
# program in it and prints what it prints.
#   boot.sh PROGRAM FOLDER v1|v2 [WORD...]      FOLDER keeps the kernel for the next time; the words are for the program
set -eu
program=$1 folder=$2 version=$3
shift 3
mkdir -p "$folder"
cd "$folder"

missing=
command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
command -v cpio >/dev/null || missing="$missing cpio"
[ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 || missing="$missing busybox-static"
[ -x /usr/lib/cni/bridge ] || missing="$missing containernetworking-plugins"
[ -x /usr/sbin/xtables-nft-multi ] || missing="$missing iptables"
command -v mkfs.ext4 >/dev/null || missing="$missing e2fsprogs"
command -v mkfs.xfs >/dev/null || missing="$missing xfsprogs"
[ -x /usr/bin/crun ] || missing="$missing crun"
[ -x /usr/sbin/runc ] || missing="$missing runc"
if [ -n "$missing" ]; then
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends $missing >&2
fi
if ! ls kernel/boot/vmlinuz-* >/dev/null 2>&1; then
    package() { apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\)$/\1/p'; }
    [ -n "$(package)" ] || apt-get update -qq >&2
    apt-get download -q "$(package)" >&2
    dpkg -x linux-image-*.deb kernel
    rm -f linux-image-*.deb
fi

if ! [ -x apparmor/sbin/apparmor_parser ]; then
    # Only its compiler of profiles; this host goes on without them.
    apt-get download -q apparmor >&2
    dpkg -x apparmor_*.deb apparmor
    rm -f apparmor_*.deb
fi

rm -rf root
mkdir -p root/bin root/proc root/sys root/dev root/tmp root/etc root/root
add() {
    cp -L "$1" "root/bin/$2"
    libraries "$1"
}
libraries() {
    for library in $(ldd "$1" | grep -o '/[^ ]*'); do
        mkdir -p "root$(dirname "$library")"
        cp -L "$library" "root$library"
    done
}
cp /bin/busybox root/bin/busybox
for name in $(root/bin/busybox --list); do
    [ "$name" = busybox ] || ln -sf busybox "root/bin/$name"
done
# A shell that runs programs by their names, and a program that busybox lacks.
rm -f root/bin/sh
add /bin/dash sh
add "$(command -v nice)" nice
# Debian's smallest perl, for sockets that busybox makes none of.
add "$(command -v perl)" perl
for folder in /usr/lib/*/perl-base; do
    mkdir -p "root$folder"
    cp -a "$folder/." "root$folder"
done
add "$program" program
add apparmor/sbin/apparmor_parser apparmor_parser
cat >root/etc/mezzo-test.profile <<'PROFILE'
profile mezzo-test flags=(attach_disconnected,mediate_deleted) {
  file,
  capability,
  network,
  mount,
  remount,
  umount,
  pivot_root,
  signal,
  ptrace,
  unix,
  deny /forbidden rwklx,
}
PROFILE
# Networks of containers: Debian's plugins, and what the one that maps ports runs.
mkdir -p root/usr/lib/cni root/usr/sbin
for name in bridge host-local loopback portmap; do
    cp "/usr/lib/cni/$name" root/usr/lib/cni/
    libraries "/usr/lib/cni/$name"
done
cp -L /usr/sbin/xtables-nft-multi root/usr/sbin/
libraries /usr/sbin/xtables-nft-multi
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -s xtables-nft-multi "root/usr/sbin/$name"
done
for extensions in /usr/lib/*/xtables; do
    mkdir -p "root$extensions"
    cp "$extensions"/*.so "root$extensions/"
done
# Other runtimes, where their packages have them.
mkdir -p root/usr/bin
for runtime in /usr/bin/crun /usr/sbin/runc; do
    cp -L "$runtime" "root$runtime"
    libraries "$runtime"
done
add "$(command -v mkfs.ext4)" mkfs.ext4
add "$(command -v mkfs.xfs)" mkfs.xfs
echo 'root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh' >root/etc/passwd
echo 'root:x:0:
nogroup:x:65534:' >root/etc/group
# What containers get of their host, or get their own in the place of.
echo '127.0.0.1 localhost' >root/etc/hosts
echo emulated >root/etc/hostname
: >root/etc/resolv.conf
# What this kernel has as modules, with what those need.
wanted="overlay bridge veth nf_tables nft_compat nft_chain_nat xt_nat xt_MASQUERADE xt_mark xt_comment xt_conntrack \
    xt_addrtype xt_multiport xt_tcpudp loop xfs quota_v2"
modules=$(basename kernel/lib/modules/*)
[ -s "kernel/lib/modules/$modules/modules.dep" ] || root/bin/busybox depmod -b "$PWD/kernel" "$modules"
for name in $wanted; do
    grep "/$name\.ko[^:]*:" "kernel/lib/modules/$modules/modules.dep" | tr -d : | tr ' ' '\n'
done | sort -u | while read -r file; do
    mkdir -p "root/lib/modules/$modules/$(dirname "$file")"
    cp "kernel/lib/modules/$modules/$file" "root/lib/modules/$modules/$file"
    case "$file" in *.xz) xz -d "root/lib/modules/$modules/$file" ;; esac
done
root/bin/busybox depmod -b "$PWD/root" "$modules"
echo "version=$version wanted='$wanted' words='$*'" >root/etc/machine
cat >root/init <<'INIT'
#!/bin/sh
export PATH=/bin:/usr/sbin HOME=/root TMPDIR=/tmp EMULATED=1
# The first root, in which every system starts, is the only one that no process can leave for another.
if [ ! -e /moved ]; then
    mount -t proc proc /proc
    . /etc/machine
    for name in $wanted; do modprobe "$name"; done
    umount /proc
    mkdir /own
    mount -t tmpfs own /own
    for name in bin etc lib lib64 root usr tmp proc sys dev init; do
        [ -e "/$name" ] && cp -a "/$name" /own/
    done
    : >/own/moved
    exec switch_root /own /init
fi
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
. /etc/machine
if [ "$version" = v2 ]; then
    mount -t cgroup2 cgroup /sys/fs/cgroup
else
    mount -t tmpfs cgroup /sys/fs/cgroup
    for controllers in cpu,cpuacct cpuset memory pids devices blkio freezer; do
        mkdir "/sys/fs/cgroup/$controllers"
        mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
    done
    ln -s cpu,cpuacct /sys/fs/cgroup/cpu
    ln -s cpu,cpuacct /sys/fs/cgroup/cpuacct
fi
ip link set lo up
mount -t securityfs security /sys/kernel/security
apparmor_parser --skip-cache --quiet --replace /etc/mezzo-test.profile
# The screen was cleared in this line.
echo
program $words
echo "emulated: status $?"
poweroff -f
INIT
chmod +x root/init
(cd root && find . | cpio --quiet -o -H newc | gzip -1) >initrd.gz
timeout 1800 qemu-system-x86_64 -accel tcg -cpu max -m 1024 -smp 1 -nographic -no-reboot -net none \
    -kernel kernel/boot/vmlinuz-* -initrd initrd.gz -append 'console=ttyS0 quiet panic=-1' </dev/null
