// SSL_write and SSL_read: up to 4096 bytes of each buffer, through a per-CPU scratch value and a perf ring.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define MAX_BUF 4096

struct event {
	__u64 ns;
	__u32 pid, len;
	int filled, rw;
	char comm[16];
	__u8 buf[MAX_BUF];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} bufs SEC(".maps");

static int send(struct pt_regs *ctx, __u64 buf, int len, int rw)
{
	__u32 zero = 0, size;
	struct event *e;
	int ret;

	if (len <= 0)
		return 0;
	e = bpf_map_lookup_elem(&scratch, &zero);
	if (!e)
		return 0;
	e->ns = bpf_ktime_get_ns();
	e->pid = bpf_get_current_pid_tgid() >> 32;
	e->len = len;
	e->rw = rw;
	e->filled = 0;
	size = (unsigned long)len < MAX_BUF ? (unsigned long)len : MAX_BUF;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	ret = bpf_probe_read_user(e->buf, size, (void *)buf);
	if (!ret)
		e->filled = 1;
	else
		size = 0;
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, e, __builtin_offsetof(struct event, buf) + size);
	return 0;
}

SEC("uprobe/libssl.so.3:SSL_write")
int BPF_KPROBE(on_write, void *ssl, void *buf, int num)
{
	return send(ctx, (__u64)buf, num, 1);
}

SEC("uprobe/libssl.so.3:SSL_read")
int BPF_KPROBE(on_read, void *ssl, void *buf, int num)
{
	__u64 id = bpf_get_current_pid_tgid(), at = (__u64)buf;

	bpf_map_update_elem(&bufs, &id, &at, BPF_ANY);
	return 0;
}

SEC("uretprobe/libssl.so.3:SSL_read")
int BPF_KRETPROBE(on_read_return, int len)
{
	__u64 id = bpf_get_current_pid_tgid(), *at = bpf_map_lookup_elem(&bufs, &id);

	if (!at)
		return 0;
	send(ctx, *at, len, 0);
	bpf_map_delete_elem(&bufs, &id);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
