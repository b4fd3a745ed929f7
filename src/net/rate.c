#include "net/rate.h"

#include <limits.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define BURST_PACKETS 2
#define BURST_OF_SECOND 4000u /* 0.25 ms: for fast links */
#define BURST_MOST 65536u
#define WAITING_OF_SECOND 100u /* 10 ms, so that a new rate holds soon */

/* Zeros where the kernel, or a socket that is none of TCP, says nothing. */
static struct tcp_info
info_of(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return (struct tcp_info){0};
    return info;
}

uint64_t
kerf_rate_of(int fd)
{
    return info_of(fd).tcpi_delivery_rate;
}

uint64_t
kerf_delivered_of(int fd)
{
    return info_of(fd).tcpi_bytes_acked;
}

size_t
kerf_socket_pace(int fd, uint64_t bytes_per_s)
{
    /* Of 64 bits where the kernel has that, of 32 before. */
    uint64_t rate = bytes_per_s == 0 ? UINT64_MAX : bytes_per_s;
    size_t burst = (size_t)(bytes_per_s / BURST_OF_SECOND);
    size_t waiting = (size_t)(bytes_per_s / WAITING_OF_SECOND);
    int segment = 0;
    socklen_t len = sizeof segment;
    int lowat;

    (void)setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate);
    if (getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, &len) != 0 ||
        segment <= 0)
        segment = 1448;
    if (burst < BURST_PACKETS * (size_t)segment)
        burst = BURST_PACKETS * (size_t)segment;
    if (burst > BURST_MOST)
        burst = BURST_MOST;
    if (waiting < 2 * burst)
        waiting = 2 * burst;
    lowat = bytes_per_s == 0 || waiting > INT_MAX ? INT_MAX : (int)waiting;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
    return bytes_per_s == 0 ? 0 : burst;
}
