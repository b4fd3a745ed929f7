"""What packing gains when a model is shipped over a link of a known rate.

    ./dev bench link [--rates MBIT...] [--rounds N] [--models DIR] [--json]

Puts cloud and edge into a network namespace whose loopback is shaped by tbf, which
needs root and tc; nothing outside of the namespace is touched. In turns, the edge
fetches a pair's head from a cloud that sends it raw, packed, and as --model-codec
auto chooses; the time of its `received` lines counts, medians of the rounds.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

KERF = os.environ.get("KERF", "build/kerf")
CODECS = ["raw", "kwz", "auto"]
# Bars of docs/BENCHMARKS.md: time / raw, and for slow links what must be saved.
NEVER_SLOWER = 1.03  # noise of a round
INSIDE = "KERF_BENCH_LINK"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # no disk is measured


def enter_namespace():
    """Runs this script again in a network namespace of its own, or says why not."""
    if os.environ.get(INSIDE):
        # Packets as on a wire: tbf drops those that are longer than its burst.
        subprocess.run(["ip", "link", "set", "lo", "mtu", "1500", "up"], check=True)
        return
    for tool in ("unshare", "ip", "tc"):
        if not shutil.which(tool):
            sys.exit(f"bench link: {tool} is missing: apt-get install iproute2 util-linux")
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    if tried.returncode != 0:
        sys.exit("bench link: cannot make a network namespace: it needs root")
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])


def shape(mbit):
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], capture_output=True)
    if not mbit:
        return
    # A burst of 5 ms, a queue of 20 ms.
    burst = max(20_000, int(mbit * 1e6 / 8 * 0.005))
    words = ["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", f"{mbit}mbit"]
    subprocess.run([*words, "burst", str(burst), "latency", "20ms"], check=True)


class Cloud:
    def __init__(self, models, codec, *more):
        words = [KERF, "cloud", "--models", models, "--cloud-port", "0"]
        words += ["--model-codec", codec, "--json", *more]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        self.port = None
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "listening":
                self.port = event["port"]
                break

    def close(self):
        self.process.terminate()
        self.process.wait()


def fetch(port, store):
    """(seconds, bytes, bytes on the wire) of the edge's files."""
    words = [KERF, "edge", "--cloud-port", str(port), "--store", store, "--repeat", "1"]
    done = subprocess.run([*words, "--json"], stdout=subprocess.PIPE, text=True, check=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    got = [e for e in events if e["event"] == "received"]
    totals = [sum(e[key] for e in got) for key in ("us", "bytes", "wire_bytes")]
    return totals[0] / 1e6, *totals[1:]


def measure(models, mbit, rounds):
    shape(mbit)
    clouds = {codec: Cloud(models, codec) for codec in CODECS}
    times = {codec: [] for codec in CODECS}
    row = {"event": "link", "mbit": mbit, "rounds": rounds}
    try:
        for _ in range(rounds):
            for codec in CODECS:
                with tempfile.TemporaryDirectory(dir=MEMORY) as store:
                    seconds, size, wire = fetch(clouds[codec].port, store)
                times[codec].append(seconds)
                row |= {"bytes": size, f"{codec}_wire_bytes": wire}
    finally:
        for cloud in clouds.values():
            cloud.close()
    for codec in CODECS:
        row[f"{codec}_s"] = statistics.median(times[codec])
    return row


def show(row):
    raw = row["raw_s"]
    rate = f"{row['mbit']} Mbit/s" if row["mbit"] else "not shaped"
    line = f"{rate:>12}  {row['bytes'] / 1e6:7.2f} MB"
    for codec in CODECS:
        line += f"  {codec} {row[codec + '_s']:8.3f} s"
    line += f"  auto / raw {row['auto_s'] / raw:.3f}"
    met = row["auto_s"] <= NEVER_SLOWER * raw
    print(line + ("" if met or row["mbit"] > 5000 else "  slower than raw"), flush=True)


def main():
    parser = argparse.ArgumentParser()
    rates = [10, 100, 1000, 2500, 5000, 0]
    parser.add_argument("--rates", nargs="+", type=int, default=rates, help="Mbit/s; 0: free")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="models/digits", help="folder of one pair")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    enter_namespace()
    for mbit in args.rates:
        row = measure(str(Path(args.models)), mbit, args.rounds)
        print(json.dumps(row), flush=True) if args.json else show(row)


if __name__ == "__main__":
    main()
