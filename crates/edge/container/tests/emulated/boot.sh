#!/bin/sh
# Boots Debian's kernel under emulation, with unified control groups and nothing else, runs a test program in it
# and prints what it prints.
#   boot.sh PROGRAM FOLDER      FOLDER keeps the kernel for the next time
set -eu
program=$1 folder=$2
mkdir -p "$folder"
cd "$folder"

missing=
command -v qemu-system-x86_64 >/dev/null || missing="$missing qemu-system-x86"
command -v cpio >/dev/null || missing="$missing cpio"
[ -x /bin/busybox ] && ! ldd /bin/busybox >/dev/null 2>&1 || missing="$missing busybox-static"
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

rm -rf root
mkdir -p root/bin root/proc root/sys root/dev root/tmp root/etc root/root
add() {
    cp -L "$1" "root/bin/$2"
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
add "$program" program
echo 'root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/sh' >root/etc/passwd
echo 'root:x:0:
nogroup:x:65534:' >root/etc/group
# What this kernel has as a module.
module=$(find kernel -name 'overlay.ko*' | head -n 1)
case "$module" in
*.xz) xz -dc "$module" >root/overlay.ko ;;
?*) cp "$module" root/overlay.ko ;;
esac
cat >root/init <<'INIT'
#!/bin/sh
export PATH=/bin HOME=/root TMPDIR=/tmp EMULATED=1
# The first root, in which every system starts, is the only one that no process can leave for another.
if [ ! -e /moved ]; then
    mount -t proc proc /proc
    insmod /overlay.ko
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
mkdir -p /dev/pts
mount -t devpts pts /dev/pts
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
# The screen was cleared in this line.
echo
program
echo "emulated: status $?"
poweroff -f
INIT
chmod +x root/init
(cd root && find . | cpio --quiet -o -H newc | gzip -1) >initrd.gz
timeout 900 qemu-system-x86_64 -accel tcg -cpu max -m 1024 -smp 1 -nographic -no-reboot -net none \
    -kernel kernel/boot/vmlinuz-* -initrd initrd.gz -append 'console=ttyS0 quiet panic=-1' </dev/null
