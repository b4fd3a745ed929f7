#include "cli/cloud_ui.h"

#include "base/log.h"
#include "cli/json_line.h"
#include "cli/service.h"
#include "cli/show.h"
#include "cli/top_draw.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Events come on threads that serve edges: none of them writes. */

static void
on_listening(void *ctx, const char *host, int port)
{
    kerf_cloud_ui *ui = ctx;

    kerf_service_ready();
    kerf_service_status("Listening on %s, port %d", host, port);
    if (ui->logs) {
        kerf_log(KERF_LOG_INFO, "cloud.listening", "host=%s port=%d models=%s",
                 host, port, KERF_Q(ui->models));
    } else if (ui->json) {
        kerf_printer_json(ui->out, KERF_LINE_RARE,
                          json_pack("{s:s, s:o, s:i}", "event", "listening",
                                    "host", kerf_json_text(host), "port",
                                    port));
    } else {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         strchr(host, ':') == NULL
                             ? "Listening on %s:%d, models from %s\n"
                             : "Listening on [%s]:%d, models from %s\n",
                         host, port, ui->models);
    }
}

static void
on_model(void *ctx, const char *name, const char *id, kerf_err err,
         const char *why)
{
    kerf_cloud_ui *ui = ctx;

    if (ui->logs) {
        kerf_log(err == KERF_OK ? KERF_LOG_INFO : KERF_LOG_ERROR,
                 err == KERF_OK ? "cloud.model" : "cloud.model_failed",
                 "model=%s bundle=%s why=%s", name, KERF_Q(id),
                 KERF_Q(why != NULL ? why : ""));
    } else if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_RARE,
            json_pack("{s:s, s:o, s:o, s:b, s:o}", "event", "model", "name",
                      kerf_json_text(name), "bundle", kerf_json_text(id), "ok",
                      err == KERF_OK, "why", kerf_json_text(why)));
    } else if (err == KERF_OK) {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         "Model %s is ready (bundle %.12s)\n", name, id);
    } else {
        kerf_printer_say(
            ui->out, KERF_LINE_RARE, "%sModel %s is not served: %s%s\n",
            kerf_term_red(&ui->term), name, why, kerf_term_plain(&ui->term));
    }
}

static void
on_signature(void *ctx, const char *name, const kerf_signature *sig,
             const char *why)
{
    kerf_cloud_ui *ui = ctx;

    if (ui->json) {
        kerf_printer_json(ui->out, KERF_LINE_RARE,
                          kerf_json_signature(name, sig, why));
        return;
    }
    if (sig != NULL) {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         "Model %s is signed: version %lld, until %.16sZ, key "
                         "%s\n",
                         name, (long long)sig->version, sig->expires, sig->key);
    }
    if (why[0] != '\0')
        kerf_printer_say(ui->out, KERF_LINE_RARE, "%sSignature of %s: %s%s\n",
                         kerf_term_red(&ui->term), name, why,
                         kerf_term_plain(&ui->term));
}

static void
on_edge(void *ctx, const char *edge, const char *peer, bool joined,
        const char *why)
{
    kerf_cloud_ui *ui = ctx;
    size_t edges;

    (void)pthread_mutex_lock(&ui->lock);
    ui->edges += joined ? 1 : (size_t)-1;
    edges = ui->edges;
    (void)pthread_mutex_unlock(&ui->lock);
    kerf_service_status(edges == 1 ? "%zu edge" : "%zu edges", edges);
    if (ui->logs) {
        kerf_log(KERF_LOG_INFO,
                 joined ? "cloud.edge_joined" : "cloud.edge_gone",
                 "edge=%s peer=%s why=%s", KERF_Q(edge), peer,
                 KERF_Q(why != NULL ? why : ""));
    } else if (ui->json) {
        kerf_printer_json(ui->out, KERF_LINE_RARE,
                          json_pack("{s:s, s:o, s:o, s:b, s:o}", "event",
                                    "edge", "edge", kerf_json_text(edge),
                                    "peer", kerf_json_text(peer), "joined",
                                    joined, "why", kerf_json_text(why)));
    } else if (joined) {
        kerf_printer_say(ui->out, KERF_LINE_RARE, "Edge %s connected from %s\n",
                         edge, peer);
    } else {
        kerf_printer_say(ui->out, KERF_LINE_RARE, "Edge %s is gone: %s\n", edge,
                         why);
    }
}

