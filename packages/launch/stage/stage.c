/*
 * The stage: the only native code of this library.
 *
 * It maps a program at a fixed address and executes it: a list of system calls computed by TypeScript, with the
 * strings and structs they point to. No libc, no allocation, no policy. Between fork and execve of a multi-threaded
 * process only raw system calls are safe, so Node never forks: it spawns this.
 *
 * src/program.ts writes what is read here; the two must agree on `struct insn` and `struct header`.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define BASE 0x10000000UL /* where the program is mapped: every pointer in it is known when its bytes are made */
#define SPAN 0x04000000UL /* room for the largest program; pages past the end of the file are never touched */
#define PROGRAM_FD 3

struct insn {
	u16 op;          /* system call number, or one of OP_* */
	u8 indirect;     /* bit i: arg[i] is the address of the value */
	u8 narrow;       /* store 4 bytes of the result instead of 8 */
	u16 tolerate[2]; /* errnos that do not end the program; ANY_ERRNO for all, 0 for none */
	u16 target;      /* instruction to go on with after a tolerated error, or when a jump is taken */
	u16 call;        /* for OP_VFORK, which system call; else 0 */
	u32 result;      /* address that receives the result, 0 for none */
	u64 arg[6];
};

struct header {
	u32 code;   /* offset of the first instruction */
	u32 status; /* descriptor of the status socket */
};

struct failure {
	u32 kind; /* 0 */
	u32 index;
	u64 error;
};

#define ANY_ERRNO 0xffff
#define OP_JUMP_EQUAL 0xfff0   /* (arg0 & arg1) == arg2: go to target */
#define OP_JUMP_UNEQUAL 0xfff1
#define OP_COPY 0xfff2         /* arg2 bytes from arg1 to arg0 */
#define OP_DECIMAL 0xfff3      /* arg1 as decimal digits and a NUL to arg0 */
#define OP_FAIL 0xfff4         /* end the program with errno arg0 */
#define OP_PROGRAM 0xfff5      /* go on with the first instruction of the program in descriptor arg0 */
#define OP_ADD 0xfff6          /* the sum of arg1 and arg2, 8 bytes, to arg0 */
#define OP_CONTINUE 0xfff7     /* go on with the first instruction of the program at arg0 */
#define OP_VFORK 0xfff8        /* a system call that makes a process which shares this one's memory: that goes on at target */

/*
 * A process with the memory of its parent, which waits until it has executed another program or ended: its stack begins
 * below what the parent has on it, and run() never returns.
 */
static void run(struct insn *code, u32 at) __attribute__((noreturn, noinline, used));

#if defined(__x86_64__)
enum { NR_sendto = 44, NR_mmap = 9, NR_exit_group = 231 };
static long call(u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	register u64 r10 __asm__("r10") = d;
	register u64 r8 __asm__("r8") = e;
	register u64 r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return result;
}

