#include "base/fs.h"

#include "base/hash.h"
#include "base/large.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

kerf_err
kerf_err_from_errno(int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return KERF_ENOSPC;
    case ENOENT:
    case ENOTDIR:
        return KERF_ENOENT;
    case ENOMEM:
        return KERF_ENOMEM;
    case EADDRINUSE:
        return KERF_EADDRINUSE;
    default:
        return KERF_EIO;
    }
}

static kerf_err
fail_errno(kerf_detail *why, int code, const char *path)
{
    return kerf_fail(why, kerf_err_from_errno(code), "%s: %s", path,
                     strerror(code));
}

kerf_err
kerf_path_join(char out[KERF_PATH_MAX], const char *dir, const char *name)
{
    size_t len = strlen(dir);
    const char *slash = len > 0 && dir[len - 1] == '/' ? "" : "/";
    int n = snprintf(out, KERF_PATH_MAX, "%s%s%s", dir, slash, name);

    return n < 0 || n >= KERF_PATH_MAX ? KERF_ETOOBIG : KERF_OK;
}

const char *
kerf_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

char *
kerf_path_dir(char out[KERF_PATH_MAX], const char *path)
{
    size_t len = (size_t)(kerf_path_base(path) - path);

    (void)snprintf(out, KERF_PATH_MAX, "%.*s", len == 0 ? 1 : (int)len,
                   len == 0 ? "." : path);
    return out;
}

bool
kerf_path_ends(const char *path, const char *suffix)
{
    size_t len = strlen(path);
    size_t end = strlen(suffix);

    return len >= end && strcmp(path + len - end, suffix) == 0;
}

static kerf_err
read_all(int fd, const char *path, uint8_t *data, size_t len, kerf_detail *why)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = read(fd, data + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(why, errno, path);
        if (n == 0)
            return kerf_fail(why, KERF_EIO, "%s: became shorter while read",
                             path);
        at += (size_t)n;
    }
    return KERF_OK;
}

kerf_err
kerf_fs_open(int *out, const char *path, size_t max_bytes, size_t *len,
             kerf_detail *why)
{
    struct stat st;
    kerf_err err = KERF_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return fail_errno(why, errno, path);
    if (fstat(fd, &st) != 0)
        err = fail_errno(why, errno, path);
    else if (!S_ISREG(st.st_mode))
        err = kerf_fail(why, KERF_EINVAL, "%s: not a regular file", path);
    else if ((uint64_t)st.st_size > max_bytes)
        err = kerf_fail(why, KERF_ETOOBIG, "%s: %lld bytes, the limit is %zu",
                        path, (long long)st.st_size, max_bytes);
    if (err != KERF_OK) {
        (void)close(fd);
        return err;
    }
    *out = fd;
    *len = (size_t)st.st_size;
    return KERF_OK;
}

kerf_err
kerf_fs_read(const char *path, size_t max_bytes, uint8_t **data, size_t *len,
             kerf_detail *why)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    int fd = -1;
    kerf_err err = kerf_fs_open(&fd, path, max_bytes, &size, why);

    if (err != KERF_OK)
        return err;
    bytes = kerf_large_alloc(size + 1);
    if (bytes == NULL) {
        err = kerf_fail(why, KERF_ENOMEM, "%s: no memory for %zu bytes", path,
                        size);
        goto out;
    }
    err = read_all(fd, path, bytes, size, why);
    if (err != KERF_OK)
        goto out;
    bytes[size] = 0;
    *data = bytes;
    *len = size;
    bytes = NULL;
out:
    free(bytes);
    (void)close(fd);
    return err;
}

static int
write_all(int fd, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        ssize_t n = write(fd, data + at, len - at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        at += (size_t)n;
    }
    return 0;
}

