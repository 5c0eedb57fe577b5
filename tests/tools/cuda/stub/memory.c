// Device memory: one mapping at a fixed address, given out from its start and never taken back. Host memory that is
// registered has its own address on the device; the server sees a copy of it, brought there and back around each launch.
#include "stub.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { AREAS = 64, LINE = 256 };
#define DEVICE_BASE 0x700000000000ULL
#define DEVICE_BYTES (256ULL << 20)

struct area {
	u8 *at, *before, *shadow;
	u64 bytes;
};

static u8 *device;
static u64 used = LINE;
static struct area areas[AREAS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void memory_start(void)
{
	const char *path = getenv("BPFTIME_STUB_MEMORY");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1, flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

	if (device)
		return;
	device = mmap((void *)DEVICE_BASE, DEVICE_BYTES, PROT_READ | PROT_WRITE, flags | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd, 0);
	if (device != (void *)DEVICE_BASE)
		exit(95);
	if (fd >= 0)
		close(fd);
}

u64 memory_take(u64 bytes)
{
	u64 at = 0;

	pthread_mutex_lock(&lock);
	memory_start();
	if (bytes && used + bytes <= DEVICE_BYTES / 2) { // the server places variables of modules behind
		at = DEVICE_BASE + used;
		used = (used + bytes + LINE - 1) & ~(u64)(LINE - 1);
	}
	pthread_mutex_unlock(&lock);
	return at;
}

// Bring registered memory to where the server sees it (`in`), or back what has changed there.
void memory_mirror(int in)
{
	for (u32 i = 0; i < AREAS; i++) {
		struct area *a = &areas[i];
		u64 *now = (u64 *)a->shadow, *before = (u64 *)a->before, *host = (u64 *)a->at;

		if (!a->at)
			continue;
		if (in) {
			memcpy(a->shadow, a->at, a->bytes);
			memcpy(a->before, a->at, a->bytes);
			continue;
		}
		for (u64 w = 0; w < a->bytes / 8; w++)
			if (now[w] != before[w])
				__atomic_store_n(&host[w], now[w], __ATOMIC_RELEASE);
	}
}

// The device's address of registered memory is that of its copy.
static CUresult take_area(void *at, u64 bytes)
{
	for (u32 i = 0; i < AREAS; i++) {
		if (areas[i].at)
			continue;
		areas[i].shadow = (u8 *)memory_take(bytes);
		areas[i].before = calloc(1, bytes);
		areas[i].bytes = bytes;
		areas[i].at = at;
		return areas[i].shadow ? OK : NO_MEMORY;
	}
	return NO_MEMORY;
}

API CUresult cuMemAlloc_v2(CUdeviceptr *at, size_t bytes)
{
	if (!current())
		return INVALID_CONTEXT;
	*at = memory_take(bytes);
	return *at ? OK : NO_MEMORY;
}

API CUresult cuMemFree_v2(CUdeviceptr at)
{
	return at >= DEVICE_BASE && at < DEVICE_BASE + DEVICE_BYTES ? OK : INVALID;
}

API CUresult cuMemGetInfo_v2(size_t *unused, size_t *total)
{
	*unused = DEVICE_BYTES - used;
	*total = DEVICE_BYTES;
	return OK;
}

API CUresult cuMemHostAlloc(void **at, size_t bytes, u32 flags)
{
	(void)flags;
	*at = aligned_alloc(4096, (bytes + 4095) & ~4095ULL);
	return take_area(*at, bytes);
}

API CUresult cuMemAllocHost_v2(void **at, size_t bytes)
{
	return cuMemHostAlloc(at, bytes, 0);
}

API CUresult cuMemFreeHost(void *at)
{
	for (u32 i = 0; i < AREAS; i++)
		if (areas[i].at == at)
			areas[i].at = 0;
	free(at);
	return OK;
}

API CUresult cuMemHostRegister_v2(void *at, size_t bytes, u32 flags)
{
	(void)flags;
	return current() ? take_area(at, bytes) : INVALID_CONTEXT;
}

API CUresult cuMemHostUnregister(void *at)
{
	for (u32 i = 0; i < AREAS; i++) {
		if (areas[i].at == at) {
			areas[i].at = 0;
			return OK;
		}
	}
	return INVALID;
}

API CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *device_at, void *at, u32 flags)
{
	(void)flags;
	for (u32 i = 0; i < AREAS; i++) {
		if (areas[i].at && (u8 *)at >= areas[i].at && (u8 *)at < areas[i].at + areas[i].bytes) {
			*device_at = (u64)(areas[i].shadow + ((u8 *)at - areas[i].at));
			return OK;
		}
	}
	return INVALID;
}

static CUresult copy(u64 to, u64 from, size_t bytes)
{
	if (!current())
		return INVALID_CONTEXT;
	memcpy((void *)to, (const void *)from, bytes);
	return OK;
}

API CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) { return copy(to, (u64)from, bytes); }
API CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) { return copy((u64)to, from, bytes); }
API CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) { return copy(to, from, bytes); }

API CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream)
{
	(void)stream;
	return copy(to, (u64)from, bytes);
}

API CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream)
{
	(void)stream;
	return copy((u64)to, from, bytes);
}

API CUresult cuMemsetD8_v2(CUdeviceptr at, u8 value, size_t n)
{
	memset((void *)at, value, n);
	return OK;
}

API CUresult cuMemsetD32_v2(CUdeviceptr at, u32 value, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((u32 *)at)[i] = value;
	return OK;
}

API CUresult cuMemsetD8Async(CUdeviceptr at, u8 value, size_t n, CUstream stream)
{
	(void)stream;
	return cuMemsetD8_v2(at, value, n);
}
