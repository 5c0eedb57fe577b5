// Markers of sys/sdt.h of every kind: with and without a counter, several sites of one name, many arguments.
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNTER __attribute__((section(".probes"))) volatile unsigned short
#define NOINLINE __attribute__((noinline, noclone))

COUNTER app_plain_semaphore, app_guarded_semaphore, app_wide_semaphore, app_twelve_semaphore, app_bytes_semaphore;
COUNTER app_memory_semaphore, app_fixed_semaphore, app_global_semaphore, app_floating_semaphore, app_spread_semaphore;
COUNTER app_kept_semaphore;
COUNTER app_cold_semaphore, app_loop_semaphore, app_none_semaphore, app_missing_semaphore, app_cases_semaphore;

struct record {
	int8_t i8;
	int16_t i16;
	int32_t i32;
	int64_t i64;
	uint8_t u8;
	uint16_t u16;
	uint32_t u32;
	const char *text;
	int table[8];
};

static struct record global = { .i32 = -7, .u32 = 4000000000u, .text = "global" };
static volatile int rounds_done;
static long guarded, cold, looped;

NOINLINE int plain(int a, long b, const char *text)
{
	STAP_PROBE3(app, plain, a, b, text);
	return a + (int)b;
}

NOINLINE void wide(int64_t a, uint64_t b, int32_t c, uint32_t d, int16_t e, uint16_t f, int8_t g, uint8_t h)
{
	STAP_PROBE8(app, wide, a, b, c, d, e, f, g, h);
	rounds_done++;
}

NOINLINE void twelve(long n)
{
	STAP_PROBE12(app, twelve, n, n + 1, n + 2, n + 3, n + 4, n + 5, n + 6, n + 7, n + 8, n + 9, n + 10, n + 11);
	rounds_done++;
}

// The compiler chooses byte registers only where it must: here they are written by hand.
NOINLINE void bytes(long value)
{
	__asm__ volatile("mov %0, %%rax\n\tmov %0, %%rcx\n\tmov %0, %%rdx\n\tmov %0, %%r11\n\tmov %0, %%rbx\n\tmov %0, %%rsi\n"
			 "990:\tnop\n\tnop\n\tadd $0x11223344, %%rax\n"
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n\t.balign 4\n\t.4byte 992f-991f, 994f-993f, 3\n"
			 "991:\t.asciz \"stapsdt\"\n992:\t.balign 4\n993:\t.8byte 990b\n\t.8byte _.stapsdt.base\n"
			 "\t.8byte app_bytes_semaphore\n\t.asciz \"app\"\n\t.asciz \"bytes\"\n"
			 "\t.asciz \"1@%%ah -1@%%ch 1@%%sil -2@%%dx 4@%%r11d 1@%%bh -1@%%al 8@%%rsp 2@%%r11w -8@$-9 1@$-1\"\n"
			 "994:\t.balign 4\n.popsection\n"
			 : : "r"(value) : "rax", "rbx", "rcx", "rdx", "rsi", "r11", "cc");
	rounds_done++;
}

NOINLINE void memory(struct record *r, long i)
{
	__asm__ volatile("mov %0, %%rax\n\tmov %1, %%r11\n\tmov %0, %%rdi\n\tmov %1, %%rcx\n"
			 "990:\tnop\n\tadd $0x11223344, %%rax\n"
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n\t.balign 4\n\t.4byte 992f-991f, 994f-993f, 3\n"
			 "991:\t.asciz \"stapsdt\"\n992:\t.balign 4\n993:\t.8byte 990b\n\t.8byte _.stapsdt.base\n"
			 "\t.8byte app_memory_semaphore\n\t.asciz \"app\"\n\t.asciz \"memory\"\n"
			 "\t.asciz \"-1@(%%rdi) -2@2(%%rdi) -4@4(%%rax) -8@8(%%rdi) 1@16(%%rax) 4@40(%%rdi,%%rcx,4)"
			 " -4@40(%%rax,%%r11,4) 4@40(%%rdi,%%r11,4) -4@40(%%rax,%%rcx,4)\"\n"
			 "994:\t.balign 4\n.popsection\n"
			 : : "r"(r), "r"(i) : "rax", "rcx", "rdi", "r11", "memory", "cc");
	rounds_done++;
}

NOINLINE void fixed(void)
{
	STAP_PROBE4(app, fixed, 5, -3, 1L << 40, (char)-1);
	rounds_done++;
}

