"""Large coded tensors go in blocks, each on its way while the next is encoded:
Kerf's two ends against each other, old peers, and peers that break the rules."""

import re
import struct
import time

import numpy as np
import pytest
import wire
from nets import X, fold, model, near, only, put_pair, results, value

FAKE = ["--engine", "fake"]
EXACT, Q8, Q8C = 1, 4, 11
ONE, STEPS, STORED = 0, 4, 0
FULL = wire.BLOCK_MIN
H = (1, 5, 150, 200)  # 150,000 values: three blocks of 64 Ki
VALUES = int(np.prod(H))
Y = value("y", (1, 10), a=2.0**-10)


def files_of(head, tail):
    texts = [head, "w", tail, "w"]
    names = [
        f"{side}_infer_m.{e}" for side in ("client", "server") for e in ("pdmodel", "pdiparams")
    ]
    return [
        (role, name, text.encode())
        for role, (name, text) in enumerate(zip(names, texts, strict=True), 1)
    ]


def blob(codec, content, count, body):
    head = struct.pack("<BBBB", codec, content, STORED, 0)
    rest = struct.pack("<I", count) + body
    return head + struct.pack("<I", wire.hash64(rest, wire.hash64(head)) & 0xFFFFFFFF) + rest


def constant(codec, count, number):
    return blob(codec, ONE, count, struct.pack("<f", number))


# ---- Kerf's two ends ---------------------------------------------------------


@pytest.fixture
def exchange(run, start_cloud, tmp_path):
    """exchange(values of the head, codec, args) -> the edge, ended, and its outputs."""
    made = []

    def go(head, codec, *args, binary=None, count=3):
        models = tmp_path / "models"
        if not made:
            inputs = [value(v["name"], v["shape"], dtype=v["dtype"]) for v in head]
            put_pair(models, "m", model([X], head), model(inputs, [Y]))
            made.append(start_cloud("--models", models, *FAKE, binary=binary))
        save = tmp_path / f"save{len(made)}"
        made.append(save)
        edge = run(
            "edge", *FAKE, "--cloud_port", made[0].port, "--store", tmp_path / "store", "--json",
            "--input", "random:3", "--rate", 1000, "--repeat", count, "--codec", codec,
            "--log", "trace", "--save", save, *args, binary=binary, timeout=120,
        )  # fmt: skip
        assert edge.status == 0, edge.report()
        assert only(edge, "summary")["answered"] == count
        return edge, [np.load(f) for f in sorted(save.glob("*.npy"))]

    yield go
    assert made[0].term() == 0


def test_blocks__each_build__give_the_answers_of_one_piece(exchange, every_kerf):
    head = [
        value("h", H, a=0.37, b=-0.2),
        value("small", (1, 7), a=0.5),
        value("whole", (1, 100), dtype="i32", a=9),
        value("flat", (300, 300), a=0.1),
    ]
    ways = [("q8", 64), ("q4c", 64), ("exact", 64), ("f16", 100)]
    for codec, values in ways[:2] if "tsan" in str(every_kerf) else ways:
        whole, want = exchange(head, codec, "--block", 0, binary=every_kerf)
        edge, got = exchange(head, codec, "--block", values, binary=every_kerf)
        assert len(want) == len(got) == 3
        assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True)), codec
        assert "edge.block" not in whole.err
        found = re.findall(r"edge\.block id=(\d+) first=(\d+)", edge.err)
        # Channels of 30,000 values stay whole; then the small one and the flat one.
        each = 90_000 if codec == "q4c" else 1024 * values
        starts = [*range(0, VALUES, each), 0, *range(0, 90_000, 1024 * values)]
        assert [int(first) for _, first in found] == 3 * starts, codec
        for a, b in zip(results(whole).values(), results(edge).values(), strict=True):
            assert a["codec"] == b["codec"] == codec
            assert a["tensor_bytes"] == b["tensor_bytes"]
            assert b["coded_bytes"] < 1.05 * a["coded_bytes"]
            assert b["bytes_sent"] > b["coded_bytes"]


