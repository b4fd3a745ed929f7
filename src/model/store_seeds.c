/*
 * Units of files that are in the store already. The manifests say where they
 * are; whether they still are, the hash says when they are copied.
 */
#include "model/store_own.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"

#define SEEDS_MOST ((size_t)4 << 20)
#define SEED_FILES_MOST 256 /* they are open */

static uint64_t
key_of(const kerf_unit *unit)
{
    kerf_rd r = {.at = unit->sha256, .left = sizeof unit->sha256};

    return kerf_rd_u64(&r);
}

/* Room for more of size bytes each; false: too many, or no memory. */
static bool
grow(void **array, size_t *room, size_t count, size_t more, size_t most,
     size_t size)
{
    size_t need = count + more;
    void *grown;

    if (need > most || more > most)
        return false;
    if (need <= *room)
        return true;
    need = 2 * *room > need ? 2 * *room : need;
    grown = reallocarray(*array, need, size);
    if (grown == NULL)
        return false;
    *array = grown;
    *room = need;
    return true;
}

static bool
add_file(kerf_seeds *seeds, int fd)
{
    void *array = seeds->fd;
    bool ok = grow(&array, &seeds->file_room, seeds->file_count, 1,
                   SEED_FILES_MOST, sizeof *seeds->fd);

    seeds->fd = array;
    if (ok)
        seeds->fd[seeds->file_count++] = fd;
    return ok;
}

/* The units of one file that is open. */
static void
add_units(kerf_seeds *seeds, const kerf_file *file, uint32_t index)
{
    void *array = seeds->seed;
    uint64_t offset = 0;
    bool ok = grow(&array, &seeds->room, seeds->count, file->unit_count,
                   SEEDS_MOST, sizeof *seeds->seed);

    seeds->seed = array;
    for (size_t i = 0; ok && i < file->unit_count; i++) {
        seeds->seed[seeds->count++] = (kerf_seed){
            .key = key_of(&file->unit[i]), .offset = offset, .file = index};
        offset += file->unit[i].len;
    }
}

static void
add_manifest(kerf_seeds *seeds, const kerf_store *store, const kerf_manifest *m,
             const kerf_file *in)
{
    for (size_t i = 0; i < m->file_count; i++) {
        const kerf_file *file = &m->file[i];
        char name[KERF_STORE_NAME];
        uint64_t size;
        int fd;

        if (file->unit_count == 0 ||
            memcmp(file->sha256, in->sha256, sizeof in->sha256) == 0)
            continue;
        kerf_store_part_name(name, file);
        fd = kerf_store_open_file(store, KERF_STORE_PARTS, name, &size);
        if (fd < 0)
            fd = kerf_store_open_file(store, KERF_STORE_PARTIAL, name, &size);
        if (fd < 0)
            continue;
        if (add_file(seeds, fd))
            add_units(seeds, file, (uint32_t)seeds->file_count - 1);
        else
            (void)close(fd);
    }
}

static int
by_key(const void *a, const void *b)
{
    const kerf_seed *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

void
kerf_seeds_open(kerf_seeds *seeds, const kerf_store *store, const kerf_file *in)
{
    static const kerf_store_dir dirs[] = {KERF_STORE_BUNDLES,
                                          KERF_STORE_PARTIAL};

    for (size_t d = 0; d < 2; d++) {
        kerf_names names = {0};

        if (kerf_fs_list_at(store->dir[dirs[d]], KERF_STORE_FILES_MOST,
                            &names) != KERF_OK)
            continue;
        for (size_t i = 0; i < names.count; i++) {
            kerf_manifest m = {0};

            if (!kerf_path_ends(names.name[i], KERF_MANIFEST_END) ||
                kerf_store_manifest(store, dirs[d], names.name[i], &m) !=
                    KERF_OK)
                continue;
            add_manifest(seeds, store, &m, in);
            kerf_manifest_fini(&m);
        }
        kerf_names_free(&names);
    }
    if (seeds->count > 1)
        qsort(seeds->seed, seeds->count, sizeof *seeds->seed, by_key);
}

void
kerf_seeds_close(kerf_seeds *seeds)
{
    for (size_t i = 0; i < seeds->file_count; i++)
        (void)close(seeds->fd[i]);
    free(seeds->fd);
    free(seeds->seed);
    *seeds = (kerf_seeds){.count = 0};
}

bool
kerf_seeds_copy(const kerf_seeds *seeds, const kerf_unit *unit, int fd,
                uint64_t offset, kerf_sha256 *hash, uint8_t *step)
{
    const uint64_t key = key_of(unit);
    size_t low = 0;
    size_t high = seeds->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (seeds->seed[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < seeds->count && seeds->seed[low].key == key; low++) {
        const kerf_seed *s = &seeds->seed[low];
        uint8_t sum[KERF_SHA256_LEN];
        bool ok = kerf_store_hash(hash, seeds->fd[s->file], s->offset,
                                  unit->len, fd, offset, step);

        kerf_sha256_end(hash, sum);
        if (ok && memcmp(sum, unit->sha256, sizeof sum) == 0)
            return true;
    }
    return false;
}
