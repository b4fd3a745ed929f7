#include "cut/make.h"

#include "base/clock.h"
#include "base/text.h"
#include "cut/cards.h"
#include "cut/halves.h"
#include "model/probe_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char head_start[] = "client_infer_";
static const char tail_start[] = "server_infer_";

static const kerf_role half_roles[KERF_HALF_COUNT][2] = {
    {KERF_ROLE_HEAD_GRAPH, KERF_ROLE_HEAD_WEIGHTS},
    {KERF_ROLE_TAIL_GRAPH, KERF_ROLE_TAIL_WEIGHTS}};

char *
kerf_make_name(char *out, const char *name)
{
    if (strncmp(name, head_start, sizeof head_start - 1) == 0)
        (void)snprintf(out, KERF_NAME_MAX, "%s-head",
                       name + sizeof head_start - 1);
    else if (strncmp(name, tail_start, sizeof tail_start - 1) == 0)
        (void)snprintf(out, KERF_NAME_MAX, "%s-tail",
                       name + sizeof tail_start - 1);
    else
        (void)snprintf(out, KERF_NAME_MAX, "%s", name);
    return out;
}

/* The halves' own names must be names of models as well. */
static kerf_err
check_name(const char *name, kerf_detail *why)
{
    char safe[KERF_NAME_MAX];

    if (kerf_text_is_name(name) &&
        strlen(name) + sizeof head_start <= KERF_NAME_MAX)
        return KERF_OK;
    return kerf_fail(why, KERF_EINVAL,
                     "'%s' cannot be the name of a pair, which is 1 to %zu of "
                     "letters, digits, '.', '_', '-': give --name",
                     kerf_text_safe(safe, sizeof safe, name),
                     KERF_NAME_MAX - sizeof head_start);
}

static kerf_err
check_cut(const kerf_cut *cut, kerf_detail *why)
{
    return cut->refused == NULL
               ? KERF_OK
               : kerf_fail(why, KERF_ENOTSUP, "this cut is refused: %s",
                           cut->refused);
}

/* The file of one half: "client_infer_NAME" + ending. */
static void
half_name(char out[KERF_PART_NAME], int half, const char *name,
          const char *ending)
{
    (void)snprintf(out, KERF_PART_NAME, "%s%s%s",
                   half == KERF_HEAD ? head_start : tail_start, name, ending);
}

/* Is the card beside the whole the one that the pair would get? Then it stays.
 */
static bool
has_own_card(const kerf_fresh *files, const kerf_cut_model *m, const char *name)
{
    char file[KERF_PART_NAME];
    char path[KERF_PATH_MAX];
    uint64_t stamp = kerf_fs_stamp(m->file.card_path);

    return m->has_card && !m->has_rules && stamp != 0 &&
           kerf_role_file(file, KERF_ROLE_CARD, m->file.format, name) &&
           kerf_path_join(path, files->dir, file) == KERF_OK &&
           kerf_fs_stamp(path) == stamp;
}

/* All names, before anything is written. */
static kerf_err
claim_names(const kerf_fresh *files, const kerf_cut_model *m, const char *name,
            kerf_detail *why)
{
    static const kerf_format formats[] = {KERF_FORMAT_PADDLE, KERF_FORMAT_ONNX};
    char file[KERF_PART_NAME];
    kerf_err err = KERF_OK;

    for (int r = KERF_ROLE_CARD; r < KERF_ROLE_COUNT && err == KERF_OK; r++) {
        for (size_t i = 0; i < 2 && err == KERF_OK; i++) {
            bool ours = formats[i] == m->file.format;
            char path[KERF_PATH_MAX];

            if (!kerf_role_file(file, (kerf_role)r, formats[i], name))
                continue;
            if (r == KERF_ROLE_CARD &&
                (!m->has_card || has_own_card(files, m, name)))
                continue;
            if (ours)
                err = kerf_fresh_claim(files, file, why);
            else if (kerf_path_join(path, files->dir, file) == KERF_OK &&
                     kerf_fs_exists(path) && r != KERF_ROLE_CARD) {
                err = kerf_fail(why, KERF_EINVAL,
                                "%s is there, a pair of the other format: "
                                "remove it, or give another --name",
                                path);
            }
        }
    }
    for (int i = 0; i < KERF_HALF_COUNT && m->has_card && err == KERF_OK; i++) {
        half_name(file, i, name, ".kerf.json");
        err = kerf_fresh_claim(files, file, why);
    }
    if (err != KERF_OK)
        return err;
    (void)snprintf(file, sizeof file, "%s.manifest.json", name);
    return kerf_fresh_claim(files, file, why);
}

