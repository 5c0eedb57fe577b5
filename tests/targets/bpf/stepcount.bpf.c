// Calls of one function: counted in a hash by process, in a global, and reported through a ring.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct call {
	__u32 pid;
	int b;
	char name[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} ring SEC(".maps");

struct call *unused __attribute__((unused));
const volatile __u32 every = 0;
__u64 total;

SEC("uprobe/loop:step")
int BPF_KPROBE(on_step, int a, int b)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 zero = 0, *count = bpf_map_lookup_elem(&counts, &pid);

	if (!count) {
		bpf_map_update_elem(&counts, &pid, &zero, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&counts, &pid);
		if (!count)
			return 0;
	}
	__sync_fetch_and_add(count, 1);
	__sync_fetch_and_add(&total, 1);
	if (every && !((__u32)b % every)) {
		struct call *call = bpf_ringbuf_reserve(&ring, sizeof(*call), 0);

		if (!call)
			return 0;
		call->pid = pid;
		call->b = b;
		__builtin_memcpy(call->name, "step\0\0\0", 8);
		bpf_ringbuf_submit(call, 0);
		bpf_printk("b is %d", b);
	}
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
