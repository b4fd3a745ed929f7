"""Coded tensors: `kerf edge --codec` against the cloud, and peers that send blobs
which are none."""

import shutil
import struct

import exact
import numpy as np
import pytest
import wire
from nets import results

EXACT, F16, BF16, Q8, Q4, Q4C = 1, 2, 3, 4, 8, 15
ONE, STEPS = 0, 4  # content
STORED, THIN, ANS = 0, 1, 2  # packing


@pytest.fixture
def answers(run, digits, tmp_path):
    """answers(cloud, codec, args...) -> (results in order, summary, saved outputs)"""

    def go(cloud, codec, *args, **more):
        save = tmp_path / f"out-{codec}"
        got = run(
            "edge", "--cloud_port", cloud.port, "--store", tmp_path / "store", "--once",
            "--codec", codec, "--input", digits / "images", "--json", "--save", save, *args,
            timeout=120, **more,
        )  # fmt: skip
        assert got.status == 0, got.report()
        found = [r for _, r in sorted(results(got).items())]
        assert len(found) == 40
        return found, got.events()[-1], [f.read_bytes() for f in sorted(save.glob("*.npy"))]

    return go


def test_edge__each_codec__gives_the_labels_of_raw(each_kerf, start_cloud, answers, digits):
    cloud = start_cloud("--models", digits, binary=each_kerf)
    want, total, outputs = answers(cloud, "raw", binary=each_kerf)
    assert all(r["codec"] == "raw" and r["coded_bytes"] == r["tensor_bytes"] for r in want)
    assert total["coded_bytes"] == total["tensor_bytes"] == 40 * want[0]["tensor_bytes"]
    least = {"exact": 1.5, "f16": 3, "bf16": 4, "q8": 4.5, "q8c": 4, "q6": 6, "q4": 9}
    for codec, times in least.items():
        got, total, saved = answers(cloud, codec, binary=each_kerf)
        assert [r["top"][0]["index"] for r in got] == [r["top"][0]["index"] for r in want], codec
        assert all(r["codec"] == codec for r in got)
        assert all(r["stages_us"]["decode"] > 0 and r["stages_us"]["encode"] > 0 for r in got)
        assert all(r["bytes_sent"] == 256 + wire.up(r["coded_bytes"], 64) for r in got)
        assert total["tensor_bytes"] > times * total["coded_bytes"], codec
        assert total["coded_bytes"] == sum(r["coded_bytes"] for r in got)
        assert (saved == outputs) == (codec == "exact"), codec
    assert cloud.term() == 0


def test_edge__auto__answers_as_raw_on_loopback_or_packs(start_cloud, answers, digits):
    cloud = start_cloud("--models", digits)
    want, _, _ = answers(cloud, "raw")
    got, _, _ = answers(cloud, "auto")
    assert [r["top"][0]["index"] for r in got] == [r["top"][0]["index"] for r in want]
    assert {r["codec"] for r in got} <= {"raw", "exact", "f16", "q8"}


def test_edge__unknown_codec__is_a_usage_error(run):
    got = run("edge", "--codec", "q9")
    assert got.status == 2 and "q9" in got.err and "q8c" in got.err
    got = run("edge", "--codec", "q8", "--legacy")
    assert got.status == 2 and "--codec" in got.err


def test_edge__a_cloud_that_takes_raw_only__gets_raw(spawn, tmp_path):
    """WELCOME of tests/e2e/wire.py lists codec 0 alone."""
    files = exact.files()
    named = [
        (role, name, files[name])
        for role, name in enumerate(
            [f"client_infer_m.{e}" for e in ("pdmodel", "pdiparams")]
            + [f"server_infer_m.{e}" for e in ("pdmodel", "pdiparams")],
            1,
        )
    ]
    ident, body = wire.manifest("m", named)
    (tmp_path / "x.npy").write_bytes(exact.npy(exact.x_of(3)))
    with wire.Cloud() as cloud:
        spawn(
            "edge", "--engine", "fake", "--cloud_port", cloud.port, "--store", tmp_path / "store",
            "--codec", "q8", "--once", "--input", tmp_path / "x.npy",
        )  # fmt: skip
        control = cloud.greet()
        tensor = cloud.attach()
        wire.send_offer(control, ident, body)
        got = wire.serve_fetches(control, named)
        assert got.kind == wire.READY
        request = tensor.recv_kind(wire.TENSOR)
        assert request.describe()[1] == [(wire.F32, 0, (1, 16), 64)]
        assert request.floats() == exact.h_of(3)
        control.close()
        tensor.close()


