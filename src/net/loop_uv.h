/* loop_uv.h - the uv_loop_t behind a kerf_loop; for files of net/ only. */
#ifndef KERF_NET_LOOP_UV_H
#define KERF_NET_LOOP_UV_H

#include "net/loop.h"

#include <uv.h>

uv_loop_t *kerf_loop_uv(kerf_loop *loop);

#endif
