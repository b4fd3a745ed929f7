#include "source/walk.h"

#include "base/hash.h"
#include "base/log.h"
#include "source/image_head.h"
#include "source/source.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 8

kerf_err
kerf_paths_add(kerf_paths *p, const char *path)
{
    if (p->count >= KERF_SOURCE_FILES_MAX)
        return KERF_ETOOBIG;
    if (p->count == p->room) {
        size_t room = p->room == 0 ? 64 : p->room * 2;
        char **bigger = realloc(p->path, room * sizeof *bigger);

        if (bigger == NULL)
            return KERF_ENOMEM;
        p->path = bigger;
        p->room = room;
    }
    p->path[p->count] = strdup(path);
    if (p->path[p->count] == NULL)
        return KERF_ENOMEM;
    p->count++;
    return KERF_OK;
}

void
kerf_paths_fini(kerf_paths *p)
{
    for (size_t i = p->next; i < p->count; i++)
        free(p->path[i]);
    free(p->path);
    *p = (kerf_paths){0};
}

char *
kerf_paths_take(kerf_paths *p)
{
    char *path;

    if (p->next == p->count)
        return NULL;
    path = p->path[p->next++];
    if (p->next == p->count)
        p->next = p->count = 0;
    return path;
}

bool
kerf_walk_wants(const char *name)
{
    return name[0] != '.' &&
           (kerf_image_has_ending(name) != 0 || kerf_path_ends(name, ".npy"));
}

/* A lease for reading is refused while a file is open for writing. Where
 * leases do not work (another owner, no such file system) we take the file. */
static bool
is_being_written(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool busy;

    if (fd < 0)
        return false;
    /* Whoever opens it for writing meanwhile breaks the lease, and the signal
     * for that must be one that does nothing. */
    (void)fcntl(fd, F_SETSIG, SIGURG);
    busy = fcntl(fd, F_SETLEASE, F_RDLCK) != 0 && errno == EAGAIN;
    (void)close(fd);
    return busy;
}

