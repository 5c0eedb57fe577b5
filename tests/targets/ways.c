// Functions of every kind of argument, result and way out, called in one fixed order: ways ROUNDS. Protocol of loop.c.
//
// Built for the table tests/cases/attach: what a probe sees of each call is known beforehand.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOINLINE __attribute__((noipa))
#define KEEP(x) __asm__ volatile("" : "+r"(x))

// Results of all widths: what lies above them in rax is not zero.
#define NARROW(name, type) NOINLINE type name(uint64_t a) { KEEP(a); return (type)(0xa5a5a5a5a5a5a5a5 ^ a); }
NARROW(ret_u8, uint8_t)
NARROW(ret_i8, int8_t)
NARROW(ret_u16, uint16_t)
NARROW(ret_i16, int16_t)
NARROW(ret_u32, uint32_t)
NARROW(ret_i32, int32_t)
NARROW(ret_u64, uint64_t)
NARROW(ret_i64, int64_t)
NOINLINE bool ret_bool(uint64_t a) { KEEP(a); return a & 1; }
NOINLINE const char *ret_text(uint64_t a) { KEEP(a); return a & 1 ? "odd" : "even"; }

NOINLINE long nine(long a, long b, long c, long d, long e, long f, long g, long h, long i)
{
	KEEP(a);
	return a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g + 8 * h + 9 * i;
}

NOINLINE long mixed(int8_t a, double x, uint16_t b, float y, bool c)
{
	KEEP(c);
	return a + (long)x + b + (long)y + c;
}

NOINLINE __attribute__((optimize("no-optimize-sibling-calls"))) long factorial(long n)
{
	KEEP(n);
	return n < 2 ? 1 : n * factorial(n - 1);
}

NOINLINE long tail_out(long a) { KEEP(a); return a + 3; }
NOINLINE long tail_in(long a) { KEEP(a); return tail_out(a * 2); }

#define FUNCTION(name, body)                                                                                          \
	__asm__(".text\n.balign 16\n.globl " #name "\n.type " #name ",@function\n" #name ":\n.cfi_startproc\n" body   \
		"\n.cfi_endproc\n.size " #name ", . - " #name "\n.balign 16\n");                                      \
	long name(long, long)

FUNCTION(marked, "endbr64\n lea (%rdi,%rsi),%rax\n nop\n nop\n ret");
FUNCTION(three, "push %rdi\n pop %rax\n ret");
FUNCTION(nought, "ret");
FUNCTION(red, "mov %rdi,-8(%rsp)\n mov %rsi,-64(%rsp)\n nopl 0(%rax)\n mov -8(%rsp),%rax\n add -64(%rsp),%rax\n ret");
FUNCTION(steps, "mov %rdi,%rax\n add $1000,%rax\n add %rsi,%rax\n lea 7(%rax),%rax\n nop\n nop\n ret");

static jmp_buf place;

NOINLINE __attribute__((optimize("no-optimize-sibling-calls"))) long leaper(long a)
{
	KEEP(a);
	if (a & 1)
		longjmp(place, 1);
	return a;
}

NOINLINE long leapt(long a)
{
	long r = leaper(a);

	KEEP(r);
	return r + 1;
}

NOINLINE long pause_a_while(long ms)
{
	struct timespec time = {0, ms * 1000000};

	KEEP(ms);
	nanosleep(&time, 0);
	return ms;
}

static volatile long handled;
NOINLINE long tick(long a) { KEEP(a); return a + 1; }
static void on_signal(int number) { handled += tick(number); }
NOINLINE long interrupted(long a)
{
	raise(SIGUSR1);
	KEEP(a);
	return a;
}

NOINLINE void leave_thread(long a) { KEEP(a); pthread_exit((void *)a); }
static void *thread(void *a) { leave_thread((long)a); return 0; }

static long round_of(long i)
{
	pthread_t other;
	void *result;
	volatile long wrong = 0;

	wrong += ret_u8(i) != (uint8_t)(0xa5 ^ i);
	wrong += ret_i8(i) != (int8_t)(0xa5 ^ i);
	wrong += ret_u16(i) != (uint16_t)(0xa5a5 ^ i);
	wrong += ret_i16(i) != (int16_t)(0xa5a5 ^ i);
	wrong += ret_u32(i) != (uint32_t)(0xa5a5a5a5 ^ i);
	wrong += ret_i32(i) != (int32_t)(0xa5a5a5a5 ^ i);
	wrong += ret_u64(i) != (0xa5a5a5a5a5a5a5a5 ^ i);
	wrong += ret_i64(i) != (int64_t)(0xa5a5a5a5a5a5a5a5 ^ i);
	wrong += ret_bool(i) != (i & 1);
	wrong += ret_text(i)[0] != (i & 1 ? 'o' : 'e');
	wrong += nine(i, 1, 2, 3, 4, 5, 6, 7, 8) != i + 2 + 6 + 12 + 20 + 30 + 42 + 56 + 72;
	wrong += mixed(-3, 2.5, 40000, 1.5f, 1) != -3 + 2 + 40000 + 1 + 1;
	wrong += factorial(5) != 120;
	wrong += tail_in(i) != 2 * i + 3;
	wrong += marked(i, 2) != i + 2;
	wrong += three(i, 0) != i;
	nought(i, i);
	wrong += red(i, 5) != i + 5;
	wrong += steps(i, 5) != i + 1012;
	if (!setjmp(place))
		wrong += leapt(i) != i + 1;
	wrong += pause_a_while(2) != 2;
	handled = 0;
	wrong += interrupted(i) != i || handled != SIGUSR1 + 1;
	pthread_create(&other, 0, thread, (void *)i);
	pthread_join(other, &result);
	wrong += result != (void *)i;
	return wrong;
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 2, wrong = 0;

	signal(SIGUSR1, on_signal);
	puts("ready");
	fflush(stdout);
	getchar();
	for (long i = 0; i < rounds; i++)
		wrong += round_of(i);
	printf("rounds %ld\nwrong %ld\ndone\n", rounds, wrong);
	fflush(stdout);
	getchar();
	return wrong != 0;
}
