"""Requests that wait at the same time run as one, where that changes no bit of
an answer; the real engine, since it must be right with that one."""

import contextlib
import json
import re
import tempfile
import time
from pathlib import Path

import nets
import numpy as np
import pytest
import wire

CROSSING = (1, 4, 16, 16)
REQUESTS = 40


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx", reason="no onnx for this machine")


def node(onnx, op, ins, out, **how):
    return onnx.helper.make_node(op, ins, [out], **how)


def save(onnx, path, nodes, ins, out, weights):
    """ins and out: name to shape; weights: name to array."""
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [info(k, onnx.TensorProto.FLOAT, v) for k, v in ins.items()],
        [info(k, onnx.TensorProto.FLOAT, v) for k, v in out.items()],
        [onnx.numpy_helper.from_array(v, k) for k, v in weights.items()],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    nets.put(path, made.SerializeToString())


def heavy(onnx, ends):
    """Two convolutions of 128 channels and a mean over the picture, then what
    `ends` does from "mean" (1, 128) to "y": some 1 ms, so that requests wait."""
    numbers = np.random.default_rng(3)
    first = numbers.standard_normal((128, 4, 3, 3)).astype(np.float32)
    second = numbers.standard_normal((128, 128, 3, 3)).astype(np.float32) / 30
    nodes = [
        node(onnx, "Conv", ["h", "w1"], "a", pads=[1, 1, 1, 1]),
        node(onnx, "Relu", ["a"], "b"),
        node(onnx, "Conv", ["b", "w2"], "c", pads=[1, 1, 1, 1]),
        node(onnx, "ReduceMean", ["c"], "mean", axes=[2, 3], keepdims=0),
        *ends,
    ]
    return nodes, {"w1": first, "w2": second}


def pair(onnx, folder, ends, y_shape, more=None, crossing=CROSSING):
    folder.mkdir()
    head = [node(onnx, "Relu", ["x"], "h")]
    nodes, weights = heavy(onnx, ends)
    save(onnx, folder / "client_infer_m.onnx", head, {"x": crossing}, {"h": crossing}, {})
    save(
        onnx, folder / "server_infer_m.onnx", nodes, {"h": crossing}, {"y": y_shape},
        {**weights, **(more or {})},
    )  # fmt: skip
    return folder


def answers(spawn, start_cloud, tmp_path, models, *args):
    """What each request gets, and what the cloud logged; one worker, so that
    requests wait for one another."""
    name = "-".join(args).strip("-") or "auto"
    cloud = start_cloud("--models", models, "--workers", 1, "--log", "debug", *args)
    inputs = nets.some_tensors(1, REQUESTS, CROSSING)
    edge = spawn(
        "edge", "--json", "--cloud_port", cloud.port, "--once", "--window", 16,
        "--store", tmp_path / f"store-{name}", "--input",
        nets.save_tensors(tmp_path / f"in-{name}", inputs),
    )  # fmt: skip
    assert edge.wait() == 0, edge.report()
    found = nets.results(edge)
    assert sorted(found) == list(range(REQUESTS))
    cloud.term()
    return [found[i]["outputs"] for i in range(REQUESTS)], cloud.err


FLAT = {"w": np.random.default_rng(4).standard_normal((128, 10)).astype(np.float32)}


def plain_ends(onnx):
    return [node(onnx, "MatMul", ["mean", "w"], "y")]


def test_batches__answers_bit_for_bit_as_one_by_one(onnx, spawn, start_cloud, tmp_path):
    models = pair(onnx, tmp_path / "models", plain_ends(onnx), (1, 10), FLAT)
    singly, log = answers(spawn, start_cloud, tmp_path, models, "--batch", "1")
    assert "batch" not in log
    together, log = answers(spawn, start_cloud, tmp_path, models, "--batch", "8")
    assert "cloud.ran_batch size=8" in log
    assert together == singly
    assert len({str(a) for a in singly}) == REQUESTS, "answers do not tell requests apart"


def test_batch_of_2_at_most__none_is_larger(onnx, spawn, start_cloud, tmp_path):
    models = pair(onnx, tmp_path / "models", plain_ends(onnx), (1, 10), FLAT)
    _, log = answers(spawn, start_cloud, tmp_path, models, "--batch", "2")
    assert "cloud.ran_batch size=2" in log
    assert "size=4" not in log and "size=8" not in log