def test_bench_tensor__says_bytes_times_and_errors(run, tmp_path):
    rng = np.random.default_rng(1)
    level = np.cumsum(rng.normal(size=(1, 8, 40, 40)), axis=-1)
    np.save(tmp_path / "a.npy", np.maximum(level, 0).astype("<f4"))
    got = run("bench", "tensor", tmp_path / "a.npy", "--rounds", 2, "--json")
    assert got.status == 0, got.report()
    rows = {r["codec"]: r for r in got.events()}
    assert len(rows) == 24
    for name, row in rows.items():
        assert row["raw_bytes"] == 4 * 8 * 40 * 40 > row["coded_bytes"]
        assert row["encode_us"] > 0 and row["decode_us"] > 0 and row["zlib_bytes"] > 0
        bits = int(name[1]) if name[0] == "q" else 0
        most = 7 / 8 * 15 / 13 if name[-1] == "s" else 1 / 2  # steps: codec.h
        assert row["max_error"] <= (1.01 * most / (2**bits - 1) + 1e-6 if bits else 2**-8)
        assert (row["entropy_bytes"] > 0) == (bits > 0)
    assert rows["exact"]["max_error"] == 0
    assert rows["q8"]["coded_bytes"] < rows["q8"]["entropy_bytes"]  # runs, differences
    got = run("bench", "tensor", tmp_path / "a.npy", "--rounds", 2, "--check", "--codec", "q8")
    assert got.out.count("(bar: ") == 4 and "16 KB" not in got.out
    assert got.status == ("not met" in got.out)
    np.save(tmp_path / "s.npy", np.maximum(level[:, :, :, :16].reshape(-1)[:4096], 0).astype("<f4"))
    got = run("bench", "tensor", tmp_path / "s.npy", "--rounds", 2, "--check", "--codec", "exact")
    assert got.out.count("(bar: ") == 4 and "exact: 16 KB" in got.out
    (tmp_path / "b.npy").write_bytes(b"no")
    got = run("bench", "tensor", tmp_path / "b.npy")
    assert got.status == 1 and "b.npy" in got.err
    assert run("bench", "tensor", tmp_path / "a.npy", "--codec", "q9").status == 2


# ---- hostile blobs -----------------------------------------------------------


def blob(codec, content, packing, count, body, reserved=0, check=None):
    head = struct.pack("<BBBB", codec, content, packing, reserved)
    rest = struct.pack("<I", count) + body
    if check is None:
        check = wire.hash64(rest, wire.hash64(head)) & 0xFFFFFFFF
    return head + struct.pack("<I", check) + rest


def steps(numbers, low=0.0, step=1.0):
    return struct.pack("<ff", low, step) + bytes(numbers)


def floats(flags=0, top=1, width=0, literals=0, rest=b""):
    return struct.pack("<BBHI", flags, top, width, literals) + rest


def one(value):
    return struct.pack("<f", value)


