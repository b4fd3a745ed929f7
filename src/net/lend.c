#include "net/lend.h"

#include "base/bytes.h"
#include "base/large.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* In pages of 4 KB. The system gives a user 64 MB of pipes; then less. */
#define PIPE_BYTES (256 << 10)
#define HUGE_PAGE ((size_t)2 << 20)
#define IOV_MAX_HERE 32

struct kerf_lend {
    int from, to;   /* the pipe; -1: closed, it did not work */
    size_t in_pipe; /* bytes that the socket has not taken yet */
};

kerf_lend *
kerf_lend_new(void)
{
    kerf_lend *lend = calloc(1, sizeof *lend);
    int ends[2];

    if (lend == NULL)
        return NULL;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(lend);
        return NULL;
    }
    lend->from = ends[0];
    lend->to = ends[1];
    (void)fcntl(lend->to, F_SETPIPE_SZ, PIPE_BYTES);
    return lend;
}

static void
close_pipe(kerf_lend *lend)
{
    if (lend->from < 0)
        return;
    (void)close(lend->from);
    (void)close(lend->to);
    lend->from = lend->to = -1;
    lend->in_pipe = 0;
}

void
kerf_lend_free(kerf_lend *lend)
{
    if (lend == NULL)
        return;
    close_pipe(lend);
    free(lend);
}

static kerf_err
name_errno(void)
{
    if (errno == EAGAIN)
        return KERF_EAGAIN;
    if (errno == EPIPE || errno == ECONNRESET || errno == ETIMEDOUT ||
        errno == ENOTCONN)
        return KERF_ECLOSED;
    return KERF_ENOTSUP;
}

/* What of iov is past its first `skip` bytes, in rest. Returns its entries. */
static size_t
skip_bytes(const struct iovec *iov, size_t count, size_t skip,
           struct iovec rest[IOV_MAX_HERE], size_t *bytes)
{
    size_t n = 0;

    *bytes = 0;
    for (size_t i = 0; i < count && n < IOV_MAX_HERE; i++) {
        size_t off = skip < iov[i].iov_len ? skip : iov[i].iov_len;

        skip -= off;
        if (off == iov[i].iov_len)
            continue;
        rest[n++] =
            (struct iovec){(char *)iov[i].iov_base + off, iov[i].iov_len - off};
        *bytes += iov[i].iov_len - off;
    }
    return n;
}

/* Fills the pipe with what is behind that in it. *left: what did not fit. */
static kerf_err
fill(kerf_lend *lend, const struct iovec *iov, size_t count, size_t done,
     size_t *left)
{
    struct iovec rest[IOV_MAX_HERE];
    size_t n = skip_bytes(iov, count, done + lend->in_pipe, rest, left);
    ssize_t got;

    if (n == 0)
        return KERF_OK;
    do
        got = vmsplice(lend->to, rest, n, SPLICE_F_NONBLOCK);
    while (got < 0 && errno == EINTR);
    if (got > 0) {
        lend->in_pipe += (size_t)got;
        *left -= (size_t)got;
    }
    /* Full: what is in it goes first. */
    return got > 0 || (errno == EAGAIN && lend->in_pipe > 0) ? KERF_OK
                                                             : KERF_ENOTSUP;
}

kerf_err
kerf_lend_send(kerf_lend *lend, int fd, const struct iovec *iov, size_t count,
               bool more, size_t *put)
{
    kerf_err err = lend->from < 0 ? KERF_ENOTSUP : KERF_OK;
    size_t left = 0;

    *put = 0;
    while (err == KERF_OK) {
        unsigned flags = SPLICE_F_NONBLOCK;
        ssize_t n;

        err = fill(lend, iov, count, *put, &left);
        if (err != KERF_OK || lend->in_pipe == 0)
            break;
        flags |= left > 0 || more ? SPLICE_F_MORE : 0;
        n = splice(lend->from, NULL, fd, NULL, lend->in_pipe, flags);
        if (n > 0) {
            lend->in_pipe -= (size_t)n;
            *put += (size_t)n;
        } else if (n == 0 || errno != EINTR) {
            err = n == 0 ? KERF_ENOTSUP : name_errno();
        }
    }
    if (err == KERF_ENOTSUP)
        close_pipe(lend);
    return err;
}

/* Room for huge pages where data is in such. MAP_FAILED: no memory. */
static void *
map_like(const void *data, size_t room)
{
    bool huge = room >= HUGE_PAGE && (uintptr_t)data % HUGE_PAGE == 0;
    size_t spare = huge ? HUGE_PAGE : 0;
    char *map = mmap(NULL, room + spare, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t before;

    if (map == MAP_FAILED || !huge)
        return map;
    before = (HUGE_PAGE - (uintptr_t)map % HUGE_PAGE) % HUGE_PAGE;
    if (before > 0)
        (void)munmap(map, before);
    if (before < spare)
        (void)munmap(map + before + room, spare - before);
    (void)madvise(map + before, room, MADV_HUGEPAGE);
    return map + before;
}

kerf_err
kerf_lend_take_back(void *data, size_t bytes)
{
    size_t room = kerf_align_up(bytes, kerf_page_size());
    void *fresh;

    if ((uintptr_t)data % kerf_page_size() != 0)
        return KERF_EINVAL;
    if (bytes == 0)
        return KERF_OK;
    fresh = map_like(data, room);
    if (fresh == MAP_FAILED)
        return KERF_ENOMEM;
    memcpy(fresh, data, bytes);
    /* At once for other threads, too. */
    if (mremap(fresh, room, room, MREMAP_MAYMOVE | MREMAP_FIXED, data) ==
        MAP_FAILED) {
        (void)munmap(fresh, room);
        return KERF_ENOMEM;
    }
    return KERF_OK;
}
