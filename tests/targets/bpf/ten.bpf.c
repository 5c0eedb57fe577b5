// Ten programs as a person would write them, to compare with what the tracing language makes of the same task.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

typedef __u32 u32;
typedef __u64 u64;

struct one { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 1); __type(key, u32); __type(value, u64); };
struct one counted SEC(".maps"), total SEC(".maps"), mixed SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_HASH); __uint(max_entries, 4096); __type(key, u64); __type(value, u64); }
	by_number SEC(".maps");
struct pair { u64 a, b; };
struct { __uint(type, BPF_MAP_TYPE_PERCPU_HASH); __uint(max_entries, 4096); __type(key, struct pair); __type(value, u64); }
	by_pair SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4096); __type(key, u64); __type(value, u64); }
	began SEC(".maps");
struct text { char bytes[64]; };
struct { __uint(type, BPF_MAP_TYPE_PERCPU_HASH); __uint(max_entries, 4096); __type(key, struct text); __type(value, u64); }
	by_text SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 65); __type(key, u32); __type(value, u64); }
	sizes SEC(".maps"), latencies SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 1 << 20); } events SEC(".maps");

static __always_inline u32 slot_of(long value)
{
	u64 v = value;
	u32 r = 0, shift;

	if (value < 0)
		return 0;
	if (!v)
		return 1;
	shift = (v > 0xffffffff) << 5; v >>= shift; r |= shift;
	shift = (v > 0xffff) << 4; v >>= shift; r |= shift;
	shift = (v > 0xff) << 3; v >>= shift; r |= shift;
	shift = (v > 0xf) << 2; v >>= shift; r |= shift;
	shift = (v > 3) << 1; v >>= shift; r |= shift;
	r |= v >> 1;
	return r + 2;
}

static __always_inline void add(void *map, u64 number)
{
	u32 zero = 0;
	u64 *value = bpf_map_lookup_elem(map, &zero);

	if (value)
		*value += number;
}

static __always_inline void count_key(void *map, void *key)
{
	u64 one = 1, *value = bpf_map_lookup_elem(map, key);

	if (value)
		*value += 1;
	else
		bpf_map_update_elem(map, key, &one, BPF_NOEXIST);
}

SEC("uprobe") int p0_count(struct pt_regs *ctx)
{
	add(&counted, 1);
	return 0;
}

SEC("uprobe") int p1_sum(struct pt_regs *ctx)
{
	add(&total, PT_REGS_PARM1(ctx));
	return 0;
}

SEC("uprobe") int p2_arithmetic(struct pt_regs *ctx)
{
	add(&mixed, (PT_REGS_PARM1(ctx) * 3 + PT_REGS_PARM2(ctx)) >> 2);
	return 0;
}

SEC("uprobe") int p3_predicate(struct pt_regs *ctx)
{
	if (PT_REGS_PARM1(ctx) > 10 && PT_REGS_PARM2(ctx) != 0)
		add(&counted, 1);
	return 0;
}

SEC("uprobe") int p4_key(struct pt_regs *ctx)
{
	u64 key = PT_REGS_PARM1(ctx);

	count_key(&by_number, &key);
	return 0;
}

SEC("uprobe") int p5_two_keys(struct pt_regs *ctx)
{
	struct pair key = { PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx) };

	count_key(&by_pair, &key);
	return 0;
}

SEC("uprobe") int p6_histogram(struct pt_regs *ctx)
{
	u32 slot = slot_of(PT_REGS_PARM1(ctx));
	u64 *value = bpf_map_lookup_elem(&sizes, &slot);

	if (value)
		*value += 1;
	return 0;
}

SEC("uprobe") int p7_begin(struct pt_regs *ctx)
{
	u64 key = (u32)bpf_get_current_pid_tgid(), now = bpf_ktime_get_boot_ns();

	bpf_map_update_elem(&began, &key, &now, BPF_ANY);
	return 0;
}

SEC("uprobe") int p8_end(struct pt_regs *ctx)
{
	u64 key = (u32)bpf_get_current_pid_tgid(), *start = bpf_map_lookup_elem(&began, &key), *value;
	u32 slot;

	if (!start || !*start)
		return 0;
	slot = slot_of(bpf_ktime_get_boot_ns() - *start);
	value = bpf_map_lookup_elem(&latencies, &slot);
	if (value)
		*value += 1;
	bpf_map_delete_elem(&began, &key);
	return 0;
}

SEC("uprobe") int p9_text(struct pt_regs *ctx)
{
	struct text key = {};

	bpf_probe_read_user_str(&key, sizeof(key), (void *)PT_REGS_PARM1(ctx));
	count_key(&by_text, &key);
	return 0;
}

SEC("uprobe") int p10_record(struct pt_regs *ctx)
{
	struct { u64 event, a, b, c; } *record = bpf_ringbuf_reserve(&events, sizeof(*record), 0);

	if (!record)
		return 0;
	record->event = 0;
	record->a = PT_REGS_PARM1(ctx);
	record->b = PT_REGS_PARM2(ctx);
	record->c = PT_REGS_PARM3(ctx);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
