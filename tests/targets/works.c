// Operations that the ready scripts watch, in loops. Reads "OPERATION CALLS\n" lines, prints the nanoseconds each took.
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int null_fd, word;

__attribute__((noipa)) long step(long a)
{
	return a * 3;
}

static void call(void)
{
	step(5);
}

static void allocate(void)
{
	void *volatile memory = malloc(100);

	free(memory);
}

static void parent(void)
{
	syscall(SYS_getppid);
}

static void open_file(void)
{
	close(open("/dev/null", O_RDONLY));
}

static void stat_file(void)
{
	struct stat found;

	stat("/dev/null", &found);
}

static void write_byte(void)
{
	if (write(null_fd, "x", 1) != 1)
		abort();
}

static void lock(void)
{
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
}

static void wait_futex(void)
{
	syscall(SYS_futex, &word, FUTEX_WAIT, 1, 0, 0, 0); // the word is 0: returns at once
}

static void signal_self(void)
{
	kill(getpid(), 0);
}

static void connect_nowhere(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET };

	connect(-1, (struct sockaddr *)&to, sizeof(to));
}

static void sync_file(void)
{
	fsync(null_fd);
}

static const struct {
	const char *name;
	void (*run)(void);
} operations[] = {
	{ "call", call }, { "allocate", allocate }, { "parent", parent }, { "open", open_file }, { "stat", stat_file },
	{ "write", write_byte }, { "lock", lock }, { "futex", wait_futex }, { "kill", signal_self },
	{ "connect", connect_nowhere }, { "sync", sync_file },
};

static unsigned long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long)t.tv_sec * 1000000000UL + (unsigned long)t.tv_nsec;
}

static unsigned long run(const char *name, unsigned long calls)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
		unsigned long start = now();

		if (strcmp(operations[i].name, name))
			continue;
		for (unsigned long n = 0; n < calls; n++)
			operations[i].run();
		return now() - start;
	}
	return 0;
}

int main(void)
{
	unsigned long calls;
	char name[16];

	null_fd = open("/dev/null", O_WRONLY);
	puts("ready");
	fflush(stdout);
	while (scanf("%15s %lu", name, &calls) == 2) {
		printf("ns %lu\ndone\n", run(name, calls));
		fflush(stdout);
	}
	return 0;
}