def test_blocks__a_small_tensor__stays_one_frame(exchange):
    edge, _ = exchange([value("h", (1, FULL))], "q8", "--block", 64)
    assert "edge.block" not in edge.err
    assert {r["bytes_sent"] for r in results(edge).values()} == {
        256 + wire.up(r["coded_bytes"], 64) for r in results(edge).values()
    }


def test_blocks__the_first_is_on_the_wire_before_the_last_is_encoded(exchange):
    """The order of what happened, from the edge's trace: each block is with the
    kernel before the next one is made, since nothing else waits to be sent."""
    edge, _ = exchange([value("h", H)], "q8", "--block", 64, count=1)
    said = re.findall(r"(edge\.block|edge\.encoded|net\.send)", edge.err)
    start = said.index("edge.block")
    assert said[start : start + 4] == ["edge.block", "net.send"] * 2
    assert said[start + 4 : start + 7] == ["edge.block", "edge.encoded", "net.send"]


def test_blocks__tensors_of_one_request__go_one_by_one(exchange):
    """Each is less than a block, all together are more."""
    edge, _ = exchange(
        [value(f"h{i}", (1, 30_000)) for i in range(3)], "q8", "--block", 64, count=1
    )
    said = re.findall(r"(edge\.block|edge\.encoded|net\.send)", edge.err)
    start = said.index("edge.block")
    assert said[start : start + 4] == ["edge.block", "net.send"] * 2
    assert said[start + 4 : start + 7] == ["edge.block", "edge.encoded", "net.send"]


def test_blocks__a_large_tensor_that_is_alone__goes_as_it_is_in_blocks(exchange, every_kerf):
    """Each is on its way while the next is hashed; what is told is what it is: raw."""
    head = [value("h", (1, 1 << 20), a=0.37), value("i", (1, 1 << 20), dtype="i32", a=9)]
    whole, want = exchange(head, "raw", "--block", 0, binary=every_kerf, count=2)
    edge, got = exchange(head, "raw", "--rate", 1, binary=every_kerf, count=2)
    assert all(np.array_equal(a, b) for a, b in zip(want, got, strict=True))
    assert "edge.block" not in whole.err
    # Alone is who has had all answers: so is the second one, in its second.
    assert len(re.findall(r"edge\.block ", edge.err)) == 2 * 8
    for a, b in zip(results(whole).values(), results(edge).values(), strict=True):
        assert a["codec"] == b["codec"] == "raw"
        assert a["tensor_bytes"] == b["tensor_bytes"] == b["coded_bytes"] == 8 << 20
    said = re.findall(r"(edge\.block|net\.send)", edge.err)
    assert said.index("net.send") < said.index("edge.block") < len(said) - 3


# ---- a cloud of this file ----------------------------------------------------


@pytest.fixture
def meet(spawn, tmp_path):
    """meet(cloud, args) -> (control, tensors, edge), its head fetched and running."""

    def greet(cloud, features, shape=H, codecs=0x3FFFF):
        files = files_of(model([X], [value("h", shape)]), model([value("h", shape)], [Y]))
        ident, body = wire.manifest("m", files)
        control = cloud.greet(codecs=codecs, features=features, heartbeat_ms=600000)
        tensors = cloud.attach()
        wire.send_offer(control, ident, body)
        go.ident = ident
        return control, tensors, files

    def go(cloud, *args, features=wire.BLOCKS, binary=None, shape=H):
        edge = spawn(
            "edge", *FAKE, "--cloud_port", cloud.port, "--store", tmp_path / "store", "--codec",
            "q8", "--block", 64, "--input", "random:3", "--rate", 1000, "--json", *args,
            binary=binary,
        )  # fmt: skip
        control, tensors, files = greet(cloud, features, shape)
        assert wire.serve_fetches(control, files).kind == wire.READY
        return control, tensors, edge

    go.again = lambda *args: greet(*args)[:2]
    return go


