/*
 * engine.h - load a network, run it on memory that we own.
 *
 *     kerf_engine --load--> kerf_net --new request--> kerf_request
 *
 * An engine is a device with its settings; a net is a compiled network with
 * static shapes; a request is one place to run it. Ports are addressed by
 * index, in the model's order (identity ops lose names).
 * Threads: an engine and a net may be used from any thread at once; a request
 * belongs to one thread at a time.
 * Requests of one net take turns (OpenVINO compiles one stream): for runs that
 * overlap, load one net for each worker.
 */
#ifndef KERF_ENGINE_H
#define KERF_ENGINE_H

#include "kerf/card.h"
#include "kerf/limits.h"
#include "kerf/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kerf_engine kerf_engine;
typedef struct kerf_net kerf_net;
typedef struct kerf_request kerf_request;

typedef enum kerf_precision {
    KERF_PRECISION_F32 = 0, /* the default: equal results everywhere */
    KERF_PRECISION_BF16 = 1,
} kerf_precision;

typedef struct kerf_engine_opts {
    const char *kind;   /* "openvino" (NULL: the build's default), "fake" */
    const char *device; /* "CPU" when NULL */
    kerf_precision precision;
    int threads; /* per inference; 0: 1 */
} kerf_engine_opts;

/* Errors: KERF_ENOTSUP (kind not in this build), KERF_EENGINE, KERF_ENOMEM. */
KERF_API KERF_NODISCARD kerf_err kerf_engine_open(kerf_engine **out,
                                                  const kerf_engine_opts *opts,
                                                  kerf_detail *why);
/* After all its nets are freed. Accepts NULL. */
KERF_API void kerf_engine_close(kerf_engine *engine);
KERF_API const char *kerf_engine_version(const kerf_engine *engine);

/* False when the engine is known to lack this op of that format ("conv2d",
 * "Conv"); what it does not know beforehand, it may refuse when it reads. */
KERF_API bool kerf_engine_has_op(const kerf_engine *engine, kerf_format format,
                                 const char *op);

/* What kerf_engine_load() shall make static. */
typedef struct kerf_load {
    /* NULL: ports take and give tensors as the model has them. Else, settled
     * by kerf_card_settle(): port `image_port` takes the u8 image
     * [1,height,width,channels] in the card's colour order, and the engine
     * does layout, scale, mean and std. */
    const kerf_card *prep;
    size_t image_port;
    /* NULL, or one shape for each input (before prep): reshape to these.
     * Without it a free batch becomes 1; other free dims are an error that
     * names them, unless prep gives the size. */
    const kerf_shape *shapes;
    size_t shape_count;
    /* 0, or, with shapes that all begin with 1: requests run as many samples
     * at once as they want, up to this (kerf_request_new_batch()); also where
     * the model has 1 fixed. Ports then begin with -1, outputs where they
     * grow. */
    size_t batch_most;
} kerf_load;

/*
 * Reads and compiles. The bytes of m may go away after the call.
 * how may be NULL (all defaults). *out is untouched on error.
 * Errors: KERF_ECORRUPT, KERF_ENOTSUP (an op or format the engine lacks: *why
 * names it), KERF_EINVAL (shapes), KERF_EENGINE, KERF_ENOMEM.
 */
KERF_API KERF_NODISCARD kerf_err kerf_engine_load(kerf_engine *engine,
                                                  kerf_net **out,
                                                  const kerf_model_bytes *m,
                                                  const kerf_load *how,
                                                  kerf_detail *why);
KERF_API void kerf_net_free(kerf_net *net); /* after its requests; NULL is ok */

/* The ports of a network before anything is made static or compiled; cheap.
 * in and out hold KERF_PORTS_MAX each. */
KERF_API KERF_NODISCARD kerf_err kerf_engine_inspect(
    kerf_engine *engine, const kerf_model_bytes *m, kerf_port *in,
    size_t *in_count, kerf_port *out, size_t *out_count, kerf_detail *why);

/* An output, as far as the engine can say without running the network. */
typedef struct kerf_out_shape {
    bool is_known; /* dtype is one of ours, and the rank is fixed */
    kerf_dtype dtype;
    kerf_shape shape; /* as the model has it, -1 where free */
    kerf_shape fixed; /* with static inputs, -1 where it depends on the data */
} kerf_out_shape;

/*
 * Dtypes and shapes of all outputs, however many (KERF_PORTS_MAX does not
 * hold); nothing is compiled. shapes: a static shape for each input, or NULL:
 * fixed is then as shape. *count is untouched on error.
 * Errors: those of kerf_engine_load(); KERF_ETOOBIG (more than cap outputs).
 */
KERF_API KERF_NODISCARD kerf_err kerf_engine_shapes(
    kerf_engine *engine, const kerf_model_bytes *m, const kerf_shape *shapes,
    size_t shape_count, kerf_out_shape *out, size_t cap, size_t *count,
    kerf_detail *why);

KERF_API size_t kerf_net_in_count(const kerf_net *net);
KERF_API size_t kerf_net_out_count(const kerf_net *net);
KERF_API const kerf_port *kerf_net_in(const kerf_net *net, size_t i);
KERF_API const kerf_port *kerf_net_out(const kerf_net *net, size_t i);
/* All output shapes are static: outputs can be bound. */
KERF_API bool kerf_net_is_static(const kerf_net *net);

KERF_API KERF_NODISCARD kerf_err kerf_request_new(kerf_request **out,
                                                  kerf_net *net,
                                                  kerf_detail *why);
/* Of a network with batch_most: runs this many samples, which lie one behind
 * the other in the memory that is bound. Outputs that grow are not bound.
 * Errors: KERF_EINVAL (0, or more than batch_most), and as above. */
KERF_API KERF_NODISCARD kerf_err kerf_request_new_batch(kerf_request **out,
                                                        kerf_net *net,
                                                        size_t batch,
                                                        kerf_detail *why);
KERF_API void kerf_request_free(kerf_request *request); /* accepts NULL */

/* The engine reads from / writes to data (aligned to KERF_TENSOR_ALIGN, as
 * long as the port's bytes) at every later run, until bound again. The memory
 * stays the caller's. Binding the same pointer again costs nothing.
 * Binding an output whose shape is not static: KERF_ENOTSUP. */
KERF_API KERF_NODISCARD kerf_err kerf_request_bind_in(kerf_request *request,
                                                      size_t i, void *data,
                                                      kerf_detail *why);
KERF_API KERF_NODISCARD kerf_err kerf_request_bind_out(kerf_request *request,
                                                       size_t i, void *data,
                                                       kerf_detail *why);

/* Runs on the calling thread. Every input must be bound. */
KERF_API KERF_NODISCARD kerf_err kerf_request_run(kerf_request *request,
                                                  kerf_detail *why);

/* Output i of the last run: the bound memory, or the engine's own, valid until
 * the next run. */
KERF_API KERF_NODISCARD kerf_err kerf_request_out(kerf_request *request,
                                                  size_t i, kerf_tensor *out,
                                                  kerf_detail *why);

#ifdef __cplusplus
}
#endif
#endif
