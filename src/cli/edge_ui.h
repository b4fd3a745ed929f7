/*
 * edge_ui.h - what `kerf edge` shows of what its edge tells.
 * Threads: events come on the thread that runs the edge.
 */
#ifndef KERF_CLI_EDGE_UI_H
#define KERF_CLI_EDGE_UI_H

#include "cli/cmd.h"
#include "cli/show.h"
#include "kerf/edge.h"

typedef struct kerf_edge_ui {
    kerf_show show;
    bool summary;
    const char *save;
    kerf_detail save_why; /* the first failure */
    kerf_err save_err;
    kerf_edge *edge; /* NULL: the reference's wire */
    char bundle[80];
    bool logs;                   /* events go to the log alone */
    const kerf_command *command; /* SIGHUP reads its file again */
    kerf_cmd_common *common;
} kerf_edge_ui;

/* Shown on stdout, or as ui->logs says. */
void kerf_edge_ui_events(kerf_edge_ui *ui, kerf_edge_events *out);
/* Writes its outputs where --save says; a failure ends the run. */
void kerf_edge_ui_save(kerf_edge_ui *ui, const kerf_edge_result *r);

/* edge_log.c */
void kerf_edge_log_events(kerf_edge_ui *ui, kerf_edge_events *out);
void kerf_edge_log_total(const kerf_edge_total *total);

#endif
