"""ONNX graphs of the zoo, put together node by node as exporters write them
(PyTorch's two, tf2onnx), and with what makes cutting hard. Random weights."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save_model, shape_inference

F32, I64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    """Nodes and weights as they come; names like those of torch.onnx.export."""

    def __init__(self, seed=5, opset=17, ir=8, style="/{0}/{1}_output_0"):
        self.random = np.random.default_rng(seed)
        self.opset, self.ir, self.style = opset, ir, style
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.opsets, self.functions = [], []
        self.count = 0

    def input(self, name, shape, dtype=F32):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name, shape=None, dtype=F32):
        self.outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def op(self, kind, *inputs, out=None, count=None, **attrs):
        """One node; its output, or a list of count outputs."""
        self.count += 1
        base = out or self.style.format(f"n{self.count}", kind)
        outs = [base] if count is None else [f"{base}_{i}" for i in range(count)]
        name = f"/n{self.count}/{kind}"
        self.nodes.append(helper.make_node(kind, list(inputs), outs, name=name, **attrs))
        return outs[0] if count is None else outs

    def weight(self, array, name=None):
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def normal(self, *shape, scale=None, name=None):
        fan = int(np.prod(shape[1:])) or 1
        scale = (2 / fan) ** 0.5 if scale is None else scale
        return self.weight((self.random.standard_normal(shape) * scale).astype(np.float32), name)

    def ints(self, *values):
        return self.weight(np.array(values, np.int64))

    def constant(self, array):
        """As a node, not as an initializer."""
        return self.op("Constant", value=numpy_helper.from_array(np.asarray(array)))

    def conv(self, x, c_in, c_out, k=3, stride=1, groups=1, pad=None):
        """With the normalisation folded in, as PyTorch exports it."""
        w = self.normal(c_out, c_in // groups, k, k)
        b = self.normal(c_out, scale=0.2)
        return self.op(
            "Conv", x, w, b, kernel_shape=[k, k], strides=[stride] * 2,
            pads=[k // 2 if pad is None else pad] * 4, dilations=[1, 1], group=groups,
        )  # fmt: skip

    def gemm(self, x, d_in, d_out):
        w = self.normal(d_out, d_in, scale=(1 / d_in) ** 0.5)
        return self.op("Gemm", x, w, self.normal(d_out, scale=0.1), alpha=1.0, beta=1.0, transB=1)

    def save(self, path, typed=False, **options):
        """typed: with the types of all tensors, for who has no engine to ask."""
        graph = helper.make_graph(self.nodes, "main_graph", self.inputs, self.outputs, self.weights)
        opsets = [helper.make_opsetid("", self.opset), *self.opsets]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=self.ir, producer_name="pytorch",
            functions=self.functions,
        )  # fmt: skip
        model.metadata_props.add(key="stride", value="32")
        if typed:
            model = shape_inference.infer_shapes(model)
        save_model(model, str(path), **options)


def silu(g, x):
    return g.op("Mul", x, g.op("Sigmoid", x))


# ---- as exporters write them ---------------------------------------------------------


def torch_resnet(path):
    """Basic blocks, weights of normalisations folded, a free batch."""
    g = Graph()
    x = g.op("Relu", g.conv(g.input("input.1", ["batch", 3, 32, 32]), 3, 16))
    c = 16
    for wide, stride in ((16, 1), (32, 2), (64, 2)):
        y = g.op("Relu", g.conv(x, c, wide, stride=stride))
        y = g.conv(y, wide, wide)
        side = x if stride == 1 else g.conv(x, c, wide, 1, stride)
        x, c = g.op("Relu", g.op("Add", y, side)), wide
    x = g.op("Flatten", g.op("GlobalAveragePool", x), axis=1)
    g.output(g.op("Softmax", g.gemm(x, 64, 10), out="prob", axis=1), ["batch", 10])
    g.save(path)


def bottleneck(g, x, c, n):
    a = silu(g, g.conv(x, c, c // 2, 1))
    b = silu(g, g.conv(x, c, c // 2, 1))
    for _ in range(n):
        a = g.op("Add", a, silu(g, g.conv(silu(g, g.conv(a, c // 2, c // 2, 1)), c // 2, c // 2)))
    return silu(g, g.conv(g.op("Concat", a, b, axis=1), c, c, 1))


def torch_yolo(path, size=64, c=8, classes=3):
    """YOLOv5's parts: CSP blocks, pooling pyramid, resizing neck, three heads
    decoded by slices of a split."""
    g = Graph()
    x = silu(g, g.conv(g.input("images", [1, 3, size, size]), 3, c, 6, 2, pad=2))
    kept = []
    for i in range(4):
        x = bottleneck(g, silu(g, g.conv(x, c << i, c << (i + 1), 3, 2)), c << (i + 1), 1)
        kept.append(x)
    p3, p4 = kept[1], kept[2]
    y = silu(g, g.conv(x, c * 16, c * 8, 1))
    pools = [y]
    for _ in range(3):
        pools.append(g.op("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2] * 4, strides=[1, 1]))
    y = silu(g, g.conv(g.op("Concat", *pools, axis=1), c * 32, c * 16, 1))
    maps = []
    twice = g.weight(np.array([1, 1, 2, 2], np.float32))
    lateral = []
    for skip, wide in ((p4, c * 8), (p3, c * 4)):
        y = silu(g, g.conv(y, wide * 2, wide, 1))
        lateral.append(y)
        up = g.op("Resize", y, "", twice, mode="nearest", nearest_mode="floor",
                  coordinate_transformation_mode="asymmetric")  # fmt: skip
        y = silu(g, g.conv(g.op("Concat", up, skip, axis=1), wide * 2, wide, 1))
    maps.append((y, c * 4, 8))
    for i, old in enumerate(reversed(lateral)):
        wide = c * (4 << i)
        y = silu(g, g.conv(y, wide, wide, 3, 2))
        y = silu(g, g.conv(g.op("Concat", y, old, axis=1), wide * 2, wide * 2, 1))
        maps.append((y, wide * 2, 16 << i))
    found = [decode(g, m, wide, stride, size, classes) for m, wide, stride in maps]
    g.op("Concat", *found, axis=1, out="output0")
    g.output("output0", [1, 3 * sum((size // s) ** 2 for s in (8, 16, 32)), 5 + classes])
    g.save(path)


def decode(g, x, wide, stride, size, classes):
    n, no = size // stride, 5 + classes
    x = g.op("Reshape", g.conv(x, wide, 3 * no, 1), g.ints(1, 3, no, n, n))
    x = g.op("Sigmoid", g.op("Transpose", x, perm=[0, 1, 3, 4, 2]))
    xy, wh, rest = g.op("Split", x, g.ints(2, 2, no - 4), axis=4, count=3)
    ys, xs = np.mgrid[:n, :n]
    grid = g.constant(np.stack([xs, ys], -1).reshape(1, 1, n, n, 2).astype(np.float32) - 0.5)
    two, step = (g.constant(np.float32(v)) for v in (2, stride))
    xy = g.op("Mul", g.op("Add", g.op("Mul", xy, two), grid), step)
    wh = g.op("Mul", g.op("Pow", g.op("Mul", wh, two), two), step)
    x = g.op("Concat", xy, wh, rest, axis=4)
    return g.op("Reshape", x, g.ints(1, 3 * n * n, no))


def torch_view(path):
    """x.view(x.shape[0], -1) as a chain of shape operations; a PRelu."""
    g = Graph(opset=13)
    x = g.conv(g.input("x", ["n", 3, 16, 16]), 3, 8, stride=2)
    x = g.op("PRelu", x, g.weight(np.full((8, 1, 1), 0.2, np.float32)))
    x = g.op("MaxPool", g.conv(x, 8, 8), kernel_shape=[2, 2], strides=[2, 2])
    n = g.op("Gather", g.op("Shape", x), g.constant(np.int64(0)), axis=0)
    n = g.op("Unsqueeze", n, g.constant(np.array([0], np.int64)))
    shape = g.op("Concat", n, g.constant(np.array([-1], np.int64)), axis=0)
    y = g.gemm(g.op("Reshape", x, shape), 128, 6)
    g.output(g.op("LogSoftmax", y, out="scores", axis=1), ["n", 6])
    g.save(path)


def attention(path):
    """A transformer block, with Erf for its Gelu and a mask from the shape."""
    g = Graph(opset=17)
    d, heads = 16, 2
    g.input("tokens", [1, "t", d])
    x = "tokens"
    norm = [g.weight(np.ones(d, np.float32)), g.weight(np.zeros(d, np.float32))]
    y = g.op("LayerNormalization", x, *norm, axis=-1, epsilon=1e-5)
    qkv = g.op("MatMul", y, g.normal(d, 3 * d, scale=d**-0.5))
    parts = g.op("Split", qkv, g.ints(d, d, d), axis=2, count=3)
    shape = g.ints(0, -1, heads, d // heads)
    q, k, v = (g.op("Transpose", g.op("Reshape", p, shape), perm=[0, 2, 1, 3]) for p in parts)
    at = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    at = g.op("Softmax", g.op("Div", at, g.weight(np.float32((d // heads) ** 0.5))), axis=-1)
    y = g.op("Transpose", g.op("MatMul", at, v), perm=[0, 2, 1, 3])
    x = g.op("Add", x, g.op("Reshape", y, g.ints(0, -1, d)))
    y = g.op("MatMul", g.op("LayerNormalization", x, *norm, axis=-1), g.normal(d, 2 * d))
    root, one, half = (g.weight(np.float32(v)) for v in (2**0.5, 1, 0.5))
    e = g.op("Add", g.op("Erf", g.op("Div", y, root)), one)
    y = g.op("Mul", g.op("Mul", y, e), half)
    y = g.op("MatMul", y, g.normal(2 * d, d, scale=0.2))
    g.output(g.op("Add", x, y, out="out"), [1, "t", d])
    g.save(path)


def keras(path):
    """As tf2onnx writes it: channels last outside, names with a colon."""
    g = Graph(opset=15, style="StatefulPartitionedCall/model/{0}/{1}:0")
    x = g.op("Transpose", g.input("input_1:0", ["unk__1", 16, 16, 3]), perm=[0, 3, 1, 2])
    x = g.op("Relu", g.conv(x, 3, 8, stride=2))
    w = g.normal(8, 1, 3, 3)
    x = g.op("Conv", x, w, group=8, kernel_shape=[3, 3], pads=[1] * 4)
    params = [g.weight(a.astype(np.float32)) for a in g.random.uniform(0.5, 1.5, (4, 8))]
    x = g.op("BatchNormalization", x, *params, epsilon=1e-3)
    x = g.op("Clip", x, g.weight(np.float32(0)), g.weight(np.float32(6)))
    x = g.op("Squeeze", g.op("GlobalAveragePool", x), g.ints(2, 3))
    y = g.op("Add", g.op("MatMul", x, g.normal(8, 5)), g.normal(5, scale=0.1))
    g.output(g.op("Softmax", y, out="Identity:0"), ["unk__1", 5])
    g.save(path)


# ---- what makes cutting hard -----------------------------------------------------------


def early(path):
    """Outputs from the middle and from the input; one value is both an output
    and read on; an output that no name of torch's has."""
    g = Graph()
    x = g.op("Relu", g.conv(g.input("x", [1, 3, 16, 16]), 3, 8), out="half way, really")
    y = g.gemm(g.op("Flatten", g.op("GlobalAveragePool", g.conv(x, 8, 8))), 8, 4)
    g.op("ReduceMean", "x", axes=[1, 2, 3], keepdims=0, out="mean")
    g.op("Softmax", y, out="Ω")
    g.output("Ω", [1, 4])
    g.output(x, [1, 8, 16, 16])
    g.output("mean", [1])
    g.save(path)


