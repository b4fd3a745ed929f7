"""Requests that arrive slowly, or never whole, hold a slot each for as long: the
other edges get theirs all the same, and nobody asks in vain without end."""

import json
import socket
import time

import exact
import wire

WIDTH = 16
SHORT = 40  # bytes that never come


def part_of_a_request(edge, bundle):
    desc = (wire.F32, 0, (1, WIDTH), 4 * WIDTH)
    whole = wire.frame(
        wire.TENSOR, wire.tensors(bundle, [desc]), [wire.floats(exact.h_of(1))], id=1
    )
    edge.tensors.raw(whole[:-SHORT])


def held(path):
    """Slots that are in use."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b'{"get": "edges"}\n')
        return sum(e["held"] for e in json.loads(sock.makefile().readline())["edge"])


def wait_until_held(path, count):
    until = time.monotonic() + wire.PATIENCE
    while held(path) != count:
        assert time.monotonic() < until, held(path)
        time.sleep(0.01)


def start(start_cloud, binary, tmp_path):
    exact.put(tmp_path / "models")
    return start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--queue", 4, "--batch", 1,
        "--control", tmp_path / "control", binary=binary,
    )  # fmt: skip


def test_all_slots_half_filled__another_edge_waits_for_none(start_cloud, every_kerf, tmp_path):
    cloud = start(start_cloud, every_kerf, tmp_path)
    slow = [wire.Edge(cloud.port, name=f"slow-{i}") for i in range(8)]
    bundle, _ = slow[0].offered()
    for edge in slow:
        part_of_a_request(edge, bundle)
    wait_until_held(tmp_path / "control", 8)
    with wire.Edge(cloud.port, name="quick") as quick:
        for ident in range(500):  # each as soon as the one before is answered
            quick.request(bundle, exact.h_of(ident), id=ident, dims=(1, WIDTH))
            got = quick.tensors.recv_kind(wire.RESULT, wire.BUSY)
            assert got.kind == wire.RESULT, got.notice()
            assert got.floats() == exact.y_of(ident)
    for edge in slow:
        edge.close()
    wait_until_held(tmp_path / "control", 0)


def test_busy_in_a_row__told_to_come_back_later_each_time(start_cloud, kerf_asan, tmp_path):
    cloud = start(start_cloud, kerf_asan, tmp_path)
    hog = [wire.Edge(cloud.port, name="hog") for _ in range(4)]
    bundle, _ = hog[0].offered()
    for edge in hog[1:]:
        part_of_a_request(edge, bundle)
    wait_until_held(tmp_path / "control", 3)  # its share of 4

    def ask():
        hog[0].request(bundle, exact.h_of(2), id=2, dims=(1, WIDTH))
        return hog[0].tensors.recv_kind(wire.RESULT, wire.BUSY)

    told = []
    for _ in range(3):
        err, retry_ms, _ = ask().notice()
        assert err == wire.EBUSY
        told.append(retry_ms)
        time.sleep(retry_ms / 1000)
    assert told[0] >= 50 and told[1] >= 2 * told[0] and told[2] >= 2 * told[1]
    for edge in hog[1:]:
        edge.close()
    wait_until_held(tmp_path / "control", 0)
    assert ask().floats() == exact.y_of(2)
    hog[0].close()
