"""What once went wrong between an edge and a cloud, each with the smallest run
that shows it: models replaced under load, stopping at a bad moment, peers that
never answer, answers without a byte, thousands of notes for a slow reader."""

import os
import shutil
import signal
import subprocess
import sys
import time

import exact
import pytest
import wire
from nets import H, X, model, put_pair, save_tensors, some_tensors, value

STOPPED = "stopped before the cloud answered"
UNKNOWN = "does not serve"


@pytest.fixture
def cloud_of(start_cloud, kerf_asan, tmp_path):
    """cloud_of(args..., models=, binary=, port=) -> a cloud."""

    def start(*args, models="models", **more):
        more.setdefault("binary", kerf_asan)
        (tmp_path / models).mkdir(exist_ok=True)
        return start_cloud("--engine", "fake", "--models", tmp_path / models, *args, **more)

    return start


@pytest.fixture
def edge_of(spawn, kerf_asan, tmp_path):
    """edge_of(port, args..., inputs=, binary=) -> an edge that runs once over
    its inputs."""

    def start(port, *args, inputs, **more):
        more.setdefault("binary", kerf_asan)
        return spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", port, "--once",
            "--store", tmp_path / "store", *args, "--input", *inputs, **more,
        )  # fmt: skip

    return start


def slow(ms):
    return {"cost_us": ms * 1000, "cost": "sleep"}


def put_at_once(folder, pairs, age=None):
    """The pairs' files, made elsewhere and renamed into the folder with nothing
    in between, so that one look at it finds all; age: seconds, of their times."""
    made = folder.with_name("made")
    for pair in pairs:
        exact.put(made, **pair)
    for file in made.iterdir():
        if age is not None:
            then = time.time() - age
            os.utime(file, (then, then))
    folder.mkdir(exist_ok=True)
    for file in sorted(made.iterdir()):
        os.replace(file, folder / file.name)


# ---- models replaced ---------------------------------------------------------


def test_model_replaced_while_the_head_runs__no_request_is_lost(
    each_kerf, cloud_of, edge_of, tmp_path
):
    """The switch waited for what was with the cloud, not for the head."""
    exact.put(tmp_path / "models", head=slow(40))
    cloud = cloud_of(binary=each_kerf)
    files = exact.inputs(tmp_path / "in", 60)
    edge = edge_of(cloud.port, "--window", 1, inputs=files, binary=each_kerf)
    for bias in (1, 2, 3):
        edge.wait_event("model", ok=True)
        edge.wait_event("result")
        put_at_once(tmp_path / "models", [{"bias": bias, "seed": bias, "head": slow(40)}])
    assert edge.wait(60) == 0, edge.report()
    exact.check_results(edge, 60, biases=(0, 1, 2, 3))
    (found,) = [e for e in edge.events() if e["event"] == "summary"]
    assert (found["asked"], found["answered"]) == (60, 60)


def test_another_model_replaced_too__no_request_is_refused(cloud_of, edge_of, tmp_path):
    """The edge reported a bundle that it only kept, and the cloud let go of the
    one that ran. The new b is large, so that it comes well after the new a."""
    put_at_once(tmp_path / "models", [{"name": "a", "bias": 1}, {"name": "b", "bias": 2}])
    cloud = cloud_of()
    edge = edge_of(
        cloud.port, "--model", "b", "--rate", 200, "--repeat", 0,
        inputs=exact.inputs(tmp_path / "in", 50),
    )  # fmt: skip
    edge.wait_event("result")
    put_at_once(
        tmp_path / "models",
        [
            {"name": "a", "bias": 3, "seed": 3},
            {"name": "b", "bias": 4, "seed": 4, "head_bytes": 48 << 20},
        ],
    )
    edge.wait_event("model", name="b", ok=True, timeout=150)
    for _ in range(20):
        edge.wait_event("result")
    assert edge.term() == 0, edge.report()
    failed = [e for e in edge.events() if e["event"] == "error"]
    assert all(STOPPED in e["why"] for e in failed), failed
    exact.check_results(edge, None, biases=(2, 4))
    models = [e for e in edge.events() if e["event"] == "model"]
    assert [(e["name"], e["ok"]) for e in models] == [("b", True), ("b", True)]


