"""TLS against strangers, floods and peers that only pretend: each is ended in
words, and those of the fleet are served meanwhile."""

import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
from pathlib import Path
from random import Random

import exact
import pytest
import tls_fleet
import wire
from test_copies import cc
from tls_fleet import client_of

made, fleet = tls_fleet.made, tls_fleet.fleet  # fixtures
cloud_of, edge_of = tls_fleet.cloud_of, tls_fleet.edge_of

HERE = Path(__file__).parent


def talk(context, port, data=b""):
    """What the cloud does: the SSLError's reason, or bytes that it sent."""
    raw = socket.create_connection(("127.0.0.1", port), timeout=wire.PATIENCE)
    try:
        with context.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
            sock.sendall(data)
            return sock.recv(4096)
    except ssl.SSLError as error:
        return error.reason
    except ConnectionResetError:
        return b""


STRANGERS = {
    "expired": ("edges/old", "CERTIFICATE_EXPIRED", r"\(old\) expired on 2020-01-31"),
    "not yet": ("edges/new", "BAD_CERTIFICATE", r"\(new\) is not valid before 2030-01-01"),
    "a cloud's": ("clouds/away", "UNSUPPORTED_CERTIFICATE", r"\(away\) is not an edge's"),
    "none": (None, "CERTIFICATE_REQUIRED", "the edge has no certificate"),
    "old TLS": ("edges/door-1", "PROTOCOL_VERSION", "the edge does not speak TLS 1.3"),
}


def test_strangers__are_refused_in_words(each_kerf, fleet, cloud_of):
    cloud = cloud_of(fleet("clouds/cloud"), binary=each_kerf)
    for case, (cert, reason, words) in STRANGERS.items():
        versions = ssl.TLSVersion.TLSv1_2 if case == "old TLS" else None
        context = client_of(fleet("clouds/cloud"), cert and fleet(cert), versions)
        assert reason in talk(context, cloud.port), case
        cloud.wait_err(words)
    assert cloud.term() == 0


def test_another_name_than_the_certificates__is_refused(fleet, cloud_of):
    cloud = cloud_of(fleet("clouds/cloud"))
    context = client_of(fleet("clouds/cloud"), fleet("edges/door-1"))
    frame = wire.frame(wire.HELLO, wire.hello(name="door-2"), flags=0)
    answer = talk(context, cloud.port, frame)
    assert b"leave --name out" in answer
    cloud.wait_err("the edge says that it is door-2, and its certificate is for door-1")
    frame = wire.frame(wire.HELLO, wire.hello(name="door-1"), flags=0)
    answer = talk(context, cloud.port, frame)
    assert answer[5] == wire.WELCOME and answer[6:8] == b"\0\0"  # no hash of the body
    assert cloud.term() == 0


def test_token_of_another_edge__is_refused(fleet, cloud_of):
    cloud = cloud_of(fleet("clouds/cloud"))
    ca = fleet("clouds/cloud")
    raw = socket.create_connection(("127.0.0.1", cloud.port), timeout=wire.PATIENCE)
    one = client_of(ca, fleet("edges/door-1"))
    with one.wrap_socket(raw, server_hostname="127.0.0.1") as sock:
        sock.sendall(wire.frame(wire.HELLO, wire.hello(name="door-1")))
        head = b""
        while len(head) < 256:
            head += sock.recv(256 - len(head))
        token = head[64 + 14 : 64 + 30]
        attach = wire.frame(wire.ATTACH, token)
        two = client_of(ca, fleet("edges/door-2"))
        assert b"of another edge's session" in talk(two, cloud.port, attach)
        assert talk(one, cloud.port, attach)[5] == wire.ATTACHED
    assert cloud.term() == 0


def test_one_certificate__does_not_take_every_place(each_kerf, fleet, cloud_of, edge_of):
    """The fifth session ends the first, from whichever address; others get in."""
    cloud = cloud_of(fleet("clouds/cloud"), "--max-edges", 6, binary=each_kerf)
    context = client_of(fleet("clouds/cloud"), fleet("edges/door-1"))
    with contextlib.ExitStack() as held:
        peers = []
        for n in range(8):
            raw = socket.create_connection(
                ("127.0.0.1", cloud.port), wire.PATIENCE, source_address=(f"127.0.0.{n + 1}", 0)
            )
            sock = held.enter_context(context.wrap_socket(raw, server_hostname="127.0.0.1"))
            peers.append(wire.Peer(sock))
            peers[n].send(wire.HELLO, wire.hello(name="door-1"))
            assert peers[n].recv().kind == wire.WELCOME
        for peer in peers[:4]:
            frames = iter(peer.recv, None)
            answer = next(f for f in frames if f.kind == wire.ERROR)
            assert "newer sessions with the same certificate" in answer.notice()[2]
        cloud.wait_err("cloud.too_many_of_name edge=door-1 most=4 peer=127.0.0.4:")
        assert cloud.err.count("too_many_of_name") == 4
        edge = edge_of(cloud.port, fleet("edges/door-2"), "--once", binary=each_kerf)
        assert edge.wait() == 0
        exact.check_results(edge, 3)
        for peer in peers[4:]:
            peer.send(wire.PING)
            assert next(f for f in iter(peer.recv, None) if f.kind == wire.PONG)
    assert cloud.term() == 0


