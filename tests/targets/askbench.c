// Times system calls: reads "KIND N" lines; 0 getppid, 1 syscall(getppid), 2 getuid. Prints "ns T" and "done".
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static unsigned long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long)t.tv_sec * 1000000000 + (unsigned long)t.tv_nsec;
}

static unsigned long run(int kind, unsigned long calls)
{
	unsigned long start = now();

	switch (kind) {
	case 0:
		for (unsigned long i = 0; i < calls; i++)
			getppid();
		break;
	case 1:
		for (unsigned long i = 0; i < calls; i++)
			syscall(SYS_getppid);
		break;
	default:
		for (unsigned long i = 0; i < calls; i++)
			getuid();
	}
	return now() - start;
}

int main(void)
{
	unsigned long calls;
	int kind;

	puts("ready");
	fflush(stdout);
	while (scanf("%d %lu", &kind, &calls) == 2) {
		printf("ns %lu\ndone\n", run(kind, calls));
		fflush(stdout);
	}
	return 0;
}
