"""Models whose weights are large and take no room: zeros, in sparse files."""

import os
import struct

WIDE = 4096
BYTES = WIDE * WIDE * 4  # of one layer's weights


def onnx_model(folder, layers):
    """A chain of matrix products; the weights outside, in big.data."""
    from onnx import TensorProto, helper, save_model

    make = helper.make_tensor_value_info
    nodes, weights = [], []
    for i in range(layers):
        w = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[WIDE, WIDE])
        w.data_location = TensorProto.EXTERNAL
        for key, value in [("location", "big.data"), ("offset", i * BYTES), ("length", BYTES)]:
            w.external_data.add(key=key, value=str(value))
        weights.append(w)
        nodes.append(helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]))
    ends = [make(name, TensorProto.FLOAT, [1, WIDE]) for name in ("x0", f"x{layers}")]
    graph = helper.make_graph(nodes, "big", ends[:1], ends[1:], weights)
    opsets = [helper.make_opsetid("", 17)]
    path = folder / "big.onnx"
    save_model(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    with open(folder / "big.data", "wb") as file:
        os.truncate(file.fileno(), layers * BYTES)
    return path


def paddle_model(folder, layers):
    """The same as .pdmodel and .pdiparams."""
    from paddle.base.proto import framework_pb2

    program = framework_pb2.ProgramDesc()
    program.version.version = 2006000
    block = program.blocks.add(idx=0, parent_idx=-1)
    kinds = framework_pb2.VarType
    block.vars.add(name="feed", persistable=True).type.type = kinds.FEED_MINIBATCH
    block.vars.add(name="fetch", persistable=True).type.type = kinds.FETCH_LIST

    def tensor(name, dims, persistable=False):
        var = block.vars.add(name=name, persistable=persistable)
        var.type.type = kinds.DENSE_TENSOR
        desc = var.type.dense_tensor.tensor
        desc.data_type = kinds.FP32
        desc.dims.extend(dims)

    def op(kind, inputs, outputs, **ints):
        one = block.ops.add(type=kind)
        for name, value in inputs.items():
            one.inputs.add(parameter=name, arguments=[value])
        for name, value in outputs.items():
            one.outputs.add(parameter=name, arguments=[value])
        for name, value in ints.items():
            is_flag = isinstance(value, bool)
            attr = one.attrs.add(name=name, type=6 if is_flag else 0)
            setattr(attr, "b" if is_flag else "i", value)

    tensor("x000", [1, WIDE])
    op("feed", {"X": "feed"}, {"Out": "x000"}, col=0)
    for i in range(layers):
        tensor(f"w{i:03}", [WIDE, WIDE], True)
        tensor(f"x{i + 1:03}", [1, WIDE])
        op(
            "matmul_v2", {"X": f"x{i:03}", "Y": f"w{i:03}"}, {"Out": f"x{i + 1:03}"},
            trans_x=False, trans_y=False,
        )  # fmt: skip
    op("fetch", {"X": f"x{layers:03}"}, {"Out": "fetch"}, col=0)
    path = folder / "big.pdmodel"
    path.write_bytes(program.SerializeToString())
    desc = b"\x08\x05" + 2 * (b"\x10" + bytes([WIDE & 127 | 128, WIDE >> 7]))
    record = struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc
    with open(path.with_suffix(".pdiparams"), "wb") as file:
        for _ in range(layers):
            file.write(record)
            file.seek(BYTES, os.SEEK_CUR)
        os.truncate(file.fileno(), layers * (len(record) + BYTES))
    return path
