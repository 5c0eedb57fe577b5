// What each thread and each block did: per-thread arrays, per-SM arrays, subprograms, a loop, records, an exit.
#include "helpers.h"

struct record {
	u64 block, thread, when;
};

struct {
	__uint(type, PER_THREAD_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, u64);
} per_thread SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} per_sm SEC(".maps");

struct {
	__uint(type, GPU_ARRAY);
	__uint(max_entries, 64);
	__type(key, u32);
	__type(value, u64);
} buckets SEC(".maps");

struct {
	__uint(type, GPU_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

static __attribute__((noinline)) u32 bucket_of(u64 value)
{
	u32 n = 0;

	for (int i = 0; i < 64; i++) {
		if (!value)
			break;
		value >>= 1;
		n++;
	}
	return n;
}

SEC("cudaret/vectorAdd")
int snoop(void *ctx)
{
	struct record record = {};
	u64 x, y, z;
	u32 key = 1;

	get_block_idx(&record.block, &y, &z);
	get_thread_idx(&x, &y, &z);
	record.thread = x;
	record.when = get_globaltimer();
	u64 *own = bpf_map_lookup_elem(&per_thread, &key);
	if (own)
		*own += x;
	u64 *shared = bpf_map_lookup_elem(&per_sm, &key);
	if (shared)
		__sync_fetch_and_add(shared, 1);
	key = bucket_of(x);
	u64 *bucket = bpf_map_lookup_elem(&buckets, &key);
	if (bucket)
		__sync_fetch_and_add(bucket, 1);
	bpf_perf_event_output(ctx, &events, 0, &record, sizeof(record));
	return 0;
}

SEC("cuda/vectorAdd")
int leave(void *ctx)
{
	u64 x, y, z;

	get_thread_idx(&x, &y, &z);
	if (x & 1)
		cuda_exit();
	return 0;
}

SEC("kprobe/__memcapture")
int cuda__capture(struct access *at)
{
	u32 key = at->op;
	u64 *seen = bpf_map_lookup_elem(&buckets, &key);

	if (seen)
		__sync_fetch_and_add(seen, at->size + at->data[1]);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
