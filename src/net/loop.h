/*
 * loop.h - one thread's event loop (libuv): posts from other threads, timers,
 * signals, folder watching, listening and dialling.
 *
 * Threads: kerf_loop_post() and kerf_loop_stop() from any thread; everything
 * else, and every callback, on the thread that runs the loop (before it runs:
 * the thread that made it).
 */
#ifndef KERF_NET_LOOP_H
#define KERF_NET_LOOP_H

#include "kerf/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct kerf_loop kerf_loop;
typedef struct kerf_timer kerf_timer;
typedef struct kerf_folder_watch kerf_folder_watch;
typedef struct kerf_listener kerf_listener;
typedef struct kerf_dial kerf_dial;
typedef void kerf_loop_fn(void *ctx);

KERF_NODISCARD kerf_err kerf_loop_new(kerf_loop **out);
/* Runs until kerf_loop_stop(); callbacks posted before it have run. */
void kerf_loop_run(kerf_loop *loop);
void kerf_loop_stop(kerf_loop *loop);
/* Calls what was posted and has not run. After run has returned, while the
 * owners of the posts are there. Accepts NULL. */
void kerf_loop_flush(kerf_loop *loop);
/* Closes what is still open. After run has returned. Accepts NULL. */
void kerf_loop_free(kerf_loop *loop);

/* A call to be made on the loop's thread. Lives in its owner until it ran;
 * posting one that still waits does nothing (wake-ups coalesce). */
typedef struct kerf_post {
    kerf_loop_fn *fn;
    void *ctx;
    struct kerf_post *next; /* private */
    bool waiting;           /* private */
} kerf_post;

void kerf_loop_post(kerf_loop *loop, kerf_post *post);

/* fn each time before the loop waits for something to do: the place to wake
 * others once for all that was done since. */
void kerf_loop_on_turn(kerf_loop *loop, kerf_loop_fn *fn, void *ctx);

/* Something is expected soon: after this turn the loop polls and yields instead
 * of sleeping, until kerf_loop_came(), as far as such waits were short
 * (base/awake.h). is_busy: of that header; of several calls in a turn any
 * counts. */
void kerf_loop_expect(kerf_loop *loop, bool is_busy);
/* Something has come on a connection: what was expected, or its beginning, or
 * of another one. */
void kerf_loop_came(kerf_loop *loop);

/* What nobody owns any more and ends by itself: kerf_loop_free() calls fn for
 * those that are left, which then close what they hold. */
typedef struct kerf_orphan {
    kerf_loop_fn *fn;
    void *ctx;
    struct kerf_orphan *prev, *next; /* private */
} kerf_orphan;

void kerf_loop_adopt(kerf_loop *loop, kerf_orphan *orphan);
void kerf_loop_release(kerf_loop *loop, kerf_orphan *orphan);

KERF_NODISCARD kerf_err kerf_timer_new(kerf_timer **out, kerf_loop *loop,
                                       kerf_loop_fn *fn, void *ctx);
/* repeat_ms 0: once. Starting again restarts. */
void kerf_timer_start(kerf_timer *timer, uint64_t in_ms, uint64_t repeat_ms);
void kerf_timer_stop(kerf_timer *timer); /* accepts NULL */
void kerf_timer_free(kerf_timer *timer); /* accepts NULL */

/* SIGINT and SIGTERM; nth counts from 1. */
typedef void kerf_signal_fn(void *ctx, int nth);
KERF_NODISCARD kerf_err kerf_loop_on_signal(kerf_loop *loop, kerf_signal_fn *fn,
                                            void *ctx);
/* SIGHUP, which ends the process otherwise. */
KERF_NODISCARD kerf_err kerf_loop_on_hangup(kerf_loop *loop, kerf_loop_fn *fn,
                                            void *ctx);

/* Whether a file of that name counts. */
typedef bool kerf_name_fn(void *ctx, const char *name);
/* fn after something that counts has changed in dir and nothing that does has
 * for quiet_ms: others (a log file in the same folder) may never be quiet. Also
 * after another folder has taken its place. most_ms after the first change at
 * the latest; 0: whenever it is quiet. */
KERF_NODISCARD kerf_err
kerf_folder_watch_new(kerf_folder_watch **out, kerf_loop *loop, const char *dir,
                      uint64_t quiet_ms, uint64_t most_ms, kerf_name_fn *counts,
                      kerf_loop_fn *fn, void *ctx, kerf_detail *why);
void kerf_folder_watch_free(kerf_folder_watch *watch); /* accepts NULL */

/* fd is a connected, non-blocking TCP socket that the callee owns. */
typedef void kerf_accept_fn(void *ctx, int fd);
/* How far what listens may be reached. Without TLS whoever reaches it gets all.
 */
typedef enum kerf_reach {
    KERF_REACH_ALL = 0,  /* it has TLS, or says nothing that matters */
    KERF_REACH_HERE,     /* on loopback alone: else KERF_EINVAL */
    KERF_REACH_INSECURE, /* the user says so: with a line in the log */
} kerf_reach;

/* Of host's addresses the first that can be had; it is looked up once. Errors:
 * KERF_EADDRINUSE, KERF_ENOENT (no such host), KERF_EINVAL, KERF_EIO. */
KERF_NODISCARD kerf_err kerf_listen(kerf_listener **out, kerf_loop *loop,
                                    const char *host, int port,
                                    kerf_reach reach, kerf_accept_fn *fn,
                                    void *ctx, kerf_detail *why);
/* What KERF_REACH_HERE would say of host, as far as that is known without a
 * look-up: for flags. Errors: KERF_EINVAL. */
KERF_NODISCARD kerf_err kerf_check_here(const char *host, kerf_detail *why);
int kerf_listener_port(const kerf_listener *listener);
/* Options set on it hold for what is accepted later. */
int kerf_listener_fd(const kerf_listener *listener);
void kerf_listener_free(kerf_listener *listener); /* accepts NULL */

/* timeout_ms is for the name and for each of its addresses. fd >= 0, or -1 with
 * the reason. Called once, later; the handle is gone then.
 */
typedef void kerf_dial_fn(void *ctx, int fd, const char *why);
KERF_NODISCARD kerf_err kerf_dial_start(kerf_dial **out, kerf_loop *loop,
                                        const char *host, int port,
                                        uint64_t timeout_ms, kerf_dial_fn *fn,
                                        void *ctx);
void kerf_dial_cancel(kerf_dial *dial); /* fn will not be called */

/* "127.0.0.1:8080" of the peer of fd into out[64]. Returns out. */
char *kerf_peer_text(char out[64], int fd);

#endif
