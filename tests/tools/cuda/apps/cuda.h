// As much of cuda.h as the small programs need, and what they share.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint32_t u32;
typedef uint64_t u64;
typedef int CUresult, CUdevice;
typedef u64 CUdeviceptr;
typedef void *CUcontext, *CUmodule, *CUlibrary, *CUfunction, *CUstream, *CUgraph, *CUgraphExec, *CUlinkState, *CUevent;

CUresult cuInit(u32);
CUresult cuDevicePrimaryCtxRetain(CUcontext *, CUdevice);
CUresult cuDevicePrimaryCtxReset_v2(CUdevice);
CUresult cuCtxCreate_v2(CUcontext *, u32, CUdevice);
CUresult cuCtxDestroy_v2(CUcontext);
CUresult cuCtxSetCurrent(CUcontext);
CUresult cuCtxSynchronize(void);
CUresult cuModuleLoad(CUmodule *, const char *);
CUresult cuModuleLoadData(CUmodule *, const void *);
CUresult cuModuleLoadDataEx(CUmodule *, const void *, u32, int *, void **);
CUresult cuModuleLoadFatBinary(CUmodule *, const void *);
CUresult cuModuleUnload(CUmodule);
CUresult cuModuleGetFunction(CUfunction *, CUmodule, const char *);
CUresult cuModuleGetGlobal_v2(CUdeviceptr *, size_t *, CUmodule, const char *);
CUresult cuLibraryLoadData(CUlibrary *, const void *, int *, void **, u32, int *, void **, u32);
CUresult cuLibraryLoadFromFile(CUlibrary *, const char *, int *, void **, u32, int *, void **, u32);
CUresult cuLibraryGetKernel(CUfunction *, CUlibrary, const char *);
CUresult cuLibraryUnload(CUlibrary);
CUresult cuLinkCreate_v2(u32, int *, void **, CUlinkState *);
CUresult cuLinkAddData_v2(CUlinkState, int, void *, size_t, const char *, u32, int *, void **);
CUresult cuLinkAddFile_v2(CUlinkState, int, const char *, u32, int *, void **);
CUresult cuLinkComplete(CUlinkState, void **, size_t *);
CUresult cuLinkDestroy(CUlinkState);
CUresult cuMemAlloc_v2(CUdeviceptr *, size_t);
CUresult cuMemcpyHtoD_v2(CUdeviceptr, const void *, size_t);
CUresult cuMemcpyDtoH_v2(void *, CUdeviceptr, size_t);
CUresult cuMemsetD8_v2(CUdeviceptr, unsigned char, size_t);
CUresult cuLaunchKernel(CUfunction, u32, u32, u32, u32, u32, u32, u32, CUstream, void **, void **);
struct node { // CUDA_KERNEL_NODE_PARAMS_v2
	CUfunction function;
	u32 grid[3], block[3], shared;
	void **parameters, **extra;
	CUfunction kernel;
	CUcontext context;
};
CUresult cuGraphCreate(CUgraph *, u32);
CUresult cuGraphAddKernelNode_v2(void **, CUgraph, void **, size_t, const struct node *);
CUresult cuGraphInstantiateWithFlags(CUgraphExec *, CUgraph, u64);
CUresult cuGraphLaunch(CUgraphExec, CUstream);
CUresult cuEventCreate(CUevent *, u32);
CUresult cuEventRecord(CUevent, CUstream);
CUresult cuEventElapsedTime(float *, CUevent, CUevent);
CUresult cuEventDestroy_v2(CUevent);
CUresult cuGetProcAddress_v2(const char *, void **, int, u64, int *);

static inline void check(CUresult result, const char *what)
{
	if (result) {
		printf("%s: error %d\n", what, result);
		exit(3);
	}
}

static inline char *whole(const char *path)
{
	FILE *file = fopen(path, "rb");
	char *text;
	long size;

	if (!file)
		exit(4);
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	text = calloc(1, (size_t)size + 1);
	if (fread(text, 1, (size_t)size, file) != (size_t)size)
		exit(5);
	fclose(file);
	return text;
}
