// The calls that load, link and look up.
#include "stub.h"

struct link {
	char *text;
	u64 size;
};

static CUresult load(CUmodule *m, const void *image, const char *call)
{
	if (!stub_inited)
		return NOT_INITIALIZED;
	if (!current())
		return INVALID_CONTEXT;
	*m = module_of(image, 0, call);
	return *m ? OK : INVALID_IMAGE;
}

static char *whole(const char *path, u64 *size)
{
	FILE *file = fopen(path, "rb");
	char *text;

	if (!file)
		return 0;
	fseek(file, 0, SEEK_END);
	*size = (u64)ftell(file);
	rewind(file);
	text = calloc(1, *size + 1);
	if (fread(text, 1, *size, file) != *size)
		*size = 0;
	fclose(file);
	return text;
}

API CUresult cuModuleLoadData(CUmodule *m, const void *image) { return load(m, image, "cuModuleLoadData"); }
API CUresult cuModuleLoadFatBinary(CUmodule *m, const void *image) { return load(m, image, "cuModuleLoadFatBinary"); }

API CUresult cuModuleLoadDataEx(CUmodule *m, const void *image, u32 n, int *options, void **values)
{
	(void)n, (void)options, (void)values;
	return load(m, image, "cuModuleLoadDataEx");
}

API CUresult cuModuleLoad(CUmodule *m, const char *path)
{
	u64 size;
	char *text = whole(path, &size);

	return text ? load(m, text, "cuModuleLoad") : FILE_NOT_FOUND;
}

API CUresult cuModuleUnload(CUmodule m)
{
	log_line("cuModuleUnload", "");
	m->loaded = 0;
	return OK;
}

API CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name)
{
	*f = kernel_of(m, name);
	return *f ? OK : NOT_FOUND;
}

API CUresult cuModuleGetGlobal_v2(CUdeviceptr *at, size_t *bytes, CUmodule m, const char *name)
{
	u64 size = 0;
	CUresult result = global_of(m, name, at, &size);

	if (bytes)
		*bytes = size;
	return result;
}

API CUresult cuLibraryLoadData(CUlibrary *library, const void *code, int *jit, void **jit_values, u32 n, int *options,
			       void **values, u32 m)
{
	(void)jit, (void)jit_values, (void)n, (void)options, (void)values;
	if (m > 64)
		return INVALID; // the eighth argument comes by the stack
	*library = module_of(code, 0, "cuLibraryLoadData");
	return *library ? OK : INVALID_IMAGE;
}

API CUresult cuLibraryLoadFromFile(CUlibrary *library, const char *path, int *jit, void **jit_values, u32 n, int *options,
				   void **values, u32 m)
{
	u64 size;
	char *text = whole(path, &size);

	return text ? cuLibraryLoadData(library, text, jit, jit_values, n, options, values, m) : FILE_NOT_FOUND;
}

API CUresult cuLibraryUnload(CUlibrary library) { return cuModuleUnload(library); }
API CUresult cuLibraryGetKernel(CUkernel *k, CUlibrary l, const char *name) { return cuModuleGetFunction(k, l, name); }

API CUresult cuLibraryGetModule(CUmodule *m, CUlibrary library)
{
	*m = library;
	return current() ? OK : INVALID_CONTEXT;
}

API CUresult cuLibraryGetGlobal(CUdeviceptr *at, size_t *bytes, CUlibrary library, const char *name)
{
	return current() ? cuModuleGetGlobal_v2(at, bytes, library, name) : INVALID_CONTEXT;
}

API CUresult cuKernelGetFunction(CUfunction *f, CUkernel kernel)
{
	*f = kernel;
	return current() ? OK : INVALID_CONTEXT;
}

API CUresult cuFuncGetName(const char **name, CUfunction f)
{
	*name = f->name;
	return OK;
}

API CUresult cuKernelGetName(const char **name, CUkernel k) { return cuFuncGetName(name, k); }

API CUresult cuFuncGetModule(CUmodule *m, CUfunction f)
{
	*m = f->module;
	return OK;
}

API CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction f)
{
	(void)f;
	*value = attribute == 0 ? 1024 : 0;
	return OK;
}

API CUresult cuFuncSetAttribute(CUfunction f, int attribute, int value)
{
	(void)f, (void)attribute, (void)value;
	return OK;
}

API CUresult cuLinkCreate_v2(u32 n, int *options, void **values, struct link **state)
{
	(void)n, (void)options, (void)values;
	*state = calloc(1, sizeof(**state));
	return OK;
}

API CUresult cuLinkAddData_v2(struct link *state, int type, void *data, size_t size, const char *name, u32 n, int *options,
			      void **values)
{
	(void)type, (void)name, (void)options, (void)values;
	if (n > 64)
		return INVALID;
	if (size && !((char *)data)[size - 1])
		size--;
	state->text = realloc(state->text, state->size + size + 2);
	memcpy(state->text + state->size, data, size);
	state->size += size;
	state->text[state->size] = 0;
	return OK;
}

API CUresult cuLinkAddFile_v2(struct link *state, int type, const char *path, u32 n, int *options, void **values)
{
	u64 size;
	char *text = whole(path, &size);

	return text ? cuLinkAddData_v2(state, type, text, size, path, n, options, values) : FILE_NOT_FOUND;
}

API CUresult cuLinkComplete(struct link *state, void **cubin, size_t *size)
{
	*cubin = state->text;
	*size = state->size + 1;
	return state->text ? OK : INVALID;
}

API CUresult cuLinkDestroy(struct link *state)
{
	free(state->text);
	free(state);
	return OK;
}
