/*
 * out.h - stdout, which may be a full disk, or a pipe whose reader is gone.
 * Threads: any.
 */
#ifndef KERF_CLI_OUT_H
#define KERF_CLI_OUT_H

/* After each line, or lines, on stdout. */
void kerf_out_flush(void);
/* 0, or the errno of the first flush that failed: who prints on and on ends. */
int kerf_out_error(void);
/* At the end of a command: status, or 1 when not all could be written, which it
 * says; of a reader that went away nothing is said. */
int kerf_out_end(int status);

#endif
