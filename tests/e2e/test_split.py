"""Cloud and edges together: who starts first, many edges, a cloud that goes and
comes, and models that are added, changed and removed while edges run."""

import json
import os
import re
import shutil
import signal

import exact
import numpy as np
import pytest
from nets import (
    fold,
    model,
    near,
    only,
    put,
    put_pair,
    results,
    save_tensors,
    small_answer,
    small_pair,
    some_tensors,
    value,
    values_of,
)

FAKE = ["--engine", "fake"]


@pytest.fixture
def cloud_of(start_cloud, tmp_path):
    """cloud_of(args..., port=) -> a cloud that serves tmp_path/models."""

    def start(*args, **more):
        (tmp_path / "models").mkdir(exist_ok=True)
        return start_cloud("--models", tmp_path / "models", *FAKE, *args, **more)

    return start


@pytest.fixture
def edge_of(spawn, tmp_path):
    """edge_of(port, args..., store=) -> a running edge."""

    def start(port, *args, store="store", **more):
        return spawn(
            "edge", "--json", "--cloud_host", "127.0.0.1", "--cloud_port", port,
            "--store", tmp_path / store, *FAKE, *args, **more,
        )  # fmt: skip

    return start


def check_all(process, tensors, b=0.0, status=0):
    """Every tensor was answered, once and rightly."""
    assert process.wait() == status, process.report()
    found = results(process)
    assert sorted(found) == list(range(len(tensors)))
    for i, tensor in enumerate(tensors):
        assert near(values_of(found[i]), small_answer(tensor, b)), i
    summary = only(process, "summary")
    assert (summary["asked"], summary["answered"]) == (len(tensors), len(tensors))


def answers_alike(found, tensor, b):
    return near(values_of(found), small_answer(tensor, b))


# ---- start orders -----------------------------------------------------------


def test_edge_first__waits_for_the_cloud(cloud_of, edge_of, free_port, tmp_path):
    small_pair(tmp_path / "models")
    tensors = some_tensors(1, 5)
    port = free_port()
    edge = edge_of(port, "--once", "--input", save_tensors(tmp_path / "in", tensors))
    state = edge.wait_event("state")
    assert not state["connected"] and f"waiting for the cloud at 127.0.0.1:{port}" in state["text"]
    cloud_of(port=port)
    check_all(edge, tensors)


def test_cloud_first_without_a_model__the_edge_waits_for_one(cloud_of, edge_of, tmp_path):
    tensors = some_tensors(2, 5)
    cloud = cloud_of()
    edge = edge_of(cloud.port, "--once", "--input", save_tensors(tmp_path / "in", tensors))
    edge.wait_event("state", connected=True)
    small_pair(tmp_path / "models")
    check_all(edge, tensors)


# ---- several edges ----------------------------------------------------------


def test_six_edges__each_gets_its_own_answers(every_kerf, cloud_of, edge_of, tmp_path):
    small_pair(tmp_path / "models")
    cloud = cloud_of("--workers", "2", "--window", "8", binary=every_kerf)
    edges = []
    for n, window in enumerate([1, 2, 3, 8, 16, 64]):
        tensors = some_tensors(10 + n, 60)
        edge = edge_of(
            cloud.port, "--once", "--window", window, "--name", f"edge{n}",
            "--input", save_tensors(tmp_path / f"in{n}", tensors),
            store=f"store{n}", binary=every_kerf,
        )  # fmt: skip
        edges.append((edge, tensors))
    for edge, tensors in edges:
        check_all(edge, tensors)
    assert cloud.term() == 0
    answers = [e for e in cloud.events() if e["event"] == "answer"]
    for n in range(6):
        ids = [a["id"] for a in answers if a["edge"] == f"edge{n}"]
        assert sorted(ids) == list(range(1, 61))


def test_edges_that_share_a_store__do_not_disturb_each_other(cloud_of, edge_of, tmp_path):
    small_pair(tmp_path / "models")
    cloud = cloud_of()
    tensors = some_tensors(3, 10)
    folder = save_tensors(tmp_path / "in", tensors)
    for edge in [edge_of(cloud.port, "--once", "--input", folder) for _ in range(3)]:
        check_all(edge, tensors)
    left = exact.kept(tmp_path / "store")
    assert len([name for name in left if name.startswith("parts/")]) == 2, left
    assert "bundles/.used" in left
    assert len([name for name in left if re.fullmatch(r"bundles/\w+\.json", name)]) == 1, left
    assert {"client_infer_small.pdiparams", "client_infer_small.pdmodel"} <= set(left)


