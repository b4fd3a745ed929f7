/*
 * load_card.h - load a network by what its card says, for images or for
 * tensors as they are. Threads: as kerf_engine_load().
 */
#ifndef KERF_ENGINE_LOAD_CARD_H
#define KERF_ENGINE_LOAD_CARD_H

#include "kerf/engine.h"

/* The port that takes the image: the only input of rank 4; KERF_PORTS_MAX when
 * there is none, or more than one. */
size_t kerf_image_port(const kerf_port *in, size_t count);

/* Shapes of the inputs for one sample: a free batch is 1, and the size comes
 * from the card (NULL: none) where the image port leaves it free. What nobody
 * says stays -1, but for a card of an image: KERF_EINVAL. */
KERF_NODISCARD kerf_err kerf_card_shapes(const kerf_card *card,
                                         const kerf_port *in, size_t count,
                                         kerf_shape *shapes, kerf_detail *why);

/* Inputs as the model has them. card (NULL: none) gives the size where the
 * image port leaves it free. Errors: those of kerf_engine_load(). */
KERF_NODISCARD kerf_err kerf_engine_load_raw(kerf_engine *engine,
                                             kerf_net **out,
                                             const kerf_model_bytes *m,
                                             const kerf_card *card,
                                             kerf_detail *why);

/* The image port takes the u8 image. card must be for an image and its rules
 * complete; it is settled (size, layout filled). */
KERF_NODISCARD kerf_err kerf_engine_load_image(
    kerf_engine *engine, kerf_net **out, const kerf_model_bytes *m,
    kerf_card *card, size_t *image_port, kerf_detail *why);

/* The tail of a cut, with the shapes that head gives; what crosses must have
 * the dtypes that the tail takes. Errors: those of kerf_engine_load(),
 * KERF_ENOTSUP (head is not static), KERF_EMISMATCH. */
KERF_NODISCARD kerf_err kerf_engine_load_tail(kerf_engine *engine,
                                              kerf_net **out,
                                              const kerf_model_bytes *m,
                                              const kerf_net *head,
                                              kerf_detail *why);

#endif
