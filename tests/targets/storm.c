// Probed functions called from signal handlers on top of probed functions: storm THREADS CALLS. Protocol of loop.c.
//
// A timer of 10 kHz interrupts threads that call `work_step`; its handler calls `work_step` and `in_handler`.
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

static unsigned long calls, steps, handled, wrong;

__attribute__((noinline)) long work_step(long a, long b) { __asm__ volatile("" : "+r"(a)); return a * 5 + b; }
__attribute__((noinline)) long in_handler(long a) { __asm__ volatile("" : "+r"(a)); return a + 1; }

static void on_alarm(int number)
{
	unsigned long bad = work_step(number, 2) != number * 5 + 2;

	bad += in_handler(number) != number + 1;
	__atomic_fetch_add(&handled, 1, __ATOMIC_SEQ_CST);
	if (bad)
		__atomic_fetch_add(&wrong, bad, __ATOMIC_SEQ_CST);
}

static void *work(void *unused)
{
	unsigned long bad = 0;

	(void)unused;
	for (unsigned long i = 0; i < calls; i++)
		bad += work_step((long)i, 1) != (long)i * 5 + 1;
	__atomic_fetch_add(&steps, calls, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&wrong, bad, __ATOMIC_SEQ_CST);
	return 0;
}

int main(int argc, char **argv)
{
	struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
	pthread_t thread[64];
	int threads = argc > 1 ? atoi(argv[1]) : 1;

	calls = argc > 2 ? strtoul(argv[2], 0, 0) : 1000;
	signal(SIGALRM, on_alarm);
	puts("ready");
	fflush(stdout);
	getchar();
	setitimer(ITIMER_REAL, &often, 0);
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], 0, work, 0);
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], 0);
	setitimer(ITIMER_REAL, &never, 0);
	printf("handled %lu\nsteps %lu\nwrong %lu\ndone\n", handled, steps + handled, wrong);
	fflush(stdout);
	getchar();
	return wrong != 0;
}
