"""Models shipped packed: every byte comes as it was, also where blocks repeat or do
not pack; edges that do not know packing get the bytes as they are."""

import json
import os
import shutil
import struct
import subprocess
import sys

import exact
import numpy as np
import pytest
import wire

HEAD = "client_infer_m.pdiparams"


def record(values):
    """One tensor as Paddle's combined weights have it: f32."""
    desc = b"\x08\x05\x10" + wire_int(values.size)
    return struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc + values.tobytes()


def wire_int(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


@pytest.fixture
def models(tmp_path):
    """A pair with weights that pack, repeat, and do not pack; the head's bytes."""
    folder = tmp_path / "models"
    exact.put(folder)
    rng = np.random.default_rng(7)
    normal = rng.normal(0, 0.05, 400_000).astype(np.float32)
    noise = rng.integers(0, 1 << 32, 300_000, dtype=np.uint32).view(np.float32)
    weights = b"".join(map(record, (normal, noise, normal, np.zeros(5, np.float32))))
    (folder / HEAD).write_bytes(weights)
    return folder, weights


def start(start_cloud, models, *words, **more):
    words = ("--engine", "fake", "--models", models, *words)
    return start_cloud(*words, **more)


@pytest.mark.parametrize("codec", ["raw", "kwz", "auto"])
def test_shipped__byte_for_byte(start_cloud, run, kerf_asan, models, tmp_path, codec):
    folder, weights = models
    cloud = start(start_cloud, folder, "--model-codec", codec, binary=kerf_asan)
    done = run(
        "edge", "--json", "--engine", "fake", "--cloud-port", cloud.port, "--repeat", 1,
        "--store", tmp_path / "store", binary=kerf_asan,
    )  # fmt: skip
    assert done.status == 0, done.err
    assert (tmp_path / "store" / HEAD).read_bytes() == weights
    got = [json.loads(line) for line in done.out.splitlines()]
    got = {e["file"]: e for e in got if e["event"] == "received"}
    shipped = cloud.wait_event("shipped")
    assert shipped["bytes"] == sum(e["bytes"] for e in got.values())
    assert shipped["wire_bytes"] == sum(e["wire_bytes"] for e in got.values())
    wire_bytes = got[HEAD]["wire_bytes"]
    if codec == "raw":
        assert wire_bytes == len(weights) and shipped["wire_bytes"] == shipped["bytes"]
    elif codec == "kwz":  # the noise as it is, the normal ones once, packed
        assert 1_200_000 + 1_200_000 < wire_bytes < 1_200_000 + 1_400_000
    else:
        assert wire_bytes <= len(weights)
    assert cloud.term() == 0


def parts_of(edge, bundle, index, offset, size, length=0):
    """[(codec, offset, plain, piece)] until size; they follow each other."""
    edge.control.send(wire.FETCH, wire.part(bundle, index, offset, length))
    found = []
    while offset < size:
        got = edge.control.recv_kind(wire.PART)
        at, length = struct.unpack_from("<QI", got.meta, 34)
        codec, _, plain = struct.unpack_from("<BBI", got.meta.ljust(52, b"\0"), 46)
        assert at == offset and length <= len(got.payload)
        found.append((codec, at, plain if codec else length, got.payload[:length]))
        offset += found[-1][2]
    return found


def test_old_edge__gets_the_bytes_as_they_are(start_cloud, models):
    folder, weights = models
    cloud = start(start_cloud, folder, "--model-codec", "kwz")
    with wire.Edge(cloud.port) as edge:
        bundle, manifest = edge.offered()
        names = [f["name"] for f in manifest["files"]]
        parts = parts_of(edge, bundle, names.index(HEAD), 0, len(weights))
        assert {codec for codec, *_ in parts} == {0}
        assert b"".join(piece for *_, piece in parts) == weights


@pytest.mark.parametrize("what", ["weights", "text"])
def test_fetch_from_the_midst_of_a_block__its_rest_as_it_is(start_cloud, models, what):
    """Nothing is packed at a peer's will: 128 KiB of text would hold all others for 12 ms."""
    folder, weights = models
    if what == "text":
        letters = np.frombuffer(b"abcdefghijklmnop   eeeettt", np.uint8)
        weights = np.random.default_rng(3).choice(letters, 3 << 20).tobytes()
        (folder / HEAD).write_bytes(weights)
    cloud = start(start_cloud, folder, "--model-codec", "kwz")
    with wire.Edge(cloud.port, parts=3) as edge:
        bundle, manifest = edge.offered()
        index = [f["name"] for f in manifest["files"]].index(HEAD)
        whole = parts_of(edge, bundle, index, 0, len(weights))
        packed = [(at, plain) for codec, at, plain, _ in whole if codec]
        assert packed and all(len(piece) < plain for codec, _, plain, piece in whole if codec)
        for codec, at, plain, piece in whole:
            assert codec or piece == weights[at : at + plain]
        first, length = packed[0]
        rest = parts_of(edge, bundle, index, first + 5, len(weights))
        alone = [part for part in rest if part[1] < first + length]
        assert {codec for codec, *_ in alone} == {0}
        assert b"".join(piece for *_, piece in alone) == weights[first + 5 : first + length]
        assert rest[len(alone) :] == [part for part in whole if part[1] >= first + length]
        some = parts_of(edge, bundle, index, first, first + length - 1, length - 1)
        assert {codec for codec, *_ in some} == {0}


def test_ranges__several_at_a_time__each_is_all_that_comes(start_cloud, models):
    folder, weights = models
    cloud = start(start_cloud, folder, "--model-codec", "raw")
    with wire.Edge(cloud.port) as edge:
        assert edge.features & wire.RANGES
        bundle, manifest = edge.offered()
        index = [f["name"] for f in manifest["files"]].index(HEAD)
        asked = [(n * 100_003, 1 + n * 37_000) for n in range(15)] + [(len(weights) - 1, 1)]
        for offset, length in asked:
            edge.control.send(wire.FETCH, wire.part(bundle, index, offset, length))
        for offset, length in asked:
            got = bytearray()
            while len(got) < length:
                part = edge.control.recv_kind(wire.PART)
                at, size = struct.unpack_from("<QI", part.meta, 34)
                assert at == offset + len(got)
                got += part.payload[:size]
            assert got == weights[offset : offset + length]
        edge.control.send(wire.PING)
        edge.control.recv_kind(wire.PONG)


def test_bench_link__a_shaped_link__has_its_numbers(repo, kerf, digits):
    if not all(map(shutil.which, ("unshare", "ip", "tc"))):
        pytest.skip("no unshare, ip or tc")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        pytest.skip("cannot make a network namespace: it needs root")
    words = [sys.executable, repo / "tests" / "bench_link.py", "--models", digits, "--json"]
    done = subprocess.run(
        [*words, "--rates", "50", "--rounds", "1"],
        env=os.environ | {"KERF": str(kerf)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["mbit"] == 50 and row["raw_wire_bytes"] == row["bytes"]
    assert row["kwz_wire_bytes"] < 0.85 * row["bytes"]
    # 50 Mbit/s cannot carry it faster, but for a burst of 5 ms.
    assert row["raw_s"] > row["bytes"] * 8 / 50e6 - 0.01


def test_bench_first__a_download_beside_tensors__is_paced(repo, kerf):
    words = [sys.executable, repo / "tests" / "bench_first.py", "--json", "--log", "debug"]
    words += "--sizes 16 --windows 1 --rounds 1 --idle 0.3 --model-mb 4".split()
    words += "--control reno --weights f32".split()
    done = subprocess.run(
        words, env=os.environ | {"KERF": str(kerf)}, capture_output=True, text=True, timeout=120
    )
    if "is missing" in done.stderr or "cannot make" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    for key in ("idle_count", "loaded_count", "idle_p99_us", "loaded_p99_us", "download_mbit"):
        assert row[key] > 0
    assert row["packed"] < 0.98
    assert "cloud.pace" in done.stderr
