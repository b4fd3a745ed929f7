/*
 * pack_own.h - between pack.c and the files of one kind of format each. Only
 * for src/pack/.
 */
#ifndef KERF_PACK_PACK_OWN_H
#define KERF_PACK_PACK_OWN_H

#include "base/map.h"
#include "pack/pack.h"
#include "pack/sink.h"
#include "pack/tree.h"

/* Tells the caller how far it is. KERF_EINTR: it is to stop. */
static inline kerf_err
pack_tell(const kerf_pack_job *job, const char *name, uint64_t got,
          uint64_t size, kerf_detail *why)
{
    if (job->progress != NULL)
        job->progress(job->ctx, name, got, size);
    if (job->stop != NULL && *job->stop != 0)
        return kerf_fail(why, KERF_EINTR, "interrupted");
    return KERF_OK;
}

/* The folder that what is in path goes to: its own, or job->to. */
void kerf_pack_name_dir(const kerf_pack_job *job, const char *path,
                        char dir[KERF_PATH_MAX]);

/* kwz_files.c. named: the files keep their names. */
KERF_NODISCARD kerf_err kerf_kwz_pack_tree(const kerf_pack_job *job,
                                           const kerf_tree *tree, bool named,
                                           kerf_sink *sink, kerf_detail *why);
/* The first file without a name goes to the sink, named ones to the nest, which
 * is opened when the first comes. */
KERF_NODISCARD kerf_err kerf_kwz_unpack_map(const kerf_pack_job *job,
                                            const kerf_map *map,
                                            kerf_sink *sink, kerf_nest *nest,
                                            kerf_pack_result *result,
                                            kerf_detail *why);

/* archive.c: zip and tar.gz. */
KERF_NODISCARD kerf_err kerf_archive_pack(const kerf_pack_job *job,
                                          const kerf_tree *tree,
                                          kerf_sink *sink, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_archive_unpack(const kerf_pack_job *job,
                                            const kerf_map *map,
                                            kerf_nest *nest,
                                            kerf_pack_result *result,
                                            kerf_detail *why);

#endif
