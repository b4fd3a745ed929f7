/* From memory to memory, with one thread and with several: the same bytes, and
 * never one outside of what the caller gave. */
#include "pack/pack.h"

#include "base/bytes.h"
#include "base/rng.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Bytes: some of text, some like weights, some that repeat those. */
static uint8_t *
make(size_t len)
{
    uint8_t *data = malloc(len + 1);
    uint64_t seed = 1;

    assert_non_null(data);
    for (size_t i = 0; i + 4 <= len; i += 4) {
        uint64_t r = kerf_rng_next(&seed);
        float x = (float)((double)(int64_t)r * 0x1p-66 +
                          (double)(int64_t)(r << 32) * 0x1p-66);

        memcpy(data + i, &x, sizeof x);
    }
    for (size_t i = 0; i < len && i < 5000; i++)
        data[i] = (uint8_t) "weights of a small network; "[i % 28];
    if (len > 900000)
        memcpy(data + 600000, data + 100000, 300000);
    return data;
}

struct packed {
    uint8_t *data;
    size_t len;
};

/* Into just so many bytes as are there: behind them the sanitizer looks. */
static struct packed
pack(const uint8_t *data, size_t len, int threads)
{
    const kerf_pack_job job = {.threads = threads};
    size_t room = len + len / 64 + 65536;
    uint8_t *out = malloc(room);
    struct packed p = {.len = 0};

    assert_non_null(out);
    assert_int_equal(
        kerf_kwz_pack_bytes(&job, data, len, out, room, &p.len, NULL), KERF_OK);
    p.data = malloc(p.len);
    assert_non_null(p.data);
    memcpy(p.data, out, p.len);
    free(out);
    return p;
}

static void
pack_bytes__any_threads_and_room__same_bytes(void **state)
{
    const size_t lens[] = {0, 1, 5000, 1500000, 16000000};

    (void)state;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        uint8_t *data = make(lens[i]);
        struct packed one = pack(data, lens[i], 1);
        struct packed two = pack(data, lens[i], 2);
        uint8_t *tight = malloc(one.len);
        const kerf_pack_job job = {.threads = 1};
        size_t len = 0;

        assert_non_null(tight);
        assert_int_equal(one.len, two.len);
        assert_memory_equal(one.data, two.data, one.len);
        assert_int_equal(kerf_kwz_pack_bytes(&job, data, lens[i], tight,
                                             one.len, &len, NULL),
                         KERF_OK);
        assert_memory_equal(tight, one.data, one.len);
        assert_int_equal(kerf_kwz_pack_bytes(&job, data, lens[i], tight,
                                             one.len - 1, &len, NULL),
                         KERF_ETOOBIG);
        free(tight);
        free(two.data);
        free(one.data);
        free(data);
    }
}

static void
unpack_bytes__any_threads_and_room__same_bytes(void **state)
{
    const size_t lens[] = {0, 1, 5000, 1500000, 16000000};

    (void)state;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        uint8_t *data = make(lens[i]);
        struct packed p = pack(data, lens[i], 1);
        uint8_t *out = malloc(lens[i] > 0 ? lens[i] : 1);

        assert_non_null(out);
        for (int threads = 1; threads <= 3; threads++) {
            const kerf_pack_job job = {.threads = threads, .most = UINT64_MAX};
            size_t len = 0;

            memset(out, 0, lens[i]);
            assert_int_equal(kerf_kwz_unpack_bytes(&job, p.data, p.len, out,
                                                   lens[i], &len, NULL),
                             KERF_OK);
            assert_int_equal(len, lens[i]);
            assert_memory_equal(out, data, len);
            if (lens[i] > 0)
                assert_int_equal(kerf_kwz_unpack_bytes(&job, p.data, p.len, out,
                                                       lens[i] - 1, &len, NULL),
                                 KERF_ETOOBIG);
            p.data[p.len / 2] ^= 1;
            assert_int_not_equal(kerf_kwz_unpack_bytes(&job, p.data, p.len, out,
                                                       lens[i], &len, NULL),
                                 KERF_OK);
            p.data[p.len / 2] ^= 1;
        }
        free(out);
        free(p.data);
        free(data);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pack_bytes__any_threads_and_room__same_bytes),
        cmocka_unit_test(unpack_bytes__any_threads_and_room__same_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
