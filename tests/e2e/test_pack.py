"""kerf pack and kerf unpack: what goes in comes out, in every format, and the
usual tools and Python's modules agree; what is hostile leaves nothing behind."""

import bz2
import gzip
import io
import json
import lzma
import os
import random
import shutil
import stat
import struct
import subprocess
import tarfile
import zipfile

import pytest

FORMATS = {
    "kwz": ".kwz", "gzip": ".gz", "bz2": ".bz2", "xz": ".xz",
    "zip": ".zip", "tar.gz": ".tar.gz", "zst": ".zst",
}  # fmt: skip
STREAMS = ["kwz", "gzip", "bz2", "xz", "zst"]


def weights(count, seed=1):
    """Bytes of float32, as a trained layer has them."""
    rng = random.Random(seed)
    return struct.pack(f"<{count}f", *(rng.gauss(0, 0.05) for _ in range(count)))


@pytest.fixture
def folder(tmp_path):
    """A folder with files of several kinds, and an empty one."""
    top = tmp_path / "model"
    (top / "deep" / "er").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "weights.bin").write_bytes(weights(20000))
    (top / "text.yml").write_text("a: 1\n" * 300)
    (top / "deep" / "er" / "nothing").write_bytes(b"")
    (top / "deep" / "tied.bin").write_bytes(weights(20000, 2) * 2)
    return top


def tree(top):
    return {
        str(p.relative_to(top)): p.read_bytes() if p.is_file() else None
        for p in sorted(top.rglob("*"))
    }


def ok(done):
    assert done.status == 0, done.report()
    return done


def refused(done, *words):
    assert done.status == 1, done.report()
    (line,) = done.err.splitlines()
    assert line.startswith("kerf: error: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_file__comes_back(run, tmp_path, name, threads):
    data = weights(50001) + b"tail"
    file = tmp_path / "m.pdiparams"
    file.write_bytes(data)
    done = ok(run("pack", str(file), "--format", name, "-j", threads))
    packed = tmp_path / f"m.pdiparams{FORMATS[name]}"
    assert file.read_bytes() == data and packed.exists() and "ratio" in done.out
    ok(run("unpack", str(packed), "--out", str(tmp_path / "o"), "-j", threads))
    assert tree(tmp_path / "o") == {"m.pdiparams": data}
    assert sorted(os.listdir(tmp_path)) == ["m.pdiparams", packed.name, "o"]


@pytest.mark.parametrize("name", ["kwz", "zip", "tar.gz"])
def test_a_folder__comes_back(run, folder, tmp_path, name):
    ok(run("pack", str(folder), "--format", name))
    ok(run("unpack", str(folder) + FORMATS[name], "--out", str(tmp_path / "o")))
    assert tree(tmp_path / "o" / "model") == tree(folder)


@pytest.mark.parametrize("name", ["gzip", "bz2", "xz", "zst"])
def test_a_folder__is_not_for_a_stream(run, folder, name):
    refused(run("pack", str(folder), "--format", name), "is a folder", "tar.gz")


def test_weights__are_smaller_than_by_others(run, tmp_path):
    file = tmp_path / "w"
    file.write_bytes(weights(300000))
    size = {}
    for name in ["kwz", "gzip", "zst"]:
        done = ok(run("pack", str(file), "--format", name, "--json"))
        result = json.loads(done.out)
        assert result["event"] == "packed" and result["bytes"] == 1200000
        size[name] = result["packed_bytes"]
        assert size[name] == (tmp_path / f"w{FORMATS[name]}").stat().st_size
    assert size["kwz"] < 0.91 * size["gzip"] and size["kwz"] < 0.92 * size["zst"]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [0, 1, 5, 1000, 700000])
