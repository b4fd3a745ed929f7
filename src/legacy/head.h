/*
 * head.h - a received head: loaded, checked and warm, with its memory.
 * Threads: loading on the loop's thread; then the worker's.
 */
#ifndef KERF_LEGACY_HEAD_H
#define KERF_LEGACY_HEAD_H

#include "kerf/engine.h"
#include "model/store.h"

typedef struct kerf_legacy_head {
    kerf_manifest manifest;
    char id[KERF_SHA256_HEX];
    kerf_net *net;
    kerf_request *request;
    kerf_card card; /* settled when images are taken */
    bool has_card;
    bool raw; /* takes tensors as they are; else images */
    size_t image_port;
    kerf_tensor in[KERF_PORTS_MAX];
    kerf_tensor out; /* what crosses: one, f32 */
} kerf_legacy_head;

/*
 * Loads the head whose two files the store has. m is copied. card: its file, or
 * "": none, which is an error (KERF_EINVAL) unless raw.
 * Errors: the store's, the card's, the engine's, KERF_ENOTSUP (what the head
 * gives does not fit the wire).
 */
KERF_NODISCARD kerf_err kerf_legacy_head_load(
    kerf_legacy_head **out, kerf_engine *engine, kerf_store *store,
    const kerf_manifest *m, const char *card, bool raw, kerf_detail *why);
void kerf_legacy_head_free(kerf_legacy_head *h); /* accepts NULL */

/* From h->in to h->out. */
KERF_NODISCARD kerf_err kerf_legacy_head_run(kerf_legacy_head *h,
                                             kerf_detail *why);
/* Moves the input of one head to another; false: it takes other inputs. */
bool kerf_legacy_head_take_input(kerf_legacy_head *to,
                                 const kerf_legacy_head *from);

#endif