def test_replaced_by_an_older_file__the_edge_is_told_what_to_run(cloud_of, edge_of, tmp_path):
    """The newest pair runs. When that one is replaced by older files, another
    one is the newest now."""
    put_at_once(tmp_path / "models", [{"name": "b", "bias": 2}], age=1000)
    put_at_once(tmp_path / "models", [{"name": "a", "bias": 1}], age=500)
    cloud = cloud_of()
    edge = edge_of(cloud.port, "--repeat", 0, "--rate", 50, inputs=exact.inputs(tmp_path / "in", 5))
    assert edge.wait_event("model", ok=True)["name"] == "a"
    put_at_once(tmp_path / "models", [{"name": "a", "bias": 3, "seed": 3}], age=2000)
    assert edge.wait_event("model", ok=True)["name"] == "b"
    assert edge.term() == 0


def test_cloud_with_another_model__what_was_asked_is_run_by_the_new_head(
    cloud_of, edge_of, tmp_path
):
    """The new head is large: what is asked before it runs is refused."""
    exact.put(tmp_path / "models", bias=1, tail=slow(50))
    exact.put(tmp_path / "others", bias=2, seed=2, head_bytes=48 << 20)
    window, count = 4, 200
    cloud = cloud_of("--workers", 1)
    edge = edge_of(
        cloud.port, "--window", window, "--rate", 100, inputs=exact.inputs(tmp_path / "in", count)
    )
    edge.wait_event("result")
    cloud.kill()
    cloud = cloud_of(models="others", port=cloud.port)
    assert edge.wait(60) == 0, edge.report()
    exact.check_results(edge, count, biases=(1, 2))


def test_cloud_with_another_model__refusal_is_enoent(cloud_of, tmp_path):
    exact.put(tmp_path / "models")
    cloud = cloud_of()
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        edge.request(bytes(32), exact.h_of(1), id=1)
        err, _, words = edge.tensors.recv_kind(wire.FAILED).notice()
        assert err == wire.ENOENT and UNKNOWN in words
        edge.request(bundle, exact.h_of(2), id=2)
        assert edge.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(2)


def test_more_offers_than_are_kept__the_one_to_run_comes_first(edge_of, tmp_path):
    def pair(name):
        made = exact.files(name)
        files = [(role, file, made[file]) for role, file in enumerate(made, 1)]
        return (*wire.manifest(name, files), files)

    offers = [pair(f"m{n:02}") for n in range(70)]
    ident, body, files = pair("run")
    with wire.Cloud() as cloud:
        edge = edge_of(cloud.port, inputs=exact.inputs(tmp_path / "in", 1))
        control = cloud.greet(heartbeat_ms=60_000)
        tensors = cloud.attach()
        for other, manifest, _ in offers:
            wire.send_offer(control, other, manifest, run=0)
        wire.send_offer(control, ident, body)
        # The first was begun before the one to run came; that comes next.
        parts = {offers[0][0]: offers[0][2], ident: files}
        while (got := control.recv_kind(wire.FETCH, wire.READY)).kind == wire.FETCH:
            bundle, part = got.meta[:32], int.from_bytes(got.meta[32:34], "little")
            assert bundle in parts
            data = parts[bundle][part][2]
            control.send(wire.PART, wire.part(bundle, part, 0, len(data)), [data])
        assert got.meta[:34] == ident + b"\0\0"
        asked = tensors.recv_kind(wire.TENSOR)
        meta = wire.tensors(ident, [(wire.F32, 0, (1, exact.Y), 40)])
        tensors.send(wire.RESULT, meta, [wire.floats(exact.y_of(0))], id=asked.id)
        edge.wait_event("result")
        control.close()
        tensors.close()
    assert edge.wait() == 0


