// Files cannot be removed: the call is not made, and its caller is told that it may not.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

SEC("tracepoint/syscalls/sys_enter_unlink")
int on_unlink(struct pt_regs *ctx)
{
	bpf_override_return(ctx, -1);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_unlinkat")
int on_unlinkat(struct pt_regs *ctx)
{
	bpf_override_return(ctx, -1);
	return 0;
}
