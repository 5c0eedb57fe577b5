// Patching running code and undoing it.
//
// A site is one instruction: nobody can stand inside it or jump into it. A thread that arrives while it is
// being rewritten spins in a two-byte jump to itself: no trap, no handler, nobody stopped. The tail is written
// when no core can be fetching it, the head last; every core is serialised between the steps (membarrier), else
// one may run half of each. Every two-byte store lies within one cache line, which the planner has checked.
#include "agent.h"

enum { MEMBARRIER_SYNC_CORE = 1 << 5 };

static struct site *site_table(void)
{
	return (void *)((u8 *)agent.state + STATE_SITES);
}

int cores_sync(void)
{
	return (int)sys(SYS_MEMBARRIER, MEMBARRIER_SYNC_CORE, 0);
}

static void store2(u64 at, const u8 *bytes)
{
	u16 value;

	copy_bytes(&value, bytes, 2);
	__atomic_store_n((u16 *)at, value, __ATOMIC_RELEASE);
}

static void store_gate(u64 at)
{
	static const u8 gate[2] = { 0xeb, 0xfe }; // jmp to itself

	store2(at, gate);
}

static void store_tail(u64 at, const u8 *bytes)
{
	for (u32 i = 2; i < 5; i++)
		__atomic_store_n((u8 *)(at + i), bytes[i], __ATOMIC_RELAXED);
}

// jmp rel32 from `at` to `to`, 5 bytes.
static void encode_jump(u64 at, u64 to, u8 *ret)
{
	s32 distance = (s32)(to - (at + 5));

	ret[0] = 0xe9;
	copy_bytes(ret + 1, &distance, 4);
}

static int unlock_ranges(const struct range *ranges, u32 n)
{
	for (u32 i = 0; i < n; i++) {
		s64 err = sys(SYS_MPROTECT, ranges[i].start, ranges[i].end - ranges[i].start, PROT_R | PROT_W | PROT_X);

		if (!err)
			continue;
		while (i--)
			sys(SYS_MPROTECT, ranges[i].start, ranges[i].end - ranges[i].start, ranges[i].protection);
		return (int)err;
	}
	return 0;
}

static void lock_ranges(const struct range *ranges, u32 n)
{
	for (u32 i = 0; i < n; i++)
		sys(SYS_MPROTECT, ranges[i].start, ranges[i].end - ranges[i].start, ranges[i].protection);
}

static int in_ranges(const struct range *ranges, u32 n, u64 at, u64 bytes)
{
	for (u32 i = 0; i < n; i++)
		if (at >= ranges[i].start && at + bytes <= ranges[i].end)
			return 1;
	return 0;
}

static s32 check_site(const struct range *ranges, u32 n_ranges, const struct site *site)
{
	const struct site *old;

	if (site->index >= MAX_SITES || site->width < 1 || site->width > 8)
		return -E_INVAL;
	if (!in_ranges(ranges, n_ranges, site->at, 8) || (site->hole && !in_ranges(ranges, n_ranges, site->hole, 5)))
		return -E_INVAL;
	old = &site_table()[site->index];
	if (old->state == SITE_ARMED && old->at != site->at)
		return -E_BUSY;
	if (!same_bytes((void *)site->at, old->state == SITE_ARMED ? old->want : site->live, site->width))
		return -E_STALE;
	return is_detour(site) ? detour_add(site) : 0;
}

static int is_jump(u64 at)
{
	return *(u8 *)at == 0xe9;
}

// Holes: nobody executes a fresh one, so plain stores do; those in use are rewritten behind gates of their own.
// `step` 0: fresh ones whole, gates for the others; 1: tails; 2: heads. Returns how many were gated.
static u32 hole_step(const struct site *sites, u32 n, const s32 *status, int step)
{
	u32 gated = 0;
	u8 jump[5];

	for (u32 i = 0; i < n; i++) {
		u64 hole = sites[i].hole;

		if (status[i] || !hole)
			continue;
		encode_jump(hole, sites[i].thunk, jump);
		if (step == 0 && !is_jump(hole) && *(u8 *)hole != 0xeb) {
			copy_bytes((void *)hole, jump, 5);
		} else if (!same_bytes((void *)hole, jump, 5)) {
			gated++;
			if (step == 0)
				store_gate(hole);
			else if (step == 1)
				store_tail(hole, jump);
			else
				store2(hole, jump);
		}
	}
	return gated;
}

