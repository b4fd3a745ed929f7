/*
 * edge_ui.h - what `kerf edge` shows of what its edge tells.
 * Threads: events come on the thread that runs the edge.
 */
#ifndef KERF_CLI_EDGE_UI_H
#define KERF_CLI_EDGE_UI_H

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
} kerf_edge_ui;

void kerf_edge_ui_events(kerf_edge_ui *ui, kerf_edge_events *out);

#endif
