#include "edge/tune.h"

#include "base/clock.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

#define TRIES 3
#define LEARN 0.125 /* weight of the newest */

static const kerf_shape trial = {.rank = 4, .dims = {1, 32, 32, 32}};

static bool
is_candidate(kerf_codec_id id)
{
    return id == KERF_CODEC_EXACT || id == KERF_CODEC_F16 ||
           id == KERF_CODEC_Q8;
}

/* As after a ReLU: half zeros, neighbours alike. */
static void
fill(kerf_tensor *t)
{
    uint64_t rng = 1;
    float level = 0;
    float *x = t->data;

    for (size_t i = 0; i < t->bytes / sizeof *x; i++) {
        level = level * 0.9f + kerf_rng_unit(&rng) - 0.5f;
        x[i] = level > 0 ? level : 0;
    }
}

static kerf_err
measure_one(kerf_cost *cost, kerf_codec *codec, kerf_codec_id id,
            const kerf_tensor *t, uint8_t *blob, kerf_tensor *back)
{
    double bytes = (double)t->bytes;

    for (int i = 0; i < TRIES; i++) {
        uint64_t start_ns = kerf_now_ns();
        uint64_t coded_ns;
        double encode_ns;
        double decode_ns;
        size_t len = 0;
        kerf_err err = kerf_codec_encode(codec, id, t, blob, t->bytes, &len);

        coded_ns = kerf_now_ns();
        if (err == KERF_OK)
            err = kerf_codec_decode(codec, id, blob, len, back, NULL);
        if (err != KERF_OK)
            return err;
        encode_ns = (double)(coded_ns - start_ns) / bytes;
        decode_ns = (double)(kerf_now_ns() - coded_ns) / bytes;
        if (i == 0 || encode_ns < cost->encode_ns)
            cost->encode_ns = encode_ns;
        if (i == 0 || decode_ns < cost->decode_ns)
            cost->decode_ns = decode_ns;
        cost->ratio = (double)len / bytes;
    }
    return KERF_OK;
}

kerf_err
kerf_tune_measure(kerf_tune *tune, kerf_codec *codec)
{
    kerf_tensor t = {0};
    kerf_tensor back = {0};
    uint8_t *blob = NULL;
    kerf_err err = kerf_tensor_alloc(&t, KERF_F32, &trial);

    if (err == KERF_OK)
        err = kerf_tensor_alloc(&back, KERF_F32, &trial);
    if (err == KERF_OK) {
        fill(&t);
        blob = malloc(t.bytes);
        if (blob == NULL)
            err = KERF_ENOMEM;
    }
    for (int id = 0; err == KERF_OK && id <= KERF_CODEC_Q8; id++) {
        if (is_candidate((kerf_codec_id)id))
            err = measure_one(&tune->cost[id], codec, (kerf_codec_id)id, &t,
                              blob, &back);
    }
    free(blob);
    kerf_tensor_free(&t);
    kerf_tensor_free(&back);
    return err;
}

kerf_codec_id
kerf_tune_pick(const kerf_tune *tune, uint32_t codecs, size_t bytes,
               uint64_t rate, double share)
{
    kerf_codec_id best = KERF_CODEC_RAW;
    double ns_per_byte;
    double least;

    if (rate == 0)
        return best;
    ns_per_byte = 1e9 / (double)rate;
    least = (double)bytes * ns_per_byte;
    for (int id = 0; id <= KERF_CODEC_Q8; id++) {
        const kerf_cost *c = &tune->cost[id];
        double wire_ns = c->ratio * ns_per_byte;
        double sum = c->encode_ns + wire_ns + c->decode_ns;
        double most = fmax(fmax(c->encode_ns, wire_ns), c->decode_ns);
        double ns = (double)bytes * (most + (sum - most) * share);

        if (is_candidate((kerf_codec_id)id) && (codecs >> id & 1) != 0 &&
            ns < least) {
            least = ns;
            best = (kerf_codec_id)id;
        }
    }
    return best;
}

void
kerf_tune_learn(kerf_tune *tune, kerf_codec_id id, size_t bytes, size_t coded,
                uint64_t ns)
{
    kerf_cost *c = &tune->cost[id];

    c->encode_ns += LEARN * ((double)ns / (double)bytes - c->encode_ns);
    c->ratio += LEARN * ((double)coded / (double)bytes - c->ratio);
}
