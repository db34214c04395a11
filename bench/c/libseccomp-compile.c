/* Builds a filter with libseccomp as runc does: libseccomp-compile OPTIMIZE OUTPUT < RULES. Prints the milliseconds it took.
 * A rule is a line of "name action argc" and, for each argument, "index op value valueTwo", numbers as in <seccomp.h>. */
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

struct rule {
  char name[64];
  unsigned action, argc;
  struct scmp_arg_cmp args[6];
};

int main(int argc, char **argv) {
  static struct rule rules[4096];
  int count = 0;
  if (argc < 3) return 2;
  for (struct rule *rule = rules; scanf("%63s %u %u", rule->name, &rule->action, &rule->argc) == 3; rule++, count++)
    for (unsigned i = 0; i < rule->argc; i++) {
      unsigned index, op;
      unsigned long long a, b;
      if (scanf("%u %u %llu %llu", &index, &op, &a, &b) != 4) return 3;
      rule->args[i] = (struct scmp_arg_cmp){index, op, a, b};
    }
  int output = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC, 0600);
  struct timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(1));
  if (seccomp_arch_add(context, SCMP_ARCH_X86) != 0 || seccomp_arch_add(context, SCMP_ARCH_X32) != 0) return 4;
  if (atoi(argv[1]) > 0) seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, atoi(argv[1]));
  for (struct rule *rule = rules; rule < rules + count; rule++) {
    int nr = seccomp_syscall_resolve_name(rule->name);
    if (nr != __NR_SCMP_ERROR) seccomp_rule_add_array(context, rule->action, nr, rule->argc, rule->args);
  }
  seccomp_export_bpf(context, output);
  clock_gettime(CLOCK_MONOTONIC, &after);
  printf("%.4f\n", (after.tv_sec - before.tv_sec) * 1e3 + (after.tv_nsec - before.tv_nsec) / 1e6);
  return 0;
}
