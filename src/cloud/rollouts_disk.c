#include "cloud/rollouts_disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE "state.json"
#define STATE_MOST ((size_t)64 << 20)
#define PAIRS "pairs"
#define PAIRS_MOST 4096 /* entries that are looked at */

kerf_err
kerf_rollouts_read(const char *dir, kerf_rollout **list, size_t most,
                   size_t *count, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    uint8_t *json = NULL;
    size_t len = 0;
    kerf_err err = kerf_path_join(path, dir, STATE);

    *count = 0;
    if (err == KERF_OK)
        err = kerf_fs_read(path, STATE_MOST, &json, &len, why);
    if (err == KERF_ENOENT)
        return KERF_OK;
    if (err == KERF_OK)
        err = kerf_rollout_parse(list, most, count, json, len, why);
    free(json);
    if (err == KERF_ECORRUPT || err == KERF_EVERSION) {
        return kerf_fail_in(why, err,
                            "%s, which says what may run, cannot be used: "
                            "remove it to give the newest bundles to all",
                            path);
    }
    return err;
}

kerf_err
kerf_rollouts_write(const char *dir, const char *text, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(path, dir, STATE);

    if (err == KERF_OK)
        err = kerf_fs_mkdirs(dir, why);
    if (err == KERF_OK)
        err = kerf_fs_write(path, text, strlen(text), why);
    return err;
}

kerf_err
kerf_rollouts_pair_dir(char out[KERF_PATH_MAX], const char *dir,
                       const char *hex)
{
    char pairs[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(pairs, dir, PAIRS);

    return err == KERF_OK ? kerf_path_join(out, pairs, hex) : err;
}

static bool
is_kept(const char *name, const uint8_t *ids, size_t count)
{
    uint8_t id[KERF_ROLLOUT_ID];
    bool is = false;

    if (!kerf_unhex(id, sizeof id, name))
        return true; /* not ours */
    for (size_t i = 0; i < count && !is; i++)
        is = memcmp(ids + i * KERF_ROLLOUT_ID, id, sizeof id) == 0;
    return is;
}

/* A pair's folder, which has files only. */
static void
remove_pair(const char *path)
{
    char file[KERF_PATH_MAX];
    kerf_names names = {0};

    if (kerf_fs_list(path, PAIRS_MOST, &names, NULL) == KERF_OK) {
        for (size_t i = 0; i < names.count; i++) {
            if (kerf_path_join(file, path, names.name[i]) == KERF_OK)
                (void)unlink(file);
        }
        kerf_names_free(&names);
    }
    (void)rmdir(path); /* another's file in it: it stays */
}

static void
remove_others(const char *dir, const uint8_t *ids, size_t count)
{
    char pairs[KERF_PATH_MAX];
    char path[KERF_PATH_MAX];
    kerf_names names = {0};

    if (kerf_path_join(pairs, dir, PAIRS) != KERF_OK ||
        kerf_fs_list(pairs, PAIRS_MOST, &names, NULL) != KERF_OK)
        return;
    for (size_t i = 0; i < names.count; i++) {
        if (!is_kept(names.name[i], ids, count) &&
            kerf_path_join(path, pairs, names.name[i]) == KERF_OK)
            remove_pair(path);
    }
    kerf_names_free(&names);
}

static bool
is_whole(const char *path, const kerf_pair *pair)
{
    char file[KERF_PATH_MAX];

    for (size_t i = 0; i < pair->manifest.file_count; i++) {
        if (kerf_path_join(file, path, pair->manifest.file[i].name) !=
                KERF_OK ||
            !kerf_fs_exists(file))
            return false;
    }
    return true;
}

kerf_err
kerf_rollouts_keep_pair(const char *dir, const kerf_pair *pair,
                        const uint8_t *ids, size_t count, kerf_detail *why)
{
    const kerf_manifest *m = &pair->manifest;
    char hex[KERF_SHA256_HEX];
    char path[KERF_PATH_MAX];
    char file[KERF_PATH_MAX];
    kerf_err err;

    remove_others(dir, ids, count);
    kerf_hex(hex, m->id, sizeof m->id);
    err = kerf_rollouts_pair_dir(path, dir, hex);
    if (err != KERF_OK)
        return err;
    if (is_whole(path, pair))
        return KERF_OK;
    err = kerf_fs_mkdirs(path, why);
    for (size_t i = 0; err == KERF_OK && i < m->file_count; i++) {
        kerf_role role = m->file[i].role;

        err = kerf_path_join(file, path, m->file[i].name);
        if (err == KERF_OK)
            err = kerf_fs_write(file, pair->data[role], pair->len[role], why);
    }
    return err;
}
