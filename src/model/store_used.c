/*
 * Which bundles were used, and in which order: bundles/.used, a line for each,
 *
 *     HEX COUNT ran|came
 *
 * and the larger count is of later. Clocks jump, on devices above all, so
 * files' times do not say it. What no line is of was used before all that have
 * one; without the file times decide.
 */
#include "model/store_own.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LINE_MOST (KERF_SHA256_HEX + 32)

/* One line, without its end. */
static bool
parse_line(const char *line, size_t len, kerf_used_one *one)
{
    char text[LINE_MOST];
    char hex[KERF_SHA256_HEX];
    const char *more;
    char *end;

    if (len >= sizeof text || memchr(line, '\0', len) != NULL)
        return false;
    memcpy(text, line, len);
    text[len] = '\0';
    if (!kerf_store_is_hex(text, &more) || more[0] != ' ' || more[1] < '1' ||
        more[1] > '9' || strspn(more + 1, "0123456789") > 18)
        return false;
    one->count = strtoull(more + 1, &end, 10);
    one->ran = strcmp(end, " ran") == 0;
    memcpy(hex, text, sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    return (one->ran || strcmp(end, " came") == 0) &&
           kerf_unhex(one->id, sizeof one->id, hex);
}

kerf_err
kerf_used_parse(kerf_used *used, const char *text, size_t len)
{
    *used = (kerf_used){.count = 0};
    used->one = calloc(KERF_USED_MOST, sizeof *used->one);
    if (used->one == NULL)
        return KERF_ENOMEM;
    while (len > 0 && used->count < KERF_USED_MOST) {
        const char *end = memchr(text, '\n', len);
        size_t line = end == NULL ? len : (size_t)(end - text);
        kerf_used_one one;

        /* Each once: of two the first, as a search finds it. */
        if (end != NULL && parse_line(text, line, &one) &&
            kerf_used_find(used, one.id) == NULL)
            used->one[used->count++] = one;
        line += end != NULL;
        text += line;
        len -= line;
    }
    return KERF_OK;
}

kerf_err
kerf_used_read(kerf_used *used, const kerf_store *store)
{
    uint8_t *text = NULL;
    size_t len = 0;
    kerf_err err = kerf_store_read(store, KERF_STORE_BUNDLES, KERF_STORE_USED,
                                   (uint64_t)KERF_USED_MOST * LINE_MOST, &text,
                                   &len, NULL);

    if (err == KERF_ENOMEM)
        return err;
    err = kerf_used_parse(used, (const char *)text, err == KERF_OK ? len : 0);
    free(text);
    return err;
}

void
kerf_used_free(kerf_used *used)
{
    free(used->one);
    *used = (kerf_used){.count = 0};
}

kerf_used_one *
kerf_used_find(const kerf_used *used, const uint8_t id[KERF_BUNDLE_ID_LEN])
{
    for (size_t i = 0; i < used->count; i++) {
        if (memcmp(used->one[i].id, id, KERF_BUNDLE_ID_LEN) == 0)
            return &used->one[i];
    }
    return NULL;
}

char *
kerf_used_format(const kerf_used *used)
{
    char *text = malloc(used->count * LINE_MOST + 1);
    size_t len = 0;

    if (text == NULL)
        return NULL;
    text[0] = '\0';
    for (size_t i = 0; i < used->count; i++) {
        const kerf_used_one *one = &used->one[i];
        char hex[KERF_SHA256_HEX];

        kerf_hex(hex, one->id, sizeof one->id);
        len += (size_t)snprintf(text + len, LINE_MOST, "%s %" PRIu64 " %s\n",
                                hex, one->count, one->ran ? "ran" : "came");
    }
    return text;
}

/* Of those whose manifest is there. */
static void
write_used(const kerf_store *store, kerf_used *used)
{
    size_t left = 0;
    char *text;

    for (size_t i = 0; i < used->count; i++) {
        char name[KERF_STORE_NAME];

        kerf_store_bundle_name(name, used->one[i].id);
        if (kerf_store_size(store, KERF_STORE_BUNDLES, name) > 0)
            used->one[left++] = used->one[i];
    }
    used->count = left;
    text = kerf_used_format(used);
    if (text != NULL)
        (void)kerf_store_write(store, KERF_STORE_BUNDLES, KERF_STORE_USED, text,
                               strlen(text));
    free(text);
}

void
kerf_used_note(const kerf_store *store, const uint8_t id[KERF_BUNDLE_ID_LEN],
               bool ran)
{
    kerf_used used;
    kerf_used_one *one;
    uint64_t last = 0;

    if (kerf_used_read(&used, store) != KERF_OK)
        return;
    for (size_t i = 0; i < used.count; i++)
        last = used.one[i].count > last ? used.one[i].count : last;
    one = kerf_used_find(&used, id);
    if (one == NULL && used.count < KERF_USED_MOST) {
        one = &used.one[used.count++];
        memcpy(one->id, id, sizeof one->id);
        one->ran = false;
        one->count = 0;
    }
    if (one != NULL && (one->count < last || last == 0 || ran != one->ran)) {
        one->count = last + 1;
        one->ran = ran;
        write_used(store, &used);
    }
    kerf_used_free(&used);
}

void
kerf_store_use(kerf_store *store, const uint8_t id[KERF_BUNDLE_ID_LEN])
{
    char name[KERF_STORE_NAME];
    int lock = -1;

    if (kerf_store_lock(&lock, store, NULL) != KERF_OK)
        return;
    kerf_store_bundle_name(name, id);
    (void)utimensat(store->dir[KERF_STORE_BUNDLES], name, NULL,
                    AT_SYMLINK_NOFOLLOW);
    kerf_used_note(store, id, true);
    kerf_store_unlock(lock);
}
