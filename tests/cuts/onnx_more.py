"""More ONNX graphs of the zoo: what other architectures are made of, old and
new operator sets, control flow that reads names from outside, odd ways to
write weights, inputs and outputs."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from onnx_nets import F32, I64, Graph, silu

BOOL = TensorProto.BOOL


def floats(*values):
    return np.array(values, np.float32)


def head(g, x, wide, out, shape):
    """Pooling, a layer, the output."""
    x = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)
    g.output(g.gemm(x, wide, out), shape)


# ---- architectures -----------------------------------------------------------------


def inception(path):
    """Branches of one input that end in one concatenation, twice."""
    g = Graph()
    x = g.op("Relu", g.conv(g.input("x", ["n", 3, 24, 24]), 3, 8, stride=2))
    for wide in (8, 16):
        a = g.op("Relu", g.conv(x, wide, 4, 1))
        b = g.op("Relu", g.conv(g.op("Relu", g.conv(x, wide, 4, 1)), 4, 4))
        c = g.op("Relu", g.conv(x, wide, 4, 1))
        for _ in range(2):
            c = g.op("Relu", g.conv(c, 4, 4))
        pool = dict(kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
        d = g.op("Relu", g.conv(g.op("AveragePool", x, **pool), wide, 4, 1))
        x = g.op("Concat", a, b, c, d, axis=1)
    head(g, x, 16, 5, ["n", 5])
    g.save(path)


def shuffle(path):
    """ShuffleNet's units; the shuffle's shape is computed from the input's."""
    g = Graph(opset=12)
    x = g.op("Relu", g.conv(g.input("x", ["n", 3, "h", "w"]), 3, 8, stride=2))

    def dim(v, i):
        at = g.op("Gather", g.op("Shape", v), g.constant(np.int64(i)), axis=0)
        return g.op("Unsqueeze", at, axes=[0])

    for _ in range(2):
        a, b = g.op("Split", x, axis=1, count=2)
        b = g.op("Relu", g.conv(b, 4, 4, 1))
        b = g.op("Relu", g.conv(g.conv(b, 4, 4, groups=4), 4, 4, 1))
        x = g.op("Concat", a, b, axis=1)
        n, h, w = (dim(x, i) for i in (0, 2, 3))
        two, four, all_ = (g.constant(np.int64([v])) for v in (2, 4, 8))
        x = g.op("Reshape", x, g.op("Concat", n, two, four, h, w, axis=0))
        x = g.op("Transpose", x, perm=[0, 2, 1, 3, 4])
        x = g.op("Reshape", x, g.op("Concat", n, all_, h, w, axis=0))
    head(g, x, 8, 5, ["n", 5])
    g.save(path)


def efficient(path):
    """Inverted bottlenecks with swish and squeeze-and-excitation, opset 21."""
    g = Graph(opset=21, ir=10)
    x, c = silu(g, g.conv(g.input("x", ["n", 3, 32, 32]), 3, 8, stride=2)), 8
    for wide, stride in ((8, 1), (16, 2)):
        y = silu(g, g.conv(x, c, 4 * c, 1))
        y = silu(g, g.conv(y, 4 * c, 4 * c, stride=stride, groups=4 * c))
        s = silu(g, g.conv(g.op("GlobalAveragePool", y), 4 * c, 4, 1))
        y = g.op("Mul", y, g.op("Sigmoid", g.conv(s, 4, 4 * c, 1)))
        y = g.conv(y, 4 * c, wide, 1)
        x, c = g.op("Add", x, y) if wide == c else y, wide
    x = g.op("ReduceMean", x, g.ints(2, 3), keepdims=0)
    g.output(g.op("Softmax", g.gemm(x, 16, 6), out="p", axis=-1), ["n", 6])
    g.save(path)


