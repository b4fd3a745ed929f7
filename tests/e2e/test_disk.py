"""The edge's store on a disk that is full, or that must not be written: one
line that says so, status 1, nothing half-made left, and it works once there is
room. And models that are half there, damaged or changed on the cloud's side."""

import base64
import json
import os
import resource
import shutil
import struct
import subprocess
import time

import exact
import pytest
import wire


@pytest.fixture
def edge_of(run, tmp_path):
    """edge_of(cloud, args...) -> ended edge that asked 3 inputs."""
    files = exact.inputs(tmp_path / "in", 3)

    def go(cloud, *more, prefix=(), binary=None, store=None):
        return run(
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once",
            "--store", store or tmp_path / "store", *more, "--input", *files,
            prefix=prefix, binary=binary,
        )  # fmt: skip

    return go


def one_error(edge):
    assert edge.status == 1, edge.report()
    lines = [line for line in edge.err.splitlines() if line.startswith("kerf: error: ")]
    assert len(lines) == 1, edge.report()
    return lines[0]


@pytest.fixture
def cloud(start_cloud, tmp_path, kerf_asan):
    exact.put(tmp_path / "models", head_bytes=3 << 20)
    return start_cloud("--engine", "fake", "--models", tmp_path / "models", binary=kerf_asan)


# ---- the store ---------------------------------------------------------------


def test_store__file_size_limit__one_line_nothing_left_then_works(
    cloud, edge_of, kerf_asan, tmp_path
):
    edge = edge_of(cloud, prefix=["prlimit", "--fsize=1000000"], binary=kerf_asan)
    line = one_error(edge)
    assert "client_infer_m.pdiparams" in line and "free some space" in line
    assert exact.kept(tmp_path / "store") == []
    edge = edge_of(cloud, binary=kerf_asan)
    assert edge.status == 0
    exact.check_results(edge, 3)
    exact.check_store(tmp_path / "store", exact.files(head_bytes=3 << 20))


