/*
 * few.h - log lines that anyone who reaches a port can cause: some within ten
 * seconds, the others are counted. Threads: its owner's.
 */
#ifndef KERF_BASE_FEW_H
#define KERF_BASE_FEW_H

#include <stdbool.h>
#include <stdint.h>

#define KERF_FEW_MOST 100u
#define KERF_FEW_NS UINT64_C(10000000000)

typedef struct kerf_few {
    uint64_t since_ns;
    unsigned said;
    uint64_t left_out;
} kerf_few;

/* May one more be said? If not, it is counted. */
bool kerf_few_may(kerf_few *few, uint64_t now_ns);
/* How many were left out: once, when the ten seconds are over, or at the end.
 * 0: none, or it is too early. */
uint64_t kerf_few_left_out(kerf_few *few, uint64_t now_ns, bool end);

#endif
