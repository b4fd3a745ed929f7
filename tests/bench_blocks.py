"""What sending a large tensor in blocks gains, over links of known rates.

    ./dev bench blocks [--rates MBIT...] [--codecs NAME...] [--blocks KI...]
                       [--rounds N] [--tensor FILE.npy] [--json]

Cloud and edge run in a network namespace whose loopback is shaped by tbf, as for
`./dev bench link`. The head is the fake engine's identity, so that the tensor that
crosses is the one in the file: without one, what 64 random filters (7x7, stride 2,
then ReLU) make of a made-up picture of 352x352, 7.9 MB. In turns, an edge sends it
one at a time in one frame (0) and in blocks of so many Ki values. Counted is from
the head's end to the answer: encode, uplink, queue, decode, tail, downlink; medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import bench_link
import numpy as np

SIDE, FILTERS, KERNEL, STRIDE = 352, 64, 7, 2
STAGES = ("encode", "uplink", "queue", "decode", "tail", "downlink")
EACH = 6  # requests of a round, of which the first is not counted


def picture(numbers):
    """[3, SIDE, SIDE] of 0 to 1: shades, patches with edges, a little noise."""
    at = np.linspace(0, 1, SIDE)
    out = np.empty((3, SIDE, SIDE))
    for channel in out:
        a, b, c = numbers.uniform(0.5, 4, 3)
        channel[:] = np.sin(a * at[:, None] * 3 + b) * np.cos(c * at[None, :] * 3) / 4 + 0.5
    for _ in range(60):
        y, x = numbers.integers(0, SIDE, 2)
        h, w = numbers.integers(8, 90, 2)
        out[:, y : y + h, x : x + w] = numbers.uniform(0, 1, (3, 1, 1))
    return np.clip(out + numbers.normal(0, 0.02, out.shape), 0, 1)


def activation():
    numbers = np.random.default_rng(1)
    edge = KERNEL // 2
    padded = np.pad(picture(numbers) - 0.5, ((0, 0), (edge, edge), (edge, edge)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (KERNEL, KERNEL), (1, 2))
    windows = windows[:, ::STRIDE, ::STRIDE]
    filters = numbers.normal(0, 0.1, (FILTERS, 3, KERNEL, KERNEL))
    out = np.einsum("chwyx,fcyx->fhw", windows, filters, optimize=True)
    return np.maximum(out, 0).astype(np.float32)[None]


def put_pair(folder, shape):
    """Identity head, tail that sums: see src/engine/fake.c."""

    def model(reads, gives, shapes):
        def value(name, shape):
            return {"name": name, "shape": list(shape)}

        texts = {"inputs": [value(reads, shapes[0])], "outputs": [value(gives, shapes[1])]}
        return json.dumps({"kerf_fake": 1, **texts})

    for side, text in (
        ("client", model("x", "h", (shape, shape))),
        ("server", model("h", "y", (shape, (1, 10)))),
    ):
        (folder / f"{side}_infer_big.pdmodel").write_text(text)
        (folder / f"{side}_infer_big.pdiparams").write_text("w")


class Cloud(bench_link.Cloud):
    def __init__(self, models):
        super().__init__(models, "raw", "--engine", "fake", "--workers", "1")


def ask(port, store, tensor, codec, block):
    """[(microseconds from the head's end, stages, bytes)] of a few requests."""
    words = [bench_link.KERF, "edge", "--engine", "fake", "--cloud-port", str(port)]
    words += ["--store", store, "--input", tensor, "--repeat", str(EACH), "--window", "1"]
    words += ["--codec", codec, "--block", str(block), "--json"]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    found = [e for e in events if e["event"] == "result"]
    assert len(found) == EACH
    return [
        (sum(e["stages_us"][s] for s in STAGES), e["stages_us"], e["coded_bytes"])
        for e in found[1:]
    ]


def measure(cloud, folder, tensor, codec, mbit, args):
    times = {block: [] for block in args.blocks}
    stages = {block: [] for block in args.blocks}
    coded = {}
    for _ in range(args.rounds):
        for block in args.blocks:
            found = ask(cloud.port, folder / "store", tensor, codec, block)
            times[block] += [f[0] for f in found]
            stages[block] += [f[1] for f in found]
            coded[block] = found[0][2]
    return {
        "event": "blocks",
        "mbit": mbit,
        "codec": codec,
        "us": {block: statistics.median(times[block]) for block in args.blocks},
        "bytes": coded,
        "stages_us": {
            block: {s: statistics.median(e[s] for e in stages[block]) for s in STAGES}
            for block in args.blocks
        },
    }


def show(row, blocks):
    rate = f"{row['mbit']} Mbit/s" if row["mbit"] else "not shaped"
    line = f"{rate:>12}  {row['codec']:>6}  {row['bytes'][blocks[0]] / 1e6:6.2f} MB"
    for block in blocks:
        line += f"  {block or 'one':>4} {row['us'][block] / 1e3:8.2f} ms"
    least = min(blocks[1:], key=lambda b: row["us"][b], default=blocks[0])
    print(line + f"  best / one {row['us'][least] / row['us'][blocks[0]]:.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rates", nargs="+", type=int, default=[100, 1000, 0], help="0: free")
    parser.add_argument("--codecs", nargs="+", default=["exact", "f16", "q8", "q4c"])
    parser.add_argument("--blocks", nargs="+", type=int, default=[0, 64, 128, 256])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tensor", help=".npy of f32; else one is made")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    bench_link.enter_namespace()
    tensor = np.load(args.tensor) if args.tensor else activation()
    with tempfile.TemporaryDirectory(dir=bench_link.MEMORY) as name:
        folder = Path(name)
        np.save(folder / "x.npy", tensor)
        (folder / "models").mkdir()
        put_pair(folder / "models", tensor.shape)
        cloud = Cloud(folder / "models")
        try:
            for mbit in args.rates:
                bench_link.shape(mbit)
                for codec in args.codecs:
                    row = measure(cloud, folder, folder / "x.npy", codec, mbit, args)
                    print(json.dumps(row), flush=True) if args.json else show(row, args.blocks)
        finally:
            cloud.close()


if __name__ == "__main__":
    sys.exit(main())
