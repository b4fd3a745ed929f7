"""How fast a model gets to an edge, whole and verified, beside a plain copy.

    ./dev bench transfer [--model-mb N] [--rounds N] [--mbit N] [--json] [--check]

In turns, over loopback: a raw copy (a process reads a file and sends it, another one
receives it and writes it to a file in the same file system: no hash, no protocol), and an
edge that fetches a model's head from a cloud: from asking until each file is whole, its
SHA-256 and those of its units checked. Then over a link of --mbit in a network namespace
(tbf), packed and not, beside what that link carries: needs root and tc. The weights are
made: normal f32 in Paddle's records. Bars: docs/BENCHMARKS.md.
"""

import argparse
import json
import os
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bench_link
import numpy as np

PIECE = 1 << 20
TENSOR = 1_200_000  # elements
PACKET, HEADERS = 1500, 66  # bytes: with Ethernet's 14; TCP's and IP's, with time stamps
BAR_COPY, BAR_LINK, BAR_TLS = 0.8, 0.97, 0.8


def record(values):
    """One tensor as Paddle's combined weights have it: f32."""
    desc = b"\x08\x05" + b"".join(b"\x10" + varint(n) for n in values.shape)
    return struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc + values.tobytes()


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def put_pair(folder, megabytes):
    numbers = np.random.default_rng(1)
    with open(folder / "client_infer_big.pdiparams", "wb") as out:
        while out.tell() < megabytes * 1_000_000:
            rows = numbers.normal(0, 0.02, (TENSOR // 1000, 1000)).astype(np.float32)
            out.write(record(rows))
    for side, reads, gives, width in (("client", "x", "h", 16), ("server", "h", "y", 10)):
        text = {
            "kerf_fake": 1,
            "inputs": [{"name": reads, "shape": [1, 16]}],
            "outputs": [{"name": gives, "shape": [1, width]}],
        }
        (folder / f"{side}_infer_big.pdmodel").write_text(json.dumps(text))
    (folder / "server_infer_big.pdiparams").write_bytes(b"w")
    return folder / "client_infer_big.pdiparams"


def receive(sock, path):
    room = memoryview(bytearray(PIECE))
    with open(path, "wb", buffering=0) as out:
        while n := sock.recv_into(room):
            out.write(room[:n])
    sock.sendall(b"!")


def send(sock, path):
    room = memoryview(bytearray(PIECE))
    with open(path, "rb", buffering=0) as data:
        while n := data.readinto(room):
            sock.sendall(room[:n])


def certificate(folder):
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    words += f" -subj /CN=bench -keyout {folder}/key.pem -out {folder}/cert.pem"
    subprocess.run(words.split(), check=True, capture_output=True)


def copy(source, target, tls=None):
    """Seconds of a copy by two processes; tls: a folder with key and certificate."""
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        sock = socket.create_connection(listener.getsockname())
        if tls:
            context = ssl.create_default_context(cafile=f"{tls}/cert.pem")
            context.check_hostname = False
            sock = context.wrap_socket(sock)
        receive(sock, target)
        os._exit(0)
    sock, _ = listener.accept()
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{tls}/cert.pem", f"{tls}/key.pem")
        sock = context.wrap_socket(sock, server_side=True)
    start = time.monotonic()
    send(sock, source)
    sock.close() if not tls else socket.socket.close(sock)
    os.waitpid(child, 0)
    listener.close()
    return time.monotonic() - start


def fetch(port, folder, *more):
    """(seconds, bytes, bytes on the wire, seconds since it connected) of a head, in a new store:
    what the edge says, from asking on, and what is seen here, with all that comes before."""
    words = [bench_link.KERF, "edge", "--engine", "fake", "--cloud-port", str(port), *more]
    words += ["--input", "random", "--repeat", "1", "--json", "--store"]
    connected = at = 0.0
    big = {"bytes": 0}
    with tempfile.TemporaryDirectory(dir=folder) as store:
        edge = subprocess.Popen([*words, store], stdout=subprocess.PIPE, text=True)
        for line in edge.stdout:
            now, event = time.monotonic(), json.loads(line)
            if event["event"] == "state":
                connected = connected or now
            elif event["event"] == "received" and event["bytes"] > big["bytes"]:
                at, big = now, event
        if edge.wait() != 0:
            sys.exit(f"bench transfer: the edge ended with status {edge.returncode}")
    return big["us"] / 1e6, big["bytes"], big["wire_bytes"], at - connected


def show(row, args):
    met = "met" if row["ratio"] >= row["bar"] else "NOT MET"
    more = f", since connected {row['ratio_connected']:.3f}" if "ratio_connected" in row else ""
    if args.json:
        print(json.dumps(row), flush=True)
    else:
        print(
            f"{row['what']:10} {row['bytes'] / 1e6:7.1f} MB  {row['beside']}"
            f" {row['beside_mb_s']:8.2f} MB/s  kerf {row['mb_s']:8.2f} MB/s"
            f"  ratio {row['ratio']:.3f} (bar {row['bar']}) {met}{more}",
            flush=True,
        )
    return met != "met"


def make_keys(folder):
    """(cloud's, edge's) flags."""
    keys = folder / "keys"
    for words in ("authority", "cloud 127.0.0.1", "edge e"):
        words = [bench_link.KERF, "keygen", *words.split(), "--keys", keys]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    return [["--tls", keys / name] for name in ("clouds/cloud", "edges/e")]


def measure_copy(args, folder, weights, what):
    """Loopback as systems have it, in turns with a plain copy."""
    subprocess.run(["ip", "link", "set", "lo", "mtu", "65536"], check=True)
    mine = yours = []
    pipe = None
    if what == "TLS":
        certificate(folder)
        pipe = folder
        mine, yours = make_keys(folder)
    cloud = bench_link.Cloud(folder / "models", args.codec, "--engine", "fake", *mine)
    times, plain, since = [], [], []
    try:
        for _ in range(args.rounds):
            plain.append(copy(weights, folder / "copy", pipe))
            (folder / "copy").unlink()
            seconds, size, _, all_seconds = fetch(cloud.port, folder, *yours)
            times.append(seconds)
            since.append(all_seconds)
    finally:
        cloud.close()
    mb_s = size / 1e6 / statistics.median(times)
    beside = size / 1e6 / statistics.median(plain)
    row = {"event": "transfer", "what": what, "bytes": size, "beside": "copy"}
    row |= {"beside_mb_s": beside, "mb_s": mb_s, "bar": BAR_TLS if pipe else BAR_COPY}
    row["ratio"] = statistics.median(p / t for p, t in zip(plain, times, strict=True))
    row["ratio_connected"] = statistics.median(p / t for p, t in zip(plain, since, strict=True))
    return show(row, args)


def measure_link(args, folder):
    """What TCP can carry of the rate is what its packets leave."""
    missed = 0
    best = args.mbit / 8 * (PACKET - HEADERS + 14) / PACKET
    subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
    bench_link.shape(args.mbit)
    for codec, bar in (("raw", BAR_LINK), ("kwz", 1.0)):
        cloud = bench_link.Cloud(folder / "models", codec, "--engine", "fake")
        try:
            seconds, size, wire, _ = fetch(cloud.port, folder)
        finally:
            cloud.close()
        mb_s = size / 1e6 / seconds
        row = {"event": "transfer", "what": f"link {codec}", "bytes": size, "wire_bytes": wire}
        row |= {"beside": "link", "beside_mb_s": best, "mb_s": mb_s, "ratio": mb_s / best}
        missed += show(row | {"bar": bar}, args)
    bench_link.shape(0)
    return missed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model-mb", type=int, default=180)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="*", default=["loopback", "TLS"])
    parser.add_argument("--codec", default="auto", help="--model-codec of the cloud, on loopback")
    parser.add_argument("--mbit", type=float, default=20, help="of the shaped link; 0: none")
    parser.add_argument("--link-mb", type=int, default=40, help="of the model that crosses it")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true", help="status 1 when a bar is missed")
    args = parser.parse_args()
    bench_link.enter_namespace()
    missed = 0
    with tempfile.TemporaryDirectory(dir=bench_link.MEMORY) as name:
        folder = Path(name)
        (folder / "models").mkdir()
        weights = put_pair(folder / "models", args.model_mb)
        for what in args.ways:
            missed += measure_copy(args, folder, weights, what)
        if args.mbit:
            put_pair(folder / "models", args.link_mb)
            missed += measure_link(args, folder)
    sys.exit(1 if args.check and missed else 0)


if __name__ == "__main__":
    main()
