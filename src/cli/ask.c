#include "cli/ask.h"

#include "base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MS 15000 /* it may have to write to a slow disk */
#define ANSWER_MOST ((size_t)256 << 20)

/* Finding the cloud. */

static bool
port_of(const kerf_local_place *place, const char *name, int *port)
{
    size_t prefix = strlen(place->prefix);
    size_t len = strlen(name);
    int used = 0;

    return strncmp(name, place->prefix, prefix) == 0 &&
           sscanf(name + prefix, "%d%n", port, &used) == 1 &&
           len >= prefix + (size_t)used + 5 &&
           strcmp(name + len - 5, ".sock") == 0 &&
           (len == prefix + (size_t)used + 5 ||
            name[prefix + (size_t)used] == '@'); /* its host */
}

static void
try_socket(kerf_ask *f, const char *path, int port)
{
    size_t used = strlen(f->ports);
    kerf_detail why = {{0}};
    kerf_err err;
    int fd = -1;

    err = kerf_local_connect(&fd, path, &why);
    if (err == KERF_EDEADLINE)
        f->mute = why;
    if (err != KERF_OK) {
        kerf_local_clear(path); /* of one that was killed */
        return;
    }
    (void)snprintf(f->ports + used, sizeof f->ports - used, "%s%d",
                   f->count > 0 ? ", " : "", port);
    if (f->count++ > 0) {
        (void)close(fd);
        return;
    }
    f->fd = fd;
    (void)snprintf(f->path, sizeof f->path, "%s", path);
}

/* The one cloud of this user that runs. */
static kerf_err
find_cloud(kerf_ask *f, kerf_detail *why)
{
    kerf_local_place place = {0};
    char path[KERF_LOCAL_PATH];
    struct dirent *entry;
    DIR *dir;

    kerf_local_place_of(&place);
    dir = opendir(place.dir);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        int port = 0;

        if (port_of(&place, entry->d_name, &port) &&
            (!f->where.port_given || port == f->where.port) &&
            (size_t)snprintf(path, sizeof path, "%s/%s", place.dir,
                             entry->d_name) < sizeof path)
            try_socket(f, path, port);
    }
    if (dir != NULL)
        (void)closedir(dir);
    if (f->count == 1)
        return KERF_OK;
    if (f->count > 1) {
        (void)close(f->fd);
        if (f->where.port_given) {
            return kerf_fail(why, KERF_EINVAL,
                             "several clouds run here on port %d, of other "
                             "hosts: give --control",
                             f->where.port);
        }
        return kerf_fail(why, KERF_EINVAL,
                         "several clouds run here: give --cloud-port one of "
                         "%s",
                         f->ports);
    }
    if (f->mute.text[0] != '\0')
        return kerf_fail(why, KERF_EDEADLINE, "%s", f->mute.text);
    return kerf_fail(why, KERF_ENOENT,
                     "no cloud of yours runs on this machine (looked for "
                     "%s/%s*.sock): start kerf cloud, or give --control",
                     place.dir, place.prefix);
}

kerf_err
kerf_ask_open(kerf_ask *f, const kerf_ask_where *where, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    *f = (kerf_ask){.fd = -1, .where = *where};
    if (f->where.control == NULL && !f->where.port_given)
        return find_cloud(f, why);
    if (f->where.control != NULL)
        (void)snprintf(f->path, sizeof f->path, "%s", f->where.control);
    else
        err = kerf_local_path(f->path, NULL, f->where.port, why);
    if (err == KERF_OK)
        err = kerf_local_connect(
            &f->fd, f->where.control != NULL ? f->where.control : f->path, why);
    if (err == KERF_ENOENT && f->where.control == NULL) {
        kerf_detail none; /* the first words are the better ones */
        kerf_err other = find_cloud(f, &none); /* of another host */

        if (other == KERF_EINVAL)
            *why = none;
        err = other == KERF_ENOENT ? err : other;
    }
    return err;
}

/* Asking. */

static kerf_err
make_room(kerf_ask *l, kerf_detail *why)
{
    size_t room = l->room == 0 ? 65536 : 2 * l->room;
    char *bigger;

    if (l->len < l->room)
        return KERF_OK;
    if (room > ANSWER_MOST)
        return kerf_fail(why, KERF_ETOOBIG, "the cloud's answer has no end");
    bigger = realloc(l->text, room);
    if (bigger == NULL)
        return KERF_ENOMEM;
    l->text = bigger;
    l->room = room;
    return KERF_OK;
}

/* Up to the line's end, which is the last byte that comes: one answer for one
 * question. */
static kerf_err
read_line(kerf_ask *l, kerf_detail *why)
{
    uint64_t until_ns = kerf_now_ns() + (uint64_t)ANSWER_MS * 1000000u;

    l->len = 0;
    while (l->len == 0 || l->text[l->len - 1] != '\n') {
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        kerf_err err = make_room(l, why);
        ssize_t n;

        if (err != KERF_OK)
            return err;
        if (kerf_now_ns() > until_ns)
            return kerf_fail(why, KERF_EDEADLINE, "the cloud does not answer");
        if (l->where.is_over != NULL && *l->where.is_over)
            return KERF_EINTR;
        if (poll(&p, 1, 200) <= 0)
            continue;
        n = recv(l->fd, l->text + l->len, l->room - l->len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return kerf_fail(why, KERF_ECLOSED,
                             "the cloud has ended, or takes "
                             "no more questions");
        l->len += (size_t)n;
    }
    return KERF_OK;
}

kerf_err
kerf_ask_line(kerf_ask *a, const char *question, json_t **out, kerf_detail *why)
{
    size_t len = strlen(question);
    kerf_err err;

    if (send(a->fd, question, len, MSG_NOSIGNAL) != (ssize_t)len)
        return kerf_fail(why, KERF_ECLOSED,
                         "the cloud has ended, or takes no more questions");
    err = read_line(a, why);
    if (err != KERF_OK)
        return err;
    *out = json_loadb(a->text, a->len, 0, NULL);
    if (*out == NULL)
        return kerf_fail(why, KERF_EPROTO, "what listens there is no cloud");
    return KERF_OK;
}

void
kerf_ask_close(kerf_ask *a)
{
    if (a->fd >= 0)
        (void)close(a->fd);
    a->fd = -1;
    free(a->text);
    a->text = NULL;
}
