"""Several clouds: the edge goes on at the next one when one is lost, or stops, and
comes back to the first. Each request is answered exactly once."""

import contextlib
import signal
from pathlib import Path

import exact
import pytest
import wire
from test_copies import cc

FAKE = ("--engine", "fake")
DEAD = ("--dead-after", 1)


@pytest.fixture
def clouds_of(start_cloud, kerf_asan, tmp_path):
    """clouds_of(bias, bias) -> two clouds, each with a model of that bias."""

    def start(*biases, **more):
        clouds = []
        for n, bias in enumerate(biases):
            exact.put(tmp_path / f"models{n}", bias=bias, seed=bias + 1, **more)
            clouds.append(cloud_at(n))
        return clouds

    def cloud_at(n, port=0):
        return start_cloud(
            *FAKE, *DEAD, "--models", tmp_path / f"models{n}", port=port, binary=kerf_asan
        )

    start.again = cloud_at
    return start


@pytest.fixture
def edge_of(spawn, kerf_asan, tmp_path):
    def start(clouds, count, *more, rate=100, until=("--once",)):
        hosts = ",".join(f"127.0.0.1:{cloud.port}" for cloud in clouds)
        return spawn(
            "edge", "--json", *FAKE, "--cloud_host", hosts, *until, "--store", tmp_path / "store",
            "--rate", rate, *DEAD, *more, "--input", *exact.inputs(tmp_path / "in", count),
            binary=kerf_asan,
        )  # fmt: skip

    return start


def states(edge):
    return [e["text"] for e in edge.events() if e["event"] == "state"]


@pytest.mark.parametrize("how", ["kill", "stop", "term"])
def test_first_cloud_lost__the_second_takes_over__and_back(how, clouds_of, edge_of):
    first, second = clouds = clouds_of(0, 0, tail={"cost_us": 3000, "cost": "sleep"})
    edge = edge_of(clouds, 50, until=("--repeat", 0))
    edge.wait_event("result", index=5)
    if how == "kill":
        first.kill()
    elif how == "stop":
        first.signal(signal.SIGSTOP)
    else:
        assert first.term() == 0
    edge.wait_event("state", text=f"connected to 127.0.0.1:{second.port}")
    edge.wait_event("result")
    if how == "stop":
        first.signal(signal.SIGCONT)
    else:
        first = clouds_of.again(0, first.port)
    edge.wait_event("state", text=f"connected to 127.0.0.1:{first.port}")
    edge.wait_event("result")
    assert edge.term() == 0, edge.report()
    exact.check_results(edge, len([e for e in edge.events() if e["event"] == "result"]))
    assert [e for e in second.events() if e["event"] == "answer"]
    # Probes are not edges: the second session at the first cloud is the return.
    assert len([e for e in first.events() if e.get("joined")]) == (2 if how == "stop" else 1)


def test_cloud_stops__taken_requests_are_answered_by_it(clouds_of, edge_of):
    """SIGTERM while requests wait for a slow tail: it answers them, the edge goes
    on at the second at once, and nothing is computed twice."""
    first, second = clouds = clouds_of(0, 0, tail={"cost_us": 30000, "cost": "sleep"})
    edge = edge_of(clouds, 40, rate=0)
    edge.wait_event("result", index=5)
    assert first.term() == 0
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 40)
    counts = [len([e for e in c.events() if e["event"] == "answer"]) for c in (first, second)]
    assert sum(counts) == 40 and min(counts) > 0


def test_the_second_serves_another_version__the_edge_gets_it(clouds_of, edge_of):
    """What was in flight is run again by the new head."""
    first, second = clouds = clouds_of(1, 2, tail={"cost_us": 20000, "cost": "sleep"})
    edge = edge_of(clouds, 60, rate=200)
    edge.wait_event("result", index=3)
    first.kill()
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 60, biases=(1, 2))
    ends = [e["outputs"][0]["values"] for e in edge.events() if e["event"] == "result"]
    assert any(ends[-1] == exact.y_of(n, bias=2) for n in range(60))


def test_queued_for_one_cloud__waits_for_it_while_another_serves(clouds_of, edge_of):
    first, second = clouds = clouds_of(1, 2)
    edge = edge_of(clouds, 50, "--offline", "queue", until=("--repeat", 0))
    edge.wait_event("result", index=3)
    second.kill()  # before the edge could go there
    first.kill()
    for _ in range(6):
        edge.wait_event("queued")
    clouds_of.again(1, second.port)
    edge.wait_event("model", ok=True)
    edge.wait_event("result", via="cloud")
    clouds_of.again(0, first.port)
    edge.wait_event("result", via="queued")
    edge.term()
    results = [e for e in edge.events() if e["event"] == "result"]
    assert len(results) == len({e["index"] for e in results})
    # What was on its way when the edge was stopped may be given up, no more.
    errors = [e["why"] for e in edge.events() if e["event"] == "error"]
    assert not [why for why in errors if "stopped" not in why], edge.report()


