/*
 * An older Kerf kept files by name, with NAME.manifest.json beside them. They
 * become parts, so that nothing is fetched again; a link stands where they
 * were. What is killed in the midst of it goes on at the next start: a file is
 * in both places before its name becomes a link, and the manifest goes last.
 */
#include "model/store_own.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OLD_END ".manifest.json"

/* Gives the file of that name its place in parts/, if it is the right one. */
static void
move_part(kerf_store *store, const kerf_file *file)
{
    int root = store->dir[KERF_STORE_ROOT];
    int parts = store->dir[KERF_STORE_PARTS];
    char name[KERF_STORE_NAME];
    uint64_t size = 0;
    int fd = kerf_store_open_file(store, KERF_STORE_ROOT, file->name, &size);

    if (fd < 0)
        return;
    kerf_store_part_name(name, file);
    if (size == file->size && kerf_store_is(fd, file) &&
        kerf_store_clear(store, KERF_STORE_PARTS, name) == 0 &&
        !kerf_store_has(store, file)) {
        (void)unlinkat(parts, name, 0); /* a damaged one */
        if (linkat(root, file->name, parts, name, 0) != 0)
            (void)renameat(root, file->name, parts, name);
        (void)fsync(parts);
    }
    (void)close(fd);
}

/* False: it stays as it is. */
static bool
move_bundle(kerf_store *store, const char *old)
{
    uint8_t *json = NULL;
    size_t len = 0;
    char name[KERF_PART_NAME + 32];
    kerf_manifest m = {0};
    bool whole = kerf_store_read(store, KERF_STORE_ROOT, old, KERF_MANIFEST_MAX,
                                 &json, &len, NULL) == KERF_OK &&
                 kerf_manifest_parse(&m, json, len, NULL) == KERF_OK;

    free(json);
    if (!whole)
        return false;
    (void)snprintf(name, sizeof name, "%s" OLD_END, m.name);
    whole = strcmp(name, old) == 0;
    for (size_t i = 0; whole && i < m.file_count; i++)
        move_part(store, &m.file[i]);
    for (size_t i = 0; whole && i < m.file_count; i++)
        whole = !kerf_role_is_shipped(m.file[i].role, false) ||
                kerf_store_has(store, &m.file[i]);
    if (whole)
        whole = kerf_store_finish(store, &m, NULL) == KERF_OK;
    kerf_manifest_fini(&m);
    return whole;
}

void
kerf_store_take_over(kerf_store *store)
{
    int root = store->dir[KERF_STORE_ROOT];
    kerf_names names = {0};

    if (kerf_fs_list_at(root, KERF_STORE_FILES_MOST, &names) != KERF_OK)
        return;
    for (size_t i = 0; i < names.count; i++) {
        if (kerf_path_ends(names.name[i], OLD_END) &&
            move_bundle(store, names.name[i]))
            (void)unlinkat(root, names.name[i], 0);
    }
    kerf_names_free(&names);
}
