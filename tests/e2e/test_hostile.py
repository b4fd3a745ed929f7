"""Peers that break the rules of docs/PROTOCOL.md, against the cloud and against
the edge. After each attack the cloud must still serve an honest edge, with the
right numbers; the edge must say what is wrong and live on, or end with one line."""

import random
import resource
import threading
from pathlib import Path

import exact
import pytest
import wire

# ---- the cloud under attack --------------------------------------------------


@pytest.fixture
def cloud(start_cloud, kerf_asan, tmp_path):
    exact.put(tmp_path / "models", head_bytes=8 << 20)
    return start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--workers", 1, binary=kerf_asan
    )


def ask_honestly(cloud, index=7):
    """An honest session gets the right answer."""
    with wire.Edge(cloud.port, name="honest") as edge:
        bundle, _ = edge.offered()
        edge.request(bundle, exact.h_of(index), id=index)
        got = edge.tensors.recv_kind(wire.RESULT, wire.BUSY)
        assert got.kind == wire.RESULT, got.notice()
        assert got.id == index
        assert got.floats() == exact.y_of(index)


def end_well(cloud):
    """The cloud still serves, and ends as it should, without leaks."""
    assert cloud.alive(), cloud.report()
    ask_honestly(cloud)
    assert cloud.term() == 0


CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(200)
GOOD_HELLO = wire.frame(wire.HELLO, wire.hello())
STRANGERS = {
    "garbage": random.Random(1).randbytes(4096),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".ljust(300),
    "tls": CLIENT_HELLO.ljust(300, b"\0"),
    "magic": wire.frame(wire.HELLO, wire.hello(), magic=b"KERG"),
    "header_hash": wire.frame(wire.HELLO, wire.hello(), header_hash=1),
    "body_hash": wire.frame(wire.HELLO, wire.hello(), body_hash=1),
    "payload_2_63": wire.frame(wire.HELLO, wire.hello(), payload_len=1 << 63),
    "payload_64": wire.frame(wire.HELLO, wire.hello(), payload_len=64),
    "payload_odd": wire.frame(wire.HELLO, wire.hello(), payload_len=63),
    "meta_2_32": wire.frame(wire.HELLO, wire.hello(), meta_len=(1 << 32) - 1),
    "meta_16385": wire.frame(wire.HELLO, wire.hello(), meta_len=16385),
    "meta_short": wire.frame(wire.HELLO, wire.hello()[:20]),
    "meta_none": wire.frame(wire.HELLO),
    "name_too_long": wire.frame(wire.HELLO, wire.hello(name="n" * 128)),
    "name_with_zero": wire.frame(wire.HELLO, wire.hello(name="a\0b")),
    "bundles_65": wire.frame(wire.HELLO, wire.hello(bundles=[bytes(32)] * 65)),
    "versions_turned": wire.frame(wire.HELLO, wire.hello(versions=(2, 1))),
    "versions_later": wire.frame(wire.HELLO, wire.hello(versions=(2, 3))),
    "attach_wrong_token": wire.frame(wire.ATTACH, b"t" * 16),
    "attach_short": wire.frame(wire.ATTACH, b"t" * 15),
}


def test_cloud__strangers__are_told_and_dropped(cloud):
    """Each gets an ERROR frame, and nobody else is disturbed."""
    for name, data in STRANGERS.items():
        with wire.dial(cloud.port) as peer:
            peer.raw(data)
            found = peer.recv_error()
            assert found is not None and found[0] != 0 and found[1], name
        assert cloud.alive(), name
    ask_honestly(cloud)
    # Those that end by themselves: nothing, one byte, half a header, half a meta.
    for n in (0, 1, 63, 64, 255):
        with wire.dial(cloud.port) as peer:
            peer.raw(GOOD_HELLO[:n])
    end_well(cloud)


def test_cloud__other_version__names_both(cloud):
    for data in (
        wire.frame(wire.HELLO, wire.hello(), version=2),
        wire.frame(wire.PING, version=250, payload_len=1 << 63),
        wire.frame(wire.HELLO, wire.hello(versions=(2, 9))),
    ):
        with wire.dial(cloud.port) as peer:
            peer.raw(data)
            err, words = peer.recv_error()
        assert err == wire.EVERSION
        assert "1" in words and any(n in words for n in ("2", "250"))
        assert "update the older one" in words
    end_well(cloud)


