#include "base/table.h"

static kerf_knot *
skip_to(kerf_knot *knot, uint64_t hash)
{
    while (knot != NULL && knot->hash != hash)
        knot = knot->next;
    return knot;
}

void
kerf_table_add(kerf_table *t, kerf_knot *knot, uint64_t hash, void *of)
{
    kerf_knot **chain = &t->chain[hash % KERF_TABLE_CHAINS];

    *knot = (kerf_knot){.next = *chain, .hash = hash, .of = of};
    *chain = knot;
}

void
kerf_table_remove(kerf_table *t, kerf_knot *knot)
{
    kerf_knot **at = &t->chain[knot->hash % KERF_TABLE_CHAINS];

    while (*at != NULL && *at != knot)
        at = &(*at)->next;
    if (*at == knot)
        *at = knot->next;
}

kerf_knot *
kerf_table_find(const kerf_table *t, uint64_t hash)
{
    return skip_to(t->chain[hash % KERF_TABLE_CHAINS], hash);
}

kerf_knot *
kerf_table_more(const kerf_knot *knot)
{
    return skip_to(knot->next, knot->hash);
}
