"""What `kerf run` shows of an answer, and flags that would do nothing."""

import json

import numpy as np
import pytest
from nets import (
    X_SHAPE,
    error_lines,
    model,
    only,
    put_model,
    results,
    small_pair,
    small_whole,
    value,
)

FAKE = ["--engine", "fake"]
CLASSES = {"kerf_card": 1, "task": "classify", "input": {"kind": "tensor"}}


def save(folder, name, tensor):
    folder.mkdir(exist_ok=True)
    np.save(folder / name, tensor)
    return folder / name


def test_nothing_finite__is_null_and_said(run, tmp_path):
    graph = small_whole(tmp_path / "m")
    odd = save(tmp_path, "odd.npy", np.full(X_SHAPE, np.nan, np.float32))
    done = run("run", graph, *FAKE, "--json", "--input", odd)
    (out,) = results(done)[0]["outputs"]
    assert [out[m] for m in ("min", "max", "mean", "std")] == [None] * 4
    assert "10 not finite" in run("run", graph, *FAKE, "--input", odd).out


def test_integers__are_json_integers(run, tmp_path):
    x, y = value("x", (1, 3), dtype="i32"), value("y", (1, 3), dtype="i32")
    graph = put_model(tmp_path / "m", "whole", model([x], [y]))
    numbers = save(tmp_path, "x.npy", np.array([[1, -2, 2147483520]], np.int32))
    done = run("run", graph, *FAKE, "--json", "--input", numbers)
    (out,) = results(done)[0]["outputs"]
    assert json.dumps(out["values"]) == "[1, -2, 2147483520]"
    assert (out["min"], out["max"]) == (-2, 2147483520) and isinstance(out["max"], int)


def test_truth__a_number_that_is_a_label_is_no_index(run, tmp_path):
    """Labels that are numbers in another order: class 2 is called "1"."""
    labels = [*"0213456789"]
    graph = small_whole(tmp_path / "m", card={**CLASSES, "labels": labels})
    x = np.zeros(X_SHAPE, np.float32)
    x.flat[1] = 1  # the answer's best class is 1, called "2"
    save(tmp_path / "in", "1_a.npy", x)
    save(tmp_path / "in", "2_b.npy", x)
    done = run("run", graph, *FAKE, "--json", "--truth", "name", "--input", tmp_path / "in")
    assert {i: r["right"] for i, r in results(done).items()} == {0: False, 1: True}
    assert only(done, "summary")["right"] == 1


def test_softmax__is_decided_once(run, tmp_path):
    """Logits that happen to add up to 1 are shown as the others are."""
    graph = small_whole(tmp_path / "m", card=CLASSES)
    logits = np.zeros(X_SHAPE, np.float32)
    logits.flat[:3] = [4, 1, 1]
    alike = np.zeros(X_SHAPE, np.float32)
    alike.flat[:2] = [0.75, 0.25]
    for i, x in enumerate([logits, alike]):
        save(tmp_path / "in", f"{i}.npy", x)
    found = results(run("run", graph, *FAKE, "--json", "--input", tmp_path / "in"))
    assert found[1]["top"][0]["score"] < 0.3
    found = results(run("run", graph, *FAKE, "--json", "--input", tmp_path / "in" / "1.npy"))
    assert found[0]["top"][0]["score"] == 0.75


def test_bench_alone__is_a_usage_error(run):
    done = run("bench")
    assert done.status == 2 and done.out == "" and "split" in done.err
    done = run("bench", "--help")
    assert done.status == 0 and done.err == "" and "split" in done.out


@pytest.mark.parametrize(
    "flags",
    [
        ["--save", "d"], ["--summary"], ["--table"], ["--truth", "name"], ["--top-k", "3"],
        ["--window", "8"], ["--deadline", "0"], ["--name", "n"],
    ],
    ids=lambda flags: flags[0],
)  # fmt: skip
def test_edge_legacy__refuses_what_has_no_effect(run, flags):
    done = run("edge", "--legacy", "--input", "random", "--repeat", "1", *flags)
    assert done.status == 2 and flags[0] in error_lines(done)[0], done.report()


def test_edge_card__needs_legacy(run):
    done = run("edge", "--input", "random", "--card", "c.json")
    assert done.status == 2 and "--legacy" in error_lines(done)[0]


def test_model_behind_input__is_asked_for_in_front(run, tmp_path):
    graph = small_whole(tmp_path / "m")
    for word in (graph, graph.with_suffix("")):
        done = run("run", "--input", tmp_path / "a.png", word)
        assert done.status == 2 and "put MODEL before --input" in error_lines(done)[0]


@pytest.mark.parametrize("flag", ["--mean", "--std"])
def test_number_too_large_for_a_float__is_refused(run, flag):
    done = run("run", "m", "--input", "random", flag, "1e300")
    assert done.status == 2 and flag in error_lines(done)[0]


def test_npy_that_cannot_be_taken__says_its_own_reason(run, tmp_path):
    """... also for a model whose card takes images."""
    card = {"kerf_card": 1, "input": {"kind": "image"}}
    graph = small_whole(tmp_path / "m", card=card)
    bad = tmp_path / "bad.npy"
    bad.write_text("nothing")
    done = run("run", graph, *FAKE, "--input", bad)
    assert done.status == 1 and "bad.npy: not an .npy file" in done.err, done.report()
    assert "missing rule" not in done.err
    good = save(tmp_path, "good.npy", np.zeros(X_SHAPE, np.float32))
    done = run("run", graph, *FAKE, "--input", f"{good},{tmp_path}/none.npy")
    assert done.status == 1 and "/none.npy: no such file" in error_lines(done)[0]


def test_edge__names_what_it_skips_and_warns_of_labels(run, start_cloud, tmp_path):
    card = {**CLASSES, "labels": ["a", "b", "c"]}
    cloud = start_cloud("--models", small_pair(tmp_path / "m", card=card), *FAKE)
    save(tmp_path / "in", "0.npy", np.ones(X_SHAPE, np.float32))
    (tmp_path / "in" / "1.npy").write_text("nothing")
    done = run(
        "edge", "--json", "--once", "--cloud_port", cloud.port, "--store", tmp_path / "store",
        *FAKE, "--input", tmp_path / "in",
    )  # fmt: skip
    assert done.status == 1, done.report()
    assert only(done, "skipped")["input"] == str(tmp_path / "in" / "1.npy")
    assert len(results(done)) == 1
    assert "warning: the card has 3 labels, but output 0 has 10 classes" in done.err
