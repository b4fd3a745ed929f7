/*
 * frame.h - the wire v1: one message is one frame. docs/PROTOCOL.md.
 *
 *     0                 64              HEAD          HEAD + payload_len
 *     | header          | meta ... 0 0 0 | payload ... |
 *
 * HEAD is 64 + meta_len rounded up to KERF_HEAD_STEP, so that one read of
 * KERF_HEAD_STEP bytes gets the whole of a usual head and never a byte of
 * payload. The payload is a list of pieces (tensors, file bytes), each starting
 * at a multiple of 64 and padded with zeros to one; a piece is read straight
 * into, and sent straight from, the memory where it is used.
 * All numbers are little-endian. Buffers only: no sockets, files or threads.
 * Threads: pure.
 */
#ifndef KERF_PROTO_FRAME_H
#define KERF_PROTO_FRAME_H

#include "kerf/codec_id.h"
#include "kerf/limits.h"
#include "kerf/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERF_WIRE_VERSION 1
#define KERF_HEADER_LEN 64
#define KERF_HEAD_STEP 256
#define KERF_META_MAX ((size_t)16 << 10) /* enough for 64 tensors of rank 8 */
#define KERF_HEAD_MAX ((size_t)16 << 10 | 256)
#define KERF_PIECE_ALIGN 64
#define KERF_PAYLOAD_MAX ((uint64_t)2 << 30)
#define KERF_ANSWER_MAX ((uint64_t)256 << 20) /* that an edge takes */
#define KERF_MANIFEST_MAX ((size_t)8 << 20)
#define KERF_PART_CHUNK ((size_t)256 << 10) /* of a file, in one PART frame */
#define KERF_PART_BLOCK ((size_t)4 << 20)   /* ... before packing, if packed */
#define KERF_TEXT_MAX 512 /* reasons and names, with the end */
#define KERF_BUNDLE_ID_LEN 32
#define KERF_TOKEN_LEN 16
#define KERF_HELLO_BUNDLES 64
#define KERF_HEARTBEAT_MIN_MS 100
#define KERF_BLOCK_VALUES_MIN 65536 /* but of a tensor's last BLOCK */

/* Append, never renumber. Types from 128 on may be skipped by who does not
 * know them; unknown types below end the connection. */
typedef enum kerf_frame_type {
    KERF_FRAME_HELLO = 1,    /* edge: control connection opens */
    KERF_FRAME_WELCOME = 2,  /* cloud: session token, limits, window */
    KERF_FRAME_ATTACH = 3,   /* edge: tensor connection opens, with the token */
    KERF_FRAME_ATTACHED = 4, /* cloud */
    KERF_FRAME_ERROR = 5,    /* either: why the connection ends; then it does */
    KERF_FRAME_PING = 6,     /* either */
    KERF_FRAME_PONG = 7,     /* either */
    KERF_FRAME_OFFER = 8,    /* cloud: a manifest; payload: its JSON */
    KERF_FRAME_FETCH = 9,    /* edge: send me this part */
    KERF_FRAME_PART = 10,    /* cloud: bytes of a part; payload: the bytes */
    KERF_FRAME_READY = 11,   /* edge: the bundle runs here, or why not */
    KERF_FRAME_TENSOR = 12,  /* edge: a request; payload: the tensors */
    KERF_FRAME_RESULT = 13,  /* cloud: its answer; payload: the tensors */
    KERF_FRAME_BUSY = 14,    /* cloud: not taken; try again after retry_ms */
    KERF_FRAME_FAILED = 15,  /* cloud: will never be answered, and why */
    KERF_FRAME_BYE = 16,     /* either: no new requests; leaving */
    KERF_FRAME_BLOCK = 17,   /* edge: more of the request before; payload: it */
    KERF_FRAME_LOADING = 128, /* edge: it has all of the bundle; it loads it */
} kerf_frame_type;

const char *kerf_frame_name(uint8_t type); /* "HELLO"; "?" when unknown */

enum {
    KERF_FLAG_BODY_HASH = 1, /* header.body_hash is set */
};

typedef struct kerf_header {
    uint8_t version;
    uint8_t type;
    uint16_t flags;
    uint64_t id; /* of the request; 0 where there is none */
    uint32_t meta_len;
    uint64_t payload_len; /* with the pads; a multiple of 64 */
    uint64_t sent_ns;     /* the sender's clock, just before sending */
    uint64_t body_hash;
} kerf_header;

/* Head length for a meta of this length. */
size_t kerf_head_len(size_t meta_len);

/* Writes the 64 bytes, hash of the header included. */
void kerf_header_put(uint8_t out[KERF_HEADER_LEN], const kerf_header *h);

