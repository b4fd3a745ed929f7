/* A card is a file from a stranger or a peer; what parses must format and
 * parse again. */
#include "kerf/card.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_shape shape = {.rank = 4, .dims = {-1, 3, -1, -1}};
    kerf_detail why;
    kerf_card card;
    char *text = NULL;

    kerf_card_init(&card);
    if (kerf_card_parse(&card, data, size, &why) == KERF_OK) {
        if (kerf_card_format(&card, &text) != KERF_OK ||
            kerf_card_parse(&card, text, strlen(text), &why) != KERF_OK)
            abort();
        if (kerf_card_settle(&card, &shape, &why) == KERF_OK &&
            !kerf_shape_is_static(&shape))
            abort();
    }
    free(text);
    kerf_card_fini(&card);
    return 0;
}
