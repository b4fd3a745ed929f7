#include "kerf/card.h"

#include "model/probe_json.h"

#include <stdlib.h>
#include <string.h>

void
kerf_card_init(kerf_card *card)
{
    *card = (kerf_card){.pad = 114, .scale = 1.0F, .std = {1.0F, 1.0F, 1.0F}};
}

void
kerf_card_fini(kerf_card *card)
{
    for (size_t i = 0; i < card->label_count; i++)
        free(card->label[i]);
    free(card->label);
    kerf_probes_free(card->probe, card->probe_count);
    *card = (kerf_card){0};
}

int
kerf_card_channels(const kerf_card *card)
{
    return card->colour == KERF_COLOUR_GRAY ? 1 : 3;
}

static bool
is_channels(int64_t dim)
{
    return dim == 1 || dim == 3;
}

/* The layout that the dims allow; false when they allow both or none. */
static bool
guess_layout(const kerf_shape *s, kerf_layout *out)
{
    bool first = is_channels(s->dims[1]);
    bool last = is_channels(s->dims[3]);

    if (first == last)
        return false;
    *out = first ? KERF_LAYOUT_NCHW : KERF_LAYOUT_NHWC;
    return true;
}

static kerf_err
settle_layout(kerf_card *card, const kerf_shape *s, kerf_detail *why)
{
    char text[KERF_SHAPE_TEXT];
    kerf_layout guess = KERF_LAYOUT_NCHW;
    bool known = guess_layout(s, &guess);
    int64_t channels;

    if ((card->given & KERF_GIVEN_LAYOUT) == 0) {
        if (!known) {
            return kerf_fail(why, KERF_EINVAL,
                             "missing rule: --layout nchw|nhwc (the model's "
                             "input %s leaves both open)",
                             kerf_shape_text(text, s));
        }
        card->layout = guess;
        card->given |= KERF_GIVEN_LAYOUT;
    }
    channels = s->dims[card->layout == KERF_LAYOUT_NCHW ? 1 : 3];
    if (channels >= 0 && !is_channels(channels)) {
        return kerf_fail(
            why, KERF_EINVAL,
            "--layout %s, but the model's input %s then has %lld channels: "
            "an image has 1 or 3",
            card->layout == KERF_LAYOUT_NCHW ? "nchw" : "nhwc",
            kerf_shape_text(text, s), (long long)channels);
    }
    return KERF_OK;
}

static kerf_err
settle_size(kerf_card *card, const kerf_shape *s, kerf_detail *why)
{
    bool nchw = card->layout == KERF_LAYOUT_NCHW;
    int64_t height = s->dims[nchw ? 2 : 1];
    int64_t width = s->dims[nchw ? 3 : 2];
    bool given = (card->given & KERF_GIVEN_SIZE) != 0;

    if (height > KERF_CARD_SIDE_MAX || width > KERF_CARD_SIDE_MAX ||
        height == 0 || width == 0) {
        return kerf_fail(why, KERF_EINVAL,
                         "the model's input is %lldx%lld pixels: "
                         "not in 1..%d",
                         (long long)height, (long long)width,
                         KERF_CARD_SIDE_MAX);
    }
    if (!given && (height < 0 || width < 0))
        return kerf_fail(why, KERF_EINVAL,
                         "missing rule: --size HxW (the model takes any size)");
    if (given && ((height > 0 && height != card->height) ||
                  (width > 0 && width != card->width))) {
        return kerf_fail(why, KERF_EINVAL,
                         "--size %dx%d, but the model's input is %lldx%lld "
                         "(height x width)",
                         card->height, card->width, (long long)height,
                         (long long)width);
    }
    if (!given) {
        card->height = (int)height;
        card->width = (int)width;
        card->given |= KERF_GIVEN_SIZE;
    }
    return KERF_OK;
}