def mask(path):
    """A U-Net that resizes to the size of its skip, with InstanceNormalization,
    LeakyRelu, PixelShuffle and a transposed convolution at the end."""
    g = Graph()
    g.input("x", [1, 3, 32, 32])

    def block(x, a, b, stride=1):
        x = g.conv(x, a, b, stride=stride)
        norm = g.weight(np.ones(b, np.float32)), g.weight(np.zeros(b, np.float32))
        return g.op("LeakyRelu", g.op("InstanceNormalization", x, *norm), alpha=0.1)

    one = block("x", 3, 8, 2)
    two = block(one, 8, 16, 2)
    x = block(two, 16, 16, 2)
    for skip, a, b in ((two, 32, 16), (one, 24, 16)):
        size = g.op("Shape", skip)
        size = g.op("Concat", g.op("Slice", g.op("Shape", x), g.ints(0), g.ints(2), g.ints(0)),
                    g.op("Slice", size, g.ints(2), g.ints(4), g.ints(0)), axis=0)  # fmt: skip
        x = g.op("Resize", x, "", "", size, mode="linear",
                 coordinate_transformation_mode="half_pixel")  # fmt: skip
        x = block(g.op("Concat", x, skip, axis=1), a, b)
    x = g.op("DepthToSpace", x, blocksize=2, mode="CRD")
    w = g.normal(4, 2, 2, 2)
    x = g.op("ConvTranspose", x, w, kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1])
    g.output(g.op("Sigmoid", x, out="mask"), [1, 2, 32, 32])
    g.save(path)


def gru(path):
    """Convolutions to columns, a GRU, a plain RNN, a class for each column."""
    g = Graph(opset=14)
    x = g.op("Relu", g.conv(g.input("x", [1, 3, 16, 24]), 3, 6, stride=2))
    x = g.op("MaxPool", x, kernel_shape=[8, 1], strides=[1, 1])
    x = g.op("Transpose", g.op("Squeeze", x, g.ints(2)), perm=[2, 0, 1])
    y, last = g.op(
        "GRU", x, g.normal(1, 15, 6, scale=0.4), g.normal(1, 15, 5, scale=0.4),
        g.normal(1, 30, scale=0.1), hidden_size=5, linear_before_reset=1, count=2,
    )  # fmt: skip
    y = g.op("Squeeze", y, g.ints(1))
    y, _ = g.op(
        "RNN", y, g.normal(1, 5, 5, scale=0.4), g.normal(1, 5, 5, scale=0.4), "", "", last,
        hidden_size=5, count=2,
    )  # fmt: skip
    y = g.op("MatMul", g.op("Transpose", g.op("Squeeze", y, g.ints(1)), perm=[1, 0, 2]),
             g.normal(5, 7))  # fmt: skip
    g.output(g.op("LogSoftmax", y, axis=2), [1, 12, 7])
    g.save(path)


def ports(path):
    """Three inputs of three types, four outputs; one output is an input, one is
    a weight, one is a number."""
    g = Graph()
    x = g.op("Relu", g.conv(g.input("picture", ["n", 3, 16, 16]), 3, 8, stride=2))
    m = g.op("Cast", g.input("valid", ["n", 1, 8, 8], BOOL), to=F32)
    x = g.op("Mul", x, m)
    e = g.op("Gather", g.normal(10, 8, name="table"), g.input("kind", ["n"], I64))
    f = g.op("Flatten", g.op("GlobalAveragePool", x))
    y = g.op("Concat", f, e, axis=1)
    g.output(g.op("Identity", "kind", out="same"), ["n"], I64)
    g.output(g.gemm(y, 16, 4), ["n", 4])
    g.output(g.op("ArgMax", y, axis=1, keepdims=0), ["n"], I64)
    g.output(g.op("ReduceMax", x, keepdims=0), [])
    g.output("table", [10, 8])
    g.save(path)


# ---- operator sets ----------------------------------------------------------------


def seven(path):
    """Opset 7: attributes where later sets have inputs; Upsample, Pad, Slice,
    Clip, Split, Squeeze, ReduceSum, Dropout with its mask."""
    g = Graph(opset=7, ir=3, style="{0}")
    x = g.conv(g.input("data", [1, 3, 16, 16]), 3, 8, stride=2)
    ones = [g.weight(a.astype(np.float32)) for a in g.random.uniform(0.5, 1.5, (4, 8))]
    x = g.op("Clip", g.op("BatchNormalization", x, *ones), min=0.0, max=6.0)
    low = g.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    up = g.op("Upsample", low, scales=[1.0, 1.0, 2.0, 2.0], mode="nearest")
    x = g.op("Pad", g.op("Add", x, up), pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")
    a, b = g.op("Split", x, axis=1, split=[4, 4], count=2)
    a = g.op("Slice", a, axes=[2, 3], starts=[1, 1], ends=[9, 9])
    b = g.op("Slice", b, axes=[2, 3], starts=[0, 0], ends=[-2, -2])
    x = g.op("LRN", g.op("Mul", a, b), size=3)
    x, _ = g.op("Dropout", x, ratio=0.5, count=2)
    x = g.op("Squeeze", g.op("GlobalAveragePool", x), axes=[2, 3])
    x = g.op("Softmax", g.gemm(x, 4, 5), axis=1)
    best, at = g.op("TopK", x, k=2, axis=1, count=2)
    g.output(best, [1, 2])
    g.output(at, [1, 2], I64)
    for w in g.weights:
        g.inputs.append(helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)))
    g.save(path)


