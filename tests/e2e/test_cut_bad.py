"""`kerf cut` with files and words that are wrong: one clear line, the right exit
status, nothing left behind, and no crash (the binary under ASan). The unit
tests and fuzzers try every byte; here are samples, through the command."""

import os
import random
import shutil
import subprocess

import nets
import numpy as np
import pytest


@pytest.fixture
def cut(run, kerf_asan, tmp_path):
    """cut(args...) -> ended `kerf cut` of the checked binary."""

    def go(*args, **more):
        return run("cut", *args, binary=kerf_asan, timeout=120, **more)

    return go


def one_error(done, status=1):
    """The one line on stderr; nothing on stdout."""
    assert done.status == status and not done.out, done.report()
    (line,) = done.err.splitlines()
    assert line.startswith("kerf: error: "), done.report()
    return line


@pytest.fixture
def refused(cut, tmp_path):
    """refused(model, at, ...) -> the line that says why; nothing is left."""

    def go(model, at="1", *args, status=1, out=None):
        out = out or tmp_path / "out"
        line = one_error(cut(model, "--at", at, "--out", out, *args), status)
        assert not out.exists() or list(out.iterdir()) == []
        return line

    return go


@pytest.fixture
def paddle(digits, tmp_path):
    """The digits model, for damaging."""
    for end in ("pdmodel", "pdiparams"):
        shutil.copy(digits / f"digits.{end}", tmp_path)
    return tmp_path / "digits.pdmodel"


class Net:
    """A small ONNX graph: x [1,4] -> a = relu(x) -> two ways -> y."""

    def __init__(self, onnx):
        self.onnx = onnx
        self.make = onnx.helper.make_tensor_value_info
        self.nodes = [
            self.node("Relu", ["x"], ["a_first"]),
            self.node("Mul", ["a_first", "w"], ["left_way"]),
            self.node("Sigmoid", ["a_first"], ["right_way"]),
            self.node("Add", ["left_way", "right_way"], ["joined"]),
            self.node("Tanh", ["joined"], ["y"]),
        ]
        w = np.float32([1, 2, 3, 4])
        self.weights = [onnx.numpy_helper.from_array(w, "w")]

    def node(self, kind, reads, gives):
        return self.onnx.helper.make_node(kind, reads, gives, name=f"node of {gives[0]}")

    def save(self, path):
        x, y = (self.make(n, self.onnx.TensorProto.FLOAT, [1, 4]) for n in "xy")
        graph = self.onnx.helper.make_graph(self.nodes, "g", [x], [y], self.weights)
        opsets = [self.onnx.helper.make_opsetid("", 17)]
        model = self.onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
        return nets.put(path, model.SerializeToString())


@pytest.fixture
def net():
    return Net(pytest.importorskip("onnx", reason="no onnx for this machine"))


@pytest.fixture
def onnx_model(net, tmp_path):
    return net.save(tmp_path / "net.onnx")


# ---- files -----------------------------------------------------------------------


@pytest.mark.parametrize("end", ["pdmodel", "pdiparams"])
@pytest.mark.parametrize("part", [0, 0.03, 0.5, 0.999])
def test_paddle__cut_short__is_one_error(refused, paddle, end, part):
    file = paddle.with_suffix(f".{end}")
    os.truncate(file, int(file.stat().st_size * part))
    assert "digits." in refused(paddle)


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.99])
def test_onnx__cut_short__is_one_error(refused, onnx_model, part):
    os.truncate(onnx_model, int(onnx_model.stat().st_size * part))
    assert "net.onnx" in refused(onnx_model)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["pdmodel", "pdiparams", "onnx"])
def test_flipped_bits__error_or_whole_files(cut, paddle, onnx_model, tmp_path, end):
    """An error, or files; a flip in a name or a weight is a model as good as any."""
    model = onnx_model if end == "onnx" else paddle
    file = model.with_suffix(f".{end}")
    good = file.read_bytes()
    pick = random.Random(7)
    for turn in range(12):
        bad = bytearray(good)
        # The start of the weights has their shapes.
        place = pick.randrange(min(len(bad), 4000 if end == "pdmodel" else 200))
        bad[place] ^= 1 << pick.randrange(8)
        file.write_bytes(bad)
        out = tmp_path / f"out{turn}"
        done = cut(model, "--at", "1", "--out", out, "--no-proof")
        if done.status == 0:
            assert len(list(out.glob("*_infer_*"))) == (2 if end == "onnx" else 4)
        else:
            one_error(done)
            assert not out.exists()


