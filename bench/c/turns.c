/*
 * Times the turns of Node's event loop exactly: a turn begins when the loop has heard what is ready, and ends when it asks
 * again. Loaded into a process (LD_PRELOAD), it stands between libuv and the C library's epoll_pwait() and epoll_wait().
 *
 * The file that NS_BENCH_TURNS names receives, in the byte order of this machine: how many turns of the main thread there have
 * been, then begin, end (CLOCK_MONOTONIC) and CPU time of the thread for each, in nanoseconds; the oldest are overwritten.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long ns;

static struct file {
	ns count;
	struct { ns begin, end, cpu; } turns[];
} *file;
static ns size;
static ns begun, cpu_before;

static ns clock_now(clockid_t clock)
{
	struct timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1000000000ul + now.tv_nsec;
}

__attribute__((constructor)) static void open_file(void)
{
	struct stat st;
	const char *path = getenv("NS_BENCH_TURNS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0 || fstat(fd, &st))
		return;
	void *memory = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	close(fd);
	if (memory == MAP_FAILED)
		return;
	file = memory;
	size = (st.st_size - sizeof *file) / sizeof file->turns[0];
}

static void end_turn(void)
{
	if (!begun)
		return;
	ns i = file->count % size;
	file->turns[i].begin = begun;
	file->turns[i].end = clock_now(CLOCK_MONOTONIC);
	file->turns[i].cpu = clock_now(CLOCK_THREAD_CPUTIME_ID) - cpu_before;
	file->count++;
}

static void begin_turn(void)
{
	cpu_before = clock_now(CLOCK_THREAD_CPUTIME_ID);
	begun = clock_now(CLOCK_MONOTONIC);
}

#define BETWEEN_TURNS(call) \
	if (!file || gettid() != getpid()) \
		return call; \
	end_turn(); \
	int ready = call; \
	begin_turn(); \
	return ready

int epoll_pwait(int epoll, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
	static int (*wait)(int, struct epoll_event *, int, int, const sigset_t *);
	if (!wait)
		wait = dlsym(RTLD_NEXT, "epoll_pwait");
	BETWEEN_TURNS(wait(epoll, events, most, timeout, mask));
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
	static int (*wait)(int, struct epoll_event *, int, int);
	if (!wait)
		wait = dlsym(RTLD_NEXT, "epoll_wait");
	BETWEEN_TURNS(wait(epoll, events, most, timeout));
}
