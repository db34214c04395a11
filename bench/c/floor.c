/*
 * The floor: the container that run() makes by default, written in C as plainly as it goes. The same processes
 * (monitor, init, payload) make the same system calls in the same order, so what run() takes longer is what the library
 * costs. `npm run bench -- calls` compares the two lists.
 *
 *   floor FILTER [READONLY-MOUNT...] -- COMMAND [ARGUMENT...]
 *
 * FILTER is a file with the compiled seccomp filter; each READONLY-MOUNT is another file system of this host to show.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <grp.h>
#include <unistd.h>

#define check(call) ({ long result_ = (long)(call); if (result_ < 0) err(125, "%s", #call); result_; })
#define array_size(a) (sizeof(a) / sizeof *(a))

static const char *const hidden[] = {
	"/root", "/home", "/run", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet",
	"/var/lib/lxc", "/var/spool/cron", "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-",
	"/etc/ssl/private", "/etc/ssh/ssh_host_dsa_key", "/etc/ssh/ssh_host_ecdsa_key", "/etc/ssh/ssh_host_ed25519_key",
	"/etc/ssh/ssh_host_rsa_key", "/etc/sudoers.d", "/etc/krb5.keytab",
};
static const char *const masked[] = {
	"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap",
	"/sys/firmware",
};
static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };
static const struct { const char *name; int major, minor; } devices[] = {
	{ "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};
static const struct { const char *name, *target; } links[] = {
	{ "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
	{ "stderr", "/proc/self/fd/2" }, { "ptmx", "pts/ptmx" },
};
static const char id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
static const unsigned long capabilities = 0xa80425fb; /* Docker's fourteen */

static int root, scratch, dev, proc;