static void
on_shipped(void *ctx, const char *edge, const char *model, uint64_t bytes,
           uint64_t wire, kerf_err err, const char *why)
{
    kerf_cloud_ui *ui = ctx;
    char packed[48] = "";

    if (wire < bytes)
        (void)snprintf(packed, sizeof packed, " as %.2f MB",
                       (double)wire / 1e6);
    if (ui->logs) {
        kerf_log(err == KERF_OK ? KERF_LOG_INFO : KERF_LOG_ERROR,
                 err == KERF_OK ? "cloud.shipped" : "cloud.ship_failed",
                 "edge=%s model=%s bytes=%llu wire_bytes=%llu why=%s",
                 KERF_Q(edge), model, (unsigned long long)bytes,
                 (unsigned long long)wire, KERF_Q(why != NULL ? why : ""));
    } else if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_RARE,
            json_pack("{s:s, s:o, s:o, s:I, s:I, s:b, s:o}", "event", "shipped",
                      "edge", kerf_json_text(edge), "model",
                      kerf_json_text(model), "bytes", (json_int_t)bytes,
                      "wire_bytes", (json_int_t)wire, "ok", err == KERF_OK,
                      "why", kerf_json_text(why)));
    } else if (err == KERF_OK) {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         "Edge %s %s the head of %s (%.2f MB sent%s)\n", edge,
                         ui->legacy ? "was sent" : "runs", model,
                         (double)bytes / 1e6, packed);
    } else {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         "%sEdge %s cannot run the head of %s: %s%s\n",
                         kerf_term_red(&ui->term), edge, model, why,
                         kerf_term_plain(&ui->term));
    }
}

/* `[3]`: the best class of each row, as the reference prints it; or the shape.
 */
static void
print_best(FILE *out, const kerf_tensor *t)
{
    char text[KERF_SHAPE_TEXT];

    if (t->shape.rank == 2 && t->shape.dims[1] > 1)
        (void)fprintf(out, "%s", kerf_show_argmax(text, sizeof text, t));
    else
        (void)fprintf(out, " %s %s", kerf_dtype_name(t->dtype),
                      kerf_shape_text(text, &t->shape));
}

static void
print_answer(FILE *out, const kerf_cloud_answer *a, const kerf_tensor *output,
             bool with_name)
{
    if (with_name)
        (void)fprintf(out, "%s: ", a->edge);
    (void)fprintf(out, "Cloud cost %.4fs infer Tensor %llu\n",
                  (double)a->tail_ns / 1e9, (unsigned long long)a->id);
    for (size_t i = 0; i < a->count; i++) {
        if (with_name)
            (void)fprintf(out, "%s: ", a->edge);
        (void)fprintf(out, "Tensor %llu Result:", (unsigned long long)a->id);
        print_best(out, &output[i]);
        (void)fputc('\n', out);
    }
}

static void
on_answered(void *ctx, const kerf_cloud_answer *a, const kerf_tensor *output)
{
    kerf_cloud_ui *ui = ctx;
    char *text = NULL;
    size_t len = 0;
    bool with_name;
    FILE *out;

    if (ui->logs) {
        kerf_log(KERF_LOG_DEBUG, "cloud.answer",
                 "edge=%s model=%s id=%llu queue_us=%.1f tail_us=%.1f "
                 "bytes_in=%zu bytes_out=%zu",
                 KERF_Q(a->edge), a->model, (unsigned long long)a->id,
                 (double)a->queue_ns / 1e3, (double)a->tail_ns / 1e3,
                 a->bytes_in, a->bytes_out);
        return;
    }
    if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_MANY,
            json_pack("{s:s, s:o, s:o, s:I, s:f, s:f, s:I, s:I}", "event",
                      "answer", "edge", kerf_json_text(a->edge), "model",
                      kerf_json_text(a->model), "id", (json_int_t)a->id,
                      "queue_us", (double)a->queue_ns / 1e3, "tail_us",
                      (double)a->tail_ns / 1e3, "bytes_in",
                      (json_int_t)a->bytes_in, "bytes_out",
                      (json_int_t)a->bytes_out));
        return;
    }
    (void)pthread_mutex_lock(&ui->lock);
    with_name = ui->edges > 1;
    (void)pthread_mutex_unlock(&ui->lock);
    out = open_memstream(&text, &len);
    if (out == NULL)
        return;
    print_answer(out, a, output, with_name);
    if (fclose(out) == 0)
        kerf_printer_text(ui->out, KERF_LINE_MANY, text);
    free(text);
}

