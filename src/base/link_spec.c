#include "base/link_spec.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64
#define QUEUE_MS 100 /* unless the SPEC says it */
#define MBIT_MAX 1e6
#define TIME_MAX_MS (86400.0 * 1000)
#define NUMBER_MAX 9007199254740992.0 /* 2^53: exact in a double */

static const kerf_link_spec presets[] = {
    {.name = "slow-3g", .up_mbit = 0.4, .down_mbit = 0.4, .rtt_ms = 400},
    {.name = "3g", .up_mbit = 1.1, .down_mbit = 1.1},
    {.name = "fast-3g", .up_mbit = 1.6, .down_mbit = 1.6, .rtt_ms = 150},
    {.name = "cable", .up_mbit = 5, .down_mbit = 5, .rtt_ms = 28},
    {.name = "4g", .up_mbit = 5.85, .down_mbit = 5.85},
    {.name = "4g-wpt", .up_mbit = 9, .down_mbit = 9, .rtt_ms = 170},
    {.name = "lte", .up_mbit = 12, .down_mbit = 12, .rtt_ms = 70},
    {.name = "wifi", .up_mbit = 18.88, .down_mbit = 18.88},
    {.name = "lan", .up_mbit = 100, .down_mbit = 100},
};
#define PRESET_COUNT (sizeof presets / sizeof *presets)

const kerf_link_spec *
kerf_link_preset(size_t i)
{
    return i < PRESET_COUNT ? &presets[i] : NULL;
}

/* A number at the start of text; *end stands behind it. */
static bool
read_number(const char *text, const char **end, double most, double *out)
{
    char *stop = NULL;
    double v;

    if (*text < '0' || *text > '9') /* no sign, no blank, no "inf" */
        return false;
    v = strtod(text, &stop);
    if (stop == text || !isfinite(v) || v > most ||
        memchr(text, 'x', (size_t)(stop - text)) != NULL)
        return false;
    *out = v;
    *end = stop;
    return true;
}

static bool
read_time(const char *text, const char **end, double *ms)
{
    if (!read_number(text, end, TIME_MAX_MS, ms))
        return false;
    if (strncmp(*end, "ms", 2) == 0) {
        *end += 2;
    } else if (**end == 's') {
        *end += 1;
        *ms *= 1000;
    }
    return *ms <= TIME_MAX_MS;
}

/* The whole of text. */
static bool
is_number(const char *text, double most, double *out)
{
    const char *end = NULL;

    return read_number(text, &end, most, out) && *end == '\0';
}

static bool
is_time(const char *text, double *ms)
{
    const char *end = NULL;

    return read_time(text, &end, ms) && *end == '\0';
}

