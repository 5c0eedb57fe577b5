// Threads that wait for one another at a mutex.
#include <pthread.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void *work(void *none)
{
	for (int i = 0; i < 20; i++) {
		pthread_mutex_lock(&mutex);
		usleep(300);
		pthread_mutex_unlock(&mutex);
	}
	return none;
}

int main(void)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], 0, work, 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], 0);
	return 0;
}
