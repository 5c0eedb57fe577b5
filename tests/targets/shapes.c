// Functions of awkward shapes, each called CALLS times by THREADS threads, each result checked.
//
// usage: shapes THREADS CALLS. Protocol of loop.c; prints "shape_NAME N" (calls made) and "wrong N", then "done".
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOINLINE __attribute__((noinline, noclone))

#ifndef ROOM
#define ROOM ""
#endif

// Written in assembly: nothing here has padding behind it unless it says so, or ROOM does.
#define FUNCTION(name, body)                                                                                          \
	__asm__(".text\n.globl " #name "\n.type " #name ",@function\n" #name ":\n.cfi_startproc\n" body               \
		"\n.cfi_endproc\n.size " #name ", . - " #name "\n" ROOM);                                                  \
	long name(long, long)

FUNCTION(shape_six, "lea 1(%rdi),%eax\n nop\n nop\n ret");                        // 6 bytes, a neighbour follows
FUNCTION(shape_five, "lea (%rdi,%rsi),%rax\n ret");                              // 5 bytes
FUNCTION(shape_two_pops, "push %rdi\n pop %rax\n ret");                          // 3 bytes
FUNCTION(shape_jcc_first, "test %rdi,%rdi\n je 1f\n lea (%rdi,%rsi),%rax\n ret\n1: xor %eax,%eax\n ret");
FUNCTION(shape_jmp_first, "jmp 1f\n .byte 0x90,0x90,0x90\n1: lea 7(%rdi),%rax\n ret");
FUNCTION(shape_call_first, "call shape_two_pops\n add %rsi,%rax\n ret");
FUNCTION(shape_sub_call, "sub $8,%rsp\n .cfi_adjust_cfa_offset 8\n call shape_two_pops\n add $8,%rsp\n"
			 " .cfi_adjust_cfa_offset -8\n add %rsi,%rax\n ret");
FUNCTION(shape_rip, "cmpl $0x12345678,shape_word(%rip)\n jne 1f\n mov shape_word(%rip),%eax\n add %rdi,%rax\n ret\n1: ud2");
FUNCTION(shape_rip_byte, "cmpb $0x78,shape_word(%rip)\n sete %al\n movzbl %al,%eax\n add %rdi,%rax\n ret");
FUNCTION(shape_repret, "mov %rdi,%rax\n repz ret");
FUNCTION(shape_jrcxz, "mov %rdi,%rcx\n jrcxz 1f\n lea (%rcx,%rcx),%rax\n ret\n1: mov $5,%eax\n ret");
FUNCTION(shape_endbr, "endbr64\n push %rbp\n .cfi_adjust_cfa_offset 8\n mov %rsp,%rbp\n mov %rdi,%rax\n pop %rbp\n"
		      " .cfi_adjust_cfa_offset -8\n ret");
FUNCTION(shape_pushes, "push %rbp\n .cfi_adjust_cfa_offset 8\n push %r15\n .cfi_adjust_cfa_offset 8\n push %r14\n"
		       " .cfi_adjust_cfa_offset 8\n mov %rdi,%r14\n lea (%r14,%rsi),%rax\n pop %r14\n"
		       " .cfi_adjust_cfa_offset -8\n pop %r15\n .cfi_adjust_cfa_offset -8\n pop %rbp\n"
		       " .cfi_adjust_cfa_offset -8\n ret");
FUNCTION(shape_return_address, "mov (%rsp),%rax\n mov (%rax),%al\n lea (%rdi,%rsi),%rax\n ret");
FUNCTION(shape_tail, "jmp shape_tail_body");
FUNCTION(shape_tail_body, "lea 3(%rdi,%rsi),%rax\n ret");
FUNCTION(shape_cond_tail, "test $1,%dil\n jne shape_tail_body\n lea (%rdi,%rsi),%rax\n ret");
FUNCTION(shape_lock, "lock addq $0,(%rsp)\n mov %rdi,%rax\n ret");
FUNCTION(shape_enter, "enter $32,$0\n .cfi_def_cfa_offset 16\n mov %rdi,-8(%rbp)\n mov -8(%rbp),%rax\n leave\n"
		      " .cfi_def_cfa rsp,8\n ret");
FUNCTION(shape_redzone, "mov %rdi,-8(%rsp)\n mov %rsi,-64(%rsp)\n mov -8(%rsp),%rax\n add -64(%rsp),%rax\n ret");
FUNCTION(shape_many_rets, "cmp $1,%rdi\n jb 1f\n je 2f\n cmp $3,%rdi\n jb 3f\n mov %rdi,%rax\n ret\n1: mov $10,%eax\n"
			  " ret\n2: mov $11,%eax\n ret\n3: mov $12,%eax\n ret");
FUNCTION(shape_back, "dec %rdi\n jg shape_back\n mov %rsi,%rax\n ret"); // its loop goes back to the entry
__asm__(".balign 16\n");
FUNCTION(shape_ret, "ret");
__asm__(".balign 16\n.data\n.globl shape_word\nshape_word: .long 0x12345678\n.text\n");

NOINLINE long shape_switch(long n, long b)
{
	switch (n & 7) {
	case 0: return b + 11;
	case 1: return b * 3;
	case 2: return b ^ 77;
	case 3: return b - 5;
	case 4: return b << 2;
	case 5: return b / 3;
	case 6: return ~b;
	default: return b % 9;
	}
}

NOINLINE long shape_nine(long a, long b, long c, long d, long e, long f, long g, long h, long i)
{
	__asm__ volatile("" ::: "memory");
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i;
}

NOINLINE long shape_varargs(long n, ...)
{
	va_list list;
	long sum = 0;

	va_start(list, n);
	for (long i = 0; i < n; i++)
		sum += i & 1 ? (long)va_arg(list, double) : va_arg(list, long);
	va_end(list);
	return sum;
}

NOINLINE double shape_double(double a, double b) { __asm__ volatile(""); return a * b + 1.0; }
NOINLINE long double shape_x87(long double a) { __asm__ volatile(""); return a * 2.0L; }
NOINLINE __int128 shape_pair(long a, long b) { __asm__ volatile(""); return ((__int128)a << 64) + b; }

struct big { long word[8]; };

NOINLINE struct big shape_struct(long a)
{
	struct big value;

	for (int i = 0; i < 8; i++)
		value.word[i] = a + i;
	return value;
}

__attribute__((noipa, optimize("no-optimize-sibling-calls"))) long shape_recursive(long n)
{
	__asm__ volatile("" : "+r"(n));
	return n < 2 ? n : shape_recursive(n - 1) + shape_recursive(n - 2);
}

// A static leaf: with -fipa-ra its caller keeps values in registers that a leaf of this kind does not touch.
static NOINLINE long shape_leaf(long a) { __asm__ volatile("" : "+r"(a)); return a + 1; }

NOINLINE long shape_caller(long a, long b, long c, long d, long e)
{
	long r = shape_leaf(a);

	return r + b * 2 + c * 3 + d * 4 + e * 5;
}

NOINLINE long shape_alloca(long n)
{
	char *room = __builtin_alloca((size_t)(n & 255) + 16);

	memset(room, 1, (size_t)(n & 255) + 16);
	__asm__ volatile("" ::"r"(room) : "memory");
	return room[n & 15] + n;
}

static __thread jmp_buf place;

NOINLINE long shape_leaper(long a)
{
	if (a >= 0)
		longjmp(place, (int)(a & 0xff) + 1);
	return a;
}

NOINLINE long shape_leapt(long a) { return shape_leaper(a) + 1; }

NOINLINE __attribute__((noreturn)) void shape_noreturn(long a) { longjmp(place, (int)(a & 0xff) + 1); }

#define CHECK(name, want, call) (made.name++, wrong += (unsigned long)((call) != (want)))

struct made { unsigned long shape_nine, shape_varargs, shape_leapt, shape_noreturn; };

static unsigned long calls, all_wrong, threads;

static unsigned long jumps(long i)
{
	volatile unsigned long wrong = 0;
	int back = setjmp(place);

	if (!back)
		wrong += (unsigned long)shape_leapt(i);
	wrong += back != (int)(i & 0xff) + 1;
	back = setjmp(place);
	if (!back)
		shape_noreturn(i);
	wrong += back != (int)(i & 0xff) + 1;
	return wrong;
}

static unsigned long plain(long i)
{
	unsigned long wrong = 0;

	wrong += shape_six(i, 0) != (int)(i + 1);
	wrong += shape_five(i, 3) != i + 3;
	wrong += shape_two_pops(i, 0) != i;
	wrong += shape_jcc_first(i & 1, 4) != (i & 1 ? 5 : 0);
	wrong += shape_jmp_first(i, 0) != i + 7;
	wrong += shape_call_first(i, 2) != i + 2;
	wrong += shape_sub_call(i, 2) != i + 2;
	wrong += shape_rip(i, 0) != i + 0x12345678;
	wrong += shape_rip_byte(i, 0) != i + 1;
	wrong += shape_repret(i, 0) != i;
	wrong += shape_jrcxz(i & 1, 0) != (i & 1 ? 2 : 5);
	wrong += shape_endbr(i, 0) != i;
	wrong += shape_pushes(i, 9) != i + 9;
	wrong += shape_return_address(i, 1) != i + 1;
	wrong += shape_tail(i, 1) != i + 4;
	wrong += shape_cond_tail(i, 1) != (i & 1 ? i + 4 : i + 1);
	wrong += shape_lock(i, 0) != i;
	wrong += shape_enter(i, 0) != i;
	wrong += shape_redzone(i, 5) != i + 5;
	wrong += shape_many_rets(i & 3, 0) != (i & 3 ? (i & 3) + 10 - ((i & 3) == 3 ? 10 : 0) : 10);
	wrong += shape_back(3, i) != i;
	shape_ret(i, i);
	return wrong;
}

static unsigned long compiled(long i)
{
	static const long arms[] = {1011, 3000, 1000 ^ 77, 995, 4000, 333, ~1000L, 1};
	struct big big = shape_struct(i);
	unsigned long wrong = 0;

	wrong += shape_switch(i, 1000) != arms[i & 7];
	wrong += shape_nine(i, 1, 2, 3, 4, 5, 6, 7, 8) != i + 2 + 6 + 12 + 20 + 30 + 42 + 56 + 72;
	wrong += shape_varargs(8, 1L, 2.0, 3L, 4.0, 5L, 6.0, 7L, 8.0) != 36;
	wrong += shape_double((double)i, 2.0) != 2.0 * (double)i + 1.0;
	wrong += shape_x87((long double)i) != 2.0L * (long double)i;
	wrong += shape_pair(i, i + 1) != ((__int128)i << 64) + i + 1;
	wrong += big.word[0] != i || big.word[7] != i + 7;
	wrong += shape_recursive(5) != 5;
	wrong += shape_caller(i, 2, 3, 4, 5) != i + 1 + 4 + 9 + 16 + 25;
	wrong += shape_alloca(i) != i + 1;
	return wrong;
}

static void *work(void *unused)
{
	unsigned long wrong = 0;

	(void)unused;
	for (unsigned long i = 0; i < calls; i++)
		wrong += plain((long)i) + compiled((long)i) + jumps((long)i);
	__atomic_fetch_add(&all_wrong, wrong, __ATOMIC_SEQ_CST);
	return 0;
}

static void report(void)
{
	static const struct { const char *name; unsigned long times; } rows[] = {
		{"shape_six", 1}, {"shape_five", 1}, {"shape_two_pops", 3}, {"shape_jcc_first", 1}, {"shape_jmp_first", 1},
		{"shape_call_first", 1}, {"shape_sub_call", 1}, {"shape_rip", 1}, {"shape_rip_byte", 1}, {"shape_repret", 1},
		{"shape_jrcxz", 1}, {"shape_endbr", 1}, {"shape_pushes", 1}, {"shape_return_address", 1}, {"shape_tail", 1},
		{"shape_cond_tail", 1}, {"shape_lock", 1}, {"shape_enter", 1}, {"shape_redzone", 1}, {"shape_many_rets", 1},
		{"shape_ret", 1}, {"shape_switch", 1}, {"shape_nine", 1}, {"shape_varargs", 1}, {"shape_double", 1},
		{"shape_x87", 1}, {"shape_pair", 1}, {"shape_struct", 1}, {"shape_recursive", 15}, {"shape_leaf", 1},
		{"shape_caller", 1}, {"shape_alloca", 1}, {"shape_leapt", 1}, {"shape_leaper", 1}, {"shape_noreturn", 1},
	};

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		printf("%s %lu\n", rows[i].name, rows[i].times * calls * threads);
	printf("shape_tail_body %lu\n", threads * (calls + calls / 2)); // CALLS is even
	printf("wrong %lu\ndone\n", all_wrong);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	pthread_t thread[64];

	threads = argc > 1 ? strtoul(argv[1], 0, 0) : 1;
	calls = argc > 2 ? strtoul(argv[2], 0, 0) : 1000;
	puts("ready");
	fflush(stdout);
	getchar();
	for (unsigned long i = 0; i < threads; i++)
		pthread_create(&thread[i], 0, work, 0);
	for (unsigned long i = 0; i < threads; i++)
		pthread_join(thread[i], 0);
	report();
	getchar();
	return all_wrong != 0;
}