static bool
is_count(const char *text, uint64_t *out)
{
    double v;

    if (!is_number(text, NUMBER_MAX, &v) || v != floor(v))
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool
take_breaks(kerf_link_breaks *b, const char *text)
{
    bool fixed = *text == '@';
    const char *end = NULL;
    double first;
    double length;

    if (strcmp(text, "0") == 0) {
        *b = (kerf_link_breaks){.count = 0};
        return true;
    }
    if (!read_time(text + fixed, &end, &first) || *end != '/' ||
        !is_time(end + 1, &length) || length <= 0)
        return false;
    if (!fixed) {
        b->every_ms = first;
        b->for_ms = length;
        return first > 0;
    }
    if (b->count == KERF_LINK_TIMES_MAX)
        return false;
    b->at[b->count].at_ms = first;
    b->at[b->count].for_ms = length;
    b->count++;
    return true;
}

static bool
take_rate(kerf_link_spec *spec, const char *key, const char *value)
{
    double mbit;

    if (!is_number(value, MBIT_MAX, &mbit))
        return false;
    if (strcmp(key, "down") != 0)
        spec->up_mbit = mbit;
    if (strcmp(key, "up") != 0)
        spec->down_mbit = mbit;
    return true;
}

static bool
take_value(kerf_link_spec *spec, const char *key, const char *value,
           const char **expected)
{
    if (strcmp(key, "rate") == 0 || strcmp(key, "up") == 0 ||
        strcmp(key, "down") == 0) {
        *expected = "Mbit/s, 0 to 1000000";
        return take_rate(spec, key, value);
    }
    if (strcmp(key, "flip") == 0) {
        *expected = "a probability, 0 to 1";
        return is_number(value, 1, &spec->flip);
    }
    if (strcmp(key, "cut") == 0 || strcmp(key, "seed") == 0) {
        *expected = "a whole number";
        return is_count(value, *key == 'c' ? &spec->cut_bytes : &spec->seed);
    }
    if (strcmp(key, "stall") == 0 || strcmp(key, "outage") == 0) {
        *expected = "EVERY/FOR or @AT/FOR, such as 5s/300ms, at most 16 "
                    "times, or 0";
        return take_breaks(*key == 's' ? &spec->stall : &spec->outage, value);
    }
    *expected = "a time, such as 20, 20ms or 1.5s";
    if (strcmp(key, "rtt") == 0)
        return is_time(value, &spec->rtt_ms);
    if (strcmp(key, "jitter") == 0)
        return is_time(value, &spec->jitter_ms);
    if (strcmp(key, "queue") == 0)
        return is_time(value, &spec->queue_ms);
    *expected = NULL;
    return false;
}

static kerf_err
take_word(kerf_link_spec *spec, char *word, kerf_detail *why)
{
    char *equals = strchr(word, '=');
    const char *expected = NULL;

    if (equals == NULL)
        return kerf_fail(why, KERF_EINVAL, "link: %s: expected key=value",
                         word);
    *equals = '\0';
    if (take_value(spec, word, equals + 1, &expected))
        return KERF_OK;
    if (expected == NULL) {
        return kerf_fail(why, KERF_EINVAL,
                         "link: no key %s: rate, up, down, rtt, jitter, queue, "
                         "stall, outage, cut, flip or seed",
                         word);
    }
    return kerf_fail(why, KERF_EINVAL, "link: %s=%s: expected %s", word,
                     equals + 1, expected);
}

/* Word by word; a preset may be the first when preset_may is true. */
static kerf_err
take_words(kerf_link_spec *spec, const char *text, bool preset_may,
           kerf_detail *why)
{
    kerf_err err = KERF_OK;

    while (err == KERF_OK) {
        size_t len = strcspn(text, ",");
        const kerf_link_spec *found = NULL;
        char word[WORD_MAX];

        if (len == 0 || len >= sizeof word)
            return kerf_fail(why, KERF_EINVAL,
                             "link: %s: expected a preset, or key=value",
                             len == 0 ? "a word is missing" : text);
        memcpy(word, text, len);
        word[len] = '\0';
        for (size_t i = 0; preset_may && i < PRESET_COUNT; i++) {
            if (strcmp(word, presets[i].name) == 0)
                found = &presets[i];
        }
        if (found != NULL) {
            *spec = *found;
            spec->queue_ms = QUEUE_MS;
            spec->seed = 1;
        } else if (preset_may && strchr(word, '=') == NULL) {
            return kerf_fail(why, KERF_EINVAL,
                             "link: no preset %s: slow-3g, 3g, fast-3g, cable, "
                             "4g, 4g-wpt, lte, wifi, lan, or key=value",
                             word);
        } else {
            err = take_word(spec, word, why);
        }
        preset_may = false;
        if (text[len] == '\0')
            break;
        text += len + 1;
    }
    return err;
}

kerf_err
kerf_link_spec_parse(kerf_link_spec *out, const char *text, kerf_detail *why)
{
    kerf_link_spec spec = {.queue_ms = QUEUE_MS, .seed = 1};
    kerf_err err = take_words(&spec, text, true, why);

    if (err == KERF_OK)
        *out = spec;
    return err;
}

kerf_err
kerf_link_spec_change(kerf_link_spec *spec, const char *text, kerf_detail *why)
{
    kerf_link_spec changed = *spec;
    kerf_err err = take_words(&changed, text, false, why);

    if (err == KERF_OK)
        *spec = changed;
    return err;
}

char *
kerf_link_spec_text(char *out, size_t cap, const kerf_link_spec *spec)
{
    char rate[64];

    if (spec->up_mbit == 0 && spec->down_mbit == 0)
        (void)snprintf(rate, sizeof rate, "no limit of rate");
    else if (spec->up_mbit == spec->down_mbit)
        (void)snprintf(rate, sizeof rate, "%g Mbit/s", spec->up_mbit);
    else
        (void)snprintf(rate, sizeof rate, "%g Mbit/s up, %g down",
                       spec->up_mbit, spec->down_mbit);
    (void)snprintf(out, cap, "%s, RTT %g ms", rate, spec->rtt_ms);
    return out;
}
