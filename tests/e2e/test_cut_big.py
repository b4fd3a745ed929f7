"""Models that are larger than the memory Kerf gets: 270 MB of weights, zeros in
sparse files, and 100 MB of writable memory (RLIMIT_DATA; mapped files are not
part of it)."""

import json
import os
import struct

import pytest

WIDE = 4096
LAYERS = 4  # of 64 MiB
BYTES = WIDE * WIDE * 4
LIMIT = ["prlimit", "--data=100000000"]


def varint(n):
    n &= (1 << 64) - 1
    parts = []
    while n > 127:
        parts.append(n & 127 | 128)
        n >>= 7
    return bytes([*parts, n])


def put(number, value):
    """One field: an integer, a text, or the fields of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def desc(dims):
    return put(1, 5) + b"".join(put(2, d) for d in dims)


def var(name, kind=7, dims=()):
    dense = put(3, put(1, desc(dims))) if dims else b""
    is_kept = kind != 7 or name[0] == "w"
    return put(3, put(1, name) + put(2, put(1, kind) + dense) + put(3, int(is_kept)))


def op(kind, inputs, out, *attrs):
    """attrs: (name, type, field), all 0."""
    parts = [put(1, put(1, slot) + put(2, name)) for slot, name in inputs.items()]
    parts += [put(2, put(1, "Out") + put(2, out)), put(3, kind)]
    parts += [put(4, put(1, n) + put(2, t) + put(field, 0)) for n, t, field in attrs]
    return put(4, b"".join(parts))


def paddle_model(folder):
    """A chain of matrix products: x0, w0 -> x1, ..."""
    block = put(1, 0) + put(2, -1) + var("feed", 9) + var("fetch", 10)
    block += var("x0", dims=[1, WIDE])
    ops = op("feed", {"X": "feed"}, "x0", ("col", 0, 3))
    for i in range(LAYERS):
        block += var(f"w{i}", dims=[WIDE, WIDE]) + var(f"x{i + 1}", dims=[1, WIDE])
        flags = [(f"trans_{side}", 6, 10) for side in "xy"]
        ops += op("matmul_v2", {"X": f"x{i}", "Y": f"w{i}"}, f"x{i + 1}", *flags)
    ops += op("fetch", {"X": f"x{LAYERS}"}, "fetch", ("col", 0, 3))
    path = folder / "big.pdmodel"
    path.write_bytes(put(1, block + ops) + put(4, put(1, 2006000)))
    head = desc([WIDE, WIDE])
    with open(folder / "big.pdiparams", "wb") as file:
        for _ in range(LAYERS):
            file.write(struct.pack("<IQIi", 0, 0, 0, len(head)) + head)
            file.seek(BYTES, os.SEEK_CUR)
        file.truncate()
    return path


def onnx_model(folder):
    """The same, the weights in big.data."""
    onnx = pytest.importorskip("onnx")
    make, f32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    nodes, weights = [], []
    for i in range(LAYERS):
        w = onnx.TensorProto(name=f"w{i}", data_type=f32, dims=[WIDE, WIDE])
        w.data_location = onnx.TensorProto.EXTERNAL
        for key, value in [("location", "big.data"), ("offset", i * BYTES), ("length", BYTES)]:
            w.external_data.add(key=key, value=str(value))
        weights.append(w)
        nodes.append(onnx.helper.make_node("MatMul", [f"x{i}", f"w{i}"], [f"x{i + 1}"]))
    ends = [make(name, f32, [1, WIDE]) for name in ("x0", f"x{LAYERS}")]
    graph = onnx.helper.make_graph(nodes, "big", ends[:1], ends[1:], weights)
    opsets = [onnx.helper.make_opsetid("", 17)]
    path = folder / "big.onnx"
    path.write_bytes(
        onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    )
    with open(folder / "big.data", "wb") as file:
        file.truncate(LAYERS * BYTES)
    return path


@pytest.fixture(params=[paddle_model, onnx_model], ids=["paddle", "onnx"])
def big(request, tmp_path):
    return request.param(tmp_path)


@pytest.fixture
def cut(run):
    def go(*args):
        done = run("cut", *args, prefix=LIMIT, timeout=120)
        assert done.status == 0, done.report()
        return done.out

    return go


def test_list__has_every_size(cut, big):
    rows = [json.loads(line) for line in cut(big, "--json").splitlines()]
    assert [row["bytes"] for row in rows] == [4 * WIDE] * (LAYERS + 1)
    assert [row["tail_param_bytes"] for row in rows] == [BYTES * i for i in range(LAYERS, -1, -1)]


def test_info__asks_the_engine(cut, big):
    info = json.loads(cut("--info", big, "--json"))
    assert info["engine"]["reads"] is True and info["params"]["bytes"] == LAYERS * BYTES, info


def test_cut_and_join__whole_again(cut, big, tmp_path):
    cut(big, "--at", "x2", "--no-proof", "--out", tmp_path / "out")
    halves = [tmp_path / "out" / f"{side}_infer_big{big.suffix}" for side in ("client", "server")]
    cut("--join", *halves, "--no-proof", "--out", tmp_path / "joined")
    joined = sum(p.stat().st_size for p in (tmp_path / "joined").iterdir())
    whole = sum(p.stat().st_size for p in tmp_path.glob("big.*"))
    assert abs(joined - whole) < 4096