def take_blocks(tensors, request):
    """The BLOCK frames of a request, which must be what PROTOCOL.md says."""
    ((dtype, codec, dims, length),) = request.describe()[1]
    assert (dtype, codec, dims, length, request.payload) == (wire.F32, Q8, H, 0, b"")
    at, found = 0, []
    while at < VALUES:
        got = tensors.recv_kind(wire.BLOCK)
        tensor, codec, zero, first, count, length = struct.unpack("<HBBIII", got.meta)
        assert (tensor, zero, first, got.id) == (0, 0, at, request.id)
        assert count >= FULL or first + count == VALUES
        assert codec in (0, Q8) and (length == 4 * count if codec == 0 else length < 4 * count)
        assert len(got.payload) == wire.up(length, 64)
        if codec == Q8:
            assert got.payload[0] == Q8
            assert struct.unpack_from("<I", got.payload, 8)[0] == count
        found.append((got.meta, got.payload))
        at += count
    return found


def give_answer(tensors, ident, request):
    data = wire.floats(range(10))
    meta = wire.tensors(ident, [(wire.F32, 0, (1, 10), 40)], echo_ns=request.sent_ns)
    tensors.send(wire.RESULT, meta, [data], id=request.id)


def test_edge__a_cloud_without_the_feature__gets_one_frame(meet):
    with wire.Cloud() as cloud:
        control, tensors, edge = meet(cloud, "--repeat", 1, features=0)
        request = tensors.recv_kind(wire.TENSOR)
        ((_, codec, dims, length),) = request.describe()[1]
        assert (codec, dims) == (Q8, H) and 0 < length < 4 * VALUES
        assert len(request.payload) == wire.up(length, 64)
        give_answer(tensors, meet.ident, request)
        assert edge.wait() == 0, edge.report()
        assert "edge.block" not in edge.err
        control.close()
        tensors.close()


def test_edge__busy_and_a_lost_connection__sends_all_of_it_again(meet, kerf_asan):
    with wire.Cloud() as cloud:
        control, tensors, edge = meet(cloud, "--repeat", 2, binary=kerf_asan)
        request = tensors.recv_kind(wire.TENSOR)
        blocks = take_blocks(tensors, request)
        tensors.send(wire.BUSY, wire.notice(wire.EBUSY, 1), id=request.id)
        # The second may come before or after; neither has frames of the other inside.
        requests = [tensors.recv_kind(wire.TENSOR)]
        again = [take_blocks(tensors, requests[0])]
        requests.append(tensors.recv_kind(wire.TENSOR))
        again.append(take_blocks(tensors, requests[1]))
        assert {r.id for r in requests} == {1, 2}
        assert again[[r.id for r in requests].index(1)] == blocks
        control.close()
        tensors.close()
        control, tensors = meet.again(cloud, wire.BLOCKS)
        for _ in range(2):
            request = tensors.recv_kind(wire.TENSOR)
            got = take_blocks(tensors, request)
            assert request.id != 1 or got == blocks
            give_answer(tensors, meet.ident, request)
        assert edge.wait() == 0, edge.report()
        assert only(edge, "summary")["answered"] == 2
        control.close()
        tensors.close()


def test_edge__cut_within_a_request__sends_all_of_it_in_the_next_session(meet, kerf_asan):
    with wire.Cloud() as cloud:
        control, tensors, edge = meet(cloud, "--repeat", 1, binary=kerf_asan)
        for kinds in (0, 1, 2):
            request = tensors.recv_kind(wire.TENSOR)
            for _ in range(kinds):
                tensors.recv_kind(wire.BLOCK)
            control.close()
            tensors.close()
            control, tensors = meet.again(cloud, wire.BLOCKS)
        request = tensors.recv_kind(wire.TENSOR)
        assert len(take_blocks(tensors, request)) == 3
        control.close()
        tensors.close()
        # An older cloud takes its place: said, not sent.
        control, tensors = meet.again(cloud, 0)
        assert edge.wait() == 1, edge.report()
        (found,) = (e for e in edge.events() if e["event"] == "error")
        assert "does not take tensors in blocks" in found["why"]
        control.close()
        tensors.close()


