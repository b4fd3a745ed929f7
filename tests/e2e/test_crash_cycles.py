"""A hundred times, one side or both die at a moment that a fixed seed chose:
while starting, while the head is on its way, or in the middle of requests. In
the end the edge has a verified head and the right answer to each input, the
store holds whole files only, and no sanitizer has anything to say."""

import random
import shutil
import signal
import time

import exact
import pytest

INPUTS = 40
HEAD_BYTES = 6 << 20
MODEL = {"head_bytes": HEAD_BYTES, "tail": {"cost_us": 1000, "cost": "sleep"}}


class Side:
    """`kerf cloud` or `kerf edge`, started and killed again and again."""

    def __init__(self, start):
        self.start = start
        self.process = start()

    def strike(self, rng):
        """Ends it in one of three ways; not waiting for it to be ready."""
        how = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
        self.process.signal(how)
        if how == signal.SIGSTOP:
            time.sleep(rng.uniform(0, 0.05))
            self.process.signal(signal.SIGKILL)
        status = self.process.wait()
        # -15: it was told to end before it could listen to that.
        allowed = (0, 1, -15) if how == signal.SIGTERM else (-9, 0, 1)
        assert status in allowed, self.process.report()

    def strike_and_restart(self, rng):
        self.strike(rng)
        self.process = self.start()


@pytest.fixture
def world(spawn, free_port, tmp_path):
    """world(binary) -> (start a cloud, start an edge)."""
    exact.put(tmp_path / "models", **MODEL)
    files = exact.inputs(tmp_path / "in", INPUTS)
    port = free_port()

    def make(binary):
        def cloud():
            return spawn(
                "cloud", "--json", "--engine", "fake", "--models", tmp_path / "models",
                "--cloud_port", port, "--heartbeat", 200, "--workers", 1, binary=binary,
            )  # fmt: skip

        def edge(*more):
            return spawn(
                "edge", "--json", "--engine", "fake", "--store", tmp_path / "store",
                "--cloud_port", port, "--once", *more, "--input", *files, binary=binary,
            )  # fmt: skip

        return cloud, edge

    return make


def finish(edge, store):
    assert edge.wait(60) == 0, edge.report()
    exact.check_results(edge, INPUTS)
    exact.check_store(store, exact.files(**MODEL))


def moment(rng):
    """Mostly soon, when things start and move; sometimes later."""
    time.sleep(rng.uniform(0, 0.35) ** rng.choice([1, 2]))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["release", "asan"])
def test_both_sides__killed_at_random(kind, seed, request, world, tmp_path):
    """12 strikes in each of 8 tests, with either side or both."""
    binary = request.getfixturevalue("kerf" if kind == "release" else "kerf_asan")
    rng = random.Random(f"{kind} {seed}")
    cloud, edge = (Side(start) for start in world(binary))
    for _ in range(12):
        moment(rng)
        for side in rng.choice([[cloud], [edge], [cloud, edge], [edge, cloud]]):
            side.strike_and_restart(rng)
        if rng.random() < 0.3:  # what came before must not be needed
            edge.strike(rng)
            for path in (tmp_path / "store").glob("parts/*"):
                path.unlink()
            edge.process = edge.start()
    finish(edge.process, tmp_path / "store")
    assert cloud.process.term() in (0, -15)


@pytest.mark.parametrize("kind", ["asan", "tsan"])
def test_cloud_dies__edge_that_lives_gets_every_answer_once(kind, request, world, tmp_path):
    binary = request.getfixturevalue("kerf_asan" if kind == "asan" else "kerf_tsan")
    rng = random.Random(f"cloud {kind}")
    start_cloud, start_edge = world(binary)
    cloud = Side(start_cloud)
    edge = start_edge("--repeat", 1, "--rate", 15, "--window", 4)
    for _ in range(6):
        moment(rng)
        cloud.strike_and_restart(rng)
    finish(edge, tmp_path / "store")
    assert cloud.process.term() == 0


def test_edge_dies__cloud_that_lives_serves_the_next(kerf_asan, world, tmp_path):
    rng = random.Random("edge")
    start_cloud, start_edge = world(kerf_asan)
    cloud = start_cloud()
    edge = Side(start_edge)
    for _ in range(8):
        moment(rng)
        edge.strike_and_restart(rng)
    finish(edge.process, tmp_path / "store")
    assert cloud.term() == 0
    joined = [e["joined"] for e in cloud.events() if e["event"] == "edge"]
    assert joined.count(True) == joined.count(False)


def test_edge_stopped_in_transfer__exits_at_once_and_clean(kerf_asan, world, tmp_path):
    """SIGTERM while parts come in: no temporary file, no leak."""
    rng = random.Random("stop")
    start_cloud, start_edge = world(kerf_asan)
    cloud = start_cloud()
    cloud.wait_event("listening")
    for _ in range(6):
        edge = start_edge()
        edge.wait_event("state")
        time.sleep(rng.uniform(0, 0.03))
        assert edge.term() in (0, 1), edge.report()
        exact.check_store(tmp_path / "store")
        shutil.rmtree(tmp_path / "store")
    assert cloud.term() == 0
