"""How an edge asks for what is missing of a model, seen by a cloud that the test
plays: nothing waits for a round trip, for the disk, or for what nobody wants."""

import contextlib
import json
import os
import struct
import time
from pathlib import Path

import exact
import pytest
import wire
from slowdisk import Disk, until


class Played:
    """A cloud, and an edge with no model yet."""

    def __init__(self, spawn, tmp_path, binary, count=1, window=16, **more):
        self.cloud = wire.Cloud()
        self.store = tmp_path / "store"
        self.edge = spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", self.cloud.port, "--once",
            "--store", self.store, "--input", *exact.inputs(tmp_path / "in", count),
            binary=binary, **more,
        )  # fmt: skip
        self.control = self.cloud.greet(features=wire.RANGES, heartbeat_ms=60_000, window=window)
        self.tensors = self.cloud.attach()

    def offer(self, model, run=1):
        wire.send_offer(self.control, model.ident, model.body, run)

    def asked(self):
        """(bundle, part, offset, length) of the next FETCH."""
        got = self.control.recv_kind(wire.FETCH)
        return got.meta[:32], *struct.unpack_from("<HQI", got.meta, 32)

    def all_asked(self):
        """Each FETCH up to when it has looked at all that was sent."""
        self.control.send(wire.PING)
        asked = []
        while (got := self.control.recv_kind(wire.FETCH, wire.PONG)).kind == wire.FETCH:
            asked.append((got.meta[:32], *struct.unpack_from("<HQI", got.meta, 32)))
        return asked

    def answer(self, asked, model, y=None):
        meta = wire.tensors(model.ident, [(wire.F32, 0, (1, exact.Y), 40)])
        self.tensors.send(wire.RESULT, meta, [wire.floats(y or exact.y_of(0))], id=asked.id)

    def finish(self, model, y=None):
        self.answer(self.tensors.recv_kind(wire.TENSOR), model, y)
        assert self.edge.wait() == 0, self.edge.report()
        exact.check_store(self.store)
        for _, name, data in model.files[:2]:
            assert (self.store / name).read_bytes() == data


class Model:
    def __init__(self, name="m", unit=0, **more):
        made = exact.files(name, **more)
        self.files = [(role, n, made[n]) for role, n in enumerate(made, 1)]
        self.ident, self.body = wire.manifest(name, self.files, unit=unit)
        self.sizes = [len(data) for _, _, data in self.files]

    def answer(self, control, asked):
        _, part, offset, length = asked
        data = self.files[part][2][offset : offset + length]
        for at in range(0, len(data), wire.CHUNK):
            step = data[at : at + wire.CHUNK]
            meta = wire.part(self.ident, part, offset + at, len(step))
            control.send(wire.PART, meta, [step])


@pytest.fixture
def play(spawn, tmp_path):
    made = []

    def make(binary, **more):
        made.append(Played(spawn, tmp_path, binary, **more))
        return made[-1]

    yield make
    for played in made:
        played.cloud.sock.close()


def test_next_file__asked_for_before_the_one_before_has_come(play, kerf_tsan):
    played, model = play(kerf_tsan), Model(head_bytes=50_000)
    played.offer(model)
    first, second = played.asked(), played.asked()
    assert first == (model.ident, 0, 0, model.sizes[0])
    assert second == (model.ident, 1, 0, model.sizes[1])
    assert not played.all_asked()
    model.answer(played.control, first)
    model.answer(played.control, second)
    assert played.control.recv_kind(wire.READY).meta[32:34] == b"\0\0"
    played.finish(model)


