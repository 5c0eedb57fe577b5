// Loads and unloads a library: loads LIBRARY ROUNDS HOW, HOW one of plain, namespace, threads, kept, closing.
//
// Each round calls plugin_step ten times and once by its constructor. `kept` does not unload, and waits for a line
// before each round; `threads` has four threads at it; `closing` ends with the library loaded. Protocol of loop.c.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *path, *how;
static int rounds;
static long calls, wrong;

static void once(int keep)
{
	int namespaced = !strcmp(how, "namespace");
	void *library = namespaced ? dlmopen(LM_ID_NEWLM, path, RTLD_NOW) : dlopen(path, RTLD_NOW);
	int (*step)(int) = library ? (int (*)(int))dlsym(library, "plugin_step") : 0;

	if (!step) {
		puts(dlerror());
		exit(2);
	}
	for (int i = 0; i < 10; i++)
		if (step(i) != i + 1)
			__atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&calls, 10, __ATOMIC_RELAXED);
	if (!keep)
		dlclose(library);
}

static void *work(void *unused)
{
	(void)unused;
	for (int i = 0; i < rounds; i++)
		once(0);
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t thread[4];

	if (argc < 4)
		return 2;
	path = argv[1], rounds = atoi(argv[2]), how = argv[3];
	puts("ready");
	fflush(stdout);
	getchar();
	if (!strcmp(how, "threads")) {
		for (int i = 0; i < 4; i++)
			pthread_create(&thread[i], 0, work, 0);
		for (int i = 0; i < 4; i++)
			pthread_join(thread[i], 0);
	} else if (!strcmp(how, "kept")) {
		for (int i = 0; i < rounds; i++) {
			once(1);
			puts("round");
			fflush(stdout);
			getchar();
		}
	} else {
		work(0);
	}
	if (!strcmp(how, "closing"))
		once(1);
	printf("calls %ld\nwrong %ld\ndone\n", calls, wrong);
	fflush(stdout);
	getchar();
	return 0;
}