def test_hostile_handshakes__harm_nobody(kerf_asan, fleet, cloud_of, edge_of):
    """Half ones, more than may wait; noise before, within and behind a handshake."""
    cloud = cloud_of(fleet("clouds/cloud"), "--max-edges", 2, binary=kerf_asan)
    random = Random(7)
    hello = ssl.MemoryBIO()
    tls = client_of(fleet("clouds/cloud")).wrap_bio(ssl.MemoryBIO(), hello, server_hostname="a")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = hello.read()
    held = []
    for n in range(200):
        sock = socket.create_connection(("127.0.0.1", cloud.port), timeout=wire.PATIENCE)
        data = bytearray(hello[: random.randrange(1, len(hello) + 1)])
        if n % 2:
            for _ in range(random.randrange(1, 9)):
                data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        with contextlib.suppress(OSError):
            sock.sendall(data + (random.randbytes(5000) if n % 3 == 0 else b""))
        held.append(sock)  # stays open
    context = client_of(fleet("clouds/cloud"), fleet("edges/door-1"))
    for n in range(20):  # frames that are none, over good TLS; then records that are none
        raw = socket.create_connection(("127.0.0.1", cloud.port), timeout=wire.PATIENCE)
        with (
            contextlib.suppress(OSError),
            context.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
        ):
            if n % 2:
                sock.sendall(random.randbytes(1000))
            else:
                socket.socket.sendall(raw_of(sock), random.randbytes(1000))
            while sock.recv(4096):
                pass
    edge = edge_of(cloud.port, fleet("edges/door-2"), "--once")
    assert edge.wait() == 0
    exact.check_results(edge, 3)
    for sock in held:
        sock.close()
    assert cloud.term() == 0


def greeting(context):
    """The first bytes of a client, and its half of TLS: (bytes, in, out, tls)."""
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(into, out, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read(), into, out, tls


def test_places__those_who_show_nothing_go_first(each_kerf, fleet, cloud_of):
    """66 may wait. One with a good certificate stays, however many others come
    that were greeted, and one that was greeted while others are silent."""
    cloud = cloud_of(fleet("clouds/cloud"), "--max-edges", 2, binary=each_kerf)
    context = client_of(fleet("clouds/cloud"), fleet("edges/door-1"))

    def dial():
        return held.enter_context(socket.create_connection(("127.0.0.1", cloud.port), 60))

    with contextlib.ExitStack() as held:
        known = held.enter_context(context.wrap_socket(dial(), server_hostname="127.0.0.1"))
        hello, into, out, tls = greeting(context)
        greeted = dial()
        greeted.sendall(hello)
        into.write(greeted.recv(65536))
        for _ in range(80):
            dial().sendall(hello[:-1])
        cloud.wait_err("cloud.too_many_new most=66 step=0")
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        tls.write(wire.frame(wire.HELLO, wire.hello(name="door-1")))
        greeted.sendall(out.read())
        into.write(greeted.recv(65536))
        assert tls.read(256)[5] == wire.WELCOME
        for _ in range(80):
            other = dial()
            other.sendall(hello)
            with contextlib.suppress(ConnectionResetError):
                other.recv(1)
        cloud.wait_err("cloud.too_many_new most=66 step=1")
        peer = wire.Peer(known)
        peer.send(wire.HELLO, wire.hello(name="door-1"))
        assert peer.recv().kind == wire.WELCOME
        assert "step=2" not in cloud.err
        for _ in range(120):
            dial()
    assert cloud.term() == 0
    assert len(re.findall("warn cloud.too_many_new", cloud.err)) <= 110
    assert re.search(r"cloud.left_out of=cloud.too_many_new lines=\d+", cloud.err)


def records(data, step):
    """Handshake records of so many bytes each."""
    cut = [data[at : at + step] for at in range(0, len(data), step)]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in cut)


def test_long_greetings__are_ended_before_there_is_room_for_them(each_kerf, fleet, cloud_of):
    cloud = cloud_of(fleet("clouds/cloud"), binary=each_kerf)
    for length, step in [(16385, 16384), (100_000, 1), (0xFFFFFF, 3)]:
        with socket.create_connection(("127.0.0.1", cloud.port), 60) as sock:
            sock.sendall(records(b"\x01" + length.to_bytes(3, "big") + b"\x03\x03", step))
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(1) == b""
    with socket.create_connection(("127.0.0.1", cloud.port), 60) as sock:
        with contextlib.suppress(OSError):  # alerts without end
            sock.sendall(records(b"\x01\x00\x20\x00\x03\x03", 1) + bytes(100_000))
        with contextlib.suppress(ConnectionResetError):
            sock.recv(1)
    cloud.wait_err(r"(?s)(cloud.stranger .*handshake is too long: is it a Kerf edge\?.*){3}")
    assert cloud.term() == 0


