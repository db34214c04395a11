/*
 * Measures commands from start to exit, with as little of its own as possible: what a caller in C would see.
 *
 *   timer [--null PATH] COMMAND [ARGUMENT...]
 *
 * Reads "RUNS PARALLEL" lines from standard input. For each it starts the command RUNS times, PARALLEL at a time, and
 * answers with a line of nanoseconds: one number for each run, then the time of all together.
 *
 * A run begins before its pipes are made, as in Node; both outputs are read to their end, and the command is waited for.
 * A "%d" in an argument becomes a number that no two commands running at one time share. --null binds /dev/null over a
 * file, in a mount namespace of the timer's own.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct run {
	long started;
	pid_t pid;
	int outputs[2];
};

static long nanoseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000 + now.tv_nsec;
}

static void start(struct run *run, char **command, int number)
{
	char *argv[128], text[128][512];
	for (int i = 0; (argv[i] = command[i]); i++)
		if (strstr(command[i], "%d")) {
			snprintf(text[i], sizeof text[i], command[i], number);
			argv[i] = text[i];
		}

	run->started = nanoseconds();
	posix_spawn_file_actions_t actions;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	int ends[2];
	for (int i = 0; i < 2; i++) {
		int fds[2];
		if (pipe2(fds, O_CLOEXEC))
			err(1, "pipe2");
		run->outputs[i] = fds[0];
		ends[i] = fds[1];
		posix_spawn_file_actions_adddup2(&actions, fds[1], 1 + i);
	}
	extern char **environ;
	if (posix_spawn(&run->pid, argv[0], &actions, NULL, argv, environ))
		err(1, "%s", argv[0]);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[0]);
	close(ends[1]);
}

/* Reads what is there; when both outputs have ended, waits for the command and returns how long it took, else 0. */
static long advance(struct run *run, struct pollfd ready[2])
{
	for (int i = 0; i < 2; i++) {
		char text[65536];
		if (run->outputs[i] < 0 || !ready[i].revents)
			continue;
		ssize_t length = read(run->outputs[i], text, sizeof text);
		if (length > 0) {
			/* No command here has anything to say unless something is wrong. */
			write(2, text, length);
			continue;
		}
		close(run->outputs[i]);
		run->outputs[i] = -1;
	}
	if (run->outputs[0] >= 0 || run->outputs[1] >= 0)
		return 0;
	int status;
	waitpid(run->pid, &status, 0);
	if (status)
		errx(1, "command ended with status %#x", status);
	return nanoseconds() - run->started;
}

static void measure(char **command, int runs, int parallel)
{
	struct run slots[parallel];
	struct pollfd ready[2 * parallel];
	long begin = nanoseconds();
	int started = 0, ended = 0;
	for (; started < parallel && started < runs; started++)
		start(&slots[started], command, started);
	int used = started;
	while (ended < runs) {
		for (int i = 0; i < 2 * used; i++)
			ready[i] = (struct pollfd){ slots[i / 2].outputs[i % 2], POLLIN, 0 };
		if (poll(ready, 2 * used, -1) < 0)
			err(1, "poll");
		for (int i = 0; i < used; i++) {
			long took = slots[i].pid ? advance(&slots[i], &ready[2 * i]) : 0;
			if (!took)
				continue;
			printf("%ld ", took);
			ended++;
			slots[i].pid = 0;
			if (started < runs)
				start(&slots[i], command, started++);
		}
	}
	printf("%ld\n", nanoseconds() - begin);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char **command = argv + 1;
	if (argc > 2 && !strcmp(argv[1], "--null")) {
		if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
		    mount("/dev/null", argv[2], NULL, MS_BIND, NULL))
			err(1, "%s", argv[2]);
		command += 2;
	}
	int runs, parallel;
	while (scanf("%d %d", &runs, &parallel) == 2)
		measure(command, runs, parallel);
}
