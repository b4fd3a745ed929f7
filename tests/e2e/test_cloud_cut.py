"""`kerf cloud --model MODEL --cut NAME`: cut on the fly, shipped, no file by hand;
and cut again when the model's files change."""

import json
import os
import shutil
import threading

import numpy as np
import onnx
import pytest
from nets import error_lines, near, only, put, values_of
from onnx import TensorProto, helper, numpy_helper

RULES = ("--resize", "stretch", "--colour", "rgb", "--scale", "1/255")
RULES += ("--mean", "0.3,0.4,0.5", "--std", "0.25")


def labels(process):
    """By input: two workers may answer in another order."""
    results = [e for e in process.events() if e.get("event") == "result"]
    return {e["index"]: e["top"][0]["label"] for e in results}


def onnx_model(seed):
    """A small classifier of 32 x 32 pictures, with weights of its own."""
    numbers = np.random.default_rng(seed)
    shapes = {"w1": (8, 3, 3, 3), "w2": (16, 8, 3, 3), "w3": (16, 10), "b3": (10,)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w1"], ["c1"], pads=[1] * 4, strides=[2, 2]),
            helper.make_node("Relu", ["c1"], ["r1"]),
            helper.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1] * 4, strides=[2, 2]),
            helper.make_node("Relu", ["c2"], ["r2"]),
            helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "w3", "b3"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [
            numpy_helper.from_array(numbers.normal(size=s).astype("f4"), n)
            for n, s in shapes.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


class Paddle:
    """The demo model without its card; its last bytes are the weights of its last
    layer."""

    cut = "relu_2.tmp_0"

    def __init__(self, folder, digits):
        self.path = folder / "net.pdmodel"
        self.weights = (digits / "digits.pdiparams").read_bytes()
        shutil.copy(digits / "digits.pdmodel", self.path)
        self.write(0)

    def write(self, version):
        end = np.random.default_rng(version).normal(size=100).astype("<f4").tobytes()
        put(self.path.with_suffix(".pdiparams"), self.weights[: -len(end)] + end)

    def spoil(self):
        put(self.path.with_suffix(".pdiparams"), self.weights[:-4])


class Onnx:
    cut = "r1"

    def __init__(self, folder, digits):
        self.path = folder / "net.onnx"
        self.write(0)

    def write(self, version):
        put(self.path, onnx_model(version))

    def spoil(self):
        put(self.path, onnx_model(0)[:-50])


@pytest.fixture(params=[Paddle, Onnx], ids=["paddle", "onnx"])
def net(request, digits, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    return request.param(folder, digits)


@pytest.fixture
def whole(run, tmp_path):
    """whole(model, rules, image) -> what the whole model says, as an array."""

    def ask(model, rules, image):
        done = run("run", model, "--json", *rules, "--input", image)
        assert done.status == 0, done.report()
        return values_of(next(e for e in done.events() if e["event"] == "result"))

    return ask


def equal(got, want):
    return np.abs(got - want).max() <= 1e-5 * np.ptp(want)


@pytest.mark.parametrize("at", ["relu_2.tmp_0", "27", "several"])
def test_cloud__serves_a_cut_made_at_its_start(run, start_cloud, digits, tmp_path, at):
    model = digits / "digits.pdmodel"
    if at == "several":
        cuts = [json.loads(x) for x in run("cut", model, "--json").out.splitlines()]
        two = next(c for c in cuts if len(c["tensors"]) == 2)
        at = ",".join(t["name"] for t in two["tensors"])
    cloud = start_cloud("--model", model, "--cut", at)
    images = sorted((digits / "images").glob("*.png"))[:6]
    edge = run(
        *("edge", "--cloud_host", "127.0.0.1", "--cloud_port", cloud.port, "--json", "--once"),
        *("--store", tmp_path / "store", "--input", *images),
    )
    assert edge.status == 0, edge.report()
    seen = run("run", model, "--json", "--input", *images)
    assert labels(edge) == labels(seen) and len(labels(edge)) == len(images)


def test_rules_without_a_card__reach_the_edge(run, start_cloud, digits, net, whole, tmp_path):
    named = tmp_path / "labels.txt"
    named.write_text("".join(f"class {n}\n" for n in range(10)))
    cloud = start_cloud("--model", net.path, "--cut", net.cut, *RULES, "--labels", named)
    image = digits / "images" / "3_011.png"
    edge = run(
        *("edge", "--cloud_port", cloud.port, "--json", "--once", "--input", image),
        *("--store", tmp_path / "store"),
    )
    assert edge.status == 0, edge.report()
    result = next(e for e in edge.events() if e["event"] == "result")
    want = whole(net.path, RULES, image)
    assert equal(values_of(result), want)
    assert result["top"][0]["label"] == f"class {want.argmax()}"


def test_changed_model__is_cut_again_and_shipped(
    each_kerf, spawn, start_cloud, net, whole, tmp_path
):
    tensor = tmp_path / "x.npy"
    np.save(tensor, np.random.default_rng(5).random((1, 3, 32, 32), np.float32))
    cloud = start_cloud("--model", net.path, "--cut", net.cut, binary=each_kerf)
    edge = spawn(
        *("edge", "--cloud_port", cloud.port, "--json", "--store", tmp_path / "store"),
        *("--input", tensor, "--repeat", "0", "--rate", "20"),
        binary=each_kerf,
    )
    first = whole(net.path, (), tensor)
    assert equal(values_of(edge.wait_event("result")), first)

    net.spoil()
    why = cloud.wait_event("model", ok=False)["why"]
    assert "net" in why
    edge.wait_event("result")

    net.write(1)
    cloud.wait_event("model", name="net", ok=True)
    edge.wait_event("model", name="net", ok=True)
    second = whole(net.path, (), tensor)
    assert not near(first, second)
    assert equal(values_of(edge.wait_event("result")), second)
    for process in (edge, cloud):
        assert process.term(60) == 0
    for e in edge.events():
        if e["event"] == "result":
            assert equal(values_of(e), first) or equal(values_of(e), second)


@pytest.fixture
def busy(tmp_path):
    """A file beside the model that is never left alone, as a log."""
    log, over = tmp_path / "model" / "cloud.log", threading.Event()

    def write():
        while not over.wait(0.02):
            with log.open("a") as file:
                file.write("line\n")

    writer = threading.Thread(target=write)
    writer.start()
    yield log
    over.set()
    writer.join()


def test_change_in_a_busy_folder__is_seen(start_cloud, net, busy):
    cloud = start_cloud("--model", net.path, "--cut", net.cut)
    net.write(1)
    cloud.wait_event("model", name="net", ok=True)
    assert busy.stat().st_size > 0


def test_card_that_comes_later__is_taken(start_cloud, net):
    cloud = start_cloud("--model", net.path, "--cut", net.cut)
    bare = only(cloud, "model")["bundle"]
    card = {"kerf_card": 1, "name": "net", "labels": [f"class {n}" for n in range(10)]}
    put(net.path.parent / "net.kerf.json", json.dumps(card))
    assert cloud.wait_event("model", name="net", ok=True)["bundle"] != bare


def test_model_that_is_gone__is_served_on(run, start_cloud, net, digits, tmp_path):
    cloud = start_cloud("--model", net.path, "--cut", net.cut, *RULES)
    os.remove(net.path)
    assert "net" in cloud.wait_event("model", name="net", ok=False)["why"]
    edge = run(
        *("edge", "--cloud_port", cloud.port, "--json", "--once", "--store", tmp_path / "store"),
        *("--input", digits / "images" / "3_011.png"),
    )
    assert edge.status == 0, edge.report()


def test_pair_that_cannot_be_served__ends_the_cloud(run, net):
    card = net.path.parent / "card.json"
    card.write_text(json.dumps({"kerf_card": 1, "input": {"kind": "image", "colour": "rgb"}}))
    done = run("cloud", "--cloud_port", "0", "--model", net.path, "--cut", net.cut, "--card", card)
    assert done.status == 1 and "listening" not in done.out.lower(), done.report()
    assert len(error_lines(done)) == 1 and "missing rule" in done.err


def test_cloud__says_what_is_wrong_with_a_cut(run, digits):
    model = digits / "digits.pdmodel"
    at = ("--cloud_port", "0")
    done = run("cloud", *at, "--model", model, "--cut", "relu_3.tmp_1")
    assert done.status == 1 and "relu_3.tmp_0" in done.err and len(done.err.splitlines()) == 1
    done = run("cloud", *at, "--model", model, "--cut", ",")
    assert done.status == 1 and "--at" not in done.err and len(error_lines(done)) == 1
    done = run("cloud", *at, "--model", model, "--cut", "3", "--tolerance", "0", "--name", "a/b")
    assert done.status == 1 and "--name" in done.err and len(error_lines(done)) == 1
    assert run("cloud", *at, "--model", model).status == 2
    assert run("cloud", *at, "--cut", "3").status == 2
    assert run("cloud", *at, "--models", digits, "--model", model, "--cut", "3").status == 2
    assert run("cloud", *at, "--legacy", "--model", model, "--cut", "3").status == 2


@pytest.mark.parametrize(
    "flags",
    [
        ("--card", "x"),
        ("--mean", "0.5"),
        ("--labels", "x"),
        ("--shape", "x=1x3x8x8"),
        ("--tolerance", "0.1"),
        ("--name", "x"),
    ],
    ids=lambda flags: flags[0],
)
def test_what_goes_with_a_model__is_no_flag_without_one(run, flags):
    done = run("cloud", "--cloud_port", "0", *flags)
    assert done.status == 2 and "--model" in done.err


def test_detector__inputs_that_only_the_tail_reads_arrive(run, start_cloud, shared, tmp_path):
    """PP-YOLO's im_shape and scale_factor go through the head as they are."""
    model = shared / "models" / "ppyolo_tiny_650e_coco"
    rules = (*RULES[:6], "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
    images = sorted((shared / "images").glob("*.jpg"))[:2]
    cloud = start_cloud("--model", model, "--cut", "3", *rules)
    edge = run(
        *("edge", "--cloud_port", cloud.port, "--once", "--store", tmp_path / "store"),
        *("--input", *images, "--save", tmp_path / "split"),
        timeout=60,
    )
    assert edge.status == 0, edge.report()
    whole = run("run", model, *rules, "--input", *images, "--save", tmp_path / "whole", timeout=60)
    assert whole.status == 0, whole.report()
    for n in range(len(images)):
        ours, theirs = (np.load(tmp_path / d / f"{n:06}.0.npy") for d in ("split", "whole"))
        assert len(theirs) > 0 and ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 1e-5 * np.ptp(theirs)
