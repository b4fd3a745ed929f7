#include "bench/tensor.h"

#include "base/stats.h"
#include "codec/steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define LEVEL 6
#define ALONE 8 /* times more than rounds: they are short */

/* What one tensor's measurement owns. */
struct work {
    const kerf_tensor *t;
    size_t count;
    kerf_tensor back;
    uint8_t *blob;  /* as large as t */
    uint8_t *plain; /* what zlib gets */
    size_t plain_len;
    uint8_t *packed; /* what zlib makes of it */
    size_t packed_room, packed_len;
    uint8_t *unpacked;
    kerf_stats encode, decode, alone, zlib_encode, zlib_decode;
};

/* CPU time of this thread: other work on the machine does not count. */
static double
now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static unsigned
bits_of(kerf_codec_id id)
{
    return id >= KERF_CODEC_Q8C  ? 8 - (unsigned)(id - KERF_CODEC_Q8C) % 7
           : id >= KERF_CODEC_Q8 ? 8 - (unsigned)(id - KERF_CODEC_Q8)
                                 : 0;
}

static kerf_err
init(struct work *w, const kerf_tensor *t, int rounds)
{
    kerf_err err = kerf_tensor_alloc(&w->back, KERF_F32, &t->shape);

    w->t = t;
    w->count = t->bytes / sizeof(float);
    w->packed_room = compressBound((uLong)t->bytes);
    w->blob = malloc(t->bytes + 1);
    w->plain = malloc(t->bytes + 1);
    w->packed = malloc(w->packed_room);
    w->unpacked = malloc(t->bytes + 1);
    if (w->blob == NULL || w->plain == NULL || w->packed == NULL ||
        w->unpacked == NULL)
        err = KERF_ENOMEM;
    if (err == KERF_OK)
        err = kerf_stats_init(&w->encode, (size_t)rounds);
    if (err == KERF_OK)
        err = kerf_stats_init(&w->decode, (size_t)rounds);
    if (err == KERF_OK)
        err = kerf_stats_init(&w->alone, (size_t)rounds * ALONE);
    if (err == KERF_OK)
        err = kerf_stats_init(&w->zlib_encode, (size_t)rounds);
    if (err == KERF_OK)
        err = kerf_stats_init(&w->zlib_decode, (size_t)rounds);
    return err;
}

static void
fini(struct work *w)
{
    kerf_tensor_free(&w->back);
    free(w->blob);
    free(w->plain);
    free(w->packed);
    free(w->unpacked);
    kerf_stats_fini(&w->encode);
    kerf_stats_fini(&w->decode);
    kerf_stats_fini(&w->alone);
    kerf_stats_fini(&w->zlib_encode);
    kerf_stats_fini(&w->zlib_decode);
}

/* The steps of the whole tensor, a byte each; or its own bytes. */
static void
make_plain(struct work *w, unsigned bits)
{
    kerf_span s = kerf_span_of(w->t->data, w->count);
    uint8_t most = (uint8_t)((1u << bits) - 1);
    float low = kerf_span_float(s.least);

    if (bits == 0) {
        memcpy(w->plain, w->t->data, w->t->bytes);
        w->plain_len = w->t->bytes;
        return;
    }
    kerf_steps_from(w->plain, w->t->data, w->count, low,
                    (kerf_span_float(s.greatest) - low) / most, most);
    w->plain_len = w->count;
}

static double
entropy_of(const uint8_t *v, size_t count)
{
    size_t seen[256] = {0};
    double bits = 0;

    for (size_t i = 0; i < count; i++)
        seen[v[i]]++;
    for (size_t i = 0; i < 256; i++) {
        if (seen[i] > 0)
            bits += (double)seen[i] * log2((double)count / (double)seen[i]);
    }
    return bits / 8;
}

/* As whoever made it has: it is in a cache, as far as it fits. */
static void
have_read(const void *data, size_t len)
{
    const uint8_t *at = data;
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < len; i += 64)
        sum = (uint8_t)(sum + at[i]);
}

