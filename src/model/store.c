#include "model/store.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"

/*
 * A temporary file is locked (flock) as long as its writer lives. So a file
 * that can be locked belongs to nobody, whatever the process number in its name
 * says: numbers come again, in containers at every start. Only where locks do
 * not work does the number decide.
 */

#define MANIFEST_END ".manifest.json"

enum {
    TEMP_NAME = 64,
    TEMP_TRIES = 100,
    STORE_MOST = 65536, /* files looked at in the store */
    READ_STEP = 1 << 16
};

struct kerf_store {
    int dir; /* open folder */
    char path[KERF_PATH_MAX];
};

struct kerf_incoming {
    kerf_store *store; /* borrowed */
    kerf_sha256 *hash; /* of the bytes so far */
    kerf_file file;
    uint64_t got;
    int fd;
    char temp[TEMP_NAME];
};

static kerf_err
fail_errno(const kerf_store *store, const char *name, int code,
           kerf_detail *why)
{
    kerf_err err = kerf_err_from_errno(code);

    if (err == KERF_ENOSPC) {
        return kerf_fail(why, err,
                         "%s: no room for %s (%s): free some space or use "
                         "another folder",
                         store->path, name, strerror(code));
    }
    return kerf_fail(why, err == KERF_ENOMEM ? err : KERF_EIO, "%s/%s: %s",
                     store->path, name, strerror(code));
}

/* ".kerf-PID-N.tmp" */
static bool
parse_temp(const char *name, long *pid)
{
    unsigned long n;
    int end = 0;

    return sscanf(name, ".kerf-%ld-%lu.tmp%n", pid, &n, &end) == 2 && end > 0 &&
           name[end] == '\0' && *pid > 0;
}

static bool
is_stale(int fd, long pid)
{
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return false;
    return kill((pid_t)pid, 0) != 0 && errno == ESRCH;
}

