/*
 * fake_models.h - models of the fake engine for tests. The format is described
 * at the top of src/engine/fake.c.
 *
 * In short: a value is a fold of what it reads ("in") onto its own shape, times
 * a, plus b, plus a seeded term for each index. Move a hidden value to
 * "outputs" to make a head, to "inputs" to make the tail.
 */
#ifndef KERF_TESTS_FAKE_MODELS_H
#define KERF_TESTS_FAKE_MODELS_H

#define FAKE_X \
    "{\"name\": \"x\", \"dtype\": \"f32\", \"shape\": [-1, 3, 32, 32]}"
#define FAKE_H                                                       \
    "{\"name\": \"h\", \"shape\": [-1, 64, 8, 8], \"in\": [\"x\"], " \
    "\"a\": 0.75, \"b\": 0.1, \"seed\": 11}"
#define FAKE_G                                                   \
    "{\"name\": \"g\", \"dtype\": \"i32\", \"shape\": [-1, 5], " \
    "\"in\": [\"x\"], \"a\": 3}"
#define FAKE_Y                                                        \
    "{\"name\": \"y\", \"shape\": [-1, 10], \"in\": [\"h\", \"g\"], " \
    "\"a\": 0.01, \"seed\": 12}"

/* x [?,3,32,32] -> y [?,10], cut at h [?,64,8,8] f32 and g [?,5] i32. */
#define FAKE_WHOLE                                                      \
    "{\"kerf_fake\": 1, \"inputs\": [" FAKE_X "], \"hidden\": [" FAKE_H \
    ", " FAKE_G "], \"outputs\": [" FAKE_Y "]}"
#define FAKE_HEAD                                                        \
    "{\"kerf_fake\": 1, \"inputs\": [" FAKE_X "], \"outputs\": [" FAKE_H \
    ", " FAKE_G "]}"
#define FAKE_TAIL                                                   \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"h\", \"shape\": " \
    "[-1, 64, 8, 8]}, {\"name\": \"g\", \"dtype\": \"i32\", "       \
    "\"shape\": [-1, 5]}], \"outputs\": [" FAKE_Y "]}"

/* 48 elements -> 10 scores. */
#define FAKE_CLASSES                                                \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": " \
    "[-1, 3, 4, 4]}], \"outputs\": [{\"name\": \"y\", \"shape\": [-1, 10]}]}"

/* The image itself comes out. */
#define FAKE_IMAGE                                                  \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": " \
    "[-1, 3, 2, 3]}], \"outputs\": [{\"name\": \"y\", "             \
    "\"shape\": [-1, 3, 2, 3]}]}"

#define FAKE_FREE                                                   \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": " \
    "[-1, 3, -1, -1]}], \"outputs\": [{\"name\": \"y\", "           \
    "\"shape\": [-1, 10]}]}"

#define FAKE_FREE_WORDS                                             \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": " \
    "[-1, -1]}], \"outputs\": [{\"name\": \"y\", "                  \
    "\"shape\": [-1, 10]}]}"

/* As a detector: [rows, 6], rows = elements of x over 0.5, modulo 8. */
#define FAKE_ROWS                                                           \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": [16]}], " \
    "\"outputs\": [{\"name\": \"y\", \"shape\": [-1, 6], \"rows\": true}]}"

#define FAKE_FAILS_LOAD                                                    \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": [4]}], " \
    "\"outputs\": [{\"name\": \"y\", \"shape\": [4]}], \"fail\": \"load\"}"
#define FAKE_FAILS_RUN                                                      \
    "{\"kerf_fake\": 1, \"inputs\": [{\"name\": \"x\", \"shape\": [4]}], "  \
    "\"outputs\": [{\"name\": \"y\", \"shape\": [4]}], \"fail\": \"run\", " \
    "\"fail_after\": 1}"

#endif