def eleven(path):
    """Opset 11: Resize with a region, Pad and Clip by inputs, negative axes,
    NonZero and GatherND, OneHot, CumSum, Where."""
    g = Graph(opset=11, ir=6)
    x = g.conv(g.input("x", [1, 3, 16, 16]), 3, 8, stride=2)
    x = g.op("Clip", x, g.weight(np.float32(0)), "")
    x = g.op("Resize", x, g.weight(floats()), g.weight(floats(1, 1, 1.5, 1.5)), mode="linear",
             coordinate_transformation_mode="align_corners")  # fmt: skip
    x = g.op("Pad", x, g.ints(0, 0, 1, 1, 0, 0, 1, 1), g.weight(np.float32(0.5)))
    y = g.op("CumSum", g.op("GlobalAveragePool", x), g.weight(np.int64(1)))
    y = g.op("Squeeze", y, axes=[-1, -2])
    best = g.op("ArgMax", y, axis=-1, keepdims=0)
    hot = g.op("OneHot", best, g.weight(np.int64(8)), g.weight(floats(0, 1)), axis=-1)
    is_low = g.op("Less", y, g.weight(np.float32(2)))
    y = g.op("Where", is_low, y, g.op("Add", y, hot))
    g.output(g.gemm(y, 8, 3), [1, 3])
    g.save(path)


def modern(path):
    """Opset 18 and on: axes as inputs, Split by number, Mish, HardSwish, Einsum,
    GroupNormalization as it is decomposed, a mask by Trilu."""
    g = Graph(opset=20, ir=9)
    x = g.op("Mish", g.conv(g.input("x", ["n", 4, 16, 16]), 4, 8, stride=2))
    flat = g.op("Reshape", x, g.ints(0, 2, -1))
    mean = g.op("ReduceMean", flat, g.ints(2), keepdims=1)
    off = g.op("Sub", flat, mean)
    deviation = g.op("ReduceMean", g.op("Mul", off, off), g.ints(2), keepdims=1)
    root = g.op("Sqrt", g.op("Add", deviation, g.weight(np.float32(1e-5))))
    x = g.op("Reshape", g.op("Div", off, root), g.op("Shape", x))
    x = g.op("HardSwish", g.op("Mul", x, g.normal(1, 8, 1, 1, scale=1.0)))
    a, b = g.op("Split", x, axis=1, num_outputs=2, count=2)
    rows = g.op("Einsum", a, b, equation="nchw,nchv->nwv")
    rows = g.op("Mul", rows, g.op("Trilu", g.weight(np.ones((8, 8), np.float32)), upper=0))
    rows = g.op("Gelu", rows, approximate="tanh")
    g.output(g.op("ReduceSum", rows, g.ints(1, 2), keepdims=0), ["n"])
    g.save(path)


# ---- control flow -----------------------------------------------------------------


def graph_of(name, nodes, ins, outs, weights=()):
    make = helper.make_tensor_value_info
    return helper.make_graph(
        [helper.make_node(*n[:3], **(n[3] if len(n) > 3 else {})) for n in nodes],
        name, [make(*i) for i in ins], [make(*o) for o in outs],
        [numpy_helper.from_array(a, n) for n, a in weights],
    )  # fmt: skip


def scan(path):
    """Scan: a body that reads a tensor and a weight from outside."""
    g = Graph()
    g.normal(4, 4, scale=0.4, name="outside")
    g.input("x", [6, 4])
    x = g.op("Tanh", g.op("MatMul", "x", "outside"))
    g.op("ReduceMean", x, axes=[0], keepdims=0, out="mean")
    body = graph_of(
        "body",
        [
            ("MatMul", ["h", "outside"], ["m"]),
            ("Add", ["m", "row"], ["s"]),
            ("Sub", ["s", "mean"], ["t"]),
            ("Tanh", ["t"], ["h_out"]),
            ("Identity", ["h_out"], ["y"]),
        ],
        [("h", F32, [4]), ("row", F32, [4])],
        [("h_out", F32, [4]), ("y", F32, [4])],
    )
    last, rows = g.op("Scan", g.weight(np.zeros(4, np.float32)), x, body=body,
                      num_scan_inputs=1, count=2)  # fmt: skip
    g.output(g.op("Add", rows, last), [6, 4])
    g.save(path, typed=True)


