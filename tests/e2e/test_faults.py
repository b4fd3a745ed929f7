"""What goes wrong between honest peers: models replaced under way, overload, a
port in use; and one run of both sides under valgrind."""

import random
import shutil
import signal
import time

import exact
import pytest
import wire


def edge_args(port, store, files, *more):
    return (
        "edge", "--json", "--engine", "fake", "--cloud_port", port, "--once", "--store", store,
        *more, "--input", *files,
    )  # fmt: skip


# ---- different bundles -------------------------------------------------------


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_bundle_gone__each_request_ends_in_one_of_the_models_answers(
    kind, request, spawn, free_port, tmp_path
):
    """The cloud comes back with another model while requests are in flight."""
    binary = request.getfixturevalue("kerf_asan" if kind == "asan" else "kerf_tsan")
    port = free_port()
    slow = {"cost_us": 3000, "cost": "sleep"}
    for version in (1, 2, 3):
        exact.put(tmp_path / f"models{version}", bias=version, tail=slow, seed=version)

    def cloud(version):
        return spawn(
            "cloud", "--json", "--engine", "fake", "--cloud_port", port, "--workers", 1,
            "--models", tmp_path / f"models{version}", binary=binary,
        )  # fmt: skip

    files = exact.inputs(tmp_path / "in", 120)
    running = cloud(1)
    words = edge_args(port, tmp_path / "store", files, "--rate", 80, "--repeat", 0)
    edge = spawn(*words, binary=binary)
    for version in (2, 3, None):
        edge.wait_event("model", ok=True)
        for _ in range(16):
            edge.wait_event("result")
        if version is not None:
            running.kill()
            running = cloud(version)
    edge.signal(signal.SIGTERM)
    status = edge.wait()
    events = edge.events()
    failed = [e for e in events if e["event"] == "error"]
    results = [e for e in events if e["event"] == "result"]
    ends = sorted(e["index"] for e in results + failed)
    assert ends == list(range(len(ends))), edge.report()
    assert status == (1 if failed else 0)
    for event in failed:
        assert "bundle" in event["why"], event
    biases = set()
    for event in results:
        index = int(event["input"].rsplit("/", 1)[1].split(".")[0])
        values = event["outputs"][0]["values"]
        biases |= {b for b in (1, 2, 3) if values == exact.y_of(index, bias=b)}
        assert values in [exact.y_of(index, bias=b) for b in (1, 2, 3)]
    assert biases == {1, 2, 3}
    exact.check_store(tmp_path / "store", exact.files(bias=3, seed=3))
    assert running.term() == 0


def test_model_replaced_and_removed__under_load(start_cloud, spawn, kerf_tsan, tmp_path):
    """Without a restart: every answer is of the model whose head made it."""
    models = tmp_path / "models"
    exact.put(models, bias=0)
    cloud = start_cloud("--engine", "fake", "--models", models, binary=kerf_tsan)
    files = exact.inputs(tmp_path / "in", 150)
    words = ("--cloud-port", cloud.port, "--store", tmp_path / "store", "--rate", 100)
    edge = spawn(
        "edge", "--json", "--engine", "fake", *words, "--repeat", 0, "--input", *files,
        binary=kerf_tsan,
    )  # fmt: skip
    edge.wait_event("model", ok=True)
    for bias in (1, 2):
        time.sleep(0.3)
        exact.put(models, bias=bias, seed=bias)
        edge.wait_event("model", ok=True)
    exact.put(models, name="other", bias=9)
    edge.wait_event("model", ok=True)
    edge.wait_event("result")
    for path in models.glob("*_other.*"):
        path.unlink()
    edge.wait_event("model", ok=True)  # the one before
    edge.wait_event("result")
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0, edge.report()
    assert not [e for e in edge.events() if e["event"] == "error"], edge.report()
    exact.check_results(edge, None, biases=(0, 1, 2, 9))
    assert cloud.term() == 0


# ---- overload ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_overload__eight_edges_one_place__all_answered_once(
    kind, request, start_cloud, spawn, tmp_path
):
    binary = request.getfixturevalue("kerf_asan" if kind == "asan" else "kerf_tsan")
    exact.put(tmp_path / "models", tail={"cost_us": 2000, "cost": "sleep"})
    cloud = start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--queue", 1, "--workers", 1,
        binary=binary,
    )  # fmt: skip
    files = exact.inputs(tmp_path / "in", 20)
    edges = [
        spawn(*edge_args(cloud.port, tmp_path / f"store{n}", files, "--window", 4), binary=binary)
        for n in range(8)
    ]
    for edge in edges:
        assert edge.wait(90) == 0, edge.report()
        exact.check_results(edge, 20)
    assert cloud.term() == 0
    answered = [e for e in cloud.events() if e["event"] == "answer"]
    assert len(answered) == 8 * 20, "none was computed twice"


def test_overload__busy_says_when_to_come_back(start_cloud, kerf_asan, tmp_path):
    exact.put(tmp_path / "models", tail={"cost_us": 50_000, "cost": "sleep"})
    cloud = start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--queue", 1, "--workers", 1,
        binary=kerf_asan,
    )  # fmt: skip
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        for n in range(10):
            edge.request(bundle, exact.h_of(n), id=n)
        answers = [edge.tensors.recv_kind(wire.RESULT, wire.BUSY) for _ in range(10)]
        assert sorted(a.id for a in answers) == list(range(10))
        for answer in answers:
            if answer.kind == wire.RESULT:
                assert answer.floats() == exact.y_of(answer.id)
            else:
                err, retry_ms, words = answer.notice()
                assert err == wire.EBUSY and 1 <= retry_ms <= 5000 and words
        assert {a.kind for a in answers} == {wire.RESULT, wire.BUSY}
    assert cloud.term() == 0


