"""`kerf cut` as a person uses it: the list, one cut as files, the proof, halves
that are cut again and joined. Many models: test_cuts.py; bad ones:
test_cut_bad.py."""

import json
import re
import shutil
import xml.etree.ElementTree as xml

import numpy as np
import pytest

FIELDS = {"cut", "after", "tensors", "bytes", "head_params", "tail_params"}
FIELDS |= {"head_flops", "tail_flops"}


@pytest.fixture
def model(digits):
    return digits / "digits.pdmodel"


@pytest.fixture
def cut(run):
    """cut(args...) -> ended `kerf cut`, which has worked."""

    def go(*args):
        done = run("cut", *args, timeout=120)
        assert done.status == 0, done.report()
        return done

    return go


@pytest.fixture
def cuts(cut, model):
    """The list, as JSON."""
    return [json.loads(line) for line in cut(model, "--json").out.splitlines()]


@pytest.fixture
def answers(run, tmp_path):
    """answers(model, inputs...) -> outputs of the first input."""

    def go(path, *inputs):
        out = tmp_path / f"answers-{len(list(tmp_path.iterdir()))}"
        done = run("run", path, "--input", *inputs, "--save", out)
        assert done.status == 0, done.report()
        return sorted(out.glob("000000.*.npy"))

    return go


def test_list__has_a_line_per_cut_and_the_marks(cut, model, cuts):
    out = cut(model).out
    rows = [line.split() for line in out.splitlines() if line[:5].strip().isdigit()]
    assert [int(row[0]) for row in rows] == [c["cut"] for c in cuts] == list(range(len(cuts)))
    assert "\x1b" not in out
    marked = {int(row[0]): row[1] for row in rows if set(row[1]) <= set("<*")}
    for c in cuts:
        assert ("<" in marked.get(c["cut"], "")) == (c["bytes"] < 3 * 32 * 32)
    least = cuts[0]["bytes"]
    for c in cuts[1:]:
        assert ("*" in marked.get(c["cut"], "")) == (c["bytes"] < least)
        least = min(least, c["bytes"])


