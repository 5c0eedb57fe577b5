// Start, devices, contexts, streams, events, and the names of all calls.
#include "stub.h"
#include <dlfcn.h>
#include <time.h>

enum { DEVICES = 4 };
static u32 contexts[DEVICES];
static _Thread_local CUcontext now[8];
static _Thread_local u32 depth;
int stub_inited;

static int number(const char *name, int usual)
{
	const char *text = getenv(name);

	return text ? atoi(text) : usual;
}

CUcontext current(void)
{
	return now[depth];
}

void log_line(const char *call, const char *detail)
{
	const char *folder = getenv("BPFTIME_STUB_LOG");
	char path[512];
	FILE *file;

	if (!folder)
		return;
	snprintf(path, sizeof(path), "%s/log", folder);
	file = fopen(path, "a");
	if (file) {
		fprintf(file, "%s %s\n", call, detail);
		fclose(file);
	}
}

API CUresult cuInit(u32 flags)
{
	if (flags)
		return INVALID;
	if (!number("BPFTIME_STUB_DEVICES", 1))
		return NO_DEVICE;
	stub_inited = 1;
	memory_start();
	return OK;
}

API CUresult cuDriverGetVersion(int *version)
{
	*version = number("BPFTIME_STUB_VERSION", 13000);
	return OK;
}

API CUresult cuDeviceGetCount(int *count)
{
	*count = number("BPFTIME_STUB_DEVICES", 1);
	return stub_inited ? OK : NOT_INITIALIZED;
}

API CUresult cuDeviceGet(CUdevice *device, int ordinal)
{
	*device = ordinal;
	return !stub_inited ? NOT_INITIALIZED : ordinal >= 0 && ordinal < number("BPFTIME_STUB_DEVICES", 1) ? OK : INVALID_DEVICE;
}

API CUresult cuDeviceGetName(char *name, int bytes, CUdevice device)
{
	snprintf(name, (size_t)bytes, "Stub Device %d", device);
	return OK;
}

API CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device)
{
	(void)device;
	*bytes = 256 << 20;
	return OK;
}

// cuda.h: 16 multiprocessors, 75 and 76 the compute capability, 1 threads of a block, 10 threads of a warp.
API CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice device)
{
	int arch = number("BPFTIME_STUB_ARCH", 90);

	(void)device;
	*value = attribute == 16 ? 4 : attribute == 75 ? arch / 10 : attribute == 76 ? arch % 10 : attribute == 1 ? 1024
		: attribute == 10 ? 32 : 0;
	return OK;
}

API CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device)
{
	*context = &contexts[device % DEVICES];
	return stub_inited ? OK : NOT_INITIALIZED;
}

API CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device)
{
	(void)device;
	log_line("cuDevicePrimaryCtxRelease", "");
	return OK;
}

API CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) { return cuDevicePrimaryCtxRelease_v2(device); }

API CUresult cuDevicePrimaryCtxGetState(CUdevice device, u32 *flags, int *active)
{
	(void)device;
	*flags = 0;
	*active = current() != 0;
	return OK;
}

API CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice device, u32 flags)
{
	(void)device, (void)flags;
	return OK;
}

API CUresult cuCtxCreate_v2(CUcontext *context, u32 flags, CUdevice device)
{
	(void)flags, (void)device;
	if (!stub_inited)
		return NOT_INITIALIZED;
	*context = now[++depth] = calloc(1, 64);
	return OK;
}

API CUresult cuCtxCreate_v4(CUcontext *context, void *parameters, u32 flags, CUdevice device)
{
	(void)parameters;
	return cuCtxCreate_v2(context, flags, device);
}

API CUresult cuCtxDestroy_v2(CUcontext context)
{
	log_line("cuCtxDestroy", "");
	if (current() == context)
		now[depth] = 0;
	return OK;
}

API CUresult cuCtxSetCurrent(CUcontext context)
{
	now[depth] = context;
	return OK;
}

API CUresult cuCtxGetCurrent(CUcontext *context)
{
	*context = current();
	return OK;
}

API CUresult cuCtxPushCurrent_v2(CUcontext context)
{
	if (depth == 7)
		return INVALID;
	now[++depth] = context;
	return OK;
}

API CUresult cuCtxPopCurrent_v2(CUcontext *context)
{
	if (context)
		*context = current();
	depth -= depth > 0;
	return OK;
}

