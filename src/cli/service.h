/*
 * service.h - what systemd is told of a command that it runs: sd_notify(3).
 * All of it does nothing when nobody listens.
 * Threads: any.
 */
#ifndef KERF_CLI_SERVICE_H
#define KERF_CLI_SERVICE_H

#include "kerf/err.h"

#include <stdint.h>

/* An inference that takes longer hangs: the watchdog is not fed any more. */
#define KERF_SERVICE_STUCK_MS 60000

/* How often kerf_service_alive() is to be called; 0: never. */
int kerf_service_alive_ms(void);
/* The loop turns, and its longest request has run for busy_ms. The event
 * `alive` of cloud and edge; ctx is not looked at. */
void kerf_service_alive(void *ctx, uint64_t busy_ms);
void kerf_service_no_watchdog(void); /* nobody will call that */

void kerf_service_ready(void);
void kerf_service_reloading(void); /* until it is ready again */
void kerf_service_stopping(void);
/* One line for `systemctl status`, made safe. Where many come, the last one of
 * each second. */
void kerf_service_status(const char *fmt, ...) KERF_PRINTF(1, 2);

#endif
