// Entry and return of open(): file name and result, sent through a ring buffer.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define NAME 64

struct start {
	const char *path;
	int flags;
};

struct event {
	__u32 pid, tid;
	int result, flags;
	char comm[16];
	char path[NAME];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32);
	__type(value, struct start);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

const volatile __u32 target_pid = 0;
const volatile _Bool failed_only = 0;

SEC("uprobe/libc.so.6:open")
int BPF_KPROBE(on_open, const char *path, int flags)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id;
	struct start s = {};

	if (target_pid && target_pid != id >> 32)
		return 0;
	s.path = path;
	s.flags = flags;
	bpf_map_update_elem(&start, &tid, &s, BPF_ANY);
	return 0;
}

SEC("uretprobe/libc.so.6:open")
int BPF_KRETPROBE(on_return, int result)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id;
	struct start *s = bpf_map_lookup_elem(&start, &tid);
	struct event *e;

	if (!s)
		return 0;
	if (failed_only && result >= 0)
		goto out;
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (!e)
		goto out;
	e->pid = id >> 32;
	e->tid = tid;
	e->result = result;
	e->flags = s->flags;
	bpf_get_current_comm(e->comm, sizeof(e->comm));
	bpf_probe_read_user_str(e->path, sizeof(e->path), s->path);
	bpf_ringbuf_submit(e, 0);
out:
	bpf_map_delete_elem(&start, &tid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
