#include "trust/fleet_index.h"

#include "base/hash.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MOST (KERF_HOSTS_TEXT + 400)

static bool
read_number(const char *word, int64_t most, int64_t *out)
{
    int64_t n = 0;

    if (*word == '\0')
        return false;
    for (; *word != '\0'; word++) {
        if (*word < '0' || *word > '9' || n > most / 10)
            return false;
        n = n * 10 + (*word - '0');
        if (n > most)
            return false;
    }
    *out = n;
    return true;
}

/* Cuts line into words at single blanks; false: not so many. */
static bool
split(char *line, char **word, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *end = strchr(line, ' ');

        word[i] = line;
        if ((end == NULL) != (i + 1 == count))
            return false;
        if (end != NULL) {
            *end = '\0';
            line = end + 1;
        }
    }
    return true;
}

static bool
read_first(kerf_index *index, char *line)
{
    char *word[5];
    int64_t list;
    int64_t oldest;
    int64_t newest;

    if (!split(line, word, 5) || strcmp(word[0], "kerf-fleet") != 0 ||
        strcmp(word[1], "1") != 0 || !read_number(word[2], INT64_MAX, &list) ||
        !read_number(word[3], KERF_AUTHORITY_MOST, &oldest) ||
        !read_number(word[4], KERF_AUTHORITY_MOST, &newest) || oldest < 1 ||
        newest < oldest || newest - oldest > 1)
        return false;
    index->list = (uint64_t)list;
    index->oldest = (unsigned)oldest;
    index->newest = (unsigned)newest;
    return true;
}

static bool
are_hosts(char *text)
{
    char *at = text;

    if (strcmp(text, "-") == 0) {
        *text = '\0';
        return true;
    }
    for (size_t n = 1;; n++) {
        char *comma = strchr(at, ',');
        bool fine;

        if (comma != NULL)
            *comma = '\0';
        fine = kerf_cert_is_host(at) && n <= KERF_HOSTS_MAX;
        if (comma != NULL)
            *comma = ',';
        if (!fine || comma == NULL)
            return fine;
        at = comma + 1;
    }
}

static bool
read_issued(kerf_issued *i, char *line)
{
    char *word[8];
    int64_t issuer;

    *i = (kerf_issued){0};
    if (!split(line, word, 8) ||
        !kerf_unhex(i->serial, sizeof i->serial, word[0]) ||
        !kerf_cert_is_name(word[2]) ||
        !read_number(word[3], KERF_AUTHORITY_MOST, &issuer) ||
        !read_number(word[4], INT64_MAX, &i->from_s) ||
        !read_number(word[5], INT64_MAX, &i->until_s) ||
        !read_number(word[6], INT64_MAX, &i->revoked_s) || !are_hosts(word[7]))
        return false;
    if (strcmp(word[1], "cloud") == 0)
        i->side = KERF_SIDE_CLOUD;
    else if (strcmp(word[1], "edge") == 0)
        i->side = KERF_SIDE_EDGE;
    else
        return false;
    (void)snprintf(i->name, sizeof i->name, "%s", word[2]);
    i->issuer = (unsigned)issuer;
    i->hosts = word[7];
    return true;
}

kerf_err
kerf_index_add(kerf_index *index, const kerf_issued *issued)
{
    kerf_issued copy = *issued;

    if (index->count == KERF_ISSUED_MAX)
        return KERF_ETOOBIG;
    if ((index->count & (index->count - 1)) == 0) { /* 0, 1, 2, 4, ... */
        size_t room = index->count > 0 ? 2 * index->count : 1;
        kerf_issued *more =
            realloc(index->issued, room * sizeof *index->issued);

        if (more == NULL)
            return KERF_ENOMEM;
        index->issued = more;
    }
    copy.hosts = strdup(issued->hosts);
    if (copy.hosts == NULL)
        return KERF_ENOMEM;
    index->issued[index->count++] = copy;
    return KERF_OK;
}

kerf_err
kerf_index_parse(kerf_index *index, const char *text, size_t len,
                 kerf_detail *why)
{
    const char *end = text + len;
    kerf_err err = KERF_OK;

    for (size_t number = 1; text < end && err == KERF_OK; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        char line[LINE_MOST];
        kerf_issued one;
        bool fine;

        if (stop == NULL || (size_t)(stop - text) >= sizeof line ||
            memchr(text, '\0', (size_t)(stop - text)) != NULL) {
            fine = false;
        } else {
            (void)snprintf(line, sizeof line, "%.*s", (int)(stop - text), text);
            fine =
                number == 1 ? read_first(index, line) : read_issued(&one, line);
        }
        if (!fine)
            err = kerf_fail(why, KERF_ECORRUPT, "line %zu is damaged", number);
        else if (number > 1)
            err = kerf_index_add(index, &one);
        text = stop != NULL ? stop + 1 : end;
    }
    if (err == KERF_OK && index->newest == 0)
        err = kerf_fail(why, KERF_ECORRUPT, "it is empty");
    if (err != KERF_OK)
        kerf_index_free(index);
    return err;
}

kerf_err
kerf_index_format(const kerf_index *index, char **text, size_t *len)
{
    FILE *out = open_memstream(text, len);

    if (out == NULL)
        return KERF_ENOMEM;
    (void)fprintf(out, "kerf-fleet 1 %" PRIu64 " %u %u\n", index->list,
                  index->oldest, index->newest);
    for (size_t i = 0; i < index->count; i++) {
        const kerf_issued *k = &index->issued[i];
        char serial[KERF_CERT_SERIAL];

        kerf_hex(serial, k->serial, sizeof k->serial);
        (void)fprintf(
            out, "%s %s %s %u %" PRId64 " %" PRId64 " %" PRId64 " %s\n", serial,
            kerf_side_name(k->side), k->name, k->issuer, k->from_s, k->until_s,
            k->revoked_s, k->hosts[0] != '\0' ? k->hosts : "-");
    }
    if (fclose(out) != 0) {
        free(*text);
        *text = NULL;
        return KERF_ENOMEM;
    }
    return KERF_OK;
}

kerf_issued *
kerf_index_find(const kerf_index *index, const char *name)
{
    for (size_t i = index->count; i > 0; i--) {
        if (strcmp(index->issued[i - 1].name, name) == 0)
            return &index->issued[i - 1];
    }
    return NULL;
}

void
kerf_index_free(kerf_index *index)
{
    for (size_t i = 0; i < index->count; i++)
        free(index->issued[i].hosts);
    free(index->issued);
    *index = (kerf_index){0};
}
