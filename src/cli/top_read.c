#include "cli/top_read.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double
real_of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static uint64_t
count_of(const json_t *o, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(o, key));

    return v < 0 ? 0 : (uint64_t)v;
}

static void
text_of(char *out, size_t cap, const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));

    (void)kerf_text_safe(out, cap, text == NULL ? "" : text);
}

static void
read_edge(kerf_edge_view *v, const json_t *o)
{
    text_of(v->name, sizeof v->name, o, "name");
    text_of(v->peer, sizeof v->peer, o, "peer");
    text_of(v->model, sizeof v->model, o, "model");
    text_of(v->bundle, sizeof v->bundle, o, "bundle");
    text_of(v->state, sizeof v->state, o, "state");
    v->version = (int64_t)count_of(o, "version");
    text_of(v->update, sizeof v->update, o, "update");
    text_of(v->update_bundle, sizeof v->update_bundle, o, "update_bundle");
    v->sessions = count_of(o, "sessions");
    v->queued = count_of(o, "queued");
    v->held = count_of(o, "held");
    v->seconds = real_of(o, "seconds");
    v->rate_hz = real_of(o, "rate_hz");
    v->p50_us = real_of(o, "p50_us");
    v->p99_us = real_of(o, "p99_us");
    v->answered = count_of(o, "answered");
    v->late = count_of(o, "late");
    v->failed = count_of(o, "failed");
    v->busy = count_of(o, "busy");
    v->bytes_in = count_of(o, "bytes_in");
    v->bytes_out = count_of(o, "bytes_out");
    v->batch_mean = real_of(o, "batch_mean");
}

static void
read_rollout(kerf_rollout_view *v, const json_t *o)
{
    text_of(v->model, sizeof v->model, o, "model");
    text_of(v->old_bundle, sizeof v->old_bundle, o, "old_bundle");
    text_of(v->new_bundle, sizeof v->new_bundle, o, "new_bundle");
    text_of(v->state, sizeof v->state, o, "state");
    text_of(v->why, sizeof v->why, o, "why");
    v->percent = real_of(o, "percent");
    text_of(v->blocked_why, sizeof v->blocked_why, o, "blocked_why");
    v->blocked = count_of(o, "blocked");
    v->offered = count_of(o, "offered");
    v->well = count_of(o, "well");
    v->failed = count_of(o, "failed");
}

kerf_err
kerf_top_read_rollouts(kerf_cloud_view *v, const json_t *o)
{
    const json_t *list = json_object_get(o, "rollout");

    v->rollouts = json_array_size(list);
    v->rollout = calloc(v->rollouts + 1, sizeof *v->rollout);
    if (v->rollout == NULL)
        return KERF_ENOMEM;
    for (size_t i = 0; i < v->rollouts; i++)
        read_rollout(&v->rollout[i], json_array_get(list, i));
    return KERF_OK;
}

kerf_err
kerf_top_read(kerf_cloud_view *out, const json_t *o, kerf_detail *why)
{
    const json_t *edges = json_object_get(o, "edge");
    const char *event = json_string_value(json_object_get(o, "event"));
    kerf_cloud_view v = {0};

    if (event == NULL || strcmp(event, "top") != 0 || !json_is_array(edges)) {
        char text[256];

        text_of(text, sizeof text, o, "error");
        return kerf_fail(why, KERF_EPROTO, "the cloud says: %s",
                         text[0] != '\0' ? text : "nothing that is known here");
    }
    v.shown = json_array_size(edges);
    v.edge = calloc(v.shown + 1, sizeof *v.edge);
    if (v.edge == NULL || kerf_top_read_rollouts(&v, o) != KERF_OK) {
        kerf_cloud_view_free(&v);
        return KERF_ENOMEM;
    }
    for (size_t i = 0; i < v.shown; i++)
        read_edge(&v.edge[i], json_array_get(edges, i));
    v.seconds = real_of(o, "seconds");
    v.edges = count_of(o, "edges");
    if (v.edges < v.shown)
        v.edges = v.shown;
    v.sessions = count_of(o, "sessions");
    v.workers = count_of(o, "workers");
    v.queued = count_of(o, "queued");
    v.drain_ms = real_of(o, "drain_ms");
    v.draining = json_is_true(json_object_get(o, "draining"));
    v.rate_hz = real_of(o, "rate_hz");
    v.answered = count_of(o, "answered");
    v.late = count_of(o, "late");
    v.failed = count_of(o, "failed");
    v.busy = count_of(o, "busy");
    *out = v;
    return KERF_OK;
}