static kerf_err
settle_colour(kerf_card *card, const kerf_shape *s, kerf_detail *why)
{
    int64_t channels = s->dims[card->layout == KERF_LAYOUT_NCHW ? 1 : 3];

    if ((card->given & KERF_GIVEN_COLOUR) == 0) {
        if (channels != 1) {
            return kerf_fail(why, KERF_EINVAL,
                             "missing rule: --colour rgb|bgr%s (the order that "
                             "the model was trained on)",
                             channels < 0 ? "|gray" : "");
        }
        card->colour = KERF_COLOUR_GRAY;
        card->given |= KERF_GIVEN_COLOUR;
    }
    if (channels > 0 && channels != kerf_card_channels(card)) {
        return kerf_fail(why, KERF_EINVAL,
                         "--colour %s, but the model's input has %lld "
                         "channel%s",
                         card->colour == KERF_COLOUR_GRAY  ? "gray"
                         : card->colour == KERF_COLOUR_BGR ? "bgr"
                                                           : "rgb",
                         (long long)channels, channels == 1 ? "" : "s");
    }
    return KERF_OK;
}

static bool
all_equal(const float v[3])
{
    return v[0] == v[1] && v[1] == v[2];
}

static bool
all_at_most_one(const float v[3])
{
    return v[0] <= 1.0F && v[1] <= 1.0F && v[2] <= 1.0F;
}

static kerf_err
settle_values(kerf_card *card, kerf_detail *why)
{
    unsigned has =
        card->given & (KERF_GIVEN_SCALE | KERF_GIVEN_MEAN | KERF_GIVEN_STD);

    if (has == 0) {
        return kerf_fail(why, KERF_EINVAL,
                         "missing rule: --scale, --mean or --std "
                         "(value = (pixel * scale - mean) / std; for plain "
                         "pixels --scale 1)");
    }
    for (int i = 0; i < 3; i++) {
        if (card->std[i] == 0.0F)
            return kerf_fail(why, KERF_EINVAL, "--std 0 divides by zero");
    }
    if (card->scale == 0.0F)
        return kerf_fail(why, KERF_EINVAL, "--scale 0 erases the image");
    if ((has & KERF_GIVEN_SCALE) == 0 &&
        ((has & KERF_GIVEN_MEAN) == 0 || all_at_most_one(card->mean)) &&
        ((has & KERF_GIVEN_STD) == 0 || all_at_most_one(card->std))) {
        return kerf_fail(why, KERF_EINVAL,
                         "missing rule: --scale 1/255 (if --mean and --std are "
                         "for values 0..1) or --scale 1 (if they are for "
                         "pixels 0..255)");
    }
    if (kerf_card_channels(card) == 1 &&
        (!all_equal(card->mean) || !all_equal(card->std)))
        return kerf_fail(why, KERF_EINVAL,
                         "--mean or --std has 3 numbers, but the model's input "
                         "has 1 channel");
    return KERF_OK;
}

kerf_err
kerf_card_settle(kerf_card *card, kerf_shape *shape, kerf_detail *why)
{
    char text[KERF_SHAPE_TEXT];
    kerf_shape s = *shape;
    kerf_err err;
    bool nchw;

    if (s.rank != 4) {
        return kerf_fail(why, KERF_EINVAL,
                         "the model's input %s is not a batch of images "
                         "(4 dims): give it .npy tensors",
                         kerf_shape_text(text, &s));
    }
    if (s.dims[0] > 1) {
        return kerf_fail(why, KERF_EINVAL,
                         "the model's input %s has a fixed batch of %lld: "
                         "export it with batch 1 or a free batch",
                         kerf_shape_text(text, &s), (long long)s.dims[0]);
    }
    err = settle_layout(card, &s, why);
    if (err == KERF_OK)
        err = settle_size(card, &s, why);
    if (err == KERF_OK && (card->given & KERF_GIVEN_RESIZE) == 0)
        err = kerf_fail(why, KERF_EINVAL,
                        "missing rule: --resize stretch|letterbox|crop");
    if (err == KERF_OK)
        err = settle_colour(card, &s, why);
    if (err == KERF_OK)
        err = settle_values(card, why);
    if (err != KERF_OK)
        return err;

    nchw = card->layout == KERF_LAYOUT_NCHW;
    s.dims[0] = 1;
    s.dims[nchw ? 1 : 3] = kerf_card_channels(card);
    s.dims[nchw ? 2 : 1] = card->height;
    s.dims[nchw ? 3 : 2] = card->width;
    *shape = s;
    return KERF_OK;
}