@pytest.mark.parametrize("kib", [4096 + 200, 12288 + 200])
def test_a_bit_more_than_is_read_in_a_turn__one_by_one(start_cloud, spawn, kerf, tmp_path, kib):
    """The rest of the one tensor is all that could wake the cloud up."""
    width = kib * 256
    exact.put(tmp_path / "models", width=width)
    cloud = start_cloud("--engine", "fake", "--models", tmp_path / "models", binary=kerf)
    edge = spawn(
        "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once", "--window", 1,
        "--codec", "raw", "--repeat", 5, "--store", tmp_path / "store",
        "--input", *exact.inputs(tmp_path / "in", 2), binary=kerf,
    )  # fmt: skip
    assert edge.wait() == 0, edge.report()
    assert len([e for e in edge.events() if e["event"] == "result"]) == 10


# ---- a cloud that goes and comes --------------------------------------------


def test_cloud_restarts__nothing_is_lost(every_kerf, cloud_of, edge_of, tmp_path):
    small_pair(tmp_path / "models", tail={"cost_us": 3000, "cost": "sleep"})
    tensors = some_tensors(4, 200)
    cloud = cloud_of(binary=every_kerf)
    port = cloud.port
    edge = edge_of(
        port, "--once", "--input", save_tensors(tmp_path / "in", tensors), binary=every_kerf
    )
    for _ in range(3):
        for _ in range(20):
            edge.wait_event("result")
        assert cloud.term() == 0
        assert not edge.wait_event("state", connected=False)["connected"]
        cloud = cloud_of(port=port, binary=every_kerf)  # the same port, at once
        assert cloud.port == port
    check_all(edge, tensors)
    assert "received" not in [e["event"] for e in edge.events()[10:]]


def test_stopping_cloud__answers_what_it_has(cloud_of, edge_of, tmp_path):
    """SIGTERM while all of a window is with the cloud: those answers come."""
    small_pair(tmp_path / "models", tail={"cost_us": 50_000, "cost": "sleep"})
    tensors = some_tensors(5, 12)
    cloud = cloud_of("--workers", "1")
    edge = edge_of(
        cloud.port, "--once", "--window", "4", "--input", save_tensors(tmp_path / "in", tensors)
    )
    edge.wait_event("result")
    assert cloud.term() == 0
    edge.wait_event("state", connected=False)
    told = len([e for e in cloud.events() if e["event"] == "answer"])
    cloud = cloud_of(port=cloud.port)
    check_all(edge, tensors)
    again = len([e for e in cloud.events() if e["event"] == "answer"])
    assert told + again == 12  # none was computed twice


# ---- models come and go -----------------------------------------------------


def test_changed_pair__goes_to_running_edges(every_kerf, cloud_of, edge_of, tmp_path):
    small_pair(tmp_path / "models", b=100)
    cloud = cloud_of(binary=every_kerf)
    tensors = some_tensors(6, 4)
    folder = save_tensors(tmp_path / "in", tensors)
    edges = [
        edge_of(
            cloud.port, "--repeat", "0", "--rate", "200", "--input", folder,
            store=f"store{n}", binary=every_kerf,
        )  # fmt: skip
        for n in range(2)
    ]
    for edge in edges:
        assert edge.wait_event("model", name="small")["ok"]
        first = edge.wait_event("result")
        assert answers_alike(first, tensors[first["index"] % 4], 100)
    small_pair(tmp_path / "models", b=-7)
    for edge in edges:
        edge.wait_event("model", name="small", ok=True)
        fresh = edge.wait_event("result")
        assert answers_alike(fresh, tensors[fresh["index"] % 4], -7)
        edge.signal(signal.SIGINT)
        assert edge.wait() == 0
        bundles = [e["bundle"] for e in edge.events() if e["event"] == "model"]
        assert len(bundles) == len(set(bundles)) == 2
        # Each answer is one of the two; once new, never old again.
        kinds = []
        for e in edge.events():
            if e["event"] == "result":
                old, new = (answers_alike(e, tensors[e["index"] % 4], b) for b in (100, -7))
                assert old != new
                kinds.append(new)
        assert kinds == sorted(kinds)
        summary = only(edge, "summary")
        assert summary["failed"] == summary["skipped"] == 0
        assert summary["answered"] == summary["asked"] == len(kinds)


