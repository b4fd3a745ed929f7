/* Fields of a log line carry text of peers, and are cut anywhere: each line is
 * one line, its JSON parses, and quoted text ends where it says. */
#include "base/log.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_LEN 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(bool good)
{
    if (!good)
        abort();
}

static json_t *
parse(char *line, const char *fields)
{
    json_t *object;

    kerf_log_line(line, LINE_MAX_LEN, KERF_LOG_JSON, UINT64_C(1764474250007),
                  "warn", "a.b", fields);
    object = json_loads(line, 0, NULL);
    check(object != NULL && strchr(line, '\n') == NULL);
    return object;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char line[LINE_MAX_LEN];
    static char fields[1536];
    static char text[1536];
    char safe[KERF_LOG_QUOTED];
    json_t *object;
    const char *why;

    if (size >= sizeof text)
        size = sizeof text - 1;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    json_decref(parse(line, text));
    kerf_log_line(line, sizeof line, KERF_LOG_LOGFMT, 0, "warn", "a.b", text);
    check(strchr(line, '\n') == NULL && kerf_text_is_utf8(line));

    /* Quoted, it is the value of its own field, and nothing else is there. */
    (void)snprintf(fields, sizeof fields, "n=1 why=%s end=2", KERF_Q(text));
    object = parse(line, fields);
    check(json_object_size(object) == 6);
    check(json_integer_value(json_object_get(object, "end")) == 2);
    why = json_string_value(json_object_get(object, "why"));
    (void)kerf_text_safe(safe, sizeof safe, text);
    check(why != NULL && strncmp(why, safe, strlen(why)) == 0);
    json_decref(object);
    return 0;
}
