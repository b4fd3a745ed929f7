#include "cloud/control.h"

#include "base/clock.h"
#include "base/thread.h"
#include "net/local.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_NS 10000000000u /* for the rest of a line, or to take ours */
#define LOOK_MS 1000             /* for those who have none */
#define PAUSE_NS 500000000u      /* when a client cannot be taken */

struct client {
    int fd; /* -1: free */
    char line[KERF_CONTROL_LINE];
    size_t got;
    char *out; /* being sent; nothing is read until it is gone */
    size_t out_len, out_at;
    bool last;         /* close when it is sent */
    uint64_t since_ns; /* of a line that began, or of out; 0: idle */
};

struct kerf_control {
    kerf_cloud *cloud;
    char path[KERF_LOCAL_PATH];
    int fd, stop;
    uint64_t paused_ns; /* until then nobody is let in: no descriptors */
    pthread_t thread;
    struct client client[KERF_CONTROL_CLIENTS];
};

/* Answers. */

static void
set_int(json_t *o, const char *key, uint64_t v)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void
set_real(json_t *o, const char *key, double v)
{
    (void)json_object_set_new(o, key, json_real(v));
}

static json_t *
edge_json(const kerf_edge_view *v)
{
    json_t *o = json_object();
    json_t *sizes = json_object();

    (void)json_object_set_new(o, "name", json_string(v->name));
    (void)json_object_set_new(o, "peer", json_string(v->peer));
    (void)json_object_set_new(o, "model", json_string(v->model));
    (void)json_object_set_new(o, "bundle", json_string(v->bundle));
    (void)json_object_set_new(o, "version", json_integer(v->version));
    (void)json_object_set_new(o, "state", json_string(v->state));
    (void)json_object_set_new(o, "update", json_string(v->update));
    (void)json_object_set_new(o, "update_bundle",
                              json_string(v->update_bundle));
    set_int(o, "sessions", v->sessions);
    set_real(o, "seconds", v->seconds);
    set_real(o, "rate_hz", v->rate_hz);
    set_real(o, "p50_us", v->p50_us);
    set_real(o, "p99_us", v->p99_us);
    set_int(o, "queued", v->queued);
    set_int(o, "held", v->held);
    set_int(o, "answered", v->answered);
    set_int(o, "late", v->late);
    set_int(o, "failed", v->failed);
    set_int(o, "busy", v->busy);
    set_int(o, "bytes_in", v->bytes_in);
    set_int(o, "bytes_out", v->bytes_out);
    set_real(o, "batch_mean", v->batch_mean);
    for (size_t i = 0; i < sizeof v->batched / sizeof *v->batched; i++) {
        char key[8];

        (void)snprintf(key, sizeof key, "%zu", i + 1);
        set_int(sizes, key, v->batched[i]);
    }
    (void)json_object_set_new(o, "batched", sizes);
    return o;
}

static json_t *
rollouts_json(const kerf_rollout_view *v, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++, v++) {
        json_t *o = json_object();

        (void)json_object_set_new(o, "model", json_string(v->model));
        (void)json_object_set_new(o, "old_bundle", json_string(v->old_bundle));
        (void)json_object_set_new(o, "new_bundle", json_string(v->new_bundle));
        (void)json_object_set_new(o, "state", json_string(v->state));
        set_real(o, "percent", v->percent);
        set_int(o, "offered", v->offered);
        set_int(o, "well", v->well);
        set_int(o, "failed", v->failed);
        set_int(o, "blocked", v->blocked);
        (void)json_object_set_new(o, "why", json_string(v->why));
        (void)json_object_set_new(o, "blocked_why",
                                  json_string(v->blocked_why));
        (void)json_array_append_new(list, o);
    }
    return list;
}

static json_t *
view_json(const kerf_cloud_view *v)
{
    json_t *o = json_object();
    json_t *edges = json_array();

    (void)json_object_set_new(o, "event", json_string("top"));
    set_real(o, "seconds", v->seconds);
    set_int(o, "edges", v->edges);
    set_int(o, "sessions", v->sessions);
    set_int(o, "workers", v->workers);
    set_int(o, "queued", v->queued);
    set_real(o, "drain_ms", v->drain_ms);
    (void)json_object_set_new(o, "draining", json_boolean(v->draining));
    set_real(o, "rate_hz", v->rate_hz);
    set_int(o, "answered", v->answered);
    set_int(o, "late", v->late);
    set_int(o, "failed", v->failed);
    set_int(o, "busy", v->busy);
    for (size_t i = 0; i < v->shown; i++)
        (void)json_array_append_new(edges, edge_json(&v->edge[i]));
    (void)json_object_set_new(o, "edge", edges);
    (void)json_object_set_new(o, "rollout",
                              rollouts_json(v->rollout, v->rollouts));
    return o;
}

