/*
 * A cut that is served at once: in memory, proved, no file.
 */
#include "cli/cut_cmd.h"

static kerf_err
prove(const kerf_cut_flags *f, kerf_engine *engine, kerf_cut_model *m,
      const kerf_pair *pair, kerf_detail *why)
{
    const kerf_proof_opts opts = kerf_cut_cmd_proof(f);
    const kerf_model_bytes head = kerf_pair_bytes(pair, true);
    const kerf_model_bytes tail = kerf_pair_bytes(pair, false);
    kerf_prover *prover = NULL;
    kerf_proof proof = {0};
    kerf_err err = kerf_prover_new(&prover, engine, m, &opts, why);

    if (err == KERF_OK)
        err = kerf_prover_check(prover, &head, &tail, &proof, why);
    if (err == KERF_OK && !proof.ok)
        err = kerf_fail(why, KERF_EMISMATCH, "not proved: %s", proof.why.text);
    else if (err == KERF_OK && !proof.is_static)
        err = kerf_fail(why, KERF_ENOTSUP,
                        "what crosses has a size that depends on the data: "
                        "choose another cut");
    kerf_proof_fini(&proof);
    kerf_prover_free(prover);
    return err;
}

kerf_err
kerf_cut_cmd_pair(const kerf_cut_flags *f, kerf_pair *pair, kerf_detail *why)
{
    char name[KERF_NAME_MAX];
    kerf_cut_model m = {0};
    kerf_engine *engine = NULL;
    kerf_cut cut = {0};
    kerf_pair new = {0};
    kerf_err err = kerf_cut_cmd_open(f, f->arg[0], &m, why);

    if (err == KERF_OK)
        err = kerf_cut_cmd_type(f, &m, &engine, why);
    if (err == KERF_OK)
        err = kerf_cut_cmd_find(f, &m, &cut, why);
    if (err == KERF_OK)
        err = kerf_make_pair(&new, &m, &cut, kerf_make_name(name, &m), why);
    if (err == KERF_OK)
        err = prove(f, engine, &m, &new, why);
    kerf_cut_fini(&cut);
    kerf_cut_close(&m);
    kerf_engine_close(engine);
    if (err != KERF_OK) {
        kerf_pair_fini(&new);
        return err;
    }
    *pair = new;
    return KERF_OK;
}
