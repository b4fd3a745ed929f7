"""What an edge has is not shipped again: of other bundles, and of transfers that broke
off. All of these are counts of bytes."""

import hashlib
import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

import exact
import kept
import numpy as np
import oracles
import pytest
import wire

HEAD, TAIL = "client_infer_m.pdiparams", "server_infer_m.pdiparams"
ROOM = 64 << 10  # for graphs, manifests, and the rest of what a session says


def record(values):
    """One tensor as Paddle's combined weights have it: f32."""
    dims = b"".join(b"\x10" + varint(n) for n in values.shape)
    desc = b"\x08\x05" + dims
    return struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc + values.tobytes()


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def layers(count, seed):
    """Records of large and small tensors by turns, as convolutions and their norms."""
    rng = np.random.default_rng(seed)
    shapes = [(64, 576), (64,), (64,), (64,), (64,)] * count
    return [record(rng.normal(0, 0.05, shape).astype(np.float32)) for shape in shapes[:count]]


def shipped(start_cloud, spawn, run, folder, models, *words, engine="fake", cloud=(), **more):
    """Ships what is in models, over a link that counts: (all bytes, received events)."""
    words = ("--engine", engine, *words)
    codec = ("--model-codec", more.pop("codec", "raw"))
    served = start_cloud("--engine", engine, "--models", models, *codec, *cloud, **more)
    link = spawn("link", "rtt=0", "--to", served.port, "--listen", 0, "--json")
    port = link.wait_event("listening")["port"]
    done = run(
        "edge", "--json", "--cloud-port", port, "--repeat", 1,
        "--input", "random", "--store", folder / "store", *words, **more,
    )  # fmt: skip
    assert done.status == 0, done.report()
    assert served.term() == 0 and link.term() == 0
    events = [json.loads(line) for line in done.out.splitlines()]
    got = {e["file"]: e for e in events if e["event"] == "received"}
    return link.wait_event("summary")["down_bytes"], got


@pytest.fixture
def ship(start_cloud, spawn, run, tmp_path):
    return lambda *args, **more: shipped(start_cloud, spawn, run, tmp_path, *args, **more)


def test_more_layers__only_the_new_ones_come(ship, tmp_path):
    old, new = layers(40, 1), layers(25, 2)
    exact.put(tmp_path / "a")
    (tmp_path / "a" / HEAD).write_bytes(b"".join(old))
    ship(tmp_path / "a")
    # They do not only follow: names are in order, layers are not.
    mixed = [*old[:7], *new[:10], *old[7:31], *new[10:], *old[31:]]
    exact.put(tmp_path / "b", bias=1)
    (tmp_path / "b" / HEAD).write_bytes(b"".join(mixed))
    size = sum(map(len, new))
    carried, got = ship(tmp_path / "b")
    assert size <= carried <= size * 1.05 + ROOM
    assert size <= got[HEAD]["wire_bytes"] <= size * 1.05
    assert got[HEAD]["reused_bytes"] + got[HEAD]["wire_bytes"] == got[HEAD]["bytes"]
    carried, got = ship(tmp_path / "a")  # and back
    assert carried <= ROOM and HEAD not in got


@pytest.fixture(scope="session")
def resnet18():
    """A ResNet18 as Paddle exports it."""
    oracles.need_paddle()
    script = Path(__file__).with_name("pir_nets.py")
    name = "reuse-" + kept.key(script, ["resnet18"])
    return kept.folder(name, lambda f: oracles.export(script, f, "resnet18")) / "resnet18"


def cut_at(run, model, name, out):
    done = run("cut", model, "--at", name, "--out", out, "--name", "m", "--no-proof")
    assert done.status == 0, done.report()
    return (out / HEAD).stat().st_size


def test_holes_in_packed_blocks__come_as_they_are(ship, kerf_asan, tmp_path):
    """Small tensors share blocks: of each only some are new. So is the end of a text."""
    rng = np.random.default_rng(3)
    small = [record(rng.normal(0, 0.05, 600).astype(np.float32)) for _ in range(400)]
    exact.put(tmp_path / "a", head={"words": "a layer of some kind, " * 4000})
    (tmp_path / "a" / HEAD).write_bytes(b"".join(small))
    ship(tmp_path / "a", codec="kwz", binary=kerf_asan)
    for n in range(100, 300):
        small[n] = record(rng.normal(0, 0.05, 600).astype(np.float32))
    exact.put(tmp_path / "b", head={"words": "a layer of some kind, " * 4000 + "and its end"})
    (tmp_path / "b" / HEAD).write_bytes(b"".join(small))
    _, got = ship(tmp_path / "b", codec="kwz", binary=kerf_asan)
    new = got[HEAD]["bytes"] - got[HEAD]["reused_bytes"]
    assert 200 * 2400 <= new <= 200 * 2400 * 1.2
    assert got[HEAD]["wire_bytes"] <= new
    made = {path.name: path.read_bytes() for path in (tmp_path / "b").iterdir()}
    exact.check_store(tmp_path / "store", made)