/* A detached mount; `options` are key, value, key, value, …, NULL. */
static int new_mount(const char *type, unsigned attributes, const char *const options[])
{
	int context = check(fsopen(type, FSOPEN_CLOEXEC));
	for (; options && *options; options += 2)
		check(fsconfig(context, FSCONFIG_SET_STRING, options[0], options[1], 0));
	check(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	int mount = check(fsmount(context, FSMOUNT_CLOEXEC, attributes));
	close(context);
	return mount;
}
#define OPTIONS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static int open_in_root(const char *path, unsigned long flags, unsigned long resolve)
{
	struct open_how how = { flags | O_PATH | O_CLOEXEC, 0, resolve };
	return syscall(SYS_openat2, root, path, &how, sizeof how);
}

static void attach(int mount, int place)
{
	check(move_mount(mount, "", place, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

static void attach_at(int mount, const char *path)
{
	attach(mount, check(open_in_root(path, O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)));
}

static void set_attributes(int mount, unsigned long set, unsigned flags)
{
	struct mount_attr attr = { set, 0, 0, 0 };
	check(mount_setattr(mount, "", AT_EMPTY_PATH | flags, &attr, sizeof attr));
}

/* Makes the directories above a path of the covering layer, with the host's owners and modes. */
static void make_parents(const char *path)
{
	char above[256];
	for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		snprintf(above, sizeof above, "cover%.*s", (int)(slash - path), path);
		struct stat there;
		if (lstat(above, &there) == 0)
			continue;
		check(lstat(above + strlen("cover"), &there));
		check(mkdir(above, there.st_mode & 07777));
	}
}

static void cover_directory(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	char name[256];
	snprintf(name, sizeof name, "cover%s", path);
	check(mkdir(name, mode));
	if (uid || gid)
		check(lchown(name, uid, gid));
	check(setxattr(name, "trusted.overlay.opaque", "y", 1, 0));
}

static void place_file(const char *path, const char *content)
{
	char name[256];
	make_parents(path);
	snprintf(name, sizeof name, "cover%s", path);
	int file = check(open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
	check(write(file, content, strlen(content)));
	close(file);
}

static void cover_layer(void)
{
	check(mkdir("cover", 0755));
	for (size_t i = 0; i < 3; i++)
		cover_directory(((const char *[]){ "/proc", "/sys", "/dev" })[i], 0755, 0, 0);
	for (size_t i = 0; i < array_size(hidden); i++) {
		struct stat there;
		if (lstat(hidden[i], &there))
			continue;
		make_parents(hidden[i]);
		if (S_ISDIR(there.st_mode)) {
			cover_directory(hidden[i], there.st_mode & 07777, there.st_uid, there.st_gid);
		} else {
			char name[256];
			snprintf(name, sizeof name, "cover%s", hidden[i]);
			check(mknod(name, S_IFCHR, 0));
		}
	}
	char hosts[512];
	snprintf(hosts, sizeof hosts,
		 "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n"
		 "ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n127.0.1.1\t%.12s\n", id);
	char name[32];
	snprintf(name, sizeof name, "%.12s\n", id);
	place_file("/etc/hostname", name);
	place_file("/etc/hosts", hosts);
}

static void make_root(void)
{
	check(mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
	scratch = new_mount("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, OPTIONS("mode", "0755"));
	check(move_mount(scratch, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
	check(fchdir(scratch));
	cover_layer();
	check(mkdir("root.upper", 0755));
	check(mkdir("root.work", 0755));
	root = new_mount("overlay", MOUNT_ATTR_NODEV,
			 OPTIONS("lowerdir+", "cover", "lowerdir+", "/", "upperdir", "root.upper", "workdir",
				 "root.work", "redirect_dir", "nofollow", "metacopy", "off", "index", "off", "xino",
				 "off"));
	check(mkdirat(scratch, "root", 0755));
	check(move_mount(root, "", scratch, "root", MOVE_MOUNT_F_EMPTY_PATH));
}

static void show_readonly(const char *path)
{
	int mount = check(open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
	struct mount_attr attr = { MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, MS_PRIVATE, 0 };
	check(mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof attr));
	int place = open_in_root(path, O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	int above = root;
	for (const char *part = path; place < 0 && *part;) {
		char name[256], sofar[256];
		size_t length = strcspn(++part, "/");
		snprintf(name, sizeof name, "%.*s", (int)length, part);
		if (mkdirat(above, name, 0755) && errno != EEXIST)
			err(125, "%s", path);
		part += length;
		snprintf(sofar, sizeof sofar, "%.*s", (int)(part - path), path);
		above = check(open_in_root(sofar, O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS));
		if (!*part)
			place = above;
	}
	attach(mount, place);
}

static void mount_kernel_file_systems(void)
{
	const unsigned secure = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	proc = new_mount("proc", secure, NULL);
	attach_at(proc, "/proc");
	attach_at(new_mount("sysfs", secure | MOUNT_ATTR_RDONLY, NULL), "/sys");

	dev = new_mount("tmpfs", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_STRICTATIME,
			OPTIONS("mode", "755", "size", "65536k"));
	check(mkdirat(dev, "pts", 0755));
	check(mkdirat(dev, "shm", 0755));
	check(mkdirat(dev, "mqueue", 0755));
	for (size_t i = 0; i < array_size(links); i++)
		check(symlinkat(links[i].target, dev, links[i].name));
	for (size_t i = 0; i < array_size(devices); i++)
		check(mknodat(dev, devices[i].name, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)));
	attach_at(dev, "/dev");
	/* A mount of its own for each node: then the tmpfs can be nodev, and nodes made later are of no use. */
	for (size_t i = 0; i < array_size(devices); i++) {
		int node = check(open_tree(dev, devices[i].name, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
		check(move_mount(node, "", dev, devices[i].name, MOVE_MOUNT_F_EMPTY_PATH));
	}
	set_attributes(dev, MOUNT_ATTR_NODEV, 0);
	attach_at(new_mount("devpts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
			    OPTIONS("ptmxmode", "0666", "mode", "0620", "gid", "5")), "/dev/pts");
	attach_at(new_mount("tmpfs", secure, OPTIONS("mode", "1777", "size", "67108864")), "/dev/shm");
	attach_at(new_mount("mqueue", secure, NULL), "/dev/mqueue");
}

static void set_sysctl(const char *name, const char *value)
{
	struct open_how how = { O_WRONLY | O_CLOEXEC, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV };
	int file = check(syscall(SYS_openat2, proc, name, &how, sizeof how));
	check(write(file, value, strlen(value)));
	close(file);
}

static void mask_paths(void)
{
	check(mkdirat(scratch, "empty", 0755));
	int empty = check(open_tree(scratch, "empty", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
	set_attributes(empty, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, 0);
	check(move_mount(empty, "", scratch, "empty", MOVE_MOUNT_F_EMPTY_PATH));
	int nothing = check(openat(dev, "null", O_PATH | O_NOFOLLOW | O_CLOEXEC));
	for (size_t i = 0; i < array_size(masked); i++) {
		int cover = empty;
		int place = open_in_root(masked[i], O_DIRECTORY, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		if (place < 0 && errno == ENOTDIR) {
			cover = nothing;
			place = open_in_root(masked[i], 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		}
		if (place >= 0)
			attach(check(open_tree(cover, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)), place);
	}
}

static void make_readonly(void)
{
	for (size_t i = 0; i < array_size(readonly); i++) {
		int place = open_in_root(readonly[i], 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
		if (place < 0)
			continue;
		int cover = check(open_tree(place, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE));
		set_attributes(cover, MOUNT_ATTR_RDONLY, AT_RECURSIVE);
		attach(cover, place);
	}
}

static void drop_privileges(void)
{
	for (int capability = 0; capability <= 40; capability++)
		if (!(capabilities >> capability & 1))
			prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	check(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	check(syscall(SYS_setgroups, 0, NULL));
	check(syscall(SYS_setresgid, 0, 0, 0));
	check(syscall(SYS_setresuid, 0, 0, 0));
	check(prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0));
	check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));
	check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct sets[2] = { { capabilities, capabilities, 0 } };
	check(syscall(SYS_capset, &header, sets));
	check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
	umask(022);
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static long clone_process(unsigned long flags, int *pidfd)
{
	struct clone_args args = { .flags = flags, .pidfd = (unsigned long)pidfd, .exit_signal = SIGCHLD };
	return check(syscall(SYS_clone3, &args, sizeof args));
}

/* Waits for signals until `pid` has ended, as monitor and as pid 1; returns the wait status. */
static int supervise(pid_t pid, int status_fd, struct rusage *usage)
{
	const sigset_t all = { { ~0UL } };
	close_range(0, status_fd - 1, 0);
	close_range(status_fd + 1, ~0U, 0);
	for (;;) {
		int status, signal = syscall(SYS_rt_sigtimedwait, &all, NULL, NULL, 8);
		if (signal != SIGCHLD) {
			kill(pid, signal);
			continue;
		}
		for (pid_t ended; (ended = wait4(usage ? pid : -1, &status, WNOHANG | __WALL, usage)) > 0;)
			if (ended == pid)
				return status;
	}
}

static void run_payload(char **command, const struct sock_fprog *filter)
{
	setsid();
	drop_privileges();
	close_range(3, 3, 0);
	close_range(5, ~0U, 0);
	const sigset_t none = { { 0 } };
	check(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8));
	check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, filter));
	execve(command[0], command, (char *[]){ "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
						"HOSTNAME=0123456789ab", "HOME=/root", NULL });
	err(127, "%s", command[0]);
}

static void run_init(char **mounts, char **command, const struct sock_fprog *filter, int supervisor, int status_fd)
{
	check(prctl(PR_SET_PDEATHSIG, SIGKILL));
	if (poll(&(struct pollfd){ supervisor, POLLIN, 0 }, 1, 0))
		_exit(125);
	prctl(PR_SET_NAME, "floor-init");
	setsid();
	setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 1024, 524288 });
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	check(unshare(CLONE_NEWCGROUP));
	char keyring[80];
	snprintf(keyring, sizeof keyring, "_ses.%s", id);
	check(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, keyring));
	int control = check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	check(ioctl(control, SIOCSIFFLAGS, &(struct ifreq){ .ifr_name = "lo", .ifr_flags = IFF_UP }));
	close(control);
	umask(0);

	make_root();
	for (; *mounts; mounts++)
		show_readonly(*mounts);
	mount_kernel_file_systems();
	set_sysctl("sys/net/ipv4/ip_unprivileged_port_start", "0");
	set_sysctl("sys/net/ipv4/ping_group_range", "0 2147483647");
	check(sethostname(id, 12));
	mask_paths();
	make_readonly();

	check(fchdir(root));
	check(move_mount(scratch, "", AT_FDCWD, "/proc", MOVE_MOUNT_F_EMPTY_PATH));
	check(syscall(SYS_pivot_root, ".", "."));
	check(umount2(".", MNT_DETACH));
	check(chdir("/"));
	check(chdir("/"));
	char where[4096];
	if (syscall(SYS_getcwd, where, sizeof where) < 0 || where[0] != '/')
		errx(125, "working directory is outside the root");

	pid_t pid = clone_process(CLONE_VFORK, NULL);
	if (pid == 0)
		run_payload(command, filter);
	send(status_fd, "executing", 9, MSG_NOSIGNAL);
	check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct kill_only[2] = { { 1 << CAP_KILL, 1 << CAP_KILL, 0 } };
	check(syscall(SYS_capset, &header, kill_only));
	int status = supervise(pid, status_fd, NULL);
	if (WIFSIGNALED(status))
		send(status_fd, &status, sizeof status, MSG_NOSIGNAL);
	_exit(WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	char **mounts = argv + 2, **command = mounts;
	while (command < argv + argc && strcmp(*command, "--"))
		command++;
	if (command + 1 >= argv + argc)
		errx(125, "usage: floor FILTER [READONLY-MOUNT...] -- COMMAND [ARGUMENT...]");
	*command++ = NULL;

	static struct sock_filter instructions[4096];
	int file = check(open(argv[1], O_RDONLY | O_CLOEXEC));
	long size = check(read(file, instructions, sizeof instructions));
	close(file);
	const struct sock_fprog filter = { size / sizeof *instructions, instructions };

	/* Reports go to whoever started us; here nobody listens at the other end, which costs the same. */
	int status_fds[2];
	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status_fds));
	int status_fd = 4;
	check(dup3(status_fds[1], status_fd, O_CLOEXEC) < 0 && errno != EINVAL ? -1 : 0);

	const sigset_t all = { { ~0UL } };
	check(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8));
	check(prctl(PR_SET_PDEATHSIG, SIGKILL));
	setsid();
	prctl(PR_SET_NAME, "floor-monitor");
	check(prctl(PR_SET_DUMPABLE, 0));
	int supervisor = check(syscall(SYS_pidfd_open, getpid(), 0));
	int pidfd;
	pid_t pid = clone_process(CLONE_PIDFD | CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWPID |
				  CLONE_NEWTIME, &pidfd);
	if (pid == 0)
		run_init(mounts, command, &filter, supervisor, status_fd);
	send(status_fd, "started", 7, MSG_NOSIGNAL);
	struct rusage usage;
	int status = supervise(pid, status_fd, &usage);
	send(status_fd, &status, sizeof status, MSG_NOSIGNAL);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