bool
kerf_fs_read_at(int fd, uint64_t offset, uint8_t *to, size_t len)
{
    while (len > 0) {
        ssize_t n = pread(fd, to, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        offset += (uint64_t)n;
        len -= (size_t)n;
    }
    return true;
}

kerf_err
kerf_fs_write(const char *path, const void *data, size_t len, kerf_detail *why)
{
    return kerf_fs_write_mode(path, data, len, 0644, why);
}

kerf_err
kerf_fs_write_mode(const char *path, const void *data, size_t len,
                   unsigned mode, kerf_detail *why)
{
    char temp[KERF_PATH_MAX];
    int code;
    int fd;
    int n = snprintf(temp, sizeof temp, "%s.XXXXXX.tmp", path);

    if (n < 0 || (size_t)n >= sizeof temp)
        return kerf_fail(why, KERF_ETOOBIG, "%s: path too long", path);
    fd = mkostemps(temp, 4, O_CLOEXEC);
    if (fd < 0)
        return fail_errno(why, errno, temp);
    code = write_all(fd, data, len);
    if (code == 0 && fchmod(fd, (mode_t)mode) != 0)
        code = errno;
    if (code == 0 && fsync(fd) != 0)
        code = errno;
    if (close(fd) != 0 && code == 0)
        code = errno;
    if (code == 0 && rename(temp, path) != 0)
        code = errno;
    if (code != 0)
        (void)unlink(temp);
    else
        code = kerf_fs_sync_folder(path);
    return code == 0 ? KERF_OK : fail_errno(why, code, path);
}

int
kerf_fs_sync_dir(int fd)
{
    int code = fsync(fd) != 0 ? errno : 0;

    /* File systems that cannot sync a folder have nothing to sync there. */
    return code == EINVAL || code == ENOTSUP || code == EROFS ? 0 : code;
}

int
kerf_fs_sync_folder(const char *path)
{
    char dir[KERF_PATH_MAX];
    int fd = open(kerf_path_dir(dir, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code;

    if (fd < 0)
        return errno == EACCES ? 0 : errno; /* it may be written, not read */
    code = kerf_fs_sync_dir(fd);
    (void)close(fd);
    return code;
}

kerf_err
kerf_fs_mkdirs(const char *path, kerf_detail *why)
{
    char part[KERF_PATH_MAX];
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof part)
        return kerf_fail(why, KERF_EINVAL, "folder name is empty or too long");
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return fail_errno(why, errno, part);
    }
    if (!kerf_fs_is_dir(path))
        return kerf_fail(why, KERF_EINVAL, "%s: not a folder", path);
    return KERF_OK;
}

uint64_t
kerf_fs_stamp(const char *path)
{
    struct stat st;
    uint64_t parts[7];

    if (stat(path, &st) != 0)
        return 0;
    parts[0] = (uint64_t)st.st_dev;
    parts[1] = (uint64_t)st.st_ino;
    parts[2] = (uint64_t)st.st_size;
    parts[3] = (uint64_t)st.st_mtim.tv_sec;
    parts[4] = (uint64_t)st.st_mtim.tv_nsec;
    parts[5] = (uint64_t)st.st_ctim.tv_sec;
    parts[6] = (uint64_t)st.st_ctim.tv_nsec;
    return kerf_xxh3(parts, sizeof parts) | 1;
}

bool
kerf_fs_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool
kerf_fs_is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int
compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static kerf_err
add_name(kerf_names *names, size_t *room, const char *name)
{
    if (names->count == *room) {
        size_t more = *room == 0 ? 16 : *room * 2;
        char **bigger = realloc(names->name, more * sizeof *bigger);

        if (bigger == NULL)
            return KERF_ENOMEM;
        names->name = bigger;
        *room = more;
    }
    names->name[names->count] = strdup(name);
    if (names->name[names->count] == NULL)
        return KERF_ENOMEM;
    names->count++;
    return KERF_OK;
}

/* Takes d. */
static kerf_err
list_names(DIR *d, const char *dir, size_t most, kerf_names *out,
           kerf_detail *why)
{
    kerf_names names = {0};
    struct dirent *entry;
    kerf_err err = KERF_OK;
    size_t room = 0;

    while (err == KERF_OK && (entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (names.count == most)
            err = kerf_fail(why, KERF_ETOOBIG, "%s: more than %zu files", dir,
                            most);
        else
            err = add_name(&names, &room, entry->d_name);
    }
    (void)closedir(d);
    if (err != KERF_OK) {
        kerf_names_free(&names);
        return err;
    }
    if (names.count > 1)
        qsort(names.name, names.count, sizeof *names.name, compare_names);
    *out = names;
    return KERF_OK;
}

kerf_err
kerf_fs_list(const char *dir, size_t most, kerf_names *out, kerf_detail *why)
{
    DIR *d = opendir(dir);

    if (d == NULL)
        return fail_errno(why, errno, dir);
    return list_names(d, dir, most, out, why);
}

kerf_err
kerf_fs_list_at(int fd, size_t most, kerf_names *out)
{
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = own < 0 ? NULL : fdopendir(own);

    if (d == NULL) {
        int code = errno;

        if (own >= 0)
            (void)close(own);
        return kerf_err_from_errno(code);
    }
    return list_names(d, ".", most, out, NULL);
}

void
kerf_names_free(kerf_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
    *names = (kerf_names){0};
}

size_t
kerf_fs_raise_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit most = {limit.rlim_max, limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &most) == 0)
            limit = most;
    }
    return limit.rlim_cur == RLIM_INFINITY ? SIZE_MAX : (size_t)limit.rlim_cur;
}