NUMBERS = list(range(16))
GOOD = blob(Q8, STEPS, STORED, 16, steps(NUMBERS, 0.5, 0.25))
BAD = {
    "check": blob(Q8, STEPS, STORED, 16, steps(NUMBERS), check=1),
    "codec": blob(Q4, STEPS, STORED, 16, steps(NUMBERS)),
    "content": blob(Q8, 9, STORED, 16, steps(NUMBERS)),
    "packing": blob(Q8, STEPS, 7, 16, steps(NUMBERS)),
    "reserved": blob(Q8, STEPS, STORED, 16, steps(NUMBERS), reserved=1),
    "count": blob(Q8, STEPS, STORED, 17, steps(NUMBERS)),
    "count_2_32": blob(Q8, STEPS, STORED, (1 << 32) - 1, steps(NUMBERS)),
    "short": blob(Q8, STEPS, STORED, 16, steps(NUMBERS[:15])),
    "long": blob(Q8, STEPS, STORED, 16, steps([*NUMBERS, 1])),
    "thin": blob(Q8, STEPS, THIN, 16, steps(NUMBERS)),
    "thin_flags": blob(Q8, STEPS, THIN, 16, steps([4, 0])),
    "thin_common": blob(Q8, STEPS, THIN, 16, steps([3, 1])),
    "ans": blob(Q8, STEPS, ANS, 16, steps(NUMBERS)),
    "exact_packing": blob(Q8, 1, THIN, 16, floats()),
    "exact_flags": blob(Q8, 1, STORED, 16, floats(flags=8)),
    "exact_above": blob(Q8, 1, STORED, 16, floats(flags=2, width=4)),
    "exact_width": blob(Q8, 1, STORED, 16, floats(width=4)),
    "exact_literals": blob(Q8, 1, STORED, 16, floats(literals=1 << 31, rest=bytes(40))),
    "exact_more": blob(Q8, 1, STORED, 16, floats(literals=17, rest=bytes(40))),
    "exact_masks": blob(Q8, 1, STORED, 16, floats(literals=0, rest=b"\1\0\0\xff\xff")),
    "split": blob(Q8, 2, STORED, 16, struct.pack("<II", 300, 0) + bytes(4) + bytes(16)),
    "split_rest": blob(Q8, 2, STORED, 16, struct.pack("<II", 1, 1 << 31) + bytes(20)),
    "split_numbers": blob(Q8, 2, STORED, 16, struct.pack("<II", 1, 0) + bytes(4) + bytes([8] * 16)),
    "one_long": blob(Q8, ONE, STORED, 16, one(1) + b"x"),
    "one_short": blob(Q8, ONE, STORED, 16, b"xyz"),
    "head_only": GOOD[:12],
    "byte": b"\x04",
}


def send_blob(edge, bundle, data, codec=Q8, id=1):
    meta = wire.tensors(bundle, [(wire.F32, codec, (1, 16), len(data))])
    edge.tensors.send(wire.TENSOR, meta, [data], id=id)
    return edge.tensors.recv_kind(wire.RESULT, wire.FAILED)


