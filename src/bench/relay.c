#include "bench/relay.h"

#include <jansson.h>
#include <stdio.h>

#define START_MS 60000

kerf_err
kerf_relay_start(kerf_relay *relay, const char *spec, int to_port,
                 const char *log, kerf_detail *why)
{
    char to[16];
    const char *argv[] = {"kerf", "link", spec, "--to", to, "--json", NULL};
    const char *line = NULL;
    kerf_err err;

    (void)snprintf(to, sizeof to, "%d", to_port);
    err = kerf_child_start(&relay->child, argv, KERF_ANY_CORE, log, why);
    if (err == KERF_OK)
        err =
            kerf_child_event(&relay->child, "listening", START_MS, &line, why);
    if (err == KERF_OK) {
        json_t *o = json_loads(line, 0, NULL);

        relay->port = (int)json_integer_value(json_object_get(o, "port"));
        json_decref(o);
    }
    return err;
}
