// Bursts of calls with a pause after each: paced BURSTS CALLS. Prints "ready", waits for a line, calls step(0),
// step(1), … and prints "burst" after each CALLS, then waits for a line; "done" at the end.
#include <stdio.h>
#include <stdlib.h>

__attribute__((noinline)) long step(long a) { __asm__ volatile("" : "+r"(a)); return a + 2; }

int main(int argc, char **argv)
{
	long bursts = argc > 1 ? atol(argv[1]) : 1, calls = argc > 2 ? atol(argv[2]) : 1000, number = 0;

	puts("ready");
	fflush(stdout);
	getchar();
	for (long b = 0; b < bursts; b++) {
		for (long i = 0; i < calls; i++, number++)
			if (step(number) != number + 2)
				return 1;
		puts("burst");
		fflush(stdout);
		getchar();
	}
	puts("done");
	fflush(stdout);
	getchar();
	return 0;
}
