#include "bench/serve.h"

#include <jansson.h>
#include <string.h>

#define START_MS 120000

/* Its folder holds one model; that is served, or it says why not. */
static kerf_err
take_cloud_event(const char *line, int *port, bool *serves, kerf_detail *why)
{
    json_t *o = json_loads(line, 0, NULL);
    const char *event = json_string_value(json_object_get(o, "event"));
    const char *reason = json_string_value(json_object_get(o, "why"));
    kerf_err err = KERF_OK;

    if (event != NULL && strcmp(event, "listening") == 0) {
        *port = (int)json_integer_value(json_object_get(o, "port"));
    } else if (event != NULL && strcmp(event, "model") == 0) {
        *serves = json_is_true(json_object_get(o, "ok"));
        if (!*serves)
            err =
                kerf_fail(why, KERF_EENGINE, "kerf cloud does not serve it: %s",
                          reason != NULL ? reason : "no reason given");
    }
    json_decref(o);
    return err;
}

/* The two come in either order. */
kerf_err
kerf_serve_wait(kerf_child *cloud, int *port, kerf_detail *why)
{
    bool serves = false;
    kerf_err err = KERF_OK;

    *port = 0;
    while (err == KERF_OK && (*port == 0 || !serves)) {
        const char *line = NULL;

        err = kerf_child_event(cloud, NULL, START_MS, &line, why);
        if (err == KERF_OK)
            err = take_cloud_event(line, port, &serves, why);
    }
    return err;
}
