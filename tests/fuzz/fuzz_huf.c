/* A byte block comes from anywhere: two bytes of count, then the block. What is
 * decoded is encoded again and comes back the same. */
#include "codec/huf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n, len;
    uint8_t *out, *block, *again;
    const uint8_t *is, *back;

    if (size < 2)
        return 0;
    n = (size_t)data[0] | (size_t)data[1] << 8;
    out = malloc(n + 1);
    block = malloc(KERF_HUF_ROOM(n));
    again = malloc(n + 1);
    if (out == NULL || block == NULL || again == NULL)
        abort();
    is = kerf_huf_decode(out, n, data + 2, size - 2);
    if (is != NULL) {
        len = kerf_huf_encode(block, is, n);
        back = kerf_huf_decode(again, n, block, len);
        if (len > n + 1 || back == NULL || memcmp(back, is, n) != 0)
            abort();
    }
    free(again);
    free(block);
    free(out);
    return 0;
}
