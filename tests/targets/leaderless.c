// The first thread ends with pthread_exit while two others run on: leaderless CALLS. Protocol of loop.c.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long calls;
static pthread_t first;

__attribute__((noinline)) int step(int a)
{
	__asm__ volatile("" : "+r"(a));
	return a * 3;
}

static void *second(void *unused)
{
	pthread_join(first, 0);
	puts("ready");
	fflush(stdout);
	getchar();
	for (unsigned long i = 0; i < calls; i++)
		step((int)i);
	printf("calls %lu\ndone\n", calls);
	fflush(stdout);
	getchar();
	exit(0);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	calls = argc > 1 ? strtoul(argv[1], 0, 0) : 1000;
	first = pthread_self();
	pthread_create(&thread, 0, second, 0);
	pthread_exit(0);
}
