/*
 * served.h - a bundle that the cloud runs: the tail compiled and warm, a pool
 * of slots to receive tensors into, and the parts that are shipped to edges.
 * Threads: counted references and the slot pool from any thread; a request
 * belongs to its worker.
 */
#ifndef KERF_CLOUD_SERVED_H
#define KERF_CLOUD_SERVED_H

#include "kerf/engine.h"
#include "model/bundle.h"
#include "net/conn.h"

#include <pthread.h>

typedef struct kerf_served kerf_served;

/* A coded tensor as it came in; codec RAW: it is in its place already. */
typedef struct kerf_coded {
    kerf_codec_id codec;
    uint8_t *blob;
    size_t len, room;
} kerf_coded;

/* One request in flight: its tensors arrive here, and the answer leaves from
 * here. */
typedef struct kerf_slot {
    kerf_served *served; /* counted */
    struct kerf_slot *next;
    kerf_request **request; /* one per worker, made at its first use */
    kerf_tensor *in;        /* one per input of the tail */
    kerf_coded *coded;      /* one per input: the blob that it is made of */
    kerf_tensor *out;       /* one per output; data[0] until static or run */
    size_t *out_room;       /* bytes allocated, where the shape is not static */
    kerf_conn *conn;        /* counted while in use */
    void *owner;            /* the cloud */
    char edge[KERF_NAME_MAX];
    uint64_t id, echo_ns, received_ns, deadline_ns; /* 0: no deadline */
    uint64_t answer_max; /* bytes of payload that the edge takes */
    size_t bytes_in;
    _Atomic int holds; /* sender and event: the last one gives it back */
    uint8_t *head;     /* of the RESULT frame */
    size_t head_cap;
    kerf_out send;
} kerf_slot;

struct kerf_served {
    _Atomic int refs;
    kerf_pair pair; /* tail bytes dropped */
    kerf_manifest manifest;
    char id[KERF_SHA256_HEX];
    char *manifest_json;
    size_t manifest_len;
    uint64_t stamp;    /* kerf_pair_stamp() when it was read */
    int64_t newest_ns; /* latest change of a file */
    /* One network per worker: runs of one network take turns in OpenVINO, and
     * a network of several streams is slower for a lone request. */
    kerf_net **nets;
    kerf_net *tail; /* nets[0]: for its ports */
    size_t workers;
    _Atomic uint64_t tail_ns; /* running mean, for retry times */
    pthread_mutex_t lock;
    kerf_slot *free_slots; /* under lock */
    size_t slots, slots_max;
};

/*
 * Loads and proves a pair: head and tail fit, tail(head(x)) answers the card's
 * probes, and the head's own answers become the manifest's probes. Takes the
 * contents of pair in every case. Errors: the engine's, KERF_EMISMATCH.
 */
KERF_NODISCARD kerf_err kerf_served_new(kerf_served **out, kerf_engine *engine,
                                        kerf_pair *pair, size_t workers,
                                        size_t slots_max, kerf_detail *why);
kerf_served *kerf_served_ref(kerf_served *s);
void kerf_served_unref(kerf_served *s); /* accepts NULL */

/* Worker w's request on this slot, bound to its tensors (outputs of static
 * shape): binding another pointer to a shared one costs some 5 us each time. */
KERF_NODISCARD kerf_err kerf_slot_request(kerf_slot *slot, size_t w,
                                          kerf_request **out, kerf_detail *why);

/* Room for the blob of input i, kept between requests. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_slot_code(kerf_slot *slot, size_t i,
                                       kerf_codec_id codec, size_t len);

/* A free slot with a reference to s, or NULL: all are in use. */
kerf_slot *kerf_slot_take(kerf_served *s);
void kerf_slot_give(kerf_slot *slot);

#endif
