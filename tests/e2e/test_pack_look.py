"""kerf unpack --list, --only, --tensor: one file or tensor out of a .kwz, without
reading the rest; and what a signal leaves behind, which is nothing."""

import bz2
import json
import os
import random
import signal
import struct
import time

import pytest
from test_pack import FORMATS, ok, refused, weights


@pytest.fixture
def digits(repo, run, tmp_path):
    """models/digits packed -> the .kwz."""
    ok(run("pack", str(repo / "models" / "digits"), "--out", str(tmp_path / "d.kwz")))
    return tmp_path / "d.kwz"


def records(data):
    """(offset, elements) of each record of a .pdiparams, by its own format."""
    at = 0
    while at < len(data):
        assert struct.unpack_from("<IQI", data, at) == (0, 0, 0)
        (desc,) = struct.unpack_from("<i", data, at + 16)
        at += 20
        dims, end = [], at + desc
        while at < end:
            tag, at = data[at], at + 1
            value, shift = 0, 0
            while True:
                byte, at = data[at], at + 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            if tag == 0x10:
                dims.append(value)
        count = 1
        for d in dims:
            count *= d
        yield at, count
        at += 4 * count


def listed(run, *args):
    done = ok(run("unpack", *args, "--list", "--json"))
    return {e["file"]: e for e in map(json.loads, done.out.splitlines())}


def test_list__shows_each_file_and_tensor(run, repo, digits):
    plain = (repo / "models/digits/digits.pdiparams").read_bytes()
    files = listed(run, str(digits))
    got = files["digits/digits.pdiparams"]
    assert got["bytes"] == len(plain)
    assert [(t["offset"], t["elements"]) for t in got["tensors"]] == list(records(plain))
    names = [t["name"] for t in got["tensors"]]
    assert names == sorted(names) and all(
        n.encode() in (repo / "models/digits/digits.pdmodel").read_bytes() for n in names
    )
    assert files["digits/README.md"]["tensors"] == []
    text = ok(run("unpack", str(digits), "--list")).out
    assert "digits/digits.pdiparams" in text and names[0] in text
    assert os.listdir(digits.parent) == ["d.kwz"]


def test_only__is_that_file(run, repo, digits):
    name = "digits/client_infer_digits.pdiparams"
    ok(run("unpack", str(digits), "--only", name))
    assert (digits.parent / "client_infer_digits.pdiparams").read_bytes() == (
        repo / "models" / name
    ).read_bytes()
    refused(run("unpack", str(digits), "--only", name), "--force")
    refused(run("unpack", str(digits), "--only", "other"), "--list")
    refused(run("unpack", str(digits), "--tensor", "0"), "--only")
    refused(
        run("unpack", str(digits), "--only", name, "--max-size", "1000", "--force"), "--max-size"
    )


@pytest.mark.parametrize("by", ["name", "number"])
def test_tensor__is_its_elements(run, repo, digits, by):
    name = "digits/digits.pdiparams"
    plain = (repo / "models" / name).read_bytes()
    tensor = max(listed(run, str(digits))[name]["tensors"], key=lambda t: t["bytes"])
    ok(run("unpack", str(digits), "--only", name, "--tensor", str(tensor[by])))
    (out,) = digits.parent.glob("*.raw")
    assert out.name == f"digits.pdiparams.{tensor['number']}.raw"
    assert out.read_bytes() == plain[tensor["offset"] : tensor["offset"] + tensor["bytes"]]
    refused(run("unpack", str(digits), "--only", name, "--tensor", "no such"), "--list")


@pytest.mark.parametrize("floats", [20_000, 3_000_000])
def test_file_without_a_name__of_one_block_and_of_several(run, repo, tmp_path, floats):
    record = (repo / "models/digits/digits.pdiparams").read_bytes()
    plain = record + random.Random(1).randbytes((floats - 20_000) * 4)
    (tmp_path / "w").write_bytes(plain)
    ok(run("pack", str(tmp_path / "w")))
    (only,) = listed(run, str(tmp_path / "w.kwz")).values()
    assert only["file"] == "" and len(only["tensors"]) == len(list(records(record)))
    ok(run("unpack", str(tmp_path / "w.kwz"), "--tensor", "3"))
    t = only["tensors"][3]
    assert (tmp_path / "w.3.raw").read_bytes() == plain[t["offset"] : t["offset"] + t["bytes"]]


def test_tensor__needs_no_other_blocks(run, tmp_path):
    """Damage elsewhere is not seen, damage in its own block is."""
    (tmp_path / "w").write_bytes(weights(600_000))
    (tmp_path / "v").write_bytes(weights(600_000, 2))
    top = tmp_path / "top"
    top.mkdir()
    for name in "wv":
        os.rename(tmp_path / name, top / name)
    ok(run("pack", str(top)))
    packed = tmp_path / "top.kwz"
    plain = (top / "v").read_bytes()
    whole = bytearray(packed.read_bytes())
    whole[len(whole) // 4] ^= 1  # in v, the first by name
    packed.write_bytes(whole)
    refused(run("unpack", str(packed), "--only", "top/v", "--out", str(tmp_path / "o")), "damaged")
    ok(run("unpack", str(packed), "--only", "top/w", "--out", str(tmp_path / "o")))
    assert os.listdir(tmp_path / "o") == ["w"]
    assert (tmp_path / "o" / "w").read_bytes() == (top / "w").read_bytes() != plain


def test_what_cannot_be_looked_into(run, tmp_path):
    (tmp_path / "w").write_bytes(b"x" * 1000)
    for name in ("zip", "gzip"):
        ok(run("pack", str(tmp_path / "w"), "--format", name))
        refused(run("unpack", str(tmp_path / f"w{FORMATS[name]}"), "--list"), "not a .kwz")
    for words in (
        ["-", "--list"],
        ["a", "--list", "--only", "b"],
        ["a", "--only", "b", "--remove"],
    ):
        assert run("unpack", *words).status == 2


def test_damaged_index__is_refused(run, kerf_asan, digits):
    whole = digits.read_bytes()
    for at in range(len(whole) - 400, len(whole), 17):
        digits.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        done = run("unpack", str(digits), "--list", "--json", binary=kerf_asan)
        assert done.status == 1, at
        (line,) = done.err.splitlines()


def packing(tmp_path):
    (tmp_path / "noise").write_bytes(random.Random(1).randbytes(60_000_000))
    return ["pack", str(tmp_path / "noise"), "--format", "xz", "--level", "9", "--threads", "1"]


def unpacking(tmp_path):
    (tmp_path / "zeros.bz2").write_bytes(bz2.compress(bytes(20_000_000)) * 1000)
    return ["unpack", str(tmp_path / "zeros.bz2"), "--max-size", "1T"]


@pytest.mark.parametrize("words", [packing, unpacking])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal__leaves_nothing(spawn, tmp_path, words, number):
    process = spawn(*words(tmp_path))
    before = set(os.listdir(tmp_path))
    end = time.monotonic() + 30
    while len(os.listdir(tmp_path)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    process.signal(number)
    assert process.wait(30) == -number, process.report()
    assert len(before & set(os.listdir(tmp_path))) == len(os.listdir(tmp_path)) == 1
