/* A manifest comes from a peer or from a folder that others can write. What
 * parses is within all bounds, and parses the same when written again. */
#include "model/bundle.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(what)  \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

static void
check_bounds(const kerf_manifest *m)
{
    CHECK(kerf_text_is_name(m->name));
    CHECK(m->file_count >= 2 && m->file_count <= KERF_PARTS_MAX);
    for (size_t i = 0; i < m->file_count; i++) {
        CHECK(kerf_text_is_name(m->file[i].name));
        CHECK(strstr(m->file[i].name, m->name) != NULL);
        CHECK(m->file[i].size <= KERF_MODEL_BYTES_MAX);
        CHECK(m->file[i].role < KERF_ROLE_COUNT);
    }
    CHECK(m->probe_count <= KERF_CARD_PROBES_MAX);
    CHECK(m->probe_tolerance >= 0.0 && m->probe_tolerance <= 1.0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_manifest m = {0};
    kerf_manifest back = {0};
    char *text = NULL;
    char *again = NULL;
    kerf_detail why;

    if (kerf_manifest_parse(&m, data, size, &why) != KERF_OK)
        return 0;
    check_bounds(&m);
    CHECK(kerf_manifest_format(&m, &text) == KERF_OK);
    CHECK(kerf_manifest_parse(&back, text, strlen(text), &why) == KERF_OK);
    CHECK(memcmp(m.id, back.id, sizeof m.id) == 0);
    CHECK(kerf_manifest_format(&back, &again) == KERF_OK);
    CHECK(strcmp(text, again) == 0);
    free(text);
    free(again);
    kerf_manifest_fini(&m);
    kerf_manifest_fini(&back);
    return 0;
}
