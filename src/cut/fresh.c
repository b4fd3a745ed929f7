#include "cut/fresh.h"

#include "base/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HASH_ASIDE ((size_t)1 << 20) /* bytes that are worth a thread */

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

/* SHA-256 of one file to be, beside the writing: it takes longer than that. */
struct hashing {
    const kerf_rope *rope;
    uint8_t *out;
    kerf_err err;
    pthread_t thread;
    bool is_running;
};

static void *
hash_rope(void *context)
{
    struct hashing *h = context;
    kerf_sha256 *hash = NULL;

    h->err = kerf_sha256_new(&hash);
    for (size_t i = 0; h->err == KERF_OK && i < h->rope->count; i++)
        kerf_sha256_add(hash, h->rope->piece[i].at, h->rope->piece[i].len);
    if (h->err == KERF_OK)
        kerf_sha256_end(hash, h->out);
    kerf_sha256_free(hash);
    return NULL;
}

static void *
run_hashing(void *context)
{
    kerf_thread_begin("kerf-hash");
    return hash_rope(context);
}

/* Small files at once, and large ones too when there is no thread to be had. */
static void
start_hashing(struct hashing *h)
{
    sigset_t all, before;

    if (h->rope->len >= HASH_ASIDE) {
        /* Signals are for the thread that writes, and would unlink. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_BLOCK, &all, &before);
        h->is_running = pthread_create(&h->thread, NULL, run_hashing, h) == 0;
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (!h->is_running)
        (void)hash_rope(h);
}

/* The file's place in f, and its temporary name. */
static kerf_err
begin_file(kerf_fresh *f, size_t at, const kerf_fresh_item *item,
           kerf_detail *why)
{
    kerf_fresh_file *file = &f->file[at];
    char temp[KERF_PATH_MAX]; /* gcc takes f->dir and file->temp for one */
    kerf_err err = KERF_OK;
    int n;

    if (item->rope->bad || at >= KERF_FRESH_MAX)
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory", item->name);
    if (err == KERF_OK)
        err = kerf_fresh_claim(f, item->name, why);
    if (err != KERF_OK)
        return err;
    (void)snprintf(file->name, sizeof file->name, "%s", item->name);
    file->size = item->rope->len;
    n = snprintf(temp, sizeof temp, "%s/.%s.XXXXXX.tmp", f->dir, item->name);
    if (n < 0 || (size_t)n >= sizeof temp)
        return kerf_fail(why, KERF_ETOOBIG, "%s: path too long", f->dir);
    memcpy(file->temp, temp, (size_t)n + 1);
    return KERF_OK;
}

/* The next file of f. */
static kerf_err
write_file(kerf_fresh *f, const kerf_rope *rope, kerf_detail *why)
{
    kerf_fresh_file *file = &f->file[f->count];
    int fd = mkostemps(file->temp, 4, O_CLOEXEC);
    int code = fd < 0 ? errno : 0;

    if (code == 0) {
        f->count++;
        if (kerf_rope_write(rope, fd) != KERF_OK || fchmod(fd, 0644) != 0)
            code = errno;
        if (close(fd) != 0 && code == 0)
            code = errno;
    }
    if (code == 0)
        return KERF_OK;
    return kerf_fail(why, kerf_err_from_errno(code), "%s/%s: %s", f->dir,
                     file->name, strerror(code));
}

kerf_err
kerf_fresh_add(kerf_fresh *f, const kerf_fresh_item *item, size_t count,
               kerf_detail *why)
{
    struct hashing hashing[KERF_FRESH_MAX] = {{0}};
    size_t first = f->count;
    kerf_err err = KERF_OK;

    for (size_t i = 0; i < count && err == KERF_OK; i++)
        err = begin_file(f, first + i, &item[i], why);
    for (size_t i = 0; i < count && err == KERF_OK; i++) {
        hashing[i] = (struct hashing){.rope = item[i].rope,
                                      .out = f->file[first + i].sha256};
        if (item[i].hash)
            start_hashing(&hashing[i]);
    }
    for (size_t i = 0; i < count && err == KERF_OK; i++)
        err = write_file(f, item[i].rope, why);
    for (size_t i = 0; i < KERF_FRESH_MAX; i++) {
        if (hashing[i].is_running)
            (void)pthread_join(hashing[i].thread, NULL);
        if (err == KERF_OK && hashing[i].err != KERF_OK)
            err = kerf_fail(why, hashing[i].err, "%s: no memory", item[i].name);
    }
    return err;
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
