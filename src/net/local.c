#include "net/local.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 16
#define YOUNG_S 10
#define CONNECT_MS 1000
#define STEP_MS 50

static bool
is_own_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
           st.st_uid == geteuid();
}

void
kerf_local_place_of(kerf_local_place *place)
{
    const char *dir = getenv("XDG_RUNTIME_DIR");

    (void)snprintf(place->prefix, sizeof place->prefix, "kerf-cloud-");
    if (dir != NULL && dir[0] == '/' && strlen(dir) < sizeof place->dir &&
        is_own_dir(dir)) {
        (void)snprintf(place->dir, sizeof place->dir, "%s", dir);
        return;
    }
    (void)snprintf(place->dir, sizeof place->dir, "/run/user/%u",
                   (unsigned)geteuid());
    if (is_own_dir(place->dir))
        return;
    (void)snprintf(place->dir, sizeof place->dir, "/tmp");
    (void)snprintf(place->prefix, sizeof place->prefix, "kerf-%u-cloud-",
                   (unsigned)geteuid());
}

kerf_err
kerf_local_path(char out[KERF_LOCAL_PATH], const char *host, int port,
                kerf_detail *why)
{
    kerf_local_place place = {0};
    char at[KERF_LOCAL_PATH] = "";
    int n;

    if (host != NULL && strcmp(host, KERF_LOCAL_HOST) != 0)
        (void)snprintf(at, sizeof at, "@%s", host);
    for (char *c = at; *c != '\0'; c++)
        *c = (char)(*c == '/' ? '_' : *c);
    kerf_local_place_of(&place);
    n = snprintf(out, KERF_LOCAL_PATH, "%s/%s%d%s.sock", place.dir,
                 place.prefix, port, at);
    if (n < 0 || n >= KERF_LOCAL_PATH)
        return kerf_fail(why, KERF_ETOOBIG,
                         "%s: too long a path for a socket in it", place.dir);
    return KERF_OK;
}

static kerf_err
fill_address(struct sockaddr_un *at, const char *path, kerf_detail *why)
{
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof at->sun_path)
        return kerf_fail(why, KERF_ETOOBIG,
                         "%s: a socket's path has %zu bytes at most", path,
                         sizeof at->sun_path - 1);
    (void)snprintf(at->sun_path, sizeof at->sun_path, "%s", path);
    return KERF_OK;
}

static int
open_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* A listener that is frozen has a full backlog at some time: connect() would
 * wait for it without end, and poll() does not tell of room there. Returns 0
 * or an errno, EAGAIN for that. */
static int
connect_for(int fd, const struct sockaddr_un *at, int most_ms)
{
    const struct timespec pause = {.tv_nsec = STEP_MS * 1000000L};
    int code = 0;

    for (int ms = 0; ms <= most_ms; ms += STEP_MS) {
        if (ms > 0)
            (void)nanosleep(&pause, NULL);
        code = connect(fd, (const struct sockaddr *)at, sizeof *at) == 0
                   ? 0
                   : errno;
        if (code != EAGAIN && code != EINTR)
            break;
    }
    return code;
}

/* As callers have it. */
static kerf_err
make_blocking(int fd, kerf_detail *why)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0)
        return KERF_OK;
    return kerf_fail(why, KERF_EIO, "cannot set up a socket: %s",
                     strerror(errno));
}

/* Removes a socket that nobody listens on. */
static kerf_err
clear_stale(const struct sockaddr_un *at, kerf_detail *why)
{
    struct stat st;
    int code;
    int fd;

    if (lstat(at->sun_path, &st) != 0)
        return KERF_OK;
    if (!S_ISSOCK(st.st_mode)) {
        return kerf_fail(why, KERF_EINVAL,
                         "%s is there, and is no socket: give --control "
                         "another path",
                         at->sun_path);
    }
    fd = open_socket();
    if (fd < 0)
        return kerf_fail(why, KERF_EIO, "cannot make a socket: %s",
                         strerror(errno));
    code = connect_for(fd, at, 0); /* EAGAIN: somebody listens */
    (void)close(fd);
    if (code != ECONNREFUSED) {
        return kerf_fail(why, KERF_EADDRINUSE,
                         "%s is in use by another process: give --control "
                         "another path",
                         at->sun_path);
    }
    (void)unlink(at->sun_path);
    return KERF_OK;
}

void
kerf_local_clear(const char *path)
{
    struct sockaddr_un at;
    struct stat st;

    /* Between bind() and listen() it refuses, too. */
    if (fill_address(&at, path, NULL) == KERF_OK && lstat(path, &st) == 0 &&
        S_ISSOCK(st.st_mode) && st.st_uid == geteuid() &&
        time(NULL) > st.st_mtime + YOUNG_S)
        (void)!clear_stale(&at, NULL);
}

kerf_err
kerf_local_listen(int *fd, const char *path, kerf_detail *why)
{
    struct sockaddr_un at;
    kerf_err err = fill_address(&at, path, why);
    int s;

    if (err == KERF_OK)
        err = clear_stale(&at, why);
    if (err != KERF_OK)
        return err;
    s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Nobody gets in before listen(), and by then only this user may. */
    if (s >= 0 && bind(s, (const struct sockaddr *)&at, sizeof at) == 0) {
        if (chmod(path, S_IRUSR | S_IWUSR) == 0 && listen(s, BACKLOG) == 0) {
            *fd = s;
            return KERF_OK;
        }
        (void)unlink(path);
    }
    err = kerf_fail(why, KERF_EIO, "cannot listen on %s: %s", path,
                    strerror(errno));
    if (s >= 0)
        (void)close(s);
    return err;
}

bool
kerf_local_is_trusted(int fd)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

/* Root may ask anybody's, as of a service with a user of its own: but not what
 * anybody has put where all may write. */
static bool
may_ask(const char *path)
{
    char dir[KERF_PATH_MAX];
    struct stat st;

    return geteuid() == 0 && stat(kerf_path_dir(dir, path), &st) == 0 &&
           (st.st_mode & S_IWOTH) == 0;
}

kerf_err
kerf_local_connect(int *fd, const char *path, kerf_detail *why)
{
    struct sockaddr_un at;
    kerf_err err = fill_address(&at, path, why);
    int code;
    int s;

    if (err != KERF_OK)
        return err;
    s = open_socket();
    if (s < 0)
        return kerf_fail(why, KERF_EIO, "cannot make a socket: %s",
                         strerror(errno));
    code = connect_for(s, &at, CONNECT_MS);
    if (code == ENOENT || code == ECONNREFUSED) {
        err = kerf_fail(why, KERF_ENOENT, "no cloud listens on %s", path);
    } else if (code == EAGAIN) {
        err =
            kerf_fail(why, KERF_EDEADLINE,
                      "the cloud on %s does not answer: is it stopped?", path);
    } else if (code != 0) {
        err = kerf_fail(why, KERF_EIO, "%s: %s", path, strerror(code));
    } else if (!kerf_local_is_trusted(s) && !may_ask(path)) {
        err = kerf_fail(why, KERF_EINVAL, "%s belongs to another user", path);
    } else {
        err = make_blocking(s, why);
    }
    if (err != KERF_OK) {
        (void)close(s);
        return err;
    }
    *fd = s;
    return KERF_OK;
}