def branch(path):
    """If: its branches read a weight and tensors from outside by name."""
    g = Graph()
    x = g.op("Relu", g.conv(g.input("x", [1, 3, 8, 8]), 3, 4), out="feature")
    g.op("Mul", x, g.weight(np.float32(0.5)), out="half")
    g.normal(4, 1, 1, scale=1.0, name="outside")
    total = g.op("ReduceSum", x, keepdims=0)
    yes = g.op("Greater", total, g.weight(np.float32(40)))

    def sub(kind, name, *reads):
        out = helper.make_tensor_value_info(name, F32, [1, 4, 8, 8])
        return helper.make_graph([helper.make_node(kind, reads, [name])], name, [], [out])

    y = g.op(
        "If", yes, out="chosen", then_branch=sub("Mul", "then_y", "feature", "outside"),
        else_branch=sub("Add", "else_y", "half", "outside"),
    )  # fmt: skip
    y = g.op("Relu", g.conv(y, 4, 4))
    g.output(g.op("ReduceMean", y, axes=[2, 3], out="y"), [1, 4, 1, 1])
    g.save(path)


def loop(path):
    """Loop: a state goes round, a weight is read from outside."""
    g = Graph()
    g.normal(6, 6, scale=0.4, name="outside")
    x = g.op("Tanh", g.op("MatMul", g.input("x", [1, 6]), "outside"))
    make = helper.make_tensor_value_info
    nodes = [
        helper.make_node("MatMul", ["h_in", "outside"], ["m"]),
        helper.make_node("Tanh", ["m"], ["h_out"]),
        helper.make_node("Identity", ["go_in"], ["go_out"]),
    ]
    ins = [make("i", I64, []), make("go_in", TensorProto.BOOL, []), make("h_in", F32, [1, 6])]
    outs = [make("go_out", TensorProto.BOOL, []), make("h_out", F32, [1, 6])]
    body = helper.make_graph(nodes, "body", ins, outs)
    times, go = g.weight(np.int64(3)), g.weight(np.bool_(True))
    y = g.op("Loop", times, go, x, body=body)
    g.output(g.op("Softmax", g.op("Add", x, y), out="y", axis=1), [1, 6])
    g.save(path)


