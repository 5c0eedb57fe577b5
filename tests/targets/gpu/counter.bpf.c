// Count entries by thread, and time kernels by thread: hashes, the timer, where a thread is, text.
#include "helpers.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u64);
} entered SEC(".maps"), started SEC(".maps"), spent SEC(".maps");

SEC("kprobe/_Z9vectorAddPKfS0_Pf")
int cuda__entry(void)
{
	u64 x, y, z, key, one = 1, now = get_globaltimer();

	get_thread_idx(&x, &y, &z);
	key = x;
	u64 *count = bpf_map_lookup_elem(&entered, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&entered, &key, &one, 0);
	bpf_map_update_elem(&started, &key, &now, 0);
	if (x == 3)
		bpf_printk("thread %lu of %d\n", x, (int)(bpf_get_current_pid_tgid() >> 32));
	return 0;
}

SEC("kretprobe/_Z9vectorAddPKfS0_Pf")
int cuda__return(void)
{
	u64 x, y, z, key, took;

	get_thread_idx(&x, &y, &z);
	key = x;
	u64 *start = bpf_map_lookup_elem(&started, &key);
	if (!start)
		return 0;
	took = get_globaltimer() - *start + 1;
	bpf_map_update_elem(&spent, &key, &took, 0);
	bpf_map_delete_elem(&started, &key);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
