/*
 * copycount.c - for LD_PRELOAD: counts the bytes that a program copies in user
 * space (memcpy and its kin) and those that it moves through sockets and files;
 * "lent" are those of "sent" that the kernel does not copy, either. "held" are
 * sends that may wait for the next one (MSG_MORE); "left" are sockets whose
 * last one was, and nothing has let it go since (TCP_NODELAY), when the program
 * waits in ppoll() or ends. At the end it writes one line "name bytes" for each
 * to $COPYCOUNT_FILE.
 *
 * Only copies of at least COPYCOUNT_FROM bytes count: a payload in pieces is
 * caught all the same, what a program copies around it is not.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static _Atomic uint64_t copied, sent, lent, received, file_read, file_written;
static _Atomic uint64_t held, left;
#define FDS 1024
static _Atomic int holds[FDS];

#ifndef COPYCOUNT_FROM
#define COPYCOUNT_FROM 1024
#endif

/* Not the library's memcpy: that is what is being replaced, and dlsym itself
 * may copy. */
static void *
move(void *to, const void *from, size_t n)
{
    if (n >= COPYCOUNT_FROM)
        atomic_fetch_add_explicit(&copied, n, memory_order_relaxed);
    if ((uintptr_t)to - (uintptr_t)from >= n) {
        void *at = to;

        __asm__ volatile("rep movsb"
                         : "+D"(at), "+S"(from), "+c"(n)
                         :
                         : "memory");
    } else {
        unsigned char *d = (unsigned char *)to + n;
        const unsigned char *s = (const unsigned char *)from + n;

        while (n-- > 0) {
            *--d = *--s;
            __asm__ volatile("" : : : "memory"); /* no call of memmove */
        }
    }
    return to;
}

void *
memcpy(void *restrict to, const void *restrict from, size_t n)
{
    return move(to, from, n);
}

void *
memmove(void *to, const void *from, size_t n)
{
    return move(to, from, n);
}

void *
mempcpy(void *restrict to, const void *restrict from, size_t n)
{
    return (char *)move(to, from, n) + n;
}

void *
__memcpy_chk(void *restrict to, const void *restrict from, size_t n,
             size_t room)
{
    if (n > room)
        abort();
    return move(to, from, n);
}

void *
__memmove_chk(void *to, const void *from, size_t n, size_t room)
{
    if (n > room)
        abort();
    return move(to, from, n);
}

static void *
next(_Atomic(void *) *kept, const char *name)
{
    void *f = atomic_load(kept);

    if (f == NULL) {
        f = dlsym(RTLD_NEXT, name);
        atomic_store(kept, f);
    }
    return f;
}

#define NEXT(name)               \
    static _Atomic(void *) kept; \
    __typeof__(&name) real = (__typeof__(&name))next(&kept, #name)

static ssize_t
count(_Atomic uint64_t *sum, ssize_t n)
{
    if (n > 0)
        atomic_fetch_add(sum, (uint64_t)n);
    return n;
}

ssize_t
send(int fd, const void *data, size_t len, int flags)
{
    NEXT(send);
    return count(&sent, real(fd, data, len, flags));
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    NEXT(sendmsg);
    ssize_t n = real(fd, message, flags);

    if (n > 0 && fd < FDS) {
        atomic_fetch_add(&held, (flags & MSG_MORE) != 0);
        atomic_store(&holds[fd], (flags & MSG_MORE) != 0);
    }
    return count(&sent, n);
}

int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    NEXT(setsockopt);
    if (level == IPPROTO_TCP && name == TCP_NODELAY && fd < FDS)
        atomic_store(&holds[fd], 0);
    return real(fd, level, name, value, len);
}

static void
count_left(void)
{
    for (int fd = 0; fd < FDS; fd++)
        atomic_fetch_add(&left, (uint64_t)atomic_load(&holds[fd]));
}

int
ppoll(struct pollfd *fds, nfds_t count, const struct timespec *wait,
      const sigset_t *mask)
{
    NEXT(ppoll);
    count_left();
    return real(fds, count, wait, mask);
}

ssize_t
splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t len,
       unsigned flags)
{
    NEXT(splice);
    ssize_t n = real(from, from_at, to, to_at, len, flags);

    return count(&sent, count(&lent, n));
}

ssize_t
recv(int fd, void *data, size_t len, int flags)
{
    NEXT(recv);
    return count(&received, real(fd, data, len, flags));
}

ssize_t
recvmsg(int fd, struct msghdr *message, int flags)
{
    NEXT(recvmsg);
    return count(&received, real(fd, message, flags));
}

ssize_t
read(int fd, void *data, size_t len)
{
    NEXT(read);
    return count(&file_read, real(fd, data, len));
}

ssize_t
write(int fd, const void *data, size_t len)
{
    NEXT(write);
    return count(&file_written, real(fd, data, len));
}

ssize_t
readv(int fd, const struct iovec *iov, int n)
{
    NEXT(readv);
    return count(&file_read, real(fd, iov, n));
}

ssize_t
writev(int fd, const struct iovec *iov, int n)
{
    NEXT(writev);
    return count(&file_written, real(fd, iov, n));
}

__attribute__((destructor)) static void
report(void)
{
    const char *path = getenv("COPYCOUNT_FILE");
    FILE *out = path == NULL ? NULL : fopen(path, "w");

    count_left();
    if (out == NULL)
        return;
    (void)fprintf(out,
                  "copied %llu\nsent %llu\nlent %llu\nheld %llu\nleft %llu\n"
                  "received %llu\nread %llu\nwritten %llu\n",
                  (unsigned long long)copied, (unsigned long long)sent,
                  (unsigned long long)lent, (unsigned long long)held,
                  (unsigned long long)left, (unsigned long long)received,
                  (unsigned long long)file_read,
                  (unsigned long long)file_written);
    (void)fclose(out);
}