def test_bundle_is_gone_and_no_other_comes__requests_fail_with_the_clouds_reason(
    spawn, kerf_asan, tmp_path
):
    made = exact.files()
    files = [(wire.ROLES.index(role), name, made[name]) for role, name in zip(
        wire.ROLES[1:], made, strict=True)]  # fmt: skip
    ident, body = wire.manifest("m", files)
    with wire.Cloud() as cloud:
        edge = spawn(
            "edge", "--json", *FAKE, "--cloud_port", cloud.port, "--once", "--store",
            tmp_path / "store", *DEAD, "--input", *exact.inputs(tmp_path / "in", 2),
            binary=kerf_asan,
        )  # fmt: skip
        control = cloud.greet(window=1)  # the second waits for the first's fate
        tensors = cloud.attach()
        wire.send_offer(control, ident, body)
        wire.serve_fetches(control, files)
        with contextlib.suppress(wire.Closed):
            while edge.alive():
                for peer in (control, tensors):
                    got = peer.recv_kind(wire.PING, wire.BYE, wire.TENSOR)
                    if got.kind == wire.PING:
                        peer.send(wire.PONG, wire.pong(0, 0))
                    elif got.kind == wire.TENSOR:
                        gone = wire.notice(wire.ENOENT, 0, "no such bundle")
                        peer.send(wire.FAILED, gone, id=got.id)
        assert edge.wait() == 1, edge.report()
    failed = [e for e in edge.events() if e["event"] == "error"]
    assert len(failed) == 2 and all("no such bundle" in e["why"] for e in failed)


def test_all_away__one_line_for_each__then_the_first_that_comes(
    spawn, free_port, edge_of, clouds_of, kerf_asan
):
    class Away:
        port = free_port()

    (there,) = clouds_of(0)
    edge = edge_of([Away, there], 3)
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 3)
    said = states(edge)
    assert str(Away.port) in said[0] and f"trying 127.0.0.1:{there.port}" in said[0]
    assert len([text for text in said if "waiting for the cloud" in text]) == 1


def test_a_name_that_is_not_known__the_next_is_tried(spawn, clouds_of, kerf_asan, tmp_path):
    (there,) = clouds_of(0)
    edge = spawn(
        "edge", "--json", *FAKE, "--cloud_host", f"no-such-host.invalid,127.0.0.1:{there.port}",
        "--once", "--store", tmp_path / "store", "--input", *exact.inputs(tmp_path / "in", 2),
        binary=kerf_asan,
    )  # fmt: skip
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 2)
    assert "no-such-host.invalid:8080 (no such host" in states(edge)[0]


def test_name_service_hangs__the_next_is_tried__no_look_up_beside_it(spawn, clouds_of, tmp_path):
    source = Path(__file__).with_name("slowname.c")
    cc(tmp_path, "-fPIC", "-shared", "-o", "slowname.so", source, "-ldl")
    (cloud,) = clouds_of(0)
    until, count = tmp_path / "until", tmp_path / "count"
    edge = spawn(
        "edge", "--json", *FAKE, "--cloud_host", f"slow.example,127.0.0.1:{cloud.port}",
        "--store", tmp_path / "store", "--rate", 50, "--dead-after", 0.4, "--repeat", 0,
        "--input", *exact.inputs(tmp_path / "in", 5),
        env={
            "LD_PRELOAD": tmp_path / "slowname.so",
            "SLOWNAME_UNTIL": until, "SLOWNAME_COUNT": count,
        },
    )  # fmt: skip
    try:
        edge.wait_event("result", index=60)  # probes of the first: tries of the name
        assert count.read_text() == "."
    finally:
        until.touch()
    edge.signal(signal.SIGTERM)
    assert edge.wait() == 0


@pytest.mark.parametrize(
    "hosts", ["a,,b", "a:0", "a:99999", "[::1", "", "a:b", ",".join("abcdefghi")]
)
def test_bad_list_of_clouds__one_line(hosts, run, kerf_asan):
    edge = run("edge", *FAKE, "--cloud_host", hosts, binary=kerf_asan)
    (line,) = edge.err.splitlines()
    assert edge.status in (1, 2) and "--cloud-host" in line


def test_probe__gets_a_welcome_and_nothing_else(clouds_of):
    (cloud,) = clouds_of(0)
    with wire.dial(cloud.port) as probe:
        probe.send(wire.HELLO, wire.hello() + bytes([1, 0, 0, 0, 1, 0, 0, 0]))
        probe.recv_kind(wire.WELCOME)
    assert cloud.term() == 0
    assert not [e for e in cloud.events() if e["event"] == "edge"]