def test_has_all__says_that_it_loads__and_that_it_went_on(play, kerf_asan):
    """What a cloud tells a crash from a broken link by."""
    played, model = play(kerf_asan), Model()
    assert played.cloud.asks == wire.FIRST
    played.offer(model)
    for _ in range(2):
        asked = played.control.recv_kind(wire.FETCH, wire.LOADING)
        assert asked.kind == wire.FETCH
        model.answer(played.control, (0, *struct.unpack_from("<HQI", asked.meta, 32)))
    got = played.control.recv_kind(wire.LOADING, wire.READY)
    assert (got.kind, got.meta) == (wire.LOADING, model.ident)
    assert played.control.recv_kind(wire.READY).meta[32:34] == b"\0\0"
    played.control.close()
    played.tensors.close()
    played.control = played.cloud.greet()
    assert played.cloud.asks == wire.AGAIN
    played.tensors = played.cloud.attach()
    played.offer(model)
    assert played.control.recv_kind(wire.LOADING, wire.READY).kind == wire.READY
    played.finish(model)


def test_nothing_comes_yet__it_asks_for_little(play, kerf_tsan):
    """On a slow link, what is given up would come in vain for long."""
    played, model = play(kerf_tsan), Model(head_bytes=40 << 20, unit=3 << 20)
    played.offer(model)
    ranges = [asked for asked in (played.asked(), *played.all_asked()) if asked[1] == 1]
    assert ranges == [(model.ident, 1, 0, 3 << 20), (model.ident, 1, 3 << 20, 3 << 20)]
    played.edge.kill()


def test_newer_one_to_run__the_one_that_comes_in_is_left__and_goes_on_when_offered_again(
    play, kerf_tsan
):
    played = play(kerf_tsan)
    old, new = Model(unit=1000, head_bytes=50_000), Model(head_bytes=60_000, bias=1.0, seed=2)
    played.offer(old)
    graph, _ = played.asked(), played.asked()
    old.answer(played.control, graph)
    old.answer(played.control, (old.ident, 1, 0, 20_000))
    played.offer(new)
    assert played.asked() == (new.ident, 0, 0, new.sizes[0])
    assert played.asked() == (new.ident, 1, 0, new.sizes[1])
    old.answer(played.control, (old.ident, 1, 20_000, 30_000))  # was under way
    new.answer(played.control, (new.ident, 0, 0, new.sizes[0]))
    played.offer(old)
    assert played.asked() == (old.ident, 1, 20_000, 30_000)
    new.answer(played.control, (new.ident, 1, 0, new.sizes[1]))  # was under way
    old.answer(played.control, (old.ident, 1, 20_000, 30_000))
    ready = played.control.recv_kind(wire.READY)
    assert ready.meta[:34] == old.ident + b"\0\0"  # the only one
    played.finish(old)


def test_newer_ones_to_run_that_wait__only_the_last_is_fetched(play, kerf_tsan):
    played = play(kerf_tsan)
    kept, *models = [Model(name, head_bytes=1000 + n) for n, name in enumerate("abmm")]
    played.offer(kept, run=0)
    asked = [played.asked(), played.asked()]
    for model in models:
        played.offer(model)
    for got in asked:
        kept.answer(played.control, got)
    last = models[-1]
    assert played.asked() == (last.ident, 1, 0, last.sizes[1])  # the graph is there
    last.answer(played.control, (last.ident, 1, 0, last.sizes[1]))
    assert played.control.recv_kind(wire.READY).meta[:34] == last.ident + b"\0\0"
    played.finish(last)


