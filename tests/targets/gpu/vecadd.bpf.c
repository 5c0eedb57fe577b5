// Records of blocks, counts for each thread, lines of text: of the kernel of tests/targets' vector addition.
#include "helpers.h"

struct record {
	u64 block, thread;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
	__type(value, struct record);
} records SEC(".maps");

struct {
	__uint(type, PER_THREAD_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} entries SEC(".maps");

SEC("kretprobe/vecadd")
int cuda__return(void)
{
	u64 x, y, z, block;

	get_thread_idx(&x, &y, &z);
	get_block_idx(&block, &y, &z);
	if (x == 7) {
		struct record *one = bpf_ringbuf_reserve(&records, sizeof(*one), 0);

		if (one) {
			one->block = block;
			one->thread = x;
			bpf_ringbuf_submit(one, 0);
		}
	}
	return 0;
}

SEC("cuda/vecadd")
int enter(void *ctx)
{
	u64 x, y, z;
	u32 key = 0;
	u64 *own = bpf_map_lookup_elem(&entries, &key);

	if (own)
		*own += 1;
	get_thread_idx(&x, &y, &z);
	if (x == 3)
		bpf_printk("thread %lu\n", x);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
