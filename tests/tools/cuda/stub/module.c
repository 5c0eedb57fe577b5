// Modules, libraries and links: each load is recorded byte for byte, and given to the server where there is one.
#include "stub.h"

enum { ELF = 0x464c457f, FATBIN = 0xBA55ED50, WRAPPER = 0x466243B1 };

static struct module *modules;
static u32 count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

u64 image_size(const void *image)
{
	const u8 *at = image;
	u32 magic, entry;
	u64 shoff, size;
	uint16_t n, phnum, phsize;
	u64 phoff;

	memcpy(&magic, at, 4);
	if (magic == FATBIN) {
		memcpy(&size, at + 8, 8);
		return 16 + size;
	}
	if (magic != ELF)
		return strlen(image) + 1;
	memcpy(&phoff, at + 32, 8);
	memcpy(&shoff, at + 40, 8);
	memcpy(&phsize, at + 54, 2);
	memcpy(&phnum, at + 56, 2);
	memcpy(&n, at + 60, 2);
	entry = 64;
	size = shoff + (u64)n * entry;
	return size > phoff + (u64)phsize * phnum ? size : phoff + (u64)phsize * phnum;
}

static const void *unwrapped(const void *image)
{
	u32 magic;
	const void *data;

	memcpy(&magic, image, 4);
	if (magic != WRAPPER)
		return image;
	memcpy(&data, (const u8 *)image + 8, 8);
	return data;
}

static void record(const struct module *m, const char *call)
{
	const char *folder = getenv("BPFTIME_STUB_LOG");
	char path[512];
	FILE *file;

	if (!folder)
		return;
	snprintf(path, sizeof(path), "%s/load-%u-%s.bin", folder, m->number, call);
	file = fopen(path, "wb");
	if (file) {
		fwrite(m->image, 1, m->size, file);
		fclose(file);
	}
}

// Take up an image; 0 where it is none that can be loaded.
struct module *module_of(const void *image, u64 size, const char *call)
{
	const void *data = unwrapped(image);
	struct module *m = calloc(1, sizeof(*m));
	struct ask ask = { .op = ASK_LOAD };

	m->size = size ? size : image_size(data);
	m->image = malloc(m->size + 1);
	memcpy(m->image, data, m->size);
	m->image[m->size] = 0;
	pthread_mutex_lock(&lock);
	m->number = ++count;
	m->loaded = 1;
	m->next = modules;
	modules = m;
	pthread_mutex_unlock(&lock);
	record(m, call);
	ask.module = m->number;
	ask.bytes = m->size;
	if (server_ask(&ask, "", m->image, 0, 0) > 0 || (image_size(data) < 32 && m->size < 32)) {
		m->loaded = 0;
		return 0;
	}
	return m;
}

static struct kernel *add_kernel(struct module *m, const char *name)
{
	struct ask ask = { .op = ASK_KERNEL, .module = m->number, .name_bytes = (u32)strlen(name) };
	struct kernel *k = calloc(1, sizeof(*k));
	int status = server_ask(&ask, name, "", k->parameters, sizeof(k->parameters));

	if (status < 0)
		status = memmem(m->image, m->size, name, strlen(name)) ? 0 : NOT_FOUND;
	if (status || strlen(name) >= NAME) {
		free(k);
		return 0;
	}
	strcpy(k->name, name);
	k->module = m;
	while (k->n < PARAMETERS && k->parameters[k->n].size)
		k->n++;
	if (k->n)
		k->bytes = k->parameters[k->n - 1].offset + k->parameters[k->n - 1].size;
	k->next = m->kernels;
	m->kernels = k;
	return k;
}

struct kernel *kernel_of(struct module *m, const char *name)
{
	struct kernel *k;

	pthread_mutex_lock(&lock);
	for (k = m->kernels; k && strcmp(k->name, name); k = k->next)
		;
	if (!k)
		k = add_kernel(m, name);
	pthread_mutex_unlock(&lock);
	return k;
}

CUresult global_of(struct module *m, const char *name, u64 *address, u64 *bytes)
{
	struct ask ask = { .op = ASK_GLOBAL, .module = m->number, .name_bytes = (u32)strlen(name) };
	u64 found[2] = { 0, 0 };
	int status = server_ask(&ask, name, "", found, sizeof(found));

	if (status < 0) {
		status = memmem(m->image, m->size, name, strlen(name)) ? 0 : NOT_FOUND;
		found[1] = 256;
		if (!status && !m->constant)
			m->constant = memory_take(256);
		found[0] = m->constant;
	}
	if (address)
		*address = found[0];
	if (bytes)
		*bytes = found[1];
	return status;
}

// `extra`: as in cuda.h, {1, buffer, 2, &size, 0}.
CUresult run(struct kernel *k, const u32 grid[3], const u32 block[3], u32 shared, void **parameters, void **extra)
{
	struct ask ask = { .op = ASK_LAUNCH, .module = k->module->number, .shared = shared, .name_bytes = (u32)strlen(k->name) };
	u8 values[4096] = { 0 };
	int status;

	if (!k->module->loaded)
		return INVALID_HANDLE;
	memcpy(ask.grid, grid, 12);
	memcpy(ask.block, block, 12);
	ask.bytes = k->bytes;
	for (u32 i = 0; parameters && i < k->n; i++)
		memcpy(values + k->parameters[i].offset, parameters[i], k->parameters[i].size);
	if (!parameters && extra && k->bytes)
		memcpy(values, extra[1], k->bytes);
	memory_mirror(1);
	status = server_ask(&ask, k->name, values, 0, 0);
	memory_mirror(0);
	return status < 0 ? OK : status;
}
