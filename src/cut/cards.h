/*
 * cards.h - the cards of a cut model: of the pair, of its head (how an image
 * becomes the input), and of its tail (what the output means).
 * Threads: pure.
 */
#ifndef KERF_CUT_CARDS_H
#define KERF_CUT_CARDS_H

#include "kerf/card.h"

/* Each gives new JSON text -> free(). card is that of the whole model.
 * Errors: those of kerf_card_format(); *why says which card. */

/* All rules, labels and probes; probe replaces the card's when it has none. */
KERF_NODISCARD kerf_err kerf_cards_pair(const kerf_card *card, const char *name,
                                        kerf_probe *probe, size_t probe_count,
                                        char **out, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_cards_head(const kerf_card *card, const char *name,
                                        char **out, kerf_detail *why);
KERF_NODISCARD kerf_err kerf_cards_tail(const kerf_card *card, const char *name,
                                        char **out, kerf_detail *why);
/* Of a joined model: the input of head, the output of tail. */
KERF_NODISCARD kerf_err kerf_cards_joined(const kerf_card *head,
                                          const kerf_card *tail,
                                          const char *name, kerf_probe *probe,
                                          size_t probe_count, char **out,
                                          kerf_detail *why);

#endif
