// Threads that call two functions and check each result until a line comes: hammer THREADS.
//
// Prints "ready", works from a first line to a second, prints "step N", "other N" and "wrong N", then "done".
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static volatile int is_over;
static unsigned long all_steps, all_others, all_wrong;

__attribute__((noinline)) long step(long a, long b) { __asm__ volatile("" : "+r"(a)); return a * 3 + b; }

__attribute__((noinline)) long other(long a)
{
	__asm__ volatile("" : "+r"(a));
	return a & 1 ? step(a, 1) : a - 7;
}

static void *work(void *unused)
{
	unsigned long steps = 0, others = 0, wrong = 0;

	(void)unused;
	for (long i = 0; !is_over; i++) {
		wrong += step(i, 2) != i * 3 + 2;
		wrong += other(i) != (i & 1 ? i * 3 + 1 : i - 7);
		steps += 1 + (i & 1);
		others++;
	}
	__atomic_fetch_add(&all_steps, steps, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&all_others, others, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&all_wrong, wrong, __ATOMIC_SEQ_CST);
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t thread[256];
	int threads = argc > 1 ? atoi(argv[1]) : 1;

	puts("ready");
	fflush(stdout);
	getchar();
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], 0, work, 0);
	getchar();
	is_over = 1;
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], 0);
	printf("step %lu\nother %lu\nwrong %lu\ndone\n", all_steps, all_others, all_wrong);
	fflush(stdout);
	getchar();
	return all_wrong != 0;
}
