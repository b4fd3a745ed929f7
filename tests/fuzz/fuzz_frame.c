/* A frame as a peer sends it: header, then the meta of its type. What is read
 * can be written, and reads the same again. */
#include "proto/frame.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(what)  \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

/* Reads, writes and reads: the two writings are equal. */
#define ROUND(type, get, put)                                         \
    do {                                                              \
        static type m;                                                \
        static uint8_t a[KERF_META_MAX], b[KERF_META_MAX];            \
        size_t len;                                                   \
        if (get(&m, in, size, &why) != KERF_OK)                       \
            break;                                                    \
        len = put(a, sizeof a, &m);                                   \
        CHECK(len > 0);                                               \
        CHECK(get(&m, a, len, &why) == KERF_OK);                      \
        CHECK(put(b, sizeof b, &m) == len && memcmp(a, b, len) == 0); \
    } while (0)

static uint64_t payload_len; /* of the frame being read */

static kerf_err
get_tensors(kerf_tensors *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    return kerf_tensors_get(m, in, len, payload_len, why);
}

static kerf_err
get_block(kerf_tensor_block *m, const uint8_t *in, size_t len, kerf_detail *why)
{
    return kerf_tensor_block_get(m, in, len, payload_len, why);
}

static void
read_meta(uint8_t type, const uint8_t *in, size_t size)
{
    uint8_t token[KERF_TOKEN_LEN];
    uint8_t bundle[KERF_BUNDLE_ID_LEN];
    kerf_detail why;

    switch ((kerf_frame_type)type) {
    case KERF_FRAME_HELLO:
        ROUND(kerf_hello, kerf_hello_get, kerf_hello_put);
        break;
    case KERF_FRAME_WELCOME:
        ROUND(kerf_welcome, kerf_welcome_get, kerf_welcome_put);
        break;
    case KERF_FRAME_ATTACH:
        CHECK((kerf_token_get(token, in, size, &why) == KERF_OK) ==
              (size >= KERF_TOKEN_LEN));
        break;
    case KERF_FRAME_OFFER:
        ROUND(kerf_offer, kerf_offer_get, kerf_offer_put);
        break;
    case KERF_FRAME_FETCH:
    case KERF_FRAME_PART:
        ROUND(kerf_range, kerf_range_get, kerf_range_put);
        break;
    case KERF_FRAME_READY:
        ROUND(kerf_ready, kerf_ready_get, kerf_ready_put);
        break;
    case KERF_FRAME_TENSOR:
    case KERF_FRAME_RESULT:
        ROUND(kerf_tensors, get_tensors, kerf_tensors_put);
        break;
    case KERF_FRAME_LOADING:
        CHECK((kerf_loading_get(bundle, in, size, &why) == KERF_OK) ==
              (size >= sizeof bundle));
        break;
    case KERF_FRAME_BLOCK:
        ROUND(kerf_tensor_block, get_block, kerf_tensor_block_put);
        break;
    case KERF_FRAME_PONG:
        ROUND(kerf_pong, kerf_pong_get, kerf_pong_put);
        break;
    default:
        ROUND(kerf_notice, kerf_notice_get, kerf_notice_put);
        break;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t header[KERF_HEADER_LEN];
    uint8_t again[KERF_HEADER_LEN];
    kerf_detail why;
    kerf_header h;
    uint64_t sum;

    if (size < sizeof header)
        return 0;
    memcpy(header, data, sizeof header);
    if (kerf_header_get(&h, header, KERF_PAYLOAD_MAX, &why) != KERF_OK)
        CHECK(why.text[0] != '\0');
    /* The hash would keep mutations out of all that follows. */
    sum = kerf_xxh3(header, 56);
    for (int i = 0; i < 8; i++)
        header[56 + i] = (uint8_t)(sum >> (8 * i));
    if (kerf_header_get(&h, header, KERF_PAYLOAD_MAX, &why) == KERF_OK) {
        CHECK(h.meta_len <= KERF_META_MAX);
        CHECK(h.payload_len <= KERF_PAYLOAD_MAX);
        kerf_header_put(again, &h);
        CHECK(memcmp(again, header, 20) == 0);
    }
    size -= sizeof header;
    if (size > h.meta_len)
        size = h.meta_len;
    payload_len = h.payload_len;
    read_meta(h.type, data + sizeof header, size);
    return 0;
}