def test_resnet18__another_cut__only_new_parameters_come(ship, run, resnet18, tmp_path):
    less = cut_at(run, resnet18, "relu_10", tmp_path / "a")
    more = cut_at(run, resnet18, "relu_14", tmp_path / "b")
    assert less > 6e6 and more > 3 * less
    ship(tmp_path / "a", engine="openvino")
    carried, _ = ship(tmp_path / "b", engine="openvino")
    assert carried <= (more - less) * 1.05 + ROOM


def test_resnet18__retrained_last_layer__it_alone_comes(ship, run, resnet18, tmp_path):
    words = ("--offline", "local")
    cut_at(run, resnet18, "relu_14", tmp_path / "a")
    ship(tmp_path / "a", *words, engine="openvino", cloud=["--share-tail"])
    weights = (resnet18 / "inference.pdiparams").read_bytes()
    head = struct.pack("<IQIi", 0, 0, 0, 8) + b"\x08\x05" + b"\x10" + varint(512)
    at = weights.index(head + b"\x10" + varint(1000)) + len(head) + 3
    layer = 4 * 512 * 1000
    trained = np.frombuffer(weights, np.float32, 512_000, at) * np.float32(1.001)
    (tmp_path / "net").mkdir()
    for path in resnet18.glob("inference.*"):
        (tmp_path / "net" / path.name).symlink_to(path)
    (tmp_path / "net" / "inference.pdiparams").unlink()
    (tmp_path / "net" / "inference.pdiparams").write_bytes(
        weights[:at] + trained.tobytes() + weights[at + layer :]
    )
    cut_at(run, tmp_path / "net", "relu_14", tmp_path / "b")
    carried, got = ship(tmp_path / "b", *words, engine="openvino", cloud=["--share-tail"])
    assert layer <= carried <= layer * 1.1 + ROOM
    assert list(got) == [TAIL]


# ---- a cloud that the test plays -----------------------------------------------------


class Played:
    """A bundle with units of 1000 bytes, an edge that wants it, and a cloud."""

    def __init__(self, spawn, tmp_path, binary):
        made = exact.files(head_bytes=50_500)
        self.files = [(role, name, made[name]) for role, name in enumerate(made, 1)]
        self.ident, self.body = wire.manifest("m", self.files, unit=1000)
        self.cloud = wire.Cloud()
        self.store = tmp_path / "store"
        self.start = lambda: spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", self.cloud.port, "--once",
            "--store", self.store, "--input", exact.inputs(tmp_path / "in", 1)[0], binary=binary,
        )  # fmt: skip
        self.edge = self.start()
        self.asked = []  # (part, offset, length) of each FETCH

    def offer(self, run=1, **more):
        control, tensors = self.cloud.greet(**more), self.cloud.attach()
        wire.send_offer(control, self.ident, self.body, run)
        return control, tensors

    def serve(self, control, spoil=lambda part, at: False, until=None):
        """Answers FETCH until READY, or until so many bytes of part 1 were sent. spoil:
        says which pieces of 500 bytes come wrong."""
        sent = 0
        while (got := control.recv_kind(wire.FETCH, wire.READY)).kind == wire.FETCH:
            part, offset, length = struct.unpack_from("<HQI", got.meta, 32)
            self.asked.append((part, offset, length))
            data = self.files[part][2]
            end = offset + length if length else len(data)
            for at in range(offset, end, 500):
                piece = data[at : min(at + 500, end)]
                if spoil(part, at):
                    piece = bytes(len(piece))
                control.send(wire.PART, wire.part(self.ident, part, at, len(piece)), [piece])
                sent += len(piece) if part == 1 else 0
                if until is not None and sent >= until:
                    return None
        return got

    def wait_written(self, count):
        """Of part 1, while it comes in."""
        data = self.files[1][2]
        path = self.store / "partial" / hashlib.sha256(data).hexdigest()
        until = time.monotonic() + wire.PATIENCE
        while not path.is_file() or path.read_bytes()[:count] != data[:count]:
            assert time.monotonic() < until, "not written"
            time.sleep(0.01)

    def finish(self, tensors):
        asked = tensors.recv_kind(wire.TENSOR)
        meta = wire.tensors(self.ident, [(wire.F32, 0, (1, exact.Y), 40)])
        tensors.send(wire.RESULT, meta, [wire.floats(exact.y_of(0))], id=asked.id)
        assert self.edge.wait() == 0, self.edge.report()
        exact.check_store(self.store, {name: data for _, name, data in self.files[:2]})


