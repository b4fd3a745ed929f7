#include "model/units.h"

#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/bytes.h"

#define ENTRY (4 + KERF_SHA256_LEN)

void
kerf_units_drop(kerf_file *file)
{
    free(file->unit);
    file->unit = NULL;
    file->unit_count = 0;
}

char *
kerf_units_text(const kerf_file *file)
{
    size_t len = file->unit_count * ENTRY;
    uint8_t *table = malloc(len + 1);
    char *text = malloc(KERF_BASE64_LEN(len) + 1);
    kerf_wr w = {.at = table, .left = len};

    if (table == NULL || text == NULL) {
        free(table);
        free(text);
        return NULL;
    }
    for (size_t i = 0; i < file->unit_count; i++) {
        kerf_wr_u32(&w, file->unit[i].len);
        kerf_wr_bytes(&w, file->unit[i].sha256, KERF_SHA256_LEN);
    }
    kerf_base64(text, table, len);
    free(table);
    return text;
}

static kerf_err
read_table(kerf_file *file, kerf_rd *r, kerf_detail *why)
{
    uint64_t covered = 0;

    for (size_t i = 0; i < file->unit_count; i++) {
        kerf_unit *u = &file->unit[i];
        const uint8_t *sum;

        u->len = kerf_rd_u32(r);
        sum = kerf_rd_bytes(r, KERF_SHA256_LEN);
        if (sum == NULL || u->len == 0 || u->len > KERF_UNIT_MOST)
            return kerf_fail(why, KERF_ECORRUPT,
                             "manifest: %s: a unit of %u bytes", file->name,
                             u->len);
        memcpy(u->sha256, sum, KERF_SHA256_LEN);
        covered += u->len;
    }
    if (covered != file->size) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "manifest: %s: its units cover %llu of %llu bytes",
                         file->name, (unsigned long long)covered,
                         (unsigned long long)file->size);
    }
    return KERF_OK;
}

kerf_err
kerf_units_parse(kerf_file *file, const char *text, size_t len,
                 kerf_detail *why)
{
    uint8_t *table;
    size_t bytes = 0;
    kerf_err err;
    kerf_rd r;

    kerf_units_drop(file);
    if (len > KERF_BASE64_LEN((size_t)KERF_UNITS_MOST * ENTRY))
        return kerf_fail(why, KERF_ECORRUPT, "manifest: %s: more than %u units",
                         file->name, KERF_UNITS_MOST);
    table = malloc(kerf_base64_most(len) + 1);
    if (table == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a manifest");
    if (!kerf_unbase64(table, &bytes, text, len) || bytes % ENTRY != 0) {
        err = kerf_fail(why, KERF_ECORRUPT,
                        "manifest: %s: \"units\": expected base64 of %u bytes "
                        "for each",
                        file->name, (unsigned)ENTRY);
        goto out;
    }
    file->unit = calloc(bytes / ENTRY + 1, sizeof *file->unit);
    if (file->unit == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "no memory for a manifest");
        goto out;
    }
    file->unit_count = bytes / ENTRY;
    r = (kerf_rd){.at = table, .left = bytes};
    err = read_table(file, &r, why);
out:
    if (err != KERF_OK || file->unit_count == 0)
        kerf_units_drop(file);
    free(table);
    return err;
}
