/* Files that were written once are read for ever. */
#include "kwz_helpers.h"

#include "base/rng.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define MOST ((size_t)64 << 20)

static kwz_buf
read_golden(const char *name, const char *suffix)
{
    char path[512];
    uint8_t part[4096];
    kwz_buf b = {0};
    FILE *f;
    size_t n;

    (void)snprintf(path, sizeof path, KERF_GOLDEN "/kwz/%s.%s", name, suffix);
    f = fopen(path, "rb");
    assert_non_null(f);
    while ((n = fread(part, 1, sizeof part, f)) > 0)
        kwz_add(&b, part, n);
    (void)fclose(f);
    return b;
}

static void
golden__each_kind_of_block__same_bytes(void **state)
{
    static const char *const names[] = {"stored", "zstd",      "deflate",
                                        "planes", "stretches", "dictionary",
                                        "grid",   "groups"};

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        kwz_buf packed = read_golden(names[i], "kwz");
        kwz_buf want = read_golden(names[i], "bin");
        kwz_buf back = {0};

        assert_int_equal(kwz_unpack(&back, packed.data, packed.len, MOST),
                         KERF_OK);
        assert_int_equal(back.len, want.len);
        assert_memory_equal(back.data, want.data, want.len);
        free(packed.data);
        free(want.data);
        free(back.data);
    }
}

/* As above; its 64 KiB are made anew, since they are plain. */
static void
golden__columns__same_bytes(void **state)
{
    enum { COLUMNS = 64, COUNT = 16384 };
    kwz_buf packed = read_golden("columns", "kwz");
    kwz_buf back = {0};
    float *want = malloc(COUNT * sizeof *want);
    uint64_t seed = 17;

    (void)state;
    assert_non_null(want);
    for (size_t i = 0; i < COUNT; i++) { /* 0 to 3 steps, exactly */
        size_t c = i % COLUMNS;
        float step = ldexpf(1.0f + (float)c / 64, (int)(c * 7 % 24) - 12);

        want[i] = (float)(kerf_rng_next(&seed) >> 62) * step;
    }
    assert_int_equal(kwz_unpack(&back, packed.data, packed.len, MOST), KERF_OK);
    assert_int_equal(back.len, COUNT * sizeof *want);
    assert_memory_equal(back.data, want, back.len);
    free(want);
    free(back.data);
    free(packed.data);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden__each_kind_of_block__same_bytes),
        cmocka_unit_test(golden__columns__same_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
