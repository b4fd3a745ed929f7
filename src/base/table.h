/*
 * table.h - what is found by a hash: chains of knots that lie in what they are
 * found for. It allocates nothing; equal hashes are told apart by the caller.
 * Threads: one owner.
 */
#ifndef KERF_BASE_TABLE_H
#define KERF_BASE_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define KERF_TABLE_CHAINS 4096 /* for some thousands of knots */

typedef struct kerf_knot {
    struct kerf_knot *next;
    uint64_t hash;
    void *of; /* what it lies in */
} kerf_knot;

/* Zeroed: empty. */
typedef struct kerf_table {
    kerf_knot *chain[KERF_TABLE_CHAINS];
} kerf_table;

void kerf_table_add(kerf_table *t, kerf_knot *knot, uint64_t hash, void *of);
/* What is not in it: nothing happens. */
void kerf_table_remove(kerf_table *t, kerf_knot *knot);
/* The first knot of this hash, then the next; NULL: no more. */
kerf_knot *kerf_table_find(const kerf_table *t, uint64_t hash);
kerf_knot *kerf_table_more(const kerf_knot *knot);

#endif
