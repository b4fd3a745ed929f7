/* An .npy file comes from anywhere: a view never reaches past its bytes. */
#include "source/npy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_detail why;
    kerf_tensor t;

    if (kerf_npy_view(&t, data, size, &why) == KERF_OK &&
        ((const uint8_t *)t.data < data ||
         (const uint8_t *)t.data + t.bytes > data + size))
        abort();
    return 0;
}
