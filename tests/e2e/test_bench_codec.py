"""kerf bench codec: every method's numbers are there and are those of the files
that kerf pack makes; entropies are numpy's; pictures are drawn; nothing is left."""

import json
import math
import shutil
import signal
import struct

import numpy as np
import pytest

METHODS = ["gzip", "bz2", "xz", "zip", "tar.gz", "zstd-3", "zstd-19", "kwz"]
IN_MEMORY = ["gzip", "zstd-3", "kwz"]
TIMEOUT = 240


def pdiparams(*tensors):
    """The records of Paddle's combined weights: f32."""
    out = b""
    for t in tensors:
        desc = b"\x08\x05" + b"".join(b"\x10" + bytes([d]) for d in t.shape)
        out += struct.pack("<IQI", 0, 0, 0) + struct.pack("<i", len(desc)) + desc + t.tobytes()
    return out


@pytest.fixture
def weights(tmp_path):
    rng = np.random.default_rng(5)
    tensors = [rng.normal(0, s, (100, 50)).astype(np.float32) for s in (0.01, 0.5)]
    path = tmp_path / "net" / "weights.pdiparams"
    path.parent.mkdir()
    path.write_bytes(pdiparams(*tensors, np.ones((100, 20), np.float32)))
    return path, tensors


def entropy_bytes(values):
    counts = np.unique(values, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)


def bench(run, *words, **more):
    done = run("bench", "codec", *words, "--quiet", timeout=TIMEOUT, **more)
    assert done.status == 0, done.err
    return done


def lines(text):
    found = [json.loads(line) for line in text.splitlines()]
    files = [o for o in found if o["event"] == "codec-file"]
    return files, {o["method"]: o for o in found if o["event"] == "codec"}


def test_every_method__has_its_numbers(run, weights, tmp_path):
    path, tensors = weights
    work = tmp_path / "work"
    work.mkdir()
    done = bench(run, path.parent, "--rounds", 2, "--work", work, "--json")
    (file,), rows = lines(done.out)
    size = path.stat().st_size
    assert (file["file"], file["bytes"]) == ("net/weights.pdiparams", size)
    assert file["f32_bytes"] == file["tensor_bytes"] == 48000 and file["memcpy_s"] > 0
    # Two tensors by their exponents, the constant one for nothing, the records' heads.
    floor = sum(entropy_bytes(t.view(np.uint32) >> 23 & 255) + t.size * 3 for t in tensors)
    assert floor < file["order0_bytes"] < floor + size - 48000
    assert 0 < file["conditional_bytes"] <= file["order0_bytes"]
    assert [m for m in rows if not m.startswith("kwz-")] == METHODS
    for method, row in rows.items():
        assert row["bytes"] == size and row["rounds"] == 2
        assert row["ratio"] == pytest.approx(row["packed_bytes"] / size)
        times = ["compress_s", "extract_s"]
        if method in IN_MEMORY or method.startswith("kwz-"):
            times += ["memory_compress_s", "memory_extract_s"]
        assert {k for k in row if k.endswith("_s") and "mb_per" not in k} == set(times)
        for key in times + ["compress_mb_per_s", "extract_mb_per_s"]:
            assert math.isfinite(row[key]) and row[key] > 0, (method, key)
        assert ("published_elsewhere" in row) == (method in METHODS[:5])
    assert rows["xz"]["compress_peak_kib"] > rows["gzip"]["compress_peak_kib"]
    for method, level in (("gzip", 9), ("kwz", 0)):
        packed = tmp_path / method
        run("pack", path, "--format", method, "--level", level, "--out", packed)
        assert packed.stat().st_size == rows[method]["packed_bytes"]
    assert list(work.iterdir()) == []


def test_from__tables_bars_and_pictures_of_earlier_runs(run, weights, tmp_path):
    path, _ = weights
    kept = tmp_path / "kept.json"
    some = ("--method", "gzip", "zstd-3", "kwz", "--rounds", 1)
    kept.write_text(bench(run, path, *some, "--json").out)
    peer = {"event": "codec", "file": "net/weights.pdiparams", "bytes": path.stat().st_size}
    peer |= {"method": "peer", "threads": 1, "rounds": 1, "packed_bytes": 10}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(peer | {"memory_compress_s": 1e-3}) + "\n")

    again = bench(run, "--from", kept, "--json")
    assert again.out == kept.read_text()
    table = bench(run, "--from", kept, other).out
    assert "net/weights.pdiparams" in table and "peer" in table
    assert "kwz / the smaller of gzip -9 and zstd -3, bytes:" in table
    assert "another machine" in table

    # What gzip -9 packs better than kwz misses a bar; so it is with numbers made up.
    small = [json.loads(line) for line in kept.read_text().splitlines()]
    for row in small:
        if row.get("method") == "gzip":
            row["packed_bytes"] = 1
    kept.write_text("".join(json.dumps(row) + "\n" for row in small))
    assert run("bench", "codec", "--from", kept, "--check", "--quiet").status == 1

    if shutil.which("gnuplot"):
        bench(run, "--from", kept, "--plots", tmp_path / "plots")
        names = sorted(p.name for p in (tmp_path / "plots").iterdir())
        pictures = ("compress", "extract", "ratio")
        assert names == sorted(f"{p}.{end}" for p in pictures for end in ("png", "svg"))
        assert "kwz" in (tmp_path / "plots" / "ratio.svg").read_text()
        assert (tmp_path / "plots" / "ratio.png").read_bytes().startswith(b"\x89PNG")


def test_interrupted__nothing_is_left(spawn, weights, tmp_path):
    path, _ = weights
    work = tmp_path / "work"
    work.mkdir()
    going = spawn("bench", "codec", path, "--rounds", 1000, "--work", work)
    going.wait_err("round 1 of 1000: weights.pdiparams: kwz")
    going.signal(signal.SIGINT)
    assert going.wait() == 1
    assert "interrupted" in going.err
    assert list(work.iterdir()) == []


def test_wrong_words__one_line(run, tmp_path):
    done = run("bench", "codec", "--method", "arj")
    assert done.status == 2 and "unknown method arj" in done.err
    done = run("bench", "codec", tmp_path, "--quiet")
    assert done.status == 1 and "no .pdiparams or .onnx" in done.err
    done = run("bench", "codec", tmp_path / "none", "--quiet")
    assert done.status == 1 and "none" in done.err
    bad = tmp_path / "bad.json"
    bad.write_text('{"event":"codec","file":"x"}\n')
    done = run("bench", "codec", "--from", bad)
    assert done.status == 1 and "line 1" in done.err
