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
