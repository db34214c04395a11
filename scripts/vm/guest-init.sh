#!/bin/busybox sh
# First process of the virtual machine. Builds a root out of the host's own (shared read-only by 9p) and a tmpfs, mounts
# what a machine under systemd has, runs /command in it and powers off.
export PATH=/bin
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module"; done < /modules/order

# The ports appear a moment after their driver.
. /options
output='' exit_port='' report_port=''
until [ -c "$output" ] && [ -c "$exit_port" ] && [ -c "$report_port" ]; do
  for port in /sys/class/virtio-ports/*; do
    case $(cat "$port/name") in
      ns.output) output=/dev/${port##*/} ;;
      ns.exit) exit_port=/dev/${port##*/} ;;
      ns.report) report_port=/dev/${port##*/} ;;
    esac
  done
  usleep 20000
done
fail() {
  echo "$1"
  reboot -f
}
exec > "$output" 2>&1

mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host || fail 'the root of the host cannot be mounted'
mount -t tmpfs -o mode=755 scratch /scratch
mkdir -p /scratch/upper /scratch/work
mount -t overlay -o lowerdir=/host,upperdir=/scratch/upper,workdir=/scratch/work overlay /root || fail 'the overlay cannot be mounted'

for place in tmp run var/tmp; do mkdir -p "/root/$place"; mount -t tmpfs -o mode=1777 tmpfs "/root/$place"; done
chmod 755 /root/run
# A checkout in one of these places would be gone.
if [ ! -d "/root$CHECKOUT" ]; then
  mkdir -p "/root$CHECKOUT" /scratch/checkout /scratch/checkout-work
  mount -t overlay -o "lowerdir=/host$CHECKOUT,upperdir=/scratch/checkout,workdir=/scratch/checkout-work" overlay "/root$CHECKOUT"
fi
mkdir -p /root/proc /root/sys /root/dev
mount --move /dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm /root/dev/mqueue
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /root/dev/shm
mount -t mqueue mqueue /root/dev/mqueue
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t securityfs securityfs /root/sys/kernel/security
mount -t bpf bpf /root/sys/fs/bpf
case $CGROUPS in
  v2) mount -t cgroup2 -o nsdelegate cgroup2 /root/sys/fs/cgroup ;;
  v1)
    mount -t tmpfs -o mode=755 tmpfs /root/sys/fs/cgroup
    sed -n 's/^\([a-z_]*\)\t.*\t1$/\1/p' /proc/cgroups | while read -r controller; do
      mkdir "/root/sys/fs/cgroup/$controller"
      mount -t cgroup -o "$controller" cgroup "/root/sys/fs/cgroup/$controller"
    done ;;
esac
ln -sf "$report_port" /root/dev/ns-report
ln -sf /proc/self/fd /root/dev/fd
ln -sf /proc/self/fd/0 /root/dev/stdin
ln -sf /proc/self/fd/1 /root/dev/stdout
ln -sf /proc/self/fd/2 /root/dev/stderr
# What udev makes of the list of modules: opening one of these loads its module.
mkdir -p /root/dev/net
while read -r name minor; do
  [ -c "/root/dev/$name" ] || mknod -m 666 "/root/dev/$name" c 10 "$minor"
done <<END
net/tun 200
fuse 229
btrfs-control 234
loop-control 237
END
# A real disk: overlay upper directories and io limits need more than tmpfs.
[ -b /root/dev/vda ] && mount -t ext4 /root/dev/vda /root/var/tmp && chmod 1777 /root/var/tmp

# The kernel loads further modules by running /sbin/modprobe inside the new root.
mkdir -p /root/lib/modules
ln -sfn "$(cat /modules/source)" "/root/lib/modules/$(uname -r)"
rm -f /root/sbin/modprobe
printf '#!/bin/busybox sh\nexec /bin/busybox modprobe "$@"\n' > /root/sbin/modprobe
chmod 755 /root/sbin/modprobe
ip link set lo up
hostname ns-vm

cp /command /root/run/command
cat > /root/run/main <<END
/bin/sh /run/command
echo \$? > $exit_port
/bin/busybox sync
/bin/busybox reboot -f
END
# Not chroot: pivot_root(2), which the tests do, refuses to leave the initramfs.
[ "$INIT" = sh ] && exec switch_root /root /bin/sh /run/main

# A machine under systemd that starts its message bus, its login manager and the tests, and nothing else of the host's.
mkdir -p /root/run/systemd/system
cat > /root/run/systemd/system/ns-test.service <<END
[Unit]
Requires=dbus.socket systemd-logind.service
After=dbus.socket systemd-logind.service
[Service]
Type=oneshot
ExecStart=/bin/sh /run/main
StandardOutput=file:$output
StandardError=inherit
TimeoutStartSec=infinity
END
exec switch_root /root /lib/systemd/systemd --unit=ns-test.service
