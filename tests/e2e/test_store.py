"""An edge's store from outside: what an older Kerf left, kills in the midst of it,
`kerf store`, bounds, and what else may stand in it."""

import json
import os
import random
import shutil
import signal
import time

import exact
import pytest

PATIENCE = 60
MODEL = {"head_bytes": 3 << 20}


def until(ready):
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, "nothing comes"
        time.sleep(0.02)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def edge_of(run, tmp_path, store):
    """edge_of(cloud, args...) -> ended edge that asked 2 inputs."""
    files = exact.inputs(tmp_path / "in", 2)

    def go(cloud, *more, binary=None):
        edge = run(
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once",
            "--store", store, *more, "--input", *files, binary=binary,
        )  # fmt: skip
        return edge

    return go


@pytest.fixture
def cloud_of(start_cloud, tmp_path):
    def go(models="models", **more):
        exact.put(tmp_path / models, **more)
        return start_cloud("--engine", "fake", "--models", tmp_path / models, "--workers", 1)

    return go


def received(edge):
    assert edge.status == 0, edge.report()
    return [e["file"] for e in edge.events() if e["event"] == "received"]


def look(run, store, *words):
    done = run("store", *words, "--json", "--store", store)
    return done.status, done.events()


def states(run, store):
    status, events = look(run, store, "list")
    assert status == 0
    return {e["bundle"]: e["state"] for e in events if e["event"] == "bundle"}


def make_old(store, old):
    """As an older Kerf kept it: files by name, one manifest for each."""
    old.mkdir()
    (bundle,) = store.glob("bundles/*.json")
    manifest = json.loads(bundle.read_bytes())
    for file in manifest["files"]:
        file.pop("units", None)
        if not file["role"].startswith("tail"):
            shutil.copy(store / "parts" / file["sha256"], old / file["name"])
    (old / "m.manifest.json").write_text(json.dumps(manifest))


def test_old_store__is_taken_over__nothing_is_fetched(cloud_of, edge_of, store, kerf_asan):
    cloud = cloud_of(**MODEL)
    assert received(edge_of(cloud))
    make_old(store, store.parent / "old")
    shutil.rmtree(store)
    (store.parent / "old").rename(store)
    for _ in range(2):
        assert received(edge_of(cloud, binary=kerf_asan)) == []
    exact.check_store(store, exact.files(**MODEL))
    assert not (store / "m.manifest.json").exists()


def test_old_store__killed_in_the_midst__goes_on(cloud_of, edge_of, spawn, store, tmp_path):
    cloud = cloud_of(**MODEL)
    assert received(edge_of(cloud))
    make_old(store, tmp_path / "old")
    rng = random.Random(1)
    for _ in range(4):
        shutil.rmtree(store)
        shutil.copytree(tmp_path / "old", store)
        edge = spawn(
            "edge", "--engine", "fake", "--cloud_port", cloud.port, "--store", store,
            "--input", *exact.inputs(tmp_path / "in", 2),
        )  # fmt: skip
        time.sleep(rng.uniform(0, 0.02))
        edge.kill()
        assert received(edge_of(cloud)) == []
        exact.check_store(store, exact.files(**MODEL))


def test_edge__killed_at_any_time__store_is_whole_or_goes_on(
    cloud_of, edge_of, spawn, store, run, tmp_path
):
    """Receiving, renaming, writing the manifest, replacing: kill -9 everywhere."""
    cloud = cloud_of(**MODEL)
    rng = random.Random(7)
    for n in range(12):
        edge = spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--store", store,
            "--input", *exact.inputs(tmp_path / "in", 2),
        )  # fmt: skip
        if n % 3:
            edge.wait_event("state")
        time.sleep(rng.uniform(0, 0.03))
        edge.kill()
        exact.check_store(store, killed=True)
        if n % 4 == 3:
            shutil.rmtree(store)
    received(edge_of(cloud))
    exact.check_store(store, exact.files(**MODEL))
    assert not list((store / "partial").iterdir())
    assert look(run, store, "verify")[0] == 0