def test_empty_files__are_one_error(refused, tmp_path):
    for name in ("m.onnx", "m.pdmodel", "m.json"):
        nets.put(tmp_path / name, b"")
        assert name in refused(tmp_path / name)


def test_not_a_model__is_one_error(refused, tmp_path):
    nets.put(tmp_path / "m.onnx", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20)
    assert "m.onnx" in refused(tmp_path / "m.onnx")
    nets.put(tmp_path / "m.json", b'{"labels": ["cat"]}')
    assert "m.json" in refused(tmp_path / "m.json")


def test_no_such_file__is_one_error(refused, tmp_path):
    assert "gone.onnx" in refused(tmp_path / "gone.onnx")


def test_folder_without_a_model__is_one_error(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused(tmp_path / "empty")


def test_no_weights__says_which_file(refused, paddle):
    paddle.with_suffix(".pdiparams").unlink()
    assert ".pdiparams" in refused(paddle)


def test_weights_of_another_model__names_the_parameter(refused, paddle, digits):
    shutil.copy(digits / "client_infer_digits.pdiparams", paddle.with_suffix(".pdiparams"))
    line = refused(paddle)
    assert "digits.pdmodel" in line and ".pdiparams" in line and "batch_norm2d_" in line


def test_weights_with_more_behind__is_one_error(refused, paddle):
    with open(paddle.with_suffix(".pdiparams"), "ab") as file:
        file.write(b"\0" * 100)
    assert ".pdiparams has 100 bytes after the last" in refused(paddle)


def test_huge_dims__cost_nothing(refused, net, tmp_path):
    """prlimit would kill whoever believes them."""
    net.weights[0].dims[:] = [1 << 40, 1 << 40]
    assert "'w'" in refused(net.save(tmp_path / "net.onnx"))


def test_huge_field__costs_nothing(refused, onnx_model):
    # GraphProto (field 7) of 2^62 bytes.
    nets.put(onnx_model, b"\x08\x08\x3a" + b"\x80" * 8 + b"\x40" + b"\x0a\x04")
    assert "net.onnx" in refused(onnx_model)


def test_cycle__is_named(refused, net, tmp_path):
    net.nodes[1] = net.node("Mul", ["joined", "w"], ["left_way"])
    line = refused(net.save(tmp_path / "net.onnx"))
    assert "left_way" in line or "joined" in line


def test_tensor_from_nowhere__is_named(refused, net, tmp_path):
    net.nodes[2] = net.node("Sigmoid", ["nobody"], ["right_way"])
    assert "nobody" in refused(net.save(tmp_path / "net.onnx"))


def test_tensor_given_twice__is_named(refused, net, tmp_path):
    net.nodes[2] = net.node("Sigmoid", ["a_first"], ["left_way"])
    assert "left_way" in refused(net.save(tmp_path / "net.onnx"))


@pytest.mark.parametrize(
    "where", ["../secret.bin", "/etc/hostname", "sub/../../secret.bin", "link"]
)
def test_external_data_outside_of_the_folder__is_refused(refused, net, tmp_path, where):
    nets.put(tmp_path / "secret.bin", np.float32([11, 22, 33, 44]).tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to("../secret.bin")
    w = net.weights[0]
    w.ClearField("raw_data")
    w.data_location = net.onnx.TensorProto.EXTERNAL
    w.external_data.add(key="location", value=where)
    line = refused(net.save(folder / "net.onnx"))
    assert "'w'" in line or where in line


def test_external_data_that_is_short__names_the_tensor(refused, net, tmp_path):
    nets.put(tmp_path / "w.bin", b"\0" * 8)
    w = net.weights[0]
    w.ClearField("raw_data")
    w.data_location = net.onnx.TensorProto.EXTERNAL
    w.external_data.add(key="location", value="w.bin")
    assert "'w'" in refused(net.save(tmp_path / "net.onnx"))


# ---- words -----------------------------------------------------------------------


def test_unknown_name__gives_the_three_nearest(refused, onnx_model):
    line = refused(onnx_model, "left_wey")
    assert all(name in line for name in ("left_wey", "left_way", "right_way"))


def test_half_of_two_ways__says_what_is_missing(refused, onnx_model):
    line = refused(onnx_model, "left_way")
    assert "do not separate" in line and "needed on both sides; add a_first" in line


@pytest.mark.parametrize("names", ["left_way,right_way", "left_way,a_first"])
def test_both_ways__are_a_cut(cut, onnx_model, tmp_path, names):
    done = cut(onnx_model, "--at", names, "--out", tmp_path / "out")
    assert done.status == 0, done.report()


def test_no_name__is_one_error(refused, onnx_model):
    assert "no tensor is named" in refused(onnx_model, "")


def test_number_beyond_the_list__is_one_error(refused, onnx_model):
    assert "99" in refused(onnx_model, "99")


def test_weight__is_no_place_to_cut(refused, onnx_model):
    assert "'w'" in refused(onnx_model, "w")


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("{m}", "--at", "1", "--out"),
        ("{m}", "--at", "1"),
        ("{m}", "--nonsense"),
        ("{m}", "{m}"),
    ],
)
def test_wrong_words__are_status_2(cut, onnx_model, tmp_path, args):
    places = {"m": onnx_model, "o": tmp_path / "out"}
    done = cut(*(word.format(**places) for word in args))
    assert done.status == 2 and not done.out and not (tmp_path / "out").exists(), done.report()