@pytest.mark.parametrize("features, codecs", [(0, 0x3FFFF), (wire.BLOCKS, 1)])
def test_edge__raw_and_then_a_cloud_that_takes_less__sends_one_frame(
    meet, kerf_asan, features, codecs
):
    """What is not coded goes to any cloud, also if the one before got it in blocks."""
    shape = (1, 1 << 20)
    with wire.Cloud() as cloud:
        control, tensors, edge = meet(
            cloud, "--repeat", 1, "--codec", "raw", shape=shape, binary=kerf_asan
        )
        request = tensors.recv_kind(wire.TENSOR)
        assert request.describe()[1] == [(wire.F32, EXACT, shape, 0)]
        blocks = [tensors.recv_kind(wire.BLOCK) for _ in range(2)]
        assert {struct.unpack("<HBBIII", b.meta)[1] for b in blocks} == {0}
        control.close()
        tensors.close()
        control, tensors = meet.again(cloud, features, shape, codecs)
        request = tensors.recv_kind(wire.TENSOR)
        assert request.describe()[1] == [(wire.F32, 0, shape, 4 << 20)]
        assert request.payload[: 1 << 19] == b"".join(b.payload for b in blocks)
        give_answer(tensors, meet.ident, request)
        assert edge.wait() == 0, edge.report()
        assert only(edge, "result")["codec"] == "raw"
        control.close()
        tensors.close()


def test_edge__answered_before_its_last_block__ends_the_session(meet, kerf_asan):
    """26 MB are more than the socket's buffers hold, so it cannot be sent yet."""
    with wire.Cloud() as cloud:
        big = ("--repeat", 1, "--codec", "exact", "--block", 1024)
        control, tensors, edge = meet(cloud, *big, shape=(1, 64, 320, 320), binary=kerf_asan)
        request = tensors.recv_kind(wire.TENSOR)
        tensors.recv_kind(wire.BLOCK)
        give_answer(tensors, meet.ident, request)
        assert "not sent yet" in edge.wait_event("state", connected=False)["text"]
        assert edge.alive(), edge.report()
        control.close()
        tensors.close()


# ---- an edge of this file ----------------------------------------------------


@pytest.fixture
def cloud(start_cloud, kerf_asan, tmp_path):
    small = value("s", (1, 3), dtype="i32")
    head = model([X], [value("h", H), small])
    put_pair(tmp_path / "models", "m", head, model([value("h", H), small], [Y]))
    return start_cloud(
        *FAKE, "--models", tmp_path / "models", "--workers", 1, "--log", "trace", binary=kerf_asan
    )


SMALL = struct.pack("<3i", 1, 2, 3)


def open_request(edge, bundle, codec=Q8, id=1, dims=H):
    descs = [(wire.F32, codec, dims, 0), (wire.I32, 0, (1, 3), 12)]
    edge.tensors.send(wire.TENSOR, wire.tensors(bundle, descs), [b"", SMALL], id=id)


def send_block(edge, first, count, data=None, codec=Q8, id=1, tensor=0, **more):
    if data is None:
        data = constant(codec, count, 2.0)
    meta = wire.block(tensor, codec, first, count, more.pop("length", len(data)))
    edge.tensors.send(wire.BLOCK, meta, [data], id=id, **more)


def send_rest(edge, first=0, id=1):
    while first < VALUES:
        count = min(FULL, VALUES - first)
        send_block(edge, first, count, id=id)
        first += count


def answer_of(numbers):
    """y of h and the small tensor."""
    h, small = fold(numbers, (1, 10), a=2.0**-10), fold([1, 2, 3], (1, 10), a=2.0**-10)
    return (h + small).ravel()


def ask(edge, bundle, id):
    open_request(edge, bundle, id=id)
    send_rest(edge, id=id)
    got = edge.tensors.recv_kind(wire.RESULT)
    assert got.id == id
    assert np.array_equal(got.floats(), answer_of(np.full(VALUES, 2.0)))