def test_cloud__stopped_while_a_stranger_is_shown_out__leaks_nothing(cloud):
    """The stranger gets a second to read why; the cloud ends within it."""
    peers = [wire.dial(cloud.port) for _ in range(5)]
    for peer in peers:
        peer.raw(STRANGERS["garbage"])
        assert peer.recv().kind == wire.ERROR
    assert cloud.term() == 0
    for peer in peers:
        peer.close()


def every_frame(bundle):
    """One well-formed frame of each type."""
    data = wire.floats(exact.h_of(1))
    meta = wire.tensors(bundle, [(wire.F32, 0, (1, 16), len(data))])
    return {
        wire.HELLO: wire.frame(wire.HELLO, wire.hello()),
        wire.WELCOME: wire.frame(wire.WELCOME, wire.welcome()),
        wire.ATTACH: wire.frame(wire.ATTACH, bytes(16)),
        wire.ATTACHED: wire.frame(wire.ATTACHED),
        wire.ERROR: wire.frame(wire.ERROR, wire.notice(10, 0, "\x1b[2Jfault\x07")),
        wire.PING: wire.frame(wire.PING),
        wire.PONG: wire.frame(wire.PONG, wire.pong(1, 2)),
        wire.OFFER: wire.frame(wire.OFFER, wire.offer(bundle, 2), [b"{}"]),
        wire.FETCH: wire.frame(wire.FETCH, wire.part(bundle, 0)),
        wire.PART: wire.frame(wire.PART, wire.part(bundle, 0, 0, 4), [b"abcd"]),
        wire.READY: wire.frame(wire.READY, wire.ready(bundle)),
        wire.TENSOR: wire.frame(wire.TENSOR, meta, [data], id=1),
        wire.RESULT: wire.frame(wire.RESULT, meta, [data], id=1),
        wire.BUSY: wire.frame(wire.BUSY, wire.notice(11, 1), id=1),
        wire.FAILED: wire.frame(wire.FAILED, wire.notice(14), id=1),
        wire.BYE: wire.frame(wire.BYE, wire.notice()),
        127: wire.frame(127, b"what"),
    }


ALLOWED = {
    "new": {wire.HELLO},
    "control": {wire.PING, wire.PONG, wire.FETCH, wire.READY, wire.BYE},
    "tensors": {wire.TENSOR, wire.PING, wire.PONG, wire.BYE},
}


@pytest.mark.parametrize("state", ALLOWED)
def test_cloud__every_type_in_every_state(cloud, state):
    """What is not in the table of PROTOCOL.md ends the connection; the rest
    does not: a PING after it is answered."""
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
    for kind, data in every_frame(bundle).items():
        edge = None if state == "new" else wire.Edge(cloud.port)
        peer = wire.dial(cloud.port) if edge is None else getattr(edge, state)
        peer.raw(data)
        if kind == wire.ERROR:
            assert peer.recv_error() is None or state == "new"
        elif kind not in ALLOWED[state]:
            found = peer.recv_error()
            assert found is not None and found[0] in (wire.EPROTO, wire.ETOOBIG), kind
        else:
            peer.send(wire.PING)
            peer.recv_kind(wire.PONG)
        (edge or peer).close()
    assert "\x1b" not in cloud.out + cloud.err
    end_well(cloud)