# ---- stopping ----------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_stop_without_a_cloud_while_the_head_runs__ends(how, cloud_of, edge_of, tmp_path):
    """What the head still had when the others were given up ends too."""
    exact.put(tmp_path / "models", head=slow(300))
    cloud = cloud_of()
    edge = edge_of(cloud.port, inputs=exact.inputs(tmp_path / "in", 20))
    edge.wait_event("result")  # the head runs on the next one from now on
    cloud.kill()
    edge.wait_event("state", connected=False)
    edge.signal(how)
    assert edge.wait() == 1, edge.report()
    failed = [e for e in edge.events() if e["event"] == "error"]
    assert failed and all(e["why"] == STOPPED for e in failed)
    found = [e for e in edge.events() if e["event"] == "summary"][0]
    assert found["asked"] == found["answered"] + found["failed"]
    assert found["failed"] == len(failed)


RESOLVER = r"""
#include <netdb.h>
#include <unistd.h>
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    (void)name, (void)service, (void)hints, (void)out;
    if (write(2, "resolving\n", 10) == 10)
        sleep(3);
    return EAI_AGAIN;
}
"""


def test_stop_while_a_name_is_resolved__ends_as_ever(each_kerf, edge_of, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "slow.c").write_text(RESOLVER)
    build = [compiler, "-shared", "-fPIC", "-o", "slow.so", "slow.c"]
    subprocess.run(build, check=True, cwd=tmp_path)
    asan = "exitcode=99:verify_asan_link_order=0"
    edge = edge_of(
        9, "--cloud_host", "cloud.invalid", inputs=exact.inputs(tmp_path / "in", 1),
        binary=each_kerf, env={"LD_PRELOAD": tmp_path / "slow.so", "ASAN_OPTIONS": asan},
    )  # fmt: skip
    edge.wait_err("resolving")
    assert edge.term() == 0, edge.report()


def ask_slow_tail(cloud, count):
    """A peer whose first request the tail has begun, or is about to."""
    edge = wire.Edge(cloud.port)
    bundle, _ = edge.offered()
    for n in range(count):
        edge.request(bundle, exact.h_of(n), id=n + 1)
    edge.tensors.send(wire.PING)
    edge.tensors.recv_kind(wire.PONG)  # so all of them were read
    return edge


def test_second_ctrl_c__ends_a_cloud_that_answers_what_it_has(cloud_of, tmp_path):
    exact.put(tmp_path / "models", tail=slow(1000))
    cloud = cloud_of("--workers", 1)
    with ask_slow_tail(cloud, 60):
        cloud.signal(signal.SIGINT)
        time.sleep(0.2)  # two at once may be one
        cloud.signal(signal.SIGINT)
        assert cloud.wait() == 1


@pytest.mark.slow
def test_second_ctrl_c__ends_a_cloud_that_waits_for_its_tail(cloud_of, tmp_path):
    """The time to drain, 5 s, is over in the midst of the second run."""
    exact.put(tmp_path / "models", tail=slow(4000))
    cloud = cloud_of("--workers", 1)
    with ask_slow_tail(cloud, 2):
        cloud.signal(signal.SIGINT)
        cloud.wait_err("drain_timeout")
        while cloud.alive():
            cloud.signal(signal.SIGINT)
            time.sleep(0.05)
        assert cloud.wait() in (1, -signal.SIGINT), "it ran to its end"


@pytest.mark.slow
def test_stopped_cloud__what_waits_may_be_asked_again(cloud_of, tmp_path):
    """The time to drain is over while requests wait for the tail: not one of
    them has failed, since the cloud that comes next may answer them."""
    exact.put(tmp_path / "models", tail=slow(3000))
    cloud = cloud_of("--workers", 1, "--dead-after", 30)  # this edge does not ping
    with ask_slow_tail(cloud, 4) as edge:
        cloud.signal(signal.SIGTERM)
        answers = [edge.tensors.recv_kind(wire.RESULT, wire.BUSY, wire.FAILED) for _ in range(4)]
        assert sorted(a.id for a in answers) == [1, 2, 3, 4]
        assert {a.kind for a in answers} == {wire.RESULT, wire.BUSY}
        assert cloud.wait() == 0


