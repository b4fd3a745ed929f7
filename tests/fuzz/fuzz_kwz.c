/* A .kwz comes from anywhere: reading in order and through the index stays
 * within its bytes and within 64 MiB. */
#include "../unit/kwz_helpers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_ranges(const kerf_kwz_index *index, const uint8_t *data, size_t size)
{
    kerf_block_coder *bc = kwz_coder();
    uint8_t out[256];
    kerf_detail why;

    for (size_t i = 0; i < index->file_count && i < 4; i++) {
        uint64_t len = index->file[i].len;
        size_t n = len < sizeof out ? (size_t)len : sizeof out;

        if (kerf_kwz_range(index, i, data, size, bc, 0, n, out, &why) ==
            KERF_EINVAL)
            abort();
        if (kerf_kwz_range(index, i, data, size, bc, len - n, n, out, &why) ==
            KERF_EINVAL)
            abort();
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kwz_buf out = {0};
    kerf_kwz_index index = {0};
    kerf_detail why;

    if (kwz_unpack(&out, data, size, (size_t)64 << 20) == KERF_EINVAL)
        abort();
    if (kerf_kwz_index_read(&index, data, size, &why) == KERF_OK) {
        try_ranges(&index, data, size);
        kerf_kwz_index_fini(&index);
    }
    free(out.data);
    return 0;
}
