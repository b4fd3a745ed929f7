#include "cli/edge_ui.h"

#include "base/log.h"
#include "cli/json_line.h"
#include "cli/out.h"
#include "cli/save.h"
#include "cli/service.h"

#include <stdio.h>

/* Answers that nobody can have are not asked for. */
static void
stop_if_mute(kerf_edge_ui *ui)
{
    if (kerf_out_error() != 0 && ui->edge != NULL)
        kerf_edge_stop(ui->edge);
}

static void
on_state(void *ctx, bool connected, const char *text)
{
    kerf_edge_ui *ui = ctx;

    kerf_service_status("%s", text);
    if (ui->show.mode == KERF_SHOW_JSON) {
        kerf_json_line(json_pack("{s:s, s:b, s:o}", "event", "state",
                                 "connected", connected, "text",
                                 kerf_json_text(text)));
    } else {
        (void)printf("%s%c%s\n", kerf_term_dim(&ui->show.term),
                     text[0] >= 'a' ? text[0] - 'a' + 'A' : text[0], text + 1);
    }
    (void)fputs(
        ui->show.mode == KERF_SHOW_JSON ? "" : kerf_term_plain(&ui->show.term),
        stdout);
    kerf_out_flush();
    stop_if_mute(ui);
}

static void
on_progress(void *ctx, const char *file, uint64_t got, uint64_t size,
            uint64_t wire)
{
    kerf_edge_ui *ui = ctx;
    char label[320], plain[32], packed[32];

    if (ui->show.mode == KERF_SHOW_JSON)
        return;
    (void)snprintf(label, sizeof label, "%s", file);
    if (wire < got && got < size)
        (void)snprintf(label, sizeof label, "%s, %s as %s", file,
                       kerf_text_bytes(plain, sizeof plain, got),
                       kerf_text_bytes(packed, sizeof packed, wire));
    kerf_term_progress(&ui->show.term, label, got, size);
}

static void
on_received(void *ctx, const kerf_edge_file *file)
{
    kerf_edge_ui *ui = ctx;
    char plain[32], packed[32];
    double seconds = file->ns == 0 ? 1e-9 : (double)file->ns / 1e9;
    uint64_t had = file->reused + file->resumed;
    uint64_t came = file->size > had ? file->size - had : 0;

    if (ui->show.mode == KERF_SHOW_JSON) {
        kerf_json_line(json_pack(
            "{s:s, s:o, s:I, s:I, s:I, s:I, s:f}", "event", "received", "file",
            kerf_json_text(file->name), "bytes", (json_int_t)file->size,
            "wire_bytes", (json_int_t)file->wire, "reused_bytes",
            (json_int_t)file->reused, "resumed_bytes",
            (json_int_t)file->resumed, "us", (double)file->ns / 1e3));
        return;
    }
    (void)printf(
        "%s(%lluMB) received correctly! Time: %.2fs Speed: %.2f MB/s\n",
        file->name, (unsigned long long)(file->size / 1000000), seconds,
        (double)came / 1e6 / seconds);
    if (file->reused > 0) {
        (void)printf("%s: %s of %s were in other files of the store\n",
                     file->name,
                     kerf_text_bytes(plain, sizeof plain, file->reused),
                     kerf_text_bytes(packed, sizeof packed, file->size));
    }
    if (file->resumed > 0)
        (void)printf("%s: %s of %s had come before\n", file->name,
                     kerf_text_bytes(plain, sizeof plain, file->resumed),
                     kerf_text_bytes(packed, sizeof packed, file->size));
    if (file->wire < came)
        (void)printf("%s came packed: %s as %s\n", file->name,
                     kerf_text_bytes(plain, sizeof plain, came),
                     kerf_text_bytes(packed, sizeof packed, file->wire));
    kerf_out_flush();
}

static void
on_model(void *ctx, const char *name, const char *id, kerf_err err,
         const char *why)
{
    kerf_edge_ui *ui = ctx;

    if (ui->show.mode == KERF_SHOW_JSON) {
        kerf_json_line(json_pack("{s:s, s:o, s:o, s:b, s:o}", "event", "model",
                                 "name", kerf_json_text(name), "bundle",
                                 kerf_json_text(id), "ok", err == KERF_OK,
                                 "why", kerf_json_text(why)));
        return;
    }
    if (err == KERF_OK) {
        (void)printf("Head of %s is ready: loaded, tested, warm (bundle "
                     "%.12s)\n",
                     name, id);
    } else {
        (void)printf("%sHead of %s cannot be used: %s%s\n",
                     kerf_term_red(&ui->show.term), name, why,
                     kerf_term_plain(&ui->show.term));
    }
    kerf_out_flush();
}

static void
on_signature(void *ctx, const char *name, const kerf_signature *sig)
{
    kerf_edge_ui *ui = ctx;

    if (ui->show.mode == KERF_SHOW_JSON) {
        kerf_json_line(kerf_json_signature(name, sig, ""));
        return;
    }
    (void)printf("Signature of %s: version %lld, until %.16sZ, key %s%s\n",
                 name, (long long)sig->version, sig->expires, sig->key,
                 sig->checked ? ", trusted" : ", not checked (see --trust)");
    kerf_out_flush();
}