def test_standard_input_and_output(repo, kerf, tmp_path, name, size):
    data = weights(size // 4 + 1)[:size]
    packed = subprocess.run(
        [kerf, "pack", "-", "--format", name], input=data, capture_output=True, check=True
    ).stdout
    back = subprocess.run([kerf, "unpack", "-"], input=packed, capture_output=True, check=True)
    assert back.stdout == data


PYTHON = {
    "gzip": (gzip.compress, gzip.decompress),
    "bz2": (bz2.compress, bz2.decompress),
    "xz": (lzma.compress, lzma.decompress),
}
TOOLS = {"gzip": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd"}


@pytest.mark.parametrize("name", PYTHON)
def test_python__reads_and_writes_the_same(run, tmp_path, name):
    data = weights(30000)
    compress, decompress = PYTHON[name]
    (tmp_path / "w").write_bytes(data)
    ok(run("pack", str(tmp_path / "w"), "--format", name))
    packed = tmp_path / f"w{FORMATS[name]}"
    assert decompress(packed.read_bytes()) == data
    # Several streams one after the other are one file.
    packed.write_bytes(compress(data[:50000]) + compress(data[50000:]))
    ok(run("unpack", str(packed), "--force"))
    assert (tmp_path / "w").read_bytes() == data


@pytest.mark.parametrize("name", TOOLS)
def test_tools__read_and_write_the_same(run, tmp_path, name):
    tool = shutil.which(TOOLS[name])
    if tool is None:
        pytest.skip(f"no {TOOLS[name]} here")
    data = weights(30000)
    (tmp_path / "w").write_bytes(data)
    ok(run("pack", str(tmp_path / "w"), "--format", name))
    packed = tmp_path / f"w{FORMATS[name]}"
    done = subprocess.run([tool, "-dc", packed], capture_output=True, check=True)
    assert done.stdout == data
    with packed.open("wb") as out:
        subprocess.run([tool, "-c", tmp_path / "w"], stdout=out, check=True)
    ok(run("unpack", str(packed), "--force"))
    assert (tmp_path / "w").read_bytes() == data


def test_python__reads_and_writes_the_same_zip(run, folder, tmp_path):
    ok(run("pack", str(folder), "--format", "zip"))
    with zipfile.ZipFile(str(folder) + ".zip") as z:
        assert z.testzip() is None
        z.extractall(tmp_path / "o")
    assert tree(tmp_path / "o" / "model") == tree(folder)
    made = shutil.make_archive(str(tmp_path / "py"), "zip", tmp_path, "model")
    ok(run("unpack", made, "--out", str(tmp_path / "p")))
    assert tree(tmp_path / "p" / "model") == tree(folder)


def test_python_and_tar__read_and_write_the_same_tar(run, folder, tmp_path):
    ok(run("pack", str(folder), "--format", "tar.gz"))
    with tarfile.open(str(folder) + ".tar.gz") as t:
        t.extractall(tmp_path / "o")
    assert tree(tmp_path / "o" / "model") == tree(folder)
    for name in ["py", "gnu"]:
        made = tmp_path / f"{name}.tar.gz"
        if name == "py":
            shutil.make_archive(str(tmp_path / name), "gztar", tmp_path, "model")
        else:
            subprocess.run(["tar", "czf", made, "-C", tmp_path, "model"], check=True)
        ok(run("unpack", str(made), "--out", str(tmp_path / name)))
        assert tree(tmp_path / name / "model") == tree(folder)


def packed_sample(run, tmp_path, name):
    data = weights(300) + b"text " * 40
    (tmp_path / "s").write_bytes(data)
    ok(run("pack", str(tmp_path / "s"), "--format", name))
    packed = tmp_path / f"s{FORMATS[name]}"
    (tmp_path / "s").unlink()
    whole = packed.read_bytes()
    packed.unlink()
    return data, whole


def places_in(whole, all_of, step):
    """Each place at both ends, every step-th between."""
    ends = {*range(all_of), *range(len(whole) - all_of, len(whole))}
    return sorted({p for p in ends if 0 <= p < len(whole)} | {*range(0, len(whole), step)})


@pytest.mark.parametrize("name", FORMATS)
def test_every_truncation__is_refused(run, tmp_path, name):
    """... and leaves nothing, or (behind the end of a tar) changes nothing."""
    data, whole = packed_sample(run, tmp_path, name)
    cuts = places_in(whole, 40, 61)
    out = tmp_path / "o"
    files = []
    for cut in cuts:
        files.append(tmp_path / f"{cut}{FORMATS[name]}")
        files[-1].write_bytes(whole[:cut])
    done = run("unpack", *map(str, files), "--out", str(out))
    assert done.status == 1, done.report()
    assert len(done.err.splitlines()) == len(cuts)
    assert not out.exists() or os.listdir(out) == []


@pytest.mark.parametrize("name", FORMATS)
def test_every_flip__is_refused_or_changes_nothing(run, tmp_path, name):
    data, whole = packed_sample(run, tmp_path, name)
    places = places_in(whole, 64, 53)
    files = []
    for at in places:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        files.append(tmp_path / f"{at}{FORMATS[name]}")
        files[-1].write_bytes(damaged)
    for at, file in zip(places, files):
        out = tmp_path / f"o{at}"
        done = run("unpack", str(file), "--out", str(out))
        assert done.status in (0, 1), done.report()
        left = tree(out) if out.exists() else {}
        if done.status == 1:
            assert left == {}
        else:
            assert list(left.values()) == [data]


def tar_of(*members):
    """A .tar.gz of (name, type, link, bytes)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as t:
        for name, kind, link, data in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, link, len(data)
            t.addfile(info, io.BytesIO(data))
    return out.getvalue()


BAD = {
    "up": [("../evil", tarfile.REGTYPE, "", b"x")],
    "deep_up": [("a/../../evil", tarfile.REGTYPE, "", b"x")],
    "absolute": [("/tmp/kerf-evil", tarfile.REGTYPE, "", b"x")],
    "symlink": [
        ("l", tarfile.SYMTYPE, "..", b""),
        ("l/evil", tarfile.REGTYPE, "", b"x"),
    ],
    "hardlink": [("h", tarfile.LNKTYPE, "/etc/passwd", b"")],
    "device": [("d", tarfile.CHRTYPE, "", b"")],
    "file_and_folder": [
        ("a", tarfile.REGTYPE, "", b"x"),
        ("a/b", tarfile.REGTYPE, "", b"x"),
    ],
    "twice": [
        ("a", tarfile.REGTYPE, "", b"x"),
        ("a", tarfile.REGTYPE, "", b"y"),
    ],
}


@pytest.mark.parametrize("name", BAD)
def test_hostile_tar__leaves_nothing(run, tmp_path, name):
    inner = tmp_path / "in"
    inner.mkdir()
    good = ("good", tarfile.REGTYPE, "", b"good")
    (inner / "x.tar.gz").write_bytes(tar_of(good, *BAD[name]))
    refused(run("unpack", str(inner / "x.tar.gz")))
    assert os.listdir(inner) == ["x.tar.gz"] and os.listdir(tmp_path) == ["in"]
    assert not os.path.exists("/tmp/kerf-evil")


@pytest.mark.parametrize("evil", ["../evil", "/tmp/kerf-evil", "a/../../evil", "a//b"])
def test_hostile_zip__leaves_nothing(run, tmp_path, evil):
    inner = tmp_path / "in"
    inner.mkdir()
    with zipfile.ZipFile(inner / "x.zip", "w") as z:
        z.writestr("good", "good")
        z.writestr(evil, "x")
    refused(run("unpack", str(inner / "x.zip")), "leads out")
    assert os.listdir(inner) == ["x.zip"] and os.listdir(tmp_path) == ["in"]


@pytest.mark.parametrize("name", FORMATS)
def test_bomb__stops_at_max_size(run, tmp_path, name):
    (tmp_path / "zeros").write_bytes(bytes(5_000_000))
    ok(run("pack", str(tmp_path / "zeros"), "--format", name, "--remove"))
    packed = str(tmp_path / f"zeros{FORMATS[name]}")
    assert os.path.getsize(packed) < 20000
    refused(run("unpack", packed, "--max-size", "4.9M"), "--max-size")
    assert os.listdir(tmp_path) == [os.path.basename(packed)]
    ok(run("unpack", packed, "--max-size", "5M"))


def test_what_is_there__stays_without_force(run, tmp_path):
    (tmp_path / "w").write_bytes(b"new" * 100)
    (tmp_path / "w.kwz").write_bytes(b"old")
    refused(run("pack", str(tmp_path / "w")), "--force")
    assert (tmp_path / "w.kwz").read_bytes() == b"old"
    ok(run("pack", str(tmp_path / "w"), "--force"))
    refused(run("unpack", str(tmp_path / "w.kwz")), "--force")
    ok(run("unpack", str(tmp_path / "w.kwz"), "--force", "--remove"))
    assert os.listdir(tmp_path) == ["w"]


def test_what_is_no_file__stays_also_with_force(run, tmp_path):
    (tmp_path / "w").write_bytes(b"new" * 100)
    os.mkfifo(tmp_path / "pipe")
    refused(run("pack", tmp_path / "w", "--out", tmp_path / "pipe", "--force"), "not a regular")
    assert stat.S_ISFIFO(os.stat(tmp_path / "pipe").st_mode)


def test_flags_that_do_not_go_together(run, tmp_path):
    for words in (
        ["pack", "a", "b", "--out", "c"],
        ["pack", "a", "--keep", "--remove"],
        ["pack", "-", "-"],
        ["pack", "-", "--json"],
        ["unpack", "a", "--max-size", "much"],
        ["unpack", "a", "-x", "1"],
    ):
        assert run(*words).status == 2


def test_real_models__are_smaller_than_by_gzip(run, shared, tmp_path):
    for path in sorted(shared.glob("models/*/*.pdiparams")):
        ok(run("pack", str(path), "--out", str(tmp_path / "m.kwz"), "--force"))
        ok(run("unpack", str(tmp_path / "m.kwz"), "--force"))
        assert (tmp_path / "m").read_bytes() == path.read_bytes()
        small = (tmp_path / "m.kwz").stat().st_size
        if path.stat().st_size > 1_000_000:
            assert small < 0.91 * len(gzip.compress(path.read_bytes(), 9))
