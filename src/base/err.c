#include "kerf/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *
kerf_err_name(kerf_err err)
{
    switch (err) {
#define KERF_ERR_NAME(name, number, text) \
    case KERF_##name:                     \
        return #name;
        KERF_ERR_MAP(KERF_ERR_NAME)
#undef KERF_ERR_NAME
    default:
        return "EUNKNOWN";
    }
}

const char *
kerf_err_text(kerf_err err)
{
    switch (err) {
#define KERF_ERR_TEXT(name, number, text) \
    case KERF_##name:                     \
        return text;
        KERF_ERR_MAP(KERF_ERR_TEXT)
#undef KERF_ERR_TEXT
    default:
        return "unknown error";
    }
}

#undef kerf_fail
#undef kerf_fail_in

kerf_err
kerf_fail(kerf_detail *why, kerf_err err, const char *fmt, ...)
{
    va_list args;

    if (why == NULL)
        return err;
    va_start(args, fmt);
    (void)vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    return err;
}

kerf_err
kerf_fail_in(kerf_detail *why, kerf_err err, const char *fmt, ...)
{
    kerf_detail inner;
    va_list args;
    size_t used;
    int n;

    if (why == NULL)
        return err;
    inner = *why;
    va_start(args, fmt);
    n = vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    used = n < 0 ? 0 : (size_t)n;
    if (used < sizeof why->text)
        (void)snprintf(why->text + used, sizeof why->text - used, ": %s",
                       inner.text[0] ? inner.text : kerf_err_text(err));
    return err;
}