/* The reference's two lines, before the answer's own. */
static void
print_reference_lines(const kerf_edge_result *r)
{
    unsigned long long n = (unsigned long long)r->index + 1;
    char shape[KERF_SHAPE_TEXT];

    (void)printf("Edge cost %.4fs infer Tensor %llu\n",
                 (double)r->stages.ns[KERF_STAGE_HEAD] / 1e9, n);
    for (size_t i = 0; i < r->sent_count; i++) {
        size_t bytes = 0;

        (void)!kerf_shape_bytes(&r->sent[i].shape, r->sent[i].dtype, &bytes);
        (void)printf("Tensor %llu (%.2f KB) send finish. Shape: %s\n", n,
                     (double)bytes / 1024.0,
                     kerf_shape_text(shape, &r->sent[i].shape));
    }
    kerf_out_flush();
}

/* On the reference's wire a tensor gets no answer: that it is sent is all. */
static void
print_sent(const kerf_edge_result *r)
{
    char shape[KERF_SHAPE_TEXT];

    kerf_json_line(json_pack("{s:s, s:I, s:s, s:s, s:I, s:f}", "event", "sent",
                             "index", (json_int_t)r->index, "dtype",
                             kerf_dtype_name(r->sent[0].dtype), "shape",
                             kerf_shape_text(shape, &r->sent[0].shape), "bytes",
                             (json_int_t)r->bytes_sent, "head_us",
                             (double)r->stages.ns[KERF_STAGE_HEAD] / 1e3));
}

static const char *const via_name[] = {[KERF_VIA_CLOUD] = "cloud",
                                       [KERF_VIA_LOCAL] = "local",
                                       [KERF_VIA_QUEUED] = "queued"};

static void
on_answer(void *ctx, const kerf_edge_result *r)
{
    kerf_edge_ui *ui = ctx;
    kerf_answer a = {.index = r->index,
                     .input = r->name,
                     .err = r->err,
                     .why = r->why,
                     .late = r->late,
                     .earlier = r->earlier,
                     .card = r->card,
                     .out = r->output,
                     .out_count = r->count,
                     .stages = r->stages,
                     .bytes_sent = r->bytes_sent,
                     .tensor_bytes = r->tensor_bytes,
                     .coded_bytes = r->coded_bytes,
                     .via = ui->edge != NULL ? via_name[r->via] : NULL,
                     .codec = r->codec == KERF_CODEC_RAW
                                  ? NULL
                                  : kerf_codec_name((uint8_t)r->codec)};

    if (ui->show.mode == KERF_SHOW_LINES && !ui->show.quiet &&
        r->stages.ns[KERF_STAGE_HEAD] > 0)
        print_reference_lines(r);
    if (ui->edge != NULL || r->err != KERF_OK)
        kerf_show_answer(&ui->show, &a);
    else if (ui->show.mode == KERF_SHOW_JSON)
        print_sent(r);
    stop_if_mute(ui);
    kerf_edge_ui_save(ui, r);
}

void
kerf_edge_ui_save(kerf_edge_ui *ui, const kerf_edge_result *r)
{
    if (ui->save == NULL || r->err != KERF_OK || ui->save_err != KERF_OK)
        return;
    ui->save_err = kerf_save_outputs(ui->save, r->earlier ? "earlier-" : "",
                                     r->earlier ? r->record : r->index,
                                     r->output, r->count, &ui->save_why);
    if (ui->save_err != KERF_OK && ui->edge != NULL)
        kerf_edge_stop(ui->edge);
}

static void
on_queued(void *ctx, uint64_t index, const char *name)
{
    kerf_edge_ui *ui = ctx;

    kerf_show_queued(&ui->show, index, name);
}

static void
on_skipped(void *ctx, uint64_t index, const char *name, kerf_err err,
           const char *why)
{
    kerf_edge_ui *ui = ctx;

    (void)err;
    kerf_show_skipped(&ui->show, index, name, why);
}

static void
on_reload(void *ctx)
{
    const kerf_edge_ui *ui = ctx;

    kerf_cmd_reload(ui->command, ui->common);
}

static void
on_stopping(void *ctx)
{
    const kerf_edge_ui *ui = ctx;

    kerf_service_stopping();
    if (ui->logs)
        kerf_log(KERF_LOG_INFO, "edge.stopping", "%s",
                 "then=\"answers what is in flight\"");
}

void
kerf_edge_ui_events(kerf_edge_ui *ui, kerf_edge_events *out)
{
    *out = (kerf_edge_events){.ctx = ui,
                              .state = on_state,
                              .progress = on_progress,
                              .received = on_received,
                              .model = on_model,
                              .signature = on_signature,
                              .answer = on_answer,
                              .queued = on_queued,
                              .skipped = on_skipped};
    if (ui->logs)
        kerf_edge_log_events(ui, out);
    out->alive = kerf_service_alive;
    out->stopping = on_stopping;
    if (ui->common->config.path != NULL)
        out->reload = on_reload;
}
