"""Every length of the wire with 0, 1, its most, one more, and 2^63 (or the most
that the field holds), hashes right: each ends in an answer, an ERROR or the end of
the connection, and costs nobody else anything."""

import exact
import pytest
import wire
from test_hostile import cloud, end_well, rss_kb  # noqa: F401 - a fixture

MIB = 1 << 20


def values(width, most):
    """What a field of so many bytes is tried with."""
    top = (1 << 8 * width) - 1
    return sorted({0, 1, min(most, top), min(most + 1, top), min(1 << 63, top), top})


def patched(data, at, width, value):
    return data[:at] + value.to_bytes(width, "little") + data[at + width :]


class Case:
    """A frame with one length in its meta, or in its header."""

    def __init__(self, name, kind, meta, at, width, most, pieces=()):
        self.name, self.kind, self.meta, self.pieces = name, kind, meta, pieces
        self.at, self.width, self.most = at, width, most
        self.id = 9 if kind in (wire.TENSOR, wire.BLOCK) else 1 << 40

    def frames(self):
        for value in values(self.width, self.most):
            meta = patched(self.meta, self.at, self.width, value)
            yield value, wire.frame(self.kind, meta, self.pieces, id=self.id)


def header_frames(kind, meta, pieces=()):
    """One good frame whose header says other lengths."""
    for value in values(4, 16384):
        yield f"meta_len {value}", wire.frame(kind, meta, pieces, id=9, meta_len=value)
    for value in values(8, 1 << 31):
        for length in {value, value // 64 * 64, (value + 63) // 64 * 64 % (1 << 64)}:
            yield f"payload_len {length}", wire.frame(kind, meta, pieces, id=9, payload_len=length)


def hello_cases():
    meta = wire.hello(name="n", want="w", engine="e", bundles=[bytes(32)])
    yield Case("name", wire.HELLO, meta, 16, 2, 127)
    yield Case("want", wire.HELLO, meta, 19, 2, 127)
    yield Case("engine", wire.HELLO, meta, 22, 2, 127)
    yield Case("bundles", wire.HELLO, meta, 25, 2, 64)


def tensor_cases(bundle):
    data = wire.floats(exact.h_of(1))
    meta = wire.tensors(bundle, [(wire.F32, 0, (1, 16), len(data))])
    at = 32 + 44
    yield Case("count", wire.TENSOR, meta, at, 2, 64, [data])
    yield Case("rank", wire.TENSOR, meta, at + 4, 2, 8, [data])
    yield Case("dim", wire.TENSOR, meta, at + 6, 8, 1 << 28, [data])
    yield Case("dim 1", wire.TENSOR, meta, at + 14, 8, 1 << 28, [data])
    yield Case("len", wire.TENSOR, meta, at + 22, 8, 1 << 30, [data])
    coded = wire.tensors(bundle, [(wire.F32, 4, (1, 16), 40)])
    yield Case("coded len", wire.TENSOR, coded, at + 22, 8, 63, [bytes(40)])
    follows = wire.tensors(bundle, [(wire.F32, 4, (1, 16), 0)])
    yield Case("follows", wire.TENSOR, follows, at + 14, 8, 1 << 28)


def block_cases():
    meta = wire.block(0, 4, 0, 16, 40)
    for name, at, width, most in (
        ("tensor", 0, 2, 63), ("first", 4, 4, 15), ("count", 8, 4, 16), ("len", 12, 4, 63),
    ):  # fmt: skip
        yield Case(f"block {name}", wire.BLOCK, meta, at, width, most, [bytes(40)])


def fetch_cases(bundle, size):
    meta = wire.part(bundle, 0)
    yield Case("part", wire.FETCH, meta, 32, 2, 1)
    yield Case("offset", wire.FETCH, meta, 34, 8, size)
    yield Case("len", wire.FETCH, meta, 42, 4, size)


def notice_cases(kind):
    yield Case(f"text of {kind}", kind, wire.notice(1, 0, "why"), 6, 2, 511)


def outcome(peer, timeout=20):
    """The kinds that came back until the connection ended or answered a PING."""
    came = []
    try:
        peer.send(wire.PING)
        while True:
            came.append(peer.recv(timeout).kind)
            if came[-1] in (wire.PONG, wire.ERROR):
                return came
    except wire.Closed:
        return [*came, None]


def test_cloud__every_length(cloud):  # noqa: F811
    with wire.Edge(cloud.port) as edge:
        bundle, manifest = edge.offered()
    before = rss_kb(cloud)
    cases = [("new", case) for case in hello_cases()]
    cases += [("tensors", case) for case in tensor_cases(bundle)]
    cases += [("tensors after TENSOR", case) for case in block_cases()]
    cases += [("control", case) for case in fetch_cases(bundle, manifest["files"][0]["size"])]
    cases.append(("control", Case("ready", wire.READY, wire.ready(bundle, 1, "why"), 34, 2, 511)))
    for kind in (wire.ERROR, wire.BYE):
        cases += [("control", case) for case in notice_cases(kind)]
    for state, case in cases:
        for value, data in case.frames():
            edge = wire.Edge(cloud.port) if state != "new" else None
            peer = wire.dial(cloud.port) if edge is None else getattr(edge, state.split()[0])
            if state == "tensors after TENSOR":
                follows = wire.tensors(bundle, [(wire.F32, 4, (1, 16), 0)])
                peer.send(wire.TENSOR, follows, id=9)
            peer.raw(data)
            came = outcome(peer)
            # Over the most it never passes as good.
            if value > case.most and case.kind not in (wire.ERROR, wire.BYE):
                assert came[-1] != wire.PONG or wire.FAILED in came, (case.name, value, came)
            (edge or peer).close()
        assert cloud.alive(), case.name
    assert rss_kb(cloud) < before + 64 * 1024
    end_well(cloud)


HEADERS = {
    "new": (wire.HELLO, wire.hello(), ()),
    "control": (wire.FETCH, wire.part(bytes(32), 0), ()),
    "tensors": (wire.TENSOR, wire.tensors(bytes(32), [(wire.F32, 0, (1, 16), 64)]), [bytes(64)]),
}


@pytest.mark.parametrize("state", HEADERS)
def test_cloud__every_length_in_a_header(cloud, state):  # noqa: F811
    before = rss_kb(cloud)
    kind, meta, pieces = HEADERS[state]
    for _, data in header_frames(kind, meta, pieces):
        edge = wire.Edge(cloud.port) if state != "new" else None
        peer = wire.dial(cloud.port) if edge is None else getattr(edge, state)
        try:
            peer.raw(data)
        except wire.Closed:
            pass
        # A length that is allowed makes it wait for bytes: nothing to hear.
        peer.sock.shutdown(1)
        try:
            while True:
                peer.recv(20)
        except (wire.Closed, TimeoutError):
            pass
        (edge or peer).close()
    assert rss_kb(cloud) < before + 64 * 1024
    end_well(cloud)


# ---- the edge ------------------------------------------------------------------


def edge_cases(bundle):
    answer = wire.tensors(bundle, [(wire.F32, 0, (1, exact.Y), 40)])
    data = [wire.floats([0.0] * exact.Y)]
    at = 32 + 44
    for name, place, width, most in (
        ("count", at, 2, 64), ("rank", at + 4, 2, 8), ("dim", at + 6, 8, 1 << 28),
        ("len", at + 22, 8, 1 << 28),
    ):  # fmt: skip
        yield "tensors", Case(name, wire.RESULT, answer, place, width, most, data)
    yield "control", Case("manifest", wire.OFFER, wire.offer(bytes(32), 2), 33, 4, 8 * MIB, [b"{}"])
    part = wire.part(bundle, 0, 0, 4)
    yield "control", Case("offset", wire.PART, part, 34, 8, 1 << 31, [b"abcd"])
    yield "control", Case("len", wire.PART, part, 42, 4, 256 << 10, [b"abcd"])
    packed = wire.packed_part(bundle, 0, 0, 4, 100)
    yield "control", Case("plain", wire.PART, packed, 48, 4, 4 * MIB, [b"abcd"])
    for kind in (wire.BUSY, wire.FAILED, wire.ERROR, wire.BYE):
        for case in notice_cases(kind):
            yield "tensors", case


def test_edge__every_length(spawn, kerf_asan, tmp_path):
    """After each attack the edge gets an answer, so that it dials again at once."""
    ident, manifest, files = *wire.manifest("m", made := [
        (role, name, data) for role, (name, data) in enumerate(exact.files().items(), 1)
    ]), made  # fmt: skip
    attacks = [
        (where, case.name, data) for where, case in edge_cases(ident) for _, data in case.frames()
    ]
    inputs = exact.inputs(tmp_path / "in", 50)
    with wire.Cloud() as server:
        edge = spawn(
            "edge", "--json", "--engine", "fake", "--cloud_port", server.port, "--repeat", 0,
            "--window", 1, "--store", tmp_path / "store", "--input", *inputs, binary=kerf_asan,
        )  # fmt: skip

        def answer_one(tensors):
            asked = tensors.recv_kind(wire.TENSOR)
            y = [0.25 * v + 1 for v in exact.fold(asked.floats(), exact.Y)]
            meta = wire.tensors(ident, [(wire.F32, 0, (1, exact.Y), 40)])
            tensors.send(wire.RESULT, meta, [wire.floats(y)], id=asked.id)

        def session():
            control, tensors = server.greet(), server.attach()
            wire.send_offer(control, ident, manifest)
            wire.serve_fetches(control, files)
            answer_one(tensors)
            edge.wait_event("result")  # an attack may come first, on the other connection
            return {"control": control, "tensors": tensors}

        for where, name, data in attacks:
            peers = session()
            try:
                peers[where].raw(data)
                peers["tensors"].send(wire.BYE, wire.notice())
            except wire.Closed:
                pass
            for peer in peers.values():
                peer.close()
            assert edge.alive(), (name, edge.report())
        peers = session()
        assert rss_kb(edge) < 400 * 1024
        edge.signal(15)
        for peer in peers.values():
            peer.close()
        assert edge.wait() in (0, 1)  # one may have been asked just before
    failed = [e for e in edge.events() if e["event"] == "error"]
    assert len(failed) <= 1 and all("stopped before" in e["why"] for e in failed), failed
    results = [e for e in edge.events() if e["event"] == "result"]
    assert len(results) >= len(attacks)
    for e in results:
        index = int(e["input"].rsplit("/", 1)[1].split(".")[0])
        assert e["outputs"][0]["values"] == exact.y_of(index)
