/*
 * json_line.h - one JSON object as one line of stdout, whatever text is in it.
 * Threads: any; a line is printed whole.
 */
#ifndef KERF_CLI_JSON_LINE_H
#define KERF_CLI_JSON_LINE_H

#include "kerf/signature.h"

#include <jansson.h>

/* New reference: text as JSON can hold it. What is not UTF-8 or could move a
 * cursor becomes \xNN; NULL becomes "". For "o" of json_pack(): its "s" makes
 * the whole object NULL when the text is not UTF-8. */
json_t *kerf_json_text(const char *text);

/* New reference: an event of what a signature says; sig NULL: it is of no use,
 * why says why not. */
json_t *kerf_json_signature(const char *model, const kerf_signature *sig,
                            const char *why);

/* New string: the object as a line without its end, 9 digits per number;
 * takes the reference. NULL: no memory. */
char *kerf_json_dump(json_t *object);

/* Prints the object, 9 digits per number, and flushes; takes the reference.
 * NULL (no memory): nothing. */
void kerf_json_line(json_t *object);

#endif
