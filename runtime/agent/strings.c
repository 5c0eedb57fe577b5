// Strings of the tracing language: length, search, concatenation, comparison, patterns. All memory is the
// program's own; a string ends at its first NUL or at the end of its memory.
#include "map.h"

HELPER u64 string_length(const u8 *text, u64 bytes)
{
	u64 at = 0;

	bytes = (u32)bytes;
	while (at < bytes && text[at])
		at++;
	return at;
}

// Index of the first occurrence of `part` in `text`, -1 if there is none. The empty string is everywhere.
HELPER s64 string_find(const u8 *text, u64 bytes, const u8 *part, u64 part_bytes)
{
	u64 length = string_length(text, bytes), wanted = string_length(part, part_bytes);

	for (u64 at = 0; at + wanted <= length; at++)
		if (same_bytes(text + at, part, wanted))
			return (s64)at;
	return -1;
}

// Append to the string in `to`; what does not fit before a final NUL is cut.
HELPER s64 string_append(u8 *to, u64 bytes, const u8 *from, u64 from_bytes)
{
	u64 at = string_length(to, bytes), more = string_length(from, from_bytes);

	bytes = (u32)bytes;
	if (at >= bytes)
		return 0;
	more = more < bytes - 1 - at ? more : bytes - 1 - at;
	copy_bytes(to + at, from, more);
	to[at + more] = 0;
	return 0;
}

// Difference of the first bytes that differ, as signed chars; 0 where all are equal.
HELPER s64 memory_compare(const signed char *a, const signed char *b, u64 bytes)
{
	for (u64 i = 0; i < (u32)bytes; i++)
		if (a[i] != b[i])
			return a[i] - b[i];
	return 0;
}

// Whether a character is in the class that begins behind `[`; `after` becomes the place behind its `]`, or
// null where the class is not closed and `[` means itself.
static int in_class(const u8 *class, const u8 *end, u8 c, const u8 **after)
{
	int negated = class < end && *class == '!', found = 0;
	const u8 *at = class + negated;

	*after = 0;
	for (const u8 *first = at; at < end; at++) {
		u8 low = *at, high = low;

		if (low == ']' && at > first) {
			*after = at + 1;
			return found != negated;
		}
		if (at + 2 < end && at[1] == '-' && at[2] != ']') {
			high = at[2];
			at += 2;
		}
		found |= c >= low && c <= high;
	}
	return 0;
}

// Whether one character matches the head of a pattern (no `*`); `next` becomes the rest of the pattern.
static int matches_one(const u8 *pattern, const u8 *end, u8 c, const u8 **next)
{
	const u8 *after;

	*next = pattern + 1;
	if (*pattern == '?')
		return 1;
	if (*pattern == '[') {
		int inside = in_class(pattern + 1, end, c, &after);

		if (after) {
			*next = after;
			return inside;
		}
	}
	return *pattern == c;
}

// Whether a string matches a glob pattern as a whole: `*`, `?`, `[a-z]`, `[!a-z]`.
HELPER u64 string_glob(const u8 *text, u64 bytes, const u8 *pattern, u64 pattern_bytes)
{
	const u8 *end = text + string_length(text, bytes), *last = pattern + string_length(pattern, pattern_bytes);
	const u8 *star = 0, *from = 0;

	while (text < end) {
		const u8 *next;

		if (pattern < last && *pattern == '*') {
			star = ++pattern;
			from = text;
		} else if (pattern < last && matches_one(pattern, last, *text, &next)) {
			pattern = next;
			text++;
		} else if (star) {
			pattern = star; // let the last star take one character more
			text = ++from;
		} else {
			return 0;
		}
	}
	while (pattern < last && *pattern == '*')
		pattern++;
	return pattern == last;
}