static void write_holes(const struct site *sites, u32 n, const s32 *status)
{
	u32 gated = hole_step(sites, n, status, 0);

	cores_sync();
	if (!gated)
		return;
	hole_step(sites, n, status, 1);
	cores_sync();
	hole_step(sites, n, status, 2);
}

// Whether a site is written by one store.
static int is_short(const struct site *site)
{
	return site->kind == SITE_HOP2 || is_detour(site);
}

// Rewrite the first bytes of every accepted site: one of a trap, two of a hop or a call, five of a jump. `bytes` picks want or live.
static void write_sites(struct site *sites, u32 n, const s32 *status, int arm)
{
	u32 jumps = 0;

	for (u32 i = 0; i < n; i++) {
		if (status[i])
			continue;
		if (sites[i].kind == SITE_TRAP) {
			__atomic_store_n((u8 *)sites[i].at, *(arm ? sites[i].want : sites[i].live), __ATOMIC_RELEASE);
		} else if (is_short(&sites[i])) {
			store2(sites[i].at, arm ? sites[i].want : sites[i].live);
		} else {
			store_gate(sites[i].at);
			jumps++;
		}
	}
	cores_sync();
	if (!jumps)
		return;
	for (u32 i = 0; i < n; i++)
		if (!status[i] && !is_short(&sites[i]))
			store_tail(sites[i].at, arm ? sites[i].want : sites[i].live);
	cores_sync();
	for (u32 i = 0; i < n; i++)
		if (!status[i] && !is_short(&sites[i]))
			store2(sites[i].at, arm ? sites[i].want : sites[i].live);
	cores_sync();
}

static void record_site(const struct site *site)
{
	struct site *entry = &site_table()[site->index];
	u8 live[8];

	// A site that is armed anew keeps the bytes that the program came with.
	copy_bytes(live, entry->state == SITE_ARMED ? entry->live : site->live, 8);
	*entry = *site;
	copy_bytes(entry->live, live, 8);
	entry->state = SITE_ARMED;
	if (agent.state->sites <= site->index)
		agent.state->sites = site->index + 1;
}

int sites_apply(const struct range *ranges, u32 n_ranges, struct site *sites, u32 n_sites, s32 *status)
{
	int err = cores_sync();

	if (err)
		return err;
	err = unlock_ranges(ranges, n_ranges);
	if (err)
		return err;
	for (u32 i = 0; i < n_sites; i++)
		status[i] = check_site(ranges, n_ranges, &sites[i]);
	// The table first: whoever finds a patched site finds its bytes there, even if we are killed meanwhile.
	for (u32 i = 0; i < n_sites; i++)
		if (!status[i])
			record_site(&sites[i]);
	write_holes(sites, n_sites, status);
	cores_sync();
	write_sites(sites, n_sites, status, 1);
	lock_ranges(ranges, n_ranges);
	return 0;
}

int sites_remove(const struct range *ranges, u32 n_ranges, const u32 *index, u32 n, s32 *status)
{
	static struct site batch[256];
	int err = cores_sync();

	if (err)
		return err;
	err = unlock_ranges(ranges, n_ranges);
	if (err)
		return err;
	for (u32 done = 0; done < n; done += 256) {
		u32 count = n - done < 256 ? n - done : 256;

		for (u32 i = 0; i < count; i++) {
			u32 k = index[done + i];

			status[done + i] = -E_INVAL;
			if (k >= MAX_SITES)
				continue;
			batch[i] = site_table()[k];
			if (batch[i].state != SITE_ARMED || !in_ranges(ranges, n_ranges, batch[i].at, 8))
				continue;
			status[done + i] = same_bytes((void *)batch[i].at, batch[i].want, batch[i].width) ? 0 : -E_STALE;
		}
		write_sites(batch, count, status + done, 0);
		for (u32 i = 0; i < count; i++)
			if (!status[done + i]) {
				site_table()[index[done + i]].state = SITE_REMOVED;
				if (is_detour(&batch[i]))
					detour_end(&batch[i]);
			}
	}
	lock_ranges(ranges, n_ranges);
	return 0;
}
