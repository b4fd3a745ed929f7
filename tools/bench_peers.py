"""ZipNN and Blosc2 on files of weights, for `kerf bench codec --from`.

    .venv-peers/bin/python tools/bench_peers.py [--rounds N] FILE|DIR...

One thread each, from memory to memory, the file as it is, called f32; in turns with
kwz and zstd -3 by `kerf bench codec` (the binary that KERF names). Prints what that
prints with --json. Of Blosc2 the setting counts that makes the file smallest: it is
looked for first, and named on stderr.
"""

import argparse
import importlib.machinery
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
import types
from pathlib import Path

OWN = ["kwz", "zstd-3", "zstd-19"]


class Stand(types.ModuleType):
    """Where ZipNN imports torch and safetensors and, for bytes, uses neither: it
    names dtypes, and asks of what it gets whether it is a tensor."""

    class Tensor:
        pass

    jit = types.SimpleNamespace(script=lambda fn: fn)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return f"{self.__name__}.{name}"


for each in ("torch", "safetensors", "safetensors.torch"):
    stand = Stand(each)
    stand.__spec__ = importlib.machinery.ModuleSpec(each, None)
    sys.modules[each] = stand

import blosc2  # noqa: E402
import zipnn  # noqa: E402


class ZipNN:
    method = "zipnn"
    rest = b""

    def __init__(self, data):
        self.zipper = zipnn.ZipNN(bytearray_dtype="float32", input_format="byte", threads=1)

    def pack(self, data):
        # It reorders the bytes of what it is given: its own copy, not timed. Of what
        # is not whole words it breaks the heap, so the last 0 to 3 bytes stand apart.
        whole = len(data) // 4 * 4
        mine, self.rest = bytearray(data[:whole]), data[whole:]
        start = time.perf_counter()
        packed = self.zipper.compress(mine)
        return packed, time.perf_counter() - start

    def unpack(self, packed):
        start = time.perf_counter()
        back = self.zipper.decompress(packed)
        seconds = time.perf_counter() - start
        return bytes(back) + self.rest, seconds


class Blosc2:
    method = "blosc2"
    rest = b""
    FILTERS = {"shuffle": blosc2.Filter.SHUFFLE, "bitshuffle": blosc2.Filter.BITSHUFFLE}
    CODECS = {"lz4": blosc2.Codec.LZ4, "zstd": blosc2.Codec.ZSTD, "lz4hc": blosc2.Codec.LZ4HC}
    LEVELS = (1, 5, 9)

    def __init__(self, data):
        blosc2.set_nthreads(1)
        sample = data[: 16 << 20]
        ways = itertools.product(self.FILTERS, self.CODECS, self.LEVELS)
        self.way = min(ways, key=lambda way: len(self.run(sample, way)))
        print(f"blosc2: {' '.join(map(str, self.way))}", file=sys.stderr)

    def run(self, data, way):
        shuffle, codec, level = way
        return blosc2.compress2(
            data, typesize=4, codec=self.CODECS[codec], clevel=level, nthreads=1,
            filters=[self.FILTERS[shuffle]], filters_meta=[0],
        )  # fmt: skip

    def pack(self, data):
        start = time.perf_counter()
        packed = self.run(data, self.way)
        return packed, time.perf_counter() - start

    def unpack(self, packed):
        start = time.perf_counter()
        back = blosc2.decompress2(packed, nthreads=1)
        return back, time.perf_counter() - start


def kerf_rows(file):
    """(the file's object, {method: row}) of one round of kerf bench codec."""
    kerf = os.environ.get("KERF", "build/kerf")
    words = [kerf, "bench", "codec", file, "--json", "--quiet", "--rounds", "1"]
    words += ["--method", *OWN]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
    head, *rows = map(json.loads, done.stdout.splitlines())
    return head, {row["method"]: row for row in rows}


def measure(file, rounds):
    data = file.read_bytes()
    peers = [ZipNN(data), Blosc2(data)]
    times, size, owns = {}, {}, []
    for _ in range(rounds):
        head, rows = kerf_rows(file)
        owns.append(rows)
        for peer in peers:
            packed, pack_s = peer.pack(data)
            back, unpack_s = peer.unpack(packed)
            if bytes(back) != data:
                sys.exit(f"{peer.method} gives back another {file}")
            size[peer.method] = len(packed) + len(peer.rest)
            times.setdefault(peer.method, []).append((pack_s, unpack_s))
    yield head
    for method in OWN:
        row = dict(owns[-1][method], rounds=rounds)
        for key in row:
            if key.endswith(("_s", "_kib")):
                row[key] = statistics.median(own[method][key] for own in owns)
        yield row
    for method, pairs in times.items():
        pack_s, unpack_s = (statistics.median(s) for s in zip(*pairs, strict=True))
        yield {
            "event": "codec", "file": head["file"], "bytes": len(data), "method": method,
            "threads": 1, "rounds": rounds, "packed_bytes": size[method],
            "ratio": size[method] / len(data),
            "memory_compress_s": pack_s, "memory_extract_s": unpack_s,
        }  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("files", nargs="+", type=Path)
    args = parser.parse_args()
    files = []
    for path in args.files:
        found = sorted([*path.rglob("*.pdiparams"), *path.rglob("*.onnx")])
        files += found if path.is_dir() else [path]
    for file in files:
        for line in measure(file, args.rounds):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