def test_pair_copied_file_by_file__is_used_when_it_is_whole(cloud_of, edge_of, tmp_path):
    made = small_pair(tmp_path / "made", b=5)
    models = tmp_path / "models"
    cloud = cloud_of()
    tensors = some_tensors(7, 3)
    edge = edge_of(cloud.port, "--once", "--input", save_tensors(tmp_path / "in", tensors))
    edge.wait_event("state", connected=True)
    names = sorted(os.listdir(made))
    assert len(names) == 4
    for n, name in enumerate(names):
        if n > 0:  # until the cloud has looked at the half pair and said so
            assert "waiting for" in cloud.wait_event("model", name="small", ok=False)["why"]
            assert [e["event"] for e in edge.events()] == ["state"]
        shutil.copy(made / name, models / name)
    cloud.wait_event("model", name="small", ok=True)
    check_all(edge, tensors, 5)


def test_graph_written_in_pieces__is_used_when_it_is_whole(cloud_of, edge_of, tmp_path):
    models = small_pair(tmp_path / "models", b=1)
    cloud = cloud_of()
    tensors = some_tensors(8, 2)
    folder = save_tensors(tmp_path / "in", tensors)
    check_all(edge_of(cloud.port, "--once", "--input", folder), tensors, 1)
    tail = models / "server_infer_small.pdmodel"
    text = tail.read_text().replace('"b": 1', '"b": 2')
    assert text != tail.read_text()
    with open(tail, "w") as file:
        file.write(text[:40])
        file.flush()
        cloud.wait_event("model", name="small", ok=False)
        # The old one serves until the new one can.
        check_all(edge_of(cloud.port, "--once", "--input", folder), tensors, 1)
        file.write(text[40:])
    cloud.wait_event("model", name="small", ok=True)
    check_all(edge_of(cloud.port, "--once", "--input", folder), tensors, 2)


def test_broken_change__the_old_pair_serves_on(cloud_of, edge_of, tmp_path):
    models = small_pair(tmp_path / "models", b=1)
    cloud = cloud_of()
    tensors = some_tensors(9, 2)
    folder = save_tensors(tmp_path / "in", tensors)
    put(models / "server_infer_small.pdmodel", "this is no model")
    broken = cloud.wait_event("model", name="small", ok=False)
    assert "not a model of the fake engine" in broken["why"]
    check_all(edge_of(cloud.port, "--once", "--input", folder), tensors, 1)


def test_head_and_tail_that_do_not_fit__are_not_served(cloud_of, tmp_path):
    models = small_pair(tmp_path / "models")
    tail = (models / "server_infer_small.pdmodel").read_text().replace("[1, 48]", "[1, 49]")
    put(models / "server_infer_small.pdmodel", tail)
    told = only(cloud_of(), "model")
    assert not told["ok"] and "(1, 48)" in told["why"] and "(1, 49)" in told["why"]


def test_several_pairs__the_edge_chooses(cloud_of, edge_of, tmp_path):
    models = tmp_path / "models"
    for b, name in enumerate(["first", "second", "third"]):
        small_pair(models, name, b=b)
        for file in models.glob(f"*_{name}.*"):
            os.utime(file, (1_000_000 + b, 1_000_000 + b))
    cloud = cloud_of()
    tensors = some_tensors(10, 3)
    folder = save_tensors(tmp_path / "in", tensors)
    for b, name in enumerate(["first", "second", "third"]):
        edge = edge_of(cloud.port, "--once", "--model", name, "--input", folder)
        check_all(edge, tensors, b)
        assert only(edge, "model")["name"] == name
    # Unasked, the one that changed last; all may be in one store.
    check_all(edge_of(cloud.port, "--once", "--input", folder), tensors, 2)
    left = (tmp_path / "store" / "bundles").glob("*.json")
    names = sorted(json.loads(path.read_bytes())["name"] for path in left)
    assert names == ["first", "second", "third"]


def test_unknown_model__is_said_and_waited_for(cloud_of, edge_of, tmp_path):
    small_pair(tmp_path / "models", "first")
    cloud = cloud_of()
    tensors = some_tensors(11, 3)
    edge = edge_of(
        cloud.port, "--once", "--model", "later", "--input", save_tensors(tmp_path / "in", tensors)
    )
    edge.wait_event("state", connected=True)
    small_pair(tmp_path / "models", "later", b=3)
    check_all(edge, tensors, 3)


