#include "trust/access.h"

#include <stdlib.h>
#include <string.h>

/* words: all words of all lines, one behind the other, each with its end; an
 * empty one ends a line. */
struct kerf_access {
    size_t len;
    char words[];
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* A word of [from, end), or NULL at the line's end. */
static const char *
next_word(const char **from, const char *end, size_t *len)
{
    const char *at = *from;
    const char *start;

    while (at < end && is_blank(*at))
        at++;
    if (at == end || *at == '#')
        return NULL;
    start = at;
    while (at < end && !is_blank(*at))
        at++;
    *from = at;
    *len = (size_t)(at - start);
    return start;
}

static bool
is_printable(const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)word[i] <= ' ' || word[i] == 0x7f)
            return false;
    }
    return true;
}

static kerf_err
add_line(kerf_access *a, const char *from, const char *end, size_t number,
         kerf_detail *why)
{
    const char *word;
    size_t count = 0;
    size_t len;

    while ((word = next_word(&from, end, &len)) != NULL) {
        if (len > KERF_ACCESS_WORD || !is_printable(word, len)) {
            return kerf_fail(why, KERF_EINVAL,
                             "line %zu: a word is longer than %d bytes, or has "
                             "control characters",
                             number, KERF_ACCESS_WORD);
        }
        memcpy(a->words + a->len, word, len);
        a->words[a->len + len] = '\0';
        a->len += len + 1;
        count++;
    }
    if (count == 1)
        return kerf_fail(why, KERF_EINVAL,
                         "line %zu: a name without models: NAME MODEL...",
                         number);
    if (count > 0)
        a->words[a->len++] = '\0';
    return KERF_OK;
}

kerf_err
kerf_access_parse(kerf_access **out, const char *text, size_t len,
                  kerf_detail *why)
{
    const char *end = text + len;
    kerf_access *a;

    if (len > KERF_ACCESS_MOST)
        return kerf_fail(why, KERF_ETOOBIG, "more than %zu bytes",
                         KERF_ACCESS_MOST);
    /* A word takes its blank's byte for its end, a line one more for its own.
     */
    a = malloc(sizeof *a + 2 * len + 2);
    if (a == NULL)
        return KERF_ENOMEM;
    a->len = 0;
    for (size_t number = 1; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        kerf_err err;

        if (stop == NULL)
            stop = end;
        err = add_line(a, text, stop, number, why);
        if (err != KERF_OK) {
            free(a);
            return err;
        }
        text = stop < end ? stop + 1 : end;
    }
    *out = a;
    return KERF_OK;
}

kerf_err
kerf_access_copy(kerf_access **out, const kerf_access *from)
{
    kerf_access *a;

    *out = NULL;
    if (from == NULL)
        return KERF_OK;
    a = malloc(sizeof *a + from->len);
    if (a == NULL)
        return KERF_ENOMEM;
    memcpy(a, from, sizeof *a + from->len);
    *out = a;
    return KERF_OK;
}

void
kerf_access_free(kerf_access *access)
{
    free(access);
}

/* Goes back to the last * only, so the time is their product at most. */
static bool
fits(const char *pattern, const char *text)
{
    const char *star = NULL;
    const char *from = NULL;

    while (*text != '\0') {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star != NULL) {
            pattern = star + 1;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

static const char *
skip(const char *word)
{
    return word + strlen(word) + 1;
}

bool
kerf_access_allows(const kerf_access *access, const char *name,
                   const char *model)
{
    const char *at = access != NULL ? access->words : NULL;
    const char *end = access != NULL ? at + access->len : NULL;

    if (access == NULL)
        return true;
    while (at < end) {
        bool mine = fits(at, name);

        for (at = skip(at); *at != '\0'; at = skip(at)) {
            if (mine && fits(at, model))
                return true;
        }
        if (mine)
            return false;
        at++;
    }
    return false;
}
