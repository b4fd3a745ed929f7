/*
 * legacy.h - the wire of the Python reference, for --legacy. docs/PROTOCOL.md,
 * "Legacy wire".
 *
 *     | i32 n | n bytes of JSON | payload | i32 n | ...
 *
 * Two one-way connections, nothing is acknowledged: files (cloud to edge) and
 * tensors (edge to cloud). The reader takes headers from slices of any length;
 * it never takes a byte of payload, so that the caller reads that straight to
 * where it belongs.
 * Buffers only. Threads: one owner per reader.
 */
#ifndef KERF_PROTO_LEGACY_H
#define KERF_PROTO_LEGACY_H

#include "kerf/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KERF_LEGACY_JSON_MAX ((size_t)64 << 10)
#define KERF_LEGACY_NAME 256
#define KERF_LEGACY_PUT_MAX 512 /* room that the put calls need at most */

typedef enum kerf_legacy_kind {
    KERF_LEGACY_FILE = 0,
    KERF_LEGACY_TENSOR = 1, /* f32, row-major */
} kerf_legacy_kind;

typedef struct kerf_legacy_message {
    kerf_legacy_kind kind;
    char
        name[KERF_LEGACY_NAME]; /* file: client_infer_NAME.pdmodel|.pdiparams */
    uint64_t index;             /* tensor: from 0 */
    kerf_shape shape;           /* tensor */
    uint64_t len;               /* bytes of payload that follow */
} kerf_legacy_message;

typedef struct kerf_legacy_reader {
    kerf_legacy_kind kind; /* what this connection carries */
    uint64_t len_max;      /* of a payload, bytes */
    uint8_t start[4];      /* n */
    uint8_t *json;         /* owned; json_len bytes of room; NULL before n */
    size_t json_len;
    size_t got; /* of start, then of json */
} kerf_legacy_reader;

void kerf_legacy_init(kerf_legacy_reader *r, kerf_legacy_kind kind,
                      uint64_t len_max);
void kerf_legacy_fini(kerf_legacy_reader *r); /* accepts a zeroed one */

/* Bytes of the header that surely come next; >= 1. Who reads just so many
 * never reads into the payload. */
size_t kerf_legacy_need(const kerf_legacy_reader *r);
/* Between two messages: a stream may end here. */
bool kerf_legacy_idle(const kerf_legacy_reader *r);

/*
 * Takes header bytes from data; *used says how many. When the header is whole,
 * *ready is true and *m is filled: m->len bytes of payload follow, and after
 * them the reader takes the next header.
 * Errors: KERF_EPROTO (*why has the field, or the refused file name),
 * KERF_ETOOBIG,
 * KERF_ENOMEM; the reader is of no use after one.
 */
KERF_NODISCARD kerf_err kerf_legacy_feed(kerf_legacy_reader *r,
                                         const uint8_t *data, size_t len,
                                         size_t *used, bool *ready,
                                         kerf_legacy_message *m,
                                         kerf_detail *why);

/* Header of a file or tensor message, byte for byte as the reference writes
 * it. Returns its length; 0 when out has no room or the name or shape is not
 * one that the wire can carry. */
size_t kerf_legacy_put_file(uint8_t *out, size_t cap, const char *name,
                            uint64_t size);
size_t kerf_legacy_put_tensor(uint8_t *out, size_t cap, uint64_t index,
                              const kerf_shape *shape);

/* client_infer_NAME.pdmodel or .pdiparams: the files that this wire carries. */
bool kerf_legacy_is_name(const char *name);

#endif