static kerf_err
add_text(kerf_fresh *files, const char *name, const char *text,
         kerf_detail *why)
{
    kerf_rope rope = {0};
    kerf_fresh_item item = {.name = name, .rope = &rope, .hash = true};
    kerf_err err;

    kerf_rope_view(&rope, text, strlen(text));
    err = kerf_fresh_add(files, &item, 1, why);
    kerf_rope_fini(&rope);
    return err;
}

static kerf_err
write_halves(kerf_fresh *files, const kerf_halves *h, kerf_format format,
             const char *name, kerf_detail *why)
{
    kerf_fresh_item item[2 * KERF_HALF_COUNT];
    char file[2 * KERF_HALF_COUNT][KERF_PART_NAME];
    size_t count = 0;

    for (int i = 0; i < KERF_HALF_COUNT; i++) {
        for (int k = 0; k < 2; k++) {
            if (kerf_role_file(file[count], half_roles[i][k], format, name)) {
                item[count] = (kerf_fresh_item){
                    .name = file[count],
                    .rope = k == 0 ? &h->half[i].graph : &h->half[i].weights,
                    .hash = true};
                count++;
            }
        }
    }
    return kerf_fresh_add(files, item, count, why);
}

/* Cards say what the halves are when they run by themselves. */
static kerf_err
write_cards(kerf_fresh *files, const kerf_cut_model *m, const char *name,
            kerf_probe *probe, size_t probe_count, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (int i = -1; i < KERF_HALF_COUNT && m->has_card && err == KERF_OK;
         i++) {
        char file[KERF_PART_NAME];
        char half[KERF_PART_NAME];
        char *text = NULL;

        half_name(half, i, name, "");
        if (i < 0) {
            if (has_own_card(files, m, name))
                continue;
            (void)kerf_role_file(file, KERF_ROLE_CARD, m->file.format, name);
            err =
                kerf_cards_pair(&m->card, name, probe, probe_count, &text, why);
        } else {
            half_name(file, i, name, ".kerf.json");
            err = i == KERF_HEAD ? kerf_cards_head(&m->card, half, &text, why)
                                 : kerf_cards_tail(&m->card, half, &text, why);
        }
        if (err == KERF_OK)
            err = add_text(files, file, text, why);
        free(text);
    }
    return err;
}

static const kerf_fresh_file *
find_file(const kerf_fresh *files, const char *name)
{
    for (size_t i = 0; i < files->count; i++) {
        if (strcmp(files->file[i].name, name) == 0)
            return &files->file[i];
    }
    return NULL;
}

/* The whole's own card, which stays: as a part of the bundle. */
static kerf_err
take_own_card(kerf_manifest *m, const kerf_cut_model *model, kerf_detail *why)
{
    kerf_file *f = &m->file[m->file_count];
    kerf_sha256 *hash = NULL;
    uint8_t *data = NULL;
    size_t len = 0;
    kerf_err err = kerf_fs_read(model->file.card_path, KERF_CARD_BYTES_MAX,
                                &data, &len, why);

    if (err == KERF_OK)
        err = kerf_sha256_new(&hash);
    if (err == KERF_OK) {
        f->size = len;
        kerf_sha256_add(hash, data, len);
        kerf_sha256_end(hash, f->sha256);
    }
    kerf_sha256_free(hash);
    free(data);
    return err;
}

