/*
 * ans_own.h - the inside of the entropy coder, shared by ans_model.c (classes
 * and tables), ans_encode.c and ans_decode.c only.
 */
#ifndef KERF_CODEC_ANS_OWN_H
#define KERF_CODEC_ANS_OWN_H

#include "codec/ans.h"
#include "codec/cpu.h"

#define ANS_CLASSES 128 /* at most 97 are used */
#define ANS_BUCKETS 16  /* of contexts: 0 to 3, then two to the octave */
#define ANS_NEARS 256   /* what two distances add up to, as far as counted */
#define ANS_LOG_MIN 6
#define ANS_LOG_MAX 10
#define ANS_STATES ((size_t)1 << ANS_LOG_MAX)
#define ANS_STREAMS 4
#define ANS_BATCH 4 /* symbols of at most 14 bits between two refills */
#define ANS_HEAD 12 /* kind, max, zero, log, starts, table bytes, width */
#define ANS_ENDS (ANS_STREAMS * 2 + (ANS_STREAMS - 1) * 4)
/* A gamma code has 21 bits at most. */
#define ANS_TABLE_MAX ((size_t)ANS_BUCKETS * ANS_CLASSES * 21 / 8 + 1)

/* What coding one value in one context takes: FSE's symbol transform of its
 * class, and the bits that are written as they are. */
struct ans_step {
    uint32_t delta_bits;
    int32_t delta_state;
    uint32_t extra; /* number of bits, and the bits */
    uint32_t rest;
};

struct kerf_ans {
    kerf_ans_shape shape;
    unsigned log;    /* states of a table: 1 << log */
    uint16_t starts; /* bit b: a context begins with bucket b */
    unsigned contexts, classes;
    uint8_t base[ANS_CLASSES];  /* first value */
    uint8_t extra[ANS_CLASSES]; /* bits as they are */
    uint8_t context_of[ANS_BUCKETS];
    uint16_t norm[ANS_BUCKETS][ANS_CLASSES]; /* sum: 1 << log */

    /* Encoder: by value */
    uint8_t class_of[256], rest[256];
    uint16_t row[ANS_NEARS]; /* by near, or the value before: 256 * context */
    uint32_t count[ANS_STREAMS][ANS_BUCKETS * ANS_CLASSES];
    struct ans_step step[ANS_BUCKETS * 256];
    uint16_t state[ANS_BUCKETS * ANS_STATES];
    /* Decoder */
    uint8_t distance[256];        /* by value */
    uint32_t from[2 * ANS_NEARS]; /* by near: where its context's table is */
    uint64_t table[ANS_BUCKETS * ANS_STATES];
    uint8_t spread[ANS_STATES];
};

/* Classes of a->shape. False: no such kind, or zero over max. */
bool kerf_ans_lay_out(kerf_ans *a);
/*
 * The context of a value is the bucket of its near: how far from zero its
 * neighbours are, together, at most 255. They are the value before it and the
 * one a row before it. Where there is none in its quarter, the first counts
 * twice; without rows it counts as the first value of its class, so that the
 * class alone says what the next context is. A quarter begins with near 0.
 */
unsigned kerf_ans_bucket(unsigned near);

/* Of the value after v, when there are no rows. */
unsigned kerf_ans_near(const kerf_ans *a, uint8_t v);

/* Of a value from zero. */
KERF_INLINE uint8_t
kerf_ans_distance(const kerf_ans_shape *shape, uint8_t v)
{
    return shape->kind == KERF_ANS_EIGHTS ? v >> 3
           : v > shape->zero              ? (uint8_t)(v - shape->zero)
                                          : (uint8_t)(shape->zero - v);
}

/* Whether any class has bits as they are. */
bool kerf_ans_has_extras(const kerf_ans *a);
/* Buckets to contexts, by a->starts. False: not a valid set. */
bool kerf_ans_set_contexts(kerf_ans *a);
/* The class of each state, by a->norm, into a->spread. */
void kerf_ans_spread(kerf_ans *a, unsigned context);

#endif
