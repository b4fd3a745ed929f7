#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* Length of the well-formed, printable UTF-8 sequence at s, or 0. */
static size_t
printable_len(const unsigned char *s)
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
    if (len == 1)
        return s[0] >= 0x20 && s[0] != 0x7F ? 1 : 0;
    code = s[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xC0) != 0x80)
            return 0;
        code = code << 6 | (s[i] & 0x3Fu);
    }
    if (code < least[len] || code > 0x10FFFF || code < 0xA0)
        return 0;
    if ((code >= 0xD800 && code < 0xE000) || (code >= 0x2028 && code <= 0x202E))
        return 0; /* surrogates, line separators, bidirectional overrides */
    return len;
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