def test_bound__old_versions_go__the_running_one_stays(cloud_of, edge_of, store, run, tmp_path):
    clouds = [cloud_of(f"models{n}", bias=n, seed=n, **MODEL) for n in range(3)]
    for cloud in clouds[:2]:
        assert received(edge_of(cloud, "--store-max", "7M"))
    assert list(states(run, store).values()) == ["kept", "kept"]
    assert received(edge_of(clouds[0], "--store-max", "7M")) == []  # used last
    assert received(edge_of(clouds[2], "--store-max", "7M"))
    assert len(states(run, store)) == 2
    assert received(edge_of(clouds[0], "--store-max", "7M")) == []
    edge = edge_of(clouds[1], "--store-max", "3M")
    assert edge.status == 1
    (line,) = [x for x in edge.err.splitlines() if x.startswith("kerf: error: ")]
    assert "--store-max 3.00 MB" in line and "give it more" in line
    exact.check_store(store)


def test_gc__beside_a_running_edge__takes_all_but_what_it_runs(
    cloud_of, edge_of, store, run, spawn, tmp_path
):
    clouds = [cloud_of(f"models{n}", bias=n, seed=n, **MODEL) for n in range(3)]
    for cloud in clouds:
        received(edge_of(cloud))
    edge = spawn(
        "edge", "--json", "--engine", "fake", "--cloud_port", clouds[1].port, "--store", store,
        "--rate", 50, "--repeat", 0, "--input", *exact.inputs(tmp_path / "in", 2),
    )  # fmt: skip
    edge.wait_event("result")
    assert sorted(states(run, store).values()) == ["in use", "kept", "kept"]
    status, events = look(run, store, "gc", "--store-max", "1K")
    assert status == 1  # what runs is more than that
    assert events[-1]["bundles"] == 2 and events[-1]["bytes"] > 6e6
    assert list(states(run, store).values()) == ["in use"]
    edge.wait_event("result")
    assert edge.term() == 0
    assert received(edge_of(clouds[1])) == []
    exact.check_store(store, exact.files(bias=1, seed=1, **MODEL))
    assert look(run, store, "gc", "--store-max", "1K")[0] == 0
    assert exact.kept(store) == []


@pytest.fixture
def busy_edge(spawn, store, tmp_path, kerf_asan):
    """busy_edge(cloud, args...) -> an edge that asks all the time, and does so by now."""

    def go(cloud, *more):
        edge = spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--store", store,
            "--rate", 50, "--repeat", 0, *more, "--input", *exact.inputs(tmp_path / "in", 2),
            binary=kerf_asan,
        )  # fmt: skip
        edge.bundle = edge.wait_event("model")["bundle"]
        edge.wait_event("result")
        return edge

    return go


def test_running__received_in_this_run__stays_also_beside_another_that_comes(
    cloud_of, busy_edge, store, run, tmp_path
):
    cloud, made = cloud_of(bias=1, **MODEL), exact.files(bias=1, **MODEL)
    edge = busy_edge(cloud, "--store-max", "5M")
    bundle = edge.bundle
    assert states(run, store) == {bundle: "in use"}
    # A second model, only kept: there is no room for both.
    other = exact.put(tmp_path / "models", name="z", bias=2, **{**MODEL, "seed": 2})
    for name in other:
        os.utime(tmp_path / "models" / name, (978307200, 978307200))
    cloud.wait_event("model", ok=True, name="z")
    assert "--store-max" in edge.wait_event("model", ok=False, name="z")["why"]
    status, _ = look(run, store, "gc", "--store-max", "1K")
    assert status == 1 and states(run, store)[bundle] == "in use"
    exact.check_store(store, made)
    assert edge.term() == 0
    exact.check_results(edge, None, biases=(1.0,))


