/*
 * control.h - what a cloud tells processes of its user, over a socket in the
 * file system: one JSON object per line each way.
 *
 *     {"get": "edges", "most": 40}     "most" may be missing: all
 *     {"event": "top", "edges": 2, ..., "edge": [{"name": ...}, ...]}
 *     {"rollout": "status"}            or set (with "percent"), halt, resume,
 *                                      back; "model" may be missing: the only
 * one
 *     {"event": "rollouts", "rollout": [{"model": ...}, ...]}   those now open
 *
 * Anything else is answered with {"error": "..."}; a line of over
 * KERF_CONTROL_LINE bytes, too, and the connection ends. It has a thread of its
 * own, which neither the loop nor a worker ever waits for.
 * Threads: one owner.
 */
#ifndef KERF_CLOUD_CONTROL_H
#define KERF_CLOUD_CONTROL_H

#include "kerf/cloud.h"

#define KERF_CONTROL_LINE 512
#define KERF_CONTROL_CLIENTS 8
#define KERF_CONTROL_EDGES 100000 /* in one answer */

typedef struct kerf_control kerf_control;

/* Errors: kerf_local_listen()'s, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_control_start(kerf_control **out,
                                           kerf_cloud *cloud, const char *path,
                                           kerf_detail *why);
void kerf_control_stop(kerf_control *c); /* removes the path; accepts NULL */

#endif
