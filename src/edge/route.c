#include "edge/route.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "edge/link_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEED 3 /* probes that go well, one after the other */
#define NEED_MOST 48
#define PAUSE_MOST 8            /* times that of a cloud that is well */
#define SETTLED_MS 60000        /* lost later than this: it was no flapping */
#define LONG_MS UINT64_C(10000) /* a session that counts without an answer */

static const kerf_conn_ops probe_ops;

static void
show_address(kerf_address *a)
{
    char safe[sizeof a->shown - 10];
    bool v6 = strchr(a->host, ':') != NULL;

    (void)kerf_text_safe(safe, sizeof safe, a->host);
    (void)snprintf(a->shown, sizeof a->shown, "%s%s%s:%d", v6 ? "[" : "", safe,
                   v6 ? "]" : "", a->port);
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Without blanks around it, as after the comma of "a, b". */
static const char *
trim(const char *text, size_t *len)
{
    for (; *len > 0 && is_blank(text[0]); text++)
        (*len)--;
    while (*len > 0 && is_blank(text[*len - 1]))
        (*len)--;
    return text;
}

static bool
has_blank(const char *from, const char *to)
{
    while (from < to && !is_blank(*from))
        from++;
    return from < to;
}

/* One word up to a ',' or the end. */
static kerf_err
parse_one(kerf_address *a, const char *text, size_t len, int port,
          kerf_detail *why)
{
    text = trim(text, &len);
    const char *colon = memchr(text, ':', len);
    const char *end = text + len;
    const char *from = text;
    const char *to = end;
    bool bracket = len > 0 && text[0] == '[';

    if (bracket) {
        const char *close = memchr(text, ']', len);

        from = text + 1;
        to = close != NULL ? close : text;
        colon = close != NULL && close + 1 < end ? close + 1 : NULL;
    } else if (colon != NULL &&
               memchr(colon + 1, ':', (size_t)(end - colon) - 1) == NULL) {
        to = colon;
    } else {
        colon = NULL; /* none, or an IPv6 address */
    }
    a->port = port;
    if (colon != NULL) {
        char *after = NULL;
        long n = *colon == ':' ? strtol(colon + 1, &after, 10) : 0;

        a->port = after == end && n > 0 && n < 65536 ? (int)n : 0;
    }
    if (to <= from || (size_t)(to - from) >= sizeof a->host || a->port == 0 ||
        has_blank(from, to)) {
        return kerf_fail(why, KERF_EINVAL,
                         "--cloud-host: \"%.*s\" is not HOST, HOST:PORT or "
                         "[ADDRESS]:PORT",
                         (int)(len > 200 ? 200 : len), text);
    }
    (void)snprintf(a->host, sizeof a->host, "%.*s", (int)(to - from), from);
    show_address(a);
    return KERF_OK;
}

kerf_err
kerf_route_parse(kerf_route *route, const char *hosts, int port,
                 kerf_detail *why)
{
    const char *at = hosts;

    route->count = 0;
    for (;;) {
        size_t len = strcspn(at, ",");
        size_t word = len;
        kerf_err err;

        (void)trim(at, &word);
        if (word == 0)
            return kerf_fail(why, KERF_EINVAL,
                             "--cloud-host \"%.200s\": a HOST is empty", hosts);

        if (route->count == KERF_ADDRESSES_MAX)
            return kerf_fail(why, KERF_EINVAL,
                             "--cloud-host: more than %d clouds",
                             KERF_ADDRESSES_MAX);
        err = parse_one(&route->at[route->count], at, len, port, why);
        if (err != KERF_OK)
            return err;
        route->count++;
        if (at[len] == '\0')
            return KERF_OK;
        at += len + 1;
    }
}

const kerf_address *
kerf_route_now(const kerf_edge *edge)
{
    return &edge->route.at[edge->route.now];
}

/* Probes. */

static void
end_probe(kerf_edge *edge)
{
    kerf_route *r = &edge->route;

    if (r->dial != NULL)
        kerf_dial_cancel(r->dial);
    if (r->conn != NULL)
        kerf_conn_close(r->conn);
    r->dial = NULL;
    r->conn = NULL;
    r->probing = false;
    kerf_timer_stop(r->timer);
}

static uint64_t
calm_pause_ms(const kerf_edge *edge)
{
    return kerf_beat_dead_ms(edge) / 2;
}

static void
pause_probes(kerf_edge *edge)
{
    kerf_route *r = &edge->route;
    uint64_t half_ms = r->pause_ms / 2;

    r->candidate = 0;
    kerf_timer_start(r->timer,
                     half_ms + kerf_rng_next(&edge->jitter) % (half_ms + 1), 0);
}

static void probe(kerf_edge *edge);

static void
on_ill(kerf_edge *edge, const char *why)
{
    kerf_route *r = &edge->route;

    kerf_log(KERF_LOG_DEBUG, "edge.probe", "cloud=%s why=%s",
             r->at[r->candidate].shown, KERF_Q(why));
    end_probe(edge);
    r->well = 0;
    if (++r->candidate < r->now) {
        probe(edge);
        return;
    }
    r->pause_ms = r->pause_ms * 2 > PAUSE_MOST * calm_pause_ms(edge)
                      ? PAUSE_MOST * calm_pause_ms(edge)
                      : r->pause_ms * 2;
    pause_probes(edge);
}

static void
on_well(kerf_edge *edge)
{
    kerf_route *r = &edge->route;

    end_probe(edge);
    r->pause_ms = calm_pause_ms(edge);
    if (++r->well < r->need) {
        size_t candidate = r->candidate;

        pause_probes(edge);
        r->candidate = candidate;
        return;
    }
    kerf_edge_tell_state(edge, true, "the cloud at %s is back: going there",
                         r->at[r->candidate].shown);
    kerf_link_part(edge, r->candidate);
}

static kerf_err
on_probe_frame(void *ctx, kerf_conn *conn, const kerf_frame_in *frame,
               kerf_detail *why)
{
    kerf_edge *edge = ctx;

    (void)conn;
    if (frame->header.type != KERF_FRAME_WELCOME)
        return kerf_fail(why, KERF_ECLOSED, "no WELCOME");
    kerf_loop_post(edge->loop, &edge->probed); /* not closed from here */
    return KERF_OK;
}

static void
on_probe_close(void *ctx, kerf_conn *conn, kerf_err err, const char *why)
{
    (void)conn;
    (void)err;
    on_ill(ctx, why);
}

static const kerf_conn_ops probe_ops = {.on_frame = on_probe_frame,
                                        .on_close = on_probe_close};

static void
on_probed(void *ctx)
{
    kerf_edge *edge = ctx;

    if (edge->route.conn != NULL)
        on_well(edge);
}

static void
on_probe_dialled(void *ctx, int fd, const char *why)
{
    kerf_edge *edge = ctx;
    kerf_route *r = &edge->route;

    r->dial = NULL;
    if (fd < 0) {
        on_ill(edge, why);
        return;
    }
    if (kerf_conn_open_tls(
            &r->conn, edge->loop, fd, kerf_tls_folder_now(edge->tls),
            r->at[r->candidate].host, &probe_ops, edge) != KERF_OK ||
        kerf_link_say_hello(edge, r->conn, KERF_ASKS_PROBE) != KERF_OK)
        on_ill(edge, "out of memory");
}

static void
probe(kerf_edge *edge)
{
    kerf_route *r = &edge->route;
    const kerf_address *a = &r->at[r->candidate];
    uint64_t most_ms = kerf_beat_dead_ms(edge);

    r->probing = true;
    kerf_timer_start(r->timer, most_ms, 0);
    if (kerf_dial_start(&r->dial, edge->loop, a->host, a->port, most_ms,
                        on_probe_dialled, edge) != KERF_OK)
        on_ill(edge, "cannot dial");
}

static void
on_timer(void *ctx)
{
    kerf_edge *edge = ctx;

    if (edge->route.probing)
        on_ill(edge, "no answer in time");
    else
        probe(edge);
}

/* Life. */

kerf_err
kerf_route_init(kerf_edge *edge)
{
    edge->route.need = NEED;
    edge->probed = (kerf_post){.fn = on_probed, .ctx = edge};
    return kerf_timer_new(&edge->route.timer, edge->loop, on_timer, edge);
}

void
kerf_route_stop(kerf_edge *edge)
{
    end_probe(edge);
}

void
kerf_route_recheck(kerf_edge *edge)
{
    kerf_detail why = {{0}};

    if (edge->route.conn != NULL &&
        kerf_conn_recheck(edge->route.conn, kerf_tls_folder_now(edge->tls),
                          &why) != KERF_OK)
        on_ill(edge, why.text);
}

void
kerf_route_close(kerf_edge *edge)
{
    if (edge->route.timer == NULL)
        return;
    end_probe(edge);
    kerf_timer_free(edge->route.timer);
    edge->route.timer = NULL;
}

void
kerf_route_up(kerf_edge *edge)
{
    kerf_route *r = &edge->route;

    r->at[r->now].said_why[0] = '\0';
    r->up_ns = kerf_now_ns();
    r->well = 0;
    r->pause_ms = calm_pause_ms(edge);
    if (r->now > 0)
        pause_probes(edge);
}

/* A cloud that we went back to is gone again: the next time it has to be well
 * for longer. */
static void
judge_return(kerf_route *r, bool was_up, uint64_t up_ms)
{
    if (!r->returned)
        return;
    if (was_up && up_ms > SETTLED_MS)
        r->need = NEED;
    else
        r->need = r->need * 2 > NEED_MOST ? NEED_MOST : r->need * 2;
    r->returned = false;
}

bool
kerf_route_lost(kerf_edge *edge, bool was_up, bool fruitful)
{
    kerf_route *r = &edge->route;
    uint64_t up_ms = was_up ? (kerf_now_ns() - r->up_ns) / 1000000u : 0;

    end_probe(edge);
    judge_return(r, was_up, up_ms);
    if (fruitful || up_ms > LONG_MS)
        r->tried = 0; /* else two that break at once would take turns */
    r->tried |= 1u << r->now;
    for (size_t i = 0; i < r->count; i++) {
        if ((r->tried >> i & 1) == 0) {
            r->now = i;
            return true;
        }
    }
    r->tried = 0;
    r->now = 0;
    return false;
}

void
kerf_route_go(kerf_edge *edge, size_t to)
{
    kerf_route *r = &edge->route;

    end_probe(edge);
    r->now = to;
    r->tried = 0;
    r->returned = true;
}
