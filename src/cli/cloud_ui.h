/*
 * cloud_ui.h - what `kerf cloud` shows of what its cloud tells.
 * Threads: events come on threads that serve edges; the rest is the command's.
 */
#ifndef KERF_CLI_CLOUD_UI_H
#define KERF_CLI_CLOUD_UI_H

#include "cli/cmd.h"
#include "cli/live.h"
#include "cli/printer.h"
#include "cli/term.h"
#include "kerf/cloud.h"

#include <pthread.h>

typedef struct kerf_cloud_ui {
    kerf_printer *out, *err; /* err NULL: log lines go to out, too */
    pthread_mutex_t lock;    /* of edges: answers come on several threads */
    kerf_term term;
    kerf_live live;
    bool json, quiet, lines;
    bool logs;   /* events go to the log alone */
    bool legacy; /* that wire does not say what the edge does with a model */
    const char *models;
    size_t edges;
    const kerf_command *command; /* SIGHUP reads its file again */
    kerf_cmd_common *common;
} kerf_cloud_ui;

/* Where the lines go, and the log's. */
KERF_NODISCARD kerf_err kerf_cloud_ui_start(kerf_cloud_ui *ui);
/* Returns status, or 1 when stdout could not be written; a reader that went
 * away is no error. */
int kerf_cloud_ui_stop(kerf_cloud_ui *ui, int status);
void kerf_cloud_ui_events(kerf_cloud_ui *ui, bool with_answers,
                          kerf_cloud_events *out);

#endif
