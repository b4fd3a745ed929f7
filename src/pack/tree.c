#include "pack/tree.h"

#include "base/text.h"

#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void
kerf_tree_fini(kerf_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->item[i].path);
        free(tree->item[i].name);
    }
    free(tree->item);
    *tree = (kerf_tree){0};
}

static kerf_err
add(kerf_tree *tree, const FTSENT *e, const char *name, kerf_detail *why)
{
    kerf_tree_item *item;

    if (tree->count == KERF_TREE_MOST)
        return kerf_fail(why, KERF_ETOOBIG, "more than %u files and folders",
                         KERF_TREE_MOST);
    if (tree->count == tree->room) {
        size_t room = tree->room > 0 ? 2 * tree->room : 16;

        item = reallocarray(tree->item, room, sizeof *item);
        if (item == NULL)
            return kerf_fail(why, KERF_ENOMEM, "no memory");
        tree->item = item;
        tree->room = room;
    }
    item = &tree->item[tree->count++];
    *item = (kerf_tree_item){.path = strdup(e->fts_path),
                             .name = strdup(name),
                             .mode = e->fts_statp->st_mode,
                             .mtime = e->fts_statp->st_mtime,
                             .size = e->fts_statp->st_size};
    if (item->path == NULL || item->name == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    if (S_ISREG(item->mode))
        tree->bytes += (uint64_t)item->size;
    return KERF_OK;
}

static kerf_err
visit(kerf_tree *tree, const FTSENT *e, size_t root_len, kerf_detail *why)
{
    switch (e->fts_info) {
    case FTS_D:
    case FTS_F:
        return add(tree, e, e->fts_path + root_len, why);
    case FTS_DP:
        return KERF_OK;
    case FTS_DC:
        return kerf_fail(why, KERF_EINVAL, "%s: links that go in a circle",
                         e->fts_path);
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return kerf_fail(why, kerf_err_from_errno(e->fts_errno), "%s: %s",
                         e->fts_path, strerror(e->fts_errno));
    case FTS_SLNONE:
        return kerf_fail(why, KERF_ENOENT, "%s: a link to nothing",
                         e->fts_path);
    default:
        return kerf_fail(why, KERF_EINVAL, "%s: neither a file nor a folder",
                         e->fts_path);
    }
}

static int
by_name(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

kerf_err
kerf_tree_walk(kerf_tree *tree, const char *path, kerf_detail *why)
{
    size_t len = strlen(path);
    char *root = NULL;
    char *roots[2] = {NULL, NULL};
    FTS *fts = NULL;
    FTSENT *e;
    kerf_err err = KERF_OK;

    while (len > 1 && path[len - 1] == '/')
        len--;
    root = strndup(path, len);
    if (root == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    roots[0] = root;
    if (strcmp(kerf_path_base(root), "..") == 0 ||
        strcmp(kerf_path_base(root), ".") == 0 || strcmp(root, "/") == 0) {
        err = kerf_fail(why, KERF_EINVAL, "%s: name the folder itself", path);
        goto out;
    }
    fts = fts_open(roots, FTS_LOGICAL | FTS_NOCHDIR, by_name);
    if (fts == NULL) {
        err = kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                        strerror(errno));
        goto out;
    }
    while (err == KERF_OK && (e = fts_read(fts)) != NULL)
        err = visit(tree, e, (size_t)(kerf_path_base(root) - root), why);
out:
    if (fts != NULL)
        (void)fts_close(fts);
    free(root);
    return err;
}

kerf_err
kerf_nest_open(kerf_nest *nest, const char *dir, bool force, kerf_detail *why)
{
    int n;
    kerf_err err;

    *nest = (kerf_nest){.force = force};
    n = snprintf(nest->dir, sizeof nest->dir, "%s", dir);
    if (n >= (int)sizeof nest->dir - 64)
        return kerf_fail(why, KERF_ETOOBIG, "%s: the path is too long", dir);
    err = kerf_fs_mkdirs(dir, why);
    if (err != KERF_OK)
        return err;
    (void)snprintf(nest->temp, sizeof nest->temp, "%s/.kerf-XXXXXX", dir);
    if (mkdtemp(nest->temp) == NULL) {
        nest->temp[0] = '\0';
        return kerf_fail(why, kerf_err_from_errno(errno),
                         "%s: cannot write: %s", dir, strerror(errno));
    }
    return KERF_OK;
}

/* Only downwards: parts that are not empty, "." or "..". */
static bool
leads_down(const char *name)
{
    const char *part = name;

    for (;;) {
        size_t len = strcspn(part, "/");

        if (len == 0 || (len == 1 && part[0] == '.') ||
            (len == 2 && part[0] == '.' && part[1] == '.'))
            return false;
        if (part[len] == '\0')
            return true;
        part += len + 1;
    }
}

static kerf_err
refuse(kerf_detail *why, kerf_err err, const char *name, const char *what)
{
    char safe[256];

    return kerf_fail(why, err, "it holds '%s', %s: nothing was unpacked",
                     kerf_text_safe(safe, sizeof safe, name), what);
}

kerf_err
kerf_nest_path(kerf_nest *nest, const char *name, char path[KERF_PATH_MAX],
               kerf_detail *why)
{
    size_t base;
    int n;

    if (!leads_down(name))
        return refuse(why, KERF_ECORRUPT, name,
                      "a name that leads out of the folder");
    if (++nest->entries > KERF_TREE_MOST)
        return refuse(why, KERF_ETOOBIG, name, "and more than 65536 others");
    n = snprintf(path, KERF_PATH_MAX, "%s/%s", nest->temp, name);
    if (n >= KERF_PATH_MAX)
        return refuse(why, KERF_ETOOBIG, name, "a name that is too long");
    base = strlen(nest->temp) + 1;
    for (char *slash = strchr(path + base, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST)
            return kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", path,
                             strerror(errno));
        *slash = '/';
    }
    return KERF_OK;
}

kerf_err
kerf_nest_dir(kerf_nest *nest, const char *name, kerf_detail *why)
{
    char path[KERF_PATH_MAX];
    kerf_err err = kerf_nest_path(nest, name, path, why);

    if (err == KERF_OK && mkdir(path, 0777) != 0 && !kerf_fs_is_dir(path))
        err = refuse(why, KERF_ECORRUPT, name, "as a file and as a folder");
    return err;
}

static kerf_err
move_one(const kerf_nest *nest, const char *name, bool only_look,
         kerf_detail *why)
{
    char from[KERF_PATH_MAX], to[KERF_PATH_MAX];
    kerf_err err = kerf_path_join(from, nest->temp, name);

    if (err == KERF_OK)
        err = kerf_path_join(to, nest->dir, name);
    if (err != KERF_OK)
        return refuse(why, err, name, "a name that is too long");
    if (only_look) {
        if (kerf_fs_exists(to) && (!nest->force || kerf_fs_is_dir(to))) {
            return kerf_fail(why, KERF_EINVAL, "%s is there already%s", to,
                             kerf_fs_is_dir(to)
                                 ? ": --out DIR for another place"
                                 : ": --force to overwrite");
        }
        return KERF_OK;
    }
    if (rename(from, to) != 0)
        return kerf_fail(why, kerf_err_from_errno(errno), "%s: %s", to,
                         strerror(errno));
    return KERF_OK;
}

/* Names that begin with a dot are as good as others here. */
static kerf_err
for_each_top(const kerf_nest *nest, bool only_look, kerf_detail *why)
{
    char *roots[2] = {NULL, NULL};
    FTS *fts;
    FTSENT *e;
    kerf_err err = KERF_OK;

    roots[0] = strdup(nest->temp);
    fts = roots[0] != NULL
              ? fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name)
              : NULL;
    if (fts == NULL) {
        free(roots[0]);
        return kerf_fail(why, KERF_ENOMEM, "no memory");
    }
    (void)fts_read(fts);
    for (e = fts_children(fts, FTS_NAMEONLY); e != NULL && err == KERF_OK;
         e = e->fts_link)
        err = move_one(nest, e->fts_name, only_look, why);
    (void)fts_close(fts);
    free(roots[0]);
    return err;
}

kerf_err
kerf_nest_commit(kerf_nest *nest, kerf_detail *why)
{
    kerf_err err = for_each_top(nest, true, why);

    return err == KERF_OK ? for_each_top(nest, false, why) : err;
}

void
kerf_nest_drop(kerf_nest *nest)
{
    char *roots[2] = {nest->temp, NULL};
    FTS *fts;
    FTSENT *e;

    if (nest->temp[0] == '\0')
        return;
    fts = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    while (fts != NULL && (e = fts_read(fts)) != NULL) {
        if (e->fts_info == FTS_DP)
            (void)rmdir(e->fts_accpath);
        else if (e->fts_info != FTS_D)
            (void)unlink(e->fts_accpath);
    }
    if (fts != NULL)
        (void)fts_close(fts);
    nest->temp[0] = '\0';
}
