/* The frozen bytes of tests/golden as text: hex digits, blanks, and comments
 * from # to the end of the line. */
#ifndef KERF_GOLDEN_HEX_H
#define KERF_GOLDEN_HEX_H

#include <stdio.h>
#include <string.h>

/* Bytes of KERF_GOLDEN/name.hex; fails the test when it cannot be read. */
static inline size_t
read_hex(uint8_t *out, size_t cap, const char *name)
{
    char path[1024];
    char line[256];
    size_t len = 0;
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/%s.hex", KERF_GOLDEN, name);
    file = fopen(path, "r");
    if (file == NULL)
        fail_msg("cannot read %s", path);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned byte;
        int n = 0;

        line[strcspn(line, "#\n")] = '\0';
        for (char *at = line; sscanf(at, "%2x%n", &byte, &n) == 1; at += n) {
            assert_true(len < cap);
            out[len++] = (uint8_t)byte;
        }
    }
    (void)fclose(file);
    return len;
}

#endif