/* NAME.manifest.json: what is there, and what the head must answer. */
static kerf_err
write_manifest(kerf_fresh *files, const kerf_cut_model *model, const char *name,
               kerf_made *made, kerf_detail *why)
{
    kerf_manifest m = {.format = model->file.format,
                       .probe_tolerance = KERF_PROBE_TOLERANCE,
                       .probe = made->proof.probe, /* borrowed */
                       .probe_count = made->proof.probe_count};
    char file[KERF_PART_NAME];
    char *text = NULL;
    kerf_err err = KERF_OK;

    (void)snprintf(m.name, sizeof m.name, "%s", name);
    for (int r = 0; r < KERF_ROLE_COUNT && err == KERF_OK; r++) {
        kerf_file *f = &m.file[m.file_count];
        const kerf_fresh_file *made_file;

        if (!kerf_role_file(f->name, (kerf_role)r, m.format, name))
            continue;
        made_file = find_file(files, f->name);
        if (made_file == NULL && (r != KERF_ROLE_CARD || !model->has_card))
            continue;
        f->role = (kerf_role)r;
        if (made_file == NULL) {
            err = take_own_card(&m, model, why);
        } else {
            f->size = made_file->size;
            memcpy(f->sha256, made_file->sha256, sizeof f->sha256);
        }
        m.file_count++;
    }
    if (err == KERF_OK)
        err = kerf_manifest_seal(&m);
    if (err == KERF_OK)
        err = kerf_manifest_format(&m, &text);
    memcpy(made->id, m.id, sizeof made->id);
    (void)snprintf(file, sizeof file, "%s.manifest.json", name);
    if (err == KERF_OK)
        err = add_text(files, file, text, why);
    free(text);
    return err;
}

/* The written files as the engine takes them. */
static kerf_err
map_half(kerf_map map[2], const kerf_fresh *files, int half, kerf_format format,
         const char *name, kerf_model_bytes *out, kerf_detail *why)
{
    kerf_err err = KERF_OK;

    for (int k = 0; k < 2 && err == KERF_OK; k++) {
        char file[KERF_PART_NAME];
        const kerf_fresh_file *f;

        if (!kerf_role_file(file, half_roles[half][k], format, name))
            continue;
        f = find_file(files, file);
        if (f != NULL)
            err = kerf_map_open(&map[k], f->temp, KERF_MODEL_BYTES_MAX, why);
    }
    *out = (kerf_model_bytes){.format = format,
                              .graph = map[0].data,
                              .graph_len = map[0].len,
                              .weights = map[1].len > 0 ? map[1].data : NULL,
                              .weights_len = map[1].len};
    return err;
}

static kerf_err
judge(const kerf_proof *proof, kerf_detail *why)
{
    return proof->ok ? KERF_OK
                     : kerf_fail(why, KERF_EMISMATCH,
                                 "the halves are not the whole, nothing was "
                                 "written: %s",
                                 proof->why.text);
}

/* Proves what stands on the disk; *prover stays for the card's probes. */
static kerf_err
prove(kerf_prover **prover, const kerf_fresh *files, kerf_cut_model *m,
      const kerf_cut *cut, const kerf_make_opts *opts, kerf_made *made,
      kerf_detail *why)
{
    kerf_map map[KERF_HALF_COUNT][2] = {{{0}}};
    kerf_model_bytes bytes[KERF_HALF_COUNT];
    uint64_t start = kerf_now_ns();
    kerf_err err = KERF_OK;

    for (int i = 0; i < KERF_HALF_COUNT && err == KERF_OK; i++)
        err = map_half(map[i], files, i, m->file.format, opts->name, &bytes[i],
                       why);
    if (err == KERF_OK)
        err = kerf_prover_new(prover, opts->engine, m, &opts->proof, why);
    if (err == KERF_OK)
        err = kerf_prover_check(*prover, cut, &bytes[KERF_HEAD],
                                &bytes[KERF_TAIL], &made->proof, why);
    if (err == KERF_OK)
        err = judge(&made->proof, why);
    made->prove_ns = kerf_now_ns() - start;
    for (int i = 0; i < KERF_HALF_COUNT; i++) {
        kerf_map_close(&map[i][0]);
        kerf_map_close(&map[i][1]);
    }
    return err;
}

