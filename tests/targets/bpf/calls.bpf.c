// System calls: their beginnings and ends by tracepoints, raw ones and by name; a call that is left out.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

struct sys_enter {
	unsigned long long common;
	long id;
	unsigned long args[6];
};

struct sys_exit {
	unsigned long long common;
	long id, ret;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static void count(__u32 which)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &which);

	if (value)
		__sync_fetch_and_add(value, 1);
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int on_enter(struct sys_enter *ctx)
{
	if (ctx->id == 110)
		count(0);
	return 0;
}

SEC("tp/syscalls/sys_exit_getppid")
int on_exit(struct sys_exit *ctx)
{
	if (ctx->id == 110 && ctx->ret > 0)
		count(1);
	return 0;
}

SEC("raw_tp/sys_enter")
int on_any(struct bpf_raw_tracepoint_args *ctx)
{
	struct pt_regs *regs = (void *)ctx->args[0];
	unsigned long bytes = 0;

	if (ctx->args[1] != 1)
		return 0;
	bpf_probe_read_kernel(&bytes, sizeof bytes, &regs->rdx);
	if (bytes == 7)
		count(2);
	return 0;
}

SEC("raw_tp/sys_exit")
int on_any_end(struct bpf_raw_tracepoint_args *ctx)
{
	if (ctx->args[1] == 7)
		count(3);
	return 0;
}

SEC("ksyscall/write")
int on_write(struct pt_regs *ctx)
{
	if (PT_REGS_PARM3_SYSCALL(ctx) == 7)
		count(4);
	return 0;
}

SEC("kretsyscall/write")
int on_write_end(struct pt_regs *ctx)
{
	if (PT_REGS_RC(ctx) == 7)
		count(5);
	return 0;
}
