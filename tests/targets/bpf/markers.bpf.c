// Markers of tests/targets/markers.c with libbpf's decoding: sums of arguments of every kind.
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __s64);
} sums SEC(".maps");

static void add(__u32 key, long value)
{
	__s64 *sum = bpf_map_lookup_elem(&sums, &key);

	if (sum)
		__sync_fetch_and_add(sum, value);
}

SEC("usdt/markers:app:plain")
int BPF_USDT(on_plain, int a, long b, const char *text)
{
	char start[4];

	add(0, a);
	add(1, b);
	if (bpf_probe_read_user(start, sizeof(start), text) == 0)
		add(2, start[0] == 'h');
	add(3, bpf_usdt_arg_cnt(ctx));
	return 0;
}

SEC("usdt/markers:app:spread")
int BPF_USDT(on_spread, int n, int where)
{
	add(3 + where, n);
	return 0;
}

SEC("usdt/markers:app:bytes")
int on_bytes(struct pt_regs *ctx)
{
	long value;

	bpf_usdt_arg(ctx, 0, &value); // 1@%ah
	add(6, value);
	bpf_usdt_arg(ctx, 6, &value); // -1@%al
	add(7, value);
	bpf_usdt_arg(ctx, 9, &value); // -8@$-9
	add(8, value);
	return 0;
}

SEC("usdt/markers:app:memory")
int on_memory(struct pt_regs *ctx)
{
	long value;

	bpf_usdt_arg(ctx, 2, &value); // -4@4(%rax)
	add(9, value);
	return 0;
}

SEC("usdt/markers:app:floating")
int on_floating(struct pt_regs *ctx)
{
	long value;

	add(10, bpf_usdt_arg(ctx, 0, &value)); // a float: -EINVAL
	bpf_usdt_arg(ctx, 1, &value);
	add(11, value);
	add(12, bpf_usdt_cookie(ctx));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