NOINLINE void of_global(void)
{
	STAP_PROBE3(app, global, global.i32, global.u32, global.text);
	rounds_done++;
}

NOINLINE double floating(double x, int n)
{
	__asm__ volatile("990:\tnop\n\tmov %0, %%rax\n"
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n\t.balign 4\n\t.4byte 992f-991f, 994f-993f, 3\n"
			 "991:\t.asciz \"stapsdt\"\n992:\t.balign 4\n993:\t.8byte 990b\n\t.8byte _.stapsdt.base\n"
			 "\t.8byte app_floating_semaphore\n\t.asciz \"app\"\n\t.asciz \"floating\"\n"
			 "\t.asciz \"8f@%%xmm0 -8@%%rdi 4@%%fs:8\"\n994:\t.balign 4\n.popsection\n"
			 : : "D"((long)n) : "rax");
	return x * 2;
}

// An address that is not mapped: the argument reads as 0.
NOINLINE void missing(long address)
{
	__asm__ volatile("990:\tnop\n\tmov $0x11223344, %%eax\n"
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n\t.balign 4\n\t.4byte 992f-991f, 994f-993f, 3\n"
			 "991:\t.asciz \"stapsdt\"\n992:\t.balign 4\n993:\t.8byte 990b\n\t.8byte _.stapsdt.base\n"
			 "\t.8byte app_missing_semaphore\n\t.asciz \"app\"\n\t.asciz \"missing\"\n"
			 "\t.asciz \"8@(%%rdi) 8@%%rdi\"\n994:\t.balign 4\n.popsection\n"
			 : : "D"(address) : "rax");
	rounds_done++;
}

static inline __attribute__((always_inline)) void spread(int n, int where)
{
	STAP_PROBE2(app, spread, n, where);
}

NOINLINE int spread_one(int n)
{
	spread(n, 1);
	return n * 3 + rounds_done;
}

NOINLINE int spread_two(int n, int m)
{
	spread(m, 2);
	return n * m + rounds_done;
}

NOINLINE void count_guarded(int n)
{
	if (__builtin_expect(app_guarded_semaphore, 0)) {
		guarded++;
		STAP_PROBE2(app, guarded, n, guarded);
	}
	rounds_done++;
}

__attribute__((cold, noinline)) static void rarely(int n)
{
	cold++;
	STAP_PROBE1(app, cold, n);
}

NOINLINE int sometimes(int n)
{
	if (__builtin_expect(n % 10 == 3, 0))
		rarely(n);
	return n + rounds_done;
}

// A branch lands right behind the nop.
NOINLINE int loop(int n)
{
	int sum = 0;

	for (int i = 0; i < n; i++) {
		if (i & 1) {
			looped++;
			STAP_PROBE1(app, loop, i);
		}
		sum += i ^ n;
	}
	return sum;
}

NOINLINE int cases(int n)
{
	int value = n;

	switch (n) {
	case 0: value = 3; STAP_PROBE1(app, cases, n); /* fallthrough */
	case 1: value += rounds_done; break;
	case 2: value ^= 7; STAP_PROBE1(app, cases, n); break;
	case 3: STAP_PROBE1(app, cases, n); value = -value; break;
	case 4: value *= 9; break;
	case 5: value -= 2; STAP_PROBE1(app, cases, n); break;
	case 6: value = rounds_done * 3; break;
	default: value = 1;
	}
	return value;
}

NOINLINE void none(void)
{
	STAP_PROBE(app, none);
	rounds_done++;
}

// Every register and flag must be after the marker what it was before; bytes below rsp are in use as well.
static unsigned long kept_flags, kept_wrong; // not on the stack: the bytes below rsp are the test's own

