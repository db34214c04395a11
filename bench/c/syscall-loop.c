/* Nanoseconds per system call under a seccomp filter: syscall-loop FILTER COUNT NR [ARG]. FILTER may be an empty file. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
  static struct sock_filter code[BPF_MAXINSNS];
  if (argc < 4) return 2;
  FILE *file = fopen(argv[1], "r");
  if (!file) return 3;
  struct sock_fprog program = {.len = fread(code, sizeof *code, BPF_MAXINSNS, file), .filter = code};
  long count = atol(argv[2]), nr = atol(argv[3]);
  unsigned long arg = argc > 4 ? strtoul(argv[4], NULL, 0) : 0;
  if (program.len > 0) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 4;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) return 5;
  }
  struct timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  for (long i = 0; i < count; i++) syscall(nr, arg, 0, 0, 0, 0, 0);
  clock_gettime(CLOCK_MONOTONIC, &after);
  printf("%.3f\n", ((after.tv_sec - before.tv_sec) * 1e9 + (after.tv_nsec - before.tv_nsec)) / count);
  return 0;
}
