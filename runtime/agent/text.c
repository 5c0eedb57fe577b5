// Strings and sums: comparison, numbers from text, paths, checksums. All memory is the program's own.
#include "map.h"

HELPER u64 string_compare(const u8 *a, u64 a_bytes, const u8 *b, u64 b_bytes)
{
	u64 bytes = a_bytes < b_bytes ? a_bytes : b_bytes;

	for (u64 i = 0; i < bytes; i++) {
		if (a[i] != b[i])
			return 1;
		if (!a[i])
			return 0;
	}
	return 0;
}

HELPER s64 string_n_compare(const u8 *a, u64 bytes, const u8 *b)
{
	for (u64 i = 0; i < (u32)bytes; i++) {
		if (a[i] != b[i])
			return a[i] < b[i] ? -1 : 1;
		if (!a[i])
			return 0;
	}
	return 0;
}

static int is_space(u8 c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static u32 digit_of(u8 c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'z' ? c - 'a' + 10u : 99;
}

struct number {
	u64 value;
	int negative, overflow;
};

// Characters consumed or -EINVAL.
static s64 parse(const u8 *text, u64 bytes, u64 flags, struct number *ret)
{
	u64 at = 0, base = flags & 0x1f, digits;

	if (base != flags || (base && base != 8 && base != 10 && base != 16))
		return -E_INVAL;
	while (at < bytes && is_space(text[at]))
		at++;
	ret->negative = at < bytes && text[at] == '-';
	at += (u64)ret->negative;
	if (at + 1 < bytes && text[at] == '0' && (text[at + 1] | 0x20) == 'x' && (!base || base == 16)) {
		at += 2;
		base = 16;
	} else if (!base) {
		base = at < bytes && text[at] == '0' ? 8 : 10;
	}
	for (digits = 0; at < bytes && digit_of(text[at]) < base; at++, digits++) {
		unsigned __int128 wide = (unsigned __int128)ret->value * base + digit_of(text[at]);

		ret->overflow |= wide >> 64 != 0;
		ret->value = (u64)wide;
	}
	return digits ? (s64)at : -E_INVAL;
}

HELPER s64 string_to_signed(const u8 *text, u64 bytes, u64 flags, s64 *ret)
{
	struct number n = { 0 };
	s64 used = parse(text, (u32)bytes, flags, &n);

	*ret = 0;
	if (used < 0)
		return used;
	if (n.overflow || n.value > (1ULL << 63) - !n.negative)
		return -E_RANGE;
	*ret = (s64)(n.negative ? -n.value : n.value);
	return used;
}

HELPER s64 string_to_unsigned(const u8 *text, u64 bytes, u64 flags, u64 *ret)
{
	struct number n = { 0 };
	s64 used = parse(text, (u32)bytes, flags, &n);

	*ret = 0;
	if (used < 0)
		return used;
	if (n.negative)
		return -E_INVAL;
	if (n.overflow)
		return -E_RANGE;
	*ret = n.value;
	return used;
}

static u32 sum_of(const u8 *data, u64 bytes, u32 flip)
{
	u64 sum = 0;

	for (u64 i = 0; i + 4 <= bytes; i += 4)
		sum += *(const u32 *)(data + i) ^ flip;
	while (sum >> 32)
		sum = (u32)sum + (sum >> 32);
	return (u32)sum;
}

// Difference of two buffers as a one's complement sum; sizes are multiples of 4.
HELPER s64 csum_diff(const u8 *from, u64 from_bytes, const u8 *to, u64 to_bytes, u64 seed)
{
	u64 sum = (u32)seed;

	from_bytes = (u32)from_bytes;
	to_bytes = (u32)to_bytes;
	if ((from_bytes | to_bytes) & 3)
		return -E_INVAL;
	sum += sum_of(from, from_bytes, 0xffffffff);
	sum += sum_of(to, to_bytes, 0);
	while (sum >> 32)
		sum = (u32)sum + (sum >> 32);
	return (s64)sum;
}
