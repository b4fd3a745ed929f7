/* A body hashed as it comes has the hash of all of it at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "net/body_hash.h"
#include "proto/frame.h"

#define PIECES 4
#define MOST 3000

static uint8_t memory[PIECES][MOST];

static uint64_t
hash_whole(const void *const *piece, const size_t *len)
{
    uint64_t h = kerf_body_hash(0, memory[0], 33);

    for (size_t i = 0; i < PIECES; i++) {
        if (len[i] > 0)
            h = kerf_body_hash(h, piece[i], len[i]);
    }
    return h;
}

static void
add__in_any_parts__is_the_hash_of_the_whole(void **state)
{
    static const size_t lens[] = {0, 1, 63, 64, 65, 240, 241, 1024, MOST};
    kerf_body_hasher b = {0};
    uint64_t seed = 5;

    (void)state;
    for (size_t i = 0; i < (size_t)PIECES * MOST; i++)
        memory[i / MOST][i % MOST] = (uint8_t)kerf_rng_next(&seed);
    for (int run = 0; run < 2000; run++) {
        const void *piece[PIECES];
        size_t len[PIECES];
        uint64_t total = 0;

        for (size_t i = 0; i < PIECES; i++) {
            piece[i] = memory[i];
            len[i] = lens[kerf_rng_next(&seed) % (sizeof lens / sizeof *lens)];
            total += kerf_align_up(len[i], KERF_PIECE_ALIGN);
        }
        kerf_body_begin(&b, memory[0], 33);
        for (uint64_t at = 0; at < total;) {
            at += 1 + kerf_rng_next(&seed) % (run % 2 == 0 ? 100 : 4000);
            at = at < total ? at : total;
            kerf_body_add(&b, piece, len, PIECES, at);
        }
        assert_true(kerf_body_end(&b) == hash_whole(piece, len));
    }
    kerf_body_fini(&b);
}

static void
add__byte_that_changes_before_it_comes__counts(void **state)
{
    const void *piece[PIECES] = {memory[0], memory[1], memory[2], memory[3]};
    const size_t len[PIECES] = {MOST, 0, MOST, 64};
    kerf_body_hasher b = {0};

    (void)state;
    kerf_body_begin(&b, memory[0], 33);
    kerf_body_add(&b, piece, len, PIECES, 1000);
    memory[0][1000] ^= 1;
    memory[0][999] ^= 1; /* too late */
    kerf_body_add(&b, piece, len, PIECES, (uint64_t)3 * MOST);
    assert_true(kerf_body_end(&b) != hash_whole(piece, len));
    memory[0][999] ^= 1;
    assert_true(kerf_body_end(&b) == hash_whole(piece, len));
    kerf_body_fini(&b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(add__in_any_parts__is_the_hash_of_the_whole),
        cmocka_unit_test(add__byte_that_changes_before_it_comes__counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
