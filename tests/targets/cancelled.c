// A thousand reads, and one that never ends: its thread is cancelled in it. Prints `cancelled 1` then.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int ends[2];

static void *reads(void *unused)
{
	char byte;

	read(ends[0], &byte, 1);
	return unused;
}

int main(void)
{
	struct timespec while_it_blocks = { 0, 100000000 };
	char text[64];
	int file = open("/proc/self/exe", O_RDONLY);
	pthread_t thread;
	void *result;

	for (int i = 0; i < 1000; i++) {
		lseek(file, 0, SEEK_SET);
		if (read(file, text, sizeof text) != sizeof text)
			return 1;
	}
	if (pipe(ends) || pthread_create(&thread, 0, reads, 0))
		return 1;
	nanosleep(&while_it_blocks, 0);
	pthread_cancel(thread);
	pthread_join(thread, &result);
	printf("cancelled %d\n", result == PTHREAD_CANCELED);
	return 0;
}
