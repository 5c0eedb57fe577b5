// How long one call takes: bench. Reads "CALLS\n" lines, calls step() so often, prints the nanoseconds it took.
#include <stdio.h>
#include <time.h>

__attribute__((noinline, aligned(64))) long step(long a, long b)
{
	__asm__ volatile("" : "+r"(a));
	return a * 3 + b;
}

static unsigned long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long)t.tv_sec * 1000000000UL + (unsigned long)t.tv_nsec;
}

int main(void)
{
	unsigned long calls;

	puts("ready");
	fflush(stdout);
	while (scanf("%lu", &calls) == 1) {
		volatile long x = 0;
		unsigned long start = now();

		for (unsigned long i = 0; i < calls; i++)
			x = step((long)i & 1023, 3);
		(void)x;
		printf("ns %lu\ndone\n", now() - start);
		fflush(stdout);
	}
	return 0;
}
