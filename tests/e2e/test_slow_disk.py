"""A store on a disk that hangs (slowdisk.c): the edge goes on with what runs, keeps
its sessions, and can be ended. And in which order it writes, for when power fails."""

from pathlib import Path

import exact
import pytest
from slowdisk import Disk

MODEL = {"head_bytes": 3 << 20}


@pytest.fixture
def disk(tmp_path):
    disk = Disk(tmp_path, tmp_path / "store")
    yield disk
    disk.gate.unlink(missing_ok=True)


@pytest.fixture
def models(tmp_path):
    exact.put(tmp_path / "models", bias=1, **MODEL)
    return tmp_path / "models"


@pytest.fixture
def cloud(start_cloud, models):
    return start_cloud("--engine", "fake", "--models", models, "--dead-after", 2)


@pytest.fixture
def edge(spawn, cloud, disk, tmp_path):
    edge = spawn(
        "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--rate", 50,
        "--repeat", 0, "--store", tmp_path / "store", "--input", *exact.inputs(tmp_path / "in", 2),
        env=disk.env,
    )  # fmt: skip
    edge.wait_event("result")
    return edge


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_store_hangs__the_edge_answers_and_keeps_its_session(call, edge, disk, models):
    disk.hang(call)
    exact.put(models, bias=2, seed=2, **MODEL)
    disk.wait_hanging()
    for _ in range(120):  # 2.4 s: the cloud would have given up an edge that is silent
        edge.wait_event("result")
    disk.gate.unlink()
    edge.wait_event("model", ok=True)
    edge.wait_event("result")
    assert edge.term() == 0
    exact.check_results(edge, None, biases=(1.0, 2.0))
    events = edge.events()
    assert not [e for e in events if e["event"] == "error"]
    assert len([e for e in events if e["event"] == "state"]) == 1, events


@pytest.mark.parametrize("call", ["fallocate", "pwrite", "fsync", "rename", "read"])
def test_store_hangs__the_edge_ends_when_told(call, edge, disk, models):
    disk.hang(call)
    exact.put(models, bias=2, seed=2, **MODEL)
    disk.wait_hanging()
    edge.wait_event("result")
    assert edge.term() == 0
    exact.check_results(edge, None, biases=(1.0,))


def test_folders_cannot_be_synced__models_are_kept(spawn, cloud, disk, tmp_path):
    edge = spawn(
        "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once",
        "--store", tmp_path / "store", "--input", *exact.inputs(tmp_path / "in", 2),
        env={**disk.env, "SLOWDISK_NO_FOLDERS": "1"},
    )  # fmt: skip
    assert edge.wait() == 0
    assert [call for call, path in disk.calls() if path.endswith("/store/parts")] == ["fsync"] * 2
    exact.check_results(edge, 2, biases=(1.0,))


def check_synced(disk):
    """What was renamed is so for good: its folder was synced behind it."""
    calls = disk.calls()
    renamed = [(n, path) for n, (call, path) in enumerate(calls) if call == "rename"]
    for n, path in renamed:
        folder = path.rsplit("/", 1)[0]
        assert Path(path).is_symlink() or ("fsync", folder) in calls[n:], path
    return [path for _, path in renamed]


def test_renames__folders_are_synced_behind_them(edge, disk, run, tmp_path):
    assert edge.term() == 0
    renamed = check_synced(disk)
    for name in ("parts", "bundles", "partial"):
        assert [path for path in renamed if f"/store/{name}/" in path], renamed
    disk.log.unlink()
    keys = {**disk.env, "SLOWDISK_DIR": tmp_path / "keys"}
    assert run("keygen", "authority", "--keys", tmp_path / "keys", env=keys).status == 0
    assert check_synced(disk)
