/*
 * encode.h - what a flight sends: its tensors as they are or coded, small ones
 * in the TENSOR frame, large ones block by block behind it, each block on its
 * way while the next is encoded.
 * Threads: the worker's, but for kerf_encode_join().
 */
#ifndef KERF_EDGE_ENCODE_H
#define KERF_EDGE_ENCODE_H

#include "edge/program.h"

struct kerf_edge;

/* The TENSOR frame; the time is put in when it is sent. True: blocks follow. */
bool kerf_encode(struct kerf_edge *edge, kerf_flight *f);
/* The blocks, each of which goes to kerf_link_block(), but the last: after it
 * the answer may come, so that kerf_link_finish() sends it. */
void kerf_encode_blocks(struct kerf_edge *edge, kerf_flight *f);
/* Makes one frame of a flight whose blocks are all as they are, for a cloud
 * that takes none, or for the disk; others stay. It is not being sent. All of
 * it is hashed. Whoever has the flight. */
void kerf_encode_join(struct kerf_edge *edge, kerf_flight *f);

#endif
