#include "source/gst.h"

#include "base/text.h"
#include "source/ycc.h"

#include <gst/gst.h>
#include <gst/video/video.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One decoder element between two pads of ours. */
typedef struct decoder {
    GstElement *element;
    GstBus *bus;
    GstPad *in, *out;
    GstCaps *caps; /* of its output */
    GstBuffer *frame;
    guint64 count; /* images pushed */
} decoder;

struct kerf_gst {
    decoder by_format[KERF_IMAGE_FORMAT_COUNT];
    GstVideoFrame mapped; /* what *out of the last call points into */
    bool is_mapped;
    GstVideoConverter *convert;
    GstVideoInfo from, to; /* of convert */
    GstBuffer *rgb;        /* target of convert */
};

/* Without a template a pad accepts only the caps that it already has. */
static GstStaticPadTemplate any_sink = GST_STATIC_PAD_TEMPLATE(
    "out", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

static kerf_err
start_gstreamer(kerf_detail *why)
{
    GError *error = NULL;
    char text[256];

    if (gst_is_initialized())
        return KERF_OK;
    if (gst_init_check(NULL, NULL, &error))
        return KERF_OK;
    (void)kerf_fail(why, KERF_ENOTSUP, "GStreamer does not start: %s",
                    kerf_text_safe(text, sizeof text,
                                   error == NULL ? "?" : error->message));
    g_clear_error(&error);
    return KERF_ENOTSUP;
}

kerf_err
kerf_gst_new(kerf_gst **out, kerf_detail *why)
{
    kerf_gst *gst;
    kerf_err err = start_gstreamer(why);

    if (err != KERF_OK)
        return err;
    gst = calloc(1, sizeof *gst);
    if (gst == NULL)
        return kerf_fail(why, KERF_ENOMEM, "no memory for a decoder");
    gst_video_info_init(&gst->from);
    gst_video_info_init(&gst->to);
    *out = gst;
    return KERF_OK;
}

/* The first frame is kept; later ones (animations) are dropped. */
static GstFlowReturn
on_frame(GstPad *pad, GstObject *parent, GstBuffer *buffer)
{
    decoder *d = gst_pad_get_element_private(pad);

    (void)parent;
    if (d->frame == NULL)
        d->frame = buffer;
    else
        gst_buffer_unref(buffer);
    return GST_FLOW_OK;
}

static gboolean
on_event(GstPad *pad, GstObject *parent, GstEvent *event)
{
    decoder *d = gst_pad_get_element_private(pad);
    GstCaps *caps;

    (void)parent;
    if (GST_EVENT_TYPE(event) == GST_EVENT_CAPS) {
        gst_event_parse_caps(event, &caps);
        gst_caps_replace(&d->caps, caps);
    }
    gst_event_unref(event);
    return TRUE;
}

static void
drop_decoder(decoder *d)
{
    if (d->element != NULL) {
        (void)gst_element_set_state(d->element, GST_STATE_NULL);
        gst_element_set_bus(d->element, NULL);
    }
    if (d->in != NULL)
        (void)gst_pad_set_active(d->in, FALSE);
    if (d->out != NULL)
        (void)gst_pad_set_active(d->out, FALSE);
    gst_clear_object(&d->in);
    gst_clear_object(&d->out);
    gst_clear_object(&d->element);
    gst_clear_object(&d->bus);
    gst_clear_caps(&d->caps);
    gst_clear_buffer(&d->frame);
    *d = (decoder){0};
}

static void
unmap(kerf_gst *gst)
{
    if (gst->is_mapped)
        gst_video_frame_unmap(&gst->mapped);
    gst->is_mapped = false;
}

void
kerf_gst_free(kerf_gst *gst)
{
    if (gst == NULL)
        return;
    unmap(gst);
    for (int i = 0; i < KERF_IMAGE_FORMAT_COUNT; i++)
        drop_decoder(&gst->by_format[i]);
    if (gst->convert != NULL)
        gst_video_converter_free(gst->convert);
    gst_clear_buffer(&gst->rgb);
    free(gst);
}

/* The best ranked image decoder that takes caps; NULL when there is none. */
static GstElement *
make_element(const GstCaps *caps)
{
    GList *all = gst_element_factory_list_get_elements(
        GST_ELEMENT_FACTORY_TYPE_DECODER | GST_ELEMENT_FACTORY_TYPE_MEDIA_IMAGE,
        GST_RANK_NONE); /* gdkpixbufdec has no rank: BMP, TIFF, PNM */
    GList *fit =
        gst_element_factory_list_filter(all, caps, GST_PAD_SINK, FALSE);
    GstElement *element = NULL;

    fit = g_list_sort(fit, gst_plugin_feature_rank_compare_func);
    for (GList *at = fit; at != NULL && element == NULL; at = at->next)
        element = gst_element_factory_create(at->data, NULL);
    gst_plugin_feature_list_free(fit);
    gst_plugin_feature_list_free(all);
    return element == NULL ? NULL : gst_object_ref_sink(element);
}

static bool
link_pads(decoder *d)
{
    GstPad *sink = gst_element_get_static_pad(d->element, "sink");
    GstPad *src = gst_element_get_static_pad(d->element, "src");
    bool good = sink != NULL && src != NULL;

    d->in = gst_object_ref_sink(gst_pad_new("in", GST_PAD_SRC));
    d->out =
        gst_object_ref_sink(gst_pad_new_from_static_template(&any_sink, "out"));
    gst_pad_set_element_private(d->out, d);
    gst_pad_set_chain_function(d->out, on_frame);
    gst_pad_set_event_function(d->out, on_event);
    good = good && gst_pad_set_active(d->in, TRUE) &&
           gst_pad_set_active(d->out, TRUE) &&
           gst_pad_link(d->in, sink) == GST_PAD_LINK_OK &&
           gst_pad_link(src, d->out) == GST_PAD_LINK_OK;
    gst_clear_object(&sink);
    gst_clear_object(&src);
    return good;
}

/* Time segments tell the decoders that each buffer is one whole image. */
static bool
start_stream(decoder *d, GstCaps *caps)
{
    GstSegment segment;

    gst_segment_init(&segment, GST_FORMAT_TIME);
    return gst_element_set_state(d->element, GST_STATE_PLAYING) !=
               GST_STATE_CHANGE_FAILURE &&
           gst_pad_push_event(d->in, gst_event_new_stream_start("kerf")) &&
           gst_pad_push_event(d->in, gst_event_new_caps(caps)) &&
           gst_pad_push_event(d->in, gst_event_new_segment(&segment));
}

static kerf_err
open_decoder(decoder *d, kerf_image_format format, kerf_detail *why)
{
    GstCaps *caps =
        gst_caps_new_simple(kerf_image_format_mime(format), "framerate",
                            GST_TYPE_FRACTION, 1, 1, NULL);
    kerf_err err = KERF_OK;

    d->element = make_element(caps);
    if (d->element == NULL) {
        err = kerf_fail(why, KERF_ENOTSUP,
                        "no GStreamer decoder for %s is installed",
                        kerf_image_format_name(format));
        goto out;
    }
    /* jpegdec's default IDCT is the fast one, libjpeg's is the exact one. */
    if (g_object_class_find_property(G_OBJECT_GET_CLASS(d->element),
                                     "idct-method") != NULL)
        gst_util_set_object_arg(G_OBJECT(d->element), "idct-method", "islow");
    d->bus = gst_bus_new();
    gst_element_set_bus(d->element, d->bus);
    if (!link_pads(d) || !start_stream(d, caps))
        err = kerf_fail(why, KERF_ENOTSUP,
                        "the GStreamer decoder for %s does not start",
                        kerf_image_format_name(format));
out:
    gst_caps_unref(caps);
    if (err != KERF_OK)
        drop_decoder(d);
    return err;
}

/* True when the element complained; its words go to text. */
static bool
take_complaint(decoder *d, char *text, size_t cap)
{
    bool found = false;
    GstMessage *m;

    while ((m = gst_bus_pop(d->bus)) != NULL) {
        GError *error = NULL;

        if (GST_MESSAGE_TYPE(m) == GST_MESSAGE_ERROR)
            gst_message_parse_error(m, &error, NULL);
        else if (GST_MESSAGE_TYPE(m) == GST_MESSAGE_WARNING)
            gst_message_parse_warning(m, &error, NULL);
        if (error != NULL && !found) {
            (void)kerf_text_safe(text, cap, error->message);
            found = true;
        }
        g_clear_error(&error);
        gst_message_unref(m);
    }
    return found;
}

static kerf_err
run_decoder(decoder *d, const kerf_image_head *head, const uint8_t *data,
            size_t len, kerf_detail *why)
{
    char text[256] = "it cannot be decoded";
    GstBuffer *buffer;
    GstFlowReturn flow;
    bool complained;

    gst_clear_buffer(&d->frame);
    /* Borrowed bytes; the decoder is done with them when push returns. */
    buffer = gst_buffer_new_wrapped_full(GST_MEMORY_FLAG_READONLY,
                                         (void *)(uintptr_t)data, len, 0, len,
                                         NULL, NULL);
    GST_BUFFER_PTS(buffer) = d->count++ * GST_SECOND;
    GST_BUFFER_DURATION(buffer) = GST_SECOND;
    flow = gst_pad_push(d->in, buffer);
    complained = take_complaint(d, text, sizeof text);
    if (flow == GST_FLOW_OK && !complained && d->frame != NULL &&
        d->caps != NULL)
        return KERF_OK;
    drop_decoder(d); /* its state is unknown now */
    return kerf_fail(why, KERF_ECORRUPT, "broken %s: %s",
                     kerf_image_format_name(head->format), text);
}

/* Packed formats with 8 or 16 bits are copied by us: GstVideoConverter turns
 * grey into RGB that is off by one. */
static bool
is_packed(const GstVideoInfo *info)
{
    const GstVideoFormatInfo *f = info->finfo;

    return (GST_VIDEO_FORMAT_INFO_IS_RGB(f) ||
            GST_VIDEO_FORMAT_INFO_IS_GRAY(f)) &&
           GST_VIDEO_FORMAT_INFO_N_PLANES(f) == 1 &&
           !GST_VIDEO_FORMAT_INFO_HAS_PALETTE(f) &&
           (GST_VIDEO_FORMAT_INFO_DEPTH(f, 0) == 8 ||
            GST_VIDEO_FORMAT_INFO_DEPTH(f, 0) == 16);
}

static void
unpack(GstVideoFrame *from, GstVideoFrame *to)
{
    const GstVideoFormatInfo *f = from->info.finfo;
    bool grey = GST_VIDEO_FORMAT_INFO_IS_GRAY(f);
    bool wide = GST_VIDEO_FORMAT_INFO_DEPTH(f, 0) == 16;
    size_t high = wide && GST_VIDEO_FORMAT_INFO_IS_LE(f) ? 1 : 0;
    size_t step = (size_t)GST_VIDEO_FORMAT_INFO_PSTRIDE(f, 0);

    for (int y = 0; y < GST_VIDEO_FRAME_HEIGHT(from); y++) {
        uint8_t *dst = (uint8_t *)GST_VIDEO_FRAME_PLANE_DATA(to, 0) +
                       (ptrdiff_t)y * GST_VIDEO_FRAME_PLANE_STRIDE(to, 0);

        for (unsigned c = 0; c < 3; c++) {
            unsigned k = grey ? 0 : c;
            const uint8_t *src =
                (const uint8_t *)GST_VIDEO_FRAME_PLANE_DATA(from, 0) +
                (ptrdiff_t)y * GST_VIDEO_FRAME_PLANE_STRIDE(from, 0) +
                GST_VIDEO_FORMAT_INFO_POFFSET(f, k) + high;

            for (int x = 0; x < GST_VIDEO_FRAME_WIDTH(from); x++)
                dst[(size_t)x * 3 + c] = src[(size_t)x * step];
        }
    }
}

static void
convert_ycc(GstVideoFrame *from, GstVideoFrame *to)
{
    const kerf_ycc planes = {
        .y = GST_VIDEO_FRAME_PLANE_DATA(from, 0),
        .cb = GST_VIDEO_FRAME_PLANE_DATA(from, 1),
        .cr = GST_VIDEO_FRAME_PLANE_DATA(from, 2),
        .y_stride = (size_t)GST_VIDEO_FRAME_PLANE_STRIDE(from, 0),
        .c_stride = (size_t)GST_VIDEO_FRAME_PLANE_STRIDE(from, 1),
        .width = GST_VIDEO_FRAME_WIDTH(from),
        .height = GST_VIDEO_FRAME_HEIGHT(from),
    };

    kerf_ycc_to_rgb(&planes, GST_VIDEO_FRAME_PLANE_DATA(to, 0),
                    (size_t)GST_VIDEO_FRAME_PLANE_STRIDE(to, 0));
}

/* Makes gst->convert go from `from` to packed RGB. */
static bool
prepare_convert(kerf_gst *gst, const GstVideoInfo *from)
{
    GstStructure *config;

    if (gst->convert != NULL && gst_video_info_is_equal(from, &gst->from))
        return true;
    if (gst->convert != NULL)
        gst_video_converter_free(gst->convert);
    gst->convert = NULL;
    gst_clear_buffer(&gst->rgb);
    gst->from = *from;
    gst_video_info_set_format(&gst->to, GST_VIDEO_FORMAT_RGB,
                              (guint)GST_VIDEO_INFO_WIDTH(from),
                              (guint)GST_VIDEO_INFO_HEIGHT(from));
    gst->to.fps_n = from->fps_n; /* the converter insists */
    gst->to.fps_d = from->fps_d;
    config = gst_structure_new("convert", GST_VIDEO_CONVERTER_OPT_DITHER_METHOD,
                               GST_TYPE_VIDEO_DITHER_METHOD,
                               GST_VIDEO_DITHER_NONE, NULL);
    gst->convert = gst_video_converter_new(&gst->from, &gst->to, config);
    gst->rgb =
        gst_buffer_new_allocate(NULL, GST_VIDEO_INFO_SIZE(&gst->to), NULL);
    return gst->convert != NULL && gst->rgb != NULL;
}

/* The frame as RGB, mapped in gst->mapped. */
static bool
map_rgb(kerf_gst *gst, const GstVideoInfo *info, GstBuffer *frame)
{
    GstVideoFrame from;
    bool good;

    if (GST_VIDEO_INFO_FORMAT(info) == GST_VIDEO_FORMAT_RGB) {
        gst->is_mapped =
            gst_video_frame_map(&gst->mapped, info, frame, GST_MAP_READ);
        return gst->is_mapped;
    }
    if (!prepare_convert(gst, info) ||
        !gst_video_frame_map(&from, info, frame, GST_MAP_READ))
        return false;
    good = gst_video_frame_map(&gst->mapped, &gst->to, gst->rgb,
                               GST_MAP_READWRITE);
    gst->is_mapped = good;
    if (good && is_packed(info))
        unpack(&from, &gst->mapped);
    else if (good && GST_VIDEO_INFO_FORMAT(info) == GST_VIDEO_FORMAT_I420)
        convert_ycc(&from, &gst->mapped);
    else if (good)
        gst_video_converter_frame(gst->convert, &from, &gst->mapped);
    gst_video_frame_unmap(&from);
    return good;
}

kerf_err
kerf_gst_decode(kerf_gst *gst, const kerf_image_head *head, const uint8_t *data,
                size_t len, kerf_picture *out, kerf_detail *why)
{
    decoder *d = &gst->by_format[head->format];
    GstVideoInfo info;
    kerf_err err = KERF_OK;

    unmap(gst);
    if (d->element == NULL)
        err = open_decoder(d, head->format, why);
    if (err == KERF_OK)
        err = run_decoder(d, head, data, len, why);
    if (err != KERF_OK)
        return err;
    if (!gst_video_info_from_caps(&info, d->caps) ||
        !map_rgb(gst, &info, d->frame))
        return kerf_fail(why, KERF_ECORRUPT,
                         "%s decodes to a form that cannot be converted",
                         kerf_image_format_name(head->format));
    *out = (kerf_picture){
        .rgb = GST_VIDEO_FRAME_PLANE_DATA(&gst->mapped, 0),
        .width = GST_VIDEO_FRAME_WIDTH(&gst->mapped),
        .height = GST_VIDEO_FRAME_HEIGHT(&gst->mapped),
        .stride = (size_t)GST_VIDEO_FRAME_PLANE_STRIDE(&gst->mapped, 0),
    };
    return KERF_OK;
}

/* Full range, as JPEG files have it; chroma is the mean of 2x2 pixels. */
static void
fill_i420(GstVideoFrame *to, const kerf_picture *p)
{
    static const double weight[3][3] = {{0.299, 0.587, 0.114},
                                        {-0.168736, -0.331264, 0.5},
                                        {0.5, -0.418688, -0.081312}};

    for (unsigned plane = 0; plane < 3; plane++) {
        int step = plane == 0 ? 1 : 2;
        uint8_t *data = GST_VIDEO_FRAME_PLANE_DATA(to, plane);
        int stride = GST_VIDEO_FRAME_PLANE_STRIDE(to, plane);

        for (int y = 0; y < p->height; y += step) {
            for (int x = 0; x < p->width; x += step) {
                double sum = plane == 0 ? 0.5 : 128.5;

                for (int i = 0; i < step * step; i++) {
                    int at_y = MIN(y + i / step, p->height - 1);
                    int at_x = MIN(x + i % step, p->width - 1);
                    const uint8_t *rgb =
                        p->rgb + (size_t)at_y * p->stride + (size_t)at_x * 3;

                    for (int c = 0; c < 3; c++)
                        sum += weight[plane][c] * rgb[c] / (step * step);
                }
                data[(ptrdiff_t)(y / step) * stride + x / step] =
                    (uint8_t)CLAMP(sum, 0, 255);
            }
        }
    }
}

static void
fill_rgb(GstVideoFrame *to, const kerf_picture *p)
{
    for (int y = 0; y < p->height; y++)
        memcpy((uint8_t *)GST_VIDEO_FRAME_PLANE_DATA(to, 0) +
                   (ptrdiff_t)y * GST_VIDEO_FRAME_PLANE_STRIDE(to, 0),
               p->rgb + (size_t)y * p->stride, (size_t)p->width * 3);
}

/* The picture as the encoder takes it; NULL: no memory. */
static GstBuffer *
buffer_of(const GstVideoInfo *info, const kerf_picture *p)
{
    GstBuffer *buffer =
        gst_buffer_new_allocate(NULL, GST_VIDEO_INFO_SIZE(info), NULL);
    GstVideoFrame frame;

    if (buffer == NULL ||
        !gst_video_frame_map(&frame, info, buffer, GST_MAP_WRITE)) {
        gst_clear_buffer(&buffer);
        return NULL;
    }
    if (GST_VIDEO_INFO_FORMAT(info) == GST_VIDEO_FORMAT_I420)
        fill_i420(&frame, p);
    else
        fill_rgb(&frame, p);
    gst_video_frame_unmap(&frame);
    GST_BUFFER_PTS(buffer) = 0;
    GST_BUFFER_DURATION(buffer) = GST_SECOND;
    return buffer;
}

static kerf_err
run_encoder(decoder *d, const GstVideoInfo *info, const kerf_picture *p,
            uint8_t **out, size_t *len)
{
    GstCaps *caps = gst_video_info_to_caps(info);
    GstBuffer *buffer = buffer_of(info, p);
    bool good =
        caps != NULL && buffer != NULL && link_pads(d) && start_stream(d, caps);

    if (caps != NULL)
        gst_caps_unref(caps);
    if (!good) {
        gst_clear_buffer(&buffer);
        return KERF_ENOTSUP;
    }
    if (gst_pad_push(d->in, buffer) != GST_FLOW_OK || d->frame == NULL)
        return KERF_ENOTSUP;
    *len = gst_buffer_get_size(d->frame);
    *out = malloc(*len);
    if (*out == NULL)
        return KERF_ENOMEM;
    (void)gst_buffer_extract(d->frame, 0, *out, *len);
    return KERF_OK;
}

kerf_err
kerf_gst_encode(kerf_image_format format, int quality,
                const kerf_picture *picture, uint8_t **out, size_t *len,
                kerf_detail *why)
{
    bool is_jpeg = format == KERF_IMAGE_JPEG;
    const char *name = is_jpeg ? "jpegenc" : "webpenc";
    decoder d = {0};
    GstVideoInfo info;
    char text[16];
    kerf_err err = start_gstreamer(why);

    if (err != KERF_OK)
        return err;
    d.element = gst_element_factory_make(name, NULL);
    if (d.element == NULL)
        return kerf_fail(why, KERF_ENOTSUP,
                         "no GStreamer element %s is installed", name);
    (void)gst_object_ref_sink(d.element);
    d.bus = gst_bus_new();
    gst_element_set_bus(d.element, d.bus);
    (void)snprintf(text, sizeof text, "%d", quality);
    gst_util_set_object_arg(G_OBJECT(d.element), "quality", text);
    gst_video_info_init(&info);
    gst_video_info_set_format(
        &info, is_jpeg ? GST_VIDEO_FORMAT_I420 : GST_VIDEO_FORMAT_RGB,
        (guint)picture->width, (guint)picture->height);
    info.fps_n = info.fps_d = 1;
    err = run_encoder(&d, &info, picture, out, len);
    drop_decoder(&d);
    return err == KERF_OK
               ? err
               : kerf_fail(why, err, "%s does not encode a picture", name);
}
