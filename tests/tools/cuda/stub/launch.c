// Launches and graphs of kernels.
#include "stub.h"

struct config { // CUlaunchConfig
	u32 grid[3], block[3], shared;
	CUstream stream;
	void *attributes;
	u32 n;
};

struct node { // CUDA_KERNEL_NODE_PARAMS_v2
	CUfunction function;
	u32 grid[3], block[3], shared;
	void **parameters, **extra;
	CUkernel kernel;
	CUcontext context;
};

struct graph {
	struct node nodes[64];
	u8 values[64][512];
	u32 n;
};

API CUresult cuLaunchKernel(CUfunction f, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, CUstream stream,
			    void **parameters, void **extra)
{
	(void)stream;
	log_line("cuLaunchKernel", f->name);
	return run(f, (u32[3]){ gx, gy, gz }, (u32[3]){ bx, by, bz }, shared, parameters, extra);
}

API CUresult cuLaunchKernel_ptsz(CUfunction f, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared, CUstream stream,
				 void **parameters, void **extra)
{
	(void)stream;
	log_line("cuLaunchKernel_ptsz", f->name);
	return run(f, (u32[3]){ gx, gy, gz }, (u32[3]){ bx, by, bz }, shared, parameters, extra);
}

API CUresult cuLaunchCooperativeKernel(CUfunction f, u32 gx, u32 gy, u32 gz, u32 bx, u32 by, u32 bz, u32 shared,
				       CUstream stream, void **parameters)
{
	(void)stream;
	log_line("cuLaunchCooperativeKernel", f->name);
	return run(f, (u32[3]){ gx, gy, gz }, (u32[3]){ bx, by, bz }, shared, parameters, 0);
}

API CUresult cuLaunchKernelEx(const struct config *c, CUfunction f, void **parameters, void **extra)
{
	log_line("cuLaunchKernelEx", f->name);
	return run(f, c->grid, c->block, c->shared, parameters, extra);
}

API CUresult cuGraphCreate(struct graph **graph, u32 flags)
{
	(void)flags;
	*graph = calloc(1, sizeof(**graph));
	return OK;
}

API CUresult cuGraphAddKernelNode_v2(void **node, struct graph *graph, void **on, size_t n, const struct node *want)
{
	struct node *own = &graph->nodes[graph->n];
	u8 *values = graph->values[graph->n++];
	struct kernel *k = want->function ? want->function : want->kernel;

	(void)on, (void)n;
	*own = *want;
	own->function = k;
	for (u32 i = 0; i < k->n; i++)
		memcpy(values + k->parameters[i].offset, want->parameters[i], k->parameters[i].size);
	own->parameters = 0;
	*node = own;
	return OK;
}

API CUresult cuGraphInstantiateWithFlags(struct graph **exec, struct graph *graph, u64 flags)
{
	(void)flags;
	*exec = malloc(sizeof(*graph));
	memcpy(*exec, graph, sizeof(*graph));
	return OK;
}

API CUresult cuGraphLaunch(struct graph *exec, CUstream stream)
{
	(void)stream;
	for (u32 i = 0; i < exec->n; i++) {
		struct node *node = &exec->nodes[i];
		void *extra[] = { (void *)1, exec->values[i], 0 };
		CUresult result = run(node->function, node->grid, node->block, node->shared, 0, extra);

		if (result)
			return result;
	}
	return OK;
}

API CUresult cuGraphExecDestroy(struct graph *exec)
{
	free(exec);
	return OK;
}

API CUresult cuGraphDestroy(struct graph *graph)
{
	free(graph);
	return OK;
}
