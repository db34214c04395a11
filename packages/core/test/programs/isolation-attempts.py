# --- system calls: the second half of isolation-probe.py

NUMBERS = {  # name: (x86_64, aarch64)
    'mount': (165, 40), 'umount2': (166, 39), 'pivot_root': (155, 41), 'unshare': (272, 97), 'setns': (308, 268),
    'fsopen': (430, 430), 'fsconfig': (431, 431), 'fsmount': (432, 432), 'fspick': (433, 433), 'open_tree': (428, 428),
    'move_mount': (429, 429), 'mount_setattr': (442, 442), 'bpf': (321, 280), 'perf_event_open': (298, 241),
    'add_key': (248, 217), 'request_key': (249, 218), 'keyctl': (250, 219), 'userfaultfd': (323, 282),
    'io_uring_setup': (425, 425), 'io_uring_enter': (426, 426), 'io_uring_register': (427, 427), 'kexec_load': (246, 104),
    'kexec_file_load': (320, 294), 'init_module': (175, 105), 'finit_module': (313, 273), 'delete_module': (176, 106),
    'open_by_handle_at': (304, 265), 'ptrace': (101, 117), 'process_vm_readv': (310, 270), 'process_vm_writev': (311, 271), 'pidfd_open': (434, 434), 'kcmp': (312, 272),
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
    "find a key of the host's session": ('keyctl', 10, -3, text(b'user'), text(BAITS['sessionKey'].encode()), 0),
    "find a key of the host's user": ('keyctl', 10, -4, text(b'user'), text(BAITS['userKey'].encode()), 0),
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
    'write memory of pid 1': ('process_vm_writev', 1, struct.pack('QQ', ctypes.addressof(buffer), 1), 1, struct.pack('QQ', 0x1000, 1), 1, 0),
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
# What changes the machine, and not only the sandbox, where it succeeds; or stops the init.
HARMFUL = {'settimeofday', 'set the clock', 'adjust the clock', 'acct', 'kexec_load', 'vhangup', 'ptrace pid 1'}


def attempt(name, action):
    def in_own_mounts():
        # Where that is allowed: what one attempt mounts is not in the way of the next.
        libc.syscall(ctypes.c_long(SYS['unshare']), ctypes.c_long(NEW['mnt']))
        return action()
    check(f'syscall: {name}', in_own_mounts)


def having_a_child(number, *args):
    """clone and clone3: they return in two processes."""
    def action():
        pid = libc.syscall(ctypes.c_long(number), *args)
        if pid == 0:
            os._exit(0)
        if pid == -1:
            raise OSError(ctypes.get_errno(), '')
    return action


for name, (syscall, *args) in ATTEMPTS.items():
    if syscall in SYS and (OPTIONS['all'] or name not in HARMFUL):
        attempt(name, lambda: raw(SYS[syscall], *args))
for kind, flag in NEW.items():
    attempt(f'unshare {kind}', lambda: raw(SYS['unshare'], flag))
    if kind != 'time':  # not one of clone's
        attempt(f'clone {kind}', having_a_child(SYS['clone'], ctypes.c_long(flag | signal.SIGCHLD), 0, 0, 0, 0))
attempt('unshare user with high bits set', lambda: raw(SYS['unshare'], NEW['user'] | 1 << 32))
attempt('clone3', having_a_child(SYS['clone3'], struct.pack('8Q', NEW['user'], 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64))
for kind in ('mnt', 'net', 'user'):
    attempt(f'setns {kind}', lambda: raw(SYS['setns'], os.open(f'/proc/self/ns/{kind}', os.O_RDONLY), 0))
attempt('take a descriptor of pid 1', lambda: raw(SYS['pidfd_getfd'], os.pidfd_open(1), 0, 0))
for label, family in (('AF_ALG', 38), ('AF_VSOCK', 40)):
    for bits, extra in (('', 0), (' with high bits set', 1 << 32)):
        attempt(f'socket {label}{bits}', lambda: raw({0: 41, 1: 198}[column], family | extra, 5 if family == 38 else 1, 0))
attempt('a number of the future', lambda: raw(9999))
if column == 0:
    attempt('mount by x32', lambda: raw(0x40000000 | SYS['mount'], text(b'none'), text(b'/tmp'), text(b'tmpfs'), 0, 0))

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

    attempt('unshare by int 0x80', lambda: as_i386(310, NEW['user']))
    attempt('umount by int 0x80', lambda: as_i386(52, 0, 2))
    if OPTIONS['all']:
        attempt('kexec_load by int 0x80', lambda: as_i386(283))

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