static json_t *
error_json(const char *text)
{
    return json_pack("{s:s}", "error", text);
}

static json_t *
open_rollouts_json(kerf_control *c, const char *model)
{
    kerf_rollout_view *views = NULL;
    kerf_detail why = {{0}};
    size_t count = 0;
    json_t *o;

    if (kerf_cloud_rollouts(c->cloud, model, &views, &count, &why) != KERF_OK)
        return error_json(why.text);
    o = json_pack("{s:s, s:o}", "event", "rollouts", "rollout",
                  rollouts_json(views, count));
    free(views);
    return o;
}

/* Does what is asked, and tells what is open then. */
static json_t *
rollout_json(kerf_control *c, const json_t *asked, const char *what)
{
    static const char *const names[] = {"set", "halt", "resume", "back",
                                        "finish"};
    const json_t *percent = json_object_get(asked, "percent");
    const json_t *model = json_object_get(asked, "model");
    double p = json_number_value(percent);
    kerf_detail why = {{0}};
    size_t i = 0;

    if (model != NULL && !json_is_string(model))
        return error_json("\"model\" is a name");
    if (strcmp(what, "status") == 0)
        return open_rollouts_json(c, json_string_value(model));
    while (i < sizeof names / sizeof *names && strcmp(what, names[i]) != 0)
        i++;
    if (i == sizeof names / sizeof *names)
        return error_json("\"rollout\" is status, set, halt, resume, back or "
                          "finish");
    if (i == KERF_ROLLOUT_SET &&
        (!json_is_number(percent) || !(p >= 0 && p <= 100)))
        return error_json("\"percent\" is a number from 0 to 100");
    if (kerf_cloud_rollout(c->cloud, json_string_value(model),
                           (kerf_rollout_command)i, p, &why) != KERF_OK)
        return error_json(why.text);
    return open_rollouts_json(c, NULL);
}

static json_t *
answer_json(kerf_control *c, const char *line, size_t len)
{
    json_t *asked = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
    json_t *most = json_object_get(asked, "most");
    const char *get = json_string_value(json_object_get(asked, "get"));
    const char *rollout = json_string_value(json_object_get(asked, "rollout"));
    kerf_cloud_view view = {0};
    json_t *o;

    if (rollout != NULL) {
        o = rollout_json(c, asked, rollout);
    } else if (get == NULL || strcmp(get, "edges") != 0) {
        o = error_json("expected {\"get\": \"edges\"}");
    } else if (most != NULL &&
               (!json_is_integer(most) || json_integer_value(most) < 0 ||
                json_integer_value(most) > KERF_CONTROL_EDGES)) {
        o = error_json("\"most\" is a number from 0 to 100000");
    } else if (kerf_cloud_look(c->cloud,
                               most == NULL ? KERF_CONTROL_EDGES
                                            : (size_t)json_integer_value(most),
                               &view) != KERF_OK) {
        o = error_json("out of memory");
    } else {
        o = view_json(&view);
        kerf_cloud_view_free(&view);
    }
    json_decref(asked);
    return o;
}

/* Clients. */

static void
drop(struct client *k)
{
    if (k->fd >= 0)
        (void)close(k->fd);
    free(k->out);
    *k = (struct client){.fd = -1};
}

static void
send_some(struct client *k)
{
    while (k->out_at < k->out_len) {
        ssize_t n = send(k->fd, k->out + k->out_at, k->out_len - k->out_at,
                         MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            drop(k);
            return;
        }
        k->out_at += (size_t)n;
        k->since_ns = kerf_now_ns();
    }
    free(k->out);
    k->out = NULL;
    k->since_ns = k->got > 0 ? kerf_now_ns() : 0;
    if (k->last)
        drop(k);
}

/* Takes o. */
static void
say(struct client *k, json_t *o)
{
    char *text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT);
    size_t len = text == NULL ? 0 : strlen(text);

    json_decref(o);
    if (text == NULL) {
        drop(k);
        return;
    }
    text[len] = '\n'; /* in place of the end: nobody looks for that */
    k->out = text;
    k->out_len = len + 1;
    k->out_at = 0;
    k->since_ns = kerf_now_ns();
    send_some(k);
}

/* The first whole line, while nothing is being sent. */
static void
serve_lines(kerf_control *c, struct client *k)
{
    while (k->fd >= 0 && k->out == NULL) {
        char *end = memchr(k->line, '\n', k->got);
        json_t *o;

        if (end == NULL && k->got == sizeof k->line) {
            k->last = true;
            k->got = 0;
            say(k, error_json("the line is too long"));
            return;
        }
        if (end == NULL)
            return;
        o = answer_json(c, k->line, (size_t)(end - k->line));
        k->got -= (size_t)(end + 1 - k->line);
        memmove(k->line, end + 1, k->got);
        say(k, o);
    }
}