# Tails whose samples are not independent, or that know their batch.
MIXED = {
    "a maximum over the batch": lambda onnx: [
        node(onnx, "ReduceMax", ["mean"], "top", axes=[0], keepdims=1),
        node(onnx, "Sub", ["mean", "top"], "apart"),
        node(onnx, "Add", ["apart", "mean"], "y"),
    ],
    "a sum over the batch": lambda onnx: [
        node(onnx, "ReduceSum", ["mean", "axis0"], "y", keepdims=1)
    ],
    "a largest of all, behind a clip": lambda onnx: [
        node(onnx, "Clip", ["mean", "low", "high"], "clipped"),
        node(onnx, "ReduceMax", ["clipped"], "top", keepdims=0),
        node(onnx, "Div", ["clipped", "top"], "y"),
    ],
    "8 bits by the largest of all": lambda onnx: [
        node(onnx, "Clip", ["mean", "low", "high"], "clipped"),
        onnx.helper.make_node("DynamicQuantizeLinear", ["clipped"], ["q", "step", "zp"]),
        node(onnx, "DequantizeLinear", ["q", "step", "zp"], "y"),
    ],
    "a fixed shape": lambda onnx: [node(onnx, "Reshape", ["mean", "one_row"], "y")],
}


@pytest.mark.parametrize("how", MIXED)
def test_tail_that_mixes_its_batch__runs_one_by_one(onnx, spawn, start_cloud, tmp_path, how):
    consts = {
        "axis0": np.array([0], np.int64),
        "one_row": np.array([1, 128], np.int64),
        "low": np.array(0, np.float32),
        "high": np.array(0.001, np.float32),
    }
    used = {n for nd in MIXED[how](onnx) for n in nd.input}
    more = {k: v for k, v in consts.items() if k in used}
    models = pair(onnx, tmp_path / "models", MIXED[how](onnx), (1, 128), more)
    singly, _ = answers(spawn, start_cloud, tmp_path, models, "--batch", "1")
    tried, log = answers(spawn, start_cloud, tmp_path, models, "--batch", "8")
    assert "cloud.no_batch" in log and "ran_batch" not in log
    assert tried == singly


def ask_at_once(edges, bundle, round_number):
    """Each asks, then each gets its own answer: the sum of its two values."""
    for i, edge in enumerate(edges):
        edge.request(bundle, [100.0 * round_number, i], id=round_number + 1)
    for i, edge in enumerate(edges):
        got = edge.tensors.recv_kind(wire.RESULT)
        assert got.id == round_number + 1
        assert np.frombuffer(got.payload[:4], np.float32) == 100.0 * round_number + i


def test_any_that_wait__run_together__whoever_asks(run, start_cloud, kerf_tsan, tmp_path):
    """Five of six, when the first runs: not only 2, 4 or 8 that came together.
    Also when edges went that had asked in between."""
    nets.put_pair(
        tmp_path / "models", "m",
        nets.model([nets.value("x", (1, 2))], [nets.value("h", (1, 2))]),
        nets.model([nets.value("h", (1, 2))], [nets.value("y", (1, 1))],
                   batch=True, cost_us=20000, cost="sleep"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="kerf-batch-") as folder:
        control = Path(folder) / "c"
        cloud = start_cloud(
            "--engine", "fake", "--models", tmp_path / "models", "--workers", 1,
            "--log", "debug", "--control", control, binary=kerf_tsan,
        )  # fmt: skip
        end = time.monotonic() + wire.PATIENCE
        with contextlib.ExitStack() as stack:
            edges = [stack.enter_context(wire.Edge(cloud.port, name=f"e{i}")) for i in range(6)]
            bundle = [edge.offered()[0] for edge in edges][0]
            rounds = 0
            sizes = set()
            while not {3, 5, 6, 7} & sizes and time.monotonic() < end:
                ask_at_once(edges, bundle, rounds)
                rounds += 1
                done = run("top", "--json", "--once", "--control", control)
                top = json.loads(done.out.splitlines()[0])
                sizes = {int(n) for e in top["edge"] for n, k in e["batched"].items() if k > 0}
                assert sum(k for e in top["edge"] for k in e["batched"].values()) == 6 * rounds
        assert {3, 5, 6, 7} & sizes, sizes
        cloud.term()
    assert {int(n) for n in re.findall(r"cloud.ran_batch size=(\d)", cloud.err)} == sizes - {1}
