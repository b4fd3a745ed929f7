"""What strangers who connect and send garbage cost honest edges.

    ./dev bench garbage [--connections N] [--rounds N] [--rate HZ] [--json]

A cloud serves eight edges, each with --rate requests per second, all on this machine.
Calm seconds and seconds in which connections with garbage come (random bytes, HTTP, TLS,
damaged and endless frames, half frames that stay open) take turns; p50 and p99 of the
edges' split time in both are compared. Bar: p99 under garbage at most twice the calm one.
"""

import argparse
import json
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

KERF = os.environ.get("KERF", "build/kerf")
EDGES = 8
OPEN = 64  # half frames that stay open at a time
BAR = 2.0


def garbage(rng):
    """Bytes of one stranger."""
    head = b"KERF" + struct.pack("<BBHQIIQ", 1, 1, 1, 0, 1 << 31, 0, 1 << 63)
    return rng.choice([
        rng.randbytes(rng.randrange(1, 4096)),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        bytes.fromhex("16030100c8010000c40303") + bytes(200),
        head.ljust(256, b"\0"),
        b"KERF" + rng.randbytes(252),
        b"KERF"[: rng.randrange(4)],
        b"",
    ])  # fmt: skip


class Strangers(threading.Thread):
    """`count` connections in `seconds`, one after the other."""

    def __init__(self, port, count, seconds, seed):
        super().__init__()
        self.port, self.count, self.seconds = port, count, seconds
        self.rng, self.refused, self.half = random.Random(seed), 0, []

    def run(self):
        start = time.monotonic()
        for n in range(self.count):
            wait = start + n * self.seconds / self.count - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            try:
                sock = socket.create_connection(("127.0.0.1", self.port), timeout=5)
                sock.sendall(garbage(self.rng))
            except OSError:
                self.refused += 1
                continue
            if len(self.half) < OPEN:
                self.half.append(sock)
            else:
                self.half[self.rng.randrange(OPEN)].close()
                sock.close()
        for sock in self.half:
            sock.close()


class Edge:
    """An edge whose results are stamped as they are read."""

    def __init__(self, port, folder, n, rate):
        words = [KERF, "edge", "--cloud-port", str(port), "--store", f"{folder}/store{n}"]
        words += ["--input", "models/digits/images", "--repeat", "0", "--rate", str(rate)]
        self.process = subprocess.Popen(
            [*words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.seen, self.failed = [], 0
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "result":
                stages = event["stages_us"]
                took = event["total_us"] - stages["capture"] - stages["preprocess"]
                self.seen.append((time.monotonic(), took))
            self.failed += event["event"] == "error"

    def between(self, start, end):
        return [took for at, took in self.seen if start <= at < end]


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def measure(args, folder):
    words = [KERF, "cloud", "--models", "models/digits", "--cloud-port", "0", "--json"]
    cloud = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    for line in cloud.stdout:
        event = json.loads(line)
        if event["event"] == "listening":
            break
    threading.Thread(target=lambda: [None for _ in cloud.stdout], daemon=True).start()
    edges = [Edge(event["port"], folder, n, args.rate) for n in range(EDGES)]
    try:
        while min(len(edge.seen) for edge in edges) < args.rate:
            time.sleep(0.1)
        rows, refused = [], 0
        for n in range(args.rounds):
            spans = []
            for count in (0, args.connections // args.rounds):
                start = time.monotonic()
                strangers = Strangers(event["port"], count, args.seconds, n)
                strangers.start()
                time.sleep(args.seconds)
                strangers.join()
                refused += strangers.refused
                spans.append((start, time.monotonic()))
                time.sleep(0.5)
            rows.append([
                [quantile([t for e in edges for t in e.between(*span)], q) for q in (0.5, 0.99)]
                for span in spans
            ])  # fmt: skip
    finally:
        for edge in edges:
            edge.process.terminate()
        for edge in edges:
            edge.reader.join()
            edge.process.wait()
        cloud.terminate()
        alive = cloud.wait() == 0
    mid = lambda pick: statistics.median(pick(row) for row in rows)  # noqa: E731
    return {
        "event": "garbage", "connections": args.connections, "edges": EDGES,
        "rounds": args.rounds, "answered": sum(len(e.seen) for e in edges),
        "failed": sum(e.failed for e in edges), "not_accepted": refused,
        "cloud_ended_well": alive,
        "calm_p50_us": mid(lambda r: r[0][0]), "calm_p99_us": mid(lambda r: r[0][1]),
        "garbage_p50_us": mid(lambda r: r[1][0]), "garbage_p99_us": mid(lambda r: r[1][1]),
        "ratio_p99": mid(lambda r: r[1][1] / r[0][1]),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4, help="of each half of a round")
    parser.add_argument("--rate", type=float, default=20, help="requests per second and edge")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = measure(args, folder)
    if args.json:
        print(json.dumps(row))
    else:
        print(
            f"{row['connections']} strangers, {EDGES} edges, {row['answered']} answers, "
            f"{row['failed']} failed\n"
            f"calm     p50 {row['calm_p50_us']:8.0f} us   p99 {row['calm_p99_us']:8.0f} us\n"
            f"garbage  p50 {row['garbage_p50_us']:8.0f} us   p99 {row['garbage_p99_us']:8.0f} us"
            f"   p99 / calm {row['ratio_p99']:.2f} (bar {BAR})"
        )
    good = row["failed"] == 0 and row["cloud_ended_well"] and row["ratio_p99"] <= BAR
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    assert Path("models/digits").is_dir(), "run from the repository"
    main()
