/*
 * Shipping: each connected edge gets the files of every head, all .pdmodel
 * first, then all .pdiparams, straight from the memory that all edges share.
 */
#include "legacy/cloud.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct item { /* a file that waits to be sent */
    struct item *next;
    kerf_legacy_tail *tail; /* counted */
    kerf_role role;
};

struct kerf_legacy_session {
    kerf_legacy_session *next;
    kerf_legacy_cloud *cloud;
    kerf_fd_watch *watch;
    int fd;
    char peer[64];
    struct item *first; /* the one under way when sending */
    bool sending;
    kerf_legacy_send out;
};

static void
free_item(struct item *item)
{
    kerf_legacy_tail_unref(item->tail);
    free(item);
}

static void
end_session(kerf_legacy_session *s, const char *why)
{
    kerf_legacy_cloud *cloud = s->cloud;
    kerf_legacy_session **at = &cloud->sessions;

    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    cloud->session_count--;
    if (cloud->events.edge != NULL)
        cloud->events.edge(cloud->events.ctx, s->peer, s->peer, false, why);
    kerf_fd_watch_free(s->watch);
    (void)close(s->fd);
    while (s->first != NULL) {
        struct item *next = s->first->next;

        free_item(s->first);
        s->first = next;
    }
    free(s);
}

static kerf_err
push(kerf_legacy_session *s, kerf_legacy_tail *tail, kerf_role role)
{
    struct item *item = calloc(1, sizeof *item);
    struct item **at = &s->first;

    if (item == NULL)
        return KERF_ENOMEM;
    item->tail = kerf_legacy_tail_ref(tail);
    item->role = role;
    while (*at != NULL)
        at = &(*at)->next;
    *at = item;
    return KERF_OK;
}

/* Files of an older version that wait need not go any more. */
static void
drop_older(kerf_legacy_session *s, const char *name)
{
    struct item **at = &s->first;

    if (s->sending)
        at = &(*at)->next;
    while (*at != NULL) {
        struct item *item = *at;

        if (strcmp(item->tail->pair.manifest.name, name) != 0) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        free_item(item);
    }
}

static kerf_err
begin_file(kerf_legacy_session *s)
{
    const kerf_pair *pair = &s->first->tail->pair;
    kerf_role role = s->first->role;
    char name[KERF_PART_NAME];

    if (!kerf_role_file(name, role, pair->manifest.format, pair->manifest.name))
        return KERF_EINVAL;
    s->out.head_len = kerf_legacy_put_file(s->out.head, sizeof s->out.head,
                                           name, pair->len[role]);
    s->out.data = pair->data[role];
    s->out.len = pair->len[role];
    s->out.at = 0;
    s->sending = true;
    return s->out.head_len > 0 ? KERF_OK : KERF_EINVAL;
}

static void
end_file(kerf_legacy_session *s)
{
    const kerf_cloud_events *e = &s->cloud->events;
    struct item *item = s->first;
    const kerf_pair *pair = &item->tail->pair;

    if (item->role == KERF_ROLE_HEAD_WEIGHTS && e->shipped != NULL) {
        uint64_t bytes =
            pair->len[KERF_ROLE_HEAD_GRAPH] + pair->len[KERF_ROLE_HEAD_WEIGHTS];

        e->shipped(e->ctx, s->peer, pair->manifest.name, bytes, bytes, KERF_OK,
                   NULL);
    }
    s->first = item->next;
    s->sending = false;
    free_item(item);
}

/* One file per turn of the loop, so that every edge has its turn. */
static kerf_err
send_files(kerf_legacy_session *s, kerf_detail *why)
{
    kerf_err err = s->first == NULL || s->sending ? KERF_OK : begin_file(s);

    if (err == KERF_OK && s->first != NULL)
        err = kerf_legacy_send_some(s->fd, &s->out, why);
    if (err == KERF_OK && s->first != NULL)
        end_file(s);
    if (err == KERF_EAGAIN)
        err = KERF_OK;
    kerf_fd_watch_set(s->watch, true, s->first != NULL);
    return err;
}

/* An edge has nothing to say here; what it says is dropped. */
static void
on_ready(void *ctx, bool readable, bool writable)
{
    kerf_legacy_session *s = ctx;
    kerf_detail why = {{0}};
    kerf_err err = KERF_OK;

    if (readable)
        err = kerf_legacy_drop(s->fd, &why);
    if (err == KERF_EAGAIN)
        err = KERF_OK;
    if (err == KERF_OK && writable)
        err = send_files(s, &why);
    if (err != KERF_OK)
        end_session(s, why.text[0] != '\0' ? why.text : kerf_err_text(err));
}

static kerf_err
push_role(kerf_legacy_session *s, kerf_role role)
{
    kerf_err err = KERF_OK;

    for (size_t i = 0; err == KERF_OK && i < s->cloud->tail_count; i++)
        err = push(s, s->cloud->tail[i], role);
    return err;
}

void
kerf_legacy_ship_accept(void *ctx, int fd)
{
    kerf_legacy_cloud *cloud = ctx;
    kerf_legacy_session *s = NULL;
    kerf_err err;

    if (cloud->session_count < cloud->opts.edges_max)
        s = calloc(1, sizeof *s);
    if (s == NULL ||
        kerf_fd_watch_new(&s->watch, cloud->loop, fd, on_ready, s) != KERF_OK) {
        free(s);
        (void)close(fd);
        return;
    }
    s->cloud = cloud;
    s->fd = fd;
    s->next = cloud->sessions;
    cloud->sessions = s;
    cloud->session_count++;
    (void)kerf_peer_text(s->peer, fd);
    if (cloud->events.edge != NULL)
        cloud->events.edge(cloud->events.ctx, s->peer, s->peer, true, NULL);
    err = push_role(s, KERF_ROLE_HEAD_GRAPH);
    if (err == KERF_OK)
        err = push_role(s, KERF_ROLE_HEAD_WEIGHTS);
    if (err == KERF_OK)
        kerf_fd_watch_set(s->watch, true, s->first != NULL);
    else
        end_session(s, kerf_err_text(err));
}

void
kerf_legacy_ship(kerf_legacy_cloud *cloud, kerf_legacy_tail *tail)
{
    kerf_legacy_session *next;

    for (kerf_legacy_session *s = cloud->sessions; s != NULL; s = next) {
        next = s->next;
        drop_older(s, tail->pair.manifest.name);
        if (push(s, tail, KERF_ROLE_HEAD_GRAPH) == KERF_OK &&
            push(s, tail, KERF_ROLE_HEAD_WEIGHTS) == KERF_OK)
            kerf_fd_watch_set(s->watch, true, true);
        else
            end_session(s, kerf_err_text(KERF_ENOMEM));
    }
}

void
kerf_legacy_ship_close(kerf_legacy_cloud *cloud)
{
    while (cloud->sessions != NULL) /* the end of one unlinks it: */
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it cannot see that */
        end_session(cloud->sessions, "the cloud ends");
}
