#include "net/fd_watch.h"

#include "net/loop_uv.h"

#include <stdlib.h>

struct kerf_fd_watch {
    uv_poll_t uv;
    kerf_fd_fn *fn;
    void *ctx;
};

static void
on_event(uv_poll_t *uv, int status, int events)
{
    kerf_fd_watch *watch = uv->data;

    watch->fn(watch->ctx, status < 0 || (events & UV_READABLE) != 0,
              (events & UV_WRITABLE) != 0);
}

kerf_err
kerf_fd_watch_new(kerf_fd_watch **out, kerf_loop *loop, int fd, kerf_fd_fn *fn,
                  void *ctx)
{
    kerf_fd_watch *watch = calloc(1, sizeof *watch);

    if (watch == NULL)
        return KERF_ENOMEM;
    if (uv_poll_init(kerf_loop_uv(loop), &watch->uv, fd) != 0) {
        free(watch);
        return KERF_EIO;
    }
    watch->uv.data = watch;
    watch->fn = fn;
    watch->ctx = ctx;
    *out = watch;
    return KERF_OK;
}

void
kerf_fd_watch_set(kerf_fd_watch *watch, bool readable, bool writable)
{
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);

    if (events == 0)
        (void)uv_poll_stop(&watch->uv);
    else
        (void)uv_poll_start(&watch->uv, events, on_event);
}

static void
free_data(uv_handle_t *handle)
{
    free(handle->data);
}

void
kerf_fd_watch_free(kerf_fd_watch *watch)
{
    if (watch == NULL)
        return;
    (void)uv_poll_stop(&watch->uv);
    uv_close((uv_handle_t *)&watch->uv, free_data);
}
