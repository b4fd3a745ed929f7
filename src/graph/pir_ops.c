/*
 * The ops that the translation covers: what PIR calls them, what
 * framework.proto's programs call them, and what operands, results and
 * attributes become. Attributes that stand in no row stop the translation;
 * those that a program lacks are left to the old op's own defaults.
 * docs/MODELS.md has the list for people.
 */
#include "graph/pir_own.h"

#include <string.h>

/* Formatted, each pair of braces would stand on four lines. */
/* clang-format off */

/* Operands: a tensor, a list of tensors; ones that may be left out; an
 * attribute, so it must be a constant; that, or a tensor, or a list. */
#define IN(n) {.name = (n)}
#define LIST(n) {.list = (n)}
#define OPTIONAL(n) {.name = (n), .is_optional = true}
#define OPTIONAL_LIST(n) {.list = (n), .is_optional = true}
#define CONST(t, a) {.attr = (a), .type = KERF_PIR_##t}
#define CONST_AXIS(t, a) {.attr = (a), .type = KERF_PIR_##t, .is_axis = true}
#define EITHER(t, a, n, l)                                                     \
    {.attr = (a), .type = KERF_PIR_##t, .name = (n), .list = (l)}
#define EITHER_I32(t, a, n, l)                                                 \
    {.attr = (a), .type = KERF_PIR_##t, .name = (n), .list = (l),              \
     .is_i32 = true}
#define IGNORED {.is_ignored = true}

/* Results. */
#define OUT(n) {.name = (n)}
#define IN_PLACE(n, i) {.name = (n), .operand = (i)}
#define DROPPED {.is_dropped = true}

/* Attributes: of the same name; of another name; from elsewhere. */
#define ATTR(t, n) {.name = (n), .pir = (n), .type = KERF_PIR_##t}
#define FROM(p, t, n) {.name = (n), .pir = (p), .type = KERF_PIR_##t}
#define ROW(t, n, v)                                                           \
    {.name = (n), .type = KERF_PIR_##t, .from = KERF_PIR_FROM_ROW, .value = (v)}
#define NONE(t, n)                                                             \
    {.name = (n), .type = KERF_PIR_##t, .from = KERF_PIR_FROM_NOTHING}
#define ONES(p, n)                                                             \
    {.name = (n), .pir = (p), .type = KERF_PIR_INTS,                           \
     .from = KERF_PIR_FROM_ONES}
#define DTYPE_OF_FIRST(n) {.name = (n), .from = KERF_PIR_FROM_DTYPE}
#define IS_EMPTY(p, n)                                                         \
    {.name = (n), .pir = (p), .type = KERF_PIR_BOOL,                           \
     .from = KERF_PIR_FROM_EMPTY}
#define MUST_BE(p, v) {.pir = (p), .from = KERF_PIR_IS_VALUE, .value = (v)}
#define NO_USE(p) {.pir = (p), .from = KERF_PIR_IS_IGNORED}

/* Rows that are alike. */
#define OP(p, o) .pir = (p), .old = (o)
#define X_OUT .in = {IN("X")}, .out = {OUT("Out")}
#define XY_OUT .in = {IN("X"), IN("Y")}, .out = {OUT("Out")}
#define UNARY(n) {OP(n, n), X_OUT}
#define BINARY(p, o) {OP(p, o), XY_OUT, .attr = {ROW(INT, "axis", -1)}}
#define CONV_ATTRS                                                             \
    ATTR(INTS, "strides"), ATTR(INTS, "paddings"),                             \
    ATTR(STRING, "padding_algorithm"), ATTR(INTS, "dilations"),                \
    ATTR(INT, "groups"), ATTR(STRING, "data_format")
#define CONV(n)                                                                \
    {OP(n, n), .in = {IN("Input"), IN("Filter")}, .out = {OUT("Output")},      \
     .attr = {CONV_ATTRS}}
#define CONV_TRANSPOSE(n)                                                      \
    {OP(n, n), .in = {IN("Input"), IN("Filter"), CONST(INTS, "output_size")},  \
     .out = {OUT("Output")},                                                   \
     .attr = {CONV_ATTRS, ATTR(INTS, "output_padding")}}
#define BATCH_NORM(n)                                                          \
    {OP(n, n),                                                                 \
     .in = {IN("X"), IN("Mean"), IN("Variance"), OPTIONAL("Scale"),            \
            OPTIONAL("Bias")},                                                 \
     .out = {OUT("Y"), IN_PLACE("MeanOut", 1), IN_PLACE("VarianceOut", 2),     \
             OUT("SavedMean"), OUT("SavedVariance"), DROPPED},                 \
     .attr = {ATTR(BOOL, "is_test"), ATTR(FLOAT, "momentum"),                  \
              ATTR(FLOAT, "epsilon"),                                          \
              FROM("data_format", STRING, "data_layout"),                      \
              ATTR(BOOL, "use_global_stats"),                                  \
              ATTR(BOOL, "trainable_statistics")}}
#define POOL_ATTRS                                                             \
    ATTR(INTS, "strides"), ATTR(INTS, "paddings"), ATTR(BOOL, "ceil_mode"),    \
    ATTR(BOOL, "exclusive"), ATTR(STRING, "data_format"),                      \
    ATTR(STRING, "pooling_type"), ATTR(BOOL, "global_pooling"),                \
    ATTR(BOOL, "adaptive"), ATTR(STRING, "padding_algorithm")
#define MAX_POOL_INDEX(n)                                                      \
    {OP(n, n), .in = {IN("X")}, .out = {OUT("Out"), OUT("Mask")},              \
     .attr = {FROM("kernel_size", INTS, "ksize"), ATTR(INTS, "strides"),       \
              ATTR(INTS, "paddings"), ATTR(BOOL, "global_pooling"),            \
              ATTR(BOOL, "adaptive"), ATTR(BOOL, "ceil_mode")}}
#define INTERP(n)                                                              \
    {OP(n, n "_v2"),                                                           \
     .in = {IN("X"), OPTIONAL("OutSize"), OPTIONAL_LIST("SizeTensor"),              \
            OPTIONAL("Scale")},                                                \
     .out = {OUT("Out")},                                                      \
     .attr = {FROM("data_format", STRING, "data_layout"),                      \
              ATTR(INT, "out_d"), ATTR(INT, "out_h"), ATTR(INT, "out_w"),      \
              ATTR(FLOATS, "scale"), ATTR(STRING, "interp_method"),            \
              ATTR(BOOL, "align_corners"), ATTR(INT, "align_mode")}}
/* The axes are an operand of some reductions, an attribute of others. */
#define REDUCE_ATTRS                                                           \
    FROM("keepdim", BOOL, "keep_dim"), IS_EMPTY("dim", "reduce_all"),          \
    NO_USE("reduce_all")
#define REDUCE(p, o)                                                           \
    {OP(p, o), .in = {IN("X"), CONST(INTS, "dim")}, .out = {OUT("Out")},       \
     .attr = {REDUCE_ATTRS}}
#define REDUCE_CASTING(p, o)                                                   \
    {OP(p, o), .in = {IN("X"), CONST(INTS, "dim")}, .out = {OUT("Out")},       \
     .attr = {REDUCE_ATTRS, NO_USE("dtype")}, .is_typed = true}
#define REDUCE_AXIS(p, o)                                                      \
    {OP(p, o), X_OUT, .attr = {FROM("axis", INTS, "dim"), REDUCE_ATTRS}}
#define ARG(p, o)                                                              \
    {OP(p, o), .in = {IN("X"), CONST_AXIS(LONG, "axis")}, .out = {OUT("Out")}, \
     .attr = {ATTR(BOOL, "keepdims"), ATTR(BOOL, "flatten"),                   \
              ATTR(INT, "dtype")}}
#define TRIANGLE(p, is_lower)                                                  \
    {OP(p, "tril_triu"), X_OUT,                                                \
     .attr = {ATTR(INT, "diagonal"), ROW(BOOL, "lower", is_lower)}}

/* clang-format on */

static const kerf_pir_rule rules[] = {
    /* ---- element by element ---- */
    UNARY("abs"),
    UNARY("assign"),
    UNARY("ceil"),
    UNARY("cos"),
    UNARY("erf"),
    UNARY("exp"),
    UNARY("floor"),
    UNARY("log"),
    UNARY("logical_not"),
    UNARY("relu"),
    UNARY("relu6"),
    UNARY("rsqrt"),
    UNARY("share_data"),
    UNARY("sigmoid"),
    UNARY("sign"),
    UNARY("silu"),
    UNARY("sin"),
    UNARY("sqrt"),
    UNARY("swish"),
    UNARY("tanh"),
    UNARY("tanh_shrink"),
    BINARY("add", "elementwise_add"),
    BINARY("divide", "elementwise_div"),
    BINARY("elementwise_pow", "elementwise_pow"),
    BINARY("equal", "equal"),
    BINARY("floor_divide", "elementwise_floordiv"),
    BINARY("greater_equal", "greater_equal"),
    BINARY("greater_than", "greater_than"),
    BINARY("less_equal", "less_equal"),
    BINARY("less_than", "less_than"),
    BINARY("maximum", "elementwise_max"),
    BINARY("minimum", "elementwise_min"),
    BINARY("multiply", "elementwise_mul"),
    BINARY("not_equal", "not_equal"),
    BINARY("remainder", "elementwise_mod"),
    BINARY("subtract", "elementwise_sub"),
    {OP("add_n", "sum"), .in = {LIST("X")}, .out = {OUT("Out")}},
    {OP("atan2", "atan2"), .in = {IN("X1"), IN("X2")}, .out = {OUT("Out")}},
    {OP("cast", "cast"), X_OUT,
     .attr = {DTYPE_OF_FIRST("in_dtype"), FROM("dtype", INT, "out_dtype")}},
    {OP("clip", "clip"),
     .in = {IN("X"), CONST(FLOAT, "min"), CONST(FLOAT, "max")},
     .out = {OUT("Out")}},
    {OP("dropout", "dropout"),
     .in = {IN("X"), OPTIONAL("Seed"), CONST(FLOAT, "dropout_prob")},
     .out = {OUT("Out"), OUT("Mask")},
     .attr = {ATTR(BOOL, "is_test"),
              FROM("mode", STRING, "dropout_implementation"), ATTR(INT, "seed"),
              ATTR(BOOL, "fix_seed")}},
    {OP("elu", "elu"), X_OUT, .attr = {ATTR(FLOAT, "alpha")}},
    {OP("gelu", "gelu"), X_OUT, .attr = {ATTR(BOOL, "approximate")}},
    {OP("hardsigmoid", "hard_sigmoid"), X_OUT,
     .attr = {ATTR(FLOAT, "slope"), ATTR(FLOAT, "offset")}},
    {OP("hardswish", "hard_swish"), X_OUT,
     .attr = {ROW(FLOAT, "threshold", 6), ROW(FLOAT, "scale", 6),
              ROW(FLOAT, "offset", 3)}},
    {OP("hardtanh", "clip"), X_OUT,
     .attr = {FROM("t_min", FLOAT, "min"), FROM("t_max", FLOAT, "max")}},
    {OP("leaky_relu", "leaky_relu"), X_OUT,
     .attr = {FROM("negative_slope", FLOAT, "alpha")}},
    {OP("logical_and", "logical_and"), XY_OUT},
    {OP("logical_or", "logical_or"), XY_OUT},
    {OP("logical_xor", "logical_xor"), XY_OUT},
    {OP("mish", "mish"), X_OUT, .attr = {FROM("lambda", FLOAT, "threshold")}},
    {OP("pow", "pow"), X_OUT, .attr = {FROM("y", FLOAT, "factor")}},
    {OP("prelu", "prelu"), .in = {IN("X"), IN("Alpha")}, .out = {OUT("Out")},
     .attr = {ATTR(STRING, "data_format"), ATTR(STRING, "mode")}},
    {OP("reciprocal", "pow"), X_OUT, .attr = {ROW(FLOAT, "factor", -1)}},
    {OP("round", "round"), X_OUT, .attr = {MUST_BE("decimals", 0)}},
    {OP("scale", "scale"),
     .in = {IN("X"), EITHER(FLOAT, "scale", "ScaleTensor", NULL)},
     .out = {OUT("Out")},
     .attr = {ATTR(FLOAT, "bias"), ATTR(BOOL, "bias_after_scale")}},
    {OP("softplus", "softplus"), X_OUT,
     .attr = {ATTR(FLOAT, "beta"), ATTR(FLOAT, "threshold")}},
    {OP("softshrink", "softshrink"), X_OUT,
     .attr = {FROM("threshold", FLOAT, "lambda")}},
    {OP("square", "pow"), X_OUT, .attr = {ROW(FLOAT, "factor", 2)}},
    {OP("where", "where"), .in = {IN("Condition"), IN("X"), IN("Y")},
     .out = {OUT("Out")}},

    /* ---- sums along axes ---- */
    {OP("bmm", "bmm"), XY_OUT},
    {OP("cumsum", "cumsum"), .in = {IN("X"), CONST(INT, "axis")},
     .out = {OUT("Out")},
     .attr = {ATTR(BOOL, "flatten"), ATTR(BOOL, "exclusive"),
              ATTR(BOOL, "reverse")}},
    {OP("log_softmax", "log_softmax"), X_OUT, .attr = {ATTR(INT, "axis")}},
    {OP("matmul", "matmul_v2"), XY_OUT,
     .attr = {FROM("transpose_x", BOOL, "trans_x"),
              FROM("transpose_y", BOOL, "trans_y")}},
    {OP("p_norm", "p_norm"), X_OUT,
     .attr = {ATTR(FLOAT, "porder"), ATTR(INT, "axis"), ATTR(FLOAT, "epsilon"),
              ATTR(BOOL, "keepdim"), ATTR(BOOL, "asvector")}},
    {OP("softmax", "softmax"), X_OUT, .attr = {ATTR(INT, "axis")}},
    REDUCE("max", "reduce_max"),
    REDUCE("mean", "reduce_mean"),
    REDUCE("min", "reduce_min"),
    REDUCE_CASTING("prod", "reduce_prod"),
    REDUCE_CASTING("sum", "reduce_sum"),
    REDUCE_AXIS("all", "reduce_all"),
    REDUCE_AXIS("amax", "reduce_max"),
    REDUCE_AXIS("amin", "reduce_min"),
    REDUCE_AXIS("any", "reduce_any"),

    /* ---- convolution, pooling, normalisation, resizing ---- */
    CONV("conv2d"),
    CONV("depthwise_conv2d"),
    CONV_TRANSPOSE("conv2d_transpose"),
    CONV_TRANSPOSE("depthwise_conv2d_transpose"),
    {OP("deformable_conv", "deformable_conv"),
     .in = {IN("Input"), IN("Offset"), IN("Filter"), OPTIONAL("Mask")},
     .out = {OUT("Output")},
     .attr = {ATTR(INTS, "strides"), ATTR(INTS, "paddings"),
              ATTR(INTS, "dilations"), ATTR(INT, "deformable_groups"),
              ATTR(INT, "groups"), ATTR(INT, "im2col_step")},
     .without = "deformable_conv_v1"},
    {OP("pool2d", "pool2d"), .in = {IN("X"), CONST(INTS, "ksize")},
     .out = {OUT("Out")}, .attr = {POOL_ATTRS}},
    {OP("pool3d", "pool3d"), X_OUT,
     .attr = {FROM("kernel_size", INTS, "ksize"), POOL_ATTRS}},
    MAX_POOL_INDEX("max_pool2d_with_index"),
    MAX_POOL_INDEX("max_pool3d_with_index"),
    BATCH_NORM("batch_norm"),
    BATCH_NORM("sync_batch_norm"),
    {OP("group_norm", "group_norm"),
     .in = {IN("X"), OPTIONAL("Scale"), OPTIONAL("Bias")},
     .out = {OUT("Y"), OUT("Mean"), OUT("Variance")},
     .attr = {ATTR(FLOAT, "epsilon"), ATTR(INT, "groups"),
              FROM("data_format", STRING, "data_layout")}},
    {OP("instance_norm", "instance_norm"),
     .in = {IN("X"), OPTIONAL("Scale"), OPTIONAL("Bias")},
     .out = {OUT("Y"), OUT("SavedMean"), OUT("SavedVariance")},
     .attr = {ATTR(FLOAT, "epsilon")}},
    {OP("layer_norm", "layer_norm"),
     .in = {IN("X"), OPTIONAL("Scale"), OPTIONAL("Bias")},
     .out = {OUT("Y"), OUT("Mean"), OUT("Variance")},
     .attr = {ATTR(FLOAT, "epsilon"), ATTR(INT, "begin_norm_axis")}},
    INTERP("bicubic_interp"),
    INTERP("bilinear_interp"),
    INTERP("linear_interp"),
    INTERP("nearest_interp"),
    INTERP("trilinear_interp"),
    {OP("grid_sample", "grid_sampler"), .in = {IN("X"), IN("Grid")},
     .out = {OUT("Output")},
     .attr = {ATTR(STRING, "mode"), ATTR(STRING, "padding_mode"),
              ATTR(BOOL, "align_corners")}},
    {OP("pad", "pad"), .in = {IN("X"), CONST(FLOAT, "pad_value")},
     .out = {OUT("Out")}, .attr = {ATTR(INTS, "paddings")}},
    {OP("pad3d", "pad3d"),
     .in = {IN("X"), EITHER(INTS, "paddings", "Paddings", NULL)},
     .out = {OUT("Out")},
     .attr = {ATTR(STRING, "mode"), FROM("pad_value", FLOAT, "value"),
              ATTR(STRING, "data_format")}},
    {OP("pixel_shuffle", "pixel_shuffle"), X_OUT,
     .attr = {ATTR(INT, "upscale_factor"), ATTR(STRING, "data_format")}},
    {OP("rnn", "rnn"),
     .in = {IN("Input"), LIST("PreState"), LIST("WeightList"),
            OPTIONAL("SequenceLength"), IGNORED},
     .out = {OUT("Out"), IN_PLACE("DropoutState", 4), OUT("State"),
             OUT("Reserve")},
     .attr = {ATTR(FLOAT, "dropout_prob"), ATTR(BOOL, "is_bidirec"),
              ATTR(INT, "input_size"), ATTR(INT, "hidden_size"),
              ATTR(INT, "num_layers"), ATTR(STRING, "mode"), ATTR(INT, "seed"),
              ATTR(BOOL, "is_test")}},

    /* ---- shapes and pieces ---- */
    {OP("concat", "concat"),
     .in = {LIST("X"), EITHER(INT, "axis", "AxisTensor", NULL)},
     .out = {OUT("Out")}},
    {OP("expand", "expand_v2"),
     .in = {IN("X"),
            EITHER_I32(INTS, "shape", "Shape", "expand_shapes_tensor")},
     .out = {OUT("Out")}},
    {OP("expand_as", "expand_as_v2"), .in = {IN("X"), OPTIONAL("Y")},
     .out = {OUT("Out")}, .attr = {ATTR(INTS, "target_shape")}},
    {OP("flatten", "flatten_contiguous_range"), X_OUT,
     .attr = {ATTR(INT, "start_axis"), ATTR(INT, "stop_axis")}},
    {OP("flip", "flip"), X_OUT, .attr = {ATTR(INTS, "axis")}},
    {OP("meshgrid", "meshgrid"), .in = {LIST("X")}, .out = {OUT("Out")}},
    {OP("reshape", "reshape2"),
     .in = {IN("X"), EITHER(INTS, "shape", "Shape", "ShapeTensor")},
     .out = {OUT("Out")}},
    {OP("roll", "roll"),
     .in = {IN("X"), EITHER(LONGS, "shifts", "ShiftsTensor", NULL)},
     .out = {OUT("Out")}, .attr = {ATTR(LONGS, "axis")}},
    {OP("shape", "shape"), .in = {IN("Input")}, .out = {OUT("Out")},
     .gives_i32 = true},
    {OP("shape64", "shape"), .in = {IN("Input")}, .out = {OUT("Out")},
     .gives_i32 = true},
    {OP("slice", "slice"),
     .in = {IN("Input"),
            EITHER(INTS, "starts", "StartsTensor", "StartsTensorList"),
            EITHER(INTS, "ends", "EndsTensor", "EndsTensorList")},
     .out = {OUT("Out")},
     .attr = {ATTR(INTS, "axes"), ATTR(INTS, "infer_flags"),
              ATTR(INTS, "decrease_axis")}},
    {OP("split", "split"),
     .in = {IN("X"), EITHER(INTS, "sections", NULL, "SectionsTensorList"),
            EITHER(INT, "axis", "AxisTensor", NULL)},
     .out = {OUT("Out")}, .attr = {ROW(INT, "num", 0)}},
    {OP("split_with_num", "split"),
     .in = {IN("X"), EITHER(INT, "axis", "AxisTensor", NULL)},
     .out = {OUT("Out")}, .attr = {ATTR(INT, "num")}},
    {OP("squeeze", "squeeze2"), .in = {IN("X"), CONST(INTS, "axes")},
     .out = {OUT("Out")}},
    {OP("stack", "stack"), .in = {LIST("X")}, .out = {OUT("Y")},
     .attr = {ATTR(INT, "axis")}, .of_scalars = "concat"},
    {OP("strided_slice", "strided_slice"),
     .in = {IN("Input"),
            EITHER(INTS, "starts", "StartsTensor", "StartsTensorList"),
            EITHER(INTS, "ends", "EndsTensor", "EndsTensorList"),
            EITHER(INTS, "strides", "StridesTensor", "StridesTensorList")},
     .out = {OUT("Out")},
     .attr = {ATTR(INTS, "axes"), ONES("axes", "infer_flags"),
              NONE(INTS, "decrease_axis")}},
    {OP("tile", "tile"),
     .in = {IN("X"),
            EITHER(INTS, "repeat_times", "RepeatTimes", "repeat_times_tensor")},
     .out = {OUT("Out")}},
    {OP("transpose", "transpose2"), X_OUT,
     .attr = {FROM("perm", INTS, "axis")}},
    TRIANGLE("tril", true),
    TRIANGLE("triu", false),
    {OP("unsqueeze", "unsqueeze2"),
     .in = {IN("X"), EITHER(INTS, "axes", "AxesTensor", "AxesTensorList")},
     .out = {OUT("Out")}},

    /* ---- picking ---- */
    ARG("argmax", "arg_max"),
    ARG("argmin", "arg_min"),
    {OP("argsort", "argsort"), .in = {IN("X")},
     .out = {OUT("Out"), OUT("Indices")},
     .attr = {ATTR(INT, "axis"), ATTR(BOOL, "descending"),
              ATTR(BOOL, "stable")}},
    {OP("embedding", "lookup_table_v2"), .in = {IN("Ids"), IN("W")},
     .out = {OUT("Out")},
     .attr = {ATTR(LONG, "padding_idx"), FROM("sparse", BOOL, "is_sparse")}},
    {OP("gather", "gather"),
     .in = {IN("X"), IN("Index"), EITHER(INT, "axis", "Axis", NULL)},
     .out = {OUT("Out")}},
    {OP("gather_nd", "gather_nd"), .in = {IN("X"), IN("Index")},
     .out = {OUT("Out")}},
    {OP("index_select", "index_select"), .in = {IN("X"), IN("Index")},
     .out = {OUT("Out")}, .attr = {FROM("axis", INT, "dim")}},
    {OP("nonzero", "where_index"), .in = {IN("Condition")},
     .out = {OUT("Out")}},
    {OP("one_hot", "one_hot_v2"),
     .in = {IN("X"), EITHER(INT, "depth", "depth_tensor", NULL)},
     .out = {OUT("Out")}, .attr = {ROW(INT, "dtype", KERF_PIR_F32)}},
    {OP("scatter", "scatter"), .in = {IN("X"), IN("Ids"), IN("Updates")},
     .out = {OUT("Out")}, .attr = {ATTR(BOOL, "overwrite")}},
    {OP("scatter_nd_add", "scatter_nd_add"),
     .in = {IN("X"), IN("Index"), IN("Updates")}, .out = {OUT("Out")}},
    {OP("set_value_with_tensor", "set_value"),
     .in = {IN("Input"), IN("ValueTensor"),
            EITHER(LONGS, "starts", NULL, "StartsTensorList"),
            EITHER(LONGS, "ends", NULL, "EndsTensorList"),
            EITHER(LONGS, "steps", NULL, "StepsTensorList")},
     .out = {OUT("Out")},
     .attr = {DTYPE_OF_FIRST("dtype"), ATTR(LONGS, "axes"),
              ATTR(LONGS, "decrease_axes"), ATTR(LONGS, "none_axes")}},
    {OP("take_along_axis", "take_along_axis"), .in = {IN("Input"), IN("Index")},
     .out = {OUT("Result")}, .attr = {FROM("axis", INT, "Axis")}},
    {OP("topk", "top_k_v2"), .in = {IN("X"), EITHER(INT, "k", "K", NULL)},
     .out = {OUT("Out"), OUT("Indices")},
     .attr = {ATTR(INT, "axis"), ATTR(BOOL, "largest"), ATTR(BOOL, "sorted")}},
    {OP("unique", "unique"), .in = {IN("X")},
     .out = {OUT("Out"), OUT("Indices"), OUT("Index"), OUT("Counts")},
     .attr = {ATTR(BOOL, "return_index"), ATTR(BOOL, "return_inverse"),
              ATTR(BOOL, "return_counts"), ATTR(INTS, "axis"),
              ATTR(INT, "dtype"), ATTR(BOOL, "is_sorted")}},

    /* ---- made from nothing ---- */
    {OP("arange", "range"), .in = {IN("Start"), IN("End"), IN("Step")},
     .out = {OUT("Out")}, .attr = {NO_USE("dtype")}, .is_typed = true},
    {OP("eye", "eye"),
     .in = {CONST(LONG, "num_rows"), CONST(LONG, "num_columns")},
     .out = {OUT("Out")}, .attr = {ATTR(INT, "dtype")}},
    {OP("full_like", "fill_any_like"), .in = {IN("X"), CONST(FLOAT, "value")},
     .out = {OUT("Out")}, .attr = {ATTR(INT, "dtype")}},
    {OP("full_with_tensor", "fill_constant"),
     .in = {EITHER(FLOAT, "value", "ValueTensor", NULL),
            EITHER(LONGS, "shape", "ShapeTensor", "ShapeTensorList")},
     .out = {OUT("Out")}, .attr = {ATTR(INT, "dtype")}},
    {OP("linspace", "linspace"), .in = {IN("Start"), IN("Stop"), IN("Num")},
     .out = {OUT("Out")}, .attr = {ATTR(INT, "dtype")}},

    /* ---- boxes ---- */
    {OP("box_coder", "box_coder"),
     .in = {IN("PriorBox"), OPTIONAL("PriorBoxVar"), IN("TargetBox")},
     .out = {OUT("OutputBox")},
     .attr = {ATTR(STRING, "code_type"), ATTR(BOOL, "box_normalized"),
              ATTR(INT, "axis"), ATTR(FLOATS, "variance")}},
    {OP("generate_proposals", "generate_proposals_v2"),
     .in = {IN("Scores"), IN("BboxDeltas"), IN("ImShape"), IN("Anchors"),
            IN("Variances")},
     .out = {OUT("RpnRois"), OUT("RpnRoiProbs"), OUT("RpnRoisNum")},
     .attr = {FROM("pre_nms_top_n", INT, "pre_nms_topN"),
              FROM("post_nms_top_n", INT, "post_nms_topN"),
              ATTR(FLOAT, "nms_thresh"), ATTR(FLOAT, "min_size"),
              ATTR(FLOAT, "eta"), ATTR(BOOL, "pixel_offset")}},
    {OP("matrix_nms", "matrix_nms"), .in = {IN("BBoxes"), IN("Scores")},
     .out = {OUT("Out"), OUT("Index"), OUT("RoisNum")},
     .attr = {ATTR(FLOAT, "score_threshold"), ATTR(INT, "nms_top_k"),
              ATTR(INT, "keep_top_k"), ATTR(FLOAT, "post_threshold"),
              ATTR(BOOL, "use_gaussian"), ATTR(FLOAT, "gaussian_sigma"),
              ATTR(INT, "background_label"), ATTR(BOOL, "normalized")}},
    {OP("multiclass_nms3", "multiclass_nms3"),
     .in = {IN("BBoxes"), IN("Scores"), OPTIONAL("RoisNum")},
     .out = {OUT("Out"), OUT("Index"), OUT("NmsRoisNum")},
     .attr = {ATTR(FLOAT, "score_threshold"), ATTR(INT, "nms_top_k"),
              ATTR(INT, "keep_top_k"), ATTR(FLOAT, "nms_threshold"),
              ATTR(BOOL, "normalized"), ATTR(FLOAT, "nms_eta"),
              ATTR(INT, "background_label")}},
    {OP("prior_box", "prior_box"), .in = {IN("Input"), IN("Image")},
     .out = {OUT("Boxes"), OUT("Variances")},
     .attr = {ATTR(FLOATS, "min_sizes"), ATTR(FLOATS, "max_sizes"),
              ATTR(FLOATS, "aspect_ratios"), ATTR(FLOATS, "variances"),
              ATTR(BOOL, "flip"), ATTR(BOOL, "clip"), ATTR(FLOAT, "step_w"),
              ATTR(FLOAT, "step_h"), ATTR(FLOAT, "offset"),
              ATTR(BOOL, "min_max_aspect_ratios_order")}},
    {OP("roi_align", "roi_align"),
     .in = {IN("X"), IN("ROIs"), OPTIONAL("RoisNum")}, .out = {OUT("Out")},
     .attr = {ATTR(INT, "pooled_height"), ATTR(INT, "pooled_width"),
              ATTR(FLOAT, "spatial_scale"), ATTR(INT, "sampling_ratio"),
              ATTR(BOOL, "aligned")}},
    {OP("yolo_box", "yolo_box"), .in = {IN("X"), IN("ImgSize")},
     .out = {OUT("Boxes"), OUT("Scores")},
     .attr = {ATTR(INTS, "anchors"), ATTR(INT, "class_num"),
              ATTR(FLOAT, "conf_thresh"), ATTR(INT, "downsample_ratio"),
              ATTR(BOOL, "clip_bbox"), ATTR(FLOAT, "scale_x_y"),
              ATTR(BOOL, "iou_aware"), ATTR(FLOAT, "iou_aware_factor")}},
};

const kerf_pir_rule *
kerf_pir_find_rule(const char *op)
{
    const char *name = strncmp(op, "1.", 2) == 0 ? op + 2 : "";
    size_t len = strlen(name);

    /* In place or not is the same to values that are given once. */
    if (len > 1 && name[len - 1] == '_')
        len--;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (strncmp(rules[i].pir, name, len) == 0 && rules[i].pir[len] == '\0')
            return &rules[i];
    }
    return NULL;
}
