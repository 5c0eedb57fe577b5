// Reaches stack_here() by every kind of frame: recursion, callbacks through the C library, variable and realigned
// frames, a signal handler. Compiled without frame pointers; nothing is printed but "ready" and "done".
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP __attribute__((noipa, optimize("no-optimize-sibling-calls")))

STEP long stack_here(long a) { return a + 1; }

STEP long recursion(long n) { return n ? recursion(n - 1) + 1 : stack_here(n) + 1; }

STEP int compare(const void *a, const void *b, void *sign)
{
	return (int)(stack_here(*(const char *)a) - *(const char *)b - 1) * *(int *)sign;
}

STEP long callback(void)
{
	char two[] = { 2, 1 };
	int sign = 1;

	qsort_r(two, 2, 1, compare, &sign); // qsort itself only jumps there: a debugger would show what is no frame
	return two[0];
}

STEP long variable(long n)
{
	char *room = __builtin_alloca((size_t)n);

	memset(room, 0, (size_t)n);
	__asm__ volatile("" ::"r"(room) : "memory");
	return stack_here(room[0]) + n;
}

STEP long realigned(long n)
{
	_Alignas(64) char room[64];

	__asm__ volatile("" ::"r"(room) : "memory");
	return variable(n) + ((long)room & 63);
}

static void handler(int number) { stack_here(number); }

STEP long signalled(void)
{
	raise(SIGUSR1);
	return 1;
}

int main(void)
{
	long sum;

	signal(SIGUSR1, handler);
	puts("ready");
	fflush(stdout);
	getchar();
	sum = recursion(3) + callback() + variable(100) + realigned(50) + signalled();
	puts("done");
	fflush(stdout);
	getchar();
	return sum < 0;
}