def test_cloud__bad_blobs__fail_and_the_session_goes_on(start_cloud, kerf_asan, tmp_path):
    exact.put(tmp_path / "models")
    cloud = start_cloud(
        "--engine", "fake", "--models", tmp_path / "models", "--workers", 1, binary=kerf_asan
    )
    with wire.Edge(cloud.port) as edge:
        bundle, _ = edge.offered()
        for number, (name, data) in enumerate(BAD.items()):
            got = send_blob(edge, bundle, data, id=100 + number)
            assert got.kind == wire.FAILED and got.id == 100 + number, name
            assert got.notice()[0] == wire.ECORRUPT and "blob" in got.notice()[2], name
        for cut in range(1, len(GOOD)):
            assert send_blob(edge, bundle, GOOD[:cut]).notice()[0] == wire.ECORRUPT
        for bit in range(8 * len(GOOD)):
            data = bytearray(GOOD)
            data[bit // 8] ^= 1 << bit % 8
            assert send_blob(edge, bundle, bytes(data)).notice()[0] == wire.ECORRUPT
        got = send_blob(edge, bundle, GOOD, id=7)
        assert got.kind == wire.RESULT
        want = [0.25 * v + 1 for v in exact.fold([0.5 + 0.25 * n for n in NUMBERS], exact.Y)]
        assert got.floats() == want
        got = send_blob(edge, bundle, blob(EXACT, ONE, STORED, 16, one(2.0)), codec=EXACT)
        assert got.floats() == [0.25 * v + 1 for v in exact.fold([2.0] * 16, exact.Y)]
        edge.request(bundle, exact.h_of(4), id=6)  # raw after coded, in the same slot
        assert edge.tensors.recv_kind(wire.RESULT).floats() == exact.y_of(4)
    # What the desc itself says wrong ends the session.
    for codec, dtype, dims, length in (
        (25, wire.F32, (1, 16), 32),
        (255, wire.F32, (1, 16), 32),
        (Q8, wire.I32, (1, 16), 32),
        (Q8, wire.F32, (1, 16), 64),
        (Q8, wire.F32, (1, 16), 1 << 40),
        (Q8, wire.F32, (1, 0), 0),
    ):
        with wire.Edge(cloud.port) as edge:
            meta = wire.tensors(bundle, [(dtype, codec, dims, length)])
            edge.tensors.send(wire.TENSOR, meta, [bytes(min(length, 64))], id=5)
            assert edge.tensors.recv_error() is not None, (codec, dtype, dims, length)
    assert cloud.alive(), cloud.report()
    assert cloud.term() == 0


def agree(run, digits, *args):
    return run(
        "bench", "tensor", digits / "digits.pdmodel", "--at", "relu_2.tmp_0",
        *args, "--json", timeout=120,
    )  # fmt: skip


def test_bench_tensor__a_cut_network__agrees_less_with_fewer_bits(run, digits, tmp_path):
    got = agree(run, digits, "--input", digits / "images", "--plot", tmp_path / "a.svg")
    if shutil.which("gnuplot") is None:
        pytest.skip("gnuplot is not installed")
    assert got.status == 0, got.report()
    ways = {e["way"]: e for e in got.events() if e["event"] == "way"}
    assert all(w["pictures"] == 40 and w["accuracy"] is None for w in ways.values())
    for name in ("f32 + zlib", "exact", "f16"):
        assert ways[name]["agreement"] == 1
    assert ways["exact"]["bytes"] < 65536
    sizes = [ways[f"q{b}"]["bytes"] for b in range(8, 1, -1)]
    assert sizes == sorted(sizes, reverse=True)
    assert ways["q8"]["agreement"] == 1 >= ways["q2"]["agreement"]
    files = [ways[f"jpeg {q}"]["bytes"] for q in (95, 50, 5)]
    assert 3072 > files[0] > files[1] > files[2] > 100
    smallest = {e["of"]: e["bytes"] for e in got.events() if e["event"] == "smallest"}
    assert 0 < smallest["q"] < ways["exact"]["bytes"] and smallest["jpeg"] <= 3072
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_bench_tensor__a_batch_and_truth__says_what_is_right(run, digits, tmp_path):
    rng = np.random.default_rng(1)
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    right = []
    for truth in range(10):
        np.save(tmp_path / "y.npy", np.full(3, truth))
        got = agree(run, digits, "--input", tmp_path / "x.npy", "--truth", tmp_path / "y.npy")
        assert got.status == 0, got.report()
        ways = {e["way"]: e for e in got.events() if e["event"] == "way"}
        assert ways["exact"]["pictures"] == 3
        right.append(ways["exact"]["accuracy"])
    assert sum(right) == pytest.approx(1)  # each picture is of one class


def test_bench_tensor__wrong_words_for_a_cut__are_said(run, digits, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((2, 8, 8, 3), np.uint8))
    np.save(tmp_path / "y.npy", np.zeros((5,)))
    image = digits / "images"
    for args, words in (
        (("--input", tmp_path / "x.npy"), "[N, 32, 32, 3]"),
        (("--input", image, "--truth", tmp_path / "y.npy"), "y.npy"),
        (("--input", image, "--boxes"), "classes"),
        (("--input", image, "--plot", tmp_path / "a.gif"), ".svg"),
        (("--input", tmp_path / "none"), "none"),
    ):
        got = agree(run, digits, *args)
        assert got.status == 1 and words in got.err, got.report()
    assert agree(run, digits).status == 2
    assert run("bench", "tensor", tmp_path / "x.npy", "--truth", tmp_path / "y.npy").status == 2
