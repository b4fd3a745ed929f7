#include "base/log.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define VALUE_MAX 1536 /* as long as all fields */

struct field {
    char key[64];
    char value[VALUE_MAX]; /* not escaped */
    bool is_quoted;
    bool is_bare; /* a word without a value */
};

/* These write what there is room for, as add_field() has seen. */

static char *
put(char *at, const char *text)
{
    size_t len = strlen(text);

    memcpy(at, text, len + 1);
    return at + len;
}

static char *
put_quoted(char *at, const char *safe)
{
    *at++ = '"';
    for (; *safe != '\0'; safe++) {
        if (*safe == '"' || *safe == '\\')
            *at++ = '\\';
        *at++ = *safe;
    }
    return put(at, "\"");
}

/* Takes one field off *text; false: none is left. */
static bool
take_field(const char **text, struct field *f)
{
    const char *at = *text;
    size_t n;

    at += strspn(at, " ");
    if (*at == '\0')
        return false;
    n = strcspn(at, "= ");
    (void)snprintf(f->key, sizeof f->key, "%.*s", (int)n, at);
    at += n;
    f->is_bare = *at != '=';
    f->is_quoted = !f->is_bare && at[1] == '"';
    n = 0;
    if (f->is_quoted) {
        at += 2;
        while (*at != '\0' && *at != '"' && n + 1 < sizeof f->value) {
            if (*at == '\\' && at[1] != '\0')
                at++;
            f->value[n++] = *at++;
        }
        at += *at == '"' ? 1 : 0;
    } else if (!f->is_bare) {
        at++;
        while (*at != '\0' && *at != ' ' && n + 1 < sizeof f->value)
            f->value[n++] = *at++;
    }
    f->value[n] = '\0';
    *text = at;
    return true;
}

static size_t
digits_of(const char *text)
{
    return strspn(text, "0123456789");
}

/* As JSON has them, and short enough for a double to hold. */
static bool
is_number(const char *text)
{
    const char *at = text + (*text == '-' ? 1 : 0);
    size_t n = digits_of(at);

    if (n == 0 || n > 15 || (n > 1 && at[0] == '0'))
        return false;
    at += n;
    if (*at == '.') {
        n = digits_of(++at);
        if (n == 0)
            return false;
        at += n;
    }
    if (*at == 'e') {
        at += at[1] == '+' || at[1] == '-' ? 2 : 1;
        n = digits_of(at);
        if (n == 0 || n > 2)
            return false;
        at += n;
    }
    return *at == '\0';
}

static char *
put_json(char *at, const struct field *f, const char *key, const char *safe)
{
    at = put(put_quoted(put(at, ","), key), ":");
    if (f->is_bare)
        return put(at, "true");
    if (!f->is_quoted && is_number(safe))
        return put(at, safe);
    return put_quoted(at, safe);
}

static char *
put_logfmt(char *at, const struct field *f, const char *key, const char *safe)
{
    at = put(put(at, " "), key);
    if (f->is_bare)
        return at;
    at = put(at, "=");
    if (f->is_quoted || safe[0] == '\0' || strpbrk(safe, " =\"\\") != NULL)
        return put_quoted(at, safe);
    return put(at, safe);
}

/* NULL: no room. */
static char *
add_field(char *at, const char *end, kerf_log_format format,
          const struct field *f)
{
    char safe[4 * VALUE_MAX];
    char key[4 * sizeof f->key];

    /* Once more: not each value came quoted, and the last may be cut. */
    (void)kerf_text_safe(safe, sizeof safe, f->value);
    (void)kerf_text_safe(key, sizeof key, f->key);
    for (char *c = key; *c != '\0'; c++)
        *c = *c == '"' || *c == '\\' ? '_' : *c;
    if ((size_t)(end - at) < strlen(key) + 2 * strlen(safe) + 16)
        return NULL;
    return format == KERF_LOG_JSON ? put_json(at, f, key, safe)
                                   : put_logfmt(at, f, key, safe);
}

void
kerf_log_line(char *out, size_t cap, kerf_log_format format, uint64_t unix_ms,
              const char *level, const char *event, const char *fields)
{
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm = {0};
    struct field f;
    char when[64];
    char *at = out;
    const char *end = out + cap;

    (void)gmtime_r(&seconds, &tm);
    (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &tm);
    at += snprintf(out, cap,
                   format == KERF_LOG_JSON
                       ? "{\"ts\":\"%s.%03uZ\",\"level\":\"%s\","
                         "\"event\":\"%.64s\""
                       : "ts=%s.%03uZ level=%s event=%.64s",
                   when, (unsigned)(unix_ms % 1000), level, event);
    while (take_field(&fields, &f)) {
        char *next = add_field(at, end, format, &f);

        if (next == NULL)
            break;
        at = next;
    }
    if (format == KERF_LOG_JSON)
        (void)put(at, "}");
}
