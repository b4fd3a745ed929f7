"""`--legacy` against the reference's wire, played by legacy_peer.py."""

import os
import re
import signal
import struct
import time

import legacy_peer
import nets
import numpy as np
import pytest
from legacy_peer import CloudPeer, EdgePeer, head_file, is_closed, message, send

HEAD = nets.model([nets.X], [nets.H])
HEAD_2 = nets.model([nets.X], [nets.value("h", (1, 48), a=2.0)])
H_SHAPE = (1, 48)
WEIGHTS = b"w"  # as nets.py writes them


@pytest.fixture
def cloud_peer():
    peer = CloudPeer().start()
    yield peer
    peer.close()


@pytest.fixture
def edge_peer():
    peer = EdgePeer().start()
    yield peer
    peer.close()


@pytest.fixture
def late_cloud_peer():
    """Its port is known, and it is started by the test."""
    peer = CloudPeer()
    yield peer
    peer.close()


@pytest.fixture
def late_edge_peer():
    peer = EdgePeer()
    yield peer
    peer.close()


@pytest.fixture
def legacy_cloud(spawn, tmp_path):
    """legacy_cloud(edge_port, port=0) -> `kerf cloud --legacy` of tmp_path/models"""
    (tmp_path / "models").mkdir()

    def start(edge_port, *more, port=0, **how):
        words = ["cloud", "--legacy", "--engine", "fake", "--models", tmp_path / "models"]
        words += ["--cloud_host", "127.0.0.1", "--cloud_port", port]
        words += ["--edge_host", "127.0.0.1", "--edge_port", edge_port, "--log", "info"]
        process = spawn(*map(str, words), *more, **how)
        process.port = int(process.wait_line(r"Listening on 127.0.0.1:(\d+)")[1])
        return process

    return start


@pytest.fixture
def legacy_edge(spawn, tmp_path):
    """legacy_edge(cloud_port, inputs...) -> `kerf edge --legacy`, .port for tensors"""

    def start(cloud_port, *more, port=0, **how):
        words = ["edge", "--legacy", "--engine", "fake", "--store", tmp_path / "store"]
        words += ["--cloud_host", "127.0.0.1", "--cloud_port", cloud_port]
        words += ["--edge_host", "127.0.0.1", "--edge_port", port]
        process = spawn(*map(str, words), *map(str, more), **how)
        process.port = int(process.wait_line(r"Listening on 127.0.0.1:(\d+)")[1])
        return process

    return start


def inputs_of(folder, count):
    """`--input` words and the tensors that they name."""
    tensors = nets.some_tensors(7, count)
    nets.save_tensors(folder, tensors)
    return ["--input", folder, "--once"], tensors


def is_result(process, number, h, b=0.0):
    """The cloud shows the right class of the tensor."""
    found = process.wait_line(rf"Tensor {number} Result:\[(\d+)\]")
    assert int(found[1]) == int(np.argmax(nets.fold(h, nets.Y_SHAPE, b=b)))


def tensors(count, seed=3):
    return nets.some_tensors(seed, count, H_SHAPE)


