"""A network that answers infinity to the probes is served, tested and run like
any other: what is not finite proves nothing, and is left out of the probes."""

import json

import nets
import numpy as np

HUGE = 1e300  # more than an f32 holds


def test_split__infinite_answers_to_probes__is_served_and_runs(run, start_cloud, tmp_path):
    head = nets.model([nets.X], [nets.value("h", (1, 48), b=HUGE)])
    tail = nets.model([nets.H], [nets.value("y", nets.Y_SHAPE)])
    models = nets.put_pair(tmp_path / "models", "m", head, tail)
    cloud = start_cloud("--engine", "fake", "--models", models)
    assert nets.only(cloud, "model")["ok"], cloud.report()
    inputs = nets.save_tensors(tmp_path / "in", nets.some_tensors(1, 2))
    words = ["edge", "--json", "--engine", "fake", "--cloud_port", str(cloud.port), "--once"]
    edge = run(*words, "--store", tmp_path / "store", "--input", inputs)
    assert edge.status == 0, edge.report()
    assert len(nets.results(edge)) == 2


def test_card__infinite_answers_to_probes__keeps_their_shape(run, tmp_path):
    graph = nets.small_whole(tmp_path, b=HUGE)
    done = run("card", graph, "--engine", "fake", "--tensor")
    assert done.status == 0, done.report()
    card = json.loads((tmp_path / "small.kerf.json").read_text())
    assert [p["outputs"] for p in card["probes"]] == [
        [{"shape": list(nets.Y_SHAPE), "at": [], "values": []}]
    ] * len(card["probes"])
    assert card["probes"]
    np.save(tmp_path / "x.npy", nets.some_tensors(1, 1)[0])
    done = run("run", graph, "--engine", "fake", "--input", tmp_path / "x.npy")
    assert done.status == 0, done.report()