def old(path):
    """IR version 3: weights stand among the inputs; nodes have no names."""
    g = Graph(opset=9, ir=3, style="{0}")
    x = g.op("Relu", g.conv(g.input("data", [1, 3, 16, 16]), 3, 8, stride=2))
    x = g.op("Reshape", g.op("GlobalAveragePool", x), g.ints(1, 8))
    g.output(g.gemm(x, 8, 4), [1, 4])
    for node in g.nodes:
        node.name = ""
    for w in g.weights:
        g.inputs.append(helper.make_tensor_value_info(w.name, w.data_type, list(w.dims)))
    g.save(path)


def external(path):
    """Weights in a file beside it, all but the small ones."""
    g = Graph()
    x = g.op("Relu", g.conv(g.input("x", ["n", 3, 16, 16]), 3, 16, stride=2))
    x = g.op("Relu", g.conv(x, 16, 32, stride=2))
    x = g.op("Flatten", g.op("GlobalAveragePool", x))
    g.output(g.gemm(x, 32, 8), ["n", 8])
    g.save(
        path, save_as_external_data=True, all_tensors_to_one_file=True,
        location=path.stem + ".data", size_threshold=256,
    )  # fmt: skip


def tied(path):
    """One table looked up at the start and multiplied with at the end; rows
    that two other weights share; integers go in."""
    g = Graph()
    table = g.normal(20, 8, scale=0.5, name="table")
    x = g.op("Gather", table, g.input("ids", [1, 5], I64))
    bias = g.normal(8, scale=0.3)
    x = g.op("Tanh", g.op("Add", x, bias))
    x = g.op("Add", g.op("Mul", x, bias), bias)
    g.output(g.op("MatMul", x, g.op("Transpose", table, perm=[1, 0]), out="y"), [1, 5, 20])
    g.save(path)