API CUresult cuCtxGetDevice(CUdevice *device)
{
	CUcontext context = current();

	*device = context >= (void *)contexts && context < (void *)(contexts + DEVICES) ? (int)((u32 *)context - contexts) : 0;
	return context ? OK : INVALID_CONTEXT;
}

API CUresult cuCtxSynchronize(void) { return current() ? OK : INVALID_CONTEXT; }

API CUresult cuStreamCreate(CUstream *stream, u32 flags)
{
	(void)flags;
	*stream = calloc(1, 64);
	return current() ? OK : INVALID_CONTEXT;
}

API CUresult cuStreamDestroy_v2(CUstream stream)
{
	free(stream);
	return OK;
}

API CUresult cuStreamSynchronize(CUstream stream) { return (void)stream, OK; }
API CUresult cuStreamQuery(CUstream stream) { return (void)stream, OK; }
API CUresult cuStreamWaitEvent(CUstream stream, CUevent event, u32 flags) { return (void)stream, (void)event, (void)flags, OK; }
API CUresult cuStreamIsCapturing(CUstream stream, int *status) { return (void)stream, *status = 0, OK; }
API CUresult cuThreadExchangeStreamCaptureMode(int *mode) { return *mode = 0, OK; }

API CUresult cuEventCreate(CUevent *event, u32 flags)
{
	(void)flags;
	*event = calloc(1, sizeof(struct timespec));
	return OK;
}

API CUresult cuEventRecord(CUevent event, CUstream stream)
{
	(void)stream;
	return clock_gettime(CLOCK_MONOTONIC, event) ? INVALID : OK;
}

API CUresult cuEventQuery(CUevent event) { return (void)event, OK; }
API CUresult cuEventSynchronize(CUevent event) { return (void)event, OK; }

API CUresult cuEventDestroy_v2(CUevent event)
{
	free(event);
	return OK;
}

API CUresult cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end)
{
	struct timespec *a = start, *b = end;

	*ms = (float)((double)(b->tv_sec - a->tv_sec) * 1e3 + (double)(b->tv_nsec - a->tv_nsec) / 1e6);
	return OK;
}

API CUresult cuEventElapsedTime(float *ms, CUevent start, CUevent end) { return cuEventElapsedTime_v2(ms, start, end); }

API CUresult cuGetErrorString(CUresult error, const char **text)
{
	*text = error ? "error of the stub driver" : "no error";
	return OK;
}

API CUresult cuGetErrorName(CUresult error, const char **text)
{
	*text = error ? "CUDA_ERROR_STUB" : "CUDA_SUCCESS";
	return OK;
}

API CUresult cuGetExportTable(const void **table, const void *id)
{
	(void)id;
	*table = 0;
	return NOT_SUPPORTED;
}

// A form of a function that has no name, as a driver may hand out (BPFTIME_STUB_HIDDEN).
__attribute__((noinline)) static CUresult hidden(CUlibrary *library, const void *code, int *jit, void **jit_values, u32 n,
						 int *options, void **values, u32 m)
{
	CUresult result;

	log_line("hidden", "cuLibraryLoadData");
	*library = module_of(code, 0, "hidden");
	result = *library ? OK : INVALID_IMAGE;
	return jit || jit_values || n || options || values || m ? NOT_SUPPORTED : result;
}

// Like the driver's: the newest form of a name; flags 2 asks for that with the stream of each thread.
API CUresult cuGetProcAddress_v2(const char *name, void **at, int version, u64 flags, int *status)
{
	static const char *endings[] = { "_ptsz", "_v4", "_v3", "_v2", "" };
	char whole[160];

	(void)version;
	*at = !strcmp(name, "cuLibraryLoadData") && number("BPFTIME_STUB_HIDDEN", 0) ? (void *)hidden : 0;
	for (u32 i = flags & 2 ? 0 : 1; !*at && i < sizeof(endings) / sizeof(endings[0]); i++) {
		snprintf(whole, sizeof(whole), "%s%s", name, endings[i]);
		*at = dlsym(RTLD_DEFAULT, whole);
		if (!*at) {
			void *own = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);

			*at = own ? dlsym(own, whole) : 0;
		}
	}
	if (status)
		*status = *at ? 0 : 1;
	return *at ? OK : NOT_FOUND;
}

API CUresult cuGetProcAddress(const char *name, void **at, int version, u64 flags)
{
	return cuGetProcAddress_v2(name, at, version, flags, 0);
}
