"""Paddle 3's own export (.json) in kerf run, kerf card and kerf cut, against
what Paddle answers. Networks: pir_nets.py, and a real one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import kept
import numpy as np
import oracles
import pytest
from nets import error_lines, only
from oracles import paddle_answers

VISION = ["LeNet", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_25", "squeezenet1_1"]
DETECTORS = ["ssd", "text", "yolo"]
BLOCKS = ["attention", "images", "maths", "pieces", "reader"]
FEEDS = {"yolo": ["image", "im_size"]}
ROWS = "OP UNARY BINARY CONV CONV_TRANSPOSE BATCH_NORM MAX_POOL_INDEX INTERP".split()
ROWS += "REDUCE REDUCE_CASTING REDUCE_AXIS ARG TRIANGLE".split()
HALVES = ["client", "server"]
RULES = "--resize stretch --colour rgb --scale 1/255 --mean 0 --std 1".split()


@pytest.fixture(scope="session")
def exported():
    """A folder with what Paddle exports of every network."""
    oracles.need_paddle()
    names = [*VISION, *DETECTORS, *BLOCKS, "branches"]
    script = Path(__file__).with_name("pir_nets.py")

    return kept.folder(
        "pir-" + kept.key(script, names), lambda folder: oracles.export(script, folder, *names)
    )


def arrays(folder, pattern):
    """What matches in the order of the number in its name."""
    files = sorted(
        folder.glob(pattern), key=lambda f: int(f.stem.rpartition(".")[2].strip("inout"))
    )
    return [np.load(f) for f in files]


def check_close(ours, theirs, relative):
    """Equal to a part of the output's range; what is not finite, and whole
    numbers, exactly."""
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    if theirs.dtype.kind != "f":
        assert (ours == theirs).all()
        return
    finite = np.isfinite(theirs)
    assert (ours[~finite] == theirs[~finite]).all()
    if finite.any():
        spread = float(np.ptp(theirs[finite])) or float(np.abs(theirs[finite]).max())
        assert np.abs(ours[finite] - theirs[finite]).max() <= relative * spread


@pytest.mark.parametrize("name", [*VISION, *DETECTORS, *BLOCKS])
def test_outputs__are_paddles(run, exported, tmp_path, name):
    folder = exported / name
    inputs = ",".join(str(f) for f in sorted(folder.glob("in?.npy")))
    size = ["--size", "64x64"] if name == "text" else []
    done = run("run", folder, *size, "--save", tmp_path / "out", "--input", inputs)
    assert done.status == 0, done.report()
    want, ours = arrays(folder, "out*.npy"), arrays(tmp_path / "out", "000000.*.npy")
    assert len(ours) == len(want) > 0
    for i, theirs in enumerate(want):
        try:
            check_close(ours[i], theirs, 1e-5)
        except AssertionError as e:
            raise AssertionError(f"output {i} of {len(want)}") from e


def test_yolo__finds_boxes(exported):
    """Else nothing would be compared."""
    assert len(np.load(exported / "yolo" / "out0.npy")) > 3


@pytest.mark.parametrize("name", ["resnet18", "yolo", "attention"])
def test_halves__answer_in_paddle_bit_for_bit(run, exported, tmp_path, name):
    """The halves of a cut are the translated program in two pieces."""
    listed = run("cut", exported / name, "--json")
    assert listed.status == 0
    cuts = [e for e in listed.events() if "tensors" in e]
    cut = cuts[len(cuts) // 2]
    made = run("cut", exported / name, "--at", str(cut["cut"]), "--out", tmp_path, timeout=100)
    assert made.status == 0, made.report()
    (head,), (tail,) = (list(tmp_path.glob(f"{half}_infer_*.pdmodel")) for half in HALVES)
    inputs = arrays(exported / name, "in*.npy")
    (crossing,) = paddle_answers(head, [dict(zip(FEEDS.get(name, ["x"]), inputs))])
    names = [tensor["name"] for tensor in cut["tensors"]]
    (answer,) = paddle_answers(tail, [dict(zip(names, crossing))])
    want = arrays(exported / name, "out*.npy")
    assert len(answer) == len(want)
    for ours, theirs in zip(answer, want):
        assert ours.dtype == theirs.dtype and (ours == theirs).all()


def test_card__is_written_beside_the_program(run, exported, tmp_path):
    shutil.copytree(exported / "resnet18", tmp_path / "resnet18")
    done = run("card", tmp_path / "resnet18", *RULES)
    assert done.status == 0, done.report()
    assert (tmp_path / "resnet18" / "resnet18.kerf.json").is_file()
    picture = np.zeros((64, 64, 3), np.uint8)
    np.save(tmp_path / "black.npy", picture)
    # The card is JSON too, and no model.
    done = run("run", tmp_path / "resnet18", "--input", tmp_path / "black.npy", "--json")
    assert done.status == 0 and only(done, "summary")["answered"] == 1


def test_unknown_ops__are_named(run, exported):
    done = run("run", exported / "branches", "--input", "random")
    (line,) = error_lines(done)
    assert done.status == 1
    assert "1.if" in line and "inference.json" in line and "FLAGS_enable_pir_api=0" in line


@pytest.mark.parametrize("end", ["json", "pdiparams"])
@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.99])
def test_cut_short__says_so(run, exported, tmp_path, end, part):
    shutil.copytree(exported / "LeNet", tmp_path / "net")
    file = tmp_path / "net" / f"inference.{end}"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * part)])
    done = run("run", tmp_path / "net", "--input", "random")
    (line,) = error_lines(done)
    assert done.status == 1 and "inference.json" in line and len(line) < 600


def test_real_network__answers_as_its_maker_says(run, shared, exported, tmp_path):
    """PP-LCNet that tells upside-down lines of text, from Paddle's own models."""
    folder = shared / "models" / "textline_ori_pplcnet_x0_25_PIR"
    numbers = np.random.default_rng(8)
    np.save(tmp_path / "x.npy", numbers.standard_normal((1, 3, 80, 160)).astype(np.float32))
    for i, path in enumerate([folder, folder / "inference.json", folder / "inference"]):
        done = run("run", path, "--save", tmp_path / str(i), "--input", tmp_path / "x.npy")
        assert done.status == 0, done.report()
    script = """
import sys, numpy as np, paddle
paddle.enable_static()
runner = paddle.static.Executor(paddle.CPUPlace())
program, feeds, fetches = paddle.static.load_inference_model(sys.argv[1], runner)
(answer,) = runner.run(program, {feeds[0]: np.load(sys.argv[2])}, fetches)
np.save(sys.argv[3], answer)
"""
    env = {k: v for k, v in os.environ.items() if k != "FLAGS_enable_pir_api"}
    argv = [sys.executable, "-c", script, folder / "inference", tmp_path / "x.npy"]
    subprocess.run([*argv, tmp_path / "want.npy"], env=env, check=True, stderr=subprocess.DEVNULL)
    for i in range(3):
        ours = np.load(tmp_path / str(i) / "000000.0.npy")
        check_close(ours, np.load(tmp_path / "want.npy"), 1e-5)


def test_documented_ops__are_those_of_the_table(repo):
    rows = (repo / "src" / "graph" / "pir_ops.c").read_text().split("kerf_pir_rule rules[]")[1]
    table = set(re.findall(rf"\b(?:{'|'.join(ROWS)})\(\"(\w+)\"", rows))
    page = (repo / "docs" / "MODELS.md").read_text().split("### Paddle 3 programs")[1]
    page = page.split("\n## ")[0]
    listed = [row.split("|")[2].split() for row in page.splitlines() if row.startswith("| ")]
    assert len(table) > 100
    assert table == set(sum(listed[1:-2] + listed[-1:], []))
