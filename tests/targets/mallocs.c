// Threads that call malloc and free: mallocs THREADS CALLS. Protocol of loop.c; prints "malloc N" and "done".
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long calls;

static void *work(void *unused)
{
	(void)unused;
	for (unsigned long i = 0; i < calls; i++) {
		char *volatile place = malloc(4321);

		free(place);
	}
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t thread[64];
	int threads = argc > 1 ? atoi(argv[1]) : 1;

	calls = argc > 2 ? strtoul(argv[2], 0, 0) : 1000;
	puts("ready");
	fflush(stdout);
	getchar();
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], 0, work, 0);
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], 0);
	printf("malloc %lu\ndone\n", calls * (unsigned long)threads);
	fflush(stdout);
	getchar();
	return 0;
}
