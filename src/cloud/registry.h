/*
 * registry.h - the models that the cloud serves, kept in step with a folder, or
 * with the files of the one model that a maker cuts (kerf/cloud_opts.h).
 *
 * A loader thread reads, compiles and proves new and changed pairs; the old one
 * serves until the new one does. What it found is handed to the loop's thread.
 * Threads: every call on the loop's thread, but for kerf_registry_look(); the
 * first scan, before the loop runs, is done in kerf_registry_new().
 */
#ifndef KERF_CLOUD_REGISTRY_H
#define KERF_CLOUD_REGISTRY_H

#include "cloud/served.h"
#include "kerf/cloud_opts.h"
#include "net/loop.h"

typedef struct kerf_registry kerf_registry;

typedef struct kerf_registry_opts {
    const char *dir;
    const kerf_cloud_maker *maker; /* NULL, or instead of the folder */
    kerf_engine *engine;
    kerf_served_opts served;
    void *ctx;
    /* s: now served in place of old (either may be NULL: new, removed). */
    void (*changed)(void *ctx, kerf_served *s, kerf_served *old);
    /* A pair that cannot be served, and why; once for each change of it. */
    void (*failed)(void *ctx, const char *name, kerf_err err, const char *why);
    /* The loader's, or that of kerf_registry_new(). A pair that was read,
     * before it is proved; may be NULL. newest_ns: kerf_pair_stamp()'s. */
    void (*keep)(void *ctx, const kerf_pair *pair, int64_t newest_ns);
    /* The folder of the pair that came before the one with this id (hex; NULL:
     * of the one that served last), of an earlier run; false: none. May be
     * NULL. */
    bool (*before)(void *ctx, const char *name, const char *id,
                   char dir[KERF_PATH_MAX]);
    /* The loader's: the folder of the old one that serves beside the newest,
     * and its signature; false: there is none. May be NULL. */
    bool (*kept)(void *ctx, const char *name, char dir[KERF_PATH_MAX],
                 kerf_signed *sig);
    /* The loop's: that one again, with another signature; or the one that came
     * before, which could not be loaded when s was. */
    void (*signed_again)(void *ctx, kerf_served *old);
    /* After all that was found at one time has been told: what edges are given
     * may be another one now. s: what changed says; NULL: none is new. */
    void (*offer)(void *ctx, kerf_served *s);
} kerf_registry_opts;

/* Errors: the folder's; with a maker those of its first pair, without which
 * there is nothing to serve. */
KERF_NODISCARD kerf_err kerf_registry_new(kerf_registry **out, kerf_loop *loop,
                                          const kerf_registry_opts *opts,
                                          kerf_detail *why);
/* Calls changed and failed for the first scan's findings. */
void kerf_registry_start(kerf_registry *r);
/* Looks at the folder, changed or not. Any thread. */
void kerf_registry_look(kerf_registry *r);
/* Its thread. False: the disk hangs, and it waits for that yet: then r must
 * stay, with all that it uses. Before kerf_registry_free(); accepts NULL. */
bool kerf_registry_stop(kerf_registry *r);
void kerf_registry_free(kerf_registry *r); /* accepts NULL */

size_t kerf_registry_count(const kerf_registry *r);
kerf_served *kerf_registry_at(const kerf_registry *r, size_t i); /* borrowed */

#endif
