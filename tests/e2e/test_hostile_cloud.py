"""A cloud that breaks the rules of docs/PROTOCOL.md, against the edge: it says
what is wrong and dials again, or ends with one line. It writes nothing outside
its store, keeps nothing unverified, and works as soon as an honest cloud is
there on the same port."""

import hashlib
import random
import signal
import struct
import time

import exact
import pytest
import wire

COUNT = 3


class Attack:
    """An edge on its way to a cloud that the test plays."""

    def __init__(self, cloud, edge, store):
        self.cloud, self.edge, self.store = cloud, edge, store
        made = exact.files()
        self.files = [
            (role, name, made[name]) for role, name in zip(range(1, 5), made, strict=True)
        ]
        self.ident, self.manifest = wire.manifest("m", self.files)

    def session(self, **more):
        """(control, tensors), both open; nothing offered yet."""
        return self.cloud.greet(**more), self.cloud.attach()

    def running(self):
        """(control, tensors) of an edge that runs the head."""
        control, tensors = self.session()
        wire.send_offer(control, self.ident, self.manifest)
        assert wire.serve_fetches(control, self.files).meta[32:34] == b"\0\0"
        return control, tensors

    def serve_honestly(self):
        """Until the edge has all its answers; the sessions it takes."""
        control, tensors = self.session()
        wire.send_offer(control, self.ident, self.manifest)
        wire.serve_fetches(control, self.files)
        answered = set()
        while len(answered) < COUNT:
            asked = tensors.recv_kind(wire.TENSOR)
            (desc,) = asked.describe()[1]
            values = [0.25 * v + 1 for v in exact.fold(asked.floats(), exact.Y)]
            assert desc == (wire.F32, 0, (1, 16), 64)
            meta = wire.tensors(self.ident, [(wire.F32, 0, (1, exact.Y), 40)])
            tensors.send(wire.RESULT, meta, [wire.floats(values)], id=asked.id)
            answered.add(asked.id)
        assert self.edge.wait() == 0, self.edge.report()
        exact.check_results(self.edge, COUNT)
        exact.check_store(self.store, exact.files())


@pytest.fixture
def attack(spawn, kerf_asan, tmp_path):
    files = exact.inputs(tmp_path / "in", COUNT)
    with wire.Cloud() as cloud:
        edge = spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once",
            "--store", tmp_path / "deep" / "store", "--input", *files, binary=kerf_asan,
        )  # fmt: skip
        yield Attack(cloud, edge, tmp_path / "deep" / "store")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["deep", "in"], "written outside"
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["store"], "written outside"
    assert "\x1b" not in edge.out + edge.err


BAD_WELCOMES = {
    "garbage": random.Random(2).randbytes(1024),
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n".ljust(300),
    "nothing": b"",
    "half": wire.frame(wire.WELCOME, wire.welcome())[:100],
    "window_0": wire.frame(wire.WELCOME, wire.welcome(window=0)),
    "heartbeat_0": wire.frame(wire.WELCOME, wire.welcome(heartbeat_ms=0)),
    "version_9": wire.frame(wire.WELCOME, wire.welcome(version=9)),
    "frame_version_9": wire.frame(wire.WELCOME, wire.welcome(), version=9),
    "name_too_long": wire.frame(wire.WELCOME, wire.welcome(name="n" * 128)),
    "short": wire.frame(wire.WELCOME, wire.welcome()[:30]),
    "meta_2_32": wire.frame(wire.WELCOME, wire.welcome(), meta_len=(1 << 32) - 1),
    "payload_2_63": wire.frame(wire.WELCOME, wire.welcome(), payload_len=1 << 63),
    "header_hash": wire.frame(wire.WELCOME, wire.welcome(), header_hash=1),
    "body_hash": wire.frame(wire.WELCOME, wire.welcome(), body_hash=1),
    "error": wire.frame(wire.ERROR, wire.notice(9, 0, "\x1b[2J\r\n\x07no")),
    "offer_first": wire.frame(wire.OFFER, wire.offer(bytes(32), 2), [b"{}"]),
    "attached": wire.frame(wire.ATTACHED),
    "result": wire.frame(wire.RESULT, b"", [bytes(64)]),
}


# The edge's pauses grow, so the attacks are dealt out to several edges.
@pytest.mark.parametrize("deal", range(4))
def test_edge__bad_welcomes__says_why_and_dials_again(attack, deal):
    for data in list(BAD_WELCOMES.values())[deal::4]:
        control = attack.cloud.accept()
        control.recv_kind(wire.HELLO)
        control.raw(data)
        if len(data) < 256:
            control.close()
        else:
            control.recv_error()
    texts = [e["text"] for e in attack.edge.events() if e["event"] == "state"]
    assert all("trying again" in text for text in texts)
    attack.serve_honestly()


