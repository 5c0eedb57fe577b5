// A threaded program that keeps its own exact count, for comparing with what probes counted.
//
// usage: loop THREADS CALLS. Prints "ready", waits for a line on stdin, calls step() CALLS times in each thread,
// prints "calls N" and "done" and waits for another line (or end of file) before it ends.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long calls;
static unsigned long total;

__attribute__((noinline)) int step(int a, int b)
{
	__asm__ volatile("" : "+r"(a));
	return a * 3 + b;
}

static void *work(void *unused)
{
	volatile int x = 0;

	(void)unused;
	for (unsigned long i = 0; i < calls; i++)
		x = step(x, (int)(i & 7));
	__atomic_fetch_add(&total, calls, __ATOMIC_SEQ_CST);
	return 0;
}

int main(int argc, char **argv)
{
	int threads = argc > 1 ? atoi(argv[1]) : 1;
	pthread_t thread[256];

	calls = argc > 2 ? strtoul(argv[2], 0, 0) : 1000000;
	puts("ready");
	fflush(stdout);
	getchar();
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], 0, work, 0);
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], 0);
	printf("calls %lu\ndone\n", total);
	fflush(stdout);
	getchar();
	return 0;
}
