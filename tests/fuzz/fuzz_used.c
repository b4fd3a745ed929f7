/* The record of what was used, bundles/.used, may be anything. What is read of
 * it is within bounds, names nobody twice, and reads the same when written
 * again. */
#include "model/store_own.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(what)  \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_used used, again;
    char *text;

    CHECK(kerf_used_parse(&used, (const char *)data, size) == KERF_OK);
    CHECK(used.count <= KERF_USED_MOST);
    for (size_t i = 0; i < used.count; i++) {
        CHECK(used.one[i].count > 0 && used.one[i].count < UINT64_MAX);
        CHECK(kerf_used_find(&used, used.one[i].id) == &used.one[i]);
    }
    text = kerf_used_format(&used);
    CHECK(text != NULL);
    CHECK(kerf_used_parse(&again, text, strlen(text)) == KERF_OK);
    CHECK(again.count == used.count);
    for (size_t i = 0; i < used.count; i++) {
        CHECK(memcmp(again.one[i].id, used.one[i].id, sizeof again.one[i].id) ==
              0);
        CHECK(again.one[i].count == used.one[i].count);
        CHECK(again.one[i].ran == used.one[i].ran);
    }
    free(text);
    kerf_used_free(&used);
    kerf_used_free(&again);
    return 0;
}
