"""Whether tensors come first while a model is downloaded: their times, idle and loaded.

    ./dev bench first [--mbit N] [--sizes KB...] [--windows N...] [--rounds N]
                      [--model-mb N] [--weights noise f32...] [--queue-ms N]
                      [--control NAME...] [--json] [--check]

Puts a cloud and an edge into two network namespaces with one link between them, whose
ways are shaped by tbf, each by itself as a real link's are (needs root, ip and tc; nothing
outside of the namespaces is touched). The head is the fake engine's identity, so that a
tensor is what the file says, and the answer is 40 bytes. While the edge sends tensors, one
by one or with its window full, the head's weights are replaced by new ones: a hot update.
--weights: noise does not pack, and is written as it comes; f32 is normal floats in Paddle's
records, as trained weights are, which come packed, and the edge unpacks. In turns: seconds
without a download (idle), and the download (loaded). Counted is from the head's end to the
answer; p50 and p99 over all rounds, and the download's rate on the link. Bar: p99 loaded at
most 1.3 times idle (docs/BENCHMARKS.md).
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

KERF = os.environ.get("KERF", "build/kerf")
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # no disk is measured
STAGES = ("encode", "uplink", "queue", "decode", "tail", "downlink")
BAR = 1.3
INSIDE = "KERF_BENCH_FIRST"
HOST = "10.200.0.1"  # of the cloud, inside of the namespaces


def enter_namespace():
    """Runs this script again in a network namespace of its own, or says why not."""
    if os.environ.get(INSIDE):
        return
    for tool in ("unshare", "nsenter", "ip", "tc"):
        if not shutil.which(tool):
            sys.exit(f"bench first: {tool} is missing: apt-get install iproute2 util-linux")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        sys.exit("bench first: cannot make a network namespace: it needs root")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


class Link:
    """The second namespace, and the link to it."""

    def __init__(self, mbit, queue_ms):
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        self.inside = ["nsenter", "-t", str(self.holder.pid), "-n"]
        run = lambda words, inside=(): subprocess.run([*inside, *words.split()], check=True)  # noqa: E731
        words = f"ip link add name va type veth peer name vb netns {self.holder.pid}".split()
        if subprocess.run(words, capture_output=True).returncode != 0:
            self.close()
            sys.exit("bench first: cannot make a pair of veth devices")
        run(f"ip addr add {HOST}/24 dev va")
        run("ip addr add 10.200.0.2/24 dev vb", self.inside)
        for name, inside in (("va", ()), ("vb", self.inside)):
            run(f"ip link set {name} up", inside)
            if mbit:
                # A burst of two packets, as a link has: none goes faster than the rate.
                run(
                    f"tc qdisc add dev {name} root tbf rate {mbit}mbit burst 3100"
                    f" latency {queue_ms}ms",
                    inside,
                )

    def control(self, name):
        """Congestion control of connections that are made from now on."""
        words = ["sysctl", "-qw", f"net.ipv4.tcp_congestion_control={name}"]
        for inside in ((), self.inside):
            subprocess.run([*inside, *words], check=True)

    def close(self):
        self.holder.kill()
        self.holder.wait()


def noise(megabytes):
    return os.urandom(megabytes * 1_000_000)


def f32(megabytes):
    from bench_transfer import np, record

    numbers = np.random.default_rng()
    return b"".join(
        record(numbers.normal(0, 0.02, (1000, 1000)).astype(np.float32))
        for _ in range(megabytes // 4)
    )


WEIGHTS = {"noise": noise, "f32": f32}


def put_npy(path, count):
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1, {count}), }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    path.write_bytes(
        b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + bytes(4 * count)
    )


def put_pair(folder, count):
    """Identity head, tail that sums, both computed once: see src/engine/fake.c."""

    def model(reads, gives, shapes):
        def value(name, shape, **more):
            return {"name": name, "shape": [1, shape], **more}

        texts = {
            "inputs": [value(reads, shapes[0])],
            "outputs": [value(gives, shapes[1], once=True)],
        }
        return json.dumps({"kerf_fake": 1, **texts})

    for side, text in (
        ("client", model("x", "h", (count, count))),
        ("server", model("h", "y", (count, 10))),
    ):
        (folder / f"{side}_infer_big.pdmodel").write_text(text)
        (folder / f"{side}_infer_big.pdiparams").write_bytes(b"w")


class Process:
    """kerf, whose JSON lines are stamped as they are read."""

    def __init__(self, inside, *words):
        self.process = subprocess.Popen(
            [*inside, KERF, *words, "--json"], stdout=subprocess.PIPE, text=True
        )
        self.events, self.results = [], []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            now = time.monotonic()
            event = json.loads(line)
            if event["event"] == "result":
                stages = event["stages_us"]
                each = [stages.get(s, 0) for s in STAGES]
                self.results.append((now, [sum(each), *each]))
            else:
                self.events.append((now, event))

    def wait_for(self, test, since=0, seconds=120):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for at, event in self.events[since:]:
                if test(event):
                    return at, event
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        sys.exit(f"bench first: no answer from {self.process.args}")

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.reader.join()


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else float("nan")


def insecure():
    """The flag without which a cloud listens on loopback only, where it has it."""
    text = subprocess.run([KERF, "cloud", "--help"], capture_output=True, text=True).stdout
    return ["--insecure"] if "--insecure" in text else []


def update(folder, edge, weights):
    """Replaces the weights; (start, end, what their download was told as)."""
    since = len(edge.events)
    fresh = folder / "fresh"
    fresh.write_bytes(weights)
    fresh.rename(folder / "models" / "client_infer_big.pdiparams")
    end, got = edge.wait_for(
        lambda e: e["event"] == "received" and e["bytes"] > 1_000_000, since, 600
    )
    edge.wait_for(lambda e: e["event"] == "model", since)
    return end - got["us"] / 1e6, end, got


def measure(args, link, kilobytes, window, control, kind):
    count = kilobytes * 256
    with tempfile.TemporaryDirectory(dir=MEMORY) as name:
        folder = Path(name)
        (folder / "models").mkdir()
        put_pair(folder / "models", count)
        put_npy(folder / "x.npy", count)
        fake = ["--engine", "fake", "--cloud-host", HOST]
        link.control(control)
        words = ["--cloud-port", "0", "--models", folder / "models", "--quiet", *insecure()]
        cloud = Process((), "cloud", *fake, "--log", args.log or "warn", *words)
        edge = None
        try:
            port = cloud.wait_for(lambda e: e["event"] == "listening")[1]["port"]
            words = ["--cloud-port", str(port), "--store", folder / "store", "--codec", "raw"]
            words += ["--input", folder / "x.npy", "--repeat", "0", "--rate", str(args.rate)]
            edge = Process(link.inside, "edge", *fake, *words, "--window", str(window))
            edge.wait_for(lambda e: e["event"] == "model")
            idle, loaded, downloads, spans = [], [], [], []
            for _ in range(args.rounds):
                weights = WEIGHTS[kind](args.model_mb)
                time.sleep(1)
                begin = time.monotonic()
                time.sleep(args.idle)
                end = time.monotonic()
                spans.append((begin, end, idle))
                begin, end, got = update(folder, edge, weights)
                spans.append((begin, end, loaded))
                downloads.append(got)
            for begin, end, into in spans:
                into += [took for at, took in edge.results if begin <= at < end]
        finally:
            if edge is not None:
                edge.close()
            cloud.close()
    row = {"event": "first", "mbit": args.mbit, "kilobytes": kilobytes, "window": window,
           "control": control, "weights": kind, "rounds": args.rounds}  # fmt: skip
    for key, found in (("idle", idle), ("loaded", loaded)):
        values = [each[0] for each in found]
        for at, stage in enumerate(STAGES):
            of_stage = [each[at + 1] for each in found]
            row[f"{key}_stages_us"] = row.get(f"{key}_stages_us", {}) | {
                stage: [quantile(of_stage, 0.5), quantile(of_stage, 0.99)]
            }
        row |= {f"{key}_count": len(values), f"{key}_p50_us": quantile(values, 0.5),
                f"{key}_p99_us": quantile(values, 0.99)}  # fmt: skip
    row["download_mbit"] = statistics.median(d["wire_bytes"] / d["us"] * 8 for d in downloads)
    row["packed"] = statistics.median(d["wire_bytes"] / d["bytes"] for d in downloads)
    return row | {
        "ratio_p50": row["loaded_p50_us"] / row["idle_p50_us"],
        "ratio_p99": row["loaded_p99_us"] / row["idle_p99_us"],
    }


def show(row):
    met = "met" if row["ratio_p99"] <= BAR else "NOT MET"
    print(
        f"{row['kilobytes']:5} KB  window {row['window']}  {row['control']:5} {row['weights']:5}"
        f"  idle p50 {row['idle_p50_us'] / 1e3:7.2f} p99 {row['idle_p99_us'] / 1e3:7.2f} ms"
        f"  loaded {row['loaded_p50_us'] / 1e3:7.2f} {row['loaded_p99_us'] / 1e3:7.2f} ms"
        f"  p99 / idle {row['ratio_p99']:5.2f} {met}"
        f"  download {row['download_mbit']:6.1f} Mbit/s  ({row['loaded_count']} answers)",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mbit", type=float, default=100)
    parser.add_argument("--sizes", nargs="+", type=int, default=[16, 256], help="KB of a tensor")
    parser.add_argument("--windows", nargs="+", type=int, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--idle", type=float, default=5, help="seconds of a round's first half")
    parser.add_argument("--model-mb", type=int, default=120)
    parser.add_argument("--weights", nargs="+", choices=WEIGHTS, default=["noise", "f32"])
    parser.add_argument("--queue-ms", type=int, default=50, help="what the link's queues hold")
    parser.add_argument("--rate", type=float, default=0, help="tensors per second; 0: no limit")
    parser.add_argument("--control", nargs="+", default=["bbr", "reno"])
    parser.add_argument("--log", help="of the cloud")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="status 1 when a bar is missed")
    args = parser.parse_args()
    enter_namespace()
    link = Link(args.mbit, args.queue_ms)
    missed = 0
    try:
        for each in itertools.product(args.sizes, args.windows, args.control, args.weights):
            row = measure(args, link, *each)
            print(json.dumps(row), flush=True) if args.json else show(row)
            missed += row["ratio_p99"] > BAR
    finally:
        link.close()
    sys.exit(1 if args.check and missed else 0)


if __name__ == "__main__":
    main()
