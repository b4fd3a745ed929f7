/* A configuration file may be anything: what is taken from it lies within its
 * bounds, and points into it. */
#include "cli/config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct {
    bool flag;
    int number, choice, size[2];
    double real;
    kerf_reals reals;
    const char *text;
    kerf_list list;
    kerf_config config;
} got;

static const kerf_opt table[] = {
    {.kind = KERF_OPT_GROUP, .help = "group"},
    {.name = "flag", .kind = KERF_OPT_FLAG, .to = &got.flag},
    {.name = "cloud-port",
     .kind = KERF_OPT_INT,
     .to = &got.number,
     .max = 65535},
    {.name = "rate", .kind = KERF_OPT_REAL, .to = &got.real, .max = 100},
    {.name = "mean", .kind = KERF_OPT_REALS, .to = &got.reals},
    {.name = "size", .kind = KERF_OPT_SIZE, .to = got.size},
    {.name = "colour",
     .also = "color",
     .kind = KERF_OPT_CHOICE,
     .to = &got.choice,
     .choices = "rgb|bgr|gray"},
    {.name = "text", .also = "t", .kind = KERF_OPT_TEXT, .to = &got.text},
    {.name = "input", .kind = KERF_OPT_LIST, .to = &got.list},
    {.name = "config", .kind = KERF_OPT_CONFIG, .to = &got.config},
};

static const kerf_command command = {.name = "fuzz",
                                     .usage = "",
                                     .about = "",
                                     .opt = table,
                                     .opt_count = sizeof table / sizeof *table};

static void
check(bool good)
{
    if (!good)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    char *text = malloc(size + 1);
    FILE *err = stderr;
    int rc;

    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "w");
    if (text == NULL || nowhere == NULL)
        abort();
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    memset(&got, 0, sizeof got);
    stderr = nowhere; /* thousands of lines that nobody reads */
    rc = kerf_config_parse(&command, &got.config, "FILE", text, size);
    stderr = err;
    check(rc == -1 || rc == 2);
    check(got.number >= 0 && got.number <= 65535);
    check(got.choice >= 0 && got.choice < 3);
    check(got.real >= 0 && got.real <= 100);
    check(got.reals.count <= 3 && got.list.count <= KERF_LIST_MAX);
    for (size_t i = 0; i < got.list.count; i++)
        check(strlen(got.list.item[i]) < size);
    check(got.text == NULL || strlen(got.text) < size);
    kerf_config_free(&got.config);
    return 0;
}
