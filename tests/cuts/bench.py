"""What cutting costs, against its bars: time against `cp` of the same bytes, the
list of a model of 1,000 nodes, and memory for a model of 2 GB.

    ./dev cuts --bench
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import big
import zoo

ROUNDS = 9
BIG_LAYERS = 30  # of 64 MiB: 2.0 GB
LONG_NODES = 1000


def run(argv):
    """Seconds."""
    start = time.monotonic()
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: {done.stderr.strip()}")
    return seconds


def anonymous_peak(argv):
    """Greatest RssAnon that was seen of a process, in bytes: what it holds of
    its own, beyond the page cache. Looked at every millisecond."""
    process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            break
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                peak = max(peak, int(line.split()[1]) * 1024)
        time.sleep(0.001)
    if process.wait() != 0:
        raise RuntimeError(f"{argv}: status {process.returncode}")
    return peak


def files_of(path):
    return [p for p in path.parent.iterdir() if p.stem == path.stem and p.suffix != ".info"]


def against_cp(kerf, path, at, folder):
    """(seconds of kerf, of cp, bytes): medians, one after the other, warm."""
    files, cuts, copies = files_of(path), [], []
    out = folder / "out"
    for _ in range(ROUNDS + 1):
        shutil.rmtree(out, ignore_errors=True)
        cuts.append(run([kerf, "cut", path, "--at", at, "--out", out, "--no-proof"]))
        shutil.rmtree(out)
        out.mkdir()
        copies.append(run(["cp", *files, out]))
    size = sum(p.stat().st_size for p in files)
    return statistics.median(cuts[1:]), statistics.median(copies[1:]), size


def long_model(folder):
    """A chain of convolutions and activations, ONNX."""
    import onnx_nets

    g = onnx_nets.Graph()
    x = g.input("x", [1, 4, 16, 16])
    for _ in range(LONG_NODES // 2):
        x = g.op("Relu", g.conv(x, 4, 4))
    g.output(x, [1, 4, 16, 16])
    g.save(folder / "long.onnx")
    return folder / "long.onnx"


def say(what, value, bar, met):
    print(f"{what:46} {value:>26}   {bar:24} {'met' if met else 'NOT MET'}", flush=True)
    return met


def bench(kerf):
    """Whether all bars are met."""
    by_name = {m.name: m for m in zoo.MODELS}
    forms = [f for f in ("paddle", "onnx") if not zoo.lacks(by_name["resnet101"], f)]
    met = []
    with tempfile.TemporaryDirectory(prefix="kerf-bench-", dir=zoo.ROOT.parent) as folder:
        folder = Path(folder)
        for path in zoo.ensure([(by_name["resnet101"], form) for form in forms]):
            ours, cp, size = against_cp(kerf, path, MIDDLE, folder)
            value = f"{ours:.3f} s, cp {cp:.3f} s"
            bar = f"{1.5 * cp + 0.2:.3f} s"
            name = f"cut {path.name} ({size / 1e6:.0f} MB)"
            met.append(say(name, value, bar, ours <= 1.5 * cp + 0.2))
        long = long_model(folder)
        seconds = statistics.median(run([kerf, "cut", long]) for _ in range(ROUNDS))
        name = f"list {LONG_NODES} nodes"
        met.append(say(name, f"{seconds:.3f} s", "1 s", seconds < 1))
        met += [memory(kerf, make, folder) for make in (big.paddle_model, big.onnx_model)]
    return all(met)


def memory(kerf, make, folder):
    path = make(folder, BIG_LAYERS)
    size = sum(p.stat().st_size for p in files_of(path))
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    peak = anonymous_peak(
        [kerf, "cut", path, "--at", big.MIDDLE, "--out", out, "--no-proof"]
    )
    shutil.rmtree(out)
    name = f"memory for {path.name} ({size / 1e9:.2f} GB)"
    return say(name, f"{peak / 1e6:.0f} MB", "100 MB", peak < 100e6)


# About half of the bytes of ResNet101 lie before it.
MIDDLE = "174"