/* Errors: KERF_EPROTO (not a Kerf frame, damaged), KERF_EVERSION (*why has both
 * versions; h->version is set, and all of h when it is an ERROR frame, whose
 * layout every version shares), KERF_ETOOBIG (meta or payload over the limit).
 * max_payload: bytes, what this side takes in its present state. */
KERF_NODISCARD kerf_err kerf_header_get(kerf_header *h,
                                        const uint8_t in[KERF_HEADER_LEN],
                                        uint64_t max_payload, kerf_detail *why);

/* Hash of a body: XXH3-64 of the meta (seed 0), then of each piece without its
 * pad, each seeded with the hash so far. Pieces of 0 bytes do not count. */
uint64_t kerf_body_hash(uint64_t seed, const void *data, size_t len);

/* Metas. Each has put (returns the length, 0 when out has no room) and get
 * (KERF_ECORRUPT with *why; bytes after the known fields are ignored: later
 * minor additions). Text from the peer is checked for length and 0 bytes only:
 * show it through kerf_text_safe(). */

typedef struct kerf_hello {
    uint16_t version_min, version_max;
    uint32_t codecs; /* bit per kerf_codec_id */
    uint64_t payload_max;
    char name[KERF_NAME_MAX]; /* of the edge, for people */
    char want[KERF_NAME_MAX]; /* model name, or "": what the cloud says */
    char engine[KERF_NAME_MAX];
    uint16_t bundle_count; /* that the edge holds, verified */
    uint8_t bundle[KERF_HELLO_BUNDLES][KERF_BUNDLE_ID_LEN];
    uint32_t part_codecs; /* bit per kerf_part_codec that it takes; 0: raw */
    uint32_t asks;        /* KERF_ASKS_* */
} kerf_hello;

/* Bits of HELLO's asks. */
#define KERF_ASKS_PROBE 1u /* only WELCOME: is the cloud well? */
/* ... and what it says of its run, from its start to its end: it has had no
 * WELCOME yet; or it has, of whatever cloud. Neither: it does not say. */
#define KERF_ASKS_FIRST 2u
#define KERF_ASKS_AGAIN 4u

/* What a cloud can do besides, a bit each. Append, never renumber. */
enum {
    KERF_FEATURE_BLOCKS = 1, /* it takes BLOCK */
    KERF_FEATURE_TAILS = 2,  /* tails may be fetched as heads are */
    KERF_FEATURE_RANGES = 4, /* FETCH may say how much */
};

typedef struct kerf_welcome {
    uint16_t version;
    uint32_t codecs;
    uint64_t payload_max;
    uint8_t token[KERF_TOKEN_LEN];
    uint32_t window;       /* requests in flight that the cloud takes, >= 1 */
    uint32_t heartbeat_ms; /* the edge pings at least so often, >= 100 */
    char name[KERF_NAME_MAX];
    uint32_t features; /* KERF_FEATURE_* */
} kerf_welcome;

typedef struct kerf_offer {
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
    bool run; /* the one to run now; else only keep it */
    uint32_t manifest_len;
} kerf_offer;

/* How the bytes of a PART are packed. Append, never renumber. */
typedef enum kerf_part_codec {
    KERF_PART_RAW = 0,
    KERF_PART_KWZ = 1, /* one block of docs/FORMAT.md, version 2 */
    KERF_PART_CODECS
} kerf_part_codec;

/* FETCH and PART. Of a FETCH len is of the file, 0: all from offset. */
typedef struct kerf_range {
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
    uint16_t part; /* index in the manifest */
    uint64_t offset;
    uint32_t len;   /* of the payload's piece */
    uint8_t codec;  /* kerf_part_codec; only with KWZ: */
    uint8_t kind;   /* of the block */
    uint32_t plain; /* bytes of the file that it stands for */
} kerf_range;

typedef struct kerf_ready {
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
    uint16_t err; /* kerf_err: 0 it runs */
    char reason[KERF_TEXT_MAX];
} kerf_ready;

/* Whether this error of a READY is of that machine at that moment (memory,
 * room, files, a clock): it says nothing about the bundle, and the edge tries
 * again by itself. */
bool kerf_ready_is_passing(uint16_t err);

typedef struct kerf_tensor_desc {
    kerf_dtype dtype;
    uint8_t codec;
    kerf_shape shape;
    /* Raw: of the tensor; else of its blob, which is smaller. 0 of a coded one:
     * it follows in BLOCK frames (TENSOR only). */
    uint64_t len;
} kerf_tensor_desc;

