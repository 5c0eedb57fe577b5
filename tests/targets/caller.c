// Calls caller_add(N, 2 * N) once for each number read, prints its result: a probe's effect seen call by call.
//
// usage: caller. Prints "ready", then for each line "N" the line "is RESULT", until the end of its input.
#include <stdio.h>
#include <stdlib.h>

// Pushes, a frame, several exits: an override has something to undo, a return probe something to choose.
__attribute__((noipa)) long caller_add(long a, long b)
{
	long sum = a;

	if (a < 0)
		return -1;
	for (long i = 0; i < (b & 3); i++) {
		__asm__ volatile("" : "+r"(sum) : : "rbx", "r12", "r13");
		sum += i;
	}
	return sum + b;
}

int main(void)
{
	char line[64];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		long n = strtol(line, 0, 0);

		printf("is %ld\n", caller_add(n, 2 * n));
		fflush(stdout);
	}
	return 0;
}