/* A folder that is no link: links may lead back to where we come from. */
static bool
is_own_folder(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static kerf_err
walk(kerf_paths *out, const char *dir, bool watch, int depth, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_names names = {0};
    kerf_err err = kerf_fs_list(dir, KERF_SOURCE_FILES_MAX, &names, why);

    if (err != KERF_OK)
        return err;
    for (size_t i = 0; i < names.count && err == KERF_OK; i++) {
        err = kerf_path_join(path, dir, names.name[i]);
        if (err != KERF_OK)
            break;
        if (kerf_fs_is_dir(path)) {
            if (depth < DEPTH_MAX && is_own_folder(path))
                err = walk(out, path, watch, depth + 1, why);
        } else if (kerf_walk_wants(names.name[i]) &&
                   !(watch && is_being_written(path))) {
            err = kerf_paths_add(out, path);
            if (err != KERF_OK)
                (void)kerf_fail(why, err, "%s: more than %d files", dir,
                                KERF_SOURCE_FILES_MAX);
        }
    }
    kerf_names_free(&names);
    return err;
}

kerf_err
kerf_walk_add(kerf_paths *out, const char *dir, bool watch, kerf_detail *why)
{
    return walk(out, dir, watch, 0, why);
}

typedef struct kerf_seen_one {
    uint64_t path; /* hash */
    int64_t changed_ns;
} seen_one;

static seen_one
make_one(const char *path)
{
    seen_one one = {.path = kerf_xxh3(path, strlen(path))};
    struct stat st;

    if (stat(path, &st) == 0)
        one.changed_ns =
            (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec;
    return one;
}

static int
compare_ones(const void *a, const void *b)
{
    const seen_one *x = a;
    const seen_one *y = b;

    if (x->path != y->path)
        return x->path < y->path ? -1 : 1;
    return (x->changed_ns > y->changed_ns) - (x->changed_ns < y->changed_ns);
}

kerf_err
kerf_seen_add(kerf_seen *seen, const char *path)
{
    if (seen->count == seen->room) {
        size_t room = seen->room == 0 ? 64 : seen->room * 2;
        seen_one *bigger = realloc(seen->one, room * sizeof *bigger);

        if (bigger == NULL)
            return KERF_ENOMEM;
        seen->one = bigger;
        seen->room = room;
    }
    seen->one[seen->count++] = make_one(path);
    seen->sorted = false;
    return KERF_OK;
}

bool
kerf_seen_has(kerf_seen *seen, const char *path)
{
    seen_one key = make_one(path);

    if (seen->count == 0)
        return false;
    if (!seen->sorted)
        qsort(seen->one, seen->count, sizeof *seen->one, compare_ones);
    seen->sorted = true;
    return bsearch(&key, seen->one, seen->count, sizeof key, compare_ones) !=
           NULL;
}

void
kerf_seen_fini(kerf_seen *seen)
{
    free(seen->one);
    *seen = (kerf_seen){0};
}

typedef struct watched {
    char *path; /* owned; NULL: none */
    int depth;
} watched;

struct kerf_watch {
    int fd;
    watched *dir; /* by watch descriptor, which counts from 1 */
    size_t count;
    kerf_seen listed; /* files found in folders that came later */
};

kerf_err
kerf_watch_new(kerf_watch **out, kerf_detail *why)
{
    kerf_watch *w = calloc(1, sizeof *w);

    if (w == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (w->fd < 0) {
        free(w);
        return kerf_fail(why, KERF_EIO, "cannot watch folders: %s",
                         strerror(errno));
    }
    *out = w;
    return KERF_OK;
}

void
kerf_watch_free(kerf_watch *w)
{
    if (w == NULL)
        return;
    (void)close(w->fd);
    for (size_t i = 0; i < w->count; i++)
        free(w->dir[i].path);
    free(w->dir);
    kerf_seen_fini(&w->listed);
    free(w);
}

int
kerf_watch_fd(const kerf_watch *w)
{
    return w->fd;
}

static kerf_err
watch_one(kerf_watch *w, const char *dir, int depth, kerf_detail *why)
{
    int wd = inotify_add_watch(
        w->fd, dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
    watched *bigger;

    if (wd < 0)
        return kerf_fail(why, kerf_err_from_errno(errno),
                         "%s: cannot watch: %s", dir, strerror(errno));
    if ((size_t)wd < w->count && w->dir[wd].path != NULL)
        return KERF_OK; /* named twice */
    if ((size_t)wd >= w->count) {
        bigger = realloc(w->dir, ((size_t)wd + 1) * sizeof *bigger);
        if (bigger == NULL)
            return kerf_fail(why, KERF_ENOMEM, "no memory");
        w->dir = bigger;
        while (w->count <= (size_t)wd)
            w->dir[w->count++] = (watched){0};
    }
    w->dir[wd] = (watched){.path = strdup(dir), .depth = depth};
    return w->dir[wd].path == NULL ? kerf_fail(why, KERF_ENOMEM, "no memory")
                                   : KERF_OK;
}

static kerf_err
watch_tree(kerf_watch *w, const char *dir, int depth, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_names names = {0};
    kerf_err err = watch_one(w, dir, depth, why);

    if (err == KERF_OK)
        err = kerf_fs_list(dir, KERF_SOURCE_FILES_MAX, &names, why);
    for (size_t i = 0; i < names.count && err == KERF_OK; i++) {
        err = kerf_path_join(path, dir, names.name[i]);
        if (err == KERF_OK && depth < DEPTH_MAX && is_own_folder(path))
            err = watch_tree(w, path, depth + 1, why);
    }
    kerf_names_free(&names);
    return err;
}

kerf_err
kerf_watch_add(kerf_watch *w, const char *dir, kerf_detail *why)
{
    return watch_tree(w, dir, 0, why);
}

/* A folder that came later: watched first, then its files that are complete.
 * Those may have an event too, which take_event() knows by w->listed. */
static kerf_err
take_folder(kerf_watch *w, const char *dir, int depth, kerf_paths *out)
{
    size_t first = out->count;
    kerf_detail why = {.text = ""};
    kerf_err err;

    if (depth > DEPTH_MAX || !is_own_folder(dir))
        return KERF_OK;
    err = watch_tree(w, dir, depth, &why);
    if (err == KERF_OK)
        err = walk(out, dir, true, depth, &why);
    for (size_t i = first; i < out->count; i++) {
        if (kerf_seen_add(&w->listed, out->path[i]) != KERF_OK)
            return KERF_ENOMEM;
    }
    if (err == KERF_ENOMEM || err == KERF_ETOOBIG)
        return err;
    if (err != KERF_OK && err != KERF_ENOENT) /* gone again is fine */
        kerf_log(KERF_LOG_WARN, "source.folder_not_watched", "why=%s",
                 KERF_Q(why.text));
    return KERF_OK;
}

static kerf_err
take_event(kerf_watch *w, const struct inotify_event *e, kerf_paths *out,
           bool *lost)
{
    char path[KERF_PATH_MAX];

    if ((e->mask & IN_Q_OVERFLOW) != 0)
        *lost = true;
    if (e->wd < 0 || (size_t)e->wd >= w->count || e->len == 0 ||
        e->name[0] == '.' || w->dir[e->wd].path == NULL ||
        kerf_path_join(path, w->dir[e->wd].path, e->name) != KERF_OK)
        return KERF_OK;
    if ((e->mask & IN_ISDIR) != 0)
        return take_folder(w, path, w->dir[e->wd].depth + 1, out);
    if ((e->mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) == 0 ||
        !kerf_walk_wants(e->name) || kerf_seen_has(&w->listed, path))
        return KERF_OK;
    return kerf_paths_add(out, path);
}

kerf_err
kerf_watch_read(kerf_watch *w, kerf_paths *out, bool *lost, kerf_detail *why)
{
    _Alignas(struct inotify_event) char buf[16384];

    for (;;) {
        ssize_t n = read(w->fd, buf, sizeof buf);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return KERF_OK;
        if (n <= 0)
            return kerf_fail(why, KERF_EIO, "cannot watch folders: %s",
                             strerror(errno));
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e =
                (const struct inotify_event *)(const void *)(buf + at);
            kerf_err err = take_event(w, e, out, lost);

            if (err != KERF_OK)
                return kerf_fail(why, err, "too many new files at once");
            at += (ssize_t)(sizeof *e + e->len);
        }
    }
}
