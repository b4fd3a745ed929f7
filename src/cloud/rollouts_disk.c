#include "cloud/rollouts_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STATE "state.json"
#define STATE_MOST ((size_t)64 << 20)
#define PAIRS "pairs"
#define PAIRS_MOST 4096 /* entries that are looked at */
#define STEP ((size_t)64 << 10)

kerf_err
kerf_rollouts_lock(const char *dir, int *fd, kerf_detail *why)
{
    *fd = -1;
    if (kerf_fs_mkdirs(dir, NULL) == KERF_OK)
        *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0 || flock(*fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return KERF_OK;
    (void)close(*fd);
    *fd = -1;
    return kerf_fail(why, KERF_EBUSY,
                     "%s: another cloud keeps its rollouts there: give each "
                     "its own --rollout-dir",
                     dir);
}

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
    if (err == KERF_ECORRUPT || err == KERF_EVERSION || err == KERF_ETOOBIG) {
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

/* A folder itself, never what a link stands for. */
static int
open_own(const char *path)
{
    return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Makes it where it is missing. */
static kerf_err
make_own(const char *path, kerf_detail *why)
{
    struct stat st;

    if (lstat(path, &st) != 0 || S_ISDIR(st.st_mode))
        return kerf_fs_mkdirs(path, why);
    return kerf_fail(why, KERF_EINVAL, "%s: not a folder: remove it", path);
}

/* Removing. */

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

/* A pair's folder, which has files only; in fd, that of pairs. */
static void
remove_pair(int fd, const char *name)
{
    kerf_names names = {0};
    int own = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (own < 0) { /* a link, say: that goes, not what it stands for */
        (void)unlinkat(fd, name, 0);
        return;
    }
    if (kerf_fs_list_at(own, PAIRS_MOST, &names) == KERF_OK) {
        for (size_t i = 0; i < names.count; i++)
            (void)unlinkat(own, names.name[i], 0);
        kerf_names_free(&names);
    }
    (void)close(own);
    (void)unlinkat(fd, name, AT_REMOVEDIR); /* not with a folder in it */
}

void
kerf_rollouts_remove_others(const char *dir, const uint8_t *ids, size_t count)
{
    char pairs[KERF_PATH_MAX];
    kerf_names names = {0};
    int fd;

    if (kerf_path_join(pairs, dir, PAIRS) != KERF_OK)
        return;
    fd = open_own(pairs);
    if (fd < 0)
        return;
    if (kerf_fs_list_at(fd, PAIRS_MOST, &names) == KERF_OK) {
        for (size_t i = 0; i < names.count; i++) {
            if (!is_kept(names.name[i], ids, count))
                remove_pair(fd, names.name[i]);
        }
        kerf_names_free(&names);
    }
    (void)close(fd);
}

/* Keeping. */

/* Whether the file itself has these bytes, and no others. */
static bool
has_bytes(const char *path, const uint8_t *data, size_t len)
{
    uint8_t step[STEP];
    struct stat st;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    bool has = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
               (uint64_t)st.st_size == len;

    for (size_t at = 0; has && at < len;) {
        size_t n = len - at < STEP ? len - at : STEP;

        has =
            kerf_fs_read_at(fd, at, step, n) && memcmp(step, data + at, n) == 0;
        at += n;
    }
    if (fd >= 0)
        (void)close(fd);
    return has;
}

/* Whole, and as old as the pair: the newest of several models is the one whose
 * files changed last (kerf_pair_stamp()), also of those that are kept. */
static kerf_err
keep_file(const char *dir, const char *name, const void *data, size_t len,
          int64_t newest_ns, kerf_detail *why)
{
    struct timespec when = {.tv_sec = newest_ns / 1000000000,
                            .tv_nsec = newest_ns % 1000000000};
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(path, dir, name);

    if (err == KERF_OK && !has_bytes(path, data, len))
        err = kerf_fs_write(path, data, len, why);
    if (err == KERF_OK)
        (void)utimensat(AT_FDCWD, path, (struct timespec[2]){when, when},
                        AT_SYMLINK_NOFOLLOW);
    return err;
}

/* A pair that is not signed, or no more, leaves the signature that is kept: it
 * is of these very files. */
static kerf_err
keep_signature(const char *dir, const kerf_manifest *m, int64_t newest_ns,
               kerf_detail *why)
{
    char name[KERF_PART_NAME];
    char *json = NULL;
    kerf_err err;

    if (m->sig.len == 0)
        return KERF_OK;
    kerf_pair_sig_file(name, m->name);
    err = kerf_signed_format(&m->sig, &json);
    if (err == KERF_OK)
        err = keep_file(dir, name, json, strlen(json), newest_ns, why);
    free(json);
    return err;
}

/* What a copy that was cut short has left. */
static void
remove_strays(const char *dir, const kerf_manifest *m)
{
    char sig[KERF_PART_NAME];
    kerf_names names = {0};
    int fd = open_own(dir);

    kerf_pair_sig_file(sig, m->name);
    if (fd >= 0 && kerf_fs_list_at(fd, PAIRS_MOST, &names) == KERF_OK) {
        for (size_t i = 0; i < names.count; i++) {
            bool is = strcmp(names.name[i], sig) == 0;

            for (size_t k = 0; k < m->file_count && !is; k++)
                is = strcmp(names.name[i], m->file[k].name) == 0;
            if (!is)
                (void)unlinkat(fd, names.name[i], 0);
        }
        kerf_names_free(&names);
    }
    if (fd >= 0)
        (void)close(fd);
}

kerf_err
kerf_rollouts_keep_pair(const char *dir, const kerf_pair *pair,
                        int64_t newest_ns, kerf_detail *why)
{
    const kerf_manifest *m = &pair->manifest;
    char hex[KERF_SHA256_HEX];
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(path, dir, PAIRS);

    if (err == KERF_OK)
        err = make_own(path, why);
    kerf_hex(hex, m->id, sizeof m->id);
    if (err == KERF_OK)
        err = kerf_rollouts_pair_dir(path, dir, hex);
    if (err == KERF_OK)
        err = make_own(path, why);
    if (err == KERF_OK)
        remove_strays(path, m);
    for (size_t i = 0; err == KERF_OK && i < m->file_count; i++) {
        kerf_role role = m->file[i].role;

        err = keep_file(path, m->file[i].name, pair->data[role],
                        pair->len[role], newest_ns, why);
    }
    if (err == KERF_OK)
        err = keep_signature(path, m, newest_ns, why);
    return err;
}
