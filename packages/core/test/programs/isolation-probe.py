"""What a process in a sandbox can see and do, as one JSON object on stdout: {check: observation}.

Runs inside the sandbox, as `python3 -I -c SOURCE MODE STATUS`, where STATUS is /proc/self/status of a process that is
not Python: the interpreter changes its own signal dispositions. It only observes; isolation-probe.ts says what is right.
Attempts that would change the machine if they succeeded are left out when MODE is "privileged".
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import stat
import struct
import subprocess
import sys

MODE, STATUS = sys.argv[1:3]
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


def tiocsti():
    master, worker = os.openpty()
    os.setsid()
    fcntl.ioctl(worker, 0x540E, 0)
    fcntl.ioctl(worker, 0x5412, b'x')


check('TIOCSTI on a terminal of its own', tiocsti)
check('TIOCSTI on stdin', lambda: fcntl.ioctl(0, 0x5412, b'x') and None)
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
see('routes', lambda: len(read('/proc/net/route').splitlines()) - 1)
see('abstract sockets of others', lambda: len(read('/proc/net/unix').splitlines()) - 1)

# --- system calls

NUMBERS = {  # name: (x86_64, aarch64)
    'mount': (165, 40), 'umount2': (166, 39), 'pivot_root': (155, 41), 'unshare': (272, 97), 'setns': (308, 268),
    'fsopen': (430, 430), 'fsconfig': (431, 431), 'fsmount': (432, 432), 'fspick': (433, 433), 'open_tree': (428, 428),
    'move_mount': (429, 429), 'mount_setattr': (442, 442), 'bpf': (321, 280), 'perf_event_open': (298, 241),
    'add_key': (248, 217), 'request_key': (249, 218), 'keyctl': (250, 219), 'userfaultfd': (323, 282),
    'io_uring_setup': (425, 425), 'io_uring_enter': (426, 426), 'io_uring_register': (427, 427), 'kexec_load': (246, 104),
    'kexec_file_load': (320, 294), 'init_module': (175, 105), 'finit_module': (313, 273), 'delete_module': (176, 106),
    'open_by_handle_at': (304, 265), 'ptrace': (101, 117), 'process_vm_readv': (310, 270), 'kcmp': (312, 272),
    'pidfd_getfd': (438, 438), 'quotactl': (179, 60), 'swapon': (167, 224), 'swapoff': (168, 225), 'reboot': (169, 142),
    'sethostname': (170, 161), 'setdomainname': (171, 162), 'settimeofday': (164, 170), 'clock_settime': (227, 112),
    'clock_adjtime': (305, 266), 'acct': (163, 89), 'syslog': (103, 116), 'lookup_dcookie': (212, 18),
    'fanotify_init': (300, 262), 'vhangup': (153, 58), 'move_pages': (279, 239), 'mbind': (237, 235),
    'set_mempolicy': (238, 237), 'personality': (135, 92), 'clone3': (435, 435), 'clone': (56, 220),
    'nfsservctl': (180, 42), 'name_to_handle_at': (303, 264),
}
X86_ONLY = {'iopl': 172, 'ioperm': 173, 'create_module': 174, 'uselib': 134, 'ustat': 136, 'sysfs': 139, '_sysctl': 156}
column = {'x86_64': 0, 'aarch64': 1}[platform.machine()]
SYS = {name: numbers[column] for name, numbers in NUMBERS.items()}
if column == 0:
    SYS.update(X86_ONLY)
text = ctypes.c_char_p
NEW = {'mnt': 0x20000, 'cgroup': 0x2000000, 'uts': 0x4000000, 'ipc': 0x8000000, 'user': 0x10000000, 'pid': 0x20000000,
       'net': 0x40000000, 'time': 0x80}
buffer = (ctypes.c_char * 128)()
now = struct.pack('qq', *divmod(__import__('time').time_ns(), 10 ** 9))

ATTEMPTS = {
    'mount a tmpfs': ('mount', text(b'none'), text(b'/tmp'), text(b'tmpfs'), 0, 0),
    'mount proc again': ('mount', text(b'proc'), text(b'/tmp'), text(b'proc'), 0, 0),
    'remount /proc/sys writable': ('mount', 0, text(b'/proc/sys'), 0, 0x1020, 0),
    'remount /sys writable': ('mount', 0, text(b'/sys'), 0, 0x1020, 0),
    'bind / elsewhere': ('mount', text(b'/'), text(b'/tmp'), 0, 0x5000, 0),
    'unmount /proc': ('umount2', text(b'/proc'), 2),
    'unmount a mask': ('umount2', text(b'/proc/keys'), 2),
    'pivot_root': ('pivot_root', text(b'/'), text(b'/')),
    'fsopen': ('fsopen', text(b'tmpfs'), 0),
    'fsmount': ('fsmount', -1, 0, 0),
    'fspick': ('fspick', -100, text(b'/'), 0),
    'open_tree clone': ('open_tree', -100, text(b'/'), 1),
    'move_mount': ('move_mount', -1, text(b''), -1, text(b''), 4),
    'mount_setattr': ('mount_setattr', -100, text(b'/'), 0, (ctypes.c_ulong * 4)(), 32),
    'bpf': ('bpf', 0, buffer, 128),
    'perf_event_open': ('perf_event_open', buffer, 0, -1, -1, 0),
    'add_key': ('add_key', text(b'user'), text(b'x'), text(b'y'), 1, -3),
    'request_key': ('request_key', text(b'user'), text(b'x'), 0, -3),
    'keyctl': ('keyctl', 0, -3, 0),
    'userfaultfd': ('userfaultfd', 0),
    'io_uring_setup': ('io_uring_setup', 1, buffer),
    'io_uring_enter': ('io_uring_enter', -1, 0, 0, 0, 0, 0),
    'io_uring_register': ('io_uring_register', -1, 0, 0, 0),
    'kexec_load': ('kexec_load', 0, 0, 0, 0),
    'kexec_file_load': ('kexec_file_load', -1, -1, 0, 0, 0),
    'init_module': ('init_module', text(b''), 0, text(b'')),
    'finit_module': ('finit_module', -1, text(b''), 0),
    'delete_module': ('delete_module', text(b'no_such_module'), 0o4000),
    'open_by_handle_at': ('open_by_handle_at', -100, struct.pack('II8s', 8, 1, b''), 0),
    'ptrace pid 1': ('ptrace', 16, 1, 0, 0),
    'seize pid 1': ('ptrace', 0x4206, 1, 0, 0),
    'read memory of pid 1': ('process_vm_readv', 1, struct.pack('QQ', ctypes.addressof(buffer), 1), 1, struct.pack('QQ', 0x1000, 1), 1, 0),
    'compare with pid 1': ('kcmp', os.getpid(), 1, 0, 0, 0),
    'quotactl': ('quotactl', 0x800002 << 8, text(b'/dev/vda'), 0, 0),
    'swapoff': ('swapoff', text(b'/no-such-swap')),
    'sethostname': ('sethostname', text(b'x'), 1),
    'setdomainname': ('setdomainname', text(b'x'), 1),
    'settimeofday': ('settimeofday', 0, struct.pack('ii', 0, 0)),
    'set the clock': ('clock_settime', 0, now),
    'adjust the clock': ('clock_adjtime', 0, struct.pack('I4xq192x', 0x0002, 0)),
    'acct': ('acct', 0),
    'read the kernel log': ('syslog', 3, buffer, 64),
    'fanotify_init': ('fanotify_init', 0, 0),
    'vhangup': ('vhangup',),
    'move pages of pid 1': ('move_pages', 1, 0, 0, 0, 0, 0),
    'mbind': ('mbind', 0, 0, 0, 0, 0, 0),
    'set_mempolicy': ('set_mempolicy', 1, 0, 0),
    'personality without address randomisation': ('personality', 0x0040000),
    'personality READ_IMPLIES_EXEC': ('personality', 0x0400000),
    'iopl': ('iopl', 3),
    'ioperm': ('ioperm', 0x70, 2, 1),
    'create_module': ('create_module', text(b'x'), 4096),
    'uselib': ('uselib', text(b'/x')),
    'ustat': ('ustat', 0, buffer),
    'sysfs': ('sysfs', 3),
    '_sysctl': ('_sysctl', 0),
    'nfsservctl': ('nfsservctl', 0, 0, 0),
    'lookup_dcookie': ('lookup_dcookie', 0, 0, 0),
    'swapon': ('swapon', text(b'/no-such-swap'), 0),
    'reboot with a wrong magic number': ('reboot', 0, 0, 0, 0),
}
if MODE != 'privileged':
    for name, (syscall, *args) in ATTEMPTS.items():
        if syscall in SYS:
            check(f'syscall: {name}', lambda: raw(SYS[syscall], *args))
    for kind, flag in NEW.items():
        check(f'syscall: unshare {kind}', lambda: raw(SYS['unshare'], flag))
    check('syscall: unshare user with high bits set', lambda: raw(SYS['unshare'], flag | NEW['user'] | 1 << 32))

    def clone_user():
        pid = libc.syscall(ctypes.c_long(SYS['clone']), ctypes.c_long(NEW['user'] | signal.SIGCHLD), 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        if pid == -1:
            raise OSError(ctypes.get_errno(), '')

    check('syscall: clone a user namespace', clone_user)
    check('syscall: clone3', lambda: raw(SYS['clone3'], struct.pack('8Q', NEW['user'], 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64))
    for kind in ('mnt', 'net', 'user'):
        check(f'syscall: setns {kind}', lambda: raw(SYS['setns'], os.open(f'/proc/self/ns/{kind}', os.O_RDONLY), 0))
    for label, family in (('AF_ALG', 38), ('AF_VSOCK', 40)):
        for bits, extra in (('', 0), (' with high bits set', 1 << 32)):
            check(f'syscall: socket {label}{bits}', lambda: raw({0: 41, 1: 198}[column], family | extra, 5 if family == 38 else 1, 0))
    check('syscall: a number of the future', lambda: raw(9999))
    if column == 0:
        check('syscall: mount by x32', lambda: raw(0x40000000 | SYS['mount'], text(b'none'), text(b'/tmp'), text(b'tmpfs'), 0, 0))

        def as_i386(number, *args):
            # push rbx; mov eax, N; mov ebx, A; mov ecx, B; int 0x80; pop rbx; ret
            first, second = (*args, 0, 0)[:2]
            code = b'\x53\xb8' + struct.pack('I', number) + b'\xbb' + struct.pack('I', first) + b'\xb9' + struct.pack('I', second) + b'\xcd\x80\x5b\xc3'
            page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
            page.write(code)
            call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
            result = call()
            if result < 0:
                raise OSError(-result, '')

        check('syscall: unshare by int 0x80', lambda: as_i386(310, NEW['user']))
        check('syscall: umount by int 0x80', lambda: as_i386(52, 0, 2))
        check('syscall: kexec_load by int 0x80', lambda: as_i386(283))

# --- privileges


def as_nobody(copy_of, prepare):
    """What a prepared copy of a program says when an ordinary user runs it."""
    path = '/tmp/ns-probe-program'
    with open(copy_of, 'rb') as source, open(path, 'wb') as copy:
        copy.write(source.read())
    prepare(path)

    def demote():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    arguments = {'/usr/bin/id': ['-u'], '/bin/cat': ['/proc/self/status']}[copy_of]
    try:
        return subprocess.run([path, *arguments], preexec_fn=demote, capture_output=True, text=True, check=False).stdout
    finally:
        os.unlink(path)


check('euid of a setuid program', lambda: as_nobody('/usr/bin/id', lambda path: os.chmod(path, 0o4755)).strip())
check('capabilities of a program with file capabilities', lambda: [line for line in as_nobody('/bin/cat', lambda path: (
    os.chmod(path, 0o755), os.setxattr(path, 'security.capability', struct.pack('<5I', 0x2000001, 1 << 13, 0, 0, 0)),
)).splitlines() if line.startswith('CapEff')][0].split()[1])
check('raise a hard limit', lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] + 1,) * 2))
check('lower oom_score_adj', lambda: os.write(os.open('/proc/self/oom_score_adj', os.O_WRONLY), b'-1000') and None)
check('raise priority', lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
check('real-time scheduling', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))
check('gain a capability', lambda: raw({0: 126, 1: 91}[column], struct.pack('II', 0x20080522, 0), struct.pack('6I', *(0xffffffff, 0xffffffff, 0) * 2)))
check('set an ambient capability', lambda: raw({0: 157, 1: 167}[column], 47, 2, 21, 0, 0))
check('trusted extended attributes', lambda: os.setxattr('/tmp', 'trusted.overlay.opaque', b'y'))

json.dump(report, sys.stdout)
