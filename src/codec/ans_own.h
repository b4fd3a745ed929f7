/*
 * ans_own.h - the inside of the entropy coder, shared by ans_model.c (classes
 * and tables), ans_encode.c and ans_decode.c only.
 */
#ifndef KERF_CODEC_ANS_OWN_H
#define KERF_CODEC_ANS_OWN_H

#include "base/bytes.h"
#include "codec/ans.h"
#include "codec/cpu.h"

#define ANS_CLASSES 128 /* at most 97 are used */
#define ANS_BUCKETS 16  /* of contexts: 0 to 3, then two to the octave */
#define ANS_NEARS 256   /* what two distances add up to, as far as counted */
#define ANS_LOG_MIN 6
#define ANS_LOG_MAX 10
#define ANS_STATES ((size_t)1 << ANS_LOG_MAX)
#define ANS_STREAMS 4
#define ANS_BATCH 4       /* symbols of at most 14 bits between two refills */
#define ANS_HEAD 12       /* kind, max, zero, log, starts, table bytes, width */
#define ANS_KIND_PLANES 2 /* in the head: KERF_ANS_LOG, with planes */
#define ANS_PLANE_BYTES 5 /* of the weights of one */
#define ANS_ROW_MOST 1024 /* values, with planes */
#define ANS_SAMPLES 512   /* values of a plane that its weights are fitted to */
#define ANS_BACK_MOST 16  /* planes before, of which one is the other */
#define ANS_WEIGHT_MOST 63 /* parts of 32 */
#define ANS_NEAR_SHIFT 4   /* a near is in halves of numbers, then */
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

/* What foretells the values of a plane, in parts of 32. */
struct ans_plane {
    uint8_t left; /* the value before */
    int8_t up;    /* the one above */
    int8_t other; /* how another plane differs from its neighbours */
    int8_t one;   /* all, in quarters of a number */
    uint8_t back; /* the other plane is so many before; 0: none */
};

struct kerf_ans {
    kerf_ans_shape shape;
    bool planes;                /* shape.plane counts */
    unsigned log;               /* states of a table: 1 << log */
    uint16_t starts;            /* bit b: a context begins with bucket b */
    uint8_t first[ANS_BUCKETS]; /* with planes: a context's first near */
    unsigned contexts, classes;
    uint8_t base[ANS_CLASSES];  /* first value */
    uint8_t extra[ANS_CLASSES]; /* bits as they are */
    uint8_t context_of[ANS_BUCKETS];
    uint8_t context_near[ANS_NEARS];         /* with planes, instead of those */
    uint16_t norm[ANS_BUCKETS][ANS_CLASSES]; /* sum: 1 << log */

    /* Encoder: by value */
    uint8_t class_of[256], rest[256];
    uint16_t row[ANS_NEARS]; /* by near, or the value before: 256 * context */
    uint32_t count[ANS_STREAMS][ANS_BUCKETS * ANS_CLASSES];
    struct ans_step step[ANS_BUCKETS * 256];
    uint16_t state[ANS_BUCKETS * ANS_STATES];
    int16_t differ[ANS_BACK_MOST + 1][ANS_SAMPLES]; /* of the last planes */
    /* Decoder */
    uint8_t distance[256];        /* by value */
    uint32_t from[2 * ANS_NEARS]; /* by near: where its context's table is */
    uint32_t table[ANS_BUCKETS * ANS_STATES];
    uint8_t spread[ANS_STATES];
    uint8_t foretold[ANS_STREAMS][ANS_ROW_MOST]; /* of a row: the bases */
    uint8_t before[2][ANS_STREAMS][256];         /* of a first row, of others */
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

/*
 * With planes a near is what is foretold of the distance from zero, times two:
 * the base of its place and what the value before it adds, each at most 255,
 * and at most 255 together. What is said of rows and planes in
 * docs/PROTOCOL.md, "Coded values".
 */
/* The base of a row of a plane into base[0..width). v: the row. */
void kerf_ans_foretell(const struct ans_plane *p, const uint8_t *v,
                       size_t width, size_t plane, uint8_t zero,
                       bool is_first_row, uint8_t *base);
/* How much the value before counts. */
int kerf_ans_weight(const struct ans_plane *p, bool is_first_row);
/* What each v adds to the near of the value after it. */
void kerf_ans_before_all(uint8_t of[256], int weight, uint8_t zero);
/* All nears of a plane. */
void kerf_ans_plane_nears(const struct ans_plane *p, const uint8_t *v,
                          size_t width, size_t plane, uint8_t zero,
                          uint8_t *near);
/* The weights of plane k of a quarter, after those of all before it. v: its
 * values. */
void kerf_ans_plane_fit(kerf_ans *a, struct ans_plane *p, const uint8_t *v,
                        size_t k);
void kerf_ans_plane_put(kerf_wr *w, const struct ans_plane *p);
/* False: no weights of the plane `before` of which there are so many. */
bool kerf_ans_plane_get(kerf_rd *r, struct ans_plane *p, size_t before);

/* Whether any class has bits as they are. */
bool kerf_ans_has_extras(const kerf_ans *a);
/* Nears to contexts, by a->first; with planes. False: not a valid set. */
bool kerf_ans_set_nears(kerf_ans *a);
/* Buckets to contexts, by a->starts. False: not a valid set. */
bool kerf_ans_set_contexts(kerf_ans *a);
/* The class of each state, by a->norm, into a->spread. */
void kerf_ans_spread(kerf_ans *a, unsigned context);

#endif
