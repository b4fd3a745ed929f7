/*
 * rollouts_disk.h - what a cloud keeps of its rollouts (rollouts.h), on disk.
 * Files appear whole, or not at all. Threads: one at a time for each folder.
 */
#ifndef KERF_CLOUD_ROLLOUTS_DISK_H
#define KERF_CLOUD_ROLLOUTS_DISK_H

#include "cloud/rollout.h"
#include "model/bundle.h"

/* Makes the folder and locks it, until *fd is closed or the process ends; *fd
 * is -1 where that cannot be. Errors: KERF_EBUSY (another cloud has it). */
KERF_NODISCARD kerf_err kerf_rollouts_lock(const char *dir, int *fd,
                                           kerf_detail *why);
/* None, when there is nothing yet. Errors: kerf_rollout_parse()'s, the file's;
 * why says what to do. */
KERF_NODISCARD kerf_err kerf_rollouts_read(const char *dir, kerf_rollout **list,
                                           size_t most, size_t *count,
                                           kerf_detail *why);
KERF_NODISCARD kerf_err kerf_rollouts_write(const char *dir, const char *text,
                                            kerf_detail *why);
/* A copy of the pair, its signature included; what is there and the same stays.
 * newest_ns: kerf_pair_stamp()'s. */
KERF_NODISCARD kerf_err kerf_rollouts_keep_pair(const char *dir,
                                                const kerf_pair *pair,
                                                int64_t newest_ns,
                                                kerf_detail *why);
/* Removes the copies of other ids than these. */
void kerf_rollouts_remove_others(const char *dir, const uint8_t *ids,
                                 size_t count);
KERF_NODISCARD kerf_err kerf_rollouts_pair_dir(char out[KERF_PATH_MAX],
                                               const char *dir,
                                               const char *hex);

#endif