def names_under(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


# --- kerf cloud --legacy ------------------------------------------------------


@pytest.mark.parametrize("first", ["cloud", "edge"])
def test_cloud__either_starts_first__ships_and_answers(
    first, each_kerf, legacy_cloud, late_edge_peer, tmp_path
):
    nets.small_pair(tmp_path / "models", "one")
    nets.put_pair(
        tmp_path / "models",
        "two",
        nets.model([nets.X], [nets.value("h", (1, 7))]),
        nets.model([nets.value("h", (1, 7))], [nets.value("y", (1, 5))]),
    )
    edge = late_edge_peer
    if first == "edge":
        edge.start()
    cloud = legacy_cloud(edge.port, binary=each_kerf)
    files = edge.dial_cloud(cloud.port)
    if first == "cloud":
        cloud.wait_err("legacy.waiting")
        edge.start()
    got = [legacy_peer.read_file(files) for _ in range(4)]
    ends = [f"{n}.{e}" for e in ("pdmodel", "pdiparams") for n in ("one", "two")]
    assert [name for name, _ in got] == [f"data/send/model/client_infer_{end}" for end in ends]
    for name, data in got:
        assert data == (tmp_path / "models" / os.path.basename(name)).read_bytes()
    out = edge.accept()
    for i, h in enumerate(tensors(3)):
        send(out, legacy_peer.tensor_message(i, h))
        assert cloud.wait_line(rf"Cloud cost \d+\.\d+s infer Tensor {i + 1}$")
        is_result(cloud, i + 1, h)
    assert cloud.term() == 0


def test_cloud__tensor_split_at_every_byte__answers(each_kerf, legacy_cloud, edge_peer, tmp_path):
    nets.small_pair(tmp_path / "models")
    cloud = legacy_cloud(edge_peer.port, binary=each_kerf)
    out = edge_peer.accept()
    given = tensors(300)
    length = len(legacy_peer.tensor_message(100, given[0]))
    assert 100 + length < 1000, "the index keeps its three digits"
    for cut in range(1, length):
        send(out, legacy_peer.tensor_message(100 + cut, given[cut]), [cut])
    for cut in range(1, length):
        is_result(cloud, 101 + cut, given[cut])
    # One byte at a time, and many at once.
    send(out, legacy_peer.tensor_message(0, given[0]), range(1, length - 2))
    send(out, b"".join(legacy_peer.tensor_message(i, given[i]) for i in range(1, 50)))
    for i in range(50):
        is_result(cloud, i + 1, given[i])


def test_cloud__two_edges_and_one_again__each_gets_the_model(legacy_cloud, edge_peer, tmp_path):
    nets.small_pair(tmp_path / "models")
    cloud = legacy_cloud(edge_peer.port)
    for again in range(2):
        socks = [edge_peer.dial_cloud(cloud.port) for _ in range(2)]
        for sock in socks:
            assert legacy_peer.read_file(sock)[1].decode() == HEAD
            assert legacy_peer.read_file(sock) == (
                "data/send/model/client_infer_small.pdiparams",
                WEIGHTS,
            )
        socks[again].close()


def test_cloud__changed_and_new_pair__goes_to_connected_edges(legacy_cloud, edge_peer, tmp_path):
    nets.small_pair(tmp_path / "models")
    cloud = legacy_cloud(edge_peer.port)
    files = edge_peer.dial_cloud(cloud.port)
    assert [legacy_peer.read_file(files)[1] for _ in range(2)] == [HEAD.encode(), WEIGHTS]
    out = edge_peer.accept()
    nets.small_pair(tmp_path / "models", head={"cost_us": 1})
    new = [legacy_peer.read_file(files)[1] for _ in range(2)]
    assert new == [(tmp_path / "models" / "client_infer_small.pdmodel").read_bytes(), WEIGHTS]
    (h,) = tensors(1)
    send(out, legacy_peer.tensor_message(0, h))
    is_result(cloud, 1, h)


def test_cloud__broken_pair__keeps_the_old_one(legacy_cloud, edge_peer, tmp_path):
    nets.small_pair(tmp_path / "models")
    cloud = legacy_cloud(edge_peer.port)
    out = edge_peer.accept()
    nets.put(tmp_path / "models" / "client_infer_small.pdmodel", HEAD[: len(HEAD) // 2])
    cloud.wait_line(r"Model small is not served: ")
    (h,) = tensors(1)
    send(out, legacy_peer.tensor_message(0, h))
    is_result(cloud, 1, h)


def test_cloud__edge_vanishes_amid_a_tensor__goes_on_with_the_next(
    each_kerf, legacy_cloud, edge_peer, tmp_path
):
    nets.small_pair(tmp_path / "models")
    cloud = legacy_cloud(edge_peer.port, binary=each_kerf)
    (h,) = tensors(1)
    data = legacy_peer.tensor_message(0, h)
    for cut in (2, 20, len(data) - 1):
        out = edge_peer.accept()
        send(out, data[:cut])
        out.close()
        assert cloud.wait_line(r"refused: .*(in the middle of a header|bytes of a tensor)")
    out = edge_peer.accept()
    send(out, data)
    is_result(cloud, 1, h)


HOSTILE_TENSORS = {
    "garbage": b"GET / HTTP/1.1\r\n\r\n" * 10,
    "length -1": struct.pack("i", -1),
    "length 0": struct.pack("i", 0),
    "length 2^31-1": struct.pack("i", 2**31 - 1),
    "no JSON": struct.pack("i", 8) + b"12345678",
    "shape 2^62": message({"filename": 0, "filesize": 1, "tensorshape": [2**31, 2**31]}),
    "shape -1": message({"filename": 0, "filesize": 1, "tensorshape": [-1, 64]}),
    "no shape": message({"filename": 0, "filesize": 1}),
}


def test_cloud__hostile_tensor_headers__refused_and_alive(
    kerf_asan, legacy_cloud, edge_peer, tmp_path
):
    nets.small_pair(tmp_path / "models")
    cloud = legacy_cloud(edge_peer.port, binary=kerf_asan)
    for data in HOSTILE_TENSORS.values():
        out = edge_peer.accept()
        send(out, data)
        assert is_closed(out)
        cloud.wait_line(r"Tensor 0 of .* refused: legacy ")
    (h,) = tensors(1)
    send(edge_peer.accept(), legacy_peer.tensor_message(0, h))
    is_result(cloud, 1, h)


def test_cloud__shape_that_no_tail_takes__says_so_and_reads_on(legacy_cloud, edge_peer, tmp_path):
    nets.small_pair(tmp_path / "models")
    cloud = legacy_cloud(edge_peer.port)
    out = edge_peer.accept()
    (h,) = tensors(1)
    send(out, legacy_peer.tensor_message(0, np.zeros((2, 100000), np.float32)))
    assert cloud.wait_line(r"Tensor 1 of .* refused: no tail takes a tensor \(2, 100000\)")
    send(out, legacy_peer.tensor_message(1, np.zeros((0, 48), np.float32)))
    assert cloud.wait_line(r"Tensor 2 of .* refused: no tail takes a tensor \(0, 48\)")
    send(out, legacy_peer.tensor_message(2, h))
    is_result(cloud, 3, h)
    most = {"filename": 3, "filesize": 1, "tensorshape": [1, 2**28]}
    send(out, message(most, b"some of it"))
    out.close()
    assert cloud.wait_line(r"refused: after 10 of 1073741824 bytes of a tensor")
    status = open(f"/proc/{cloud.pid}/status").read()
    assert int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) < 500000, "it took the peer's word"


def test_cloud__two_tails_fit__says_which(legacy_cloud, edge_peer, tmp_path):
    nets.small_pair(tmp_path / "models", "one")
    nets.small_pair(tmp_path / "models", "two", b=1.0)
    cloud = legacy_cloud(edge_peer.port)
    send(edge_peer.accept(), legacy_peer.tensor_message(0, tensors(1)[0]))
    assert cloud.wait_line(r"refused: a tensor \(1, 48\) fits the tails of one and two")


def test_cloud__head_that_does_not_fit_the_wire__says_why(legacy_cloud, edge_peer, tmp_path):
    two = [nets.value("h", (1, 48)), nets.value("g", (1, 5))]
    ints = [nets.value("h", (1, 48), dtype="i32")]
    for name, cross in (("two", two), ("ints", ints)):
        nets.put_pair(
            tmp_path / "models",
            name,
            nets.model([nets.X], cross),
            nets.model(cross, [nets.value("y", (1, 10))]),
        )
    cloud = legacy_cloud(edge_peer.port)
    assert cloud.wait_line(r"ints is not served: its head gives i32: the legacy wire carries f32")
    assert cloud.wait_line(
        r"two is not served: its head has 2 outputs: the legacy wire carries one"
    )


def cpu_ticks(process):
    fields = open(f"/proc/{process.pid}/stat").read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def test_both__waiting_for_a_peer__do_not_spin(
    legacy_cloud, legacy_edge, late_cloud_peer, late_edge_peer, tmp_path
):
    nets.small_pair(tmp_path / "models")
    cloud = legacy_cloud(late_edge_peer.port)
    edge = legacy_edge(late_cloud_peer.port)
    edge.wait_line("Waiting for the cloud")
    before = [cpu_ticks(p) for p in (cloud, edge)]
    time.sleep(3)
    used = [cpu_ticks(p) - b for p, b in zip((cloud, edge), before, strict=True)]
    assert max(used) <= 30, "a busy loop would use 300 ticks"


def test_cloud__killed_with_connections__same_port_at_once(
    legacy_cloud, edge_peer, free_port, tmp_path
):
    nets.small_pair(tmp_path / "models")
    port = free_port()
    for _ in range(3):
        cloud = legacy_cloud(edge_peer.port, port=port)
        port = cloud.port
        files = edge_peer.dial_cloud(port)
        legacy_peer.read_file(files)
        edge_peer.accept()
        cloud.kill()


# --- kerf edge --legacy -------------------------------------------------------


@pytest.mark.parametrize("first", ["cloud", "edge"])
def test_edge__either_starts_first__sends_what_the_reference_would(
    first, each_kerf, legacy_edge, late_cloud_peer, tmp_path
):
    cloud = late_cloud_peer
    words, given = inputs_of(tmp_path / "in", 5)
    if first == "cloud":
        cloud.start()
    edge = legacy_edge(cloud.port, *words, binary=each_kerf)
    if first == "edge":
        edge.wait_line("Waiting for the cloud")
        cloud.start()
    files = cloud.accept()
    cloud.send_heads(files, {"small": (HEAD.encode(), b"weights")})
    out = cloud.dial_edge(edge.port)
    for i, x in enumerate(given):
        _, text, h = legacy_peer.read_tensor(out)
        assert text == b'{"filename": %d, "filesize": 225, "tensorshape": [1, 48]}' % i
        assert np.array_equal(h, x.reshape(H_SHAPE))
    assert is_closed(out)
    assert edge.wait() == 0
    line = r"client_infer_small\.pdmodel\(0MB\) received correctly! Time: .*s Speed: .* MB/s"
    assert re.search(line, edge.out)
    assert re.search(r"Edge cost \d+\.\d+s infer Tensor 5\n", edge.out)
    assert re.search(r"Tensor 5 \(0\.19 KB\) send finish\. Shape: \(1, 48\)", edge.out)
    assert names_under(tmp_path / "store") == [
        "client_infer_small.pdiparams",
        "client_infer_small.pdmodel",
    ]
    assert (tmp_path / "store" / "client_infer_small.pdmodel").read_text() == HEAD


def test_edge__no_input_given__sends_random_tensors(legacy_edge, cloud_peer):
    edge = legacy_edge(cloud_peer.port)
    cloud_peer.send_heads(cloud_peer.accept(), {"small": (HEAD.encode(), b"")})
    header, _, h = legacy_peer.read_tensor(cloud_peer.dial_edge(edge.port))
    assert header["filename"] == 0
    assert h.min() >= 0 and h.max() < 1 and h.std() > 0.1
    assert edge.term() == 0


def test_edge__file_split_at_every_byte__is_received(each_kerf, legacy_edge, cloud_peer, tmp_path):
    words, given = inputs_of(tmp_path / "in", 1)
    edge = legacy_edge(cloud_peer.port, *words, binary=each_kerf)
    files = cloud_peer.accept()
    other = head_file("other", "pdmodel", b"0123456789")
    for cut in range(1, len(other)):
        send(files, other, [cut])
    every = range(1, len(head_file("small", "pdmodel", HEAD.encode())))
    cloud_peer.send_heads(files, {"small": (HEAD.encode(), b"weights")}, every)
    _, _, h = legacy_peer.read_tensor(cloud_peer.dial_edge(edge.port))
    assert np.array_equal(h, given[0].reshape(H_SHAPE))
    assert edge.wait() == 0
    assert (tmp_path / "store" / "client_infer_other.pdmodel").read_bytes() == b"0123456789"


EVIL_NAMES = [
    "../client_infer_x.pdmodel",
    "data/send/model/../../../client_infer_x.pdmodel",
    "data/send/model/../evil.txt",
    "data/send/model/.client_infer_x.pdmodel",
    "data/send/model/client_infer_x.pdmodel\x1b[2J",
    "data/send/model/client_infer_" + "x" * 300 + ".pdmodel",
    "",
]


def test_edge__evil_names__refused_and_nothing_written(
    kerf_asan, legacy_edge, cloud_peer, tmp_path
):
    words, given = inputs_of(tmp_path / "in", 1)
    edge = legacy_edge(cloud_peer.port, *words, binary=kerf_asan)
    before = None
    for name in EVIL_NAMES:
        files = cloud_peer.accept()
        before = before or names_under(tmp_path)
        send(files, legacy_peer.file_message(name, b"evil"))
        assert is_closed(files)
        edge.wait_line(r"refused the name \"")
        assert names_under(tmp_path) == before
    assert "\x1b[2J" not in edge.out
    files = cloud_peer.accept()
    absolute = tmp_path / "elsewhere" / "client_infer_small.pdmodel"
    send(files, legacy_peer.file_message(str(absolute), HEAD.encode()))
    send(files, head_file("small", "pdiparams", b""))
    _, _, h = legacy_peer.read_tensor(cloud_peer.dial_edge(edge.port))
    assert np.array_equal(h, given[0].reshape(H_SHAPE))
    assert edge.wait() == 0
    assert not absolute.parent.exists()


def test_edge__same_refused_name_again__is_said_once(legacy_edge, cloud_peer, tmp_path):
    words, _ = inputs_of(tmp_path / "in", 1)
    edge = legacy_edge(cloud_peer.port, *words)
    for _ in range(3):
        files = cloud_peer.accept()
        send(files, legacy_peer.file_message(EVIL_NAMES[0], b"evil"))
        assert is_closed(files)
    cloud_peer.send_heads(cloud_peer.accept(), {"small": (HEAD.encode(), b"")})
    legacy_peer.read_tensor(cloud_peer.dial_edge(edge.port))
    assert edge.wait() == 0
    assert edge.out.count("Refused what the cloud sends, trying again: ") == 1
    assert edge.out.count("onnected to the cloud") == 1 and "is gone" not in edge.out


def test_edge__hostile_files__refused_and_alive(kerf_asan, legacy_edge, cloud_peer, tmp_path):
    words, _ = inputs_of(tmp_path / "in", 1)
    edge = legacy_edge(
        cloud_peer.port, *words, binary=kerf_asan, prefix=["prlimit", "--fsize=1048576"]
    )
    hostile = [
        (b"\x00\xff" * 40, "legacy header"),
        (struct.pack("i", -1), "legacy header"),
        (struct.pack("i", 0), "legacy header"),
        (struct.pack("i", 2**31 - 1), "legacy header"),
        (head_file("x", "pdmodel", b"", -1), "filesize"),
        (head_file("x", "pdmodel", b"", 2**31 + 1), "the limit is"),
        (head_file("x", "pdmodel", b"", 2**62), "the limit is"),
        (head_file("x", "pdmodel", b"", 2**31 - 1), "no room"),
    ]
    for data, line in hostile:
        files = cloud_peer.accept()
        send(files, data)
        assert is_closed(files)
        edge.wait_line(line)
    cloud_peer.send_heads(cloud_peer.accept(), {"small": (HEAD.encode(), b"")})
    legacy_peer.read_tensor(cloud_peer.dial_edge(edge.port))
    assert edge.wait() == 0
    assert names_under(tmp_path / "store") == [
        "client_infer_small.pdiparams",
        "client_infer_small.pdmodel",
    ]


def test_edge__file_cut_short__leaves_nothing_and_comes_again(
    each_kerf, legacy_edge, cloud_peer, tmp_path
):
    words, _ = inputs_of(tmp_path / "in", 1)
    edge = legacy_edge(cloud_peer.port, *words, binary=each_kerf)
    files = cloud_peer.accept()
    send(files, head_file("small", "pdmodel", HEAD.encode())[:-1])
    files.close()
    edge.wait_line(r"client_infer_small.pdmodel: after \d+ of \d+ bytes")
    assert names_under(tmp_path / "store") == []
    cloud_peer.send_heads(cloud_peer.accept(), {"small": (HEAD.encode(), b"")})
    legacy_peer.read_tensor(cloud_peer.dial_edge(edge.port))
    assert edge.wait() == 0


def test_edge__half_written_model__is_not_used(legacy_edge, cloud_peer, tmp_path):
    words, given = inputs_of(tmp_path / "in", 1)
    edge = legacy_edge(cloud_peer.port, *words)
    files = cloud_peer.accept()
    cloud_peer.send_heads(files, {"small": (HEAD.encode()[:100], b"")})
    edge.wait_line("Head of small cannot be used: ")
    cloud_peer.send_heads(files, {"small": (HEAD.encode(), b"")})
    edge.wait_line("Head of small is ready")
    _, _, h = legacy_peer.read_tensor(cloud_peer.dial_edge(edge.port))
    assert np.array_equal(h, given[0].reshape(H_SHAPE))
    assert edge.wait() == 0


def test_edge__new_version__is_used_and_the_same_is_not_loaded_again(
    each_kerf, legacy_edge, cloud_peer, tmp_path
):
    folder = tmp_path / "in"
    nets.save_tensors(folder, nets.some_tensors(1, 1))
    edge = legacy_edge(cloud_peer.port, "--input", folder, binary=each_kerf)
    files = cloud_peer.accept()
    out = cloud_peer.dial_edge(edge.port)
    cloud_peer.send_heads(files, {"small": (HEAD.encode(), b"")})
    x = np.load(folder / "000.npy").reshape(H_SHAPE)
    assert np.array_equal(legacy_peer.read_tensor(out)[2], x)
    files.close()  # the cloud comes back and sends the same again
    files = cloud_peer.accept()
    cloud_peer.send_heads(files, {"small": (HEAD.encode(), b"")})
    cloud_peer.send_heads(files, {"small": (HEAD_2.encode(), b"")})
    edge.wait_line("Head of small is ready")
    edge.wait_line("Head of small is ready")
    np.save(tmp_path / "001.npy", np.load(folder / "000.npy"))
    os.rename(tmp_path / "001.npy", folder / "001.npy")
    header, _, h = legacy_peer.read_tensor(out)
    assert header["filename"] == 1
    assert np.array_equal(h, 2 * x)
    assert edge.term() == 0
    assert edge.out.count("Head of small is ready") == 2


def test_edge__cloud_vanishes_and_comes_back__sends_on(
    each_kerf, legacy_edge, cloud_peer, tmp_path
):
    words, given = inputs_of(tmp_path / "in", 6)
    edge = legacy_edge(cloud_peer.port, *words, "--rate", 2, binary=each_kerf)
    cloud_peer.send_heads(cloud_peer.accept(), {"small": (HEAD.encode(), b"")})
    out = cloud_peer.dial_edge(edge.port)
    first = [legacy_peer.read_tensor(out)[0]["filename"] for _ in range(2)]
    out.close()
    edge.wait_line("takes tensors is gone")
    out = cloud_peer.dial_edge(edge.port)
    rest = []
    while not rest or rest[-1] != 5:
        header, _, h = legacy_peer.read_tensor(out)
        rest.append(header["filename"])
        assert np.array_equal(h, given[rest[-1]].reshape(H_SHAPE))
    assert first == [0, 1]
    assert rest == list(range(rest[0], 6))
    assert is_closed(out)
    assert edge.wait() == 0


def test_edge__slow_cloud__gets_all_before_the_end(each_kerf, legacy_edge, cloud_peer, tmp_path):
    big = nets.model([nets.X], [nets.value("h", (1, 1000000))])
    words, _ = inputs_of(tmp_path / "in", 5)
    edge = legacy_edge(cloud_peer.port, *words, binary=each_kerf)
    cloud_peer.send_heads(cloud_peer.accept(), {"big": (big.encode(), b"")})
    out = cloud_peer.dial_edge(edge.port)
    edge.wait_line("Head of big is ready")
    time.sleep(0.5)
    for i in range(5):
        header, _, h = legacy_peer.read_tensor(out)
        assert header == {"filename": i, "filesize": 4000033, "tensorshape": [1, 1000000]}
        assert edge.alive() or i == 4
    assert is_closed(out)
    assert edge.wait() == 0


def test_edge__cloud_dies_amid_a_tensor__it_is_sent_again(
    each_kerf, legacy_edge, cloud_peer, tmp_path
):
    size = 10000000  # f32: more than kernels keep for two sockets
    big = nets.model([nets.X], [nets.value("h", (1, size))])
    words, _ = inputs_of(tmp_path / "in", 1)
    edge = legacy_edge(cloud_peer.port, *words, binary=each_kerf)
    cloud_peer.send_heads(cloud_peer.accept(), {"big": (big.encode(), b"")})
    out = cloud_peer.dial_edge(edge.port)
    legacy_peer.read_header(out)
    out.close()
    edge.wait_line("takes tensors is gone")
    out = cloud_peer.dial_edge(edge.port)
    assert legacy_peer.read_tensor(out)[0]["filename"] == 0
    assert is_closed(out)
    assert edge.wait() == 0


def test_edge__port_in_use__names_the_flag(run, cloud_peer, tmp_path):
    taken = CloudPeer().start()
    edge = run(
        *["edge", "--legacy", "--engine", "fake", "--cloud_host", "127.0.0.1"],
        *["--cloud_port", str(cloud_peer.port), "--edge_host", "127.0.0.1"],
        *["--edge_port", str(taken.port), "--store", str(tmp_path / "store"), "--input", "random"],
    )
    taken.close()
    assert edge.status == 1
    (line,) = nets.error_lines(edge)
    assert f"port {taken.port} on 127.0.0.1 is in use" in line and "--edge_port" in line


def test_edge__head_that_does_not_fit_the_wire__says_why(legacy_edge, cloud_peer):
    edge = legacy_edge(cloud_peer.port)
    two = nets.model([nets.X], [nets.H, nets.value("g", (1, 5))])
    cloud_peer.send_heads(cloud_peer.accept(), {"two": (two.encode(), b"")})
    edge.wait_line(r"Head of two cannot be used: its head has 2 outputs")
    assert edge.term() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("with_cloud", [False, True])
def test_edge__signal__ends_with_0(number, with_cloud, legacy_edge, cloud_peer):
    edge = legacy_edge(cloud_peer.port)
    cloud_peer.send_heads(cloud_peer.accept(), {"small": (HEAD.encode(), b"")})
    edge.wait_line("Head of small is ready")
    if with_cloud:
        legacy_peer.read_tensor(cloud_peer.dial_edge(edge.port))
        edge.wait_line("send finish")
    edge.signal(number)
    assert edge.wait() == 0


def image_folder(digits, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted((digits / "images").glob("*.png"))[:4]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_edge__images_without_a_card__says_what_to_do(legacy_edge, cloud_peer, digits, tmp_path):
    folder = image_folder(digits, tmp_path)
    edge = legacy_edge(cloud_peer.port, "--input", folder, "--once")
    cloud_peer.send_heads(cloud_peer.accept(), {"small": (HEAD.encode(), b"")})
    assert edge.wait() == 1
    assert "no card says how an image becomes its input" in nets.error_lines(edge)[-1]


def test_both__kerf_to_kerf_with_a_card_in_the_store(
    each_kerf, legacy_cloud, legacy_edge, free_port, digits, tmp_path
):
    port = free_port()
    nets.small_pair(tmp_path / "models", card=nets.image_card((4, 4)))
    nets.put(tmp_path / "card", (tmp_path / "models" / "small.kerf.json").read_bytes())
    (tmp_path / "store").mkdir()
    os.rename(tmp_path / "card", tmp_path / "store" / "small.kerf.json")
    folder = image_folder(digits, tmp_path)
    edge = legacy_edge(port, "--input", folder, "--once", binary=each_kerf)
    cloud = legacy_cloud(edge.port, port=port, binary=each_kerf)
    assert edge.wait() == 0
    cloud.wait_line(r"Tensor 4 Result:\[\d+\]")
    assert cloud.term() == 0
