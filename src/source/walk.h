/*
 * walk.h - the files of a folder, and those that arrive in it (inotify).
 * Threads: one owner.
 */
#ifndef KERF_SOURCE_WALK_H
#define KERF_SOURCE_WALK_H

#include "base/fs.h"

typedef struct kerf_paths { /* grows at the end, is read from the front */
    char **path;            /* owned */
    size_t count, room, next;
} kerf_paths;

KERF_NODISCARD kerf_err kerf_paths_add(kerf_paths *p, const char *path);
void kerf_paths_fini(kerf_paths *p);
/* The next path, the caller frees it; NULL when there is none. */
char *kerf_paths_take(kerf_paths *p);

/* Is it a file that a folder gives: an image's ending, or .npy? */
bool kerf_walk_wants(const char *name);

/* Adds the files under dir, sorted, subfolders in their place; links to folders
 * are not followed. With watch, a
 * file that somebody still writes is left out: its event will come. */
KERF_NODISCARD kerf_err kerf_walk_add(kerf_paths *out, const char *dir,
                                      bool watch, kerf_detail *why);

/* Versions of files: path and time of change. */
typedef struct kerf_seen {
    struct kerf_seen_one *one; /* owned */
    size_t count, room;
    bool sorted;
} kerf_seen;

/* Remembers the file as it is now. */
KERF_NODISCARD kerf_err kerf_seen_add(kerf_seen *seen, const char *path);
/* Whether the file as it is now was added. */
bool kerf_seen_has(kerf_seen *seen, const char *path);
void kerf_seen_fini(kerf_seen *seen);

typedef struct kerf_watch kerf_watch;

KERF_NODISCARD kerf_err kerf_watch_new(kerf_watch **out, kerf_detail *why);
void kerf_watch_free(kerf_watch *w);    /* accepts NULL */
int kerf_watch_fd(const kerf_watch *w); /* readable: call read */
/* Watches dir and its subfolders, also those that come later; not what links
 * lead to. */
KERF_NODISCARD kerf_err kerf_watch_add(kerf_watch *w, const char *dir,
                                       kerf_detail *why);
/* Appends files that are complete: closed after writing, or moved there. Never
 * waits. *lost: the kernel dropped events. */
KERF_NODISCARD kerf_err kerf_watch_read(kerf_watch *w, kerf_paths *out,
                                        bool *lost, kerf_detail *why);

#endif
