"""What packing gains when a model is shipped over a link of a known rate.

    ./dev bench link [--rates MBIT...] [--rounds N] [--models DIR] [--json]
    ./dev bench link --emulator [--rates MBIT...] [--rounds N] [--json]

Puts cloud and edge into a network namespace whose loopback is shaped by tbf, which
needs root and tc; nothing outside of the namespace is touched. In turns, the edge
fetches a pair's head from a cloud that sends it raw, packed, and as --model-codec
auto chooses; the time of its `received` lines counts, medians of the rounds.

With --emulator: what one TCP connection gets of a rate through tbf, and through
`kerf link` (kerf-link(1)), in turns; without its first quarter, which may be in tbf's
burst.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

KERF = os.environ.get("KERF", "build/kerf")
CODECS = ["raw", "kwz", "auto"]
SAME_RATE = 0.03  # how far the emulator may be from tbf: docs/BENCHMARKS.md
SECONDS = 4  # that one connection sends
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


def shape_to(port, mbit):
    """Only what goes to the port: acknowledgements do not share the rate."""
    shape(0)
    burst = max(3100, int(mbit * 1e6 / 8 * 0.005))
    free = "classid 1:{} htb rate 10gbit quantum 60000"
    for words in (
        "qdisc add dev lo root handle 1: htb default 2",
        "class add dev lo parent 1: " + free.format(1),
        "class add dev lo parent 1: " + free.format(2),
        f"qdisc add dev lo parent 1:1 tbf rate {mbit}mbit burst {burst} latency 2000ms",
        f"filter add dev lo parent 1: protocol ip u32 match ip dport {port} 0xffff flowid 1:1",
    ):
        subprocess.run(["tc", *words.split()], check=True)


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
    rate = f"{row['mbit']:g} Mbit/s" if row["mbit"] else "not shaped"
    line = f"{rate:>12}  {row['bytes'] / 1e6:7.2f} MB"
    for codec in CODECS:
        line += f"  {codec} {row[codec + '_s']:8.3f} s"
    line += f"  auto / raw {row['auto_s'] / raw:.3f}"
    met = row["auto_s"] <= NEVER_SLOWER * raw
    print(line + ("" if met or row["mbit"] > 5000 else "  slower than raw"), flush=True)


def goodput(port, listener, mbit):
    """Mbit/s of payload that a connection to the port gets."""
    total = int(mbit * 1e6 / 8 * SECONDS)
    with socket.create_connection(("127.0.0.1", port)) as sender:
        receiver = listener.accept()[0]
        threading.Thread(target=sender.sendall, args=(bytes(total),), daemon=True).start()
        got = began = at_began = 0
        with receiver:
            while got < total:
                data = receiver.recv(1 << 18)
                got += len(data)
                if not began and got >= total / 4:
                    began, at_began = time.monotonic(), got
            return (got - at_began) * 8e-6 / (time.monotonic() - began)


def compare(mbit, rounds):
    """The same rate by tbf and by the emulator, in turns."""
    rates = {"tbf": [], "link": []}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # A window that fits into the queue: what is compared is not TCP's losses.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        port = listener.getsockname()[1]
        words = [KERF, "link", f"rate={mbit}", "--to", str(port), "--json"]
        link = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        link_port = json.loads(link.stdout.readline())["port"]
        for _ in range(rounds):
            shape_to(port, mbit)
            rates["tbf"].append(goodput(port, listener, mbit))
            shape(0)
            rates["link"].append(goodput(link_port, listener, mbit))
        link.terminate()
        link.communicate()
    row = {"event": "emulator", "mbit": mbit, "rounds": rounds}
    row |= {f"{name}_mbit": statistics.median(v) for name, v in rates.items()}
    return row | {"ratio": row["link_mbit"] / row["tbf_mbit"]}


def show_compared(row):
    met = "met" if abs(row["ratio"] - 1) <= SAME_RATE else "not met"
    print(
        f"{row['mbit']:8g} Mbit/s  tbf {row['tbf_mbit']:9.3f}  kerf link {row['link_mbit']:9.3f}"
        f"  ratio {row['ratio']:.3f}  {met}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rates", nargs="+", type=float, help="Mbit/s; 0: free")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", default="models/digits", help="folder of one pair")
    parser.add_argument("--emulator", action="store_true", help="kerf link beside tbf")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    enter_namespace()
    if args.emulator:
        for mbit in args.rates or [0.4, 1.1, 5.85, 12, 18.88, 100]:
            row = compare(mbit, args.rounds)
            print(json.dumps(row), flush=True) if args.json else show_compared(row)
        return
    for mbit in args.rates or [10, 100, 1000, 2500, 5000, 0]:
        row = measure(str(Path(args.models)), mbit, args.rounds)
        print(json.dumps(row), flush=True) if args.json else show(row)


if __name__ == "__main__":
    main()
