#include "cut/fresh.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_STEP ((size_t)1 << 20)

kerf_err
kerf_fresh_open(kerf_fresh *f, const char *dir, bool force, kerf_detail *why)
{
    *f = (kerf_fresh){.force = force};
    if (strlen(dir) >= sizeof f->dir)
        return kerf_fail(why, KERF_ETOOBIG, "--out: path too long");
    (void)snprintf(f->dir, sizeof f->dir, "%s", dir);
    f->made_dir = !kerf_fs_exists(dir);
    return kerf_fs_mkdirs(dir, why);
}

kerf_err
kerf_fresh_claim(const kerf_fresh *f, const char *name, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    struct stat st;

    if (kerf_path_join(path, f->dir, name) != KERF_OK)
        return kerf_fail(why, KERF_ETOOBIG, "%s/%s: path too long", f->dir,
                         name);
    if (lstat(path, &st) != 0)
        return KERF_OK;
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return kerf_fail(why, KERF_EINVAL, "%s: not a regular file", path);
    if (f->force)
        return KERF_OK;
    return kerf_fail(why, KERF_EINVAL,
                     "%s is there already: --force to overwrite, --name or "
                     "--out for another place",
                     path);
}

/* Hashes and writes in steps, so that each byte is fetched from memory once. */
static int
write_hashed(int fd, const kerf_rope *rope, kerf_sha256 *hash)
{
    for (size_t i = 0; i < rope->count; i++) {
        const kerf_rope_piece *p = &rope->piece[i];

        for (size_t at = 0; at < p->len; at += HASH_STEP) {
            size_t n = p->len - at < HASH_STEP ? p->len - at : HASH_STEP;
            kerf_rope_piece step = {.at = p->at + at, .len = n};
            kerf_rope one = {.piece = &step, .count = 1, .len = n};

            kerf_sha256_add(hash, step.at, n);
            if (kerf_rope_write(&one, fd) != KERF_OK)
                return errno;
        }
    }
    return 0;
}

kerf_err
kerf_fresh_add(kerf_fresh *f, const char *name, const kerf_rope *rope,
               kerf_detail *why)
{
    kerf_fresh_file *file = &f->file[f->count];
    char temp[KERF_PATH_MAX]; /* gcc takes f->dir and file->temp for one */
    kerf_sha256 *hash = NULL;
    int code;
    int fd;
    int n;
    kerf_err err = kerf_fresh_claim(f, name, why);

    if (err == KERF_OK && (rope->bad || f->count == KERF_FRESH_MAX))
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", name);
    if (err == KERF_OK)
        err = kerf_sha256_new(&hash);
    if (err != KERF_OK)
        return err;
    (void)snprintf(file->name, sizeof file->name, "%s", name);
    file->size = rope->len;
    n = snprintf(temp, sizeof temp, "%s/.%s.XXXXXX.tmp", f->dir, name);
    if (n < 0 || (size_t)n >= sizeof temp) {
        kerf_sha256_free(hash);
        return kerf_fail(why, KERF_ETOOBIG, "%s: path too long", f->dir);
    }
    memcpy(file->temp, temp, (size_t)n + 1);
    fd = mkostemps(file->temp, 4, O_CLOEXEC);
    code = fd < 0 ? errno : 0;
    if (code == 0) {
        f->count++;
        code = write_hashed(fd, rope, hash);
        if (code == 0 && fchmod(fd, 0644) != 0)
            code = errno;
        if (close(fd) != 0 && code == 0)
            code = errno;
        kerf_sha256_end(hash, file->sha256);
    }
    kerf_sha256_free(hash);
    if (code == 0)
        return KERF_OK;
    return kerf_fail(why, kerf_err_from_errno(code), "%s/%s: %s", f->dir, name,
                     strerror(code));
}

kerf_err
kerf_fresh_commit(kerf_fresh *f, kerf_detail *why)
{
    for (size_t i = 0; i < f->count; i++) {
        kerf_fresh_file *file = &f->file[i];
        char path[KERF_PATH_MAX];
        kerf_err err = kerf_fresh_claim(f, file->name, why);

        if (err == KERF_OK)
            err = kerf_path_join(path, f->dir, file->name);
        if (err == KERF_OK && rename(file->temp, path) != 0)
            err = kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                            strerror(errno));
        if (err != KERF_OK)
            return err;
        /* Until the last one, it goes again with the others. */
        memcpy(file->temp, path, sizeof path);
    }
    f->is_committed = true;
    return KERF_OK;
}

void
kerf_fresh_fini(kerf_fresh *f)
{
    if (f->is_committed)
        return;
    for (size_t i = 0; i < f->count; i++)
        (void)unlink(f->file[i].temp);
    if (f->made_dir)
        (void)rmdir(f->dir);
    f->count = 0;
    f->made_dir = false;
}
