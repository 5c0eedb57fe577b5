// Globals of all kinds, subprograms, bounded and unbounded loops, callbacks, strings and printk.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

int calls;
long long sums[8] = { 1, 2, 3 };
const volatile int limit = 16;
const char greeting[] = "hello";
char last[32];

struct walk {
	int steps;
	long sum;
};

struct node {
	struct node *next;
	int value;
};

static long add(__u32 index, struct walk *w)
{
	w->sum += index;
	w->steps++;
	return w->sum > 1000;
}

static __attribute__((noinline)) int scale(int value, int by)
{
	calls++;
	return value * by;
}

__attribute__((noinline)) int fill(struct walk *w)
{
	if (!w)
		return 0;
	w->steps = 1;
	w->sum = 2;
	return 1;
}

SEC("uprobe")
int BPF_KPROBE(on_call, int a, const char *name)
{
	struct walk w = {};
	int i, n = 0;

	fill(&w);
	bpf_loop(limit, add, &w, 0);
	for (i = 0; i < limit; i++)
		n += scale(i, a);
#pragma clang loop unroll(disable)
	for (i = 0; i < 8; i++)
		sums[i] += n;
	sums[a & 7]++;
	if (bpf_probe_read_user_str(last, sizeof(last), name) > 0 && !bpf_strncmp(last, sizeof(last), greeting))
		bpf_printk("called with %s %d", last, n);
	return w.steps;
}

SEC("uprobe")
int BPF_KPROBE(on_list, struct node *node)
{
	struct node here;
	int total = 0;

#pragma clang loop unroll(disable)
	while (node && !bpf_probe_read_user(&here, sizeof(here), node)) {
		total += here.value;
		node = here.next;
	}
	sums[0] = total;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
