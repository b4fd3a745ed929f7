/*
 * date.h - points in time that people and other machines read: UTC, to the
 * second. Threads: any.
 */
#ifndef KERF_BASE_DATE_H
#define KERF_BASE_DATE_H

#include <stdbool.h>
#include <stdint.h>

#define KERF_DATE_TEXT 21 /* "2027-02-28T12:00:00Z" and the end */
#define KERF_DATE_MAX INT64_C(253402300799) /* the last second of year 9999 */

int64_t
kerf_date_now(void); /* seconds since 1970; may jump: clock.h does not */
/* Returns out. s: 0 to KERF_DATE_MAX; what is outside shows as the bound. */
char *kerf_date_text(char out[KERF_DATE_TEXT], int64_t s);
/* Exactly as kerf_date_text() writes it, from 1970 on. *s is untouched when it
 * is not. */
bool kerf_date_parse(int64_t *s, const char *text);
/* "2027-02-28" is its last second; "90d" (also h, w, y of 365 days) is so long
 * after now_s. Else as kerf_date_parse(). */
bool kerf_date_parse_end(int64_t *s, const char *text, int64_t now_s);

#endif
