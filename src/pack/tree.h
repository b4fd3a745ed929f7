/*
 * tree.h - the files of a folder to be packed, and a folder that is unpacked:
 * first beside its place under a name of its own, then moved there as a whole.
 * Threads: one.
 */
#ifndef KERF_PACK_TREE_H
#define KERF_PACK_TREE_H

#include "base/fs.h"

#include <sys/types.h>

/* One of them, folders before what is in them. */
typedef struct kerf_tree_item {
    char *path; /* on disk */
    char *name; /* in the archive: relative, with '/' */
    mode_t mode;
    int64_t mtime, size;
} kerf_tree_item;

/* Zeroed: empty. */
typedef struct kerf_tree {
    kerf_tree_item *item;
    size_t count, room;
    uint64_t bytes; /* of all files */
} kerf_tree;

#define KERF_TREE_MOST 65536u

/* A file, or a folder with all that is in it, links followed.
 * Errors: KERF_ENOENT, KERF_EINVAL (a device, a loop of links), KERF_ETOOBIG,
 * KERF_ENOMEM, KERF_EIO. tree is to be finished after an error, too. */
KERF_NODISCARD kerf_err kerf_tree_walk(kerf_tree *tree, const char *path,
                                       kerf_detail *why);
void kerf_tree_fini(kerf_tree *tree);

/* A folder being filled. */
typedef struct kerf_nest {
    char dir[KERF_PATH_MAX], temp[KERF_PATH_MAX]; /* temp "": none */
    bool force;
    size_t entries;
} kerf_nest;

/* dir: where the unpacked is to be; it is made if it is not there. force:
 * files that are there are replaced. */
KERF_NODISCARD kerf_err kerf_nest_open(kerf_nest *nest, const char *dir,
                                       bool force, kerf_detail *why);
/* The path of `name` in the nest, its folders made. Refuses (KERF_ECORRUPT)
 * what leads out: absolute, "..", empty parts; KERF_ETOOBIG: too many. */
KERF_NODISCARD kerf_err kerf_nest_path(kerf_nest *nest, const char *name,
                                       char path[KERF_PATH_MAX],
                                       kerf_detail *why);
/* A folder of the archive. */
KERF_NODISCARD kerf_err kerf_nest_dir(kerf_nest *nest, const char *name,
                                      kerf_detail *why);
/* Moves all into place; nothing is moved when something is in the way. */
KERF_NODISCARD kerf_err kerf_nest_commit(kerf_nest *nest, kerf_detail *why);
void kerf_nest_drop(kerf_nest *nest); /* also after commit */

#endif