def test_update__no_room_for_a_moment__is_tried_again_by_itself(
    start_cloud, spawn, kerf_asan, tmp_path
):
    """The old one goes on, and nothing is remembered against the new one."""
    models = tmp_path / "models"
    exact.put(models, bias=1, head_bytes=1 << 20)
    cloud = start_cloud("--engine", "fake", "--models", models)
    edge = spawn(
        "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--rate", 50,
        "--repeat", 0, "--store", tmp_path / "store", "--input", *exact.inputs(tmp_path / "in", 2),
        binary=kerf_asan,
    )  # fmt: skip
    first = edge.wait_event("model")["bundle"]
    resource.prlimit(edge.pid, resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
    exact.put(models, bias=2, head_bytes=1 << 20, seed=2)
    failed = edge.wait_event("model", ok=False)
    assert "free some space" in failed["why"]
    edge.wait_event("result")
    resource.prlimit(edge.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert edge.wait_event("model", ok=True)["bundle"] != first
    edge.wait_event("result")
    assert edge.term() == 0
    exact.check_results(edge, None, biases=(1.0, 2.0))
    assert not [e for e in edge.events() if e["event"] == "error"]


@pytest.fixture
def small_disk(disk_of):
    return disk_of("2m")


def test_store__full_disk__one_line_nothing_left_then_works(cloud, edge_of, kerf_asan, small_disk):
    store = small_disk / "store"
    line = one_error(edge_of(cloud, binary=kerf_asan, store=store))
    assert "no room for client_infer_m.pdiparams" in line and "free some space" in line
    assert exact.kept(store) == []
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    edge = edge_of(cloud, binary=kerf_asan, store=store)
    assert edge.status == 0, edge.report()
    exact.check_results(edge, 3)
    exact.check_store(store, exact.files(head_bytes=3 << 20))


def test_store__read_only__one_line(cloud, edge_of, kerf_asan, small_disk):
    store = small_disk / "store"
    store.mkdir()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    line = one_error(edge_of(cloud, binary=kerf_asan, store=store))
    assert str(store) in line and "ead-only" in line
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("what", ["file", "below_a_file"])
def test_store__not_a_folder__one_line(cloud, edge_of, kerf_asan, tmp_path, what):
    (tmp_path / "plain").write_text("here first")
    store = tmp_path / "plain" / ("" if what == "file" else "store")
    line = one_error(edge_of(cloud, binary=kerf_asan, store=str(store).rstrip("/")))
    assert "plain" in line
    assert (tmp_path / "plain").read_text() == "here first"


def test_store__damaged_files__are_fetched_again(cloud, edge_of, kerf_asan, tmp_path):
    """Bits flipped, cut short, a folder or a link in a file's place."""
    store, made = tmp_path / "store", exact.files(head_bytes=3 << 20)
    head = exact.part(store, made["client_infer_m.pdiparams"])
    assert edge_of(cloud, binary=kerf_asan).status == 0
    outside = tmp_path / "outside"
    outside.write_bytes(b"do not touch")

    def flip():
        data = bytearray(head.read_bytes())
        data[1_000_000] ^= 4
        head.write_bytes(data)

    def link():
        head.unlink()
        head.symlink_to(outside)

    def folder():
        head.unlink()
        head.mkdir()
        (head / "precious").write_bytes(b"do not lose")

    def shown():  # the link that people see
        (store / "client_infer_m.pdiparams").unlink()
        (store / "client_infer_m.pdiparams").symlink_to(outside)

    cut = lambda: os.truncate(head, 17)  # noqa: E731
    for harm in (flip, cut, lambda: head.write_bytes(b""), link, folder, shown):
        harm()
        (store / f".kerf-{os.getpid()}-7.tmp").write_bytes(b"of a dead process")
        edge = edge_of(cloud, binary=kerf_asan)
        assert edge.status == 0, edge.report()
        exact.check_results(edge, 3)
        exact.check_store(store, made)
    assert outside.read_bytes() == b"do not touch"
    assert (store / "aside" / f"{head.name}.0" / "precious").read_bytes() == b"do not lose"


# ---- the folder of models ------------------------------------------------------


def test_models__half_a_pair__starts_once_whole(start_cloud, edge_of, kerf_asan, tmp_path):
    models = tmp_path / "models"
    models.mkdir()
    made = exact.files()
    names = list(made)
    (models / names[0]).write_bytes(made[names[0]])
    cloud = start_cloud("--engine", "fake", "--models", models, binary=kerf_asan)
    for name in names[1:]:
        waiting = cloud.events()[-1] if name != names[1] else None
        assert waiting is None or not waiting["ok"]
        (models / name).write_bytes(made[name])
        event = cloud.wait_event("model", name="m")
        if name != names[-1]:
            assert not event["ok"] and event["why"]
    assert event["ok"], cloud.report()
    edge = edge_of(cloud, binary=kerf_asan)
    exact.check_results(edge, 3)


HARMS = {
    "cut": lambda d: d[: len(d) // 2],
    "cut_1": lambda d: d[:-1],
    "empty": lambda d: b"",
    "zeros": lambda d: bytes(len(d)),
    "flip_first": lambda d: bytes([d[0] ^ 255]) + d[1:],
    "longer": lambda d: d + b"x" * 100,
    "text": lambda d: b"not a model at all\n" * 20,
}


def harmed(digits, models, part, harm):
    models.mkdir()
    for path in digits.glob("*_infer_*"):
        shutil.copy(path, models)
    shutil.copy(digits / "digits.kerf.json", models)
    for ext in ("pdmodel", "pdiparams"):
        for end in ("client", "server"):
            shutil.copy(digits / f"{end}_infer_digits.{ext}", models / f"{end}_infer_bad.{ext}")
    shutil.copy(digits / "digits.kerf.json", models / "bad.kerf.json")
    bad = models / part.replace("digits", "bad")
    bad.write_bytes(HARMS[harm](bad.read_bytes()))


PARTS = [
    f"{end}_infer_digits.{ext}" for end in ("client", "server") for ext in ("pdmodel", "pdiparams")
]


@pytest.mark.parametrize("part", PARTS)
def test_models__damaged__refused_with_one_line_others_are_served(
    start_cloud, run, digits, part, tmp_path
):
    """The released binary with OpenVINO; each kind of damage in turn, the same
    cloud: what is good goes on being served."""
    models = tmp_path / "models"
    harmed(digits, models, part, "cut")
    cloud = start_cloud("--models", models, "--workers", 1)
    bad = models / part.replace("digits", "bad")
    good = (digits / part).read_bytes()
    assert {e["name"]: e["ok"] for e in cloud.events()[:-1]} == {"bad": False, "digits": True}
    for name, harm in HARMS.items():
        if name == "cut":
            continue  # that it was
        bad.write_bytes(harm(good))
        event = cloud.wait_event("model", name="bad")
        if event["ok"]:  # "longer": the engine reads what it needs
            assert name == "longer", (name, event)
        else:
            assert event["why"] and "\n" not in event["why"], name
    edge = run(
        "edge", "--json", "--once", "--cloud_port", cloud.port, "--store", tmp_path / "store",
        "--model", "digits", "--input", next((digits / "images").glob("*.png")),
    )  # fmt: skip
    assert edge.status == 0, edge.report()
    assert cloud.term() == 0


def test_models__flips_in_the_weights__are_caught_by_the_probes(start_cloud, digits, tmp_path):
    """The exponent of a weight changes: the model loads, and answers wrong."""
    models = tmp_path / "models"
    harmed(digits, models, "client_infer_digits.pdiparams", "cut_1")
    cloud = start_cloud("--models", models, "--workers", 1)
    assert {e["name"]: e["ok"] for e in cloud.events()[:-1]} == {"bad": False, "digits": True}
    good = (digits / "client_infer_digits.pdiparams").read_bytes()
    path = models / "client_infer_bad.pdiparams"
    for at in (len(good) // 2, len(good) // 3):
        data = bytearray(good)
        for k in range(at // 4 * 4, at // 4 * 4 + 64):
            data[k] ^= 0x40
        path.write_bytes(data)
        event = cloud.wait_event("model", name="bad")
        assert not event["ok"] and event["why"], event
    path.write_bytes(good)
    assert cloud.wait_event("model", name="bad")["ok"]
    assert cloud.term() == 0


def test_models__changed_all_the_time__edge_has_one_whole_version(
    start_cloud, spawn, kerf_asan, tmp_path
):
    """Written in place, without rename, while the cloud reads: an answer is one
    of the versions', never a mix."""
    models = tmp_path / "models"
    exact.put(models, head_bytes=200_000)
    cloud = start_cloud("--engine", "fake", "--models", models, binary=kerf_asan)
    files = exact.inputs(tmp_path / "in", 60)
    edge = spawn(
        "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once", "--rate", 40,
        "--store", tmp_path / "store", "--input", *files, binary=kerf_asan,
    )  # fmt: skip
    edge.wait_event("model")
    for version in range(1, 6):
        made = exact.files(bias=version, head_bytes=200_000, seed=version)
        for name, data in made.items():
            with open(models / name, "wb") as out:
                for at in range(0, len(data), 50_000):
                    out.write(data[at : at + 50_000])
                    out.flush()
                    time.sleep(0.005)
        time.sleep(0.1)
    assert edge.wait() == 0
    exact.check_results(edge, 60, biases=range(6))
    exact.check_store(tmp_path / "store")
    assert cloud.term() == 0


def test_models__odd_folder__serves_what_is_sound(start_cloud, edge_of, kerf_asan, tmp_path):
    """Odd names, links, folders, pipes and what cannot be read."""
    models, real = tmp_path / "models", tmp_path / "real"
    exact.put(models, name="m")
    exact.put(real, name="linked")
    for path in real.iterdir():
        (models / path.name).symlink_to(path)
    exact.put(models, name="A-b.c_1")
    exact.put(models, name="n" * 100)
    for name in ("a b", "é", ".hidden", "x;y", "q\n", "\x1b[2J", "n" * 200):
        (models / f"client_infer_{name}.pdmodel").write_bytes(exact.head_json())
        (models / f"server_infer_{name}.pdmodel").write_bytes(exact.tail_json())
    (models / "client_infer_.pdmodel").write_bytes(b"")
    (models / "client_infer_gone.pdmodel").symlink_to("nowhere")
    (models / "server_infer_dir.pdmodel").mkdir()
    (models / "client_infer_dir.pdmodel").mkdir()
    os.mkfifo(models / "client_infer_pipe.pdmodel")
    os.mkfifo(models / "server_infer_pipe.pdmodel")
    os.utime(models / "client_infer_m.pdmodel", (2e9, 2e9))  # the newest
    cloud = start_cloud("--engine", "fake", "--models", models, binary=kerf_asan)
    served = {e["name"] for e in cloud.events() if e["event"] == "model" and e["ok"]}
    assert served >= {"m", "linked", "A-b.c_1", "n" * 100}
    assert not {c for c in cloud.out + cloud.err if ord(c) < 32} - {"\n"}
    edge = edge_of(cloud, binary=kerf_asan)
    assert edge.status == 0, edge.report()
    exact.check_results(edge, 3)
    assert cloud.term() == 0


def test_models__two_hundred_pairs__the_newest_runs(start_cloud, edge_of, kerf_asan, tmp_path):
    models = tmp_path / "models"
    for n in range(200):
        exact.put(models, name=f"m{n:03}", bias=n)
    for path in models.glob("*_m123.*"):
        os.utime(path, (2e9, 2e9))
    cloud = start_cloud("--engine", "fake", "--models", models, "--workers", 1, binary=kerf_asan)
    edge = edge_of(cloud, binary=kerf_asan)
    assert edge.status == 0, edge.report()
    exact.check_results(edge, 3, biases=[123])
    edge = edge_of(cloud, "--model", "m007", binary=kerf_asan, store=tmp_path / "other")
    assert edge.status == 0, edge.report()
    exact.check_results(edge, 3, biases=[7])
    assert cloud.term() == 0


def test_models__three_hundred_pairs__the_limit_is_told(spawn, tmp_path):
    for n in range(300):
        exact.put(tmp_path / "models", name=f"m{n:03}")
    cloud = spawn("cloud", "--engine", "fake", "--models", tmp_path / "models", "--cloud_port", 0)
    assert cloud.wait() == 1
    assert "300 models, the limit is 256" in cloud.err
    assert len(cloud.err.splitlines()) == 1


def test_models__not_served__edge_waits_and_is_told_which(start_cloud, spawn, kerf_asan, tmp_path):
    exact.put(tmp_path / "models", name="other")
    cloud = start_cloud("--engine", "fake", "--models", tmp_path / "models", binary=kerf_asan)
    files = exact.inputs(tmp_path / "in", 2)
    edge = spawn(
        "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once", "--model", "m",
        "--store", tmp_path / "store", "--input", *files, binary=kerf_asan,
    )  # fmt: skip
    waiting = edge.wait_event("state", connected=True)
    while "waiting for m" not in waiting["text"]:
        waiting = edge.wait_event("state")
    exact.put(tmp_path / "models", name="m", bias=3)
    assert edge.wait() == 0
    exact.check_results(edge, 2, biases=[3])


def test_wire_ids__are_those_of_the_product(cloud):
    """wire.bundle_id() and the cloud agree on what a bundle is."""
    with wire.Edge(cloud.port) as edge:
        ident, manifest = edge.offered()
    made = exact.files(head_bytes=3 << 20)
    files = [(wire.ROLES.index(f["role"]), f["name"], made[f["name"]]) for f in manifest["files"]]
    assert wire.bundle_id(files) == ident == bytes.fromhex(manifest["id"])
    units = {f["name"]: f.pop("units", "") for f in manifest["files"]}
    assert json.loads(wire.manifest("m", files)[1])["files"] == manifest["files"]
    weights = made["client_infer_m.pdiparams"]
    table = base64.b64decode(units["client_infer_m.pdiparams"], validate=True)
    assert len(table) > 36
    for at in range(0, len(table), 36):
        size, digest = struct.unpack_from("<I32s", table, at)
        assert exact.sha256(weights[:size]).digest() == digest
        weights = weights[size:]
    assert weights == b""
