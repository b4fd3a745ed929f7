/*
 * legacy.h - speak the wire of the Python reference: what `kerf cloud --legacy`
 * and `kerf edge --legacy` do. docs/PROTOCOL.md, "Legacy wire".
 *
 *     cloud host:port  <- the edge connects; files go to the edge
 *     edge_host:port   <- the cloud connects; tensors go to the cloud
 *
 * Nothing is acknowledged, results stay on the cloud, and only heads with one
 * f32 output fit. Peers may come, go and come back.
 * Threads: every event on the calling thread. Both run until SIGINT or SIGTERM
 * (opts->handle_signals); the edge also until its inputs are used up.
 */
#ifndef KERF_LEGACY_H
#define KERF_LEGACY_H

#include "kerf/cloud_opts.h"
#include "kerf/edge_opts.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Of opts: host, port, models, engine, edges_max, handle_signals, retry_ms and
 * stall_ms. Of events: edge is called for the connections that take files (the
 * peer's address is the name), shipped when both files are sent (not: run),
 * answered with id = the peer's INDEX + 1, so that the first is Tensor 1.
 * Errors: KERF_EADDRINUSE, KERF_ENOENT (host), KERF_EIO (folder), engine's.
 */
KERF_API KERF_NODISCARD kerf_err kerf_legacy_cloud_run(
    const kerf_cloud_opts *opts, const char *edge_host, int edge_port,
    const kerf_cloud_events *events, kerf_detail *why);

/*
 * Of opts: host, port, store, model (NULL: the first that is complete), engine,
 * inputs (none: random, as the reference), repeat, rate_hz, watch,
 * handle_signals, card, retry_ms, stall_ms. answer is called when the kernel
 * has taken the tensor: KERF_OK without outputs. Returns when the cloud has
 * taken the last byte.
 * Errors: KERF_EADDRINUSE, KERF_ENOENT, KERF_EINVAL (images without a card),
 * KERF_ECLOSED (the cloud went away with the last tensors), engine's, store's.
 */
KERF_API KERF_NODISCARD kerf_err kerf_legacy_edge_run(
    const kerf_edge_opts *opts, const char *edge_host, int edge_port,
    const kerf_edge_events *events, kerf_edge_total *total, kerf_detail *why);

#ifdef __cplusplus
}
#endif
#endif