# ---- places ----------------------------------------------------------------------


def test_files_that_are_there__stay(cut, onnx_model, tmp_path):
    out = tmp_path / "out"
    assert cut(onnx_model, "--at", "joined", "--out", out).status == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    line = one_error(cut(onnx_model, "--at", "a_first", "--out", out))
    assert "client_infer_net.onnx" in line and "--force" in line
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert cut(onnx_model, "--at", "a_first", "--out", out, "--force").status == 0
    after = {p.name: p.read_bytes() for p in out.iterdir()}
    assert after.keys() == before.keys() and after != before


@pytest.mark.parametrize("below", ["", "out"])
def test_out_that_is_a_file__one_line(cut, onnx_model, tmp_path, below):
    plain = tmp_path / "plain"
    plain.write_text("here first")
    line = one_error(cut(onnx_model, "--at", "joined", "--out", plain / below))
    assert "plain" in line and plain.read_text() == "here first"


@pytest.fixture
def small_disk(disk_of):
    return disk_of("64k")


def test_full_disk__one_line_nothing_left_then_works(cut, refused, paddle, small_disk):
    out = small_disk / "out"
    line = refused(paddle, "1", out=out)
    assert "No space left" in line
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    done = cut(paddle, "--at", "1", "--out", out)
    assert done.status == 0 and len(list(out.glob("*_infer_*"))) == 4, done.report()


def test_read_only_place__one_line(refused, paddle, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "ead-only" in refused(paddle, "1", out=small_disk / "out")


def test_file_size_limit__one_line_nothing_left(cut, paddle, tmp_path):
    out = tmp_path / "out"
    line = one_error(cut(paddle, "--at", "1", "--out", out, prefix=["prlimit", "--fsize=20000"]))
    assert "digits" in line and not out.exists()


def test_killed_on_the_way__leaves_no_model(cut, spawn, kerf_asan, paddle, tmp_path):
    """SIGKILL leaves at most files that nobody takes for models; the next cut
    into the same folder works."""
    out = tmp_path / "out"
    for wait in (0.02, 0.1, 0.3):
        process = spawn("cut", paddle, "--at", "2", "--out", out, binary=kerf_asan)
        try:
            process.popen.wait(wait)
        except subprocess.TimeoutExpired:
            process.kill()
        if out.exists():
            names = [p.name for p in out.iterdir() if not p.name.startswith(".")]
            assert names == [] or len(names) >= 5, names
            shutil.rmtree(out)
    assert cut(paddle, "--at", "2", "--out", out).status == 0
