// Clocks: the vDSO's routine, found without libc, and the time-stamp counter with the session's parameters.
#include "agent.h"

enum { PT_LOAD = 1, PT_DYNAMIC = 2, DT_HASH = 4, DT_STRTAB = 5, DT_SYMTAB = 6, DT_GNU_HASH = 0x6ffffef5 };
enum { CLOCKS_IN_HEADER = 3, NS = 1000000000 };

struct elf_header {
	u8 ident[16];
	u16 type, machine;
	u32 version;
	u64 entry, segments, sections;
	u32 flags;
	u16 header_size, segment_size, segment_count;
};

struct elf_segment {
	u32 type, flags;
	u64 offset, address, physical, file_bytes, bytes, align;
};

struct elf_symbol {
	u32 name;
	u8 info, other;
	u16 section;
	u64 value, size;
};

struct tables {
	const char *strings;
	const struct elf_symbol *symbols;
	const u32 *hash, *gnu;
};

static int same_text(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

// Number of symbols: said by the old hash table, else found as the end of the new one's longest chain.
static u32 symbol_count(const struct tables *t)
{
	const u32 *buckets, *chains;
	u32 last = 0;

	if (t->hash)
		return t->hash[1];
	if (!t->gnu)
		return 0;
	buckets = t->gnu + 4 + 2 * t->gnu[2];
	chains = buckets + t->gnu[0];
	for (u32 i = 0; i < t->gnu[0]; i++)
		last = buckets[i] > last ? buckets[i] : last;
	if (last < t->gnu[1])
		return 0;
	while (!(chains[last - t->gnu[1]] & 1))
		last++;
	return last + 1;
}

static void read_dynamic(const u64 *dynamic, u64 bias, struct tables *ret)
{
	for (; dynamic[0]; dynamic += 2) {
		u64 at = bias + dynamic[1];

		if (dynamic[0] == DT_HASH)
			ret->hash = (const u32 *)at;
		else if (dynamic[0] == DT_STRTAB)
			ret->strings = (const char *)at;
		else if (dynamic[0] == DT_SYMTAB)
			ret->symbols = (const struct elf_symbol *)at;
		else if (dynamic[0] == DT_GNU_HASH)
			ret->gnu = (const u32 *)at;
	}
}

void clock_init(u64 ehdr)
{
	const struct elf_header *header = (const struct elf_header *)ehdr;
	const struct elf_segment *segment;
	const u64 *dynamic = 0;
	struct tables t = { 0 };
	u64 bias = 0;

	if (!ehdr)
		return;
	segment = (const struct elf_segment *)(ehdr + header->segments);
	for (u32 i = 0; i < header->segment_count; i++) {
		if (segment[i].type == PT_LOAD && !bias)
			bias = ehdr + segment[i].offset - segment[i].address;
		if (segment[i].type == PT_DYNAMIC)
			dynamic = (const u64 *)(ehdr + segment[i].offset);
	}
	if (!dynamic)
		return;
	read_dynamic(dynamic, bias, &t);
	if (!t.symbols || !t.strings)
		return;
	for (u32 i = 0; i < symbol_count(&t); i++) {
		const struct elf_symbol *symbol = &t.symbols[i];

		if (symbol->section && same_text(t.strings + symbol->name, "__vdso_clock_gettime"))
			agent.vdso_clock_gettime = (clock_fn)(bias + symbol->value);
	}
}

// Nanoseconds of a clock of the kernel; `clock` is its clockid_t.
HELPER u64 clock_read(u64 clock)
{
	s64 time[2] = { 0, 0 };

	if (!agent.vdso_clock_gettime || agent.vdso_clock_gettime((s64)clock, time))
		sys(SYS_CLOCK_GETTIME, clock, time);
	return (u64)time[0] * NS + (u64)time[1];
}

// Nanoseconds by the time-stamp counter; `which`: 0 monotonic, 1 boot, 2 TAI.
HELPER u64 clock_tsc(const struct region *region, u64 which)
{
	static const u8 kernel_clocks[CLOCKS_IN_HEADER] = { 1, 7, 11 };
	const s64 *bases = &region->clock_mono0;
	u32 before;
	s64 since;
	u64 ns;

	if (!region->clock_mult)
		return clock_read(kernel_clocks[which]);
	do {
		before = __atomic_load_n(&region->clock_seq, __ATOMIC_ACQUIRE);
		since = (s64)(__builtin_ia32_rdtsc() - region->clock_tsc0);
		since = since < 0 ? 0 : since; // another core's counter may be a few ticks behind
		ns = (u64)((unsigned __int128)(u64)since * region->clock_mult >> region->clock_shift);
		ns += (u64)bases[which];
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while ((before & 1) || before != __atomic_load_n(&region->clock_seq, __ATOMIC_RELAXED));
	return ns;
}

// Nanoseconds since the time-stamp counter stood at `start`.
HELPER u64 clock_since(const struct region *region, u64 start)
{
	s64 since = (s64)(__builtin_ia32_rdtsc() - start);

	since = since < 0 ? 0 : since;
	return (u64)((unsigned __int128)(u64)since * region->clock_mult >> region->clock_shift);
}
