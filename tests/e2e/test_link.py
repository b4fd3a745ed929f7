"""`kerf link`: real edges and clouds through an emulated link. Rates are measured by
`kerf bench link`; here is what must hold at any speed."""

import json
import signal
import subprocess

import exact
import pytest


@pytest.fixture
def start_link(spawn):
    """start_link(spec, port) -> Process that listens on .port; .tell(line)"""

    def start(spec, port, *args, **more):
        link = spawn(
            "link", spec, "--to", port, "--json", "--control", *args, stdin=subprocess.PIPE, **more
        )
        link.port = link.wait_event("listening")["port"]

        def tell(line, ok=True):
            link.popen.stdin.write(line + "\n")
            link.popen.stdin.flush()
            return link.wait_event("control", line=line, ok=ok)

        link.tell = tell
        return link

    return start


def edge_args(link, tmp_path, files, *more):
    return (
        "edge", "--json", "--engine", "fake", "--cloud_port", link.port, "--once", "--store",
        tmp_path / "store", *more, "--input", *files,
    )  # fmt: skip


def summary(link):
    link.popen.stdin.close()
    assert link.wait() == 0, link.report()
    return link.events()[-1]


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_link__all_that_is_bad_at_once__each_answered_once(
    kind, request, start_cloud, start_link, spawn, tmp_path
):
    binary = request.getfixturevalue(f"kerf_{kind}")
    exact.put(tmp_path / "models", head_bytes=100_000)
    cloud = start_cloud("--engine", "fake", "--models", tmp_path / "models", binary=binary)
    spec = "rate=40,rtt=4,jitter=3,stall=200ms/30ms,outage=400ms/30ms,cut=150000,flip=3e-6,seed=6"
    link = start_link(spec, cloud.port, binary=binary)
    files = exact.inputs(tmp_path / "in", 150)
    edge = spawn(*edge_args(link, tmp_path, files, "--rate", 100), binary=binary)
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 150)
    exact.check_store(tmp_path / "store")
    last = summary(link)
    assert last["event"] == "summary" and last["connections"] >= 2
    assert last["up_bytes"] > 150 * 256
    assert cloud.term() == 0


def test_link__told_while_it_runs(start_cloud, start_link, spawn, tmp_path):
    """Each way to break a link, by hand, while requests go through it."""
    exact.put(tmp_path / "models")
    cloud = start_cloud("--engine", "fake", "--models", tmp_path / "models")
    link = start_link("rtt=1", cloud.port)
    files = exact.inputs(tmp_path / "in", 60)
    edge = spawn(*edge_args(link, tmp_path, files, "--rate", 100, "--window", 4))
    edge.wait_event("result")
    for lines in (["hold", "go"], ["reset"], ["down", "up"], ["cut 500"], ["flip=0.05", "flip=0"]):
        for line in lines:
            link.tell(line)
        edge.wait_event("result")
    assert "gallop" in link.tell("gallop", ok=False)["why"]
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 60)
    assert summary(link)["reset"] >= 2
    assert cloud.term() == 0


def test_link__bit_errors__are_found(start_cloud, start_link, spawn, tmp_path):
    """Any wrong bit ends the connection, and none makes a wrong answer."""
    exact.put(tmp_path / "models")
    cloud = start_cloud("--engine", "fake", "--models", tmp_path / "models")
    link = start_link("seed=2", cloud.port)
    files = exact.inputs(tmp_path / "in", 200)
    edge = spawn(*edge_args(link, tmp_path, files, "--rate", 100))
    edge.wait_event("model", ok=True)
    edge.signal(signal.SIGSTOP)  # it must not be through before
    link.tell("flip=1e-4")
    edge.signal(signal.SIGCONT)
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 200)
    assert summary(link)["flipped"] > 0
    assert cloud.term() == 0