static void
on_refused(void *ctx, const char *edge, uint64_t id, kerf_err err,
           const char *why)
{
    kerf_cloud_ui *ui = ctx;

    if (ui->logs) {
        kerf_log(KERF_LOG_WARN, "cloud.refused",
                 "edge=%s id=%llu err=%s why=%s", KERF_Q(edge),
                 (unsigned long long)id, kerf_err_name(err), KERF_Q(why));
    } else if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_MANY,
            json_pack("{s:s, s:o, s:I, s:s, s:o}", "event", "refused", "edge",
                      kerf_json_text(edge), "id", (json_int_t)id, "err",
                      kerf_err_name(err), "why", kerf_json_text(why)));
    } else {
        kerf_printer_say(ui->out, KERF_LINE_MANY,
                         "%sTensor %llu of %s refused: %s%s\n",
                         kerf_term_red(&ui->term), (unsigned long long)id, edge,
                         why, kerf_term_plain(&ui->term));
    }
}

static void
print_log(void *ctx, kerf_log_level level, const char *line)
{
    (void)level;
    kerf_printer_say(ctx, KERF_LINE_MANY, "%s\n", line);
}

static void
write_log(void *ctx, kerf_log_level level, const char *line)
{
    (void)ctx;
    (void)level;
    (void)fprintf(stderr, "%s\n", line);
}

/* On one terminal log lines keep their places among the others; where stdout
 * stands still they must not wait for it elsewhere. */
kerf_err
kerf_cloud_ui_start(kerf_cloud_ui *ui)
{
    kerf_err err = kerf_printer_start(&ui->out, STDOUT_FILENO, ui->json);

    if (err == KERF_OK &&
        !(ui->term.is_tty && !ui->json && isatty(STDERR_FILENO) == 1))
        err = kerf_printer_start(&ui->err, STDERR_FILENO, false);
    if (err == KERF_OK)
        kerf_log_set_sink(print_log, ui->err != NULL ? ui->err : ui->out);
    return err;
}

static void
on_rollout(void *ctx, const kerf_rollout_view *v)
{
    kerf_cloud_ui *ui = ctx;
    bool halted = strcmp(v->state, "halted") == 0;
    char line[KERF_ROLLOUT_LINE];

    if (ui->json) {
        kerf_printer_json(
            ui->out, KERF_LINE_RARE,
            json_pack("{s:s, s:o, s:s, s:s, s:s, s:f, s:I, s:I, s:I, s:o}",
                      "event", "rollout", "model", kerf_json_text(v->model),
                      "old_bundle", v->old_bundle, "new_bundle", v->new_bundle,
                      "state", v->state, "percent", v->percent, "offered",
                      (json_int_t)v->offered, "well", (json_int_t)v->well,
                      "failed", (json_int_t)v->failed, "why",
                      kerf_json_text(v->why)));
    } else if (strcmp(v->state, "over") == 0) {
        kerf_printer_say(ui->out, KERF_LINE_RARE,
                         "Rollout of %s is over: bundle %s for all\n", v->model,
                         v->new_bundle);
    } else {
        kerf_top_rollout(line, sizeof line, v);
        kerf_printer_say(ui->out, KERF_LINE_RARE, "%sR%s%s\n",
                         halted ? kerf_term_red(&ui->term) : "", line + 1,
                         halted ? kerf_term_plain(&ui->term) : "");
    }
}

/* Returns status, or 1 when stdout could not be written; a reader that went
 * away is no error. */
int
kerf_cloud_ui_stop(kerf_cloud_ui *ui, int status)
{
    int code = kerf_printer_stop(ui->out);

    kerf_log_set_sink(write_log, NULL);
    (void)kerf_printer_stop(ui->err);
    return code != 0 && code != EPIPE ? 1 : status;
}

static void
on_reload(void *ctx)
{
    const kerf_cloud_ui *ui = ctx;

    kerf_cmd_reload(ui->command, ui->common);
}

static void
on_stopping(void *ctx)
{
    const kerf_cloud_ui *ui = ctx;

    kerf_service_stopping();
    if (ui->logs)
        kerf_log(KERF_LOG_INFO, "cloud.stopping", "edges=%zu", ui->edges);
}

void
kerf_cloud_ui_events(kerf_cloud_ui *ui, bool with_answers,
                     kerf_cloud_events *out)
{
    *out = (kerf_cloud_events){.ctx = ui,
                               .listening = on_listening,
                               .model = on_model,
                               .signature = on_signature,
                               .edge = on_edge,
                               .shipped = on_shipped,
                               .answered = with_answers ? on_answered : NULL,
                               .refused = on_refused,
                               .rollout = on_rollout,
                               .alive = kerf_service_alive,
                               .stopping = on_stopping};
    if (ui->common->config.path != NULL)
        out->reload = on_reload;
}