# ---- deadlines ----------------------------------------------------------------


def test_deadline__cloud_killed_in_the_middle_of_a_result__request_still_ends(
    run, spawn, kerf_asan, tmp_path
):
    """Half a RESULT, then the cloud is gone for good."""
    made = exact.files()
    files = [(wire.ROLES.index(role), name, made[name]) for role, name in zip(
        wire.ROLES[1:], made, strict=True)]  # fmt: skip
    ident, body = wire.manifest("m", files)
    with wire.Cloud() as cloud:
        edge = spawn(
            *edge_args(cloud.port, tmp_path / "store", exact.inputs(tmp_path / "in", 1),
                       "--deadline", 700), binary=kerf_asan,
        )  # fmt: skip
        control = cloud.greet()
        tensors = cloud.attach()
        wire.send_offer(control, ident, body)
        wire.serve_fetches(control, files)
        asked = tensors.recv_kind(wire.TENSOR)
        values = wire.floats(exact.y_of(0))
        answer = wire.frame(
            wire.RESULT, wire.tensors(ident, [(0, 0, (1, 10), 40)]), [values], id=asked.id
        )
        tensors.raw(answer[:280])
        time.sleep(0.2)
        tensors.close()
        control.close()
    assert edge.wait() == 1, edge.report()
    assert [e["why"] for e in edge.events() if e["event"] == "error"]


# ---- the port ------------------------------------------------------------------


def test_port_in_use__one_line(start_cloud, run, kerf_asan, tmp_path):
    exact.put(tmp_path / "models")
    cloud = start_cloud("--engine", "fake", "--models", tmp_path / "models", binary=kerf_asan)
    second = run(
        "cloud", "--engine", "fake", "--models", tmp_path / "models", "--cloud_port", cloud.port,
        binary=kerf_asan,
    )  # fmt: skip
    assert second.status == 1
    (line,) = second.err.splitlines()
    assert f"port {cloud.port}" in line and "in use" in line and "--cloud_port" in line
    with wire.Edge(cloud.port) as edge:
        edge.offered()


def test_port__restart_after_kill_with_connections_open(start_cloud, kerf_asan, tmp_path):
    exact.put(tmp_path / "models")
    args = ("--engine", "fake", "--models", tmp_path / "models")
    cloud = start_cloud(*args, binary=kerf_asan)
    for how in ("kill", "term", "kill"):
        edges = [wire.Edge(cloud.port) for _ in range(5)]
        for edge in edges:
            edge.offered()
        getattr(cloud, how)()
        cloud = start_cloud(*args, port=cloud.port, binary=kerf_asan)
        with wire.Edge(cloud.port) as edge:
            edge.offered()
        for edge in edges:
            edge.close()


def test_no_such_host__says_so_and_goes_on(spawn, kerf_asan, tmp_path):
    edge = spawn(
        "edge", "--engine", "fake", "--cloud_host", "no-such-host.invalid", "--store",
        tmp_path / "store", "--input", *exact.inputs(tmp_path / "in", 1), binary=kerf_asan,
    )  # fmt: skip
    assert "no-such-host.invalid" in edge.wait_line("no such host").string
    assert edge.term() in (0, 1)


# ---- both at once, and plain output under the thread sanitizer ------------------


def test_edges_come_and_go__plain_lines__no_race(spawn, kerf_tsan, tmp_path):
    rng = random.Random(5)
    exact.put(tmp_path / "models")
    cloud = spawn(
        "cloud", "--engine", "fake", "--models", tmp_path / "models", "--cloud_port", 0,
        "--workers", 2, binary=kerf_tsan,
    )  # fmt: skip
    port = int(cloud.wait_line(r"Listening on 127.0.0.1:(\d+)")[1])
    with wire.Edge(port) as steady:
        bundle, _ = steady.offered()
        for index in range(60):
            steady.request(bundle, exact.h_of(index), id=index)
            if rng.random() < 0.3:
                with wire.Edge(port, name=f"e{index}") as other:
                    other.request(bundle, exact.h_of(1), id=1)
            assert steady.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(index)
    assert cloud.term() == 0


# ---- valgrind -------------------------------------------------------------------


@pytest.mark.slow
def test_valgrind__one_run_of_both__no_error_no_leak(spawn, kerf, tmp_path):
    if shutil.which("valgrind") is None:
        pytest.skip("valgrind is not installed")
    exact.put(tmp_path / "models", head_bytes=1 << 20)
    # glibc's loader reads over the end of a string, in whole words, on purpose.
    known = tmp_path / "known"
    known.write_text(
        "{\n  loader\n  Memcheck:Addr8\n  fun:strncmp\n  fun:is_dst\n"
        "  ...\n  fun:_dl_map_object\n}\n"
    )
    watch = [
        "valgrind", "--quiet", f"--suppressions={known}", "--error-exitcode=99",
        "--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite",
    ]  # fmt: skip
    cloud = spawn(
        "cloud", "--json", "--engine", "fake", "--models", tmp_path / "models", "--cloud_port", 0,
        "--heartbeat", 5000, "--workers", 1, binary=kerf, prefix=watch,
    )  # fmt: skip
    port = cloud.wait_event("listening", timeout=90)["port"]
    files = exact.inputs(tmp_path / "in", 10)
    edge = spawn(*edge_args(port, tmp_path / "store", files), binary=kerf, prefix=watch)
    assert edge.wait(90) == 0, edge.report()
    exact.check_results(edge, 10)
    with wire.dial(port) as stranger:
        stranger.raw(b"x" * 300)
        assert stranger.recv_error() is not None
    assert cloud.term(90) == 0, cloud.report()
