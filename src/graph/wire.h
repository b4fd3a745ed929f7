/*
 * wire.h - walks the wire form of protobuf messages, as in .pdmodel and .onnx
 * files, and writes it. What is read are views into the caller's bytes.
 * Threads: values.
 */
#ifndef KERF_GRAPH_WIRE_H
#define KERF_GRAPH_WIRE_H

#include "base/bytes.h"
#include "base/rope.h"

#include <protobuf-c/protobuf-c.h>

/* One field of a message: bytes for wire type 2, value for the others. */
typedef struct kerf_wire_field {
    uint32_t number;
    uint32_t wire;
    uint64_t value;
    const uint8_t *bytes;
    size_t len;
    const uint8_t *whole; /* the field as it stands, with its tag */
    size_t whole_len;
} kerf_wire_field;

static inline uint64_t
kerf_wire_varint(kerf_rd *r)
{
    return kerf_rd_varint(r);
}

/* False at the end, and (r->bad) when the field is not whole. */
bool kerf_wire_next(kerf_rd *r, kerf_wire_field *f);

/* What is inside a field of wire type 2. */
kerf_rd kerf_wire_inside(const kerf_wire_field *f);

/* The bytes are a sequence of whole protobuf fields, one of them a message
 * numbered `number`: a cheap test for truncated and foreign files. */
bool kerf_wire_has(const void *data, size_t len, uint32_t number);

/* These append a field to a rope; see rope->bad. */
void kerf_wire_put_int(kerf_rope *rope, uint32_t number, uint64_t value);
void kerf_wire_put_float(kerf_rope *rope, uint32_t number, float value);
/* The tag and length of a field whose len bytes come next. */
void kerf_wire_put_head(kerf_rope *rope, uint32_t number, size_t len);
void kerf_wire_put_text(kerf_rope *rope, uint32_t number, const char *text);
/* A message that was put together in a rope of its own; it is empty then. */
void kerf_wire_put_rope(kerf_rope *rope, uint32_t number, kerf_rope *message);
void kerf_wire_put_message(kerf_rope *rope, uint32_t number,
                           const ProtobufCMessage *message);

#endif