NOINLINE long kept(long n)
{
	kept_wrong = 0;
	__asm__ volatile("mov %2, %%r8\n\tmovq $0x5a5a5a5a, -8(%%rsp)\n\tmovq $0x6b6b6b6b, -120(%%rsp)\n\t"
			 "mov $0x1001, %%rcx\n\tmov $0x1002, %%rdx\n\tmov $0x1003, %%rsi\n\tmov $0x1004, %%rdi\n\t"
			 "mov $0x1005, %%r9\n\tmov $0x1006, %%r10\n\tmov $0x1007, %%r11\n\tmov $0x1008, %%r12\n\t"
			 "mov $0x1009, %%r13\n\tmov $0x100a, %%r14\n\tmov $0x100b, %%r15\n\tmov $0x100c, %%rbx\n\t"
			 "movabs $0x7fffffffffffffff, %%rax\n\tadd $1, %%rax\n"
			 "990:\tnop\n\tlea 0x11223344(%%rax), %%rax\n\t"
			 "lea -0x11223344(%%rax), %%rax\n\t"
			 "lea -256(%%rsp), %%rsp\n\tpushfq\n\tpop %0\n\tlea 256(%%rsp), %%rsp\n\t"
			 "xor %%r8, %%r8\n\t"
			 "cmpq $0x5a5a5a5a, -8(%%rsp)\n\tsetne %%r8b\n\tadd %%r8, %1\n\t"
			 "cmpq $0x6b6b6b6b, -120(%%rsp)\n\tsetne %%r8b\n\tadd %%r8, %1\n\t"
			 "btc $63, %%rax\n\tadd %%rax, %1\n\t"
			 "sub $0x1001, %%rcx\n\tor %%rcx, %1\n\tsub $0x1002, %%rdx\n\tor %%rdx, %1\n\t"
			 "sub $0x1003, %%rsi\n\tor %%rsi, %1\n\tsub $0x1004, %%rdi\n\tor %%rdi, %1\n\t"
			 "sub $0x1005, %%r9\n\tor %%r9, %1\n\tsub $0x1006, %%r10\n\tor %%r10, %1\n\t"
			 "sub $0x1007, %%r11\n\tor %%r11, %1\n\tsub $0x1008, %%r12\n\tor %%r12, %1\n\t"
			 "sub $0x1009, %%r13\n\tor %%r13, %1\n\tsub $0x100a, %%r14\n\tor %%r14, %1\n\t"
			 "sub $0x100b, %%r15\n\tor %%r15, %1\n\tsub $0x100c, %%rbx\n\tor %%rbx, %1\n\t"
			 ".pushsection .note.stapsdt,\"?\",\"note\"\n\t.balign 4\n\t.4byte 992f-991f, 994f-993f, 3\n"
			 "991:\t.asciz \"stapsdt\"\n992:\t.balign 4\n993:\t.8byte 990b\n\t.8byte _.stapsdt.base\n"
			 "\t.8byte app_kept_semaphore\n\t.asciz \"app\"\n\t.asciz \"kept\"\n"
			 "\t.asciz \"8@%%rax 8@%%r11 -8@-8(%%rsp) 4@-120(%%rsp) 8@%%r8 -4@(%%rdi) 8@-4097(%%rsp,%%rcx,1)\"\n"
			 "994:\t.balign 4\n.popsection\n"
			 : "=m"(kept_flags), "+m"(kept_wrong) : "r"(n)
			 : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	return kept_wrong || (kept_flags & 0x8d5) != 0x894; // CF 0, PF 1, AF 1, ZF 0, SF 1, OF 1
}

static long work(int rounds)
{
	long sum = 0, wrong = 0;
	struct record r = { -1, -300, -70000, -5000000000, 200, 60000, 4000000000u, "text", { 10, 11, -12, 13, 14, 15, 16, 17 } };

	for (int i = 0; i < rounds; i++) {
		sum += plain(i - 2, i * 1000L, "hello");
		wide(-1 - i, -1ULL, -2 - i, 4000000000u, (int16_t)-3, 60000, -4, 200);
		twelve(i * 100L);
		bytes(0x1122334455667788 + i);
		memory(&r, i % 8);
		fixed();
		of_global();
		sum += (long)floating(i, i);
		missing(16);
		sum += spread_one(i) + spread_two(i, i + 1);
		count_guarded(i);
		sum += sometimes(i) + loop(i) + cases(i % 8);
		none();
		wrong += kept(i);
	}
	printf("wrong %ld\n", wrong);
	return sum;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 10;
	int forks = argc > 2 ? atoi(argv[2]) : 0;

	printf("ready\n");
	fflush(stdout);
	getchar();
	if (forks && !fork()) {
		work(rounds);
		printf("child guarded %ld\n", guarded);
		fflush(stdout);
		_exit(0);
	}
	if (forks)
		wait(0);
	printf("sum %ld\n", work(rounds));
	printf("guarded %ld\ncold %ld\nlooped %ld\nsemaphore %d\ndone\n", guarded, cold, looped, app_guarded_semaphore);
	fflush(stdout);
	getchar();
	printf("semaphore at the end %d\n", app_guarded_semaphore);
	return 0;
}