static void
read_some(kerf_control *c, struct client *k)
{
    ssize_t n =
        recv(k->fd, k->line + k->got, sizeof k->line - k->got, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(k);
        return;
    }
    if (k->got == 0)
        k->since_ns = kerf_now_ns();
    k->got += (size_t)n;
    serve_lines(c, k);
    if (k->fd >= 0 && k->out == NULL && k->got == 0)
        k->since_ns = 0;
}

/* One too many, or another user's, is closed at once. */
static void
take_client(kerf_control *c)
{
    int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0) {
        c->paused_ns = kerf_now_ns() + PAUSE_NS;
        return;
    }
    for (size_t i = 0; kerf_local_is_trusted(fd) && i < KERF_CONTROL_CLIENTS;
         i++) {
        if (c->client[i].fd < 0) {
            c->client[i].fd = fd;
            return;
        }
    }
    (void)close(fd);
}

static void
drop_stalled(kerf_control *c)
{
    uint64_t now_ns = kerf_now_ns();

    for (size_t i = 0; i < KERF_CONTROL_CLIENTS; i++) {
        struct client *k = &c->client[i];

        if (k->fd >= 0 && k->since_ns != 0 &&
            now_ns > k->since_ns + PATIENCE_NS)
            drop(k);
    }
}

/* Nothing wakes while nobody has begun anything. */
static int
wait_ms(const kerf_control *c)
{
    bool any = kerf_now_ns() < c->paused_ns;

    for (size_t i = 0; i < KERF_CONTROL_CLIENTS; i++)
        any |= c->client[i].fd >= 0 && c->client[i].since_ns != 0;
    return any ? LOOK_MS : -1;
}

static void *
run_control(void *ctx)
{
    kerf_control *c = ctx;
    struct pollfd polls[2 + KERF_CONTROL_CLIENTS] = {
        {.fd = c->stop, .events = POLLIN}, {.fd = c->fd, .events = POLLIN}};

    kerf_thread_begin("kerf-control");
    while (polls[0].revents == 0) {
        polls[1].fd = kerf_now_ns() < c->paused_ns ? -1 : c->fd;
        for (size_t i = 0; i < KERF_CONTROL_CLIENTS; i++) {
            polls[2 + i] = (struct pollfd){
                .fd = c->client[i].fd,
                .events = c->client[i].out != NULL ? POLLOUT : POLLIN};
        }
        if (poll(polls, 2 + KERF_CONTROL_CLIENTS, wait_ms(c)) < 0)
            continue;
        for (size_t i = 0; i < KERF_CONTROL_CLIENTS; i++) {
            struct client *k = &c->client[i];

            if (polls[2 + i].revents == 0)
                continue;
            if (k->out == NULL)
                read_some(c, k);
            else
                send_some(k);
            serve_lines(c, k);
        }
        if (polls[1].revents != 0)
            take_client(c);
        drop_stalled(c);
    }
    return NULL;
}

kerf_err
kerf_control_start(kerf_control **out, kerf_cloud *cloud, const char *path,
                   kerf_detail *why)
{
    kerf_control *c = calloc(1, sizeof *c);
    kerf_err err;

    if (c == NULL)
        return KERF_ENOMEM;
    c->cloud = cloud;
    c->fd = -1;
    for (size_t i = 0; i < KERF_CONTROL_CLIENTS; i++)
        c->client[i].fd = -1;
    c->stop = eventfd(0, EFD_CLOEXEC);
    if (c->stop < 0)
        err = kerf_fail(why, KERF_EIO, "no event: %s", strerror(errno));
    else
        err = kerf_local_listen(&c->fd, path, why);
    (void)snprintf(c->path, sizeof c->path, "%s", path);
    if (err == KERF_OK &&
        pthread_create(&c->thread, NULL, run_control, c) != 0) {
        (void)unlink(path);
        err = kerf_fail(why, KERF_ENOMEM, "cannot start a thread");
    }
    if (err != KERF_OK) {
        if (c->stop >= 0)
            (void)close(c->stop);
        if (c->fd >= 0)
            (void)close(c->fd);
        free(c);
        return err;
    }
    *out = c;
    return KERF_OK;
}

void
kerf_control_stop(kerf_control *c)
{
    const uint64_t one = 1;

    if (c == NULL)
        return;
    (void)unlink(c->path);
    (void)!write(c->stop, &one, sizeof one);
    (void)pthread_join(c->thread, NULL);
    for (size_t i = 0; i < KERF_CONTROL_CLIENTS; i++)
        drop(&c->client[i]);
    (void)close(c->fd);
    (void)close(c->stop);
    free(c);
}
