// Burns time in two functions, in two threads, and writes a variable: burns N. Prints where that is, then "ready";
// waits for a line, works, prints "done" and waits again.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

volatile long watched;
static long rounds;

__attribute__((noinline)) void hot(void) { for (volatile long i = 0; i < 20000000; i++) continue; }
__attribute__((noinline)) void cold(void) { for (volatile long i = 0; i < 1000000; i++) continue; }

static void *work(void *own)
{
	for (long i = 0; i < rounds; i++) {
		char *page = mmap(0, 40960, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (int n = 0; n < 10; n++)
			page[n * 4096] = 1; // a fault each
		munmap(page, 40960);
		hot();
		cold();
		if (own)
			watched = i + 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	rounds = argc > 1 ? atol(argv[1]) : 1;
	printf("watched %p\nready\n", (void *)&watched);
	fflush(stdout);
	getchar();
	pthread_create(&thread, 0, work, 0);
	work(&thread);
	pthread_join(thread, 0);
	puts("done");
	fflush(stdout);
	getchar();
	return 0;
}
