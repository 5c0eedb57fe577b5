// Two coroutines on one thread, each of which stands inside a function while the other one runs: woven ROUNDS.
//
// Protocol of loop.c.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define NOINLINE __attribute__((noipa))
#define KEEP(x) __asm__ volatile("" : "+r"(x))

static ucontext_t home, ways[2];
static long order;

NOINLINE void filler(void) { } // a ret and padding: room for a jump near by

// Each coroutine stands inside this function while the other one runs.
NOINLINE long weave(long id, long n)
{
	KEEP(n);
	for (long i = 0; i < n; i++) {
		order = order * 10 + id;
		swapcontext(&ways[id - 1], &ways[2 - id]);
	}
	return id * 100 + n;
}

static long woven;
static void strand(int id) { woven += weave(id, 2); }

static long coroutines(void)
{
	static char stack[2][65536] __attribute__((aligned(16)));

	order = woven = 0;
	for (int i = 0; i < 2; i++) {
		getcontext(&ways[i]);
		ways[i].uc_stack.ss_sp = stack[i];
		ways[i].uc_stack.ss_size = sizeof stack[i];
		ways[i].uc_link = i ? &home : &ways[1];
		makecontext(&ways[i], (void (*)(void))strand, 1, i + 1);
	}
	swapcontext(&home, &ways[0]);
	return (order != 1212) + (woven != 304);
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? atol(argv[1]) : 2, wrong = 0;

	puts("ready");
	fflush(stdout);
	getchar();
	for (long i = 0; i < rounds; i++)
		wrong += coroutines();
	printf("rounds %ld\nwrong %ld\ndone\n", rounds, wrong);
	fflush(stdout);
	getchar();
	return wrong != 0;
}