def test_running__replaced_while_it_runs__new_and_old_stay_as_long_as_they_run(
    cloud_of, busy_edge, store, run, tmp_path
):
    """Two edges share the store: one follows its cloud, the other keeps to the old one."""
    clouds = [cloud_of(f"models{n}", bias=1, **MODEL) for n in range(2)]
    edges = [busy_edge(cloud, "--store-max", "12M") for cloud in clouds]
    old = edges[0].bundle
    for bias in (2, 3):
        made = exact.put(tmp_path / "models0", bias=bias, head_bytes=3 << 20, seed=bias)
        new = edges[0].wait_event("model", ok=True)["bundle"]
        look(run, store, "gc", "--store-max", "1K")
        assert states(run, store) == {old: "in use", new: "in use"}
        exact.check_store(store, made)
    assert edges[1].term() == 0
    look(run, store, "gc", "--store-max", "1K")
    assert states(run, store) == {new: "in use"}
    assert edges[0].term() == 0
    for edge in edges:
        exact.check_results(edge, None, biases=(1.0, 2.0, 3.0))


def test_latest__another_one_was_kept_since__what_ran_goes_on_without_a_cloud(
    start_cloud, busy_edge, store, tmp_path
):
    models = tmp_path / "models"
    exact.put(models, bias=1)
    words = ("--engine", "fake", "--models", models, "--share-tail")
    cloud = start_cloud(*words)
    edge = busy_edge(cloud, "--offline", "local")
    ran = edge.bundle
    for name in exact.put(models, name="z", bias=2):
        os.utime(models / name, (978307200, 978307200))
    until(lambda: len(list(store.glob("bundles/*.json"))) == 2)
    assert edge.term() == 0
    assert cloud.term() == 0
    edge = busy_edge(cloud, "--offline", "local")
    assert edge.bundle == ran
    assert edge.term() == 0
    exact.check_results(edge, None, biases=(1.0,))


def test_start__more_than_the_bound__the_least_lately_used_go(cloud_of, edge_of, store, run):
    clouds = [cloud_of(f"models{n}", bias=n, seed=n, **MODEL) for n in range(3)]
    for cloud in clouds:
        received(edge_of(cloud))
    last = list(states(run, store))[0]
    (store / "partial" / ("0" * 64 + ".3")).write_bytes(b"of a process that was killed")
    assert received(edge_of(clouds[2], "--store-max", "4M")) == []
    assert list(states(run, store)) == [last]
    assert not list((store / "partial").iterdir())


def test_verify__flipped_bit__found_and_only_its_unit_comes_again(cloud_of, edge_of, store, run):
    cloud, made = cloud_of(**MODEL), exact.files(**MODEL)
    received(edge_of(cloud))
    assert look(run, store, "verify")[0] == 0
    part = exact.part(store, made["client_infer_m.pdiparams"])
    data = bytearray(part.read_bytes())
    data[1_000_000] ^= 1
    part.write_bytes(data)
    status, events = look(run, store, "verify")
    assert status == 1
    assert [e["file"] for e in events if e["event"] == "finding"][0] == f"parts/{part.name}"
    assert not part.exists() and list(states(run, store).values()) == ["damaged"]
    edge = edge_of(cloud)
    (event,) = [e for e in edge.events() if e["event"] == "received"]
    assert event["wire_bytes"] < 1 << 20  # of 3 MB
    assert look(run, store, "verify")[0] == 0
    exact.check_store(store, made)


