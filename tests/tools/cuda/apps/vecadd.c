// A program of the driver's interface: it adds two vectors, `LAUNCHES` times, and checks the sum if kernels run (a server's, or
// `CHECKS`). argv: image, kernel.
//
// -DLIBRARY loads it as a library, -DGRAPH launches by a graph.
#include "cuda.h"

int main(int argc, char **argv)
{
	const char *name = argc > 2 ? argv[2] : "vecadd";
	int launches = getenv("LAUNCHES") ? atoi(getenv("LAUNCHES")) : 3;
	u32 n = 100;
	float a[100], b[100], c[100] = { 0 };
	CUdeviceptr da, db, dc;
	void *parameters[] = { &da, &db, &dc, &n };
	char *image = whole(argv[1]);
	CUcontext context;
	CUmodule module;
	CUfunction f;

	check(cuInit(0), "cuInit");
	check(cuDevicePrimaryCtxRetain(&context, 0), "retain");
	check(cuCtxSetCurrent(context), "set");
#ifdef LIBRARY
	CUlibrary library;

	check(cuLibraryLoadData(&library, image, 0, 0, 0, 0, 0, 0), "load");
	check(cuLibraryGetKernel(&f, library, name), "kernel");
	(void)module;
#else
	check(cuModuleLoadData(&module, image), "load");
	check(cuModuleGetFunction(&f, module, name), "function");
#endif
	for (u32 i = 0; i < n; i++) {
		a[i] = (float)i;
		b[i] = (float)(2 * i);
	}
	check(cuMemAlloc_v2(&da, sizeof(a)), "alloc");
	check(cuMemAlloc_v2(&db, sizeof(b)), "alloc");
	check(cuMemAlloc_v2(&dc, sizeof(c)), "alloc");
	check(cuMemcpyHtoD_v2(da, a, sizeof(a)), "copy");
	check(cuMemcpyHtoD_v2(db, b, sizeof(b)), "copy");
#ifdef GRAPH
	struct node node = { f, { 4, 1, 1 }, { 32, 1, 1 }, 0, parameters, 0, 0, 0 };
	CUgraph graph;
	CUgraphExec exec;
	void *made;

	check(cuGraphCreate(&graph, 0), "graph");
	check(cuGraphAddKernelNode_v2(&made, graph, 0, 0, &node), "node");
	check(cuGraphInstantiateWithFlags(&exec, graph, 0), "instantiate");
	for (int i = 0; i < launches; i++)
		check(cuGraphLaunch(exec, 0), "graph launch");
	launches = 0;
#endif
	for (int i = 0; i < launches; i++)
		check(cuLaunchKernel(f, 4, 1, 1, 32, 1, 1, 0, 0, parameters, 0), "launch");
	check(cuCtxSynchronize(), "wait");
	check(cuMemcpyDtoH_v2(c, dc, sizeof(c)), "copy");
	for (u32 i = 0; i < n; i++)
		if ((getenv("BPFTIME_STUB_SOCKET") || getenv("CHECKS")) && c[i] != a[i] + b[i])
			return printf("wrong at %u\n", i), 1;
	puts("done");
	return 0;
}
