#include "bench/plain.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

bool
kerf_plain_send(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

bool
kerf_plain_recv(int fd, uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(fd, data, len, 0);

        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

bool
kerf_plain_listen(int listener, struct sockaddr_in *at)
{
    socklen_t len = sizeof *at;

    *at = (struct sockaddr_in){.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return bind(listener, (struct sockaddr *)at, sizeof *at) == 0 &&
           listen(listener, 1) == 0 &&
           getsockname(listener, (struct sockaddr *)at, &len) == 0;
}

void
kerf_plain_tune(int fd)
{
    const int one = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
}
