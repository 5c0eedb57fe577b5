// Kernels of `measured.ptx` with their launches timed by events: argv is an image, a case, its size, launches before and
// launches that are timed. It says `ready` and waits for a line; then for each line it works: `done` follows the times,
// one `ns N` each, and a file that the line names gets the output. The end of its input ends it.
#include "cuda.h"

enum { BLOCK = 256, TILE = 16, NODES = 20 };
static const struct shape {
	const char *kernel;
	u32 inputs, outputs; // 0: as many as n, 1: n by n, 2: n / BLOCK
} shapes[] = { { "vector_add", 0, 0 }, { "matmul", 1, 1 }, { "reduction", 0, 2 }, { "softmax", 1, 1 }, { "small", 0, 0 } };

static u32 n, grid[3] = { 1, 1, 1 }, block[3] = { BLOCK, 1, 1 };
static CUdeviceptr a, b, out;
static void *parameters[] = { &a, &b, &out, &n };
static CUfunction kernel;
static CUgraphExec exec;

static size_t count(u32 kind)
{
	return kind == 1 ? (size_t)n * n : kind == 2 ? (n + BLOCK - 1) / BLOCK : n;
}

static CUdeviceptr filled(size_t values, u32 seed)
{
	float *host = malloc(values * sizeof(float));
	CUdeviceptr at;

	if (!host)
		exit(6);
	for (size_t i = 0; i < values; i++)
		host[i] = (float)((seed = seed * 1664525 + 1013904223) >> 8) / (1 << 24);
	check(cuMemAlloc_v2(&at, values * sizeof(float)), "alloc");
	check(cuMemcpyHtoD_v2(at, host, values * sizeof(float)), "copy");
	free(host);
	return at;
}

static void choose(const struct shape *shape)
{
	grid[0] = (n + BLOCK - 1) / BLOCK;
	if (!strcmp(shape->kernel, "softmax"))
		grid[0] = n;
	if (!strcmp(shape->kernel, "matmul")) {
		block[0] = block[1] = TILE;
		grid[0] = grid[1] = n / TILE;
	}
}

// Each node waits for the one before.
static void make_graph(void)
{
	struct node node = { kernel, { grid[0], 1, 1 }, { BLOCK, 1, 1 }, 0, parameters, 0, 0, 0 };
	CUgraph graph;
	void *made = 0;

	check(cuGraphCreate(&graph, 0), "graph");
	for (int i = 0; i < NODES; i++) {
		void *before = made;

		check(cuGraphAddKernelNode_v2(&made, graph, i ? &before : 0, i > 0, &node), "node");
	}
	check(cuGraphInstantiateWithFlags(&exec, graph, 0), "instantiate");
}

static void launch(void)
{
	if (exec)
		check(cuGraphLaunch(exec, 0), "graph launch");
	else
		check(cuLaunchKernel(kernel, grid[0], grid[1], grid[2], block[0], block[1], block[2], 0, 0, parameters, 0), "launch");
}

static void keep(const char *path, size_t values)
{
	float *host = malloc(values * sizeof(float));
	FILE *file = fopen(path, "wb");

	if (!host || !file)
		exit(7);
	check(cuMemcpyDtoH_v2(host, out, values * sizeof(float)), "copy");
	if (fwrite(host, sizeof(float), values, file) != values)
		exit(8);
	fclose(file);
	free(host);
}

static void work(int before, int timed, u32 outputs)
{
	CUevent *events = calloc((size_t)timed * 2, sizeof(*events));
	float ms;

	check(cuMemsetD8_v2(out, 0, count(outputs) * sizeof(float)), "clear"); // what launches before have left there
	for (int i = 0; i < before; i++)
		launch();
	for (int i = 0; i < 2 * timed; i++)
		check(cuEventCreate(&events[i], 0), "event");
	check(cuCtxSynchronize(), "wait");
	for (int i = 0; i < timed; i++) {
		check(cuEventRecord(events[2 * i], 0), "record");
		launch();
		check(cuEventRecord(events[2 * i + 1], 0), "record");
	}
	check(cuCtxSynchronize(), "wait");
	for (int i = 0; i < timed; i++) {
		check(cuEventElapsedTime(&ms, events[2 * i], events[2 * i + 1]), "elapsed");
		printf("ns %.0f\n", (double)ms * 1e6);
	}
	for (int i = 0; i < 2 * timed; i++)
		check(cuEventDestroy_v2(events[i]), "destroy");
	free(events);
}

static void start(const char *image, const struct shape *shape)
{
	CUcontext context;
	CUmodule module;

	check(cuInit(0), "cuInit");
	check(cuDevicePrimaryCtxRetain(&context, 0), "retain");
	check(cuCtxSetCurrent(context), "set");
	check(cuModuleLoadData(&module, whole(image)), "load");
	check(cuModuleGetFunction(&kernel, module, shape->kernel), "function");
	a = filled(count(shape->inputs), 1);
	b = filled(count(shape->inputs), 2);
	out = filled(count(shape->outputs), 3);
	choose(shape);
	if (!strcmp(shape->kernel, "small"))
		make_graph();
}

int main(int argc, char **argv)
{
	char line[512];
	const struct shape *shape = shapes, *end = shapes + sizeof(shapes) / sizeof(shapes[0]);

	if (argc < 6)
		return 2;
	while (shape < end && strcmp(shape->kernel, argv[2]))
		shape++;
	if (shape == end)
		return 2;
	n = (u32)atoi(argv[3]);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!kernel)
			start(argv[1], shape);
		work(atoi(argv[4]), atoi(argv[5]), shape->outputs);
		if (*line)
			keep(line, count(shape->outputs));
		printf("threads %llu\ndone\n", (unsigned long long)grid[0] * grid[1] * block[0] * block[1] * (exec ? NODES : 1));
		fflush(stdout);
	}
	return 0;
}
