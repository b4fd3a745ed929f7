/*
 * A tensor blob comes from anywhere. The first byte says which codec and shape
 * are expected, the rest is the blob; its check is put right, else nothing
 * behind it would be reached. What decodes is packed again, and comes back.
 */
#include "base/bytes.h"
#include "base/hash.h"
#include "kerf/codec.h"

#include <stdlib.h>
#include <string.h>

#define CHECK_AT 4
#define SHAPES 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
seal(uint8_t *blob, size_t len)
{
    kerf_wr w = {.at = blob + CHECK_AT, .left = 4};

    if (len >= CHECK_AT + 4)
        kerf_wr_u32(&w, (uint32_t)kerf_xxh3_seed(blob + CHECK_AT + 4,
                                                 len - CHECK_AT - 4,
                                                 kerf_xxh3(blob, CHECK_AT)));
}

/* Exactly: what was decoded has few values, but any. */
static void
come_back(kerf_codec *codec, const kerf_tensor *t)
{
    kerf_tensor back;
    uint8_t *blob = malloc(t->bytes + 1);
    size_t len = 0;

    if (blob == NULL || kerf_tensor_alloc(&back, KERF_F32, &t->shape) != 0)
        abort();
    if (kerf_codec_encode(codec, KERF_CODEC_EXACT, t, blob, t->bytes, &len) ==
            KERF_OK &&
        (kerf_codec_decode(codec, KERF_CODEC_EXACT, blob, len, &back, NULL) !=
             KERF_OK ||
         memcmp(back.data, t->data, t->bytes) != 0))
        abort();
    kerf_tensor_free(&back);
    free(blob);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const kerf_shape shapes[SHAPES] = {
        {.rank = 4, .dims = {1, 4, 8, 8}},
        {.rank = 4, .dims = {1, 3, 57, 61}},
        {.rank = 0},
        {.rank = 2, .dims = {5, 0}},
        {.rank = 4, .dims = {1, 8, 33, 32}}};
    static kerf_codec *codec; /* one for all inputs, as a thread has one */
    kerf_tensor t;
    uint8_t *blob;

    if (size < 1)
        return 0;
    if (codec == NULL && kerf_codec_new(&codec) != KERF_OK)
        abort();
    blob = malloc(size);
    if (blob == NULL ||
        kerf_tensor_alloc(&t, KERF_F32, &shapes[data[0] % SHAPES]) != KERF_OK)
        abort();
    memcpy(blob, data + 1, size - 1);
    seal(blob, size - 1);
    if (kerf_codec_decode(codec, (kerf_codec_id)(data[0] / SHAPES), blob,
                          size - 1, &t, NULL) == KERF_OK)
        come_back(codec, &t);
    kerf_tensor_free(&t);
    free(blob);
    return 0;
}
