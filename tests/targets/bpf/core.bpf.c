// As built against a kernel's vmlinux.h: relocated context types, existence tests, enumerators.
#include <linux/types.h>
#define SEC(name) __attribute__((section(name), used))
#define RELOCATED __attribute__((preserve_access_index))

struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
	unsigned long first_here_only;
	unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
} RELOCATED;

struct trace_event_raw_sys_enter {
	long id;
	unsigned long args[6];
} RELOCATED;

struct record {
	int kept;
	unsigned small : 3, other : 7;
} RELOCATED;

static long (*bpf_probe_read_user)(void *dst, __u32 size, const void *src) = (void *)112;

SEC("uprobe")
int on_call(struct pt_regs *ctx)
{
	struct record *r = (void *)ctx->di;

	if (__builtin_preserve_field_info(ctx->first_here_only, 2))
		return ctx->first_here_only;
	return ctx->si + ctx->sp + __builtin_preserve_field_info(r->other, 0);
}

SEC("tracepoint/syscalls/sys_enter_openat")
int on_openat(struct trace_event_raw_sys_enter *ctx)
{
	return ctx->id + ctx->args[1];
}

char LICENSE[] SEC("license") = "GPL";
