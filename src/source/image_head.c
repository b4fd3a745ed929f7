#include "source/image_head.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Reads of either byte order, sticky-bad past the end. */
typedef struct cursor {
    const uint8_t *data;
    size_t len, at;
    bool big;
    bool bad;
} cursor;

static const struct {
    const char *name;
    const char *mime;
} formats[KERF_IMAGE_FORMAT_COUNT] = {
    [KERF_IMAGE_PNG] = {"PNG", "image/png"},
    [KERF_IMAGE_JPEG] = {"JPEG", "image/jpeg"},
    [KERF_IMAGE_GIF] = {"GIF", "image/gif"},
    [KERF_IMAGE_BMP] = {"BMP", "image/bmp"},
    [KERF_IMAGE_TIFF] = {"TIFF", "image/tiff"},
    [KERF_IMAGE_PNM] = {"PNM", "image/x-portable-anymap"},
    [KERF_IMAGE_WEBP] = {"WebP", "image/webp"},
};

const char *
kerf_image_format_name(kerf_image_format format)
{
    return formats[format].name;
}

const char *
kerf_image_format_mime(kerf_image_format format)
{
    return formats[format].mime;
}

int
kerf_image_has_ending(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".gif",
                                          ".bmp", ".tif", ".tiff", ".ppm",
                                          ".pgm", ".pnm", ".webp"};
    const char *dot = strrchr(name, '.');

    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof *endings;
         i++) {
        if (strcasecmp(dot, endings[i]) == 0)
            return 1;
    }
    return 0;
}

static uint32_t
take(cursor *c, size_t n)
{
    uint32_t v = 0;

    if (c->bad || c->len - c->at < n) {
        c->bad = true;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t byte = c->data[c->at + i];

        v |= byte << 8 * (c->big ? n - 1 - i : i);
    }
    c->at += n;
    return v;
}

static void
skip(cursor *c, size_t n)
{
    if (c->bad || c->len - c->at < n)
        c->bad = true;
    else
        c->at += n;
}

static void
seek(cursor *c, size_t at)
{
    if (at > c->len)
        c->bad = true;
    else
        c->at = at;
}

/* Width, height and orientation out of IFD0 of a TIFF; absent ones stay. */
static bool
read_tiff(const uint8_t *data, size_t len, uint32_t *width, uint32_t *height,
          int *orientation)
{
    cursor c = {.data = data, .len = len};
    uint32_t count;

    if (len < 8 ||
        (memcmp(data, "II*\0", 4) != 0 && memcmp(data, "MM\0*", 4) != 0))
        return false;
    c.big = data[0] == 'M';
    c.at = 4;
    seek(&c, take(&c, 4));
    count = take(&c, 2);
    for (uint32_t i = 0; i < count && !c.bad; i++) {
        uint32_t tag = take(&c, 2);
        uint32_t type = take(&c, 2);
        uint32_t value;

        skip(&c, 4);
        value = take(&c, type == 3 ? 2 : 4);
        skip(&c, type == 3 ? 2 : 0);
        if (c.bad || (type != 3 && type != 4))
            continue;
        if (tag == 256)
            *width = value;
        else if (tag == 257)
            *height = value;
        else if (tag == 274 && value >= 1 && value <= 8)
            *orientation = (int)value;
    }
    return !c.bad;
}

static kerf_err
read_png(kerf_image_head *h, cursor c, kerf_detail *why)
{
    uint32_t depth;
    uint32_t colour;

    c.big = true;
    skip(&c, 16);
    h->width = take(&c, 4);
    h->height = take(&c, 4);
    depth = take(&c, 1);
    colour = take(&c, 1);
    if (depth == 16 && colour != 0) /* pngdec 1.22 writes past its rows */
        return kerf_fail(why, KERF_ENOTSUP,
                         "PNG with 16 bits per colour: save it with 8");
    seek(&c, 8);
    for (;;) {
        uint32_t len = take(&c, 4);
        uint32_t type = take(&c, 4);
        const uint8_t *body = c.data + c.at;

        skip(&c, len);
        skip(&c, 4);
        if (c.bad)
            return kerf_fail(why, KERF_ECORRUPT, "PNG file is cut short");
        if (type == 0x65584966) { /* eXIf */
            uint32_t none = 0;

            (void)read_tiff(body, len, &none, &none, &h->orientation);
        }
        if (type == 0x49454E44) /* IEND */
            return KERF_OK;
    }
}