def huge(name="m", **more):
    files = [(role, n, (1 << 63, bytes(32))) for role, n in enumerate(exact.files(name), 1)]
    return wire.manifest(name, files, **more)


def bad_manifests(attack):
    ident, good = attack.ident, attack.manifest
    renamed = [(r, n.replace("infer_m", "infer_../m"), d) for r, n, d in attack.files]
    rooted = [(r, "/tmp/" + n, d) for r, n, d in attack.files]
    many = [(1, "client_infer_m.pdmodel", b"x")] * 5000
    return {
        "garbage": (ident, b"\x00\xff garbage"),
        "not_an_object": (ident, b"[1]"),
        "deep": (ident, b"[" * 100_000),
        "wrong_id": (ident, good.replace(ident.hex().encode(), b"0" * 64)),
        "other_id": (b"o" * 32, good),
        "dots": wire.manifest("../m", renamed),
        "rooted": wire.manifest("m", rooted),
        "name_dots": wire.manifest("..", attack.files),
        "sizes_2_63": huge(),
        "no_head": wire.manifest("m", attack.files[2:]),
        "many_files": wire.manifest("m", many),
        "twice": (ident, good.replace(b'"name"', b'"name": "m", "name"', 1)),
        "version_2": wire.manifest("m", attack.files, kerf_manifest=2),
        "format": wire.manifest("m", attack.files, format="exe"),
        "probes": wire.manifest("m", attack.files, probes=[{"seed": 1}] * 1000),
    }


@pytest.mark.parametrize("deal", range(4))
def test_edge__bad_manifests__refused_nothing_written(attack, deal):
    for name, (ident, body) in list(bad_manifests(attack).items())[deal::4]:
        control, tensors = attack.session()
        wire.send_offer(control, ident, body)
        assert control.recv_error() is not None, name
        assert exact.kept(attack.store) == [], name
        control.close()
        tensors.close()
    attack.serve_honestly()


def test_edge__bad_parts__end_the_session_nothing_kept(attack):
    ident = attack.ident
    data = attack.files[0][2]
    bad = {
        "offset": (wire.part(ident, 0, 64, len(data)), data),
        "offset_2_63": (wire.part(ident, 0, 1 << 63, len(data)), data),
        "index": (wire.part(ident, 1, 0, len(data)), data),
        "too_long": (wire.part(ident, 0, 0, len(data) + 64), data + bytes(64)),
        "length_0": (wire.part(ident, 0, 0, 0), bytes(64)),
        "length_lies": (wire.part(ident, 0, 0, 10_000), data),
        "chunk_too_large": (wire.part(ident, 0, 0, wire.CHUNK + 64), bytes(wire.CHUNK + 64)),
    }
    for name, (meta, piece) in bad.items():
        control, tensors = attack.session()
        wire.send_offer(control, ident, attack.manifest)
        control.recv_kind(wire.FETCH)
        control.send(wire.PART, meta, [piece])
        assert control.recv_error() is not None, name
        attack.edge.wait_event("state", connected=False)  # it has cleaned up
        control.close()
        tensors.close()
        exact.check_store(attack.store)
        assert exact.kept(attack.store) == [], name
    attack.serve_honestly()


def test_edge__bad_packed_parts__end_the_session_nothing_kept(attack):
    """What the head of a PART says is refused before anything is unpacked."""
    ident, size = attack.ident, len(attack.files[0][2])
    packed = wire.packed_part
    bad = {
        "bomb": packed(ident, 0, 0, 64, (4 << 20) + 1),
        "bomb_4_gb": packed(ident, 0, 0, 64, (1 << 32) - 1),
        "past_the_end": packed(ident, 0, 0, 64, size + 1),
        "not_smaller": packed(ident, 0, 0, 64, 64),
        "nothing": packed(ident, 0, 0, 0, size),
        "offset": packed(ident, 0, 8, 64, 80),
        "index": packed(ident, 1, 0, 64, 80),
        "codec": packed(ident, 0, 0, 64, 80, codec=2),
        "cut_short": packed(ident, 0, 0, 64, 80)[:-3],
    }
    for name, meta in bad.items():
        control, tensors = attack.session()
        wire.send_offer(control, ident, attack.manifest)
        control.recv_kind(wire.FETCH)
        control.send(wire.PART, meta, [bytes(64)])
        assert control.recv_error() is not None, name
        attack.edge.wait_event("state", connected=False)
        control.close()
        tensors.close()
        exact.check_store(attack.store)
        assert exact.kept(attack.store) == [], name
    attack.serve_honestly()