def test_cloud__blocks_of_each_form__are_put_together(cloud):
    numbers = np.arange(VALUES, dtype=np.float32) % 251
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        open_request(edge, bundle)
        body = struct.pack("<ff", 0.0, 1.0) + bytes(int(n) for n in numbers[:FULL])
        send_block(edge, 0, FULL, blob(Q8, STEPS, FULL, body))
        edge.tensors.send(wire.PING)  # may come between
        edge.tensors.send(200, b"later", [b"whatever"])
        raw = numbers[FULL : 2 * FULL + 5].tobytes()
        send_block(edge, FULL, FULL + 5, raw, codec=0)
        body = struct.pack("<ff", 0.0, 1.0) + bytes(int(n) for n in numbers[2 * FULL + 5 :])
        last = VALUES - 2 * FULL - 5
        send_block(edge, 2 * FULL + 5, last, blob(Q8, STEPS, last, body))
        got = edge.tensors.recv_kind(wire.RESULT, wire.FAILED)
        assert got.kind == wire.RESULT, got.notice()
        assert near(got.floats(), answer_of(numbers))
        # One block for all; by channels, of which one may be a block; then small ones.
        open_request(edge, bundle, id=2)
        send_block(edge, 0, VALUES, id=2)
        assert edge.tensors.recv_kind(wire.RESULT).id == 2
        open_request(edge, bundle, Q8C, id=3)
        send_block(edge, 0, 90_000, codec=Q8C, id=3)
        send_block(edge, 90_000, 60_000, codec=Q8C, id=3)
        assert edge.tensors.recv_kind(wire.RESULT).id == 3
    assert cloud.term() == 0


