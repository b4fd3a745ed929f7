#include "base/base64.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "abcdefghijklmnopqrstuvwxyz0123456789+/";

void
kerf_base64(char *out, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i += 3) {
        size_t left = len - i;
        unsigned b = (unsigned)data[i] << 16;

        b |= left > 1 ? (unsigned)data[i + 1] << 8 : 0;
        b |= left > 2 ? (unsigned)data[i + 2] : 0;
        *out++ = digits[b >> 18];
        *out++ = digits[b >> 12 & 63];
        *out++ = left > 1 ? digits[b >> 6 & 63] : '=';
        *out++ = left > 2 ? digits[b & 63] : '=';
    }
    *out = '\0';
}

size_t
kerf_base64_most(size_t len)
{
    return len / 4 * 3;
}

/* 64: none. */
static unsigned
value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (unsigned)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (unsigned)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (unsigned)(c - '0') + 52;
    if (c == '+')
        return 62;
    return c == '/' ? 63 : 64;
}

bool
kerf_unbase64(uint8_t *out, size_t *out_len, const char *text, size_t len)
{
    size_t pads = 0;
    size_t n = 0;

    if (len % 4 != 0)
        return false;
    while (len > 0 && pads < 2 && text[len - 1 - pads] == '=')
        pads++;
    for (size_t i = 0; i < len; i += 4) {
        size_t some = i + 4 == len ? 4 - pads : 4; /* that are digits */
        unsigned b = 0;

        for (size_t k = 0; k < 4; k++) {
            unsigned v = k < some ? value_of(text[i + k]) : 0;

            if (v > 63)
                return false;
            b = b << 6 | v;
        }
        for (size_t k = 0; k + 1 < some; k++)
            out[n++] = (uint8_t)(b >> (16 - 8 * k));
        if ((some == 3 && (b & 0xff) != 0) || (some == 2 && (b & 0xffff) != 0))
            return false;
    }
    *out_len = n;
    return true;
}
