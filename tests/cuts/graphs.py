"""Why a cut may make an engine compute in another order, so that last bits
differ: it parts a convolution from its normalisation or activation, which are
joined in the whole; or from the addition of a residual, which is too; or a sum
over a map stands right behind it, which goes in the order of the map's layout
in memory (channels last inside of a network, first in what crosses).

Read here by the formats' own libraries, so that it does not depend on Kerf.
"""

from collections import namedtuple

Op = namedtuple("Op", "kind reads gives")

CONVOLUTIONS = {
    "conv2d", "depthwise_conv2d", "conv2d_transpose", "depthwise_conv2d_transpose",
    "Conv", "ConvTranspose", "FusedConv",
}  # fmt: skip
# What belongs to the convolution before it, if all it reads does.
JOINED = {
    "batch_norm", "sync_batch_norm", "BatchNormalization",
    "relu", "relu6", "leaky_relu", "prelu", "elu", "gelu", "sigmoid", "tanh", "swish", "silu",
    "hard_swish", "hard_sigmoid", "mish", "softplus", "clip", "scale",
    "Relu", "LeakyRelu", "PRelu", "Elu", "Gelu", "Sigmoid", "Tanh", "HardSwish", "HardSigmoid",
    "Mish", "Softplus", "Clip", "Selu", "Erf",
    "elementwise_add", "elementwise_sub", "elementwise_mul", "elementwise_div",
    "Add", "Sub", "Mul", "Div", "Min", "Max",
}  # fmt: skip
ADDITIONS = {"elementwise_add", "Add", "Sum", "sum"}
MULTIPLIED = CONVOLUTIONS | {"matmul", "matmul_v2", "mul", "MatMul", "Gemm"}
# What sums over more than one place of a map.
SUMS = {
    "pool2d", "reduce_mean", "reduce_sum", "mean", "layer_norm", "instance_norm", "group_norm",
    "softmax", "AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum", "ReduceL2",
    "LayerNormalization", "InstanceNormalization", "Softmax", "LogSoftmax", "LpNormalization",
}  # fmt: skip


def read(path):
    """(operations in order, names of constants) of a .pdmodel or an .onnx."""
    ops, constants = read_onnx(path) if path.suffix == ".onnx" else read_paddle(path)
    return once(ops, constants), constants


def once(ops, constants):
    """The same with each name given once: what a program writes again, in
    place, is called NAME@1, NAME@2, ... from there on."""
    now, renamed = {}, []
    for op in ops:
        reads = [now.get(name, name) for name in op.reads]
        gives = []
        for name in op.gives:
            if name in now and name not in constants:
                now[name] = f"{name}@{int((now[name] + '@0').split('@')[1]) + 1}"
            else:
                now[name] = name
            gives.append(now[name])
        renamed.append(Op(op.kind, reads, gives))
    return renamed


def read_onnx(path):
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    constants = {w.name for w in graph.initializer}
    ops = []
    for node in graph.node:
        if node.op_type == "Constant":
            constants.update(node.output)
        else:
            ops.append(Op(node.op_type, list(node.input), list(node.output)))
    return ops, constants


def read_paddle(path):
    from paddle.base.proto import framework_pb2

    program = framework_pb2.ProgramDesc()
    program.ParseFromString(path.read_bytes())
    block = program.blocks[0]
    constants = {v.name for v in block.vars if v.persistable}
    ops = []
    for op in block.ops:
        reads = [a for v in op.inputs for a in v.arguments]
        gives = [a for v in op.outputs for a in v.arguments]
        if op.type not in ("feed", "fetch"):
            ops.append(Op(op.type, reads, gives))
    return ops, constants


def spread_constants(ops, constants):
    """Constants, and what is computed from them alone."""
    known = set(constants) | {""}
    for op in ops:
        if all(name in known for name in op.reads):
            known.update(op.gives)
    return known


def joined(ops, constants):
    """{name: the convolution that it belongs to}, by place in ops."""
    known = spread_constants(ops, constants)
    of = {}
    for i, op in enumerate(ops):
        data = [name for name in op.reads if name not in known]
        roots = {of.get(name) for name in data}
        if op.kind in CONVOLUTIONS:
            of.update((name, i) for name in op.gives)
        elif op.kind in JOINED and len(roots) == 1 and None not in roots:
            of.update((name, roots.copy().pop()) for name in op.gives)
    return of


def heads(ops, crossing):
    """Places of the operations that crossing tensors are computed by."""
    wanted, found = set(crossing), set()
    for i in reversed(range(len(ops))):
        if wanted.intersection(ops[i].gives):
            found.add(i)
            wanted.update(ops[i].reads)
    return found


class Cuts:
    """What a graph says about cuts of it; one is a list of the names that cross.
    Of a name that is written more than once, every one might be meant."""

    def __init__(self, ops, constants):
        self.ops, self.joined = ops, joined(ops, constants)
        self.readers, self.versions = {}, {}
        for i, op in enumerate(ops):
            for name in op.reads:
                self.readers.setdefault(name, []).append(i)
            for name in op.gives:
                self.versions.setdefault(name.split("@")[0], []).append(name)

    def crossing(self, names):
        return [v for name in names for v in self.versions.get(name, [name])]

    def parts(self, names):
        """Whether it parts a convolution from what belongs to it."""
        crossing, of = self.crossing(names), self.joined
        head = heads(self.ops, crossing)
        behind = [
            (name, self.ops[i])
            for name in crossing
            for i in self.readers.get(name, [])
            if i not in head and name in of
        ]
        return any(of.get(g) == of[name] for name, op in behind for g in op.gives)

    def behind(self, names):
        """Kinds of the operations between it and the next products."""
        crossing = self.crossing(names)
        head, found, kinds = heads(self.ops, crossing), set(), set()
        while crossing:
            for i in self.readers.get(crossing.pop(), []):
                if i in head or i in found:
                    continue
                found.add(i)
                kinds.add(self.ops[i].kind)
                if self.ops[i].kind not in MULTIPLIED:
                    crossing += self.ops[i].gives
        return kinds

    def reason(self, names):
        """Why last bits may differ: "parting", "sum", "residual" or ""."""
        if self.parts(names):
            return "parting"
        kinds = self.behind(names)
        if kinds & SUMS:
            return "sum"
        return "residual" if kinds & ADDITIONS else ""
