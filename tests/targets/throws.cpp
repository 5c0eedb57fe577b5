// Exceptions through functions: every other call of thrower() throws, and catcher() catches. throws ROUNDS.
//
// Protocol of loop.c.
#include <cstdio>
#include <cstdlib>

#define NOINLINE extern "C" __attribute__((noipa))

NOINLINE long thrower(long a)
{
	if (a & 1)
		throw a;
	return a + 1;
}

NOINLINE long middle(long a)
{
	long before = a ^ 0x55;

	__asm__ volatile("" : "+r"(before));
	return thrower(a) + (before ^ 0x55) - a;
}

NOINLINE long hasty(long a) { return middle(a) + 1; }

NOINLINE long catcher(long a)
{
	volatile long seen = a;

	(void)seen;
	try {
		return a & 2 ? hasty(a) - 1 : middle(a);
	} catch (long thrown) {
		return -thrown;
	}
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? std::atol(argv[1]) : 2, wrong = 0;

	std::puts("ready");
	std::fflush(stdout);
	std::getchar();
	for (long i = 0; i < rounds; i++)
		wrong += catcher(i) != (i & 1 ? -i : i + 1);
	std::printf("rounds %ld\nwrong %ld\ndone\n", rounds, wrong);
	std::fflush(stdout);
	std::getchar();
	return wrong != 0;
}