@pytest.fixture
def played(spawn, kerf_asan, tmp_path):
    played = Played(spawn, tmp_path, kerf_asan)
    yield played
    played.cloud.sock.close()


def test_damaged_units__they_alone_are_asked_for_again(played):
    wrong = {(1, 3000), (1, 3500), (1, 20_500), (1, 50_000)}
    control, tensors = played.offer(features=wire.RANGES)

    def spoil(part, at):
        bad = (part, at) in wrong
        wrong.discard((part, at))
        return bad

    assert played.serve(control, spoil).meta[32:34] == b"\0\0"
    head = len(played.files[0][2])
    again = [(1, 3000, 1000), (1, 20_000, 1000), (1, 50_000, 500)]
    assert played.asked == [(0, 0, head), (1, 0, 50_500), *again]
    played.finish(tensors)


def test_damaged_again_and_again__given_up(played):
    control, _ = played.offer(features=wire.RANGES)
    ready = played.serve(control, lambda part, at: (part, at) == (1, 7500))
    assert ready.meta[32:34] == struct.pack("<H", wire.ECORRUPT)
    assert played.asked[1:] == [(1, 0, 50_500), (1, 7000, 1000), (1, 7000, 1000)]
    with pytest.raises(wire.Closed):
        while True:  # has the cloud another one for it?
            ping = control.recv_kind(wire.PING)
            control.send(wire.PONG, wire.pong(ping.sent_ns, time.monotonic_ns()))
    assert played.edge.wait() == 1 and "SHA-256 differs" in played.edge.err


@pytest.mark.parametrize("features", [0, wire.RANGES])
@pytest.mark.parametrize("killed", [False, True])
def test_broken_off__goes_on_where_it_was(played, features, killed):
    """Also from a cloud without ranges, which sends all that follows."""
    control, tensors = played.offer(features=features)
    assert played.serve(control, until=20_500) is None
    control.send(wire.PING)
    control.recv_kind(wire.PONG)  # it has read all of that
    if killed:
        played.wait_written(20_500)
        played.edge.kill()
    control.close()
    tensors.close()
    if killed:
        played.edge = played.start()
    control, tensors = played.offer(features=features)
    assert played.serve(control).meta[32:34] == b"\0\0"
    had = 20_000 if killed else 20_500  # of one that was killed, whole units count
    assert played.asked[-1] == (1, had, 50_500 - had if features else 0)
    played.finish(tensors)
    (got,) = [e for e in played.edge.events() if e.get("file") == HEAD]
    assert got["resumed_bytes"] == had and got["wire_bytes"] == 50_500 - had


def test_holes__asked_for_several_at_a_time(played):
    """The edge has every second unit from a file that is another one."""
    data = played.files[1][2]
    other = bytearray(data)
    for at in range(0, len(data), 2000):
        other[at : at + 1000] = bytes(x ^ 255 for x in other[at : at + 1000])
    first = [(1, *played.files[0][1:]), (2, HEAD, bytes(other)), *played.files[2:]]
    mine, played.files = played.files, first
    ident, body = played.ident, played.body
    played.ident, played.body = wire.manifest("m", first, unit=1000)
    control, tensors = played.offer(features=wire.RANGES, run=0)
    assert played.serve(control, until=len(data)) is None
    played.files, played.ident, played.body = mine, ident, body
    wire.send_offer(control, ident, body)
    asked = [control.recv_kind(wire.FETCH) for _ in range(16)]
    holes = [struct.unpack_from("<HQI", got.meta, 32) for got in asked]
    assert holes == [(1, at, 1000) for at in range(0, 32_000, 2000)]
    for part, offset, length in holes:
        piece = data[offset : offset + length]
        control.send(wire.PART, wire.part(ident, part, offset, length), [piece])
    assert played.serve(control).meta[32:34] == b"\0\0"
    last = [(1, at, min(1000, len(data) - at)) for at in range(32_000, len(data), 2000)]
    assert played.asked[2:] == last
    played.finish(tensors)


@pytest.mark.alone  # what the socket holds when it is killed comes again: more, where it starves
def test_interruptions__each_ends_well(repo, kerf):
    """One of each kind; ./dev interrupt makes many more of them."""
    words = [sys.executable, repo / "tests" / "interrupt" / "campaign.py", "--json"]
    done = subprocess.run(
        [*words, "--count", "7", "--mb", "6", "--rate", "150"],
        env=os.environ | {"KERF": str(kerf)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    total = json.loads(done.stdout.splitlines()[-1])
    assert total["interruptions"] == 7 and total["bad"] == 0
