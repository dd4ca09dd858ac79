#!/bin/sh
# Boots one host of the lab: runs as the first process of new mount, uts, ipc and pid namespaces, in the host's
# network namespace and control group, and becomes the host's tini.
# Environment: LAB_HOST, LAB_IMAGE (the disk), LAB_MOUNT (an empty directory), LAB_SEED (files of the first boot),
# LAB_PROGRAM (the lab's own program), LAB_LOCK, LAB_HIDE (paths of the machine that the host must not see),
# LAB_DISCARD (files that healing removes before anything starts), LAB_SERVER (the directory of a database server that
# the machine has not installed), LAB_ABSENT (programs of the machine that the host does not have).
set -eu
mount --make-rprivate /
# The disk may have failed or lost its power.
e2fsck -p "$LAB_IMAGE" >/dev/null || [ $? -le 2 ] || e2fsck -f -y "$LAB_IMAGE" >/dev/null || [ $? -le 2 ]
# Several hosts looking for a free loop device at once take each other's.
flock "$LAB_LOCK" mount -t ext4 -o loop,noatime,errors=remount-ro "$LAB_IMAGE" "$LAB_MOUNT"
cd "$LAB_MOUNT"

if [ ! -e seeded ]; then
    mkdir -p upper work root
    for path in $LAB_HIDE; do
        mkdir -p "upper$(dirname "$path")"
        mknod "upper$path" c 0 0
    done
fi
for path in $LAB_DISCARD; do rm -f "upper$path"; done
mount -t overlay overlay -o "lowerdir=/,upperdir=$LAB_MOUNT/upper,workdir=$LAB_MOUNT/work" root
if [ ! -e seeded ]; then
    # A directory made where something was hidden starts out empty.
    for path in $LAB_HIDE; do mkdir -p "root$path"; done
    chmod 1777 root/var/tmp
    for path in $LAB_ABSENT; do rm -f "root$path"; done
    cp -a --remove-destination "$LAB_SEED/." root/
    touch seeded
    # What was installed long ago would survive a failing disk.
    sync -f .
fi

mount -t proc proc root/proc
mount -t sysfs -o ro sysfs root/sys
mount -t tmpfs -o mode=755,size=64m tmpfs root/run
mount -t tmpfs -o mode=1777,size=64m tmpfs root/tmp
mount -t tmpfs -o mode=755,size=1m tmpfs root/dev
mkdir root/dev/pts root/dev/shm root/run/sshd root/run/lock root/run/lab root/run/sudo
chmod 711 root/run/sudo
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts root/dev/pts
mount -t tmpfs -o mode=1777,size=64m tmpfs root/dev/shm
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "root/dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 root/dev/tty c 5 0
ln -s pts/ptmx root/dev/ptmx
ln -s /proc/self/fd root/dev/fd
ln -s /proc/self/fd/0 root/dev/stdin
ln -s /proc/self/fd/1 root/dev/stdout
ln -s /proc/self/fd/2 root/dev/stderr
if [ -d mysql ]; then
    mkdir -p root/var/lib/mysql
    mount --bind mysql root/var/lib/mysql
    install -d -o mysql -g root root/run/mysqld
fi
if [ -n "$LAB_SERVER" ]; then
    mkdir -p "root$LAB_SERVER"
    mount --bind "$LAB_SERVER" "root$LAB_SERVER"
    mount -o remount,bind,ro "root$LAB_SERVER"
fi
touch root/usr/local/bin/mmm-lab
mount --bind "$LAB_PROGRAM" root/usr/local/bin/mmm-lab
hostname "$LAB_HOST"

cd root
mkdir -p .machine
pivot_root . .machine
cd /
umount -l /.machine
rmdir /.machine
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    tini -- mmm-lab serve-host
