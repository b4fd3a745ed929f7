/*
 * The only place that knows libsystemd. A notification is one datagram: should
 * systemd not take it, it is lost, and nothing waits for it (the socket has
 * room for hundreds).
 */
#include "cli/service.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define TICK_MS 5000 /* without a watchdog: for the status */
#define STATUS_NS 1000000000u

static struct {
    pthread_mutex_t lock;
    char status[512];
    bool is_told;
    bool is_stuck; /* and that was logged */
    uint64_t told_ns;
} service = {.lock = PTHREAD_MUTEX_INITIALIZER, .is_told = true};

static bool
is_watched(void)
{
    return getenv("NOTIFY_SOCKET") != NULL;
}

/* Three times in the time after which systemd gives us up. */
int
kerf_service_alive_ms(void)
{
    uint64_t usec = 0;

    if (!is_watched())
        return 0;
    if (sd_watchdog_enabled(0, &usec) <= 0 || usec > TICK_MS * UINT64_C(3000))
        return TICK_MS;
    return usec < 3000 ? 1 : (int)(usec / 3000);
}

/* Under the lock. */
static void
tell_status(uint64_t now_ns)
{
    if (service.is_told || now_ns - service.told_ns < STATUS_NS)
        return;
    (void)sd_notifyf(0, "STATUS=%s", service.status);
    service.is_told = true;
    service.told_ns = now_ns;
}

void
kerf_service_status(const char *fmt, ...)
{
    char text[512];
    va_list args;

    if (!is_watched())
        return;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    (void)pthread_mutex_lock(&service.lock);
    (void)kerf_text_safe(service.status, sizeof service.status, text);
    service.is_told = false;
    tell_status(kerf_now_ns());
    (void)pthread_mutex_unlock(&service.lock);
}

void
kerf_service_alive(void *ctx, uint64_t busy_ms)
{
    bool is_stuck = busy_ms > KERF_SERVICE_STUCK_MS;

    (void)ctx;
    if (is_stuck && !service.is_stuck)
        kerf_log(KERF_LOG_ERROR, "service.stuck",
                 "busy_ms=%llu then=\"the watchdog is not fed\"",
                 (unsigned long long)busy_ms);
    service.is_stuck = is_stuck;
    if (!is_stuck)
        (void)sd_notify(0, "WATCHDOG=1");
    (void)pthread_mutex_lock(&service.lock);
    tell_status(kerf_now_ns());
    (void)pthread_mutex_unlock(&service.lock);
}

void
kerf_service_no_watchdog(void)
{
    (void)sd_notify(0, "WATCHDOG_USEC=0");
}

void
kerf_service_ready(void)
{
    (void)sd_notify(0, "READY=1");
}

void
kerf_service_reloading(void)
{
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
                     (unsigned long long)(kerf_now_ns() / 1000));
}

void
kerf_service_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1\nSTATUS=Answering what is in flight");
}
