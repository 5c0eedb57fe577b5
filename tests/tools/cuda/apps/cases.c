// One case of use a run: argv is the case and a file with PTX. `poke` stands for a kernel: it adds to our first map, by the
// context constant, as a woven kernel does; the stub driver's device memory can be reached from here.
#include "cuda.h"
#include <pthread.h>
#include <unistd.h>

enum { BASES = 48, MANY = 20 };

static char *text;
static const char *path;

static CUcontext start(void)
{
	CUcontext context;

	check(cuInit(0), "cuInit");
	check(cuDevicePrimaryCtxRetain(&context, 0), "retain");
	check(cuCtxSetCurrent(context), "set");
	return context;
}

static void poke(CUmodule module, u64 by)
{
	CUdeviceptr constant = 0;
	u64 base;

	if (cuModuleGetGlobal_v2(&constant, 0, module, "__bpftime_ctx"))
		return;
	if (!(*(u64 *)constant & 1))
		return;
	base = *(u64 *)(constant + BASES);
	__atomic_fetch_add((u64 *)base, by, __ATOMIC_RELAXED);
}

static CUmodule load(void)
{
	CUmodule module;

	check(cuModuleLoadData(&module, text), "load");
	return module;
}

static int unload(void)
{
	CUmodule module;

	start();
	module = load();
	poke(module, 5);
	check(cuModuleUnload(module), "unload");
	return 0;
}

static int destroy(void)
{
	CUcontext context;
	CUmodule module;

	check(cuInit(0), "cuInit");
	for (int i = 0; i < 2; i++) {
		check(cuCtxCreate_v2(&context, 0, 0), "create");
		module = load();
		poke(module, 3);
		check(cuCtxDestroy_v2(context), "destroy");
	}
	return 0;
}

static int reset(void)
{
	start();
	poke(load(), 4);
	check(cuDevicePrimaryCtxReset_v2(0), "reset");
	start();
	poke(load(), 5);
	return 0;
}

static int quit(void)
{
	start();
	poke(load(), 6);
	_exit(7);
}

static int many(void)
{
	CUmodule modules[MANY];

	start();
	for (int i = 0; i < MANY; i++)
		modules[i] = load();
	for (int i = 0; i < MANY; i++)
		poke(modules[i], 1);
	for (int i = 0; i < MANY; i += 2)
		check(cuModuleUnload(modules[i]), "unload");
	return 0;
}

static void *one_thread(void *context)
{
	check(cuCtxSetCurrent(context), "set");
	for (int i = 0; i < 5; i++)
		poke(load(), 1);
	return 0;
}

static int threads(void)
{
	CUcontext context = start();
	pthread_t thread[8];

	for (int i = 0; i < 8; i++)
		pthread_create(&thread[i], 0, one_thread, context);
	for (int i = 0; i < 8; i++)
		pthread_join(thread[i], 0);
	return 0;
}

static int file(void)
{
	CUmodule module;
	CUlibrary library;

	start();
	check(cuModuleLoad(&module, path), "file");
	poke(module, 1);
	check(cuLibraryLoadFromFile(&library, path, 0, 0, 0, 0, 0, 0), "library of a file");
	poke(library, 1);
	printf("missing: %d\n", cuModuleLoad(&module, "/nowhere.ptx"));
	return 0;
}

static int linked(void)
{
	CUlinkState state;
	CUmodule module;
	void *cubin;
	size_t size;

	start();
	check(cuLinkCreate_v2(0, 0, 0, &state), "link");
	check(cuLinkAddData_v2(state, 1, text, strlen(text) + 1, "one", 0, 0, 0), "data");
	check(cuLinkAddFile_v2(state, 1, path, 0, 0, 0), "file");
	check(cuLinkComplete(state, &cubin, &size), "complete");
	check(cuModuleLoadData(&module, cubin), "load");
	poke(module, 9);
	return 0;
}

// The library is loaded before there is any context, and seen in two of them.
static int early(void)
{
	CUcontext first, second;
	CUlibrary library;
	CUfunction f;

	check(cuInit(0), "cuInit");
	check(cuLibraryLoadData(&library, text, 0, 0, 0, 0, 0, 0), "load");
	check(cuDevicePrimaryCtxRetain(&first, 0), "retain");
	check(cuCtxSetCurrent(first), "set");
	check(cuLibraryGetKernel(&f, library, "vecadd"), "kernel");
	poke(library, 1);
	check(cuCtxCreate_v2(&second, 0, 0), "create");
	check(cuCtxSetCurrent(second), "set");
	return 0;
}

static int bad(void)
{
	static const u32 heads[][8] = { { 0xBA55ED50, 0x00100001, 0xffffffff, 0x7fffffff }, { 0x464c457f }, { 0x466243B1, 1 }, { 0 } };
	CUmodule module;

	start();
	printf("text: %d\n", cuModuleLoadData(&module, "this is no PTX"));
	printf("empty: %d\n", cuModuleLoadData(&module, ""));
	(void)heads;
	poke(load(), 2);
	return 0;
}

static int forked(void)
{
	start();
	poke(load(), 1);
	if (!fork())
		_exit(0);
	sleep(0);
	poke(load(), 1);
	return 0;
}

static int waits(void)
{
	start();
	poke(load(), 8);
	puts("loaded");
	fflush(stdout);
	pause();
	return 0;
}

int main(int argc, char **argv)
{
	static const struct { const char *name; int (*run)(void); } cases[] = {
		{ "unload", unload }, { "destroy", destroy }, { "reset", reset }, { "quit", quit }, { "many", many },
		{ "threads", threads }, { "file", file }, { "linked", linked }, { "early", early }, { "bad", bad },
		{ "forked", forked }, { "waits", waits },
	};

	if (argc < 3)
		return 2;
	path = argv[2];
	text = whole(path);
	for (u32 i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (!strcmp(argv[1], cases[i].name))
			return cases[i].run();
	return 2;
}
