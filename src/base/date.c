#include "base/date.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DAY_S = 24 * 60 * 60, DAY_TEXT = 10, AMOUNT_DIGITS = 9 };

int64_t
kerf_date_now(void)
{
    struct timespec now = {0};

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec;
}

char *
kerf_date_text(char out[KERF_DATE_TEXT], int64_t s)
{
    time_t at = (time_t)(s < 0 ? 0 : s > KERF_DATE_MAX ? KERF_DATE_MAX : s);
    struct tm tm = {0};

    (void)gmtime_r(&at, &tm);
    (void)snprintf(out, KERF_DATE_TEXT, "%04d-%02d-%02dT%02d:%02d:%02dZ",
                   (tm.tm_year + 1900) % 10000, (tm.tm_mon + 1) % 100,
                   tm.tm_mday % 100, tm.tm_hour % 100, tm.tm_min % 100,
                   tm.tm_sec % 100);
    return out;
}

/* Two digits. */
static int
pair_of(const char *at)
{
    return 10 * (at[0] - '0') + (at[1] - '0');
}

bool
kerf_date_parse(int64_t *s, const char *text)
{
    static const char form[] = "0000-00-00T00:00:00Z";
    char back[KERF_DATE_TEXT];
    struct tm tm = {0};
    time_t at;

    if (strlen(text) != sizeof form - 1)
        return false;
    for (size_t i = 0; i < sizeof form - 1; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';

        if (form[i] == '0' ? !digit : text[i] != form[i])
            return false;
    }
    tm.tm_year = 100 * pair_of(text) + pair_of(text + 2) - 1900;
    tm.tm_mon = pair_of(text + 5) - 1;
    tm.tm_mday = pair_of(text + 8);
    tm.tm_hour = pair_of(text + 11);
    tm.tm_min = pair_of(text + 14);
    tm.tm_sec = pair_of(text + 17);
    at = timegm(&tm);
    /* The 30th of February is another day for timegm(). */
    if (at < 0 || strcmp(kerf_date_text(back, (int64_t)at), text) != 0)
        return false;
    *s = (int64_t)at;
    return true;
}

/* "90d" in seconds. */
static bool
parse_span(int64_t *s, const char *text)
{
    static const struct {
        char unit;
        int64_t s;
    } units[] = {{'h', 3600},
                 {'d', DAY_S},
                 {'w', INT64_C(7) * DAY_S},
                 {'y', INT64_C(365) * DAY_S}};
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > AMOUNT_DIGITS || strlen(text) != digits + 1)
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (text[digits] == units[i].unit) {
            *s = strtoll(text, NULL, 10) * units[i].s;
            return true;
        }
    }
    return false;
}

bool
kerf_date_parse_end(int64_t *s, const char *text, int64_t now_s)
{
    char whole[KERF_DATE_TEXT + 1];
    int64_t span;

    if (parse_span(&span, text)) {
        if (span > KERF_DATE_MAX - now_s)
            return false;
        *s = now_s + span;
        return true;
    }
    if (strlen(text) != DAY_TEXT)
        return kerf_date_parse(s, text);
    (void)snprintf(whole, sizeof whole, "%sT23:59:59Z", text);
    return kerf_date_parse(s, whole);
}