def test_cloud__the_first_is_decoded_before_the_last_has_come(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        open_request(edge, bundle, id=5)
        for n in range(2):
            send_block(edge, n * FULL, FULL, id=5)
            cloud.wait_err(f"cloud.decoded_ahead id=5 blocks={n + 1}\n")
        send_rest(edge, 2 * FULL, id=5)
        got = edge.tensors.recv_kind(wire.RESULT)
        assert np.array_equal(got.floats(), answer_of(np.full(VALUES, 2.0)))
    assert cloud.term() == 0


def test_cloud__blobs_that_do_not_decode__fail_and_the_session_goes_on(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        bad = bytearray(constant(Q8, FULL, 2.0))
        bad[-1] ^= 1
        for number, data in enumerate(
            [bytes(bad), constant(Q8, FULL - 1, 2.0), constant(EXACT, FULL, 2.0), b"x"]
        ):
            for at in (0, FULL):
                ident = 1 + 2 * number + at // FULL
                open_request(edge, bundle, id=ident)
                if at > 0:
                    send_block(edge, 0, FULL, id=ident)
                send_block(edge, at, FULL, data, id=ident)
                send_rest(edge, at + FULL, id=ident)
                got = edge.tensors.recv_kind(wire.FAILED, wire.RESULT)
                assert (got.kind, got.id) == (wire.FAILED, ident)
                assert got.notice()[0] == wire.ECORRUPT
        ask(edge, bundle, 99)
    assert cloud.term() == 0


def test_cloud__a_request_turned_away__is_told_after_its_last_block(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        for bundle_, dims, err in (
            (bytes(32), H, wire.ENOENT),
            (bundle, (1, VALUES), wire.EMISMATCH),
        ):
            open_request(edge, bundle_, id=7, dims=dims)
            edge.tensors.send(wire.PING, id=70)
            assert edge.tensors.recv_kind(wire.PONG, wire.FAILED).kind == wire.PONG
            send_rest(edge, id=7)
            got = edge.tensors.recv_kind(wire.FAILED)
            assert got.id == 7 and got.notice()[0] == err
        ask(edge, bundle, 99)
    assert cloud.term() == 0


def attacks(bundle):
    """name: what is done after a request was opened; each ends the session."""

    def tensor(edge, **more):
        open_request(edge, bundle, **more)

    return {
        "second_first": lambda e: send_block(e, FULL, FULL),
        "doubled": lambda e: (send_block(e, 0, FULL), send_block(e, 0, FULL)),
        "gap": lambda e: (send_block(e, 0, FULL), send_block(e, FULL + 1, FULL)),
        "overlap": lambda e: (send_block(e, 0, FULL), send_block(e, FULL - 1, FULL)),
        "too_many": lambda e: (send_rest(e), send_block(e, VALUES, FULL)),
        "after_result": lambda e: (
            send_rest(e),
            e.tensors.recv_kind(wire.RESULT),
            send_block(e, 0, FULL),
        ),
        "beyond": lambda e: send_block(e, 0, VALUES + 1),
        "far_beyond": lambda e: send_block(e, 0, (1 << 32) - 1),
        "too_few": lambda e: send_block(e, 0, FULL - 1),
        "none": lambda e: send_block(e, 0, 0, b"x"),
        "no_payload": lambda e: send_block(e, 0, FULL, b"", length=0),
        "blob_too_large": lambda e: send_block(e, 0, FULL, bytes(4 * FULL)),
        "payload_longer": lambda e: send_block(e, 0, FULL, bytes(640), length=64),
        "payload_shorter": lambda e: send_block(e, 0, FULL, bytes(64), length=6400),
        "raw_too_short": lambda e: send_block(e, 0, FULL, bytes(64), codec=0),
        "other_id": lambda e: send_block(e, 0, FULL, id=2),
        "other_tensor": lambda e: send_block(e, 0, FULL, tensor=1),
        "no_such_tensor": lambda e: send_block(e, 0, FULL, tensor=65535),
        "other_codec": lambda e: send_block(e, 0, FULL, codec=EXACT),
        "unknown_codec": lambda e: send_block(e, 0, FULL, codec=200),
        "body_hash": lambda e: send_block(e, 0, FULL, body_hash=1),
        "meta_short": lambda e: e.tensors.send(wire.BLOCK, bytes(15), [bytes(64)], id=1),
        "another_request": lambda e: tensor(e, id=2),
        "another_of_one_frame": lambda e: e.request(bundle, [1.0], id=2),
        "on_control": lambda e: (
            e.control.send(wire.BLOCK, wire.block(0, Q8, 0, FULL, 16), [bytes(64)], id=1),
            e.tensors.recv_error(),
        ),
    }


def test_cloud__blocks_against_the_rules__end_the_session(cloud):
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        ask(edge, bundle, 1)
    for name, attack in attacks(bundle).items():
        with wire.Edge(cloud.port) as edge:
            open_request(edge, bundle)
            try:
                attack(edge)
            except wire.Closed:
                continue
            found = edge.tensors.recv_error()
            assert name == "on_control" or (found is not None and found[0] != 0), name
        assert cloud.alive(), name
    # Without a request, by channels that are cut, and gone in the middle.
    with wire.Edge(cloud.port) as edge:
        send_block(edge, 0, FULL)
        assert edge.tensors.recv_error()[0] == wire.EPROTO
    with wire.Edge(cloud.port) as edge:
        open_request(edge, bundle, Q8C)
        send_block(edge, 0, 90_001, codec=Q8C)
        assert edge.tensors.recv_error()[0] == wire.EPROTO
    for n in (0, 1):
        with wire.Edge(cloud.port) as edge:
            open_request(edge, bundle)
            send_block(edge, 0, n * FULL or FULL)
    with wire.Edge(cloud.port) as edge:
        ask(edge, bundle, 1)
    assert cloud.term() == 0


def test_cloud__blocks_that_stop_coming__end_the_session(start_cloud, kerf_asan, tmp_path):
    put_pair(tmp_path, "m", model([X], [value("h", H)]), model([value("h", H)], [Y]))
    dead = ("--dead-after", 0.5)
    cloud = start_cloud(*FAKE, "--models", tmp_path, *dead, binary=kerf_asan)
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        edge.tensors.send(wire.TENSOR, wire.tensors(bundle, [(wire.F32, Q8, H, 0)]), [b""], id=1)
        send_block(edge, 0, FULL)
        with pytest.raises(wire.Closed):
            while True:  # it lives, and pings
                edge.control.send(wire.PING)
                edge.tensors.send(wire.PING)
                time.sleep(0.05)
        assert "stopped coming" in cloud.wait_event("edge", joined=False)["why"]
    assert cloud.term() == 0


def test_cloud__more_requests_than_slots__all_are_answered_or_busy(cloud):
    """Edges that open requests and go on only later; each counts once."""
    edges = [wire.Edge(cloud.port, name=f"e{i}") for i in range(6)]
    bundle, _ = edges[0].offered()
    for edge in edges:
        open_request(edge, bundle)
    for edge in reversed(edges):
        send_rest(edge)
    for edge in edges:
        assert edge.tensors.recv_kind(wire.RESULT, wire.BUSY).id == 1
    for edge in edges:
        ask(edge, bundle, 2)
        edge.close()
    assert cloud.term() == 0
