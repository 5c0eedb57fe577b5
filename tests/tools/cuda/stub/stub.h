// What the files of the stub driver share. It stands in for libcuda.so.1 where there is no GPU: device memory is a
// mapping that a server of ours sees as well (BPFTIME_STUB_SOCKET, BPFTIME_STUB_MEMORY), and kernels are run by that server.
// Without one, loads are recorded (BPFTIME_STUB_LOG), and launches do nothing. Names and types as in cuda.h.
#pragma once
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int CUresult, CUdevice;
typedef u64 CUdeviceptr;
typedef void *CUcontext;
typedef struct module *CUmodule, *CUlibrary;
typedef struct kernel *CUfunction, *CUkernel;
typedef void *CUstream, *CUevent;

#define API __attribute__((visibility("default")))
enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_IMAGE = 200,
       INVALID_CONTEXT = 201, FILE_NOT_FOUND = 301, INVALID_HANDLE = 400, NOT_FOUND = 500, NOT_SUPPORTED = 801, INVALID_PTX = 218 };
enum { PARAMETERS = 64, NAME = 512 };

struct parameter {
	u32 offset, size;
};

struct kernel {
	struct module *module;
	struct kernel *next;
	char name[NAME];
	u32 n, bytes;
	struct parameter parameters[PARAMETERS];
};

struct module {
	u32 number;
	int loaded;
	char *image; // a copy, NUL behind
	u64 size, constant; // where the one global lies that is known without a server
	struct kernel *kernels;
	struct module *next;
};

// memory.c
void memory_start(void);
u64 memory_take(u64 bytes);
void memory_mirror(int in);
// module.c
struct module *module_of(const void *image, u64 size, const char *call);
u64 image_size(const void *image);
struct kernel *kernel_of(struct module *module, const char *name);
CUresult global_of(struct module *module, const char *name, u64 *address, u64 *bytes);
CUresult run(struct kernel *kernel, const u32 grid[3], const u32 block[3], u32 shared, void **parameters, void **extra);
// server.c: ask the server; returns its status, or -1 where there is none. `reply` gets at most `room` bytes.
struct ask {
	u32 op, module, grid[3], block[3], shared, name_bytes;
	u64 bytes;
};
enum { ASK_LOAD = 1, ASK_KERNEL, ASK_GLOBAL, ASK_LAUNCH };
int server_ask(const struct ask *ask, const char *name, const void *data, void *reply, u32 room);
// driver.c
void log_line(const char *call, const char *detail);
extern int stub_inited;
CUcontext current(void);
