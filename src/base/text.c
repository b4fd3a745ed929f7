#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at s, or 0; *out: its code. */
static size_t
read_code(const unsigned char *s, unsigned *out)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = s[0] < 0x80   ? 1
                 : s[0] < 0xC0 ? 0
                 : s[0] < 0xE0 ? 2
                 : s[0] < 0xF0 ? 3
                 : s[0] < 0xF8 ? 4
                               : 0;
    unsigned code;

    if (len == 0)
        return 0;
    code = len == 1 ? s[0] : s[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    if (code < least[len] || code > 0x10FFFF ||
        (code >= 0xD800 && code < 0xE000)) /* surrogates */
        return 0;
    *out = code;
    return len;
}

/* Marks, embeddings, overrides and isolates: they turn the order of a line. */
static bool
is_bidi(unsigned code)
{
    return code == 0x061C || code == 0x200E || code == 0x200F ||
           (code >= 0x202A && code <= 0x202E) ||
           (code >= 0x2066 && code <= 0x2069);
}

/* Length of the well-formed, printable UTF-8 sequence at s, or 0. */
static size_t
printable_len(const unsigned char *s)
{
    unsigned code = 0;
    size_t len = read_code(s, &code);

    if (code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x2028 ||
        code == 0x2029 || is_bidi(code))
        return 0;
    return len;
}

bool
kerf_text_is_utf8(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned code = 0;

    while (*s != 0) {
        size_t len = read_code(s, &code);

        if (len == 0)
            return false;
        s += len;
    }
    return true;
}

char *
kerf_text_safe(char *out, size_t cap, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t used = 0;

    while (*s != 0) {
        size_t len = printable_len(s);
        char piece[8];

        if (len == 0) {
            (void)snprintf(piece, sizeof piece, "\\x%02x", *s);
            s++;
            len = 4;
        } else {
            memcpy(piece, s, len);
            s += len;
        }
        if (used + len >= cap)
            break;
        memcpy(out + used, piece, len);
        used += len;
    }
    out[used] = '\0';
    return out;
}

char *
kerf_text_quote(char *out, size_t cap, const char *text)
{
    char safe[1024];
    size_t n = 0;

    (void)kerf_text_safe(safe, sizeof safe, text);
    out[n++] = '"';
    for (const char *at = safe; *at != '\0'; at++) {
        bool escaped = *at == '"' || *at == '\\';

        if (n + 4 > cap) {              /* this one, escaped, and the end */
            if ((*at & 0xC0) == 0x80) { /* no part of a letter */
                while ((out[n - 1] & 0xC0) == 0x80)
                    n--;
                n--;
            }
            break;
        }
        if (escaped)
            out[n++] = '\\';
        out[n++] = *at;
    }
    out[n++] = '"';
    out[n] = '\0';
    return out;
}

bool
kerf_text_is_name(const char *text)
{
    static const char ok[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(text);

    return len >= 1 && len <= 200 && text[0] != '.' && strspn(text, ok) == len;
}

char *
kerf_text_bytes(char *out, size_t cap, unsigned long long bytes)
{
    static const char *const units[] = {"B", "KB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t u = 0;

    while (v >= 1000.0 && u + 1 < sizeof units / sizeof *units) {
        v /= 1000.0;
        u++;
    }
    (void)snprintf(out, cap, u == 0 ? "%.0f %s" : "%.2f %s", v, units[u]);
    return out;
}

char *
kerf_text_ns(char *out, size_t cap, unsigned long long ns)
{
    double v = (double)ns;

    if (v < 1e6)
        (void)snprintf(out, cap, "%.0f us", v / 1e3);
    else if (v < 1e9)
        (void)snprintf(out, cap, "%.2f ms", v / 1e6);
    else
        (void)snprintf(out, cap, "%.2f s", v / 1e9);
    return out;
}