def damage(attack, meta, piece):
    """Answers each FETCH of the head's graph with that, until READY says no; it asks again,
    but not for ever."""
    control, _ = attack.session()
    wire.send_offer(control, attack.ident, attack.manifest)
    asked = 0
    while (got := control.recv_kind(wire.FETCH, wire.READY)).kind == wire.FETCH:
        if struct.unpack_from("<H", got.meta, 32) == (0,):
            control.send(wire.PART, meta, [piece])
            asked += 1
        else:
            wire.answer_fetch(control, attack.files, got)
    assert asked == 3 and got.meta[32:34] != b"\0\0"
    wire.offer_nothing_else(control)
    assert attack.edge.wait() == 1
    right = hashlib.sha256(attack.files[1][2]).hexdigest()
    assert [path.name for path in (attack.store / "parts").iterdir()] == [right]
    assert list((attack.store / "bundles").iterdir()) == []
    return attack.edge.err


@pytest.mark.parametrize("kind", [0, 1, 2, 3, 4, 255])
@pytest.mark.parametrize("block", [b"\0" * 40, b"\xff" * 40, b"\x28\xb5\x2f\xfd" + b"\xff" * 36])
def test_edge__packed_bytes_that_do_not_unpack__one_line_nothing_kept(attack, kind, block):
    plain = len(attack.files[0][2])
    err = damage(attack, wire.packed_part(attack.ident, 0, 0, 40, plain, kind), block)
    assert "the packed block at byte 0 is damaged" in err


def test_edge__part_with_other_bytes__one_line_nothing_kept(attack):
    data = bytes(len(attack.files[0][2]))
    err = damage(attack, wire.part(attack.ident, 0, 0, len(data)), data)
    assert "SHA-256 differs" in err and "client_infer_m.pdmodel" in err


def test_edge__head_that_answers_wrong__is_not_used(attack):
    probe = {"seed": 1, "outputs": [{"shape": [1, 16], "at": [0, 15], "values": [99.0, -99.0]}]}
    ident, body = wire.manifest("m", attack.files, probes=[probe])
    control, _ = attack.session()
    wire.send_offer(control, ident, body)
    assert wire.serve_fetches(control, attack.files).meta[32:34] != b"\0\0"
    wire.offer_nothing_else(control)
    assert attack.edge.wait() == 1
    assert "self-test" in attack.edge.err and "99" in attack.edge.err


def bad_results(bundle, asked):
    """Frames that end the session, for the request that was asked."""
    desc = (wire.F32, 0, (1, 10), 40)
    meta = wire.tensors(bundle, [desc])
    piece = [bytes(40)]

    def result(*descs, pieces=piece, **more):
        return wire.frame(wire.RESULT, wire.tensors(bundle, descs, **more), pieces, id=asked)

    return {
        "dtype": result((99, 0, (1, 10), 40)),
        "codec": result((0, 7, (1, 10), 40)),
        "length": result((0, 0, (1, 10), 41)),
        "length_2_63": result((0, 0, (1 << 61,), 1 << 63)),
        "count_0": result(desc, count=0),
        "count_65535": result(desc, count=65535),
        "meta_none": wire.frame(wire.RESULT, b"", piece, id=asked),
        "meta_short": wire.frame(wire.RESULT, meta[:70], piece, id=asked),
        "payload_2_63": wire.frame(wire.RESULT, b"", payload_len=1 << 63),
        "tensor": wire.frame(wire.TENSOR, b"", [bytes(64)]),
        "welcome": wire.frame(wire.WELCOME, wire.welcome()),
        "attached": wire.frame(wire.ATTACHED),
        "type_127": wire.frame(127),
    }


@pytest.mark.parametrize("deal", range(4))
def test_edge__bad_results__session_ends_request_is_asked_again(attack, deal):
    control, tensors = attack.running()
    for name in list(bad_results(attack.ident, 0))[deal::4]:
        asked = tensors.recv_kind(wire.TENSOR)
        tensors.raw(bad_results(attack.ident, asked.id)[name])
        assert tensors.recv_error() is not None, name
        control.close()
        tensors.close()
        control, tensors = attack.session()
        wire.send_offer(control, attack.ident, attack.manifest)
    control.close()
    tensors.close()
    attack.serve_honestly()


def test_edge__unknown_ids_and_later_types__are_read_over(attack):
    control, tensors = attack.running()
    meta = wire.tensors(attack.ident, [(wire.F32, 0, (1, 10), 40)])
    for ident in (0, 77, (1 << 64) - 1):
        tensors.send(wire.RESULT, meta, [bytes(40)], id=ident)
        tensors.send(wire.BUSY, wire.notice(11, 1), id=ident)
        tensors.send(wire.FAILED, wire.notice(14, 0, "\x1b[31mno"), id=ident)
    tensors.send(200, b"later", [bytes(1000)])
    control.send(255, b"later", [bytes(1000)])
    control.send(wire.PING)
    control.recv_kind(wire.PONG)
    control.close()
    tensors.close()
    attack.serve_honestly()


