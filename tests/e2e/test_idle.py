"""What a cloud with nothing to do costs: counts from /proc, of the optimised
binary. CPU time, which a busy machine doubles, is for `kerf bench split`."""

import threading
import time
from pathlib import Path

import exact
import pytest
import wire

EDGES = 100
STRETCH = 10
HEARTBEAT_MS = 1666  # the cloud's default


def rss_kb(pid):
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Rss:"):
            return int(line.split()[1])
    raise AssertionError("no Rss")


def switches(pid):
    """Voluntary context switches of all threads: how often one went to sleep."""
    return sum(
        int(line.split()[1])
        for status in Path(f"/proc/{pid}/task").glob("*/status")
        for line in status.read_text().splitlines()
        if line.startswith("voluntary")
    )


@pytest.fixture
def cloud(start_cloud, tmp_path):
    exact.put(tmp_path / "models", head_bytes=1 << 20)
    default = ("--dead-after", 5)  # what start_cloud() sets is for other tests
    return start_cloud("--engine", "fake", "--models", tmp_path / "models", *default)


@pytest.mark.alone  # what runs beside it makes caches cold, and work longer
def test_idle__hundred_edges__cost_next_to_nothing(cloud):
    with wire.Edge(cloud.port) as first:  # what the first one costs is not per edge
        bundle, _ = first.offered()
        first.request(bundle, exact.h_of(1))
        first.tensors.recv_kind(wire.RESULT)
    before_kb = rss_kb(cloud.pid)
    edges = [wire.Edge(cloud.port, name=f"edge {n}") for n in range(EDGES)]
    assert edges[0].heartbeat_ms == HEARTBEAT_MS
    for edge in edges:
        edge.offered()
        edge.control.send(wire.READY, wire.ready(bundle))
    over = threading.Event()
    pings = 0

    def beat():
        nonlocal pings
        while not over.wait(HEARTBEAT_MS / 1000):
            for edge in edges:
                edge.control.send(wire.PING)
                edge.control.recv_kind(wire.PONG)
                pings += 1

    beating = threading.Thread(target=beat)
    beating.start()
    time.sleep(1)
    before, before_pings = switches(cloud.pid), pings
    time.sleep(STRETCH)
    woken, asked = switches(cloud.pid) - before, pings - before_pings
    per_edge_kb = (rss_kb(cloud.pid) - before_kb) / EDGES
    over.set()
    beating.join()
    left = [e for e in cloud.events() if e["event"] == "edge" and not e["joined"]]
    assert len(left) == 1, "only the first one has left"
    assert asked >= EDGES  # it wakes for each of them, and once a second
    assert woken <= asked + 3 * STRETCH
    assert per_edge_kb <= 64
    edges[EDGES // 2].request(bundle, exact.h_of(5))  # and they are really served
    assert edges[EDGES // 2].tensors.recv_kind(wire.RESULT).floats() == exact.y_of(5)
    for edge in edges:
        edge.close()
    assert cloud.term() == 0


def at_rest(pid):
    """switches(), once all threads lie down: a busy machine starts them late."""
    until = time.monotonic() + 20
    before = switches(pid)
    while time.monotonic() < until:
        time.sleep(0.5)
        now = switches(pid)
        if now == before:
            return now
        before = now
    raise AssertionError("it never rests")


def test_idle__nobody_connected__nothing_wakes(cloud):
    for _ in range(3):  # also after somebody was there
        before = at_rest(cloud.pid)
        time.sleep(1.5)
        assert switches(cloud.pid) - before <= 3
        with wire.Edge(cloud.port) as edge:
            edge.offered()
    assert cloud.term() == 0
