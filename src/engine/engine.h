/*
 * engine.h - the seam between engine.c (checks, the same for every engine) and
 * one engine. An engine of a kind is a struct that starts with the base struct
 * and a table of functions.
 *
 * engine.c has checked before it calls: indices in range, pointers aligned and
 * not NULL, shapes static, every input bound. A backend fills the ports.
 * Threads: as in kerf/engine.h.
 */
#ifndef KERF_ENGINE_ENGINE_H
#define KERF_ENGINE_ENGINE_H

#include "kerf/engine.h"

typedef struct kerf_ports {
    size_t count;
    kerf_port port[KERF_PORTS_MAX];
} kerf_ports;

/* A network that was read and not yet compiled. */
typedef struct kerf_graph_read {
    void *own; /* the backend's */
    kerf_ports in, out;
    size_t out_count;  /* all; out is empty when it cannot hold them */
    size_t batch_most; /* of kerf_load: set before reshape() */
} kerf_graph_read;

typedef struct kerf_backend {
    const char *kind;
    /* *out: the backend's struct, allocated; its base is filled by engine.c. */
    kerf_err (*open)(kerf_engine **out, const kerf_engine_opts *opts,
                     kerf_detail *why);
    void (*close)(kerf_engine *engine);
    const char *(*version)(const kerf_engine *engine);
    bool (*has_op)(kerf_format format, const char *op); /* NULL: all */
    /* Fills read->own and the ports. m's bytes live until drop(). */
    kerf_err (*read)(kerf_engine *engine, kerf_graph_read *read,
                     const kerf_model_bytes *m, kerf_detail *why);
    void (*drop)(kerf_graph_read *read);
    /* Output i of out_count, whatever its type: see kerf_out_shape. */
    kerf_err (*peek)(const kerf_graph_read *read, size_t i, bool *is_known,
                     kerf_dtype *dtype, kerf_shape *shape, kerf_detail *why);
    /* Static shapes for all inputs, but for the first dim where batch_most is
     * not 0; compile() may follow, with the same. */
    kerf_err (*reshape)(kerf_graph_read *read, const kerf_shape *want,
                        kerf_detail *why);
    /* want[i]: static shape of each input, before prep (NULL: none). Fills
     * in and out of *net; must not keep m's bytes. */
    kerf_err (*compile)(kerf_engine *engine, kerf_net **out,
                        kerf_graph_read *read, const kerf_shape *want,
                        const kerf_card *prep, size_t image_port,
                        kerf_detail *why);
    void (*net_free)(kerf_net *net);
    /* batch: samples; 0: as the shapes say. */
    kerf_err (*request_new)(kerf_request **out, kerf_net *net, size_t batch,
                            kerf_detail *why);
    void (*request_free)(kerf_request *request);
    kerf_err (*bind_in)(kerf_request *request, size_t i, void *data,
                        kerf_detail *why);
    kerf_err (*bind_out)(kerf_request *request, size_t i, void *data,
                         kerf_detail *why);
    kerf_err (*run)(kerf_request *request, kerf_detail *why);
    kerf_err (*out)(kerf_request *request, size_t i, kerf_tensor *out,
                    kerf_detail *why);
} kerf_backend;

struct kerf_engine {
    const kerf_backend *backend;
};

struct kerf_net {
    kerf_engine *engine;
    kerf_ports in, out;
    bool is_static;
    size_t batch_most; /* 0: as the shapes say */
};

struct kerf_request {
    kerf_net *net;
    size_t batch;             /* samples; 0: as the shapes say */
    void *in[KERF_PORTS_MAX]; /* bound memory; NULL: not yet */
    void *out[KERF_PORTS_MAX];
    size_t unbound; /* inputs without memory */
    bool has_run;
};

extern const kerf_backend kerf_backend_fake;
extern const kerf_backend kerf_backend_openvino;

/* "input 0 'x'" into out[KERF_PORT_TEXT], the name made safe. Returns out. */
#define KERF_PORT_TEXT 192
char *kerf_port_text(char out[KERF_PORT_TEXT], const char *side, size_t i,
                     const kerf_port *port);

#endif