static kerf_err
alone(struct work *w, kerf_codec *codec, kerf_codec_id id, kerf_detail *why)
{
    double start = now_us();
    size_t len = 0;
    kerf_err err =
        kerf_codec_encode(codec, id, w->t, w->blob, w->t->bytes, &len);

    if (err == KERF_OK)
        err = kerf_codec_decode(codec, id, w->blob, len, &w->back, why);
    kerf_stats_add(&w->alone, now_us() - start);
    return err;
}

static kerf_err
one_round(struct work *w, kerf_codec *codec, kerf_codec_id id, size_t *coded,
          kerf_detail *why)
{
    double start;
    uLongf len = w->packed_room;
    uLongf plain_len = w->plain_len;
    kerf_err err;

    have_read(w->t->data, w->t->bytes);
    start = now_us();
    err = kerf_codec_encode(codec, id, w->t, w->blob, w->t->bytes, coded);
    kerf_stats_add(&w->encode, now_us() - start);
    start = now_us();
    if (err == KERF_OK)
        err = kerf_codec_decode(codec, id, w->blob, *coded, &w->back, why);
    kerf_stats_add(&w->decode, now_us() - start);
    if (err != KERF_OK)
        return err;
    have_read(w->plain, w->plain_len);
    start = now_us();
    if (compress2(w->packed, &len, w->plain, (uLong)w->plain_len, LEVEL) !=
        Z_OK)
        return KERF_ENOMEM;
    kerf_stats_add(&w->zlib_encode, now_us() - start);
    start = now_us();
    if (uncompress(w->unpacked, &plain_len, w->packed, len) != Z_OK)
        return KERF_ENOMEM;
    kerf_stats_add(&w->zlib_decode, now_us() - start);
    w->packed_len = len;
    return KERF_OK;
}

/* The greatest difference, in parts of the greatest |value|. */
static double
error_of(const struct work *w)
{
    const float *x = w->t->data;
    const float *y = w->back.data;
    double worst = 0;
    double most = 0;

    for (size_t i = 0; i < w->count; i++) {
        worst = fmax(worst, fabs((double)x[i] - (double)y[i]));
        most = fmax(most, fabs((double)x[i]));
    }
    return most > 0 ? worst / most : worst;
}

/* Half a step of a span that is at most twice the greatest |value|. */
static double
bound_of(kerf_codec_id id)
{
    unsigned bits = bits_of(id);

    return id == KERF_CODEC_EXACT  ? 0
           : id == KERF_CODEC_F16  ? 0x1p-11
           : id == KERF_CODEC_BF16 ? 0x1p-8
                                   : 1.01 / ((1u << bits) - 1) + 0x1p-20;
}

kerf_err
kerf_bench_tensor(kerf_tensor_score *score, kerf_codec *codec, kerf_codec_id id,
                  const kerf_tensor *t, int rounds, kerf_detail *why)
{
    struct work w = {0};
    size_t coded = 0;
    double error;
    kerf_err err = init(&w, t, rounds);

    if (err == KERF_OK)
        make_plain(&w, bits_of(id));
    for (int i = 0; err == KERF_OK && i < rounds; i++)
        err = one_round(&w, codec, id, &coded, why);
    for (int i = 0; err == KERF_OK && i < rounds * ALONE; i++)
        err = alone(&w, codec, id, why);
    if (err != KERF_OK)
        goto out;
    error = error_of(&w);
    if (!(error <= bound_of(id))) {
        err = kerf_fail(why, KERF_EMISMATCH, "%s is off by %g of the range",
                        kerf_codec_name((uint8_t)id), error);
        goto out;
    }
    score->raw += t->bytes;
    score->coded += coded;
    score->encode_us += kerf_stats_quantile(&w.encode, 0.5);
    score->decode_us += kerf_stats_quantile(&w.decode, 0.5);
    score->alone_us += kerf_stats_quantile(&w.alone, 0.5);
    score->max_error = fmax(score->max_error, error);
    score->zlib += w.packed_len;
    score->zlib_encode_us += kerf_stats_quantile(&w.zlib_encode, 0.5);
    score->zlib_decode_us += kerf_stats_quantile(&w.zlib_decode, 0.5);
    if (bits_of(id) != 0)
        score->entropy += entropy_of(w.plain, w.count);
out:
    fini(&w);
    return err;
}