/* How often the two bytes stand in data; they are never inside JPEG's coded
 * data, where 0xFF is followed by 0. */
static size_t
count_markers(const uint8_t *data, size_t len, uint8_t marker)
{
    const uint8_t *end = data + len;
    size_t n = 0;

    while (end - data >= 2) {
        const uint8_t *ff = memchr(data, 0xFF, (size_t)(end - data) - 1);

        if (ff == NULL)
            break;
        n += ff[1] == marker;
        data = ff + 1;
    }
    return n;
}

static kerf_err
check_scans(const cursor *c, kerf_detail *why)
{
    const uint8_t *rest = c->data + c->at;
    size_t len = c->len - c->at;

    if (count_markers(rest, len, 0xD9) == 0)
        return kerf_fail(why, KERF_ECORRUPT, "JPEG file is cut short");
    if (count_markers(rest, len, 0xDA) > KERF_IMAGE_SCANS_MAX)
        return kerf_fail(why, KERF_ETOOBIG, "JPEG has over %d scans",
                         KERF_IMAGE_SCANS_MAX);
    return KERF_OK;
}

static bool
is_frame(uint32_t marker)
{
    return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 &&
           marker != 0xC8 && marker != 0xCC;
}

static kerf_err
read_jpeg(kerf_image_head *h, cursor c, kerf_detail *why)
{
    c.big = true;
    skip(&c, 2);
    while (!c.bad) {
        uint32_t marker = take(&c, 1);
        size_t start, len;

        if (marker != 0xFF)
            break;
        while (marker == 0xFF)
            marker = take(&c, 1);
        start = c.at;
        len = take(&c, 2);
        if (c.bad || len < 2 || c.len - start < len)
            break;
        if (marker == 0xDA && h->width != 0) {
            c.at = start + len;
            return check_scans(&c, why);
        }
        if (is_frame(marker)) {
            skip(&c, 1);
            h->height = take(&c, 2);
            h->width = take(&c, 2);
        } else if (marker == 0xE1 && len >= 8 &&
                   memcmp(c.data + c.at, "Exif\0", 6) == 0) {
            uint32_t none = 0;

            (void)read_tiff(c.data + c.at + 6, len - 8, &none, &none,
                            &h->orientation);
        }
        c.at = start + len;
    }
    return kerf_fail(why, KERF_ECORRUPT,
                     "JPEG file is broken or cut short in its header");
}

static kerf_err
read_gif(kerf_image_head *h, cursor c)
{
    skip(&c, 6);
    h->width = take(&c, 2);
    h->height = take(&c, 2);
    return KERF_OK;
}

static kerf_err
read_bmp(kerf_image_head *h, cursor c)
{
    uint32_t size;
    uint32_t height;

    skip(&c, 14);
    size = take(&c, 4);
    h->width = take(&c, size == 12 ? 2 : 4);
    height = take(&c, size == 12 ? 2 : 4);
    /* Negative: rows from the top. */
    h->height = height > INT32_MAX ? 0U - height : height;
    return KERF_OK;
}

static uint32_t
take_number(cursor *c)
{
    uint32_t v = 0;
    int digits = 0;

    while (c->at < c->len && (strchr(" \t\r\n", c->data[c->at]) != NULL ||
                              c->data[c->at] == '#')) {
        if (c->data[c->at] == '#') {
            while (c->at < c->len && c->data[c->at] != '\n')
                c->at++;
        } else {
            c->at++;
        }
    }
    for (; c->at < c->len && c->data[c->at] >= '0' && c->data[c->at] <= '9' &&
           digits < 9;
         digits++)
        v = v * 10 + (uint32_t)(c->data[c->at++] - '0');
    return v;
}

