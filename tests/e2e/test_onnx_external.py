"""An ONNX model may name files that hold its weights. That is fine for the
user's own model; from a peer it would read files of this machine."""

import nets
import numpy as np
import pytest
import wire
from test_run_models import one_error

OUTSIDE = "the .onnx keeps weights outside the file: save it with the weights inside"
SECRET = np.float32([11, 22, 33, 44])


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx", reason="no onnx for this machine")


def model(onnx, external):
    """y = x + SECRET; external: SECRET stands in the file secret.bin."""
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, 4]) for n in "xy")
    w = onnx.numpy_helper.from_array(SECRET, "w")
    if external:
        w.ClearField("raw_data")
        w.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": "secret.bin", "offset": "0", "length": "16"}.items():
            entry = w.external_data.add()
            entry.key, entry.value = key, value
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [x], [y], [w])
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.fixture
def secret(tmp_path):
    """Where the edge runs, with a file that is nobody else's business."""
    place = tmp_path / "cwd"
    place.mkdir()
    (place / "secret.bin").write_bytes(SECRET.tobytes())
    np.save(place / "x.npy", np.zeros((1, 4), np.float32))
    return place


def disguise(onnx_bytes):
    """An ONNX model that is a Paddle program too: blocks and a version."""
    return onnx_bytes + b"\x0a\x04\x08\x00\x10\x7f" + b"\x22\x04\x08\xf0\xb6\x7a"


@pytest.mark.parametrize("format", ["onnx", "paddle"])
def test_edge__head_that_names_a_file__is_refused(onnx, spawn, secret, tmp_path, format):
    head, tail = model(onnx, external=True), model(onnx, external=False)
    files = [(1, "client_infer_m.onnx", head), (3, "server_infer_m.onnx", tail)]
    if format == "paddle":
        files = [
            (1, "client_infer_m.pdmodel", disguise(head)),
            (2, "client_infer_m.pdiparams", b""),
            (3, "server_infer_m.pdmodel", tail),
            (4, "server_infer_m.pdiparams", b""),
        ]
    ident, manifest = wire.manifest("m", files, format=format)
    with wire.Cloud() as cloud:
        edge = spawn(
            "edge", "--json", "--cloud_port", cloud.port, "--once", "--store", tmp_path / "store",
            "--input", secret / "x.npy", cwd=secret,
        )  # fmt: skip
        control, _ = cloud.greet(), cloud.attach()
        wire.send_offer(control, ident, manifest)
        said = wire.serve_fetches(control, files).meta
        assert said[32:34] != b"\0\0", "the head was taken"
        assert OUTSIDE in said[36:].decode()
        edge.term()


def test_cloud__pair_that_names_a_file__is_not_served(onnx, start_cloud, secret, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    nets.put(models / "client_infer_m.onnx", model(onnx, external=False))
    nets.put(models / "server_infer_m.onnx", model(onnx, external=True))
    cloud = start_cloud("--models", models, cwd=secret)
    event = nets.only(cloud, "model")
    assert not event["ok"] and OUTSIDE in event["why"]
    assert cloud.term() == 0


def test_run__own_model__may_have_its_weights_outside(onnx, run, secret):
    nets.put(secret / "m.onnx", model(onnx, external=True))
    done = run("run", "m.onnx", "--json", "--input", secret / "x.npy", cwd=secret)
    assert done.status == 0, done.report()
    assert nets.values_of(nets.results(done)[0]).ravel().tolist() == SECRET.tolist()


def test_run__weights_that_are_gone__is_one_error(onnx, run, secret):
    nets.put(secret / "m.onnx", model(onnx, external=True))
    (secret / "secret.bin").unlink()
    assert "m.onnx" in one_error(run("run", "m.onnx", "--input", secret / "x.npy", cwd=secret))