def test_cloud__types_from_128_on__are_read_over(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        edge.control.send(200, b"later")
        edge.tensors.send(128, b"later", [b"x" * 100_000])
        edge.control.send(wire.PING)
        edge.control.recv_kind(wire.PONG)
        edge.request(bundle, exact.h_of(3), id=3)
        assert edge.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(3)
    end_well(cloud)


def test_cloud__fetch__only_what_was_offered(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, manifest = edge.offered()
    files = manifest["files"]
    assert [f["role"] for f in files] == wire.ROLES[1:]
    bad = {
        "index": wire.part(bundle, 4),
        "index_max": wire.part(bundle, 65535),
        "tail": wire.part(bundle, 2),
        "tail_weights": wire.part(bundle, 3),
        "past_the_end": wire.part(bundle, 0, files[0]["size"] + 1),
        "offset_2_31": wire.part(bundle, 0, (1 << 31) + 1),
        "offset_2_64": wire.part(bundle, 0, (1 << 64) - 1),
        "range_past_the_end": wire.part(bundle, 0, 1, files[0]["size"]),
        "range_of_nothing": wire.part(bundle, 0, files[0]["size"], 1),
        "range_2_32": wire.part(bundle, 0, 1, (1 << 32) - 1),
        "unknown_bundle": wire.part(b"u" * 32, 0),
        "short": wire.part(bundle, 0)[:-1],
    }
    for name, meta in bad.items():
        with wire.Edge(cloud.port, attach=False) as edge:
            edge.control.send(wire.FETCH, meta)
            assert edge.control.recv_error() is not None, name
    with wire.Edge(cloud.port) as edge:  # and from an offset, as allowed
        edge.control.send(wire.FETCH, wire.part(bundle, 1, 500_000))
        got = edge.control.recv_kind(wire.PART)
        assert got.payload == exact.weights(8 << 20)[500_000:][: wire.CHUNK]
        edge.control.send(wire.FETCH, wire.part(bundle, 0, files[0]["size"]))
        edge.control.send(wire.PING)
        edge.control.recv_kind(wire.PONG)
    end_well(cloud)


def bad_tensors(bundle):
    """name: (meta, pieces, what ends it: FAILED, or the connection)."""
    data = wire.floats(exact.h_of(1))
    f32 = wire.F32

    def one(dtype=f32, codec=0, dims=(1, 16), length=64, data=data, count=None, **more):
        bundle_of = more.get("bundle", bundle)
        return wire.tensors(bundle_of, [(dtype, codec, dims, length)], count=count), [data]

    two = wire.tensors(bundle, [(f32, 0, (1, 16), 64)] * 2)
    return {
        "other_bundle": (*one(bundle=b"o" * 32), wire.FAILED),
        "shape": (*one(dims=(16, 1)), wire.FAILED),
        "rank": (*one(dims=(16,)), wire.FAILED),
        "dtype": (*one(dtype=wire.I32), wire.FAILED),
        "count": (two, [data, data], wire.FAILED),
        "short": (*one(dims=(1, 15), length=60, data=data[:60]), wire.FAILED),
        "codec": (*one(codec=1), None),
        "dtype_unknown": (*one(dtype=13), None),
        "rank_9": (*one(dims=(1,) * 8 + (16,)), None),
        "length": (*one(length=60), None),
        "length_2_63": (*one(length=1 << 63), None),
        "dims_overflow": (*one(dims=(1 << 33, 1 << 33)), None),
        "dims_negative": (*one(dims=(1, (1 << 64) - 16)), None),
        "count_0": (*one(count=0), None),
        "count_65": (*one(count=65), None),
        "count_65535": (*one(count=65535), None),
        "meta_short": (one()[0][:60], [data], None),
        "no_payload": (wire.tensors(bundle, [(f32, 0, (1, 0), 0)]), [], None),
        "payload_longer": (one()[0], [data, data], None),
    }


def test_cloud__wrong_tensors__fail_or_end_the_session(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        cases = bad_tensors(bundle)
        for name, (meta, pieces, answer) in cases.items():
            if answer is None:
                continue
            edge.tensors.send(wire.TENSOR, meta, pieces, id=5)
            got = edge.tensors.recv_kind(wire.FAILED)
            expected = wire.ENOENT if name == "other_bundle" else wire.EMISMATCH
            assert got.id == 5 and got.notice()[0] == expected, name
        edge.request(bundle, exact.h_of(4), id=6)  # the session goes on
        assert edge.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(4)
    for name, (meta, pieces, answer) in cases.items():
        if answer is None:
            with wire.Edge(cloud.port) as edge:
                edge.tensors.send(wire.TENSOR, meta, pieces, id=5)
                assert edge.tensors.recv_error() is not None, name
    with wire.Edge(cloud.port) as edge:  # damaged on the way
        data = wire.floats(exact.h_of(1))
        meta = wire.tensors(bundle, [(wire.F32, 0, (1, 16), 64)])
        edge.tensors.send(wire.TENSOR, meta, [data], id=5, body_hash=1)
        assert edge.tensors.recv_error()[0] == wire.ECORRUPT
    end_well(cloud)


def test_cloud__request_that_is_refused__damage_is_found_first(cloud):
    """Else a bit error in a bundle's id would fail a request for good."""
    pieces = [bytes([n]) * size for n, size in enumerate((200_000, 4, 0, 70_000))]
    descs = [(wire.F32, 0, (1, len(piece) // 4), len(piece)) for piece in pieces]
    meta = wire.tensors(bytes(32), descs)
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        edge.tensors.send(wire.TENSOR, meta, pieces, id=5)
        got = edge.tensors.recv_kind(wire.FAILED)
        assert got.id == 5 and got.notice()[0] == wire.ENOENT
        edge.request(bundle, exact.h_of(4), id=6)  # the session goes on
        assert edge.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(4)
    whole = wire.frame(wire.TENSOR, meta, pieces, id=5)
    for at in (70, 300, 200_100, len(whole) - 70):  # the id, and pieces
        with wire.Edge(cloud.port) as edge:
            bad = bytearray(whole)
            bad[at] ^= 4
            edge.tensors.raw(bytes(bad))
            assert edge.tensors.recv_error()[0] in (wire.ECORRUPT, wire.EPROTO), at
    end_well(cloud)


def test_cloud__attach__once_with_the_right_token(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        with wire.dial(cloud.port) as second:  # the token is used up
            second.send(wire.ATTACH, edge.token)
            assert second.recv_error()[0] == wire.EPROTO
        edge.request(bundle, exact.h_of(1), id=1)
        edge.tensors.recv_kind(wire.RESULT)
        token = edge.token
    with wire.dial(cloud.port) as late:  # the session is over
        late.send(wire.ATTACH, token)
        assert late.recv_error()[0] == wire.EPROTO
    with wire.Edge(cloud.port, attach=False) as edge:  # tensors before ATTACHED
        tensors = wire.dial(cloud.port)
        data = wire.floats(exact.h_of(2))
        meta = wire.tensors(bundle, [(wire.F32, 0, (1, 16), len(data))])
        tensors.send(wire.TENSOR, meta, [data], id=1)
        assert tensors.recv_error() is not None
        edge.control.send(wire.PING)
        edge.control.recv_kind(wire.PONG)
    end_well(cloud)


def test_cloud__one_id_many_times__each_is_answered(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        for index in range(10):
            edge.request(bundle, exact.h_of(index), id=42)
        answers = [edge.tensors.recv_kind(wire.RESULT) for _ in range(10)]
        assert {a.id for a in answers} == {42}
        assert [a.floats() for a in answers] == [exact.y_of(i) for i in range(10)]
    end_well(cloud)


def test_cloud__id_of_a_request_from_disk__is_shown_without_its_bit(start_cloud, kerf, tmp_path):
    exact.put(tmp_path / "models")
    cloud = start_cloud("--engine", "fake", "--models", tmp_path / "models")
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        for name, event in [(bundle, "answer"), (bytes(32), "refused")]:
            edge.request(name, exact.h_of(5), id=1 << 63 | 5, dims=(1, 16))
            assert edge.tensors.recv_kind(wire.RESULT, wire.FAILED).id == 1 << 63 | 5
            assert cloud.wait_event(event)["id"] == 5


def test_cloud__sessions_cut_at_every_byte(cloud):
    """A whole session's bytes, ended after each count: on both connections."""
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
    stream = every_frame(bundle)
    control = b"".join(stream[k] for k in (wire.HELLO, wire.PING, wire.FETCH, wire.READY))
    for n in range(0, len(control), 37):
        with wire.dial(cloud.port) as peer:
            peer.raw(control[:n])
    for n in range(0, len(stream[wire.TENSOR]), 11):
        with wire.Edge(cloud.port) as edge:
            edge.tensors.raw(stream[wire.TENSOR][:n])
    end_well(cloud)


def test_cloud__names_of_edges__are_escaped_everywhere(spawn, kerf_asan, kerf, tmp_path):
    names = [
        b"\x1b[2J\x1b]0;owned\x07", b"a\nEdge b connected", b"\xff\xfe\x80", b"\xc2\x9b31m",
        b"n" * 127, b"\"'{}", b"", "\u202eevil".encode(),
    ]  # fmt: skip
    exact.put(tmp_path / "models")
    for binary, more in ((kerf_asan, ["--json"]), (kerf, [])):
        cloud = spawn(
            "cloud", "--engine", "fake", "--models", tmp_path / "models", "--cloud_port", 0,
            "--log", "trace", *more, binary=binary,
        )  # fmt: skip
        cloud.port = int(cloud.wait_line(r"(?:Listening on 127.0.0.1:|\"port\":)(\d+)")[1])
        for name in names:
            with wire.Edge(cloud.port, name=name, want=name[:60], engine=name) as edge:
                bundle, _ = wire.Edge(cloud.port).offered()
                edge.control.send(wire.READY, wire.ready(bundle, 14, name + b"\r\x1b[31m"))
                edge.tensors.send(
                    wire.TENSOR, wire.tensors(b"o" * 32, [(0, 0, (1, 1), 4)]), [b"abcd"], id=1
                )
                edge.tensors.recv_kind(wire.FAILED)
        assert cloud.term() == 0
        shown = cloud.out + cloud.err
        bad = [c for c in shown if ord(c) < 32 and c != "\n" or 127 <= ord(c) < 160]
        assert not bad and "\ufffd" not in shown
        assert "\nEdge b connected" not in shown
        if more:
            assert len([e for e in cloud.events() if e["event"] == "edge"]) >= len(names)


def rss_kb(process):
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def flood(peer, data, most):
    """Sends data again and again, never reading, until the peer takes no more
    for a second, or most bytes went; the bytes sent."""
    peer.sock.settimeout(1)
    sent = 0
    try:
        while sent < most:
            sent += peer.sock.send(data)
    except (TimeoutError, ConnectionError):
        pass
    return sent


@pytest.fixture
def plain_cloud(start_cloud, tmp_path):
    """The optimised binary, for counting memory."""
    exact.put(tmp_path / "models", head_bytes=4 << 20)
    return start_cloud("--engine", "fake", "--models", tmp_path / "models", "--workers", 1)


@pytest.mark.parametrize("what", ["ping", "ping_tensors", "fetch", "wrong_tensor", "tensor"])
def test_cloud__floods_of_who_never_reads__cost_bounded_memory(plain_cloud, what):
    cloud = plain_cloud
    ask_honestly(cloud)
    before = rss_kb(cloud)
    edge = wire.Edge(cloud.port, rcvbuf=4096)
    with wire.Edge(cloud.port) as other:
        bundle, _ = other.offered()
    frames = every_frame(bundle)
    wrong = wire.tensors(b"o" * 32, [(wire.F32, 0, (1, 16), 64)])
    data = {
        "ping": frames[wire.PING],
        "ping_tensors": frames[wire.PING],
        "fetch": wire.frame(wire.FETCH, wire.part(bundle, 1)) + frames[wire.PING],
        "wrong_tensor": wire.frame(wire.TENSOR, wrong, [bytes(64)], id=1),
        "tensor": frames[wire.TENSOR],
    }[what]
    peer = edge.control if what in ("ping", "fetch") else edge.tensors
    flood(peer, data * 64, 24 << 20)
    assert rss_kb(cloud) - before < 6144, f"{before} kB -> {rss_kb(cloud)} kB"
    ask_honestly(cloud)
    edge.close()
    end_well(cloud)


def test_cloud__violation_while_a_chunk_is_queued__is_survived(cloud):
    """The peer has asked for a part, does not read it, and asks for too many."""
    with wire.Edge(cloud.port) as other:
        bundle, _ = other.offered()
    edge = wire.Edge(cloud.port, rcvbuf=4096)
    flood(edge.control, wire.frame(wire.FETCH, wire.part(bundle, 1)) * 40, 1 << 20)
    edge.close()
    end_well(cloud)


def test_cloud__thousand_silent_connections__others_are_served(plain_cloud):
    cloud = plain_cloud
    before = rss_kb(cloud)
    peers = [wire.dial(cloud.port) for _ in range(900)]
    ask_honestly(cloud)
    assert (rss_kb(cloud) - before) / len(peers) < 16
    for peer in peers:
        peer.close()
    end_well(cloud)


def test_cloud__more_silent_connections_than_it_keeps__the_oldest_goes(
    start_cloud, kerf_asan, tmp_path
):
    exact.put(tmp_path / "models")
    cloud = start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--max-edges", 2, binary=kerf_asan
    )
    silent = [wire.dial(cloud.port) for _ in range(2 + 64)]
    ask_honestly(cloud)
    err, words = silent[0].recv_error()
    assert err == wire.EBUSY and "HELLO" in words
    # The last ones are kept, and may still say what they want.
    silent[-1].send(wire.HELLO, wire.hello("late"))
    silent[-1].recv_kind(wire.WELCOME)
    for peer in silent:
        peer.close()
    end_well(cloud)


def test_cloud__full__the_edge_says_so_and_gets_in_later(start_cloud, spawn, kerf_asan, tmp_path):
    exact.put(tmp_path / "models")
    cloud = start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--max-edges", 1, binary=kerf_asan
    )
    files = exact.inputs(tmp_path / "in", 1)
    with wire.Edge(cloud.port):
        edge = spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", cloud.port, "--once",
            "--store", tmp_path / "store", "--input", *files, binary=kerf_asan,
        )  # fmt: skip
        said = edge.wait_event("state")["text"]
        assert "the cloud is full: 1 edge" in said
    assert edge.wait() == 0, edge.report()
    exact.check_results(edge, 1)
    end_well(cloud)


def test_cloud__out_of_file_descriptors__serves_again(start_cloud, kerf_asan, tmp_path):
    exact.put(tmp_path / "models")
    cloud = start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", binary=kerf_asan,
        prefix=["prlimit", "--nofile=48"],
    )  # fmt: skip
    peers = [wire.dial(cloud.port) for _ in range(100)]
    for peer in peers:
        peer.close()
    end_well(cloud)


@pytest.mark.slow
def test_cloud__slow_loris__is_dropped_in_time(cloud):
    """No first frame, or a frame that begins and does not go on: 10 s. A peer
    that pings but stops in the middle of a tensor is dropped as well."""
    silent = wire.dial(cloud.port)
    half = wire.dial(cloud.port)
    half.raw(GOOD_HELLO[:32])
    dripping = wire.dial(cloud.port)
    edge = wire.Edge(cloud.port, name="half")
    bundle, _ = edge.offered()
    edge.tensors.raw(every_frame(bundle)[wire.TENSOR][:300])
    over = threading.Event()

    def keep_alive():
        at = 0
        while not over.wait(0.5):
            try:
                dripping.raw(GOOD_HELLO[at : at + 1])
                at += 1
            except wire.Closed:
                pass
            try:
                edge.control.send(wire.PING)
            except wire.Closed:
                return

    pinging = threading.Thread(target=keep_alive)
    pinging.start()
    try:
        ask_honestly(cloud)
        for peer in (silent, half, dripping, edge.tensors):
            peer.recv_error()  # ends; TimeoutError when it does not
    finally:
        over.set()
        pinging.join()
    end_well(cloud)


def unlimited_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))


unlimited_files()


def hammer(port, rng, over):
    """Random bytes and damaged frames until it is over."""
    while not over.is_set():
        try:
            with wire.dial(port) as peer:
                data = bytearray(GOOD_HELLO)
                for _ in range(rng.randrange(1, 4)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                peer.raw(bytes(data) * rng.randrange(1, 3))
                peer.sock.settimeout(0.05)
                peer.sock.recv(4096)
        except (wire.Closed, OSError):
            pass


def test_cloud__hammered__honest_edge_sees_only_right_answers(cloud):
    over = threading.Event()
    threads = [
        threading.Thread(target=hammer, args=(cloud.port, random.Random(seed), over))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    try:
        with wire.Edge(cloud.port) as edge:
            bundle, _ = edge.offered()
            for index in range(200):
                edge.request(bundle, exact.h_of(index), id=index)
                assert edge.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(index)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    end_well(cloud)
