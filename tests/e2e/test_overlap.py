"""A request is encoded while the one before is still being sent: counted in the
trace of an edge whose cloud takes nothing off the wire."""

import re
import time

import nets
import wire

PATIENCE = 60
WINDOW = 4
H_SHAPE = (1, 64, 320, 320)  # 26 MB: coded, more than the socket buffers hold


def until(ready):
    end = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < end, "nothing comes"
        time.sleep(0.01)


def sent_to_tensors(err):
    """Bytes of payload frames that the kernel has taken."""
    return sum(int(n) for n in re.findall(r"net\.send .* len=(\d+)", err))


def test_edge__a_peer_that_reads_nothing__next_ones_are_encoded_meanwhile(spawn, tmp_path):
    head = nets.model([nets.X], [nets.value("h", H_SHAPE)])
    tail = nets.model([nets.value("h", H_SHAPE)], [nets.value("y", nets.Y_SHAPE)])
    files = [
        (role, name, data if isinstance(data, bytes) else data.encode())
        for role, (name, data) in enumerate(
            [
                ("client_infer_m.pdmodel", head),
                ("client_infer_m.pdiparams", b"w"),
                ("server_infer_m.pdmodel", tail),
                ("server_infer_m.pdiparams", b"w"),
            ],
            1,
        )
    ]
    ident, body = wire.manifest("m", files)
    with wire.Cloud() as cloud:
        edge = spawn(
            "edge", "--engine", "fake", "--cloud_port", cloud.port, "--store", tmp_path / "store",
            "--codec", "exact", "--input", "random", "--rate", "1000", "--repeat", WINDOW,
            "--log", "trace",
        )  # fmt: skip
        control = cloud.greet(window=WINDOW, codecs=0x3FFFF, heartbeat_ms=600000)
        tensor = cloud.attach()
        wire.send_offer(control, ident, body)
        assert wire.serve_fetches(control, files).kind == wire.READY
        until(lambda: edge.err.count("edge.encoded") == WINDOW)
        encoded = [int(n) for n in re.findall(r"edge\.encoded .* bytes=(\d+)", edge.err)]
        assert min(encoded) > 12 << 20
        assert sent_to_tensors(edge.err) < encoded[0]  # the first is still under way
        ids = [tensor.recv_kind(wire.TENSOR).id for _ in range(WINDOW)]
        assert ids == list(range(1, WINDOW + 1))
        control.close()
        tensor.close()
