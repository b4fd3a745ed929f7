/*
 * bunch.h - several requests that run as one: a network that takes any number
 * of them, and a worker's memory for their tensors, one behind the other.
 *
 * Requests are copied in and answers out, so that any that wait may run
 * together; that costs microseconds where a batch saves hundreds. One network
 * for all sizes has its weights in the caches once.
 * Threads: one at a time.
 */
#ifndef KERF_CLOUD_BUNCH_H
#define KERF_CLOUD_BUNCH_H

#include "cloud/linger.h"
#include "kerf/engine.h"

struct kerf_slot;

/* Zeroed: none. */
typedef struct kerf_bunch {
    kerf_net *net;
    size_t most;
    kerf_linger linger;                         /* how many at once */
    kerf_tensor in[KERF_PORTS_MAX];             /* of `most` requests */
    kerf_request *request[KERF_BATCH_MOST + 1]; /* by size; made at first use */
} kerf_bunch;

/*
 * Loads the network for up to `most` requests of this tail, whose ports are
 * static and begin with 1. Errors: the engine's, KERF_EMISMATCH (an output does
 * not grow with the batch), KERF_ENOMEM.
 */
KERF_NODISCARD kerf_err kerf_bunch_load(kerf_bunch *out, kerf_engine *engine,
                                        const kerf_model_bytes *m,
                                        kerf_net *tail, size_t most,
                                        kerf_detail *why);
void kerf_bunch_fini(kerf_bunch *b); /* accepts a zeroed one */

/* Runs these requests of that tail; their answers are in slot->out. count: 1 to
 * `most`. Errors: the engine's; then slot->out is anything. */
KERF_NODISCARD kerf_err kerf_bunch_run(kerf_bunch *b,
                                       struct kerf_slot *const *slots,
                                       size_t count, kerf_detail *why);

#endif
