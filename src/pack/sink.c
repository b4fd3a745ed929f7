#include "pack/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kerf_err
failed(kerf_detail *why, const char *path, const char *what)
{
    int code = errno;

    return kerf_fail(why, kerf_err_from_errno(code), "%s: cannot %s: %s", path,
                     what, strerror(code));
}

kerf_err
kerf_write_all(int fd, const void *data, size_t len, const char *name,
               kerf_detail *why)
{
    const uint8_t *at = data;

    while (len > 0) {
        ssize_t n = write(fd, at, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failed(why, name, "write");
        at += n;
        len -= (size_t)n;
    }
    return KERF_OK;
}

kerf_err
kerf_temp_fd(int *fd, kerf_detail *why)
{
    const char *dir = getenv("TMPDIR");
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(path, dir != NULL && dir[0] ? dir : "/tmp",
                                  "kerf-XXXXXX");

    if (err != KERF_OK)
        return kerf_fail(why, err, "TMPDIR is too long");
    *fd = mkostemp(path, O_CLOEXEC);
    if (*fd < 0)
        return failed(why, path, "make a temporary file");
    (void)unlink(path);
    return KERF_OK;
}

kerf_err
kerf_sink_open(kerf_sink *sink, const char *path, bool is_new, uint64_t most,
               kerf_detail *why)
{
    static unsigned counter;
    struct stat there;
    int n;

    *sink = (kerf_sink){.fd = -1, .most = most};
    if (path == NULL) {
        sink->is_out = true;
        (void)snprintf(sink->path, sizeof sink->path, "standard output");
        return kerf_temp_fd(&sink->fd, why);
    }
    if (is_new && kerf_fs_exists(path))
        return kerf_fail(why, KERF_EINVAL,
                         "%s is there already: --force to overwrite", path);
    /* The rename would take the place of a device. */
    if (lstat(path, &there) == 0 && !S_ISREG(there.st_mode) &&
        !S_ISLNK(there.st_mode))
        return kerf_fail(why, KERF_EINVAL, "%s: not a regular file", path);
    n = snprintf(sink->temp, sizeof sink->temp, "%s.kerf-%ld-%u.tmp", path,
                 (long)getpid(), counter++);
    if (n >= (int)sizeof sink->temp) {
        sink->temp[0] = '\0';
        return kerf_fail(why, KERF_ETOOBIG, "%s: the path is too long", path);
    }
    memcpy(sink->path, path, strlen(path) + 1);
    sink->fd = open(sink->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (sink->fd < 0) {
        sink->temp[0] = '\0';
        return failed(why, path, "create");
    }
    return KERF_OK;
}

void
kerf_sink_open_memory(kerf_sink *sink, uint8_t *memory, size_t room)
{
    *sink = (kerf_sink){.fd = -1, .memory = memory, .most = room};
    (void)snprintf(sink->path, sizeof sink->path, "memory");
}

kerf_err
kerf_sink_write(kerf_sink *sink, const void *data, size_t len, kerf_detail *why)
{
    if (len > sink->most - sink->len) {
        return kerf_fail(why, KERF_ETOOBIG,
                         "it unpacks to more than %llu bytes: --max-size for "
                         "more",
                         (unsigned long long)sink->most);
    }
    if (sink->memory != NULL) {
        uint8_t *to = sink->memory + sink->len;

        if (len > 0 && to != data)
            memmove(to, data, len); /* it may be in place but for some bytes */
        sink->len += len;
        return KERF_OK;
    }
    sink->len += len;
    return kerf_write_all(sink->fd, data, len, sink->path, why);
}

uint8_t *
kerf_sink_place(const kerf_sink *sink, uint64_t offset, size_t len)
{
    if (sink->memory == NULL || offset > sink->most ||
        len > sink->most - offset)
        return NULL;
    return sink->memory + offset;
}

bool
kerf_sink_recall(void *sink, uint64_t offset, uint8_t *to, size_t len)
{
    const kerf_sink *s = sink;

    if (offset > s->len || len > s->len - offset)
        return false;
    if (s->memory != NULL && len > 0) {
        memcpy(to, s->memory + offset, len);
        return true;
    }
    return kerf_fs_read_at(s->fd, offset, to, len);
}

static kerf_err
copy_out(kerf_sink *sink, kerf_detail *why)
{
    static uint8_t part[1 << 16];

    for (uint64_t at = 0; at < sink->len;) {
        size_t n = sink->len - at < sizeof part ? (size_t)(sink->len - at)
                                                : sizeof part;
        kerf_err err;

        if (!kerf_sink_recall(sink, at, part, n))
            return failed(why, "the temporary file", "read");
        err = kerf_write_all(STDOUT_FILENO, part, n, sink->path, why);
        if (err != KERF_OK)
            return err;
        at += n;
    }
    return KERF_OK;
}

kerf_err
kerf_sink_commit(kerf_sink *sink, mode_t mode, int64_t mtime, kerf_detail *why)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = mtime}};
    kerf_err err = KERF_OK;

    if (sink->is_out) {
        err = copy_out(sink, why);
    } else if (fchmod(sink->fd, mode & 0777) != 0 ||
               (mtime != 0 && futimens(sink->fd, times) != 0) ||
               fsync(sink->fd) != 0) {
        err = failed(why, sink->path, "finish");
    } else if (rename(sink->temp, sink->path) != 0) {
        err = failed(why, sink->path, "create");
    } else {
        sink->temp[0] = '\0';
        errno = kerf_fs_sync_folder(sink->path);
        if (errno != 0)
            err = failed(why, sink->path, "sync");
    }
    kerf_sink_drop(sink);
    return err;
}

void
kerf_sink_drop(kerf_sink *sink)
{
    if (sink->fd >= 0)
        (void)close(sink->fd);
    if (sink->temp[0] != '\0')
        (void)unlink(sink->temp);
    sink->fd = -1;
    sink->temp[0] = '\0';
}
