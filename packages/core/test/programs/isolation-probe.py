"""What a process in a sandbox can see and do, as one JSON object on stdout: {check: observation}.

Runs inside the sandbox, as `python3 -I -c SOURCE OPTIONS STATUS`, where SOURCE is this file and isolation-attempts.py,
STATUS is /proc/self/status of a process that is not Python: the interpreter changes its own signal dispositions, and
OPTIONS is JSON:
  all     attempts that change the machine where they succeed are made too
  baits   things of the host that must be out of reach: see isolation-probe.ts
It only observes; isolation-probe.ts says what is right.
"""

import ctypes
import errno
import fcntl
import itertools
import json
import mmap
import os
import platform
import re
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys

OPTIONS, STATUS = json.loads(sys.argv[1]), sys.argv[2]
BAITS = OPTIONS['baits']
libc = ctypes.CDLL(None, use_errno=True)
report = {}


def name_of(number):
    return errno.errorcode.get(number, str(number))


def outcome(action):
    """'ok', the errno name, or the signal that an attempt ends with; in a process of its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            result = action()
            text = 'ok' if result is None else str(result)
        except OSError as error:
            text = name_of(error.errno)
        except (ValueError, subprocess.SubprocessError) as error:  # how the resource module reports EPERM
            text = str(error)
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    _, status = os.waitpid(pid, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else text


def check(name, action):
    report[name] = outcome(action)


def see(name, look):
    try:
        report[name] = look()
    except OSError as error:
        report[name] = name_of(error.errno)


def raw(number, *args):
    words = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise OSError(ctypes.get_errno(), '')
    return None


def opening(path, flags):
    def action():
        os.close(os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK))
    return action


def read(path):
    with open(path, errors='replace') as file:
        return file.read(1 << 20)  # kcore has terabytes


def listing(path):
    return sorted(os.listdir(path))


# --- namespaces and processes

for kind in listing('/proc/self/ns'):
    see(f'namespace {kind}', lambda: os.readlink(f'/proc/self/ns/{kind}'))
see('pid 1', lambda: read('/proc/1/comm').strip())
see('processes', lambda: [read(f'/proc/{pid}/comm').strip() for pid in listing('/proc') if pid.isdigit()])
see('pid', os.getpid)
see('parent', os.getppid)
see('session leader', lambda: os.getsid(0) == os.getpid())
see('group leader', lambda: os.getpgid(0) == os.getpid())
see('NSpid levels', lambda: len([line for line in STATUS.splitlines() if line.startswith('NSpid')][0].split()) - 1)
see('hostname', socket.gethostname)
see('domainname', lambda: read('/proc/sys/kernel/domainname').strip())
see('uid_map', lambda: read('/proc/self/uid_map').split())
see('setgroups', lambda: read('/proc/self/setgroups').strip())
see('cgroup', lambda: sorted({line.split(':', 2)[2] for line in read('/proc/self/cgroup').splitlines()}))
see('cgroup mounts', lambda: [line for line in read('/proc/mounts').splitlines() if 'cgroup' in line])
see('/sys/fs/cgroup', lambda: listing('/sys/fs/cgroup'))
see('SysV shared memory', lambda: len(read('/proc/sysvipc/shm').splitlines()) - 1)
check('signal pid 1 to death', lambda: os.kill(1, signal.SIGKILL))
check('processes beyond pid 1', lambda: os.kill(-1, 0))

# --- things of the host


def connecting(address):
    def action():
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            client.connect(address)
    return action


check('reach an abstract socket of the host', connecting(BAITS['abstractSocket']))
check('reach a socket file of the host', connecting(BAITS['socket']))
check('write into a named pipe of the host', opening(BAITS['pipe'], os.O_WRONLY))
see('list /dev/shm', lambda: listing('/dev/shm'))
see('list /dev/mqueue', lambda: listing('/dev/mqueue'))

# --- mounts and files


def mounts():
    """{target: (type, attributes that restrict or differ from the default, propagation)}"""
    result = {}
    for line in read('/proc/self/mountinfo').splitlines():
        fields = line.split(' ')
        separator = fields.index('-')
        result[fields[4]] = fields[separator + 1], fields[5].split(','), fields[6:separator]
    return result


for target, (kind, attributes, propagation) in mounts().items():
    report[f'mount {target}'] = ' '.join([kind, *sorted({*attributes} & {'ro', 'nosuid', 'nodev', 'noexec'})])
see('mounts that share events', lambda: [target for target, (_, _, propagation) in mounts().items() if propagation])
see('mounts that may hold devices', lambda: sorted(target for target, (_, attributes, _) in mounts().items() if 'nodev' not in attributes))
see('/', lambda: listing('/'))
for path in ('/root', '/home', '/run', '/var/spool/cron', '/etc/ssl/private', '/etc/sudoers.d'):
    see(f'list {path}', lambda: listing(path))
for path in ('/etc/shadow', '/etc/gshadow', '/etc/shadow-', '/etc/ssh/ssh_host_rsa_key', '/etc/ssh/ssh_host_ed25519_key',
             '/run/docker.sock', '/var/run/docker.sock', '/run/systemd/private', '/proc/kcore', '/dev/mem', '/dev/port',
             '/dev/kmsg', '/dev/fuse', '/dev/kvm', '/dev/vda', '/dev/sda', '/dev/loop0', '/dev/console', '/dev/hpet'):
    see(f'exists {path}', lambda: os.path.lexists(path))
for path in ('/etc/shadow', '/etc/gshadow', '/proc/keys', '/proc/timer_list', '/proc/interrupts', '/proc/latency_stats', '/proc/sched_debug', '/proc/kcore'):
    see(f'read {path}', lambda: read(path))
for path in ('/sys/kernel/debug', '/sys/kernel/tracing', '/sys/kernel/security', '/sys/kernel/config', '/sys/fs/bpf',
             '/sys/fs/pstore', '/sys/fs/fuse/connections', '/sys/fs/selinux', '/proc/sys/fs/binfmt_misc'):
    see(f'list {path}', lambda: listing(path))
for path in ('/proc/acpi', '/proc/scsi', '/proc/asound', '/sys/firmware', '/sys/devices/virtual/powercap'):
    see(f'list {path}', lambda: listing(path))
    if report[f'list {path}'] != 'ENOENT':
        check(f'write {path}', opening(f'{path}/x', os.O_WRONLY | os.O_CREAT))
for path in ('/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/proc/sys/vm/drop_caches',
             '/proc/sys/net/ipv4/ip_forward', '/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/proc/irq/default_smp_affinity',
             '/proc/bus/pci/devices', '/proc/fs/jbd2', '/sys/kernel/uevent_helper', '/sys/power/state',
             '/sys/kernel/mm/transparent_hugepage/enabled', '/sys/class/net/lo/mtu', '/sys/fs/cgroup/cgroup.procs',
             '/sys/fs/cgroup/release_agent', '/sys/kernel/debug/sched', '/sys/kernel/tracing/trace', '/sys/kernel/security/lsm'):
    check(f'write {path}', opening(path, os.O_WRONLY))


def writable(top):
    """Files below a directory, but not those of processes, that are there to be written, and that this one may open so: the first of them."""
    paths = (
        os.path.join(directory, name) for directory, _, names in os.walk(top) for name in names
        if not re.match(r'/proc/(\d+|self|thread-self)(/|$)', directory))
    made_for_it = (path for path in paths if stat.S_ISREG(mode := os.lstat(path).st_mode) and mode & 0o222)
    found = (path for path in made_for_it
             if os.access(path, os.W_OK, effective_ids=True) and outcome(opening(path, os.O_WRONLY)) == 'ok')
    return sorted(itertools.islice(found, 20))


see('writable in /proc', lambda: writable('/proc'))
see('writable in /sys', lambda: writable('/sys'))


def physical_page():
    page = mmap.mmap(-1, mmap.PAGESIZE)
    page.write(b'x')
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    with open('/proc/self/pagemap', 'rb', buffering=0) as file:
        file.seek(address // mmap.PAGESIZE * 8)
        return struct.unpack('Q', file.read(8))[0] & (1 << 55) - 1


see('number of a physical page', lambda: 'known' if physical_page() else 'hidden')
for entry in ('mem', 'exe', 'environ', 'maps', 'auxv', 'fd', 'root', 'cwd', 'ns/mnt', 'oom_score_adj', 'attr/current'):
    flags = os.O_RDWR if entry in ('mem', 'exe', 'oom_score_adj', 'attr/current') else os.O_RDONLY
    check(f'open /proc/1/{entry}', opening(f'/proc/1/{entry}', flags))
check('open /proc/self/exe for writing', opening('/proc/self/exe', os.O_WRONLY))
see('programs of other processes', lambda: sorted(
    outcome(lambda: os.readlink(f'/proc/{pid}/exe')) for pid in listing('/proc') if pid.isdigit() and int(pid) != os.getpid()))
see('cwd', os.getcwd)
see('/proc/self/root', lambda: os.readlink('/proc/self/root'))
check('above the root', lambda: None if os.stat('/..').st_ino == os.stat('/').st_ino else 'elsewhere')


def escape_by_chroot():
    root = os.stat('/')
    os.makedirs('/tmp/jail', exist_ok=True)
    os.chroot('/tmp/jail')
    for _ in range(64):
        os.chdir('..')
    os.chroot('.')
    found = os.stat('/')
    return 'the root of the container' if (found.st_dev, found.st_ino) == (root.st_dev, root.st_ino) else 'OUTSIDE'


check('escape by chroot', escape_by_chroot)
check('write to the root', lambda: opening('/ns-isolation-probe', os.O_WRONLY | os.O_CREAT)())
check('write to a system directory', lambda: opening('/usr/bin/ns-isolation-probe', os.O_WRONLY | os.O_CREAT)())
check('overwrite a program', opening('/usr/bin/env', os.O_WRONLY | os.O_APPEND))

# --- devices


def nodes():
    found = {}
    for directory, _, names in os.walk('/dev'):
        for name in names:
            path = os.path.join(directory, name)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                found[path] = f'-> {os.readlink(path)}'
            else:
                kind = stat.filemode(info.st_mode)[0]
                found[path] = f'{kind} {os.major(info.st_rdev)}:{os.minor(info.st_rdev)} {stat.S_IMODE(info.st_mode):o}'
    return found


for path, node in nodes().items():
    report[f'node {path}'] = node
check('write /dev/null', opening('/dev/null', os.O_WRONLY))
check('read /dev/zero', lambda: None if open('/dev/zero', 'rb').read(2) == b'\0\0' else 'not zero')
check('read /dev/urandom', lambda: None if len(open('/dev/urandom', 'rb').read(8)) == 8 else 'short')
check('write /dev/full', lambda: os.write(os.open('/dev/full', os.O_WRONLY), b'x') and None)
check('open /dev/tty', opening('/dev/tty', os.O_RDWR))
check('open /dev/ptmx', lambda: os.close(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)))
for where in ('/dev', '/tmp', '/dev/shm'):
    for label, mode, number in (('block', stat.S_IFBLK, os.makedev(7, 0)), ('character', stat.S_IFCHR, os.makedev(10, 229))):
        def use_node():
            path = f'{where}/ns-probe-{label}'
            os.mknod(path, mode | 0o666, number)
            try:
                os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            finally:
                os.unlink(path)
        check(f'use a {label} device made in {where}', use_node)


def on_a_terminal(request, argument):
    def action():
        _, worker = os.openpty()
        os.setsid()
        fcntl.ioctl(worker, 0x540E, 0)  # TIOCSCTTY
        fcntl.ioctl(worker, request, argument)
    return action


for name, request, argument in (('TIOCSTI', 0x5412, b'x'), ('TIOCLINUX', 0x541C, b'\3')):
    check(f'{name} on a terminal of its own', on_a_terminal(request, argument))
    check(f'{name} on stdin', lambda: fcntl.ioctl(0, request, argument) and None)
if OPTIONS['all']:
    check('TIOCCONS on a terminal of its own', on_a_terminal(0x541D, 0))
see('stdin', lambda: {'null': os.fstat(0).st_rdev == os.makedev(1, 3), 'type': stat.filemode(os.fstat(0).st_mode)[0]})
see('stdin is of this /dev', lambda: os.fstat(0).st_dev == os.stat('/dev').st_dev or stat.S_ISFIFO(os.fstat(0).st_mode))

# --- what the process was given

see('descriptors', lambda: [int(fd) for fd in listing('/proc/self/fd')][:-1])
see('non-blocking descriptors', lambda: [fd for fd in (0, 1, 2) if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK])
for field, value in (line.split(':', 1) for line in STATUS.splitlines()):
    if field in ('Umask', 'Uid', 'Gid', 'Groups', 'TracerPid', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters', 'THP_enabled') or field.startswith(('Sig', 'Cap')):
        report[f'status {field}'] = value.strip()
see('groups', os.getgroups)
see('ids', lambda: [*os.getresuid(), *os.getresgid()])
see('rlimits', lambda: {name: resource.getrlimit(getattr(resource, name)) for name in ('RLIMIT_NOFILE', 'RLIMIT_CORE')})
see('oom_score_adj', lambda: read('/proc/self/oom_score_adj').strip())
see('nice', lambda: os.getpriority(os.PRIO_PROCESS, 0))
see('scheduler', lambda: os.sched_getscheduler(0))
see('securebits', lambda: libc.prctl(27, 0, 0, 0, 0))
see('keepcaps', lambda: libc.prctl(7, 0, 0, 0, 0))
see('dumpable', lambda: libc.prctl(3, 0, 0, 0, 0))
see('timer slack', lambda: libc.prctl(30, 0, 0, 0, 0))
see('subreaper', lambda: (lambda value: (libc.prctl(37, ctypes.byref(value), 0, 0, 0), value.value)[1])(ctypes.c_int(-1)))
see('death signal', lambda: (lambda value: (libc.prctl(2, ctypes.byref(value), 0, 0, 0), value.value)[1])(ctypes.c_int(-1)))
see('controlling terminal', lambda: int(read('/proc/self/stat').rsplit(')', 1)[1].split()[4]))

# --- network

see('interfaces', lambda: [name for _, name in socket.if_nameindex()])
see('interfaces in /sys', lambda: listing('/sys/class/net'))


def loopback():
    server = socket.create_server(('127.0.0.1', 0))
    client = socket.create_connection(server.getsockname(), 1)
    server.accept()[0].sendall(b'x')
    return None if client.recv(1) == b'x' else 'nothing'


def loopback6():
    server = socket.create_server(('::1', 0), family=socket.AF_INET6)
    socket.create_connection(server.getsockname()[:2], 1)


check('loopback', loopback)
check('loopback of IPv6', loopback6)
check('reach another host', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9)))
check('bind a low port', lambda: socket.create_server(('127.0.0.1', 80)).close())
check('raw socket', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close())
check('packet socket', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close())
check('ping socket', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close())


def asking(family, kind):
    """A request to the kernel by netlink, and its answer."""
    def action():
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family) as kernel:
            kernel.settimeout(1)
            kernel.send(struct.pack('IHHII', 56, kind, 5, 1, 0) + bytes(40))  # NLM_F_REQUEST | NLM_F_ACK
            error = struct.unpack_from('i', kernel.recv(256), 16)[0]
            if error:
                raise OSError(-error, '')
    return action


check('change what is audited', asking(9, 1001))  # NETLINK_AUDIT, AUDIT_SET of nothing
check('change the interfaces', lambda: fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sH14x', b'lo', 1)) and None)  # SIOCSIFFLAGS
see('routes', lambda: len(read('/proc/net/route').splitlines()) - 1)
see('abstract sockets of others', lambda: len(read('/proc/net/unix').splitlines()) - 1)
