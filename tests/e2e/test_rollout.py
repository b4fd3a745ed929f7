"""Updates: a bundle that an edge rejects, and rollouts in stages."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import exact
import numpy as np
import pytest
import wire
from nets import image_card, small_pair
from PIL import Image

EENGINE, ENOSPC = 14, 15


@pytest.fixture
def place():
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="kerf-roll-") as folder:
        yield Path(folder)


@pytest.fixture
def cloud_of(start_cloud, kerf_asan, tmp_path, place):
    def start(*args, **more):
        process = start_cloud(
            "--engine", "fake", "--models", tmp_path / "models", "--control", place / "c",
            *args, **{"binary": kerf_asan, **more},
        )  # fmt: skip
        process.control = place / "c"
        return process

    return start


class Peer(wire.Edge):
    """An edge that only talks: what it was given to run last is .given."""

    def __init__(self, port, name, **more):
        super().__init__(port, name=name, **more)
        self.name = name
        self.given = None
        self.manifest = {}
        self.look()

    def look(self):
        """What the cloud has sent up to now."""
        self.control.send(wire.PING)
        while (got := self.control.recv_kind(wire.OFFER, wire.PONG)).kind == wire.OFFER:
            if got.meta[32]:
                self.given = got.meta[:32].hex()
        return self.given

    def loading(self):
        self.control.send(wire.LOADING, bytes.fromhex(self.given))
        return self.look()

    def ready(self, err=0, why=""):
        self.control.send(wire.READY, wire.ready(bytes.fromhex(self.given), err, why.encode()))
        return self.look()


def rollout(run, cloud, *args, ok=True):
    """What `kerf rollout` says: the one that is open, or None."""
    done = run("rollout", *args, "--control", cloud.control, "--json")
    if not ok:
        assert done.status == 1 and done.out == ""
        return done.err
    assert done.status == 0 and done.err == "", done.report()
    found = json.loads(done.out)["rollout"]
    return found[0] if found else None


def bundles(cloud):
    """The ids of the pairs that were found to be well, in order."""
    return [e["bundle"] for e in cloud.events() if e["event"] == "model" and e["ok"]]


def update(cloud, models, bias):
    """Another pair; its id, when the cloud has it."""
    exact.put(models, bias=bias)
    return cloud.wait_event("model", ok=True)["bundle"]


def many(cloud, count, **more):
    return [Peer(cloud.port, f"edge{n}", **more) for n in range(count)]


def shut(peers):
    for peer in peers:
        peer.close()


def start_update(cloud_of, models, *flags, count=16):
    """A cloud, edges that run the first bundle, and a second one that is there:
    (cloud, edges, those that were given it, the others, old id, new id)."""
    exact.put(models, bias=1)
    cloud = cloud_of(*flags)
    old = bundles(cloud)[0]
    edges = many(cloud, count)
    for edge in edges:
        assert edge.given == old
        edge.ready()
    new = update(cloud, models, 2)
    cloud.wait_event("rollout", state="running")
    for edge in edges:
        edge.look()
    chosen = [e for e in edges if e.given == new]
    others = [e for e in edges if e.given == old]
    assert len(chosen) + len(others) == count
    return cloud, edges, chosen, others, old, new


def test_rollout__goes_to_some__then_to_all(run, cloud_of, tmp_path):
    cloud, edges, chosen, others, old, new = start_update(
        cloud_of, tmp_path / "models", "--rollout", "40%"
    )
    assert 1 <= len(chosen) < 16  # one in 10^4 of bundles would choose none or all
    now = rollout(run, cloud)
    assert (now["old_bundle"], now["new_bundle"]) == (old[:12], new[:12])
    assert (now["state"], now["percent"], now["offered"]) == ("running", 40, len(chosen))
    for edge in chosen:
        assert edge.ready() == new
    # The same edges, whenever they come; and both bundles are answered.
    again = many(cloud, 16)
    assert [e.given for e in again] == [e.given for e in edges]
    for bias, edge in ((2, chosen[0]), (1, others[0])):
        edge.request(bytes.fromhex(edge.given), exact.h_of(5, bias=bias), dims=(1, 16))
        got = edge.tensors.recv_kind(wire.RESULT)
        assert got.floats() == exact.y_of(5, bias=bias)
    shut(again)
    more = rollout(run, cloud, "100%")
    assert more["percent"] == 100 and more["well"] == len(chosen)
    for edge in others:
        assert edge.look() == new and edge.ready() == new
    cloud.wait_event("rollout", state="over")
    assert rollout(run, cloud) is None
    assert "nothing is being rolled out" in rollout(run, cloud, "halt", ok=False)
    shut(edges)
    assert cloud.term() == 0


def test_failures__halt_it__and_a_restart_changes_nothing(run, cloud_of, tmp_path):
    models = tmp_path / "models"
    flags = ("--rollout", "60", "--rollout-halt", "30%")
    cloud, edges, chosen, others, old, new = start_update(cloud_of, models, *flags)
    assert len(chosen) >= 5
    well, bad, rest = chosen[:2], chosen[2:4], chosen[4:]
    for edge in well:
        assert edge.ready() == new
    for edge in bad:  # each is given the old one again
        assert edge.ready(EENGINE, "the head \x1b[31mdoes not load") == old
    halt = cloud.wait_event("rollout", state="halted")
    assert halt["failed"] >= 1 and "does not load" in halt["why"] and "\x1b" not in halt["why"]
    # What had not begun to run it gets the old one; what runs it well keeps it.
    assert [e.look() for e in rest] == [old] * len(rest)
    assert [e.look() for e in well] == [new] * 2
    assert rollout(run, cloud)["state"] == "halted"
    top = json.loads(run("top", "--control", cloud.control, "--json", "--once").out)
    states = {e["name"]: (e["update"], e["update_bundle"]) for e in top["edge"]}
    assert {states[f"edge{edges.index(e)}"] for e in bad} == {("rejected", new[:12])}
    assert {states[f"edge{edges.index(e)}"] for e in well} == {("running", new[:12])}
    assert top["rollout"][0]["state"] == "halted"
    shut(edges)
    state = models / ".kerf-rollout" / "state.json"
    until = time.monotonic() + wire.PATIENCE
    while len(json.loads(state.read_text())["models"][0]["edges"]["failed"]) < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    cloud.kill()

    cloud = cloud_of(*flags)
    assert sorted(bundles(cloud)) == sorted({new})
    again = many(cloud, 16)
    expected = [new if e in well else old for e in edges]
    assert [e.given for e in again] == expected
    now = rollout(run, cloud)
    assert now["state"] == "halted" and now["failed"] == 2 and now["well"] == 2
    assert "does not load" in now["why"]
    # On it goes: also where it failed, where it may be tried again.
    rollout(run, cloud, "resume")
    assert [e.look() for e in again] == [new if e in chosen else old for e in edges]
    rollout(run, cloud, "back")
    assert [e.look() for e in again] == [old] * 16
    newer = update(cloud, models, 3)
    cloud.wait_event("rollout", state="running", old_bundle=old[:12])
    assert {e.look() for e in again} <= {old, newer}
    shut(again)
    assert cloud.term() == 0
    kept = sorted(p.name for p in (models / ".kerf-rollout" / "pairs").iterdir())
    assert kept == sorted([old, new, newer]) or kept == sorted([old, newer])


def test_tail_that_fails__is_failure_too(run, cloud_of, tmp_path):
    models = tmp_path / "models"
    exact.put(models, bias=1)
    cloud = cloud_of("--rollout", "99.9%", "--batch", "1", "--workers", "1")
    old = bundles(cloud)[0]
    edges = many(cloud, 3)
    for edge in edges:
        edge.ready()
    exact.put(models, bias=2, tail={"fail": "run", "fail_after": 4})
    new = cloud.wait_event("model", ok=True)["bundle"]
    for edge in edges:
        while edge.look() != new:
            pass
        edge.ready()
    bundle = bytes.fromhex(new)
    for edge in edges:
        ident = failed = 0
        while failed < 3:
            ident += 1
            edge.request(bundle, exact.h_of(1, bias=2), id=ident, dims=(1, 16))
            failed += edge.tensors.recv_kind(wire.RESULT, wire.FAILED).kind == wire.FAILED
    halted = cloud.wait_event("rollout", state="halted")
    assert "requests fail" in halted["why"]
    assert {e.look() for e in edges} == {old}
    shut(edges)


def test_edges_that_went_for_good__are_not_waited_for(run, cloud_of, tmp_path):
    """Also when nobody is there, nor comes."""
    cloud, edges, _, _, _, new = start_update(
        cloud_of, tmp_path / "models", "--rollout", "100%", "--rollout-wait", "0.0002", count=3
    )
    assert edges[0].given == new
    assert edges[0].ready() == new
    shut(edges)
    over = cloud.wait_event("rollout", state="over")
    assert over["new_bundle"] == new[:12] and rollout(run, cloud) is None
    # What was away is given the new one, as all are.
    shut(many(cloud, 3))
    assert cloud.term() == 0


def test_edges_that_went_for_good__over_a_restart(cloud_of, tmp_path):
    models = tmp_path / "models"
    flags = ("--rollout", "100%")
    cloud, edges, _, _, _, _ = start_update(cloud_of, models, *flags, count=3)
    shut(edges)
    assert cloud.term() == 0
    cloud = cloud_of(*flags, "--rollout-wait", "0.0002")
    cloud.wait_event("rollout", state="over")
    assert cloud.term() == 0


def test_soak__what_fails_later__still_halts_it(run, cloud_of, tmp_path):
    cloud, edges, _, _, old, new = start_update(
        cloud_of, tmp_path / "models", "--rollout", "100%", "--rollout-halt", "1%",
        "--rollout-soak", "60", count=3,
    )  # fmt: skip
    assert [e.ready() for e in edges] == [new] * 3
    now = rollout(run, cloud)
    assert (now["state"], now["well"], now["offered"]) == ("running", 3, 0)
    assert edges[0].ready(EENGINE, "fails after all") == old
    assert cloud.wait_event("rollout", state="halted")["failed"] == 1
    shut(edges)


def test_soak__then_it_is_over(cloud_of, tmp_path):
    cloud, edges, *_, new = start_update(
        cloud_of, tmp_path / "models", "--rollout", "100%", "--rollout-soak", "0.001", count=2
    )
    assert [e.ready() for e in edges] == [new] * 2
    cloud.wait_event("rollout", state="over")
    shut(edges)


def test_blocked__is_shown__and_no_failure(run, cloud_of, tmp_path):
    cloud, edges, _, _, _, new = start_update(
        cloud_of, tmp_path / "models", "--rollout", "100%", "--rollout-halt", "1%", count=4
    )
    for edge in edges:
        assert edge.ready(ENOSPC, "no room") == new
    now = rollout(run, cloud)
    assert (now["state"], now["offered"], now["blocked"], now["failed"]) == ("running", 4, 4, 0)
    assert now["blocked_why"] == "edge3: no room"
    line = run("rollout", "--control", cloud.control).out
    assert "4 not yet (4 blocked, last edge3: no room), 0 failed" in line
    top = json.loads(run("top", "--control", cloud.control, "--json", "--once").out)
    assert {e["update"] for e in top["edge"]} == {"blocked"}
    assert edges[0].ready() == new
    now = rollout(run, cloud)
    assert (now["well"], now["blocked"], now["state"]) == (1, 3, "running")
    shut(edges)


def test_commands__beside_edges_that_fail__do_not_race(cloud_of, kerf_tsan, tmp_path):
    """Commands forget trials, which the loop looks at as edges fail."""
    models = tmp_path / "models"
    exact.put(models, bias=1)
    cloud = cloud_of(binary=kerf_tsan)
    edges = many(cloud, 16)
    new = update(cloud, models, 2)
    cloud.wait_event("rollout", state="running")
    enough, said = threading.Event(), []

    def command():
        both = "".join(json.dumps({"rollout": w}) + "\n" for w in ("halt", "resume"))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(wire.PATIENCE)
            sock.connect(str(cloud.control))
            lines = sock.makefile("rw")
            while not enough.is_set():
                lines.write(both * 10)
                lines.flush()
                said.extend(json.loads(lines.readline()) for _ in range(20))

    thread = threading.Thread(target=command)
    thread.start()
    failures = 0
    try:
        while failures < 1000 and thread.is_alive():
            for edge in edges:
                if edge.look() == new:
                    edge.ready(EENGINE, "no good")
                    failures += 1
    finally:
        enough.set()
        thread.join()
    assert failures >= 1000 and said and [s for s in said if "error" in s] == []
    shut(edges)
    assert cloud.term() == 0 and "ThreadSanitizer" not in cloud.err, cloud.err


def test_status__of_one_model__or_of_none_that_is_served(run, cloud_of, tmp_path):
    models = tmp_path / "models"
    exact.put(models, bias=1)
    exact.put(models, name="z", bias=3)
    cloud = cloud_of("--rollout", "50%")
    update(cloud, models, 2)
    cloud.wait_event("rollout", state="running")
    assert rollout(run, cloud, "status", "--model", "m")["model"] == "m"
    assert rollout(run, cloud, "--model", "z") is None
    assert "no model nope is served" in rollout(run, cloud, "--model", "nope", ok=False)
    done = run("rollout", "0x10", "--control", cloud.control)
    assert done.status == 2 and "expected status, a percentage" in done.err
    assert rollout(run, cloud)["percent"] == 50


def test_finish__waits_for_nobody(run, cloud_of, tmp_path):
    models = tmp_path / "models"
    cloud, edges, _, _, old, new = start_update(cloud_of, models, "--rollout", "60%", count=3)
    assert "kerf rollout 100%" in rollout(run, cloud, "finish", ok=False)
    rollout(run, cloud, "100%")
    assert [e.look() for e in edges] == [new] * 3
    well, bad, away = edges
    assert well.ready() == new and bad.ready(EENGINE, "no good") == old
    away.close()
    assert rollout(run, cloud)["state"] == "running"
    assert rollout(run, cloud, "finish") is None
    cloud.wait_event("rollout", state="over")
    # It is offered the new one once more, and has nothing else any more; the next
    # update is one like any other.
    assert bad.look() == new and bad.ready(EENGINE, "no good") == new
    newer = update(cloud, models, 3)
    cloud.wait_event("rollout", state="running", old_bundle=new[:12])
    rollout(run, cloud, "100%")
    assert well.look() == newer
    shut([well, bad])
    assert cloud.term() == 0


@pytest.mark.parametrize("says_ready", [False, True], ids=["as_it_loads", "at_its_first_input"])
def test_edge_that_crashes_each_time__gets_the_old_one(run, cloud_of, tmp_path, says_ready):
    models = tmp_path / "models"
    exact.put(models, bias=1)
    cloud = cloud_of()
    old = bundles(cloud)[0]
    keeper = Peer(cloud.port, "keeper")  # it never says that it runs anything else
    new = update(cloud, models, 2)
    for _ in range(3):
        with Peer(cloud.port, "loop") as peer:
            assert peer.given == new
            assert peer.loading() == new
            if says_ready:
                assert peer.ready() == new
    with Peer(cloud.port, "loop") as peer:
        assert peer.given == new or peer.look() == old
        now = rollout(run, cloud)
        assert (now["failed"], now["well"], now["state"]) == (1, 0, "running")
    # One that says that it runs the old one may go on with it meanwhile.
    with Peer(cloud.port, "other", bundles=[bytes.fromhex(old)]) as peer:
        assert peer.given == new
        peer.request(bytes.fromhex(old), exact.h_of(3, bias=1), dims=(1, 16))
        assert peer.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(3, bias=1)
    keeper.close()


def test_edge_that_crashes__after_it_ran_it_from_its_store__gets_the_old_one(
    run, cloud_of, tmp_path
):
    models = tmp_path / "models"
    exact.put(models, bias=1)
    cloud = cloud_of()
    old = bundles(cloud)[0]
    keeper = Peer(cloud.port, "keeper")
    new = update(cloud, models, 2)
    has = []
    for _ in range(3):
        with Peer(cloud.port, "loop", bundles=has, asks=wire.FIRST) as peer:
            assert peer.ready() == new
        has = [bytes.fromhex(new)]
    with Peer(cloud.port, "loop", bundles=has, asks=wire.FIRST) as peer:
        assert peer.given == old or peer.look() == old
        assert rollout(run, cloud)["failed"] == 1
    keeper.close()


def test_edges_of_one_name__are_no_failure(run, cloud_of, tmp_path):
    models = tmp_path / "models"
    exact.put(models, bias=1)
    cloud = cloud_of("--rollout", "99.99%", "--rollout-halt", "1%")
    new = update(cloud, models, 2)
    cloud.wait_event("rollout", state="running")
    twins = []
    for _ in range(5):  # each takes the place of the one before, which is still there, or just was
        twins.append(Peer(cloud.port, "twin"))
        assert twins[-1].ready() == new
    for _ in range(5):
        with Peer(cloud.port, "other") as one:
            assert one.ready() == new
            two = Peer(cloud.port, "other")
            assert two.ready() == new
            twins.append(two)
        assert two.look() == new
    now = rollout(run, cloud)
    assert (now["failed"], now["well"], now["state"]) == (0, 2, "running")
    shut(twins)


def test_edges_that_are_given_another_model__are_not_waited_for(cloud_of, tmp_path):
    models = tmp_path / "models"
    exact.put(models, bias=1)
    cloud = cloud_of("--rollout", "100%", "--rollout-wait", "0.0002")
    with Peer(cloud.port, "box") as box:
        box.ready()
        new = update(cloud, models, 2)
        assert box.look() == new
        exact.put(models, name="z", bias=3)
        other = cloud.wait_event("model", ok=True)["bundle"]
        until = time.monotonic() + wire.PATIENCE
        while box.look() != other:
            assert time.monotonic() < until
        assert box.ready() == other
        cloud.wait_event("rollout", state="over", model="m")


def test_models_that_change_at_once__none_goes_past_its_rollout(cloud_of, tmp_path):
    models = tmp_path / "models"
    for name in "ab":
        exact.put(models, name=name, bias=1)
    cloud = cloud_of("--rollout", "0.0001%")
    with Peer(cloud.port, "edge0", want="a") as a, Peer(cloud.port, "edge1", want="b") as b:
        cloud.signal(signal.SIGSTOP)  # it finds both in one look at the folder
        for name in "ab":
            exact.put(models, name=name, bias=2)
        cloud.signal(signal.SIGCONT)
        for _ in "ab":
            cloud.wait_event("rollout", state="running")
        for edge in (a, b):
            edge.control.send(wire.PING)
            assert edge.control.recv().kind == wire.PONG  # and no OFFER before it


def test_edge_that_is_restarted__has_not_failed(run, cloud_of, spawn, kerf_asan, tmp_path):
    """Stopped, cut off while it receives, cut off while it runs: each more often
    than crashes may be."""
    models = tmp_path / "models"
    exact.put(models, bias=1, head_bytes=1 << 20)
    cloud = cloud_of("--rollout", "99.99%", "--rollout-halt", "1%")  # it is not over
    old = bytes.fromhex(bundles(cloud)[0])
    exact.put(models, bias=2, head_bytes=1 << 20)
    new = cloud.wait_event("model", ok=True)["bundle"]
    bundle = bytes.fromhex(new)
    cloud.wait_event("rollout", state="running")
    for _ in range(4):
        edge = spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--name", "box",
            "--store", tmp_path / "store", "--once", "--input", *exact.inputs(tmp_path / "in", 1),
            binary=kerf_asan,
        )  # fmt: skip
        assert edge.wait_event("model")["bundle"] == new
        assert edge.wait() == 0
        with Peer(cloud.port, "links", bundles=[bundle]) as peer:
            assert peer.ready() == new
        with Peer(cloud.port, "loads", bundles=[old]) as peer:
            assert peer.loading() == new
        with Peer(cloud.port, "loads_still", asks=wire.AGAIN) as peer:
            assert peer.loading() == new
        with Peer(cloud.port, "looks") as peer:
            assert peer.look() == new
        with Peer(cloud.port, "receives") as peer:
            for _ in range(16):  # more than a kernel takes ahead
                peer.control.send(wire.FETCH, wire.part(bundle, 1, 0, 0))
            peer.control.recv_kind(wire.PART)
        with Peer(cloud.port, "asked") as peer:  # for less than a kernel takes ahead
            peer.control.send(wire.FETCH, wire.part(bundle, 1, 0, 1000))
            assert peer.look() == new
        with Peer(cloud.port, "elsewhere", bundles=[old]) as peer:  # between two clouds
            assert peer.ready() == new
        with Peer(cloud.port, "leaves") as peer:
            assert peer.ready() == new
            peer.control.send(wire.BYE, wire.notice())
            peer.look()
    now = rollout(run, cloud)
    assert (now["failed"], now["well"], now["state"]) == (0, 4, "running")
    assert now["offered"] == 5  # loads, loads_still, looks, receives, asked


def test_edges_of_another_model__are_not_counted(run, cloud_of, tmp_path):
    """They are offered the new pair to keep; what they run, and when they come, is
    not its matter."""
    models = tmp_path / "models"
    exact.put(models, bias=1)
    exact.put(models, name="b", bias=9)
    cloud = cloud_of("--rollout", "100%", "--rollout-halt", "1%")
    keeper = Peer(cloud.port, "keeper", want="m")  # it never says that it runs anything else
    new = update(cloud, models, 2)
    cloud.wait_event("rollout", state="running")
    assert keeper.look() == new
    bundle = None
    for _ in range(4):
        edges = many(cloud, 3, want="b", bundles=[bundle] if bundle else [])
        for edge in edges:
            assert edge.given not in (None, new)
            edge.ready()
            bundle = bytes.fromhex(edge.given)
        shut(edges)
    now = rollout(run, cloud)
    assert (now["state"], now["offered"], now["well"], now["failed"]) == ("running", 1, 0, 0)
    # The same names, now for this model: they begin anew.
    edges = many(cloud, 3, want="m")
    assert [e.ready() for e in edges] == [new] * 3
    now = rollout(run, cloud)
    assert (now["offered"], now["well"], now["failed"]) == (1, 3, 0)
    # And back: that they come without it says nothing.
    for _ in range(4):
        shut(edges)
        edges = many(cloud, 3, want="b")
    assert rollout(run, cloud)["failed"] == 0
    shut(edges)
    assert keeper.ready() == new
    cloud.wait_event("rollout", state="over")
    keeper.close()


def test_edge__rejects_once__the_old_one_goes_on_over_restarts(
    run, cloud_of, spawn, kerf_asan, tmp_path
):
    """Without its card the second pair is nothing that this edge can feed."""
    models = tmp_path / "models"
    small_pair(models, card=image_card((4, 4)))
    cloud = cloud_of()
    old = bundles(cloud)[0]
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    Image.fromarray(pixels).save(tmp_path / "a.png")

    def edge():
        return spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--name", "box",
            "--store", tmp_path / "store", "--repeat", "0", "--rate", "50",
            "--input", tmp_path / "a.png", binary=kerf_asan,
        )  # fmt: skip

    one = edge()
    one.wait_event("model", ok=True)
    before = one.wait_event("result")
    (models / "small.kerf.json").unlink()
    small_pair(models, b=1)
    new = cloud.wait_event("model", ok=True)["bundle"]
    rejected = one.wait_event("model", ok=False)
    assert "card" in rejected["why"]
    told = cloud.wait_event("shipped", ok=False)
    assert told["edge"] == "box" and "card" in told["why"]
    assert rollout(run, cloud)["failed"] == 1
    for _ in range(5):
        assert one.wait_event("result")["outputs"] == before["outputs"]
    one.signal(signal.SIGINT)
    assert one.wait() == 0
    only = [e for e in one.events() if e["event"] == "model"]
    assert [e["ok"] for e in only] == [True, False]
    assert one.events()[-1]["failed"] == 0

    two = edge()  # the cloud knows that it cannot run the new one
    assert two.wait_event("model")["bundle"] == old
    assert two.wait_event("result")["outputs"] == before["outputs"]
    two.signal(signal.SIGINT)
    assert two.wait() == 0 and two.events()[-1]["failed"] == 0

    # A cloud that knows nothing of that gives it the new one, and has no other.
    assert cloud.term() == 0
    shutil.rmtree(models / ".kerf-rollout", ignore_errors=True)
    cloud = cloud_of()
    assert bundles(cloud) == [new]
    three = edge()
    assert three.wait() == 1
    assert len([x for x in three.err.splitlines() if x.startswith("kerf: error")]) == 1
    assert "card" in three.err


@pytest.mark.parametrize("how", ["hostile", "huge"])
def test_state__bad_file__one_line(spawn, kerf_asan, place, tmp_path, how):
    models = tmp_path / "models"
    exact.put(models)
    state = models / ".kerf-rollout" / "state.json"
    state.parent.mkdir()
    state.write_text('{"kerf_rollouts": 1, "models": [{"model": "../x"}]}')
    if how == "huge":
        os.truncate(state, 65 << 20)  # sparse
    process = spawn(
        "cloud", "--engine", "fake", "--models", models, "--cloud_port", "0", "--rollout", "10%",
        "--control", place / "c", binary=kerf_asan,
    )  # fmt: skip
    assert process.wait() == 1
    assert "state.json" in process.err and "remove it" in process.err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--rollout", "0"), "expected a percentage over 0"),
        (("--rollout", "nan"), "expected a percentage"),
        (("--rollout", "10%", "--rollout-halt", "101"), "--rollout-halt 101"),
        (("--rollout-halt", "10"), "--rollout-halt goes with --rollout"),
        (("--rollout-dir", "x"), "--rollout-dir goes with --rollout"),
    ],
)
def test_flags__that_make_no_sense__one_line(run, tmp_path, flags, text):
    (tmp_path / "m").mkdir()
    done = run("cloud", "--models", tmp_path / "m", *flags)
    assert done.status == 2 and text in done.err and done.err.count("\n") == 1


def test_updates__under_load__no_request_fails(kerf, repo, tmp_path):
    """./dev updates, a short one: the second of three updates is rejected by all edges."""
    done = subprocess.run(
        [sys.executable, repo / "tests" / "updates" / "campaign.py", "--json", "--updates", "3",
         "--edges", "3", "--bad", "3", "--keep", tmp_path / "kept"],
        env={**os.environ, "KERF": str(kerf)}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["updates"] == 3 and found["rejected_updates"] == 1 and found["answered"] > 0
    assert found["failed"] == found["lost"] == found["wrong_halves"] == 0