def test_new_keys_without_end__are_ended_and_logged(every_kerf, fleet, cloud_of, edge_of, tmp_path):
    """Before HELLO, from several at once; an honest edge is served meanwhile."""
    cc(tmp_path, "-o", "tlsflood", HERE / "tlsflood.c", "-lssl", "-lcrypto")
    cloud = cloud_of(fleet("clouds/cloud"), binary=every_kerf)
    edge = edge_of(cloud.port, fleet("edges/door-2"), "--repeat", 0, "--rate", 100)
    edge.wait_event("result")
    words = [tmp_path / "tlsflood", str(cloud.port), fleet("edges/door-1"), "5000"]
    floods = [subprocess.Popen(words, stdout=subprocess.PIPE) for _ in range(4)]
    assert [flood.communicate(timeout=wire.PATIENCE)[0] for flood in floods] == [b"ended\n"] * 4
    cloud.wait_err(r"(?s)(warn cloud.stranger .*why=\"the peer only changes keys\".*){4}")
    seen = edge.wait_event("result")["index"]
    while edge.wait_event("result")["index"] < seen + 5:
        pass
    edge.term()
    assert not [e for e in edge.events() if e["event"] == "error"]
    assert [e for e in edge.events() if e["event"] == "state" and not e["connected"]] == []
    assert cloud.term() == 0


def raw_of(sock):
    """The same connection, without TLS."""
    return socket.socket(fileno=os.dup(sock.fileno()))


@pytest.fixture
def fake_cloud():
    """fake_cloud(context) -> port; takes connections, and ends each."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(context):
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(raw, server_side=True) as sock:
                    sock.recv(1)
            except OSError:
                pass

    def start(context):
        threading.Thread(target=serve, args=(context,), daemon=True).start()
        return listener.getsockname()[1]

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


CLOUDS = {
    "expired": ("clouds/old-cloud", None, r"the cloud's .*\(old-cloud\) expired on 2020-01-31"),
    "an edge's": ("edges/door-2", None, r"the cloud's certificate \(door-2\) is not a cloud's"),
    "old TLS": ("clouds/cloud", ssl.TLSVersion.TLSv1_2, "the cloud does not speak TLS 1.3"),
}


@pytest.mark.parametrize("case", CLOUDS)
def test_wrong_clouds__are_left(case, fleet, fake_cloud, edge_of):
    cert, versions, words = CLOUDS[case]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(fleet(cert) / "kerf.crt", fleet(cert) / "kerf.key")
    if versions:
        context.maximum_version = versions
    edge = edge_of(fake_cloud(context), fleet("edges/door-1"))
    text = edge.wait_event("state", connected=False)["text"]
    assert re.search(words, text), text
    edge.term()


def test_shares_go_by_certificate__not_by_sessions_or_addresses(fleet, cloud_of, tmp_path):
    """Four sessions of one edge, from four addresses, beside one of another."""
    exact.put(tmp_path / "models", tail={"cost_us": 10_000, "cost": "sleep"})
    cloud = cloud_of(fleet("clouds/cloud"), "--workers", 1, "--batch", 1)

    def dialler(edge, address):
        context = client_of(fleet("clouds/cloud"), fleet(f"edges/{edge}"))

        def dial(port, _):
            raw = socket.create_connection(
                ("127.0.0.1", port), wire.PATIENCE, source_address=(address, 0)
            )
            return wire.Peer(context.wrap_socket(raw, server_hostname="127.0.0.1"))

        return dial

    names = ["door-1"] * 4 + ["door-2"]
    edges = [
        wire.Edge(cloud.port, name=name, dial=dialler(name, f"127.0.0.{n + 2}"))
        for n, name in enumerate(names)
    ]
    bundle, _ = edges[0].offered()
    for ident in range(8):
        for edge in edges:
            edge.request(bundle, exact.h_of(ident), id=ident, dims=(1, 16))
    times = {"door-1": [], "door-2": []}
    for name, edge in zip(names, edges, strict=True):
        for _ in range(8):
            got = edge.tensors.recv_kind(wire.RESULT)
            _, arrived, queued = struct.unpack_from("<QQQ", got.meta, 36)
            times[name].append((arrived + queued, arrived))
        edge.close()
    own = sorted(times["door-2"])
    between = [
        sum(before < started < now for started, _ in times["door-1"])
        for (before, _), (now, arrived) in zip(own, own[1:], strict=False)
        if arrived < before  # it waited
    ]
    assert len(between) >= 4 and max(between) == 1
    assert cloud.term() == 0
