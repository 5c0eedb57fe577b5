// Text of trace_printk and snprintf: the kernel's conversions, arguments as 64-bit words, strings read safely.
#include "ring.h"

enum { TEXT_EVENT = 0xff10, TEXT_MAX = 512, STRING_MAX = 256, DIGITS = 24, MAX_ARGS = 12 };

HELPER s64 probe_read(void *to, u64 bytes, const void *from);
HELPER s64 probe_read_str(u8 *to, u64 bytes, const u8 *from);

struct out {
	u8 *to;
	u64 room, used; // used counts what did not fit as well
};

struct spec {
	u32 width, base;
	u8 left, zeros, is_signed, upper, words; // words: size modifiers, 1 `l`, 2 `ll`
};

static void put(struct out *out, u8 c)
{
	if (out->used + 1 < out->room)
		out->to[out->used] = c;
	out->used++;
}

static void put_padded(struct out *out, const u8 *text, u32 bytes, const struct spec *spec)
{
	u32 pad = spec->width > bytes ? spec->width - bytes : 0;

	for (u32 i = 0; !spec->left && i < pad; i++)
		put(out, ' ');
	for (u32 i = 0; i < bytes; i++)
		put(out, text[i]);
	for (u32 i = 0; spec->left && i < pad; i++)
		put(out, ' ');
}

static void put_number(struct out *out, u64 value, const struct spec *spec)
{
	u8 digits[DIGITS + 128], *at = digits + sizeof(digits);
	const char *set = spec->upper ? "0123456789ABCDEF" : "0123456789abcdef";
	int negative = 0;
	u32 bytes;

	if (!spec->words)
		value = spec->is_signed ? (u64)(s64)(s32)value : (u32)value;
	if (spec->is_signed && (s64)value < 0) {
		negative = 1;
		value = -value;
	}
	do {
		*--at = (u8)set[value % spec->base];
		value /= spec->base;
	} while (value);
	bytes = (u32)(digits + sizeof(digits) - at) + (u32)negative;
	for (; spec->zeros && !spec->left && bytes < spec->width && bytes < 128; bytes++)
		*--at = '0';
	if (negative)
		*--at = '-';
	put_padded(out, at, bytes, spec);
}

static void put_string(struct out *out, u64 address, const struct spec *spec)
{
	u8 text[STRING_MAX];
	s64 bytes = probe_read_str(text, sizeof(text), (const u8 *)address);

	put_padded(out, text, bytes > 0 ? (u32)bytes - 1 : 0, spec);
}

static void put_address(struct out *out, u64 address, int version)
{
	struct spec decimal = { .base = 10, .words = 2 }, hex = { .base = 16, .words = 2, .zeros = 1, .width = 4 };
	const u8 *raw = (const u8 *)address;
	u8 bytes[16] = { 0 };

	probe_read(bytes, version == 4 ? 4 : 16, raw);
	for (u32 i = 0; version == 4 && i < 4; i++) {
		if (i)
			put(out, '.');
		put_number(out, bytes[i], &decimal);
	}
	for (u32 i = 0; version == 6 && i < 16; i += 2) {
		if (i)
			put(out, ':');
		put_number(out, (u64)bytes[i] << 8 | bytes[i + 1], &hex);
	}
}

// What follows `%p`: returns the characters taken.
static u32 put_pointer(struct out *out, const u8 *rest, u64 value, struct spec *spec)
{
	if ((rest[0] == 'u' || rest[0] == 'k') && rest[1] == 's') {
		put_string(out, value, spec);
		return 2;
	}
	if ((rest[0] == 'i' || rest[0] == 'I') && (rest[1] == '4' || rest[1] == '6')) {
		put_address(out, value, rest[1] - '0');
		return 2;
	}
	spec->base = 16;
	spec->words = 2;
	put(out, '0');
	put(out, 'x');
	put_number(out, value, spec);
	return rest[0] == 'K' || rest[0] == 'x' || rest[0] == 's' || rest[0] == 'S' || rest[0] == 'B';
}

static const u8 *read_spec(const u8 *at, struct spec *ret)
{
	for (; *at == '0' || *at == '-' || *at == '+' || *at == ' ' || *at == '#'; at++) {
		ret->zeros |= *at == '0';
		ret->left |= *at == '-';
	}
	for (; *at >= '0' && *at <= '9'; at++)
		ret->width = ret->width * 10 + (u32)(*at - '0');
	ret->width = ret->width > 128 ? 128 : ret->width;
	for (; *at == 'l' && ret->words < 2; at++)
		ret->words++;
	return at;
}

// One conversion; the end of it, or null where there is none of that name.
static const u8 *convert(struct out *out, const u8 *at, u64 value)
{
	struct spec spec = { .base = 10 };
	u8 c;

	at = read_spec(at, &spec);
	c = *at++;
	spec.is_signed = c == 'd' || c == 'i';
	spec.upper = c == 'X';
	spec.base = (c | 0x20) == 'x' ? 16 : 10;
	if (c == 'd' || c == 'i' || c == 'u' || c == 'x' || c == 'X') {
		put_number(out, value, &spec);
	} else if (c == 's') {
		put_string(out, value, &spec);
	} else if (c == 'c') {
		u8 one = (u8)value;

		put_padded(out, &one, 1, &spec);
	} else if (c == 'p') {
		at += put_pointer(out, at, value, &spec);
	} else {
		return 0;
	}
	return at;
}

// Bytes needed with the NUL, or -EINVAL for a format that is wrong or wants more than `count` arguments.
static s64 format(struct out *out, const u8 *at, const u8 *end, const u64 *args, u32 count)
{
	u32 used = 0;

	while (at < end && *at) {
		if (*at != '%') {
			put(out, *at++);
			continue;
		}
		if (at[1] == '%') {
			put(out, '%');
			at += 2;
			continue;
		}
		if (used >= count)
			return -E_INVAL;
		at = convert(out, at + 1, args[used++]);
		if (!at)
			return -E_INVAL;
	}
	if (out->room)
		out->to[out->used < out->room ? out->used : out->room - 1] = 0;
	return (s64)out->used + 1;
}

HELPER s64 snprintf_text(u8 *to, u64 room, const u8 *text, const u64 *args, u64 bytes)
{
	struct out out = { to, to ? (u32)room : 0, 0 };

	if (bytes & 7 || bytes > MAX_ARGS * 8)
		return -E_INVAL;
	return format(&out, text, (const u8 *)~0ULL, args, (u32)bytes / 8);
}

// Format into a record of the session's ring: {u16 event, u16 flags, u32 bytes of text}, text without NUL.
HELPER s64 trace_text(struct ring *ring, struct region *region, const u8 *text, u64 text_bytes, const u64 *args,
		      u64 count)
{
	u8 buffer[TEXT_MAX];
	struct out out = { buffer, sizeof(buffer), 0 };
	s64 bytes;
	u16 *record;

	text_bytes = (u32)text_bytes;
	if (!text_bytes || text[text_bytes - 1] || count > MAX_ARGS)
		return -E_INVAL;
	bytes = format(&out, text, text + text_bytes, args, (u32)count);
	if (bytes < 0)
		return bytes;
	bytes = bytes > TEXT_MAX ? TEXT_MAX - 1 : bytes - 1;
	record = ring_reserve(ring, region, 8 + (u64)bytes);
	if (!record)
		return -E_NOSPC;
	record[0] = TEXT_EVENT;
	record[1] = 0;
	*(u32 *)(record + 2) = (u32)bytes;
	copy_words(record + 4, buffer, (u64)bytes);
	ring_commit(record);
	return bytes;
}
