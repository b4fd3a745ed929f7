/* Thinned numbers and exact floats, by the loops for this machine, by those for
 * older ones and by those for any. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "codec/exact.h"
#include "codec/thin.h"

/* tests/unit/CMakeLists.txt: built without what newer machines can. */
#define DECLARE(name)                                                \
    void name##_thin_put(kerf_wr *w, const uint8_t *v, size_t count, \
                         uint8_t common, uint8_t *scratch);          \
    bool name##_thin_get(kerf_rd *r, uint8_t *v, size_t count,       \
                         uint8_t *scratch);                          \
    void name##_exact_put(kerf_wr *w, const float *x, size_t count,  \
                          size_t width, uint8_t *scratch);           \
    bool name##_exact_get(kerf_rd *r, float *x, size_t count, uint8_t *scratch);
DECLARE(plain)
DECLARE(older)

static const struct way {
    void (*thin_put)(kerf_wr *, const uint8_t *, size_t, uint8_t, uint8_t *);
    bool (*thin_get)(kerf_rd *, uint8_t *, size_t, uint8_t *);
    void (*exact_put)(kerf_wr *, const float *, size_t, size_t, uint8_t *);
    bool (*exact_get)(kerf_rd *, float *, size_t, uint8_t *);
} ways[] = {{kerf_thin_put, kerf_thin_get, kerf_exact_put, kerf_exact_get},
            {older_thin_put, older_thin_get, older_exact_put, older_exact_get},
            {plain_thin_put, plain_thin_get, plain_exact_put, plain_exact_get}};
#define WAYS (sizeof ways / sizeof *ways)

enum { MOST = 140000, ROOM = 6 * MOST };

enum kind { ZEROS, RUNS, RAMPS, NOISE, LAST_ONLY, ROWS, KINDS };

static const size_t counts[] = {1,    2,     7,     8,     9,   31,   32,
                                33,   40,    63,    100,   511, 4095, 8191,
                                8192, 20003, 65536, 65544, MOST};
#define COUNTS (sizeof counts / sizeof *counts)

/* Buffers of their own, so that ASan sees an access past their ends. */
struct room {
    uint8_t *scratch, *a, *b;
    void *in, *out;
};

static struct room
room_of(size_t in, size_t scratch)
{
    struct room r = {.scratch = malloc(scratch),
                     .a = malloc(ROOM),
                     .b = malloc(ROOM),
                     .in = malloc(in),
                     .out = malloc(in)};

    assert_true(r.scratch && r.a && r.b && r.in && r.out);
    return r;
}

static void
free_room(struct room *r)
{
    free(r->scratch);
    free(r->a);
    free(r->b);
    free(r->in);
    free(r->out);
}

static uint32_t
make(enum kind kind, size_t i, size_t count, uint32_t before, uint32_t above,
     uint64_t *rng)
{
    uint32_t any = (uint32_t)(kerf_rng_next(rng) >> 20);

    switch (kind) {
    case ZEROS:
        return any % 3 == 0 ? any >> 8 : 0;
    case RUNS:
        return any % 5 == 0 ? any >> 8 : before;
    case RAMPS:
        return before + (any & 3);
    case LAST_ONLY:
        return i + 1 == count ? 77 : 0;
    case ROWS:
        return any % 7 == 0   ? any >> 8
               : any % 7 == 1 ? 0
               : any % 7 < 4  ? above
                              : before;
    default:
        return any;
    }
}

static void
check_thin(enum kind kind, size_t count, uint8_t common)
{
    struct room r = room_of(count, kerf_thin_scratch(count));
    uint64_t rng = count;
    uint8_t *v = r.in;
    size_t len = 0;
    kerf_rd rd;

    for (size_t i = 0; i < count; i++)
        v[i] = (uint8_t)(make(kind, i, count, i > 0 ? v[i - 1] : 0, 0, &rng) +
                         (kind == ZEROS ? common : 0));
    for (size_t k = 0; k < WAYS; k++) {
        kerf_wr w = {.at = k == 0 ? r.a : r.b, .left = ROOM};

        ways[k].thin_put(&w, v, count, common, r.scratch);
        assert_false(w.bad);
        assert_true(k == 0 || len == ROOM - w.left);
        len = ROOM - w.left;
        assert_memory_equal(r.a, k == 0 ? r.a : r.b, len);
        rd = (kerf_rd){.at = r.a, .left = len};
        memset(r.out, 0xa5, count);
        assert_true(ways[k].thin_get(&rd, r.out, count, r.scratch));
        assert_memory_equal(r.out, v, count);
        rd = (kerf_rd){.at = r.a, .left = len - 1};
        assert_false(ways[k].thin_get(&rd, r.out, count, r.scratch));
    }
    free_room(&r);
}

static void
thin__any_numbers__are_the_same_bytes_everywhere(void **state)
{
    (void)state;
    for (size_t n = 0; n < COUNTS; n++) {
        for (int kind = 0; kind < KINDS; kind++) {
            check_thin((enum kind)kind, counts[n], 0);
            check_thin((enum kind)kind, counts[n], 130);
        }
    }
}

static void
check_exact(enum kind kind, size_t count, size_t width, bool signs)
{
    struct room r = room_of(count * sizeof(float), kerf_exact_scratch(count));
    uint32_t *v = r.in;
    uint64_t rng = count;
    size_t len = 0;
    kerf_rd rd;

    for (size_t i = 0; i < count; i++) {
        v[i] = make(kind, i, count, i > 0 ? v[i - 1] : 0,
                    width > 0 && i >= width ? v[i - width] : 0, &rng);
        if (!signs)
            v[i] &= 0x7fffffff;
    }
    for (size_t k = 0; k < WAYS; k++) {
        kerf_wr w = {.at = k == 0 ? r.a : r.b, .left = ROOM};

        ways[k].exact_put(&w, r.in, count, width, r.scratch);
        assert_false(w.bad);
        assert_true(k == 0 || len == ROOM - w.left);
        len = ROOM - w.left;
        assert_memory_equal(r.a, k == 0 ? r.a : r.b, len);
        rd = (kerf_rd){.at = r.a, .left = len};
        memset(r.out, 0xa5, count * sizeof(float));
        assert_true(ways[k].exact_get(&rd, r.out, count, r.scratch));
        assert_memory_equal(r.out, v, count * sizeof(float));
        rd = (kerf_rd){.at = r.a, .left = len - 1};
        assert_false(ways[k].exact_get(&rd, r.out, count, r.scratch));
    }
    free_room(&r);
}

static void
exact__any_floats__are_the_same_bytes_everywhere(void **state)
{
    static const size_t widths[] = {0, 1, 7, 8, 9, 16, 70000};

    (void)state;
    for (size_t n = 0; n < COUNTS; n++) {
        for (int kind = 0; kind < KINDS; kind++) {
            size_t width = widths[(n + (size_t)kind) % 7];

            check_exact((enum kind)kind, counts[n], width, n % 2 == 0);
            check_exact((enum kind)kind, counts[n], 57, n % 2 != 0);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thin__any_numbers__are_the_same_bytes_everywhere),
        cmocka_unit_test(exact__any_floats__are_the_same_bytes_everywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
