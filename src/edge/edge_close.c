#include "edge/edge.h"

#include "base/log.h"
#include "base/thread.h"
#include "edge/trusted.h"

#include <stdlib.h>

#define LEAVE_MS 1000 /* a disk that hangs is waited for, at the end */
#define SAVE_MS 10000 /* the same, for requests that are not on it yet */
#define ONCE_MORE_MS 100

/* Events that nobody will see. */
static void
drop_events(kerf_edge *edge)
{
    kerf_event *event;

    kerf_queue_close(edge->queue);
    while ((event = kerf_queue_try_pop(edge->queue)) != NULL) {
        if (event->flight != NULL) {
            (void)pthread_mutex_lock(&edge->lock);
            event->flight->state = KERF_FLIGHT_FREE;
            kerf_edge_stir(edge);
        } else if (event->note != &edge->done_note) {
            free(event->note);
        }
    }
}

/* It compiles as long as it takes. False: it hangs on the disk. */
static bool
stop_loader(kerf_edge *edge, uint64_t leave_ms)
{
    bool waited = false; /* all the time for the disk, as far as can be seen */

    if (edge->loads != NULL)
        kerf_queue_close(edge->loads);
    while (edge->loader_runs && !waited) {
        waited = !atomic_load(&edge->compiling);
        if (kerf_thread_join(edge->loader_thread, leave_ms))
            edge->loader_runs = false;
        waited = waited && !atomic_load(&edge->compiling);
    }
    return !edge->loader_runs;
}

/* A disk may hang. False: somebody waits for it yet. What is written is whole
 * or not there, whenever the process ends; requests that are to be queued on
 * disk get more time, since they would be lost. */
static bool
stop_threads(kerf_edge *edge, uint64_t save_ms, uint64_t leave_ms)
{
    bool saved = kerf_offline_stop(edge, save_ms);
    bool loaded = stop_loader(edge, leave_ms);

    if (edge->loop_runs) {
        kerf_loop_stop(edge->loop);
        (void)pthread_join(edge->loop_thread, NULL);
        edge->loop_runs = false;
    }
    return kerf_writer_stop(edge->fetch.writer, leave_ms) && saved && loaded;
}

/* Once more: the disk may have come back while others were waited for, or just
 * when the time was over. */
static bool
stop_all(kerf_edge *edge)
{
    return stop_threads(edge, SAVE_MS, LEAVE_MS) ||
           stop_threads(edge, ONCE_MORE_MS, ONCE_MORE_MS);
}

bool
kerf_edge_close(kerf_edge *edge)
{
    if (edge == NULL)
        return true;
    if (edge->worker_runs) {
        kerf_edge_stop(edge);
        drop_events(edge);
        (void)pthread_join(edge->worker_thread, NULL);
    }
    if (!stop_all(edge)) {
        kerf_log(KERF_LOG_WARN, "edge.disk_hangs", "store=%s",
                 KERF_Q(edge->opts.store));
        return false;
    }
    if (edge->loop != NULL)
        kerf_link_close(edge);
    kerf_offline_fini(edge);
    kerf_trusted_fini(edge);
    kerf_again_fini(edge);
    kerf_timer_free(edge->alive);
    kerf_tls_folder_close(edge->tls);
    kerf_loop_free(edge->loop);
    if (edge->queue != NULL)
        drop_events(edge);
    kerf_source_free(edge->source);
    kerf_program_free(edge->current);
    kerf_program_free(edge->next);
    kerf_program_free(edge->leaving);
    kerf_program_free(edge->fetch.program);
    kerf_fetch_fini(edge);
    kerf_engine_close(edge->engine);
    kerf_store_close(edge->store);
    kerf_queue_free(edge->queue);
    kerf_queue_free(edge->loads);
    kerf_codec_free(edge->codec);
    (void)pthread_cond_destroy(&edge->changed);
    (void)pthread_mutex_destroy(&edge->lock);
    free(edge);
    return true;
}
