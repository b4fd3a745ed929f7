#include "trust/json_load.h"

kerf_err
kerf_json_load(json_t **out, const void *json, size_t len, size_t most,
               const char *what, kerf_detail *why)
{
    json_error_t at;
    json_t *root;

    if (len > most)
        return kerf_fail(why, KERF_ECORRUPT, "%s: %zu bytes, the limit is %zu",
                         what, len, most);
    root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &at);
    if (root == NULL) /* jansson's text quotes the input: only say where */
        return kerf_fail(why, KERF_ECORRUPT, "%s: not JSON, line %d column %d",
                         what, at.line, at.column);
    *out = root;
    return KERF_OK;
}
