"""Several inputs and outputs are in Paddle's order, not in that of the ops.
Networks: port_nets.py."""

import json
from pathlib import Path

import numpy as np
import oracles
import pytest


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    oracles.need_paddle()
    folder = tmp_path_factory.mktemp("ports")
    script = Path(__file__).with_name("port_nets.py")
    oracles.export(script, folder)
    return folder


def check(folder, exported):
    for i in range(2):
        ours, theirs = (np.load(p) for p in (folder / f"000000.{i}.npy", exported / f"out{i}.npy"))
        assert np.abs(ours - theirs).max() <= 1e-5 * np.ptp(theirs), f"output {i}"


@pytest.fixture
def inputs(exported):
    return ",".join(str(exported / f"in{i}.npy") for i in range(2))


def test_whole__takes_inputs_in_paddles_order(run, exported, inputs, tmp_path):
    info = json.loads(run("cut", exported / "whole.pdmodel", "--info", "--json").out)
    assert [port["name"] for port in info["inputs"]] == ["a", "b"]
    done = run("run", exported / "whole.pdmodel", "--input", inputs, "--save", tmp_path)
    assert done.status == 0, done.report()
    check(tmp_path, exported)


@pytest.mark.parametrize("cut_by", ["hand", "kerf"])
def test_pair__joins_what_crosses_in_order(run, start_cloud, exported, inputs, tmp_path, cut_by):
    pair = exported / "pair"
    if cut_by == "kerf":
        pair = tmp_path / "pair"
        listed = run("cut", exported / "whole.pdmodel", "--json").out.splitlines()
        cuts = [c for c in map(json.loads, listed) if c["after_op"] and len(c["tensors"]) == 2]
        assert any(t["name"] in "ab" for t in cuts[0]["tensors"])  # an input goes through
        at = cuts[0]["cut"]
        done = run("cut", exported / "whole.pdmodel", "--at", str(at), "--out", pair)
        assert done.status == 0, done.report()
    cloud = start_cloud("--models", pair)
    edge = run(
        *("edge", "--cloud_port", cloud.port, "--once", "--store", tmp_path / "store"),
        *("--input", inputs, "--save", tmp_path / "out"),
    )
    assert edge.status == 0, edge.report()
    check(tmp_path / "out", exported)
