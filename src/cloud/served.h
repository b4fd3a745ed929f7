/*
 * served.h - a bundle that the cloud runs: the tail compiled and warm, slots to
 * receive tensors into, and the parts that are shipped to edges.
 * Threads: counted references from any thread; slots as slots.h says.
 */
#ifndef KERF_CLOUD_SERVED_H
#define KERF_CLOUD_SERVED_H

#include "cloud/packed.h"
#include "cloud/slots.h"
#include "model/bundle.h"

typedef struct kerf_served_opts {
    size_t workers;
    size_t slots; /* requests that are held at a time */
    size_t batch; /* kerf_batch_load()'s most */
    bool packs;   /* what is shipped, too */
    bool shares_tail;
} kerf_served_opts;

struct kerf_served {
    _Atomic int refs;
    uint64_t number; /* of each another one, from 1 */
    kerf_pair pair;  /* tail bytes dropped, unless it is shared */
    kerf_packed packed[KERF_ROLE_COUNT]; /* of what is shipped, where smaller */
    kerf_manifest manifest;
    kerf_statement says; /* of the manifest's signature; version 0: none */
    kerf_detail sig_why; /* why a signature that is there is not sent */
    char id[KERF_SHA256_HEX];
    char *manifest_json;
    size_t manifest_len;
    uint64_t stamp;    /* kerf_pair_stamp() when it was read */
    int64_t newest_ns; /* latest change of a file */
    kerf_slots slots;
    kerf_net *tail;   /* the first of the slots' networks: for its ports */
    kerf_price price; /* tail time per request, running mean */
};

/*
 * Loads and proves a pair: head and tail fit, tail(head(x)) answers the card's
 * probes, and the head's own answers become the manifest's probes. Takes the
 * contents of pair in every case. Errors: the engine's, KERF_EMISMATCH.
 */
KERF_NODISCARD kerf_err kerf_served_new(kerf_served **out, kerf_engine *engine,
                                        kerf_pair *pair,
                                        const kerf_served_opts *opts,
                                        kerf_detail *why);
uint64_t kerf_served_bytes(const kerf_served *s); /* of its files */
kerf_served *kerf_served_ref(kerf_served *s);
void kerf_served_unref(kerf_served *s); /* accepts NULL */

#endif