# ---- peers that never answer ---------------------------------------------------


@pytest.mark.slow
def test_cloud_that_never_answers__is_left_and_dialled_again(edge_of, tmp_path):
    """One that takes the connection only, and one that greets, answers pings,
    and does not attach."""
    files = exact.inputs(tmp_path / "in", 1)
    with wire.Cloud() as mute, wire.Cloud() as half:
        edges = [edge_of(cloud.port, inputs=files) for cloud in (mute, half)]
        silent = mute.accept()
        control, tensors = half.greet(), half.accept()
        with pytest.raises(wire.Closed):
            while True:
                ping = control.recv_kind(wire.PING)
                control.send(wire.PONG, wire.pong(ping.sent_ns, time.monotonic_ns()))
        for edge in edges:
            text = edge.wait_event("state")["text"]
            assert "does not answer" in text and "trying again" in text
        for cloud, old in ((mute, [silent]), (half, [control, tensors])):
            with cloud.accept() as again:
                assert again.recv_kind(wire.HELLO)
            for peer in old:
                peer.close()
        for edge in edges:
            assert edge.term() == 0


def test_heartbeat_of_1_ms__edges_connect_all_the_same(cloud_of, edge_of, tmp_path):
    """Less than the wire allows."""
    exact.put(tmp_path / "models")
    cloud = cloud_of("--heartbeat", 1)
    edge = edge_of(cloud.port, inputs=exact.inputs(tmp_path / "in", 5))
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 5)
    with wire.Edge(cloud.port) as peer:
        assert peer.heartbeat_ms >= 100


# ---- answers and notes -----------------------------------------------------------


def test_answer_without_a_byte__is_an_answer(each_kerf, cloud_of, edge_of, tmp_path):
    """Rows that depend on the data, none of them: as detectors have it."""
    y = value("y", (-1, 6), rows=True)
    put_pair(tmp_path / "models", "small", model([X], [H]), model([H], [y]))
    cloud = cloud_of(binary=each_kerf)
    tensors = some_tensors(1, 4)
    for n, tensor in enumerate(tensors):
        tensor[...] = 0
        tensor.flat[:n] = 1
    folder = save_tensors(tmp_path / "in", tensors)
    edge = edge_of(cloud.port, inputs=[folder], binary=each_kerf)
    assert edge.wait() == 0, edge.report()
    results = {e["index"]: e for e in edge.events() if e["event"] == "result"}
    assert {n: e["outputs"][0]["shape"] for n, e in results.items()} == {
        n: [n, 6] for n in range(4)
    }
    assert [e["connected"] for e in edge.events() if e["event"] == "state"].count(True) == 1


# Runs what follows, and reads what it prints after a pause only.
LATE_READER = """
import subprocess, sys, time
program = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)
time.sleep(3)
for line in program.stdout:
    sys.stdout.buffer.write(line)
sys.stdout.flush()
sys.exit(program.wait())
"""


@pytest.mark.slow
def test_thousands_skipped__a_slow_reader_sees_each(each_kerf, cloud_of, edge_of, tmp_path):
    exact.put(tmp_path / "models")
    cloud = cloud_of()
    folder = tmp_path / "in"
    exact.inputs(folder, 20)
    for n in range(20, 6020):
        (folder / f"{n:06}.npy").write_bytes(b"none")
    edge = edge_of(
        cloud.port, inputs=[folder], binary=each_kerf, prefix=[sys.executable, "-c", LATE_READER]
    )
    assert edge.wait(90) == 1
    events = edge.events()
    assert sorted(e["index"] for e in events if e["event"] == "result") == list(range(20))
    skipped = [e["index"] for e in events if e["event"] == "skipped"]
    assert sorted(skipped) == list(range(20, 6020))
    (found,) = [e for e in events if e["event"] == "summary"]
    assert (found["asked"], found["answered"], found["skipped"]) == (6020, 20, 6000)
