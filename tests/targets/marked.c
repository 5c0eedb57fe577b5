// A few markers with arguments in registers and constants: marked CALLS. For comparing with another tracer.
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#include <stdio.h>
#include <stdlib.h>

#define NOINLINE __attribute__((noinline, noclone))

__attribute__((section(".probes"))) volatile unsigned short app_turn_semaphore, app_guarded_semaphore;
__attribute__((section(".probes"))) volatile unsigned short app_spread_semaphore;

NOINLINE long turn(int n, long m, const char *text)
{
	STAP_PROBE3(app, turn, n, m, text);
	return n + m;
}

static inline __attribute__((always_inline)) void spread(long n, int where)
{
	STAP_PROBE2(app, spread, n, where);
}

NOINLINE long one(long n)
{
	spread(n, 1);
	return n * 3;
}

NOINLINE long two(long n)
{
	spread(n + 1, 2);
	return n * 5;
}

NOINLINE long guarded(long n)
{
	if (__builtin_expect(app_guarded_semaphore, 0))
		STAP_PROBE1(app, guarded, n);
	return n;
}

// Not the last function: behind it there is padding.
NOINLINE long last(long n)
{
	return n * 7 + 1;
}

int main(int argc, char **argv)
{
	long calls = argc > 1 ? atol(argv[1]) : 4, sum = 0;

	puts("ready");
	fflush(stdout);
	getchar();
	for (long i = 0; i < calls; i++)
		sum += turn((int)(i - 3), i * 7, i % 2 ? "odd" : "even") + one(i) + two(i) + guarded(i) + last(i);
	printf("sum %ld\ndone\n", sum);
	fflush(stdout);
	getchar();
	return 0;
}
