/* A Paddle 3 program is a file from a stranger; what is translated must be a
 * whole program for those who read it next. */
#include "graph/pdmodel.h"
#include "graph/pir.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *out = NULL;
    size_t len = 0;
    kerf_detail why;

    if (kerf_pir_translate(data, size, &out, &len, &why) == KERF_OK) {
        kerf_pdmodel model = {0};

        if (kerf_pdmodel_open(&model, out, len, &why) != KERF_OK)
            abort();
        kerf_pdmodel_close(&model);
    }
    free(out);
    return 0;
}