def nested(path):
    """An If in a Loop: the inner graph reads names of both graphs around it, and
    one of its own that the outermost has too, behind it."""
    g = Graph()
    g.normal(6, 6, scale=0.4, name="outside")
    x = g.op("Tanh", g.op("MatMul", g.input("x", [1, 6]), "outside"), out="feature")
    yes = graph_of(
        "yes",
        [("MatMul", ["h", "outside"], ["p"]), ("Add", ["p", "inside"], ["q"])],
        [], [("q", F32, [1, 6])], [("inside", np.full((1, 6), 0.1, np.float32))],
    )  # fmt: skip
    no = graph_of("no", [("Sub", ["h", "feature"], ["r"])], [], [("r", F32, [1, 6])])
    body = graph_of(
        "body",
        [
            ("ReduceMean", ["h"], ["mean"], {"keepdims": 0}),
            ("Less", ["mean", "limit"], ["low"]),
            ("If", ["low"], ["v"], {"then_branch": yes, "else_branch": no}),
            ("Tanh", ["v"], ["h_out"]),
            ("Identity", ["go"], ["go_out"]),
        ],
        [("i", I64, []), ("go", BOOL, []), ("h", F32, [1, 6])],
        [("go_out", BOOL, []), ("h_out", F32, [1, 6])],
        [("limit", np.float32(0.05))],
    )
    y = g.op("Loop", g.weight(np.int64(3)), g.weight(np.bool_(True)), x, body=body)
    y = g.op("Mul", y, g.op("Sigmoid", "feature"))
    g.output(g.op("MatMul", y, "outside"), [1, 6])
    g.save(path)


# ---- weights --------------------------------------------------------------------


def made(path):
    """Weights that are made on the way: a transposed table used at both ends, a
    bias that is a sum, a filter out of a cast and a reshape, ConstantOfShape, a
    weight with its values in typed fields, a free input without a shape."""
    g = Graph()
    small = helper.make_tensor("typed", F32, [8], [0.125 * i for i in range(8)])
    g.weights.append(small)
    table = g.op("Transpose", g.normal(8, 6, scale=0.4), perm=[1, 0])
    x = g.op("MatMul", g.input("x", ["n", 6]), table)
    x = g.op("Tanh", g.op("Add", x, g.op("Add", "typed", g.normal(8))))
    x = g.op("Reshape", x, g.ints(-1, 2, 2, 2))
    w = g.weight(g.random.integers(-9, 9, 16, dtype=np.int8))
    w = g.op("Reshape", g.op("Cast", w, to=F32), g.ints(4, 2, 2, 1))
    w = g.op("Div", w, g.weight(np.float32(20)))
    x = g.op("Flatten", g.op("Conv", x, w))
    x = g.op("Add", x, g.op("ConstantOfShape", g.ints(1, 8), value=numpy_helper.from_array(
        floats(0.5))))  # fmt: skip
    back = g.op("Transpose", table, perm=[1, 0])
    g.output(g.op("MatMul", x, back), ["n", 6])
    g.save(path)


def f16(path):
    """All in f16, inputs and outputs too."""
    g = Graph()
    g.input("x", [1, 3, 16, 16], TensorProto.FLOAT16)

    def weight(*shape):
        scale = (2 / np.prod(shape[1:])) ** 0.5
        return g.weight((g.random.standard_normal(shape) * scale).astype(np.float16))

    x = g.op("Relu", g.op("Conv", "x", weight(8, 3, 3, 3), pads=[1] * 4, strides=[2, 2]))
    x = g.op("Relu", g.op("Conv", x, weight(8, 8, 3, 3), pads=[1] * 4))
    x = g.op("MatMul", g.op("Flatten", g.op("GlobalAveragePool", x)), weight(8, 4))
    g.output(g.op("Softmax", x), [1, 4], TensorProto.FLOAT16)
    g.save(path)
