/*
 * tls_folder.h - the folder of --tls, followed: each part of what is copied
 * into it is taken when it is good (kerf_creds_reload()); of what is not, that
 * from before stays in use, and one line says why, each hour. Threads: the
 * loop's; before it runs, the thread that made it.
 */
#ifndef KERF_NET_TLS_FOLDER_H
#define KERF_NET_TLS_FOLDER_H

#include "net/loop.h"
#include "net/tls.h"

typedef struct kerf_tls_folder kerf_tls_folder;

/* changed: something else is trusted now, or an hour has gone by, in which
 * certificates may have expired: look at the peers again (kerf_conn_recheck()).
 * Errors: those of kerf_creds_load(). */
KERF_NODISCARD kerf_err kerf_tls_folder_open(kerf_tls_folder **out,
                                             kerf_loop *loop, const char *dir,
                                             kerf_side side,
                                             kerf_loop_fn *changed, void *ctx,
                                             kerf_detail *why);
void kerf_tls_folder_close(kerf_tls_folder *folder); /* accepts NULL */
/* What is in use now; borrowed. NULL for NULL. */
kerf_tls *kerf_tls_folder_now(const kerf_tls_folder *folder);
/* What was in use before, while changed() runs for something else; else NULL.
 */
const kerf_creds *kerf_tls_folder_before(const kerf_tls_folder *folder);
const kerf_creds *kerf_tls_folder_creds(const kerf_tls_folder *folder);

#endif
