// Overrides calls with odd arguments: what bpf_override_return sets is what the caller gets.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char _license[] SEC("license") = "GPL";

SEC("uprobe.override/caller:caller_add")
int decide(struct pt_regs *ctx)
{
	if (PT_REGS_PARM1(ctx) & 1)
		bpf_override_return(ctx, 4242);
	return 0;
}

SEC("uretprobe/caller:caller_add")
int seen(struct pt_regs *ctx)
{
	bpf_printk("returned %d", (int)PT_REGS_RC(ctx));
	return 0;
}
