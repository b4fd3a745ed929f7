#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/busy.h"
#include "cli/service.h"

static int heard = -1; /* where systemd would listen */
static char text[1024];

/* The next notification; "": there is none. */
static const char *
next(void)
{
    ssize_t n = recv(heard, text, sizeof text - 1, MSG_DONTWAIT);

    text[n < 0 ? 0 : n] = '\0';
    return text;
}

static int
listen_as_systemd(void **state)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char name[64];
    socklen_t len;

    (void)state;
    heard = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)snprintf(name, sizeof name, "@kerf-test-service-%d", (int)getpid());
    memcpy(a.sun_path, name, strlen(name));
    a.sun_path[0] = '\0'; /* in the abstract name space: no file */
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    if (heard < 0 || bind(heard, (const struct sockaddr *)&a, len) != 0)
        return -1;
    return setenv("NOTIFY_SOCKET", name, 1);
}

static int
hang_up(void **state)
{
    (void)state;
    (void)unsetenv("NOTIFY_SOCKET");
    return close(heard);
}

static void
alive__by_the_time_that_systemd_gives(void **state)
{
    (void)state;
    assert_int_equal(kerf_service_alive_ms(), 5000);
    assert_int_equal(setenv("WATCHDOG_USEC", "6000000", 1), 0);
    assert_int_equal(kerf_service_alive_ms(), 2000);
    assert_int_equal(setenv("WATCHDOG_USEC", "1", 1), 0);
    assert_int_equal(kerf_service_alive_ms(), 1);
    assert_int_equal(unsetenv("WATCHDOG_USEC"), 0);
}

static void
alive__a_request_that_hangs__does_not_feed_the_watchdog(void **state)
{
    (void)state;
    kerf_service_alive(NULL, 0);
    assert_string_equal(next(), "WATCHDOG=1");
    kerf_service_alive(NULL, KERF_SERVICE_STUCK_MS + 1);
    assert_string_equal(next(), "");
    kerf_service_alive(NULL, KERF_SERVICE_STUCK_MS);
    assert_string_equal(next(), "WATCHDOG=1");
}

static void
status__of_a_peer__is_one_line(void **state)
{
    (void)state;
    kerf_service_status("edge %s", "a\nREADY=1\nMAINPID=1\033[2J");
    assert_string_equal(next(),
                        "STATUS=edge a\\x0aREADY=1\\x0aMAINPID=1\\x1b[2J");
    kerf_service_status("too soon");
    assert_string_equal(next(), "");
}

static void
states__as_systemd_reads_them(void **state)
{
    (void)state;
    kerf_service_ready();
    assert_string_equal(next(), "READY=1");
    kerf_service_reloading();
    assert_int_equal(strncmp(next(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
    kerf_service_stopping();
    assert_int_equal(strncmp(next(), "STOPPING=1\n", 11), 0);
    kerf_service_no_watchdog();
    assert_string_equal(next(), "WATCHDOG_USEC=0");
}

static void
busy__the_longest_counts(void **state)
{
    kerf_busy busy[3] = {0};

    (void)state;
    assert_int_equal(kerf_busy_ms(busy, 3), 0);
    kerf_busy_begin(&busy[1]);
    kerf_busy_begin(&busy[2]);
    busy[1].since_ns -= 7000000000u;
    assert_true(kerf_busy_ms(busy, 3) >= 7000);
    kerf_busy_end(&busy[1]);
    busy[2].since_ns += 7000000000u; /* clocks of cores may differ */
    assert_int_equal(kerf_busy_ms(busy, 3), 0);
}

static void
nobody_listens__nothing_happens(void **state)
{
    (void)state;
    assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
    assert_int_equal(kerf_service_alive_ms(), 0);
    kerf_service_status("x");
    kerf_service_ready();
    kerf_service_alive(NULL, 0);
    assert_string_equal(next(), "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alive__by_the_time_that_systemd_gives),
        cmocka_unit_test(
            alive__a_request_that_hangs__does_not_feed_the_watchdog),
        cmocka_unit_test(status__of_a_peer__is_one_line),
        cmocka_unit_test(states__as_systemd_reads_them),
        cmocka_unit_test(busy__the_longest_counts),
        cmocka_unit_test(nobody_listens__nothing_happens),
    };

    return cmocka_run_group_tests(tests, listen_as_systemd, hang_up);
}