def test_hostile_bundles__nothing_of_them_is_believed(cloud_of, edge_of, store, run, kerf_asan):
    """Manifests that were altered, cut, are huge, or no files at all; links out."""
    cloud, made = cloud_of(**MODEL), exact.files(**MODEL)
    received(edge_of(cloud))
    (bundle,) = store.glob("bundles/*.json")
    right = bundle.read_bytes()
    outside = store.parent / "outside"
    outside.write_bytes(b"do not touch")

    def other(change):
        manifest = json.loads(right)
        change(manifest["files"][0])
        bundle.write_text(json.dumps(manifest))

    harms = [
        lambda: bundle.write_bytes(right[: len(right) // 2]),
        lambda: bundle.write_bytes(b"[" * 100_000),
        lambda: os.truncate(bundle, 1 << 40),
        lambda: bundle.write_bytes(b""),
        lambda: other(lambda f: f.update(name="../../outside")),
        lambda: other(lambda f: f.update(sha256="0" * 64)),
        lambda: other(lambda f: f.update(units="AAAA")),
        lambda: (bundle.unlink(), bundle.symlink_to(outside)),
        lambda: (bundle.unlink(), os.mkfifo(bundle)),
        lambda: (bundle.unlink(), bundle.mkdir()),
    ]
    for harm in harms:
        harm()
        status, _ = look(run, store, "list")
        assert status == 0
        edge = edge_of(cloud, binary=kerf_asan)
        assert edge.status == 0, edge.report()
        exact.check_results(edge, 2)
        exact.check_store(store, made)
    assert outside.read_bytes() == b"do not touch"


def test_folders_that_are_links__refused_in_one_line(cloud_of, edge_of, store, tmp_path):
    cloud = cloud_of(**MODEL)
    (tmp_path / "outside").mkdir()
    for name in ("parts", "partial", "bundles"):
        store.mkdir()
        (store / name).symlink_to(tmp_path / "outside")
        edge = edge_of(cloud)
        assert edge.status == 1
        assert len(edge.err.splitlines()) == 1 and f"{store}/{name}" in edge.err
        shutil.rmtree(store)
    assert not list((tmp_path / "outside").iterdir())


def test_odd_names__are_left_alone(cloud_of, edge_of, store, run):
    """Of other people, of another case, with escapes: not Kerf's."""
    cloud, made = cloud_of(**MODEL), exact.files(**MODEL)
    received(edge_of(cloud))
    part = exact.part(store, made["client_infer_m.pdiparams"])
    odd = [part.name.upper(), part.name + "x", "\x1b[2J", "a\nb", "..."]
    for name in odd:
        (store / "parts" / name).write_bytes(b"x")
    assert look(run, store, "gc")[0] == 0
    done = run("store", "verify", "--store", store)
    assert done.status == 1 and "\x1b" not in done.out
    assert len(done.out.splitlines()) == len(odd)  # a name with a dot is not looked at
    for name in odd:
        (store / "parts" / name).unlink()
    assert received(edge_of(cloud)) == []


def test_store__is_none__said(run, tmp_path):
    done = run("store", "list", "--store", tmp_path / "none")
    assert done.status == 1 and len(done.err.splitlines()) == 1
    (tmp_path / "empty").mkdir()
    done = run("store", "verify", "--store", tmp_path / "empty")
    assert done.status == 1 and "no store of models" in done.err
    assert not list((tmp_path / "empty").iterdir())
    assert run("store", "lists").status == 2
    assert run("store", "list", "--store-max", "1G").status == 2
    assert run("store", "gc", "--store-max", "much").status == 2


@pytest.mark.parametrize("sig", [signal.SIGKILL, signal.SIGTERM])
def test_gc__killed_or_not__never_harms(sig, cloud_of, edge_of, store, run, spawn):
    """Two that collect, while another edge fetches."""
    cloud = cloud_of(**MODEL)
    for n in range(3):
        procs = [spawn("store", "gc", "--store-max", "1K", "--store", store) for _ in range(2)]
        edge = edge_of(cloud)
        assert edge.status == 0, edge.report()
        exact.check_results(edge, 2)
        procs += [spawn("store", "gc", "--store-max", "1K", "--store", store)]
        time.sleep(0.002 * n)
        procs[-1].signal(sig)
        for proc in procs:
            proc.wait()
        exact.check_store(store)
