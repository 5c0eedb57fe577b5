// A histogram for each thread: how long it was in the kernel, by powers of two of nanoseconds. See tests/bench/cuda.py.
#include "helpers.h"

enum { SLOTS = 16 };

struct {
	__uint(type, PER_THREAD_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} begun SEC(".maps");

struct {
	__uint(type, PER_THREAD_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, u32);
	__type(value, u64);
} spent SEC(".maps");

SEC("cuda/*")
int enter(void *ctx)
{
	u32 key = 0;
	u64 *own = bpf_map_lookup_elem(&begun, &key);

	if (own)
		*own = get_globaltimer();
	return 0;
}

SEC("cudaret/*")
int leave(void *ctx)
{
	u32 key = 0;
	u64 *own = bpf_map_lookup_elem(&begun, &key), took;

	if (!own)
		return 0;
	took = get_globaltimer() - *own;
	if (took > 0xffff)
		took = 0xffff;
	for (u32 bits = SLOTS / 2; bits; bits /= 2) { // unrolled: the highest bit that is set
		if (took >> bits) {
			took >>= bits;
			key += bits;
		}
	}
	own = bpf_map_lookup_elem(&spent, &key);
	if (own)
		*own += 1;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
