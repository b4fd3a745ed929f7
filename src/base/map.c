#include "base/map.h"

#include "base/fs.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

kerf_err
kerf_map_open(kerf_map *map, const char *path, size_t max_bytes,
              kerf_detail *why)
{
    static const uint8_t nothing;
    kerf_map new = {.data = &nothing};
    kerf_err err;
    int fd = -1;

    err = kerf_fs_open(&fd, path, max_bytes, &new.len, why);
    if (err != KERF_OK)
        return err;
    if (new.len > 0) {
        new.own = mmap(NULL, new.len, PROT_READ, MAP_PRIVATE, fd, 0);
        new.data = new.own;
    }
    if (new.own == MAP_FAILED)
        err = kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                        strerror(errno));
    else
        *map = new;
    (void)close(fd);
    return err;
}

void
kerf_map_close(kerf_map *map)
{
    if (map->own != NULL)
        (void)munmap(map->own, map->len);
    *map = (kerf_map){0};
}