def test_list__names_cuts_to_look_at(cut, model, cuts):
    out = cut(model).out
    named = [int(n) for n in re.findall(r"^  cut (\d+), ", out, re.MULTILINE)]
    work = [c for c in cuts if c["head_flops"] and c["tail_flops"]]
    q8 = [sum(t["bytes"] // (4 if t["dtype"] == "f32" else 1) for t in c["tensors"]) for c in work]
    whole = 3 * 32 * 32
    first = [
        next((c for c in work if c["bytes"] < whole), None),
        next((c for c, n in zip(work, q8, strict=True) if n < whole), None),
        min(work, key=lambda c: c["bytes"]),
    ]
    # Each is there once, at its place or behind what is joined to it.
    behind = set()
    for start in (c for c in first if c):
        last = start["cut"]
        while last not in named:
            last += 1
            assert cuts[last]["bytes"] == start["bytes"]
        behind.add(last)
    assert behind == set(named) and len(named) == len(behind)
    for n in named:  # what is named there is what --at takes
        at = re.search(rf"^  cut {n}, .*--at (\S+)$", out, re.MULTILINE)[1]
        assert at in (str(n), ",".join(t["name"] for t in cuts[n]["tensors"]))


def test_free_sizes__are_said_with_what_to_do(run, shared):
    done = run("cut", shared / "models" / "ch_PP-OCRv3_det_infer", timeout=120)
    assert done.status == 0 and "give --size" in done.err, done.report()


def test_json__adds_up(cuts):
    first, last = cuts[0], cuts[-1]
    assert first["after"] is None and first["head_params"] == first["head_flops"] == 0
    assert last["tail_params"] == last["tail_flops"] == 0
    for c in cuts:
        assert c.keys() >= FIELDS
        assert sum(t["bytes"] for t in c["tensors"]) == c["bytes"]
        for t in c["tensors"]:
            assert t["bytes"] == 4 * np.prod(t["shape"]) and t["dtype"] == "f32" and t["name"]
        assert c["head_params"] + c["tail_params"] == last["head_params"]
        assert c["head_flops"] + c["tail_flops"] == last["head_flops"]
    # The first convolution: 16 filters of 3x3x3 on 32x32 places.
    assert cuts[1]["head_params"] == 16 * 27
    assert cuts[1]["head_flops"] == 2 * 16 * 27 * 32 * 32


def test_json__finds_the_skip_connection(cuts):
    skip = next(c for c in cuts if len(c["tensors"]) == 2)
    assert skip["tensors"][0] in cuts[skip["cut"] - 1]["tensors"]


def test_svg__is_a_picture(cut, model, tmp_path):
    if shutil.which("gnuplot") is None:
        pytest.skip("gnuplot is not installed")
    out = cut(model, "--svg", tmp_path / "a b.svg").out
    root = xml.parse(tmp_path / "a b.svg").getroot()
    assert root.tag.endswith("svg") and len(list(root.iter())) > 50
    words = " ".join("".join(e.itertext()) for e in root.iter() if e.tag.endswith("}text"))
    for n in re.findall(r"^  cut (\d+), ", out, re.MULTILINE):
        assert f"cut {n}:" in words
    for said in ("digits", "bytes that cross", "parameters", "FLOPs", "3.07 KB"):
        assert said in words


def test_info__says_what_the_model_is(cut, model, cuts):
    info = json.loads(cut(model, "--info", "--json").out)
    assert info["format"] == "paddle"
    assert info["ops"]["conv2d"] > 5
    assert info["params"]["elements"] == cuts[-1]["head_params"]
    text = cut(model, "--info").out
    assert "conv2d" in text and "1x3x32x32" in text


@pytest.mark.parametrize("at", ["one", "skip", "number"])
def test_at__writes_halves_that_are_the_whole(cut, model, cuts, answers, digits, tmp_path, at):
    skip = next(c for c in cuts if len(c["tensors"]) == 2)
    one = next(c for c in cuts if c["cut"] > 8 and len(c["tensors"]) == 1)
    names = {
        "one": one["tensors"][0]["name"],
        "skip": ",".join(t["name"] for t in skip["tensors"]),
        "number": str(one["cut"]),
    }
    out = tmp_path / "out"
    made = json.loads(cut(model, "--at", names[at], "--out", out, "--json").out)
    assert made["max_rel"] <= 1e-5 and made["inputs"] >= 3
    assert made["bit_equal"] or made["max_abs"] > 0
    assert sorted(p.name for p in out.iterdir()) == sorted(
        [
            "digits.kerf.json",
            "digits.manifest.json",
            *(f"{half}_infer_digits.{end}" for half in ("client", "server") for end in ENDS),
        ]
    )
    image = digits / "images" / "3_011.png"
    crossed = answers(out / "client_infer_digits", image)
    (got,) = answers(out / "server_infer_digits", ",".join(map(str, crossed)))
    (want,) = answers(model, image)
    assert np.abs(np.load(got) - np.load(want)).max() <= 1e-5


ENDS = ("pdmodel", "pdiparams", "kerf.json")


def test_at__photos_are_part_of_the_proof(cut, model, digits, tmp_path):
    photos = sorted((digits / "images").glob("*.png"))[:4]
    made = cut(model, "--at", "9", "--out", tmp_path / "out", "--json", "--input", *photos)
    assert json.loads(made.out)["inputs"] >= 3 + len(photos)


def test_at__what_is_there_stays_unless_forced(run, cut, model, tmp_path):
    out = tmp_path / "out"
    cut(model, "--at", "9", "--out", out)
    before = {p: p.read_bytes() for p in out.iterdir()}
    done = run("cut", model, "--at", "12", "--out", out)
    assert done.status == 1 and "--force" in done.err
    assert {p: p.read_bytes() for p in out.iterdir()} == before
    cut(model, "--at", "12", "--out", out, "--force")
    assert {p: p.read_bytes() for p in out.iterdir()} != before


def test_proof__that_fails_leaves_nothing(run, model, digits, tmp_path):
    """A card whose probe this model does not answer."""
    shutil.copy(model, tmp_path)
    shutil.copy(model.with_suffix(".pdiparams"), tmp_path)
    card = json.loads((digits / "digits.kerf.json").read_text())
    values = card["probes"][0]["outputs"][0]["values"]
    values[0] = values[0] + 0.25
    (tmp_path / "digits.kerf.json").write_text(json.dumps(card))
    done = run("cut", tmp_path / "digits.pdmodel", "--at", "9", "--out", tmp_path / "out")
    assert done.status == 1 and len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_proof__tolerance_zero_refuses_what_is_not_bit_equal(run, model, cut, tmp_path):
    proofs = [json.loads(line) for line in cut(model, "--prove", "--json").out.splitlines()]
    assert all(p["ok"] for p in proofs)
    differs = [p for p in proofs if not p["bit_equal"]]
    equal = [p for p in proofs if p["bit_equal"]]
    assert len(equal) > len(differs)
    if not differs:
        pytest.skip("every cut is bit-equal on this machine")
    args = ["--tolerance", "0", "--out", tmp_path / "out"]
    done = run("cut", model, "--at", str(differs[0]["cut"]), *args)
    assert done.status == 1 and not (tmp_path / "out").exists()
    # Nothing is wrong with the cut: the whole does so too when it is watched there.
    assert ": by rounding: the halves equal the whole" in done.err
    cut(model, "--at", str(equal[-1]["cut"]), *args)


def test_three_way_split__is_the_whole(cut, model, answers, digits, tmp_path):
    cut(model, "--at", "9", "--out", tmp_path / "two")
    cut(tmp_path / "two" / "server_infer_digits", "--at", "6", "--out", tmp_path / "three")
    image = digits / "images" / "7_005.png"
    first = answers(tmp_path / "two" / "client_infer_digits", image)
    second = answers(tmp_path / "three" / "client_infer_digits-tail", ",".join(map(str, first)))
    (third,) = answers(tmp_path / "three" / "server_infer_digits-tail", ",".join(map(str, second)))
    (want,) = answers(model, image)
    assert np.abs(np.load(third) - np.load(want)).max() <= 1e-5


def test_join__restores_the_whole(cut, model, answers, digits, tmp_path):
    half = {side: tmp_path / "halves" / f"{side}_infer_digits" for side in ("client", "server")}
    cut(model, "--at", "14", "--out", tmp_path / "halves")
    cut("--join", half["client"], half["server"], "--out", tmp_path / "joined")
    image = digits / "images" / "5_014.png"
    (got,) = answers(tmp_path / "joined" / "digits", image)
    (want,) = answers(model, image)
    assert np.load(got).tobytes() == np.load(want).tobytes()


def test_errors__say_what_to_do(run, model, cuts, tmp_path):
    skip = next(c for c in cuts if len(c["tensors"]) == 2)
    names = [t["name"] for t in skip["tensors"]]
    near = names[0][:-1] + "9"

    def fails(status, *args):
        done = run("cut", *args)
        assert done.status == status and not done.out, done.report()
        return done.err

    assert names[0] in fails(1, model, "--at", near, "--out", tmp_path / "out")
    assert names[0] in fails(1, model, "--at", names[1], "--out", tmp_path / "out")
    assert "none.pdmodel" in fails(1, tmp_path / "none.pdmodel")
    fails(2, model, "--at", names[0])  # no --out
    fails(2, model, "--what")
    fails(2)
    assert not (tmp_path / "out").exists()


def test_onnx__cut_run_and_join(cut, shared, answers, tmp_path):
    path = shared / "models" / "resnet20_cifar10_onnx"
    listed = [json.loads(line) for line in cut(path, "--json").out.splitlines()]
    middle = listed[len(listed) // 2]
    at = ",".join(t["name"] for t in middle["tensors"])
    made = json.loads(cut(path, "--at", at, "--out", tmp_path / "out", "--json").out)
    assert made["max_rel"] <= 1e-5
    assert {p.suffix for p in (tmp_path / "out").iterdir()} <= {".onnx", ".json"}
    halves = sorted((tmp_path / "out").glob("*.onnx"))  # client_, server_
    made = json.loads(cut("--join", *halves, "--out", tmp_path / "joined", "--json").out)
    assert made["max_rel"] <= 1e-5
    (joined,) = (tmp_path / "joined").glob("*.onnx")
    (got,), (want,) = (answers(at, "random:1") for at in (joined, path))
    assert np.abs(np.load(got) - np.load(want)).max() <= 1e-5