static void
remove_if_stale(const kerf_store *store, const char *name)
{
    long pid = 0;
    int fd;

    if (!parse_temp(name, &pid))
        return;
    fd = openat(store->dir, name,
                O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return;
    if (is_stale(fd, pid))
        (void)unlinkat(store->dir, name, 0);
    (void)close(fd);
}

static void
remove_stale(const kerf_store *store)
{
    int fd = openat(store->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct dirent *entry;
    DIR *dir;

    if (fd < 0)
        return;
    dir = fdopendir(fd);
    if (dir == NULL) {
        (void)close(fd);
        return;
    }
    while ((entry = readdir(dir)) != NULL)
        remove_if_stale(store, entry->d_name);
    (void)closedir(dir);
}

kerf_err
kerf_store_open(kerf_store **out, const char *dir, kerf_detail *why)
{
    kerf_store *store = NULL;
    kerf_err err = kerf_fs_mkdirs(dir, why);

    if (err != KERF_OK)
        return err;
    store = calloc(1, sizeof *store);
    if (store == NULL)
        return kerf_fail(why, KERF_ENOMEM, "%s: no memory", dir);
    (void)snprintf(store->path, sizeof store->path, "%s", dir);
    store->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (store->dir < 0) {
        err = kerf_fail(why, KERF_EIO, "%s: %s", dir, strerror(errno));
        free(store);
        return err;
    }
    if (faccessat(store->dir, ".", W_OK | X_OK, 0) != 0) {
        err = kerf_fail(why, KERF_EIO, "%s: cannot write here: %s", dir,
                        strerror(errno));
        kerf_store_close(store);
        return err;
    }
    remove_stale(store);
    *out = store;
    return KERF_OK;
}

void
kerf_store_close(kerf_store *store)
{
    if (store == NULL)
        return;
    (void)close(store->dir);
    free(store);
}

/* Opens a regular file for reading; a symbolic link is not one. -1, errno. */
static int
open_part(const kerf_store *store, const char *name, uint64_t *size)
{
    struct stat st;
    int fd = openat(store->dir, name,
                    O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        errno = ENOENT;
        return -1;
    }
    *size = (uint64_t)st.st_size;
    return fd;
}

/* Bytes read, fewer than len only at the end of the file; -1, errno. */
static ssize_t
read_some(int fd, uint8_t *data, size_t len)
{
    size_t at = 0;

    while (at < len) {
        ssize_t n = read(fd, data + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    return (ssize_t)at;
}

static bool
hash_matches(int fd, const kerf_file *file)
{
    kerf_sha256 *hash = NULL;
    uint8_t sum[KERF_SHA256_LEN];
    uint8_t *step = malloc(READ_STEP);
    uint64_t got = 0;
    bool same = false;
    ssize_t n;

    if (step == NULL || kerf_sha256_new(&hash) != KERF_OK)
        goto out;
    while ((n = read_some(fd, step, READ_STEP)) > 0) {
        kerf_sha256_add(hash, step, (size_t)n);
        got += (uint64_t)n;
        if (got > file->size)
            goto out;
    }
    kerf_sha256_end(hash, sum);
    same = n == 0 && got == file->size &&
           memcmp(sum, file->sha256, sizeof sum) == 0;
out:
    kerf_sha256_free(hash);
    free(step);
    return same;
}

bool
kerf_store_has(kerf_store *store, const kerf_file *file)
{
    uint64_t size = 0;
    bool has;
    int fd;

    if (!kerf_text_is_name(file->name))
        return false;
    fd = open_part(store, file->name, &size);
    if (fd < 0)
        return false;
    has = size == file->size && hash_matches(fd, file);
    (void)close(fd);
    return has;
}

/* The whole file -> free(). KERF_ENOENT also for what is no regular file. */
static kerf_err
read_whole(const kerf_store *store, const char *name, uint64_t most,
           uint8_t **data, size_t *len, kerf_detail *why)
{
    uint64_t size = 0;
    uint8_t *bytes = NULL;
    int fd = open_part(store, name, &size);
    kerf_err err = KERF_OK;
    ssize_t n;

    if (fd < 0)
        return kerf_fail(why, errno == ENOENT ? KERF_ENOENT : KERF_EIO,
                         "%s/%s: %s", store->path, name, strerror(errno));
    if (size > most) {
        err = kerf_fail(why, KERF_ETOOBIG, "%s/%s: %llu bytes", store->path,
                        name, (unsigned long long)size);
        goto out;
    }
    bytes = malloc((size_t)size + 1);
    if (bytes == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "%s/%s: no memory for %llu bytes",
                        store->path, name, (unsigned long long)size);
        goto out;
    }
    n = read_some(fd, bytes, (size_t)size);
    if (n < 0) {
        err = fail_errno(store, name, errno, why);
        goto out;
    }
    bytes[n] = 0;
    *data = bytes;
    *len = (size_t)n;
    bytes = NULL;
out:
    free(bytes);
    (void)close(fd);
    return err;
}

static int64_t
changed_ns(const kerf_store *store, const char *name)
{
    struct stat st;

    if (fstatat(store->dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return 0;
    return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

static kerf_err
read_manifest(kerf_store *store, const char *file, kerf_manifest *out)
{
    uint8_t *json = NULL;
    size_t len = 0;
    kerf_err err =
        read_whole(store, file, KERF_MANIFEST_MAX, &json, &len, NULL);

    if (err == KERF_OK)
        err = kerf_manifest_parse(out, json, len, NULL);
    free(json);
    return err;
}

kerf_err
kerf_store_latest(kerf_store *store, const char *name, kerf_manifest *out)
{
    kerf_names names = {0};
    const char *best = NULL;
    char wanted[KERF_PART_NAME] = "";
    kerf_err err = kerf_fs_list(store->path, STORE_MOST, &names, NULL);

    if (name != NULL)
        (void)snprintf(wanted, sizeof wanted, "%s%s", name, MANIFEST_END);
    for (size_t i = 0; err == KERF_OK && i < names.count; i++) {
        const char *at = names.name[i];

        if (kerf_path_ends(at, MANIFEST_END) &&
            (name == NULL || strcmp(at, wanted) == 0) &&
            (best == NULL || changed_ns(store, at) > changed_ns(store, best)))
            best = at;
    }
    err = best == NULL ? KERF_ENOENT : read_manifest(store, best, out);
    kerf_names_free(&names);
    return err;
}

/* Id of the bundle that this manifest lists, if all of it is there. */
static bool
read_bundle(kerf_store *store, const char *name, uint8_t id[KERF_BUNDLE_ID_LEN])
{
    char expected[KERF_PART_NAME];
    kerf_manifest m = {0};
    bool whole;

    if (read_manifest(store, name, &m) != KERF_OK)
        return false;
    (void)snprintf(expected, sizeof expected, "%s%s", m.name, MANIFEST_END);
    whole = strcmp(expected, name) == 0;
    for (size_t i = 0; whole && i < m.file_count; i++)
        whole = !kerf_role_is_shipped(m.file[i].role, false) ||
                kerf_store_has(store, &m.file[i]);
    memcpy(id, m.id, KERF_BUNDLE_ID_LEN);
    kerf_manifest_fini(&m);
    return whole;
}

size_t
kerf_store_bundles(kerf_store *store, uint8_t (*id)[KERF_BUNDLE_ID_LEN],
                   size_t cap)
{
    kerf_names names = {0};
    size_t count = 0;

    if (kerf_fs_list(store->path, STORE_MOST, &names, NULL) != KERF_OK)
        return 0;
    for (size_t i = 0; i < names.count && count < cap; i++) {
        if (kerf_path_ends(names.name[i], MANIFEST_END) &&
            read_bundle(store, names.name[i], id[count]))
            count++;
    }
    kerf_names_free(&names);
    return count;
}

/* A new locked temporary file; -1, errno. */
static int
make_temp(const kerf_store *store, char name[TEMP_NAME])
{
    static atomic_ulong serial;

    for (int i = 0; i < TEMP_TRIES; i++) {
        struct stat st;
        int fd;

        (void)snprintf(name, TEMP_NAME, ".kerf-%ld-%lu.tmp", (long)getpid(),
                       atomic_fetch_add(&serial, 1));
        fd = openat(store->dir, name,
                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            return -1;
        (void)flock(fd, LOCK_EX);
        /* Another process that opened the store before the lock was there
         * has taken the file for a stale one. */
        if (fstat(fd, &st) == 0 && st.st_nlink > 0)
            return fd;
        (void)close(fd);
    }
    errno = EEXIST;
    return -1;
}

/* Takes the room now, so that a full disk shows before the transfer. 0, or an
 * errno; file systems that cannot do it are fine. */
static int
reserve(int fd, uint64_t size)
{
    if (size == 0 || fallocate(fd, 0, 0, (off_t)size) == 0)
        return 0;
    return kerf_err_from_errno(errno) == KERF_ENOSPC ? errno : 0;
}

kerf_err
kerf_incoming_open(kerf_incoming **out, kerf_store *store,
                   const kerf_file *file, kerf_detail *why)
{
    kerf_incoming *in = NULL;
    kerf_err err = KERF_OK;
    int code;

    if (!kerf_text_is_name(file->name) || file->size > KERF_MODEL_BYTES_MAX) {
        (void)kerf_fail(why, KERF_EINVAL, "not a part's name or size");
        return KERF_EINVAL;
    }
    in = calloc(1, sizeof *in);
    if (in == NULL) {
        (void)kerf_fail(why, KERF_ENOMEM, "%s: no memory", file->name);
        return KERF_ENOMEM;
    }
    in->fd = -1;
    in->store = store;
    in->file = *file;
    err = kerf_sha256_new(&in->hash);
    if (err != KERF_OK) {
        (void)kerf_fail(why, err, "%s: no memory", file->name);
        goto out;
    }
    in->fd = make_temp(store, in->temp);
    code = in->fd < 0 ? errno : reserve(in->fd, file->size);
    if (code != 0) {
        err = fail_errno(store, file->name, code, why);
        goto out;
    }
    *out = in;
    in = NULL;
out:
    kerf_incoming_abort(in);
    return err;
}

kerf_err
kerf_incoming_write(kerf_incoming *in, const void *data, size_t len,
                    kerf_detail *why)
{
    const uint8_t *bytes = data;

    if (len > in->file.size - in->got)
        return kerf_fail(why, KERF_ETOOBIG,
                         "%s: more than the %llu bytes of the manifest",
                         in->file.name, (unsigned long long)in->file.size);
    for (size_t at = 0; at < len;) {
        ssize_t n = write(in->fd, bytes + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(in->store, in->file.name, errno, why);
        /* Hashed as written: after an error got and hash still agree. */
        kerf_sha256_add(in->hash, bytes + at, (size_t)n);
        in->got += (uint64_t)n;
        at += (size_t)n;
    }
    return KERF_OK;
}

bool
kerf_incoming_recall(void *incoming, uint64_t offset, uint8_t *to, size_t len)
{
    const kerf_incoming *in = incoming;

    if (offset > in->got || len > in->got - offset)
        return false;
    return kerf_fs_read_at(in->fd, offset, to, len);
}

uint64_t
kerf_incoming_got(const kerf_incoming *in)
{
    return in->got;
}

void
kerf_incoming_abort(kerf_incoming *in)
{
    if (in == NULL)
        return;
    if (in->fd >= 0 && in->temp[0] != '\0')
        (void)unlinkat(in->store->dir, in->temp, 0);
    if (in->fd >= 0)
        (void)close(in->fd); /* last: the lock keeps others away till then */
    kerf_sha256_free(in->hash);
    free(in);
}

static kerf_err
check_size(const kerf_incoming *in, kerf_detail *why)
{
    if (in->got == in->file.size)
        return KERF_OK;
    return kerf_fail(why, KERF_ECORRUPT,
                     "%s: %llu bytes came, the manifest says %llu",
                     in->file.name, (unsigned long long)in->got,
                     (unsigned long long)in->file.size);
}

static kerf_err
check_whole(kerf_incoming *in, kerf_detail *why)
{
    uint8_t sum[KERF_SHA256_LEN];
    kerf_err err = check_size(in, why);

    if (err != KERF_OK)
        return err;
    kerf_sha256_end(in->hash, sum);
    if (memcmp(sum, in->file.sha256, sizeof sum) != 0) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "%s: its bytes are not those of the manifest "
                         "(SHA-256 differs)",
                         in->file.name);
    }
    return KERF_OK;
}

/* Syncs the temporary file, gives it its name, syncs the folder. */
static kerf_err
publish(kerf_incoming *in, kerf_detail *why)
{
    const kerf_store *store = in->store;

    if (fsync(in->fd) != 0 ||
        renameat(store->dir, in->temp, store->dir, in->file.name) != 0)
        return fail_errno(store, in->file.name, errno, why);
    in->temp[0] = '\0'; /* that name may be another's from here */
    if (fsync(store->dir) != 0)
        return fail_errno(store, in->file.name, errno, why);
    return KERF_OK;
}

kerf_err
kerf_incoming_commit(kerf_incoming *in, kerf_detail *why)
{
    kerf_err err = check_whole(in, why);

    if (err == KERF_OK)
        err = publish(in, why);
    kerf_incoming_abort(in);
    return err;
}

kerf_err
kerf_incoming_accept(kerf_incoming *in, uint8_t sha256[KERF_SHA256_LEN],
                     kerf_detail *why)
{
    kerf_err err = check_size(in, why);

    if (err == KERF_OK) {
        kerf_sha256_end(in->hash, sha256);
        err = publish(in, why);
    }
    kerf_incoming_abort(in);
    return err;
}

kerf_err
kerf_store_finish(kerf_store *store, const kerf_manifest *m, kerf_detail *why)
{
    kerf_file file = {.role = KERF_ROLE_CARD};
    kerf_incoming *in = NULL;
    kerf_sha256 *hash = NULL;
    char *json = NULL;
    kerf_err err = kerf_manifest_format(m, &json);

    if (err == KERF_OK)
        err = kerf_sha256_new(&hash);
    if (err != KERF_OK) {
        (void)kerf_fail(why, err, "%s: cannot write its manifest: %s", m->name,
                        kerf_err_text(err));
        goto out;
    }
    (void)snprintf(file.name, sizeof file.name, "%s%s", m->name, MANIFEST_END);
    file.size = strlen(json);
    kerf_sha256_add(hash, json, (size_t)file.size);
    kerf_sha256_end(hash, file.sha256);
    err = kerf_incoming_open(&in, store, &file, why);
    if (err != KERF_OK)
        goto out;
    assert(in != NULL);
    err = kerf_incoming_write(in, json, (size_t)file.size, why);
    if (err != KERF_OK)
        goto out;
    err = kerf_incoming_commit(in, why);
    in = NULL;
out:
    kerf_incoming_abort(in);
    kerf_sha256_free(hash);
    free(json);
    return err;
}

static kerf_err
load_part(kerf_store *store, kerf_pair *pair, const kerf_file *file,
          kerf_sha256 *hash, kerf_detail *why)
{
    uint8_t sum[KERF_SHA256_LEN];
    uint8_t *data = NULL;
    size_t len = 0;
    kerf_err err = read_whole(store, file->name, file->size, &data, &len, why);

    kerf_pair_drop(pair, file->role);
    pair->data[file->role] = data; /* frees it, whatever comes */
    pair->len[file->role] = len;
    if (err == KERF_ETOOBIG)
        err = KERF_ECORRUPT;
    if (err != KERF_OK)
        return err;
    kerf_sha256_add(hash, data, len);
    kerf_sha256_end(hash, sum);
    if (len != file->size || memcmp(sum, file->sha256, sizeof sum) != 0) {
        return kerf_fail(why, KERF_ECORRUPT,
                         "%s/%s: not the bytes of the manifest (SHA-256 "
                         "differs)",
                         store->path, file->name);
    }
    return KERF_OK;
}

kerf_err
kerf_store_load(kerf_store *store, const kerf_manifest *m, bool tail,
                kerf_pair *pair, kerf_detail *why)
{
    kerf_pair new = {.manifest = *m};
    kerf_sha256 *hash = NULL;
    kerf_err err;

    new.manifest.probe = NULL;
    new.manifest.probe_count = 0;
    err = kerf_sha256_new(&hash);
    for (size_t i = 0; i < m->file_count && err == KERF_OK; i++) {
        if (kerf_role_is_shipped(m->file[i].role, tail))
            err = load_part(store, &new, &m->file[i], hash, why);
    }
    if (err == KERF_OK)
        err = kerf_pair_card(&new, why);
    if (err == KERF_OK) {
        *pair = new;
        new = (kerf_pair){0};
    }
    kerf_sha256_free(hash);
    kerf_pair_fini(&new);
    return err;
}
