/*
 * replay.c - runs a fuzz target on its corpus without libFuzzer, so that gcc
 * and ctest do it in every build.
 *
 * Each file of the folders and files given is run as it is, cut short at many
 * lengths, and with bytes changed by a generator with a fixed seed: the same
 * inputs in the same order every time.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_FILE (1U << 20) /* bytes; a corpus file is a small example */
#define CUTS 512U           /* lengths tried per file */
#define MUTATIONS 1024U     /* changed copies per file */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t files_run;
static size_t inputs_run;

static uint64_t
next_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *state = x;
    return x;
}

/* Runs a copy of exactly len bytes, so that ASan sees any read past it. */
static int
run_copy(const uint8_t *data, size_t len)
{
    uint8_t *copy = malloc(len > 0 ? len : 1);

    if (copy == NULL) {
        (void)fprintf(stderr, "replay: out of memory\n");
        return -1;
    }
    if (len > 0)
        memcpy(copy, data, len);
    (void)LLVMFuzzerTestOneInput(copy, len);
    inputs_run++;
    free(copy);
    return 0;
}

static int
run_cuts(const uint8_t *data, size_t len)
{
    size_t step = len / CUTS + 1;
    size_t at;

    for (at = 0; at < len; at += step)
        if (run_copy(data, at) != 0)
            return -1;
    return 0;
}

/* Length and count fields break first on these values. */
static void
change_byte(uint8_t *at, uint64_t r)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

    if ((r & 1) != 0)
        *at ^= (uint8_t)(1U << ((r >> 1) & 7));
    else
        *at = edges[(r >> 1) % sizeof edges];
}

static int
run_mutations(const uint8_t *data, size_t len)
{
    uint64_t seed = 0x9e3779b97f4a7c15U ^ len;
    uint8_t *work = NULL;
    size_t i;
    size_t k;
    int rc = 0;

    if (len == 0)
        return 0;
    work = malloc(len);
    if (work == NULL)
        return -1;
    for (i = 0; i < MUTATIONS && rc == 0; i++) {
        size_t changes = 1 + next_random(&seed) % 4;
        /* Headers are at the front: half of the changes go there. */
        size_t reach = (i & 1) != 0 && len > 64 ? 64 : len;

        memcpy(work, data, len);
        for (k = 0; k < changes; k++) {
            size_t at = next_random(&seed) % reach;

            change_byte(work + at, next_random(&seed));
        }
        rc = run_copy(work, len);
    }
    free(work);
    return rc;
}

static int
run_file(const char *path)
{
    uint8_t *data = malloc(MAX_FILE);
    FILE *file = fopen(path, "rb");
    size_t len;
    int rc = -1;

    if (data == NULL || file == NULL) {
        (void)fprintf(stderr, "replay: cannot read %s\n", path);
        goto out;
    }
    len = fread(data, 1, MAX_FILE, file);
    if (ferror(file) != 0 || fgetc(file) != EOF) {
        (void)fprintf(stderr, "replay: %s: not read whole\n", path);
        goto out;
    }
    /* Names the file on a crash: stderr is not buffered. */
    (void)fprintf(stderr, "replay: %s\n", path);
    files_run++;
    rc = run_copy(data, len);
    if (rc == 0)
        rc = run_cuts(data, len);
    if (rc == 0)
        rc = run_mutations(data, len);
out:
    if (file != NULL)
        (void)fclose(file);
    free(data);
    return rc;
}

static int
skip_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int
run_folder(const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, skip_hidden, alphasort);
    int rc = 0;
    int i;

    if (count < 0) {
        (void)fprintf(stderr, "replay: cannot list %s\n", path);
        return -1;
    }
    for (i = 0; i < count; i++) {
        char name[4096];
        int n = snprintf(name, sizeof name, "%s/%s", path, names[i]->d_name);

        if (rc == 0)
            rc = n > 0 && (size_t)n < sizeof name ? run_file(name) : -1;
        free(names[i]);
    }
    free(names);
    return rc;
}

int
main(int argc, char **argv)
{
    int i;

    if (run_copy(NULL, 0) != 0)
        return 1;
    for (i = 1; i < argc; i++) {
        struct stat st;
        int rc;

        if (stat(argv[i], &st) != 0) {
            (void)fprintf(stderr, "replay: no such corpus: %s\n", argv[i]);
            return 1;
        }
        rc = S_ISDIR(st.st_mode) ? run_folder(argv[i]) : run_file(argv[i]);
        if (rc != 0)
            return 1;
    }
    if (files_run == 0) {
        (void)fprintf(stderr, "replay: the corpus is empty\n");
        return 1;
    }
    printf("%zu files, %zu inputs\n", files_run, inputs_run);
    return 0;
}
