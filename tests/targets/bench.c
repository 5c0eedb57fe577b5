// How long one call takes: bench. Reads "CALLS\n" lines, calls step() so often, prints the nanoseconds it took.
//
// DEPTH: frames between main() and the loop. MARKED: step() holds a static marker.
#include <stdio.h>
#include <time.h>
#ifdef MARKED
#include <sys/sdt.h>
#else
#define DTRACE_PROBE2(provider, name, a, b)
#endif
#ifndef DEPTH
#define DEPTH 0
#endif

__attribute__((noinline, aligned(64))) long step(long a, long b)
{
	__asm__ volatile("" : "+r"(a));
	DTRACE_PROBE2(bench, stepped, a, b);
	return a * 3 + b;
}

static unsigned long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long)t.tv_sec * 1000000000UL + (unsigned long)t.tv_nsec;
}

static unsigned long run(unsigned long calls)
{
	volatile long x = 0;
	unsigned long start = now();

	for (unsigned long i = 0; i < calls; i++)
		x = step((long)i & 1023, 3);
	(void)x;
	return now() - start;
}

__attribute__((noipa, optimize("no-optimize-sibling-calls"))) unsigned long down(int depth, unsigned long calls)
{
	return (depth ? down(depth - 1, calls) : run(calls)) + 0 * (unsigned long)depth;
}

int main(void)
{
	unsigned long calls;

	puts("ready");
	fflush(stdout);
	while (scanf("%lu", &calls) == 1) {
		printf("ns %lu\ndone\n", down(DEPTH, calls));
		fflush(stdout);
	}
	return 0;
}
