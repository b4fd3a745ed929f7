/*
 * units.h - the pieces by which files are told apart: what a file shares with
 * another need not be shipped, and what has come need not come again.
 * docs/PROTOCOL.md, "Units".
 *
 * A unit is a parameter's record; big ones are split where the weights codec
 * begins its blocks, small neighbours are joined up to places that their bytes
 * choose. What is no record is split by its content. So the same bytes make
 * the same units in another file, but for those beside what differs.
 * Threads: values.
 */
#ifndef KERF_MODEL_UNITS_H
#define KERF_MODEL_UNITS_H

#include "model/bundle.h"

#define KERF_UNIT_MOST ((uint32_t)4 << 20) /* bytes in one of a table */
#define KERF_UNITS_MOST 32768u             /* of a file, in a table */

/* Makes file's units from its bytes, in place of those that it has; a file that
 * would be one has none. Errors: KERF_ENOMEM; the file has none then. */
KERF_NODISCARD kerf_err kerf_units_make(kerf_file *file, const uint8_t *data,
                                        size_t len);
void kerf_units_drop(kerf_file *file);

/* The table as base64 -> free(), NULL: no memory. For each unit u32 len, 32
 * bytes SHA-256. */
char *kerf_units_text(const kerf_file *file);
/* Sets file's units, which must cover file->size bytes exactly, from
 * text[0..len). Errors: KERF_ECORRUPT, KERF_ENOMEM. */
KERF_NODISCARD kerf_err kerf_units_parse(kerf_file *file, const char *text,
                                         size_t len, kerf_detail *why);

#endif