static kerf_err
read_pnm(kerf_image_head *h, cursor c)
{
    skip(&c, 2);
    h->width = take_number(&c);
    h->height = take_number(&c);
    return KERF_OK;
}

static kerf_err
read_webp(kerf_image_head *h, cursor c)
{
    const uint8_t *kind = c.data + 12;
    uint32_t bits;

    if (memcmp(kind, "VP8X", 4) == 0) {
        seek(&c, 24);
        h->width = take(&c, 3) + 1;
        h->height = take(&c, 3) + 1;
    } else if (memcmp(kind, "VP8L", 4) == 0) {
        seek(&c, 21);
        bits = take(&c, 4);
        h->width = (bits & 0x3FFF) + 1;
        h->height = (bits >> 14 & 0x3FFF) + 1;
    } else {
        seek(&c, 26);
        h->width = take(&c, 2) & 0x3FFF;
        h->height = take(&c, 2) & 0x3FFF;
    }
    return KERF_OK;
}

static bool
starts(const cursor *c, size_t at, const char *magic, size_t len)
{
    return c->len >= at + len && memcmp(c->data + at, magic, len) == 0;
}

static kerf_err
read_any(kerf_image_head *h, cursor c, kerf_detail *why)
{
    if (starts(&c, 0, "\x89PNG\r\n\x1a\n", 8)) {
        h->format = KERF_IMAGE_PNG;
        return read_png(h, c, why);
    }
    if (starts(&c, 0, "\xFF\xD8\xFF", 3)) {
        h->format = KERF_IMAGE_JPEG;
        return read_jpeg(h, c, why);
    }
    if (starts(&c, 0, "GIF8", 4)) {
        h->format = KERF_IMAGE_GIF;
        return read_gif(h, c);
    }
    if (starts(&c, 0, "BM", 2) && c.len >= 26) {
        h->format = KERF_IMAGE_BMP;
        return read_bmp(h, c);
    }
    if (starts(&c, 0, "II*\0", 4) || starts(&c, 0, "MM\0*", 4)) {
        h->format = KERF_IMAGE_TIFF;
        return read_tiff(c.data, c.len, &h->width, &h->height, &h->orientation)
                   ? KERF_OK
                   : kerf_fail(why, KERF_ECORRUPT, "TIFF file is broken");
    }
    if (c.len > 2 && c.data[0] == 'P' && c.data[1] >= '1' && c.data[1] <= '6' &&
        strchr(" \t\r\n#", c.data[2]) != NULL) {
        h->format = KERF_IMAGE_PNM;
        return read_pnm(h, c);
    }
    if (starts(&c, 0, "RIFF", 4) && starts(&c, 8, "WEBPVP8", 7) &&
        c.len >= 30) {
        h->format = KERF_IMAGE_WEBP;
        return read_webp(h, c);
    }
    return kerf_fail(why, KERF_ENOTSUP, "not an image");
}

kerf_err
kerf_image_head_read(kerf_image_head *out, const uint8_t *data, size_t len,
                     kerf_detail *why)
{
    kerf_image_head h = {.orientation = 1};
    cursor c = {.data = data, .len = len};
    kerf_err err;

    if (len == 0)
        return kerf_fail(why, KERF_ECORRUPT, "empty file");
    err = read_any(&h, c, why);
    if (err != KERF_OK)
        return err;
    if (h.width == 0 || h.height == 0)
        return kerf_fail(why, KERF_ECORRUPT, "%s file says no size",
                         formats[h.format].name);
    if (h.width > KERF_IMAGE_SIDE_MAX || h.height > KERF_IMAGE_SIDE_MAX ||
        (uint64_t)h.width * h.height > KERF_IMAGE_PIXELS_MAX) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "%u x %u pixels, the limit is %llu million in all and "
                         "%d on a side",
                         h.width, h.height,
                         (unsigned long long)KERF_IMAGE_PIXELS_MAX / 1000000,
                         KERF_IMAGE_SIDE_MAX);
    }
    *out = h;
    return KERF_OK;
}
