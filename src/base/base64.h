/*
 * base64.h - bytes as text (RFC 4648, section 4: with padding), for JSON.
 * Threads: pure.
 */
#ifndef KERF_BASE_BASE64_H
#define KERF_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Chars for len bytes, without the end. */
#define KERF_BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Into out[KERF_BASE64_LEN(len) + 1]. */
void kerf_base64(char *out, const uint8_t *data, size_t len);
/* Bytes that text[0..len) stands for, if it is right; at most len / 4 * 3. */
size_t kerf_base64_most(size_t len);
/* False: not base64 as kerf_base64() writes it (no line ends, no spare bits).
 * out has kerf_base64_most(len) bytes; *out_len is how many there are. */
bool kerf_unbase64(uint8_t *out, size_t *out_len, const char *text, size_t len);

#endif
