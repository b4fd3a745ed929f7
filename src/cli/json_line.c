#include "cli/json_line.h"

#include "cli/out.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>

json_t *
kerf_json_text(const char *text)
{
    char safe[4096];

    return json_string(
        kerf_text_safe(safe, sizeof safe, text == NULL ? "" : text));
}

json_t *
kerf_json_signature(const char *model, const kerf_signature *sig,
                    const char *why)
{
    json_t *o = json_pack("{s:s, s:o, s:b, s:o}", "event", "signature", "name",
                          kerf_json_text(model), "ok", sig != NULL, "why",
                          kerf_json_text(why));
    json_t *more = sig == NULL
                       ? NULL
                       : json_pack("{s:I, s:I, s:s, s:s, s:s, s:b}", "version",
                                   (json_int_t)sig->version, "rollback_from",
                                   (json_int_t)sig->rollback_from, "issued",
                                   sig->issued, "expires", sig->expires, "key",
                                   sig->key, "checked", sig->checked);

    if (more != NULL)
        (void)json_object_update(o, more);
    json_decref(more);
    return o;
}

char *
kerf_json_dump(json_t *object)
{
    char *line =
        object == NULL
            ? NULL
            : json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(9));

    json_decref(object);
    return line;
}

void
kerf_json_line(json_t *object)
{
    char *line = kerf_json_dump(object);

    if (line == NULL)
        return;
    (void)puts(line);
    kerf_out_flush();
    free(line);
}