def test_slow_link__a_tensor_that_takes_longer_than_dead_after__is_no_death(
    start_cloud, start_link, spawn, tmp_path
):
    """The sender's TCP sees a window that opens slowly, not a peer that is gone."""
    exact.put(tmp_path / "models", width=65536)
    dead = ("--engine", "fake", "--dead-after", 0.6)
    cloud = start_cloud(*dead, "--models", tmp_path / "models")
    link = start_link("up=1.5", cloud.port)
    files = exact.inputs(tmp_path / "in", 2)
    edge = spawn(*edge_args(link, tmp_path, files, "--window", 1, *dead[2:]))
    assert edge.wait() == 0, edge.report()
    results = [e for e in edge.events() if e["event"] == "result"]
    assert [e["index"] for e in results] == [0, 1]
    for index, event in enumerate(results):
        values = event["outputs"][0]["values"]
        assert values == pytest.approx(exact.y_of(index, width=65536), rel=1e-7)
    assert [e["connected"] for e in edge.events() if e["event"] == "state"] == [True]
    assert summary(link)["connections"] == 2


def test_link__wrong_words__usage(run, free_port):
    for words, expected in [
        ([], "SPEC is missing"),
        (["5g"], "no preset 5g"),
        (["lte,rtt=x"], "rtt=x: expected a time"),
        (["lte", "--to", "nowhere"], "--to nowhere: expected [HOST:]PORT"),
        (["lte", "--to", "0"], "--to 0: expected"),
        (["lte", "--listen", "1.2.3.4:70000"], "--listen 1.2.3.4:70000: expected"),
    ]:
        done = run("link", *words)
        assert done.status == 2 and done.out == ""
        (line,) = done.err.splitlines()
        assert expected in line, line
    done = run("link", "lte", "--to", "no-such-host.invalid:1")
    assert done.status == 1 and "no such host" in done.err


def test_link__port_in_use__one_line(run, start_link, free_port):
    link = start_link("lan", free_port())
    done = run("link", "lan", "--listen", link.port)
    assert done.status == 1
    (line,) = done.err.splitlines()
    assert f"port {link.port}" in line and "in use" in line and "--listen" in line


def test_link__list(run):
    listed = run("link", "--list")
    assert listed.status == 0
    assert "lte      12 Mbit/s, RTT 70 ms" in listed.out.splitlines()
    events = run("link", "--list", "--json").events()
    assert len(events) == len(listed.out.splitlines()) >= 9
    assert {"name": "cable", "up_mbit": 5.0, "rtt_ms": 28.0}.items() <= events[3].items()
    assert json.dumps(events)


def test_bench_link__measures_a_link_of_ones_own(run):
    """Times are not judged here, but a link cannot be quicker than it is."""
    words = ["--link", "rate=100,rtt=6", "--bytes", 4096, 40000, "--rounds", 2]
    done = run("bench", "link", *words, "--json", "--quiet")
    assert done.status == 0, done.report()
    small, large = done.events()
    assert (small["bytes"], large["bytes"]) == (4096, 40000)
    assert large["expected_ms"] == pytest.approx(40000 * 8 / 100e3 + 6)
    for event in (small, large):
        assert event["event"] == "link" and event["link"] == "rate=100,rtt=6"
        assert event["transfer_ms_least"] > 0.95 * event["expected_ms"]
    done = run("bench", "link", "--bytes", 3)
    assert done.status == 2 and "--bytes 3" in done.err


def test_bench_split__over_a_link(run, repo):
    done = run(
        "bench", "split", "--models", repo / "models" / "digits", "--rounds", 1, "--runs", 10,
        "--seconds", 0.2, "--idle-edges", 0, "--link", "rate=100,rtt=20", "--json", "--quiet",
    )  # fmt: skip
    assert done.status == 0, done.report()
    (found,) = (json.loads(line) for line in done.out.splitlines())
    assert found["link"] == "rate=100,rtt=20"
    assert found["raw_tcp_p50_us"] > 19_000 and found["split_p50_us"] > 19_000
    done = run("bench", "split", "--link", "5g")
    assert done.status == 2 and "no preset 5g" in done.err
