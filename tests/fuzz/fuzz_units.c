/* A cloud cuts whatever it serves into units: they cover it, within bounds, are
 * the same each time, and come back from their table. */
#include "model/units.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(what)  \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

static void
check_units(const kerf_file *f, size_t size)
{
    uint64_t covered = 0;

    CHECK(f->unit_count <= KERF_UNITS_MOST);
    for (size_t i = 0; i < f->unit_count; i++) {
        CHECK(f->unit[i].len > 0 && f->unit[i].len <= KERF_UNIT_MOST);
        covered += f->unit[i].len;
    }
    CHECK(f->unit_count == 0 || (f->unit_count > 1 && covered == size));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_file f = {.name = "x", .size = size};
    kerf_file back = {.name = "x", .size = size};
    char *text;

    CHECK(kerf_units_make(&f, data, size) == KERF_OK);
    check_units(&f, size);
    if (f.unit_count > 0) {
        text = kerf_units_text(&f);
        CHECK(text != NULL);
        CHECK(kerf_units_parse(&back, text, strlen(text), NULL) == KERF_OK);
        CHECK(back.unit_count == f.unit_count);
        CHECK(memcmp(back.unit, f.unit, f.unit_count * sizeof *f.unit) == 0);
        free(text);
        kerf_units_drop(&back);
    }
    kerf_units_drop(&f);
    /* And what a peer may say. */
    (void)!kerf_units_parse(&back, (const char *)data, size, NULL);
    CHECK(back.unit == NULL || back.unit_count > 0);
    kerf_units_drop(&back);
    return 0;
}