def test_edge__busy_for_49_days__asks_again_in_the_next_session(attack):
    control, tensors = attack.running()
    for _ in range(COUNT):
        asked = tensors.recv_kind(wire.TENSOR)
        for retry_ms in (0, 1, (1 << 32) - 1):
            tensors.send(wire.BUSY, wire.notice(11, retry_ms, "busy"), id=asked.id)
    control.send(wire.PING)
    control.recv_kind(wire.PONG)
    control.close()
    tensors.close()
    attack.serve_honestly()


def test_edge__busy_at_once_each_time__comes_back_later_each_time(attack):
    """All of a request is sent again each time."""
    _, tensors = attack.running()
    times = []
    while len(times) < 10:
        asked = tensors.recv_kind(wire.TENSOR)
        if asked.id == 1:
            times.append(time.monotonic())
        tensors.send(wire.BUSY, wire.notice(wire.EBUSY, 1), id=asked.id)
    assert times[-1] - times[0] > 0.5  # 1 + 2 + 4 + ... + 256 ms; a busy machine adds to it
    attack.edge.signal(signal.SIGTERM)
    assert attack.edge.wait() in (0, 1)


def test_edge__busy_for_ever__stops_when_told(attack):
    control, tensors = attack.running()
    for _ in range(COUNT):
        asked = tensors.recv_kind(wire.TENSOR)
        tensors.send(wire.BUSY, wire.notice(11, (1 << 32) - 1), id=asked.id)
    control.send(wire.PING)
    control.recv_kind(wire.PONG)
    attack.edge.signal(signal.SIGTERM)
    assert attack.edge.wait() in (0, 1)
    failed = [e for e in attack.edge.events() if e["event"] == "error"]
    assert len(failed) == COUNT and all(e["why"] for e in failed)
    control.close()


def test_edge__failed__is_shown_escaped_once_each(attack):
    control, tensors = attack.running()
    for _ in range(COUNT):
        asked = tensors.recv_kind(wire.TENSOR)
        for _ in range(3):
            tensors.send(wire.FAILED, wire.notice(999, 0, "\x1b[2J\nbroken"), id=asked.id)
    assert attack.edge.wait() == 1
    failed = [e for e in attack.edge.events() if e["event"] == "error"]
    assert sorted(e["index"] for e in failed) == list(range(COUNT))
    assert all("broken" in e["why"] for e in failed)
    control.close()


@pytest.mark.parametrize("deal", range(3))
def test_edge__stream_cut_at_many_bytes__works_in_the_end(attack, deal):
    """Both of the cloud's streams, ended after ever more bytes."""
    welcome = wire.frame(wire.WELCOME, wire.welcome())
    offer = wire.frame(
        wire.OFFER, wire.offer(attack.ident, len(attack.manifest)), [attack.manifest]
    )
    stream = welcome + offer
    cuts = (0, 1, 64, 255, 256, 257, 300, 512, 600, len(stream) - 1, len(stream))
    for n in cuts[deal::3]:
        control = attack.cloud.accept()
        control.recv_kind(wire.HELLO)
        control.raw(stream[:n])
        if n >= 256:
            tensors = attack.cloud.accept()
            tensors.raw(wire.frame(wire.ATTACHED)[: n - 256])
            tensors.close()
        control.close()
    attack.serve_honestly()


def test_edge__floods__stay_small_and_end_in_order(attack):
    """Offers, byes and pings without end: the queue of what a person is to see
    is bounded, and answers are not lost among them."""
    control, tensors = attack.running()
    keep = wire.frame(
        wire.OFFER, wire.offer(attack.ident, len(attack.manifest), 0), [attack.manifest]
    )
    control.raw(keep * 500)
    control.raw(wire.frame(wire.BYE, wire.notice(13, 0, "bye")) * 9000)
    for _ in range(1000):
        control.send(wire.PING)
    got = 0
    while got < 1000:
        got += control.recv_kind(wire.PONG, wire.READY).kind == wire.PONG
    control.close()
    tensors.close()
    attack.serve_honestly()


def test_edge__nobody_answers__is_ended_by_a_signal(attack):
    """A cloud that accepts and is silent: SIGTERM ends the edge all the same."""
    control = attack.cloud.accept()
    control.recv_kind(wire.HELLO)
    time.sleep(0.2)
    assert attack.edge.term() in (0, 1)
    control.close()
