// A tree of processes: family CHILDREN CALLS. Protocol of loop.c.
//
// Each child, by fork, calls `member` CALLS times and ends with status 0; then one vfork child and one started
// program (itself, with `leaf` as first argument) do the like. Prints "member N" for all together.
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

__attribute__((noinline)) long member(long a) { __asm__ volatile("" : "+r"(a)); return a + 3; }

static void live(unsigned long calls)
{
	for (unsigned long i = 0; i < calls; i++)
		if (member((long)i) != (long)i + 3)
			_exit(9);
}

static void *late(void *calls)
{
	live(*(unsigned long *)calls);
	return 0;
}

static int collect(int children)
{
	int bad = 0, status;

	for (int i = 0; i < children; i++)
		bad += wait(&status) < 0 || status != 0;
	return bad;
}

int main(int argc, char **argv)
{
	int children = argc > 1 ? atoi(argv[1]) : 1, bad = 0;
	unsigned long calls = argc > 2 ? strtoul(argv[2], 0, 0) : 1000;
	char *again[] = {argv[0], "leaf", argc > 2 ? argv[2] : "1000", 0};
	pthread_t thread;
	pid_t pid;

	if (argc > 1 && !strcmp(argv[1], "leaf")) {
		live(calls);
		return 0;
	}
	puts("ready");
	fflush(stdout);
	getchar();
	for (int i = 0; i < children; i++)
		if (!fork()) {
			pthread_create(&thread, 0, late, &calls);
			pthread_join(thread, 0);
			_exit(0);
		}
	live(calls);
	bad += collect(children);
	if (!vfork())
		_exit(member(1) == 4 ? 0 : 1);
	bad += collect(1);
	bad += posix_spawn(&pid, "/proc/self/exe", 0, 0, again, environ) != 0;
	bad += collect(1);
	if (!fork()) {
		execv("/proc/self/exe", again);
		_exit(1);
	}
	bad += collect(1);
	printf("member %lu\nforked %lu\nbad %d\ndone\n", calls * (unsigned long)(children + 3) + 1,
	       calls * (unsigned long)(children + 1) + 1, bad);
	fflush(stdout);
	getchar();
	return bad;
}
