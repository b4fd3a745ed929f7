/* Statements, signature files and public keys come from a peer, or from a
 * folder that others can write. What parses is within all bounds. */
#include "trust/statement.h"

#include <stdlib.h>
#include <string.h>

#include "base/date.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(what)  \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

static void
check_bounds(const kerf_statement *s)
{
    CHECK(kerf_text_is_name(s->model) && strlen(s->model) < KERF_NAME_MAX);
    CHECK(s->version >= 1 && s->version <= KERF_STATEMENT_VERSION_MAX);
    CHECK(s->rollback_from == 0 || s->rollback_from > s->version);
    CHECK(s->issued_s >= 0 && s->issued_s <= KERF_DATE_MAX);
    CHECK(s->expires_s >= 0 && s->expires_s <= KERF_DATE_MAX);
}

/* Written again it is the same. */
static void
check_file(const kerf_signed *got)
{
    kerf_statement says = {0};
    kerf_signed back = {0};
    char *json = NULL;

    CHECK(got->len > 0 && got->len <= KERF_STATEMENT_MAX);
    CHECK(strlen(got->text) == got->len);
    if (kerf_signed_format(got, &json) != KERF_OK)
        return;
    CHECK(kerf_signed_parse(&back, &says, json, strlen(json), NULL) == KERF_OK);
    CHECK(kerf_signed_equal(&back, got));
    free(json);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    kerf_statement says = {0};
    kerf_signed got = {0};
    kerf_public_key key;
    kerf_detail why;

    if (kerf_statement_parse(&says, (const char *)data, size, &why) == KERF_OK)
        check_bounds(&says);
    if (kerf_signed_parse(&got, &says, data, size, &why) == KERF_OK) {
        check_bounds(&says);
        check_file(&got);
    }
    if (kerf_public_key_parse(&key, data, size, &why) == KERF_OK)
        CHECK(!kerf_verify(&key, data, size, got.sig) || got.len > 0);
    return 0;
}
