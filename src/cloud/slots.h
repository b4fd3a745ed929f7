/*
 * slots.h - where requests arrive and answers leave: memory for the tensors of
 * a tail's inputs and outputs.
 * Threads: taking, giving and the pool from any; a slot from one at a time; its
 * requests from the worker that they are of, or here.h while none is at it.
 */
#ifndef KERF_CLOUD_SLOTS_H
#define KERF_CLOUD_SLOTS_H

#include "cloud/bunch.h"
#include "cloud/lane.h"
#include "kerf/engine.h"
#include "net/conn.h"

#include <pthread.h>

typedef struct kerf_served kerf_served;

/* A coded tensor as it came in; codec RAW: it is in its place already, or in
 * blocks, whose blobs are one behind the other. */
typedef struct kerf_coded {
    kerf_codec_id codec;
    uint8_t *blob;
    size_t len, room;
} kerf_coded;

/* Values of an input as they came in; codec RAW: they are in their place. */
typedef struct kerf_coded_block {
    size_t tensor;
    kerf_codec_id codec;
    size_t first, count;
    size_t at, len; /* in the tensor's blobs */
} kerf_coded_block;

/* One request in flight: its tensors arrive here, and the answer leaves from
 * here. */
typedef struct kerf_slot {
    kerf_served *served;                     /* counted while in use */
    struct kerf_slot *next_made, *next_free; /* under the lock of all */
    kerf_request **request;  /* one per worker; NULL: not yet run there */
    kerf_tensor *in;         /* one per input of the tail */
    kerf_coded *coded;       /* one per input: the blob that it is made of */
    kerf_coded_block *block; /* of all inputs that come in blocks, in order */
    size_t block_count, block_most, block_room;
    _Atomic size_t arrived; /* of these */
    size_t decoded;         /* of those */
    _Atomic int ahead;      /* ahead.h, as the rest */
    kerf_err ahead_err;
    kerf_detail ahead_why;
    kerf_tensor *out; /* one per output; data[0] until static or run */
    size_t *out_room; /* bytes allocated, where the shape is not static */
    kerf_conn *conn;  /* counted while in use */
    void *owner;      /* the cloud */
    kerf_lane *lane;  /* holds it; NULL: nobody's, a trial */
    bool done;        /* kerf_slot_done() */
    kerf_job job;     /* waiting for a worker */
    uint64_t id, echo_ns, received_ns, deadline_ns; /* 0: no deadline */
    uint64_t answer_max; /* bytes of payload that the edge takes */
    size_t bytes_in;
    _Atomic int holds; /* sender and event: the last one gives it back */
    uint8_t *head;     /* of the RESULT frame */
    size_t head_cap;
    kerf_out send;
} kerf_slot;

/* The slots of one tail. Zeroed: none. */
typedef struct kerf_slots {
    /* One per worker: runs of one network take turns in OpenVINO, and a network
     * of several streams is slower for a lone request. */
    kerf_net **nets;
    kerf_bunch *bunch;         /* the same; zeroed where there are no batches */
    size_t batch_most;         /* requests that run as one; 1: none */
    _Atomic size_t running;    /* requests that workers have taken */
    _Atomic size_t workers_on; /* that are at it */
    size_t workers;
    size_t most;  /* slots that are in use at a time */
    size_t spare; /* beyond these, for edges that hold none; 0: not known */
    pthread_mutex_t lock;
    size_t used; /* under lock, as all that follows */
    size_t made;
    kerf_slot *all, *open; /* open: free ones, the last given first */
} kerf_slots;

void kerf_slots_init(kerf_slots *s, size_t workers, size_t most);
/* Frees slots, none of which is in use, and the networks. */
void kerf_slots_fini(kerf_slots *s);

/* A free slot with a reference to served, or NULL: all are in use, or lane,
 * which may be NULL, has its share: an edge that holds some gets no more than
 * KERF_SLOT_SHARE times what is left free, so that one which floods always
 * leaves room for others (dynamic thresholds: Choudhury and Hahne, 1998). A
 * slot is held while its tensors arrive, so that many slow uplinks alone would
 * use all of them up: an edge that holds none may have one of the spare slots,
 * of which there are as many as that memory allows. */
#define KERF_SLOT_SHARE 3
#define KERF_SLOT_SPARE_MOST 256
#define KERF_SLOT_SPARE_BYTES ((size_t)256 << 20)
kerf_slot *kerf_slot_take(kerf_served *served, kerf_lane *lane);
void kerf_slot_give(kerf_slot *slot);
/* While its answer is handed to the kernel it does not count against the share
 * of its lane. */
void kerf_slot_done(kerf_slot *slot, bool done);
size_t kerf_slots_used(kerf_slots *s);

/* Worker w's request for this slot, bound to its tensors (outputs of static
 * shape): binding another pointer to a shared one costs some 5 us each time. */
KERF_NODISCARD kerf_err kerf_slot_request(kerf_slot *slot, size_t w,
                                          kerf_request **out, kerf_detail *why);

/* Room for the blob of input i, kept between requests. Errors: KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_slot_code(kerf_slot *slot, size_t i,
                                       kerf_codec_id codec, size_t len);
/* A new request: no blocks. */
void kerf_slot_begin(kerf_slot *slot);
/* The same for all blocks of input i. */
KERF_NODISCARD kerf_err kerf_slot_code_blocks(kerf_slot *slot, size_t i);
/* Where this block of the request goes, which follows the one before. */
void *kerf_slot_add_block(kerf_slot *slot, const kerf_tensor_block *block);

#endif
