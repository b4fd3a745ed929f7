/*
 * What `kerf edge` tells as a service: each event is a line of the log.
 */
#include "cli/edge_ui.h"

#include "base/log.h"
#include "cli/service.h"

static void
on_state(void *ctx, bool connected, const char *text)
{
    (void)ctx;
    kerf_service_status("%s", text);
    kerf_log(KERF_LOG_INFO, "edge.state", "connected=%d text=%s", connected,
             KERF_Q(text));
}

static void
on_received(void *ctx, const kerf_edge_file *file)
{
    (void)ctx;
    kerf_log(KERF_LOG_INFO, "edge.received",
             "file=%s bytes=%llu reused_bytes=%llu resumed_bytes=%llu "
             "wire_bytes=%llu us=%.1f",
             KERF_Q(file->name), (unsigned long long)file->size,
             (unsigned long long)file->reused,
             (unsigned long long)file->resumed, (unsigned long long)file->wire,
             (double)file->ns / 1e3);
}

static void
on_model(void *ctx, const char *name, const char *id, kerf_err err,
         const char *why)
{
    (void)ctx;
    if (err == KERF_OK) {
        kerf_service_status("Runs the head of %s (bundle %.12s)", name, id);
        kerf_log(KERF_LOG_INFO, "edge.model", "model=%s bundle=%s",
                 KERF_Q(name), KERF_Q(id));
    } else {
        kerf_log(KERF_LOG_ERROR, "edge.model_failed",
                 "model=%s bundle=%s why=%s", KERF_Q(name), KERF_Q(id),
                 KERF_Q(why));
    }
}

static void
on_answer(void *ctx, const kerf_edge_result *r)
{
    kerf_edge_ui *ui = ctx;

    if (r->err == KERF_OK) {
        kerf_log(KERF_LOG_DEBUG, "edge.answer",
                 "index=%llu input=%s head_us=%.1f bytes_sent=%zu late=%d",
                 (unsigned long long)r->index, KERF_Q(r->name),
                 (double)r->stages.ns[KERF_STAGE_HEAD] / 1e3, r->bytes_sent,
                 r->late);
    } else {
        kerf_log(KERF_LOG_WARN, "edge.no_answer",
                 "index=%llu input=%s err=%s why=%s",
                 (unsigned long long)r->index, KERF_Q(r->name),
                 kerf_err_name(r->err), KERF_Q(r->why));
    }
    kerf_edge_ui_save(ui, r);
}

static void
on_queued(void *ctx, uint64_t index, const char *name)
{
    (void)ctx;
    kerf_log(KERF_LOG_DEBUG, "edge.queued", "index=%llu input=%s",
             (unsigned long long)index, KERF_Q(name));
}

static void
on_skipped(void *ctx, uint64_t index, const char *name, kerf_err err,
           const char *why)
{
    (void)ctx;
    kerf_log(KERF_LOG_WARN, "edge.skipped", "index=%llu input=%s err=%s why=%s",
             (unsigned long long)index, KERF_Q(name), kerf_err_name(err),
             KERF_Q(why));
}

void
kerf_edge_log_events(kerf_edge_ui *ui, kerf_edge_events *out)
{
    *out = (kerf_edge_events){.ctx = ui,
                              .state = on_state,
                              .received = on_received,
                              .model = on_model,
                              .answer = on_answer,
                              .queued = on_queued,
                              .skipped = on_skipped};
}

void
kerf_edge_log_total(const kerf_edge_total *total)
{
    kerf_log(
        KERF_LOG_INFO, "edge.ended",
        "asked=%llu answered=%llu failed=%llu skipped=%llu left=%llu",
        (unsigned long long)total->asked, (unsigned long long)total->answered,
        (unsigned long long)total->failed, (unsigned long long)total->skipped,
        (unsigned long long)total->left);
}
