#include "cli/top_draw.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

#define NAME_LEAST 17 /* columns */
#define NAME_MOST 40
#define CELL 64

struct column {
    const char *head;
    int width;
    bool right;
    void (*write)(char out[CELL], const kerf_edge_view *v);
};

static void
write_bundle(char out[CELL], const kerf_edge_view *v)
{
    if (v->model[0] != '\0')
        (void)snprintf(out, CELL, "%.11s %.8s", v->model, v->bundle);
}

/* What it was given, when it does not run it (yet). */
static void
write_update(char out[CELL], const kerf_edge_view *v)
{
    if (v->update[0] != '\0' && strcmp(v->update, "running") != 0)
        (void)snprintf(out, CELL, "%s %.8s", v->update, v->update_bundle);
    else
        (void)snprintf(out, CELL, "%s", v->update);
}

static void
write_state(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%s", v->state);
}

static void
write_rate(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%.1f", v->rate_hz);
}

static void
write_p50(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%.2f", v->p50_us / 1e3);
}

static void
write_p99(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%.2f", v->p99_us / 1e3);
}

static void
write_queue(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%zu", v->queued);
}

static void
write_batch(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%.1f", v->batch_mean);
}

static void
write_busy(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%llu", (unsigned long long)v->busy);
}

static void
write_late(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%llu", (unsigned long long)v->late);
}

static void
write_failed(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%llu", (unsigned long long)v->failed);
}

static void
write_in(char out[CELL], const kerf_edge_view *v)
{
    (void)kerf_text_bytes(out, CELL, v->bytes_in);
}

static void
write_out(char out[CELL], const kerf_edge_view *v)
{
    (void)kerf_text_bytes(out, CELL, v->bytes_out);
}

static void
write_conns(char out[CELL], const kerf_edge_view *v)
{
    (void)snprintf(out, CELL, "%zu", v->sessions);
}

/* Behind the name; as many as fit, the first ones first. */
static const struct column columns[] = {
    {"bundle", 20, false, write_bundle}, {"state", 7, false, write_state},
    {"update", 18, false, write_update}, {"req/s", 8, true, write_rate},
    {"p50 ms", 8, true, write_p50},      {"p99 ms", 8, true, write_p99},
    {"queue", 5, true, write_queue},     {"batch", 5, true, write_batch},
    {"busy", 7, true, write_busy},       {"late", 6, true, write_late},
    {"failed", 6, true, write_failed},   {"in", 10, true, write_in},
    {"out", 10, true, write_out},        {"conns", 5, true, write_conns},
};
#define COLUMNS (sizeof columns / sizeof *columns)

struct layout {
    int name;
    size_t count;
};

static struct layout
lay_out(int width)
{
    int used = NAME_LEAST;
    struct layout l = {.count = 0};

    while (l.count < COLUMNS && used + 1 + columns[l.count].width < width)
        used += 1 + columns[l.count++].width;
    l.name = NAME_LEAST + (width - 1 - used);
    l.name = l.name > NAME_MOST    ? NAME_MOST
             : l.name < NAME_LEAST ? NAME_LEAST
                                   : l.name;
    return l;
}

static void
end_line(const kerf_term *term)
{
    (void)fputs(term->is_tty ? "\033[K\n" : "\n", term->out);
}

static void
draw_sum(const kerf_term *term, const kerf_cloud_view *v)
{
    char text[512];

    (void)snprintf(
        text, sizeof text,
        "%zu edge%s, %.1f req/s, %zu waiting (%.1f ms), answered %llu, busy "
        "%llu, late %llu, failed %llu%s",
        v->edges, v->edges == 1 ? "" : "s", v->rate_hz, v->queued, v->drain_ms,
        (unsigned long long)v->answered, (unsigned long long)v->busy,
        (unsigned long long)v->late, (unsigned long long)v->failed,
        v->draining ? ", stopping" : "");
    (void)fputs(kerf_term_bold(term), term->out);
    kerf_term_cell(term, text, term->width - 1, false);
    (void)fputs(kerf_term_plain(term), term->out);
    end_line(term);
}

char *
kerf_top_rollout(char *out, size_t cap, const kerf_rollout_view *v)
{
    bool runs = strcmp(v->state, "running") == 0;
    char state[32];
    char blocked[320] = "";

    (void)snprintf(state, sizeof state, "%g %%", v->percent);
    if (v->blocked > 0)
        (void)snprintf(blocked, sizeof blocked, " (%zu blocked, last %s)",
                       v->blocked, v->blocked_why);
    (void)snprintf(out, cap,
                   "rollout of %s, %.8s -> %.8s: %s, %zu well, %zu not "
                   "yet%s, %zu failed%s%s",
                   v->model, v->old_bundle, v->new_bundle,
                   runs ? state : v->state, v->well, v->offered, blocked,
                   v->failed, v->why[0] != '\0' ? ": " : "", v->why);
    return out;
}

static void
draw_rollout(const kerf_term *term, const kerf_rollout_view *v)
{
    char text[KERF_ROLLOUT_LINE];
    bool runs = strcmp(v->state, "running") == 0;

    (void)fputs(runs ? "" : kerf_term_red(term), term->out);
    kerf_term_cell(term, kerf_top_rollout(text, sizeof text, v),
                   term->width - 1, false);
    (void)fputs(runs ? "" : kerf_term_plain(term), term->out);
    end_line(term);
}

static void
draw_head(const kerf_term *term, const struct layout *l)
{
    (void)fputs(kerf_term_dim(term), term->out);
    kerf_term_cell(term, "edge", l->name, false);
    for (size_t i = 0; i < l->count; i++) {
        (void)fputc(' ', term->out);
        kerf_term_cell(term, columns[i].head, columns[i].width,
                       columns[i].right);
    }
    (void)fputs(kerf_term_plain(term), term->out);
    end_line(term);
}

static void
draw_edge(const kerf_term *term, const struct layout *l,
          const kerf_edge_view *v)
{
    kerf_term_cell(term, v->name, l->name, false);
    for (size_t i = 0; i < l->count; i++) {
        char text[CELL] = "";

        columns[i].write(text, v);
        (void)fputc(' ', term->out);
        kerf_term_cell(term, text, columns[i].width, columns[i].right);
    }
    end_line(term);
}

size_t
kerf_top_draw(const kerf_term *term, const kerf_cloud_view *v, size_t lines)
{
    struct layout l = lay_out(term->width);
    size_t rollouts = v->rollouts < lines - 3 ? v->rollouts : lines - 3;
    size_t room = lines - 2 - rollouts;
    size_t shown = v->shown < room && v->edges <= room ? v->shown
                   : v->shown < room - 1               ? v->shown
                                                       : room - 1;

    draw_sum(term, v);
    for (size_t i = 0; i < rollouts; i++)
        draw_rollout(term, &v->rollout[i]);
    draw_head(term, &l);
    for (size_t i = 0; i < shown; i++)
        draw_edge(term, &l, &v->edge[i]);
    if (shown == v->edges)
        return 2 + rollouts + shown;
    (void)fprintf(term->out, "and %zu more", v->edges - shown);
    end_line(term);
    return 3 + rollouts + shown;
}