def peak(pid):
    """The most memory that the process had, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.split("VmHWM:")[1].split()[0]) >> 10


def test_many_offers_with_large_probes__memory_stays_bounded(play, kerf):
    """What 8 manifests of 4 MiB say takes 130 MiB, besides what it takes to read one."""
    played, model = play(kerf), Model(head_bytes=50_000)
    samples = {"shape": [9], "at": [0] * 4096, "values": [0] * 4096}
    probes = json.dumps([{"seed": 1, "outputs": [samples] * 16}] * 16, separators=(",", ":"))
    played.offer(model)
    asked = [played.asked(), played.asked()]  # it comes in, all others wait
    for n in range(8):
        other = Model(f"other{n}")
        played.body = other.body.replace(b'"probes": []', b'"probes": ' + probes.encode())
        wire.send_offer(played.control, other.ident, played.body, run=0)
    assert not played.all_asked()
    assert peak(played.edge.pid) < 190
    played.edge.wait_err("edge.offer_dropped model=other7")
    for got in asked:
        model.answer(played.control, got)
    assert played.control.recv_kind(wire.READY).meta[:34] == model.ident + b"\0\0"
    asked = played.asked()
    assert asked[0] == Model("other0").ident
    played.edge.kill()


def test_disk_hangs__the_edge_answers_and_asks_for_no_more(play, kerf, tmp_path):
    disk = Disk(tmp_path, tmp_path / "store")
    played, model = play(kerf, env=disk.env), Model(head_bytes=40 << 20)
    played.offer(model)
    came = [played.asked()]
    disk.hang("pwrite")
    try:
        model.answer(played.control, came[0])
        while asked := played.all_asked():  # and it has read all that came
            for got in asked:
                model.answer(played.control, got)
            came += asked
        assert 2 << 20 <= sum(length for *_, length in came) <= 32 << 20
    finally:
        disk.gate.unlink()
    while (got := played.control.recv_kind(wire.FETCH, wire.READY)).kind == wire.FETCH:
        model.answer(played.control, (b"", *struct.unpack_from("<HQI", got.meta, 32)))
    assert got.meta[32:34] == b"\0\0"
    played.finish(model)


def test_given_up_in_the_midst_of_a_part__its_rest_goes_nowhere(play, kerf_asan):
    """While a part of one comes in, the bundle turns out to be bad, and the next begins."""
    p = play(kerf_asan)
    card = b"{}"
    large = os.urandom(600 << 10)
    first = [("a.kerf.json", card), os.urandom(1000), large]
    # That the edge has in large's place what it has already: nothing is open there.
    second = [("b.kerf.json", os.urandom(1000)), os.urandom(500), card]
    first, second = (
        [(0, *files[0])]
        + [
            (role, name, data)
            for role, (name, data) in enumerate(
                zip(exact.files(model), files[1:] + [b"x", b"y"], strict=True), 1
            )
        ]
        for model, files in (("a", first), ("b", second))
    )
    a, a_body = wire.manifest("a", first)
    b, b_body = wire.manifest("b", second)
    wire.send_offer(p.control, a, a_body)
    wire.send_offer(p.control, b, b_body, run=0)
    left, tries = None, 0
    while (asked := p.asked())[0] != b:
        _, index, at, length = asked
        tries += index == 1
        if index == 2 and tries == 3:  # the other file is given up by this
            step = large[at : at + wire.CHUNK]
            frame = wire.frame(wire.PART, wire.part(a, index, at, len(step)), [step])
            if left is None:
                p.control.raw(frame[:1000])
                left = frame[1000:]
            continue
        for start in range(at, at + length, wire.CHUNK):
            step = min(wire.CHUNK, at + length - start)
            wrong = card if index == 0 else bytes(step)
            p.control.send(wire.PART, wire.part(a, index, start, step), [wrong])
    assert left is not None
    p.control.raw(left)
    while True:
        _, index, at, length = asked
        step = second[index][2][at : at + length]
        p.control.send(wire.PART, wire.part(b, index, at, len(step)), [step])
        if index == 1 and at + length == len(second[1][2]):
            break
        asked = p.asked()
    until(lambda: (p.store / "bundles" / f"{b.hex()}.json").exists())
    assert exact.part(p.store, second[1][2]).read_bytes() == second[1][2]
    assert p.edge.alive()
    p.edge.kill()


@contextlib.contextmanager
def offered_as_one_loads(played, disk, bad, good):
    """The edge has all of bad, whose load hangs till the end, and knows of good."""
    played.offer(bad)
    asked = played.asked(), played.asked()
    disk.hang("read")
    try:
        for got in asked:
            bad.answer(played.control, got)
        disk.wait_hanging()
        played.offer(good)
        assert not played.all_asked()  # and it knows of the good one
        yield
    finally:
        disk.gate.unlink()


def test_newer_one_comes_while_one_loads__which_fails__the_edge_goes_on(play, kerf, tmp_path):
    disk = Disk(tmp_path, tmp_path / "store")
    played = play(kerf, env=disk.env)
    bad, good = Model(head={"fail": "load"}), Model(seed=2)
    with offered_as_one_loads(played, disk, bad, good):
        pass
    got = played.control.recv_kind(wire.READY)
    assert got.meta[:32] == bad.ident and got.meta[32:34] != b"\0\0"
    # An edge that has nothing else asks so whether there is more, and ends.
    while (got := played.control.recv_kind(wire.PING, wire.FETCH, wire.READY)).kind != wire.READY:
        if got.kind == wire.PING:
            played.control.send(wire.PONG, wire.pong(got.sent_ns, got.sent_ns))
        else:
            good.answer(played.control, (b"", *struct.unpack_from("<HQI", got.meta, 32)))
    assert got.meta[:34] == good.ident + b"\0\0"
    played.finish(good)


def test_link_breaks_as_one_loads_that_was_replaced__which_fails__the_edge_comes_back(
    play, kerf, tmp_path
):
    disk = Disk(tmp_path, tmp_path / "store")
    played = play(kerf, env=disk.env)
    bad, good = Model(head={"fail": "load"}), Model(seed=2)
    with offered_as_one_loads(played, disk, bad, good):
        played.control.sock.close()
        played.tensors.sock.close()
        control = played.cloud.accept()
    played.edge.wait_event("model", ok=False)
    control.recv_kind(wire.HELLO)
    control.send(wire.WELCOME, wire.welcome(features=wire.RANGES, heartbeat_ms=60_000))
    played.control, played.tensors = control, played.cloud.attach()
    played.offer(good)
    for _ in range(2):
        good.answer(control, played.asked())
    assert control.recv_kind(wire.READY).meta[:34] == good.ident + b"\0\0"
    played.finish(good)


def test_signed_anew_as_the_edge_goes_on_to_another_one__it_is_loaded_again(play, kerf, tmp_path):
    disk = Disk(tmp_path, tmp_path / "store")
    played = play(kerf, count=1000, window=1, env=disk.env)
    old, new = Model(), Model(seed=2)
    played.offer(old)
    for _ in range(2):
        old.answer(played.control, played.asked())
    assert played.control.recv_kind(wire.READY).meta[:34] == old.ident + b"\0\0"
    first = played.tensors.recv_kind(wire.TENSOR)
    played.offer(new)
    new.answer(played.control, played.asked())
    # To load it has these ends, and it is to be run when the request is answered.
    gone = ("unlink", str(played.store / "partial" / f"{new.ident.hex()}.json"))
    kept = ("fsync", str(played.store / "bundles"))
    until(lambda: gone in (calls := disk.calls()) and kept in calls[calls.index(gone) :])
    sig = {"statement": "anew", "signature": "00" * 64, "key": "00" * 8}
    disk.hang("rename")
    try:
        wire.send_offer(played.control, *wire.manifest("m", old.files, signed=sig))
        disk.wait_hanging()
        played.answer(first, old)
        assert played.control.recv_kind(wire.READY).meta[:34] == new.ident + b"\0\0"
    finally:
        disk.gate.unlink()
    ready = None
    while ready is None:
        played.answer(played.tensors.recv_kind(wire.TENSOR), new)
        time.sleep(0.05)
        played.control.send(wire.PING)
        got = played.control.recv_kind(wire.READY, wire.PONG)
        ready = got.meta[:34] if got.kind == wire.READY else None
    assert ready == old.ident + b"\0\0"
    played.edge.kill()
