"""One cloud, many edges: none of them takes another's turn. Turns are counted
with the cloud's own stamps of each answer, so that nothing here depends on how
quick this machine is."""

import struct
import threading

import exact
import pytest
import wire

WIDTH = 16
TAIL = {"cost_us": 2000, "cost": "sleep"}


@pytest.fixture
def models(tmp_path):
    exact.put(tmp_path / "models", tail=TAIL)
    return tmp_path / "models"


def ask(edge, bundle, ident, **more):
    edge.request(bundle, exact.h_of(ident), id=ident, dims=(1, WIDTH), **more)


def stamps(result):
    """(arrived, started) of an answer, by the cloud's clock."""
    _, received, queued = struct.unpack_from("<QQQ", result.meta, 36)
    return received, received + queued


class Flood(threading.Thread):
    """Many sessions of one name, each with as much in flight as it can get in;
    what is answered BUSY is asked again at once."""

    def __init__(self, port, sessions, deep):
        super().__init__(daemon=True)
        self.edges = [wire.Edge(port, name="greedy") for _ in range(sessions)]
        self.bundle, _ = self.edges[0].offered()
        self.deep, self.served, self.busy = deep, [], 0
        self.full, self.over = threading.Event(), threading.Event()

    def run(self):
        threads = [threading.Thread(target=self.flood, args=(e,)) for e in self.edges]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def flood(self, edge):
        for ident in range(self.deep):
            ask(edge, self.bundle, ident)
        left = self.deep
        while left > 0:
            got = edge.tensors.recv_kind(wire.RESULT, wire.BUSY)
            if got.kind == wire.RESULT:
                self.served.append(stamps(got))
            else:
                self.busy += 1
                self.full.set()
            if self.over.is_set():
                left -= 1
            else:
                ask(edge, self.bundle, got.id)

    def stop(self):
        """Returns when all that was asked is answered."""
        self.over.set()
        self.join()
        for edge in self.edges:
            edge.close()


def test_greedy_edge__others_wait_for_one_of_its_requests(start_cloud, every_kerf, models):
    cloud = start_cloud(
        "--engine", "fake", "--models", models, "--workers", 1, "--batch", 1, "--window", 16,
        "--queue", 64, binary=every_kerf,
    )  # fmt: skip
    modest = [wire.Edge(cloud.port, name=f"modest-{i}") for i in range(4)]
    flood = Flood(cloud.port, 6, 32)
    flood.start()
    assert flood.full.wait(wire.PATIENCE), "the flood fills nothing"
    served, turned_away = [], 0
    for ident in range(10):
        for edge in modest:
            ask(edge, flood.bundle, ident)
        for edge in modest:
            got = edge.tensors.recv_kind(wire.RESULT, wire.BUSY)
            if got.kind == wire.BUSY:
                turned_away += 1
                continue
            assert got.floats() == exact.y_of(ident)
            served.append(stamps(got))
    for edge in modest:
        edge.close()
    flood.stop()
    assert turned_away == 0, "the flood left no room"
    assert flood.busy > 0
    starts = [started for _, started in flood.served]
    waiting = ahead = 0
    for arrived, started in served:
        between = sum(arrived < at < started for at in starts)
        ahead = max(ahead, between)
        waiting = max(waiting, sum(a < arrived and at > started for a, at in flood.served))
    # Its own turn, and that of each modest edge, comes once a round.
    assert ahead <= 2
    assert waiting >= 8, "the greedy edge had no line to be served from"


def test_equal_edges__equal_shares(start_cloud, kerf, models):
    cloud = start_cloud(
        "--engine", "fake", "--models", models, "--workers", 1, "--batch", 1, "--queue", 64,
    )  # fmt: skip
    edges = [wire.Edge(cloud.port, name=f"edge-{i}") for i in range(4)]
    bundle, _ = edges[0].offered()
    for edge in edges:
        for ident in range(12):
            ask(edge, bundle, ident)
    order = []
    for i, edge in enumerate(edges):
        for _ in range(12):
            order.append((stamps(edge.tensors.recv_kind(wire.RESULT))[1], i))
        edge.close()
    order = [i for _, i in sorted(order)]
    # While all of them wait, each round serves each of them once.
    middle = order[12:36]
    assert [middle.count(i) for i in range(4)] == [6, 6, 6, 6]


def test_deadline_passes_while_the_tail_runs__late(start_cloud, kerf_asan, tmp_path):
    """The one behind it, whose deadline passes before its turn, is not run."""
    exact.put(tmp_path / "models", tail={"cost_us": 300_000, "cost": "sleep"})
    cloud = start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--workers", 1, "--batch", 1,
        binary=kerf_asan,
    )  # fmt: skip
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        ask(edge, bundle, 1)
        assert flags_of(edge.tensors.recv_kind(wire.RESULT)) == 0
        late = None
        while late is None:  # a busy machine may not even start it in time
            ask(edge, bundle, 2, deadline_ms=250)
            ask(edge, bundle, 3, deadline_ms=250)
            got = [edge.tensors.recv_kind(wire.RESULT, wire.FAILED) for _ in range(2)]
            late = next((g for g in got if g.kind == wire.RESULT), None)
    assert late.id == 2 and flags_of(late) == 1
    assert late.floats() == exact.y_of(2)
    behind = next(g for g in got if g.kind == wire.FAILED)
    assert behind.id == 3 and behind.notice()[0] == wire.EDEADLINE


def flags_of(result):
    _, descs = result.describe()
    at = 78 + sum(12 + 8 * len(dims) for _, _, dims, _ in descs)
    return struct.unpack_from("<I", result.meta, at)[0] if len(result.meta) > at else 0


def test_too_few_files_for_its_edges__says_so_and_serves(start_cloud, kerf, models):
    args = ("--engine", "fake", "--models", models, "--batch", 1)
    cloud = start_cloud(*args, prefix=["prlimit", "--nofile=100:200"])
    assert "ulimit -Hn" in cloud.wait_err(r"cloud.few_files open_files=200 .*")[0]
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        ask(edge, bundle, 1)
        assert edge.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(1)
    enough = start_cloud(*args, "--max-edges", 60, prefix=["prlimit", "--nofile=100:200"])
    assert enough.term() == 0 and enough.err == ""