typedef struct kerf_tensors { /* TENSOR and RESULT */
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
    uint32_t deadline_ms; /* TENSOR: from arrival; 0: none */
    /* RESULT: sent_ns of the request's last frame, then the cloud's clock when
     * the last byte had arrived, then how long it waited, was decoded, and ran.
     */
    uint64_t echo_ns, received_ns, queue_ns, decode_ns, tail_ns;
    bool late;      /* RESULT: the deadline had passed when it was there */
    uint16_t count; /* 1..KERF_PORTS_MAX */
    kerf_tensor_desc tensor[KERF_PORTS_MAX];
} kerf_tensors;

/* BLOCK: values first .. first + count of a tensor of the request. */
typedef struct kerf_tensor_block {
    uint16_t tensor;
    uint8_t codec; /* the tensor's, or RAW */
    uint32_t first, count;
    uint32_t len; /* of the payload's piece: the values, or a blob of them */
} kerf_tensor_block;

/* In the ids of requests that an edge has kept on disk, so that they meet no
 * other's; not in what is shown. */
#define KERF_DRAIN_ID ((uint64_t)1 << 63)

typedef struct kerf_notice { /* ERROR, BUSY, FAILED, BYE */
    uint16_t err;            /* kerf_err */
    uint32_t retry_ms;       /* BUSY, BYE */
    char text[KERF_TEXT_MAX];
} kerf_notice;

typedef struct kerf_pong {
    uint64_t echo_ns,
        received_ns; /* the ping's sent_ns; our clock at arrival */
} kerf_pong;

/* Room for the meta of a TENSOR or RESULT with so many tensors. */
#define KERF_TENSORS_ROOM(count) (128 + (size_t)(count)*80)

size_t kerf_hello_put(uint8_t *out, size_t cap, const kerf_hello *m);
size_t kerf_welcome_put(uint8_t *out, size_t cap, const kerf_welcome *m);
size_t kerf_token_put(uint8_t *out, size_t cap,
                      const uint8_t token[KERF_TOKEN_LEN]);
size_t kerf_offer_put(uint8_t *out, size_t cap, const kerf_offer *m);
size_t kerf_range_put(uint8_t *out, size_t cap, const kerf_range *m);
size_t kerf_ready_put(uint8_t *out, size_t cap, const kerf_ready *m);
size_t kerf_loading_put(uint8_t *out, size_t cap,
                        const uint8_t bundle[KERF_BUNDLE_ID_LEN]);
size_t kerf_tensors_put(uint8_t *out, size_t cap, const kerf_tensors *m);
size_t kerf_tensor_block_put(uint8_t *out, size_t cap,
                             const kerf_tensor_block *m);
size_t kerf_notice_put(uint8_t *out, size_t cap, const kerf_notice *m);
size_t kerf_pong_put(uint8_t *out, size_t cap, const kerf_pong *m);

KERF_NODISCARD kerf_err kerf_hello_get(kerf_hello *m, const uint8_t *in,
                                       size_t len, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_welcome_get(kerf_welcome *m, const uint8_t *in,
                                         size_t len, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_token_get(uint8_t token[KERF_TOKEN_LEN],
                                       const uint8_t *in, size_t len,
                                       kerf_detail *why);
KERF_NODISCARD kerf_err kerf_offer_get(kerf_offer *m, const uint8_t *in,
                                       size_t len, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_range_get(kerf_range *m, const uint8_t *in,
                                       size_t len, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_ready_get(kerf_ready *m, const uint8_t *in,
                                       size_t len, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_loading_get(uint8_t bundle[KERF_BUNDLE_ID_LEN],
                                         const uint8_t *in, size_t len,
                                         kerf_detail *why);
/* Also checks each desc: dtype, rank, dims, that raw len is the tensor's and
 * coded len under it, and that the padded lengths add up to payload_len. */
KERF_NODISCARD kerf_err kerf_tensors_get(kerf_tensors *m, const uint8_t *in,
                                         size_t len, uint64_t payload_len,
                                         kerf_detail *why);
/* Also checks that it has values, that len suits them and is that of the
 * payload. */
KERF_NODISCARD kerf_err kerf_tensor_block_get(kerf_tensor_block *m,
                                              const uint8_t *in, size_t len,
                                              uint64_t payload_len,
                                              kerf_detail *why);
KERF_NODISCARD kerf_err kerf_notice_get(kerf_notice *m, const uint8_t *in,
                                        size_t len, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_pong_get(kerf_pong *m, const uint8_t *in,
                                      size_t len, kerf_detail *why);

/* A complete head (header and meta) for frames built in one go: meta_len bytes
 * of meta stand at head + KERF_HEADER_LEN already (see kerf_*_put). h->type,
 * id, flags, payload_len, sent_ns and body_hash are the caller's; version and
 * meta_len are set here. Returns the head's length, kerf_head_len(meta_len);
 * head has room for it. */
size_t kerf_head_seal(uint8_t *head, kerf_header *h, size_t meta_len);

#endif
