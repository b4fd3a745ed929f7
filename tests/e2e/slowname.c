/*
 * slowname.c - for LD_PRELOAD: the name slow.example is looked up for as long
 * as there is no file $SLOWNAME_UNTIL, and then unknown. Each look-up writes a
 * byte to $SLOWNAME_COUNT. The name turns.example is 127.0.0.1 the first time,
 * and all addresses after that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
            struct addrinfo **out)
{
    __typeof__(&getaddrinfo) real =
        (__typeof__(&getaddrinfo))dlsym(RTLD_NEXT, "getaddrinfo");
    bool turns = host != NULL && strcmp(host, "turns.example") == 0;
    int fd;

    if (host == NULL || (strcmp(host, "slow.example") != 0 && !turns) ||
        (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0))
        return real(host, service, hints, out);
    fd = open(getenv("SLOWNAME_COUNT"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || write(fd, ".", 1) != 1)
        abort();
    if (turns)
        host = lseek(fd, 0, SEEK_END) == 1 ? "127.0.0.1" : "0.0.0.0";
    (void)close(fd);
    if (turns)
        return real(host, service, hints, out);
    while (access(getenv("SLOWNAME_UNTIL"), F_OK) != 0)
        (void)usleep(10000);
    return EAI_AGAIN;
}
