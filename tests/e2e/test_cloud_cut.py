"""`kerf cloud --model MODEL --cut NAME`: cut on the fly, shipped, no file by hand."""

import json

import pytest


def labels(process):
    """By input: two workers may answer in another order."""
    results = [e for e in process.events() if e.get("event") == "result"]
    return {e["index"]: e["top"][0]["label"] for e in results}


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
    whole = run("run", model, "--json", "--input", *images)
    assert labels(edge) == labels(whole) and len(labels(edge)) == len(images)


def test_cloud__says_what_is_wrong_with_a_cut(run, digits):
    model = digits / "digits.pdmodel"
    at = ("--cloud_port", "0")
    done = run("cloud", *at, "--model", model, "--cut", "relu_3.tmp_1")
    assert done.status == 1 and "relu_3.tmp_0" in done.err and len(done.err.splitlines()) == 1
    assert run("cloud", *at, "--model", model).status == 2
    assert run("cloud", *at, "--cut", "3").status == 2
    assert run("cloud", *at, "--card", "x").status == 2
    assert run("cloud", *at, "--models", digits, "--model", model, "--cut", "3").status == 2
    assert run("cloud", *at, "--legacy", "--model", model, "--cut", "3").status == 2