def quantised(path):
    """Quantised weights and tensors (QDQ): u8 and i8 on the way."""
    g = Graph(opset=13)

    def both(x, scale, zero, **axis):
        pair = g.weight(np.float32(scale)), g.weight(zero)
        return g.op("DequantizeLinear", g.op("QuantizeLinear", x, *pair, **axis), *pair, **axis)

    def conv(x, c_in, c_out):
        w = g.weight(g.random.integers(-90, 90, (c_out, c_in, 3, 3), dtype=np.int8))
        scale = g.weight(np.full(c_out, (2 / (9 * c_in)) ** 0.5 / 52, np.float32))
        w = g.op("DequantizeLinear", w, scale, g.weight(np.zeros(c_out, np.int8)), axis=0)
        return g.op("Relu", g.op("Conv", x, w, pads=[1] * 4))

    x = both(g.input("x", [1, 3, 16, 16]), 1 / 100, np.uint8(128))
    x = both(conv(x, 3, 8), 0.02, np.uint8(0))
    x = both(conv(x, 8, 8), 0.02, np.uint8(0))
    x = g.op("Flatten", g.op("GlobalAveragePool", x))
    g.output(g.gemm(x, 8, 4), [1, 4])
    g.save(path)


def boxes(path):
    """NonMaxSuppression: how much comes out depends on the data."""
    g = Graph()
    x = g.op("Relu", g.conv(g.input("x", [1, 3, 32, 32]), 3, 8, stride=2))
    n = 256
    place = g.op("Reshape", g.conv(x, 8, 4, 1), g.ints(1, 4, n))
    place = g.op("Transpose", g.op("Sigmoid", place), perm=[0, 2, 1])
    scores = g.op("Sigmoid", g.op("Reshape", g.conv(x, 8, 2, 1), g.ints(1, 2, n)))
    limits = [g.ints(20), g.weight(np.float32([0.5])), g.weight(np.float32([0.6]))]
    chosen = g.op("NonMaxSuppression", place, scores, *limits)
    at = g.op("Gather", chosen, g.weight(np.int64(2)), axis=1)
    g.output(g.op("Gather", g.op("Squeeze", place, g.ints(0)), at, out="boxes"), ["k", 4])
    g.save(path)


