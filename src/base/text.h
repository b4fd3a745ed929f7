/*
 * text.h - text from outside made safe to show. Threads: any.
 */
#ifndef KERF_BASE_TEXT_H
#define KERF_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Copies text into out[cap], cut when too long; control characters, DEL,
 * C1 controls, marks that turn the direction of a line and malformed UTF-8
 * become \xNN, so that a peer's text cannot move a cursor or break a log line.
 * Returns out. */
char *kerf_text_safe(char *out, size_t cap, const char *text);

/* The same, in quotes, with a backslash before each quote and backslash of the
 * text: a value that ends where it says. cap >= 3. Returns out. */
char *kerf_text_quote(char *out, size_t cap, const char *text);

/* Is it well-formed UTF-8, as JSON needs it? */
bool kerf_text_is_utf8(const char *text);

/* A base name that a peer may give to a file: 1..200 of [A-Za-z0-9._-], not
 * starting with a dot. */
bool kerf_text_is_name(const char *text);

/* 12345678 -> "12.35 MB" (SI units), into out[cap]. Returns out. */
char *kerf_text_bytes(char *out, size_t cap, unsigned long long bytes);

/* 1234567 ns -> "1.235 ms"; us, ms or s, into out[cap]. Returns out. */
char *kerf_text_ns(char *out, size_t cap, unsigned long long ns);

#endif
