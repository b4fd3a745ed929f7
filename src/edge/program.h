/*
 * program.h - a bundle that the edge runs: the head compiled, tested and warm,
 * and a slot for each request in flight.
 * Threads: reading and compiling on the loader's; then see each field.
 */
#ifndef KERF_EDGE_PROGRAM_H
#define KERF_EDGE_PROGRAM_H

#include "kerf/edge.h"
#include "model/store.h"
#include "net/conn.h"
#include "source/source.h"

#include <stdatomic.h>

#define KERF_FLIGHTS_MAX 64 /* of a program: --window */
_Static_assert(KERF_PORTS_MAX <= 64, "in_blocks has a bit for each");

typedef struct kerf_program kerf_program;

/* An entry of the queue to the caller: one of the two. */
typedef struct kerf_event {
    struct kerf_note *note;
    struct kerf_flight *flight;
} kerf_event;

typedef enum kerf_flight_state {
    KERF_FLIGHT_FREE = 0,
    KERF_FLIGHT_FILLING,  /* the worker waits for its input */
    KERF_FLIGHT_RUNNING,  /* the head runs on it: it holds the program */
    KERF_FLIGHT_WAITING,  /* to be sent: no connection, or BUSY */
    KERF_FLIGHT_SENT,     /* no answer yet */
    KERF_FLIGHT_OFFLINE,  /* the offline thread has it */
    KERF_FLIGHT_ANSWERED, /* being shown; then free */
} kerf_flight_state;

/* A BLOCK frame of a flight. */
typedef struct kerf_flight_block {
    kerf_header header;
    kerf_out out;
    uint8_t head[KERF_HEAD_STEP];
} kerf_flight_block;

/* One request, from its input to its answer. state is under the edge's lock;
 * the rest belongs to whom the state says. */
typedef struct kerf_flight {
    kerf_event event;
    kerf_program *program;
    kerf_flight_state state;
    uint64_t id; /* from 1 */
    uint64_t index;
    kerf_item item;
    kerf_request *request;          /* bound to in and out for good */
    kerf_tensor *in;                /* what the head takes, one per port */
    kerf_tensor *out;               /* what the head gives */
    uint8_t *coded[KERF_PORTS_MAX]; /* blobs of out; NULL: never coded */
    kerf_flight_block *block;       /* that follow the TENSOR frame */
    size_t block_count, block_room;
    size_t block_goal;  /* of which so many will be made */
    uint64_t in_blocks; /* a bit per output that is not in the TENSOR frame */
    kerf_codec_id packed[KERF_PORTS_MAX]; /* how each output really is */
    uint8_t *head;                        /* of the TENSOR frame */
    size_t meta_len;
    kerf_header header;
    kerf_out send;
    /* Frames that are not sent yet, and one while the worker makes more: memory
     * is in use. */
    _Atomic unsigned sending;
    unsigned sent_on; /* kerf_conn_number() */
    /* The connection whose kernel has its memory, since no answer came on it
     * yet; 0: none. strays: an earlier one may have it, too. */
    unsigned lent_on;
    bool strays;
    uint64_t start_ns, encoded_ns, deadline_ns, retry_ns; /* or 0 */
    uint64_t stranded_ns; /* the cloud does not know its bundle since; or 0 */
    kerf_stages stages;
    size_t bytes_sent, bytes_received;
    unsigned busy_row;                /* how often it was turned away */
    size_t tensor_bytes, coded_bytes; /* of out, and of what is sent of it */
    uint32_t codecs;                  /* that it takes, a bit each */
    kerf_codec_id codec;              /* of the first tensor */
    kerf_via via;
    bool queued;     /* it is on disk, and nothing more comes of it here */
    uint8_t *record; /* from disk: owned, has the pieces; else NULL */
    uint64_t record_seq;

    bool late;      /* the answer: after its deadline, here or in the cloud */
    bool receiving; /* the loop's: its answer is being read */
    uint16_t result_count;
    kerf_tensor result[KERF_PORTS_MAX]; /* data owned, room beside it */
    size_t result_room[KERF_PORTS_MAX];
    kerf_err err;
    kerf_detail why;
} kerf_flight;

struct kerf_program {
    kerf_manifest manifest; /* its sig: under the edge's lock */
    kerf_statement says;    /* of sig; so is this. version 0: nothing */
    bool expired;           /* under the lock: it is not run, for now */
    char id[KERF_SHA256_HEX];
    kerf_hold *hold; /* the store keeps it as long as this is there */
    kerf_card card;  /* settled, when has_card */
    bool has_card;
    kerf_net *net;
    bool raw; /* takes tensors as they are; else images */
    size_t image_port;
    kerf_port sent[KERF_PORTS_MAX]; /* what crosses */
    size_t sent_count;
    size_t flights;
    kerf_flight *flight;
    /* This output of all flights, as bytes; no data: each has its own. */
    kerf_tensor outs[KERF_PORTS_MAX];
    bool has_pages; /* each output of a flight, and its blob, is in pages that
                     * nothing else is in: it may be lent */
    /* Only where the cloud shares it: proved, warm; NULL: none, tail_why says
     * why not if there was one. The request is the offline thread's. */
    kerf_net *tail;
    kerf_request *tail_request;
    kerf_detail tail_why;
    bool has_tried_tail;
};

/*
 * Reads the bundle from the store, which keeps it from here on: what waits for
 * the disk. pair: zeroed; what kerf_program_compile() takes, to be finished
 * by the caller in any case. m is copied. raw: for tensors as they are, else
 * for images, which takes a card. tail: it is in the store, too. *out is free
 * to go whether or not it was compiled. Errors: the store's.
 */
KERF_NODISCARD kerf_err kerf_program_read(kerf_program **out, kerf_pair *pair,
                                          kerf_store *store,
                                          const kerf_manifest *m, bool raw,
                                          bool tail, kerf_detail *why);
/*
 * Compiles it, tests it on the manifest's probes and warms it up; no disk. That
 * a tail cannot be used is no error. Errors: the engine's, KERF_EMISMATCH when
 * a probe fails.
 */
KERF_NODISCARD kerf_err kerf_program_compile(kerf_program *p,
                                             kerf_engine *engine,
                                             const kerf_pair *pair, bool tail,
                                             size_t flights, kerf_detail *why);
void kerf_program_free(kerf_program *p); /* accepts NULL */

void kerf_flight_sent(void *flight, kerf_err err); /* kerf_out's done */
/* Before what it sends is written to, or freed: what the kernel has of it yet,
 * without an answer, stays as it was. Whose it is. */
void kerf_flight_take_back(kerf_flight *f);
/* Room for a blob of output i. False: no memory. */
bool kerf_flight_make_room(kerf_flight *f, size_t i);

/* Memory for one result tensor of this flight, kept between requests. */
KERF_NODISCARD kerf_err kerf_flight_result(kerf_flight *f, size_t i,
                                           const kerf_tensor_desc *desc);

#endif