def lstm(path):
    """LSTM with optional inputs left out, in the middle too."""
    g = Graph()
    x = g.op("Transpose", g.input("x", [1, 9, 6]), perm=[1, 0, 2])
    w, r = g.normal(2, 32, 6, scale=0.3), g.normal(2, 32, 8, scale=0.3)
    y, _, last = g.op(
        "LSTM", x, w, r, "", "", g.weight(np.zeros((2, 1, 8), np.float32)),
        g.weight(np.zeros((2, 1, 8), np.float32)),
        hidden_size=8, direction="bidirectional", count=3,
    )  # fmt: skip
    y = g.op("Reshape", g.op("Transpose", y, perm=[2, 0, 1, 3]), g.ints(1, -1, 16))
    y = g.op("MatMul", y, g.normal(16, 5, scale=0.3))
    last = g.op("ReduceSum", last, g.ints(0, 2), keepdims=1)
    g.output(g.op("Add", y, last, out="y"), [1, 9, 5])
    g.save(path)


def half(path):
    """f16 inside, casts at both ends; f64 for one step."""
    g = Graph()
    x = g.op("Cast", g.input("x", [1, 3, 16, 16]), to=TensorProto.FLOAT16)
    w = g.weight((g.random.standard_normal((8, 3, 3, 3)) * 0.27).astype(np.float16))
    x = g.op("Relu", g.op("Conv", x, w, pads=[1] * 4, strides=[2, 2]))
    x = g.op("Cast", g.op("GlobalAveragePool", x), to=TensorProto.DOUBLE)
    x = g.op("Add", x, g.weight(np.float64(0.125)))
    x = g.op("Flatten", g.op("Cast", x, to=F32))
    g.output(g.gemm(x, 8, 4), [1, 4])
    g.save(path)


def function(path):
    """A function of the model's own, called twice (opset 18, torch.dynamo)."""
    g = Graph(opset=18, ir=9)
    nodes = [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])]
    own = "pkg.torch"
    opsets = [helper.make_opsetid("", 18)]
    g.functions.append(helper.make_function(own, "silu", ["a"], ["b"], nodes, opsets))
    g.opsets.append(helper.make_opsetid(own, 1))
    x = g.conv(g.input("x", [1, 3, 16, 16]), 3, 8, stride=2)
    x = g.op("silu", x, domain=own)
    x = g.op("silu", g.conv(x, 8, 8), domain=own)
    x = g.op("Flatten", g.op("GlobalAveragePool", x))
    g.output(g.gemm(x, 8, 4), [1, 4])
    g.save(path, typed=True)


def lists(path):
    """A sequence of tensors, which cannot cross."""
    g = Graph()
    x = g.op("Relu", g.conv(g.input("x", [1, 3, 16, 16]), 3, 8, stride=2))
    parts = g.op("SplitToSequence", x, g.ints(4, 4), axis=1)
    a = g.op("SequenceAt", parts, g.weight(np.int64(0)))
    b = g.op("SequenceAt", parts, g.weight(np.int64(1)))
    y = g.op("Flatten", g.op("GlobalAveragePool", g.op("Mul", a, b)))
    g.output(g.gemm(y, 4, 3), [1, 3])
    g.save(path)