@pytest.mark.parametrize("how", ["removed", "renamed"])
def test_folder_that_is_replaced__is_followed(cloud_of, tmp_path, how):
    """What is watched at first is the folder, not its name."""
    small_pair(tmp_path / "models", b=1)
    cloud = cloud_of()  # "small" is served
    if how == "removed":
        shutil.rmtree(tmp_path / "models")
        small_pair(tmp_path / "models", b=2)
    else:
        small_pair(tmp_path / "next", b=2)
        os.rename(tmp_path / "models", tmp_path / "old")
        os.rename(tmp_path / "next", tmp_path / "models")
    cloud.wait_event("model", name="small", ok=True)
    small_pair(tmp_path / "models", name="late")  # the new one is watched
    cloud.wait_event("model", name="late", ok=True)


def test_removed_pair__serves_whom_it_was_given_to(cloud_of, edge_of, tmp_path):
    """Edges that run it may finish; a new edge gets the pair that is left."""
    models = small_pair(tmp_path / "models", "stays", b=1)
    for file in models.glob("*_stays.*"):
        os.utime(file, (1_000_000, 1_000_000))
    small_pair(models, "goes", b=2)
    cloud = cloud_of()
    tensors = some_tensors(12, 4)
    folder = save_tensors(tmp_path / "in", tensors)
    edge = edge_of(
        cloud.port, "--repeat", "0", "--rate", "100", "--model", "goes", "--input", folder
    )
    edge.wait_event("result")
    for file in models.glob("*_goes.*"):
        file.unlink()
    late = edge_of(cloud.port, "--once", "--input", folder, store="late")
    # The folder is looked at a moment after the last change.
    assert late.wait() == 0
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0
    for i, e in results(edge).items():
        assert answers_alike(e, tensors[i % 4], 2)
    assert only(edge, "summary")["failed"] == 0


def test_head_that_is_no_model__is_not_shipped(cloud_of, edge_of, tmp_path):
    """The cloud loads a head before it offers it; the edge runs on as before."""
    models = small_pair(tmp_path / "models", b=1)
    cloud = cloud_of()
    tensors = some_tensors(13, 4)
    folder = save_tensors(tmp_path / "in", tensors)
    edge = edge_of(cloud.port, "--repeat", "0", "--rate", "100", "--input", folder)
    edge.wait_event("result")
    put(models / "client_infer_small.pdmodel", '{"kerf_fake": 2}')
    assert not cloud.wait_event("model", name="small", ok=False)["ok"]
    index = edge.wait_event("result")["index"]
    edge.signal(signal.SIGINT)
    assert edge.wait() == 0
    found = results(edge)
    assert max(found) >= index
    assert all(answers_alike(e, tensors[i % 4], 1) for i, e in found.items())


def test_several_inputs_and_tensors_at_the_cut__all_arrive(cloud_of, edge_of, tmp_path):
    """Several tensors cross the cut, one of them integers."""
    x, z = value("x", (1, 6)), value("z", (1, 4))
    h = value("h", (1, 12), ["x"], a=2)
    g = value("g", (1, 4), ["z"], dtype="i32", a=10)
    y = value("y", (1, 3), ["h", "g"])
    w = value("w", (2,), ["g"], b=0.5)
    put_pair(
        tmp_path / "models", "two",
        model([x, z], [h, g]),
        model([value("h", (1, 12)), value("g", (1, 4), dtype="i32")], [y, w]),
    )  # fmt: skip
    cloud = cloud_of()
    a = np.arange(6, dtype=np.float32).reshape(1, 6)
    b = np.array([[0.24, 0.26, -0.3, 9]], np.float32)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "b.npy", b)
    edge = edge_of(
        cloud.port, "--once", "--save", tmp_path / "out",
        "--input", f"{tmp_path}/a.npy,{tmp_path}/b.npy",
    )  # fmt: skip
    assert edge.wait() == 0, edge.report()
    (found,) = results(edge).values()
    ints = np.array([2, 3, -3, 90])
    hidden = fold(a, (1, 12), a=2).ravel()
    want = fold(hidden, (1, 3)) + fold(ints, (1, 3))
    assert near(values_of(found, 0), want)
    assert near(values_of(found, 1), fold(ints, (2,), b=0.5))
    assert near(np.load(tmp_path / "out" / "000000.1.npy"), fold(ints, (2,), b=0.5))
