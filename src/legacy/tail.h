/*
 * tail.h - a pair as the legacy cloud has it: the head's files to ship, and the
 * tail loaded, tested and warm.
 * Threads: one owner; references are plain counts.
 */
#ifndef KERF_LEGACY_TAIL_H
#define KERF_LEGACY_TAIL_H

#include "kerf/engine.h"
#include "model/bundle.h"

typedef struct kerf_legacy_tail {
    unsigned refs;
    kerf_pair pair; /* head only */
    char id[KERF_SHA256_HEX];
    uint64_t stamp; /* kerf_pair_stamp() */
    kerf_net *net;
    kerf_request *request;
    kerf_tensor in; /* what crosses */
} kerf_legacy_tail;

/* Reads NAME from dir; head and tail must fit, answer the card's probes, and be
 * joined by one f32 tensor. Errors: those of kerf_pair_read() and of the
 * engine, KERF_ENOTSUP, KERF_EMISMATCH. */
KERF_NODISCARD kerf_err kerf_legacy_tail_load(kerf_legacy_tail **out,
                                              kerf_engine *engine,
                                              const char *dir, const char *name,
                                              kerf_detail *why);
kerf_legacy_tail *kerf_legacy_tail_ref(kerf_legacy_tail *t);
void kerf_legacy_tail_unref(kerf_legacy_tail *t); /* accepts NULL */

/* Runs on t->in. out: views, valid until the next run. */
KERF_NODISCARD kerf_err kerf_legacy_tail_run(kerf_legacy_tail *t,
                                             kerf_tensor out[KERF_PORTS_MAX],
                                             kerf_detail *why);

/* Whether a head with these outputs fits the wire; else KERF_ENOTSUP. */
KERF_NODISCARD kerf_err kerf_legacy_check_head(const kerf_net *head,
                                               kerf_detail *why);

#endif
