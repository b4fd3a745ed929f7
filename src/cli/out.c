#include "cli/out.h"

#include "cli/opts.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static _Atomic int first_error;

/* Of a write before the flush, whose errno is gone. */
static int
guess(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};

    return poll(&p, 1, 0) > 0 && (p.revents & POLLERR) != 0 ? EPIPE : EIO;
}

void
kerf_out_flush(void)
{
    int none = 0;
    int code = 0;

    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout) != 0)
        code = errno != 0 ? errno : guess();
    if (code != 0)
        (void)atomic_compare_exchange_strong(&first_error, &none, code);
}

int
kerf_out_error(void)
{
    return atomic_load(&first_error);
}

int
kerf_out_end(int status)
{
    kerf_detail why;
    int code;

    kerf_out_flush();
    code = kerf_out_error();
    if (code == 0)
        return status;
    if (code != EPIPE) {
        (void)kerf_fail(&why, KERF_EIO, "cannot write to standard output: %s",
                        strerror(code));
        (void)kerf_say_error(&why);
    }
    return status != 0 ? status : 1;
}