kerf_err
kerf_make_cut(kerf_fresh *files, kerf_cut_model *m, const kerf_cut *cut,
              const kerf_make_opts *opts, kerf_made *made, kerf_detail *why)
{
    kerf_halves halves = {0};
    kerf_prover *prover = NULL;
    kerf_probe *probe = NULL;
    size_t probe_count = 0;
    kerf_err err = check_name(opts->name, why);

    *made = (kerf_made){0};
    if (err == KERF_OK)
        err = check_cut(cut, why);
    if (err == KERF_OK)
        err = claim_names(files, m, opts->name, why);
    if (err == KERF_OK)
        err = kerf_halves_make(&halves, m->graph, cut, why);
    if (err == KERF_OK)
        err = write_halves(files, &halves, m->file.format, opts->name, why);
    if (err == KERF_OK && opts->engine != NULL)
        err = prove(&prover, files, m, cut, opts, made, why);
    if (err == KERF_OK && prover != NULL)
        err = kerf_prover_probes(prover, &probe, &probe_count);
    if (err == KERF_OK)
        err = write_cards(files, m, opts->name, probe, probe_count, why);
    if (err == KERF_OK)
        err = write_manifest(files, m, opts->name, made, why);
    if (err == KERF_OK)
        err = kerf_fresh_commit(files, why);
    kerf_probes_free(probe, probe_count);
    kerf_prover_free(prover);
    kerf_halves_fini(&halves);
    return err;
}

/* Takes what was made with malloc. */
static kerf_err
put_part(kerf_pair *pair, kerf_sha256 *hash, kerf_role role, uint8_t *data,
         size_t len)
{
    kerf_manifest *m = &pair->manifest;
    kerf_file *f = &m->file[m->file_count];

    pair->data[role] = data;
    pair->len[role] = len;
    if (data == NULL)
        return KERF_OK;
    if (!kerf_role_file(f->name, role, m->format, m->name))
        return KERF_ENOTSUP;
    f->role = role;
    f->size = len;
    kerf_sha256_add(hash, data, len);
    kerf_sha256_end(hash, f->sha256);
    m->file_count++;
    return KERF_OK;
}

static kerf_err
fill_pair(kerf_pair *pair, kerf_sha256 *hash, const kerf_cut_model *m,
          const kerf_halves *h, kerf_detail *why)
{
    kerf_err err = KERF_OK;
    char *text = NULL;

    if (m->has_card)
        err =
            kerf_cards_pair(&m->card, pair->manifest.name, NULL, 0, &text, why);
    if (err == KERF_OK)
        err = put_part(pair, hash, KERF_ROLE_CARD, (uint8_t *)text,
                       text == NULL ? 0 : strlen(text));
    for (int i = 0; i < 2 * KERF_HALF_COUNT && err == KERF_OK; i++) {
        const kerf_half *half = &h->half[i / 2];
        const kerf_rope *rope = i % 2 == 0 ? &half->graph : &half->weights;
        uint8_t *data = NULL;

        if (i % 2 == 1 && m->file.format != KERF_FORMAT_PADDLE)
            continue;
        err = kerf_rope_flatten(rope, &data);
        if (err == KERF_OK)
            err = put_part(pair, hash, (kerf_role)(KERF_ROLE_HEAD_GRAPH + i),
                           data, rope->len);
    }
    return err;
}

kerf_err
kerf_make_pair(kerf_pair *pair, const kerf_cut_model *m, const kerf_cut *cut,
               const char *name, kerf_detail *why)
{
    kerf_halves halves = {0};
    kerf_pair new = {0};
    kerf_sha256 *hash = NULL;
    kerf_err err = check_name(name, why);

    new.manifest.format = m->file.format;
    new.manifest.probe_tolerance = KERF_PROBE_TOLERANCE;
    (void)snprintf(new.manifest.name, sizeof new.manifest.name, "%s", name);
    if (err == KERF_OK)
        err = check_cut(cut, why);
    if (err == KERF_OK)
        err = kerf_halves_make(&halves, m->graph, cut, why);
    if (err == KERF_OK)
        err = kerf_sha256_new(&hash);
    if (err == KERF_OK)
        err = fill_pair(&new, hash, m, &halves, why);
    if (err == KERF_OK)
        err = kerf_pair_card(&new, why);
    if (err == KERF_OK)
        err = kerf_manifest_seal(&new.manifest);
    kerf_sha256_free(hash);
    kerf_halves_fini(&halves);
    if (err != KERF_OK) {
        kerf_pair_fini(&new);
        return err;
    }
    *pair = new;
    return KERF_OK;
}