static long call_vfork(u64 nr, u64 a, u64 b, u64 c, struct insn *code, u32 at)
{
	register u64 program __asm__("r12") = (u64)code;
	register u64 target __asm__("r13") = at;
	long result;
	__asm__ volatile(
		"syscall\n\t"
		"test %%rax, %%rax\n\t"
		"jnz 1f\n\t"
		"sub $128, %%rsp\n\t" /* the red zone may be in use */
		"and $-16, %%rsp\n\t"
		"mov %%r12, %%rdi\n\t"
		"mov %%r13, %%rsi\n\t"
		"call run\n"
		"1:"
		: "=a"(result) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(program), "r"(target) : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
enum { NR_sendto = 206, NR_mmap = 222, NR_exit_group = 94 };
static long call(u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
{
	register u64 x8 __asm__("x8") = nr;
	register u64 x0 __asm__("x0") = a;
	register u64 x1 __asm__("x1") = b;
	register u64 x2 __asm__("x2") = c;
	register u64 x3 __asm__("x3") = d;
	register u64 x4 __asm__("x4") = e;
	register u64 x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return (long)x0;
}

static long call_vfork(u64 nr, u64 a, u64 b, u64 c, struct insn *code, u32 at)
{
	register u64 x8 __asm__("x8") = nr;
	register u64 x0 __asm__("x0") = a;
	register u64 x1 __asm__("x1") = b;
	register u64 x2 __asm__("x2") = c;
	register u64 program __asm__("x20") = (u64)code;
	register u64 target __asm__("x21") = at;
	__asm__ volatile(
		"svc 0\n\t"
		"cbnz x0, 1f\n\t"
		"mov x0, x20\n\t"
		"mov x1, x21\n\t"
		"bl run\n"
		"1:"
		: "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(program), "r"(target) : "x30", "memory");
	return (long)x0;
}
#else
#error "no system call convention for this architecture"
#endif

static void fail(u32 index, u64 error)
{
	struct failure failure = { 0, index, error };
	/* MSG_NOSIGNAL: a vanished reader must not turn the report into SIGPIPE */
	call(NR_sendto, ((struct header *)BASE)->status, (u64)&failure, sizeof failure, 0x4000, 0, 0);
	for (;;)
		call(NR_exit_group, 125, 0, 0, 0, 0, 0);
}

static struct insn *map(u64 fd)
{
	/* MAP_PRIVATE | MAP_FIXED: results are stored in this process's own copy; nothing else is ever mapped there */
	if (call(NR_mmap, BASE, SPAN, 3, 0x12, fd, 0) != BASE)
		call(NR_exit_group, 125, 0, 0, 0, 0, 0);
	return (struct insn *)(BASE + ((struct header *)BASE)->code);
}

static void run(struct insn *code, u32 at)
{
	for (;;) {
		struct insn *in = &code[at];
		u64 a[6];
		for (int i = 0; i < 6; i++)
			a[i] = in->indirect >> i & 1 ? *(u64 *)in->arg[i] : in->arg[i];
		at++;

		switch (in->op) {
		case OP_JUMP_EQUAL:
		case OP_JUMP_UNEQUAL:
			if (((a[0] & a[1]) == a[2]) == (in->op == OP_JUMP_EQUAL))
				at = in->target;
			continue;
		case OP_COPY:
			for (u64 i = 0; i < a[2]; i++)
				((volatile u8 *)a[0])[i] = ((u8 *)a[1])[i];
			continue;
		case OP_DECIMAL: {
			u64 divisor = 1;
			while (a[1] / divisor >= 10)
				divisor *= 10;
			volatile u8 *to = (u8 *)a[0];
			for (; divisor; divisor /= 10)
				*to++ = '0' + a[1] / divisor % 10;
			*to = 0;
			continue;
		}
		case OP_ADD:
			*(u64 *)a[0] = a[1] + a[2];
			continue;
		case OP_PROGRAM:
			code = map(a[0]);
			at = 0;
			continue;
		case OP_CONTINUE:
			code = (struct insn *)(a[0] + ((struct header *)a[0])->code);
			at = 0;
			continue;
		case OP_FAIL:
			fail(at - 1, a[0]);
		}

		long result = in->op == OP_VFORK ? call_vfork(in->call, a[0], a[1], a[2], code, in->target)
						 : call(in->op, a[0], a[1], a[2], a[3], a[4], a[5]);
		if (in->result && in->narrow)
			*(u32 *)(u64)in->result = result;
		else if (in->result)
			*(u64 *)(u64)in->result = result;
		if (result < 0 && result >= -4095) {
			u16 error = -result;
			if (error != in->tolerate[0] && error != in->tolerate[1] && in->tolerate[0] != ANY_ERRNO)
				fail(at - 1, error);
			at = in->target;
		}
	}
}

void _start(void)
{
	run(map(PROGRAM_FD), 0);
}
