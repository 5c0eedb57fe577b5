// A double of the CUDA runtime (libcudart.so.13): what code from nvcc registers and launches, by way of the driver, which is
// opened and asked as the real one does. Loading is lazy: an image goes to the driver at the first launch of its kernels.
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))
typedef struct { unsigned x, y, z; } dim3;
enum { MOST = 64, HOST_TO_DEVICE = 1, DEVICE_TO_HOST = 2 };

struct fatbin {
	int magic, version;
	const void *data;
	void *more;
};

struct image {
	const struct fatbin *wrapper;
	void *library;
};

struct function {
	const void *stub;
	const char *name;
	struct image *image;
	void *kernel;
};

static struct image images[MOST];
static struct function functions[MOST];
static unsigned n_images, n_functions;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static __thread struct { dim3 grid, block; size_t shared; void *stream; } pushed;
static void *context;
static int (*get)(const char *, void **, int, uint64_t, int *);

static void *entry(const char *name, int version)
{
	void *at = 0;

	if (get(name, &at, version, 0, 0) || !at) {
		fprintf(stderr, "runtime double: no %s\n", name);
		exit(94);
	}
	return at;
}

#define CALL(name, version, types, ...) (((int(*) types)entry(name, version))(__VA_ARGS__))

static int start(void)
{
	void *driver;

	if (context)
		return 0;
	driver = dlopen("libcuda.so.1", RTLD_NOW);
	if (!driver)
		return 35; // cudaErrorInsufficientDriver
	get = dlsym(driver, "cuGetProcAddress_v2");
	entry("cuModuleLoadData", 2000);
	if (CALL("cuInit", 2000, (unsigned), 0))
		return 100;
	if (CALL("cuDevicePrimaryCtxRetain", 7000, (void **, int), &context, 0))
		return 100;
	return CALL("cuCtxSetCurrent", 4000, (void *), context);
}

API void **__cudaRegisterFatBinary(struct fatbin *wrapper)
{
	images[n_images].wrapper = wrapper;
	return (void **)&images[n_images++];
}

API void __cudaRegisterFatBinaryEnd(void **handle) { (void)handle; }

API void __cudaUnregisterFatBinary(void **handle)
{
	struct image *image = (void *)handle;

	if (image->library)
		CALL("cuLibraryUnload", 12000, (void *), image->library);
	image->library = 0;
}

API void __cudaRegisterFunction(void **handle, const char *stub, char *device, const char *name, int limit, void *tid,
				void *bid, void *block, void *grid, int *size)
{
	(void)device, (void)limit, (void)tid, (void)bid, (void)block, (void)grid, (void)size;
	functions[n_functions++] = (struct function){ stub, name, (struct image *)handle, 0 };
}

API void __cudaRegisterVar(void **handle, char *var, char *at, const char *name, int ext, size_t size, int constant, int global)
{
	(void)handle, (void)var, (void)at, (void)name, (void)ext, (void)size, (void)constant, (void)global;
}

API unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, void *stream)
{
	pushed.grid = grid;
	pushed.block = block;
	pushed.shared = shared;
	pushed.stream = stream;
	return 0;
}

API int __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream)
{
	*grid = pushed.grid;
	*block = pushed.block;
	*shared = pushed.shared;
	*(void **)stream = pushed.stream;
	return 0;
}

static int kernel_of(const void *stub, void **kernel)
{
	int error = 98; // cudaErrorInvalidDeviceFunction

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < n_functions && error; i++) {
		struct function *f = &functions[i];

		if (f->stub != stub)
			continue;
		error = start();
		if (!error && !f->image->library)
			error = CALL("cuLibraryLoadData", 12000, (void **, const void *, void *, void *, unsigned, void *, void *, unsigned),
				     &f->image->library, f->image->wrapper, 0, 0, 0, 0, 0, 0);
		if (!error && !f->kernel)
			error = CALL("cuLibraryGetKernel", 12000, (void **, void *, const char *), &f->kernel, f->image->library, f->name);
		*kernel = f->kernel;
	}
	pthread_mutex_unlock(&lock);
	return error;
}

API int __cudaGetKernel(void **kernel, const void *stub) { return kernel_of(stub, kernel); }

API int __cudaLaunchKernel(void *kernel, dim3 grid, dim3 block, void **args, size_t shared, void *stream)
{
	return CALL("cuLaunchKernel", 7000,
		    (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **), kernel,
		    grid.x, grid.y, grid.z, block.x, block.y, block.z, (unsigned)shared, stream, args, 0);
}

API int cudaLaunchKernel(const void *stub, dim3 grid, dim3 block, void **args, size_t shared, void *stream)
{
	void *kernel;
	int error = kernel_of(stub, &kernel);

	return error ? error : __cudaLaunchKernel(kernel, grid, block, args, shared, stream);
}

API int cudaMalloc(void **at, size_t bytes)
{
	int error = start();

	return error ? error : CALL("cuMemAlloc", 3020, (void **, size_t), at, bytes);
}

API int cudaMemcpy(void *to, const void *from, size_t bytes, int kind)
{
	int error = start();

	if (error)
		return error;
	return kind == HOST_TO_DEVICE ? CALL("cuMemcpyHtoD", 3020, (void *, const void *, size_t), to, from, bytes)
				      : CALL("cuMemcpyDtoH", 3020, (void *, const void *, size_t), to, from, bytes);
}

API int cudaDeviceSynchronize(void)
{
	int error = start();

	return error ? error : CALL("cuCtxSynchronize", 2000, (void), );
}

API int cudaDeviceReset(void)
{
	context = 0;
	return CALL("cuDevicePrimaryCtxReset", 7000, (int), 0);
}
