"""Transfers of a model that are interrupted, and what each of them cost.

    ./dev interrupt [--quick] [--seed N] [--count N] [--mb N] [--rate MBIT] [--tls]
                    [--keep DIR]

One transfer after the other: an edge with an empty store gets the head of a model through
a `kerf link`, and when a number of bytes drawn from the seed has come, something happens
(KINDS). Nobody helps: the edge goes on by itself, or is started again as a supervisor
would. Then its head has to answer right, its store has to hold the very bytes, and the
links have to have carried 5 % and one unit more than an undisturbed transfer at most.
"""

import argparse
import collections
import dataclasses
import json
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from world import KERF, Broken, Lines, Link, exact  # noqa: E402

MOST = 0.05  # of the bytes, sent again
PATIENCE_S = 120.0
HEAD = "client_infer_m.pdiparams"


# ---- the model ---------------------------------------------------------------------


def record(rng, count):
    """A tensor of f32 as Paddle's combined weights have it, with few exponents."""
    varint = bytearray()
    left = count
    while left > 127:
        varint.append(left & 127 | 128)
        left >>= 7
    desc = b"\x08\x05\x10" + bytes([*varint, left])
    data = bytearray(rng.randbytes(4 * count))
    data[3::4] = rng.randbytes(count).translate(bytes([0x3C, 0x3D, 0xBC, 0xBD] * 64))
    return struct.pack("<IQIi", 0, 0, 0, len(desc)) + desc + data


def put_model(folder, size, seed):
    rng = random.Random(seed)
    exact.put(folder)
    weights = bytearray()
    while len(weights) < size:
        weights += record(rng, rng.choice([64, 64, 512, 9_408, 147_456, 589_824]))
    (folder / HEAD).write_bytes(weights)
    return sha256(weights).hexdigest()


# ---- the processes -----------------------------------------------------------------


class Cloud:
    def __init__(self, world, name):
        self.world, self.name = world, name
        self.port = 0
        self.start()
        spec = f"{world.spec},seed={world.seed}"
        self.link = Link(world.folder / f"link-{name}.log", spec, self.port)

    def start(self):
        argv = [KERF, "cloud", "--engine", "fake", "--models", self.world.models, "--json"]
        argv += ["--cloud_port", self.port, "--model-codec", "kwz", "--quiet"]
        argv += self.world.tls_of("clouds/cloud")
        self.lines = Lines(f"cloud {self.name}", argv, self.world.folder / f"cloud-{self.name}.log")
        found = self.lines.wait_event("listening")
        if found is None:
            raise Broken(f"cloud {self.name} does not listen")
        self.port = found[1]["port"]

    def kill(self):
        self.lines.end(signal.SIGKILL)

    def carried(self):
        """Bytes that its link has delivered to edges."""
        return self.link.tell("go")["down_bytes"]


class World:
    def __init__(self, folder, args):
        self.folder, self.seed = folder, args.seed
        self.spec = f"rate={args.rate},rtt=4"
        self.models = folder / "models"
        self.sha256 = put_model(self.models, int(args.mb * 1e6), args.seed)
        (self.input,) = exact.inputs(folder / "in", 1)
        self.keys = self.make_keys() if args.tls else None
        self.clouds = [Cloud(self, "a"), Cloud(self, "b")]
        self.edge = None

    def make_keys(self):
        for what in (["authority"], ["cloud", "127.0.0.1"], ["edge", "edge"]):
            words = [KERF, "keygen", *what, "--keys", self.folder / "keys"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return self.folder / "keys"

    def tls_of(self, whose):
        return ["--tls", self.keys / whose] if self.keys else []

    def start_edge(self, clouds):
        ports = ",".join(f"127.0.0.1:{cloud.link.port}" for cloud in clouds)
        argv = [KERF, "edge", "--engine", "fake", "--cloud_host", ports, "--store"]
        argv += [self.folder / "store", "--input", self.input, "--json", "--repeat", 1]
        argv += self.tls_of("edges/edge")
        self.edge = Lines("edge", argv, self.folder / "edge.log")

    def carried(self):
        return sum(cloud.carried() for cloud in self.clouds)

    def clean_up(self):
        everything = [self.edge] if self.edge else []
        for cloud in self.clouds:
            everything += [cloud.lines, cloud.link.lines]
        for lines in everything:
            lines.kill_group()


# ---- what happens ------------------------------------------------------------------


def cut(world, rng):
    world.clouds[0].link.tell("reset")


def down(world, rng):
    world.clouds[0].link.tell("down")
    time.sleep(rng.uniform(0.05, 0.5))
    world.clouds[0].link.tell("up")


def truncate(world, rng):
    world.clouds[0].link.tell(f"cut {rng.randint(1, 300_000)}")


def kill_edge(world, rng):
    world.edge.end(signal.SIGKILL)
    time.sleep(rng.uniform(0, 0.1))
    world.start_edge(world.clouds[:1])


def kill_cloud(world, rng):
    world.clouds[0].kill()
    time.sleep(rng.uniform(0, 0.1))
    world.clouds[0].start()


def move(world, rng):
    """The edge is started again with the address of another cloud."""
    world.edge.end(signal.SIGKILL)
    world.start_edge(world.clouds[1:])


def lose_first(world, rng):
    """It has two addresses, and the first cloud goes."""
    world.clouds[0].kill()


KINDS = {
    "link cut": cut,
    "link down": down,
    "link truncates": truncate,
    "edge kill -9": kill_edge,
    "cloud kill -9": kill_cloud,
    "cloud elsewhere": move,
    "first cloud lost": lose_first,
}


# ---- one transfer ------------------------------------------------------------------


@dataclasses.dataclass
class Transfer:
    kind: str
    at: int  # bytes that had come when it happened
    carried: int = 0
    resumed: int = 0
    seconds: float = 0.0
    trouble: str = ""


def received(world):
    """The event that says that the weights are there, of the edge's present life."""
    found = world.edge.wait_event("received", patience=0, file=HEAD)
    return found and found[1]


def verify(world):
    """What is wrong with what the edge got; empty: nothing."""
    found = world.edge.wait_event("result", patience=PATIENCE_S)
    if found is None:
        return "the edge gives no answer"
    if found[1]["outputs"][0]["values"] != exact.y_of(0):
        return "the answer is wrong"
    status = world.edge.popen.wait(PATIENCE_S)
    if status != 0:
        return f"the edge ended with {status}"
    part = world.folder / "store" / "parts" / world.sha256
    if not part.exists() or sha256(part.read_bytes()).hexdigest() != world.sha256:
        return "the store does not hold the bytes"
    return ""


def largest_unit(world):
    """From the manifest in the store; units are what resuming goes by."""
    (path,) = (world.folder / "store" / "bundles").glob("*.json")
    units = [f.get("units") for f in json.loads(path.read_bytes())["files"] if f["name"] == HEAD]
    import base64

    table = base64.b64decode(units[0])
    return max(struct.unpack_from("<I", table, at)[0] for at in range(0, len(table), 36))


def transfer(world, kind, target, rng):
    """kind None: nothing happens."""
    shutil.rmtree(world.folder / "store", ignore_errors=True)
    before = world.carried()
    began = time.monotonic()
    clouds = world.clouds if kind == "first cloud lost" else world.clouds[:1]
    world.start_edge(clouds)
    t = Transfer(kind, 0)
    while kind and t.at < target and not received(world):
        t.at = world.carried() - before
        time.sleep(0.002)
    if kind and received(world):
        return None  # it was over before
    if kind:
        KINDS[kind](world, rng)
    t.trouble = verify(world)
    t.seconds = time.monotonic() - began
    t.carried = world.carried() - before
    t.resumed = (received(world) or {}).get("resumed_bytes", 0)
    if kind == "first cloud lost":
        world.clouds[0].start()
    return t


# ---- the campaign ------------------------------------------------------------------


def run(world, args):
    rng = random.Random(args.seed)
    plain = transfer(world, None, 0, rng)
    if plain.trouble:
        raise Broken(plain.trouble)
    unit = largest_unit(world)
    done = []
    kinds = list(KINDS)
    late = 0
    while len(done) < args.count:
        kind = kinds[len(done) % len(kinds)]
        t = transfer(world, kind, rng.uniform(0.02, 0.85) * plain.carried, rng)
        if t is None:
            late += 1
            if late > args.count:
                raise Broken("transfers end before anything can happen")
            continue
        again = t.carried - plain.carried
        if not t.trouble and again > MOST * plain.carried + unit:
            t.trouble = f"{again} bytes were sent again"
        if t.trouble:
            print(f"{kind} at byte {t.at}: {t.trouble}", file=sys.stderr, flush=True)
        done.append(t)
        if len(done) % 20 == 0:
            print(f"  {len(done)} interruptions", file=sys.stderr, flush=True)
    return plain, unit, done


def rows(plain, done):
    by_kind = collections.defaultdict(list)
    for t in done:
        by_kind[t.kind].append(t)
    for kind, mine in [*by_kind.items(), ("all", done)]:
        again = sorted(max(t.carried - plain.carried, 0) for t in mine)
        yield {
            "kind": kind, "transfers": len(mine), "bad": sum(bool(t.trouble) for t in mine),
            "resumed_bytes": sum(t.resumed for t in mine) // len(mine),
            "again_mean": sum(again) // len(again), "again_most": again[-1],
            "again_most_percent": round(100 * again[-1] / plain.carried, 2),
            "seconds": round(sum(t.seconds for t in mine) / len(mine), 2),
        }  # fmt: skip


def report(args, plain, unit, done):
    table = list(rows(plain, done))
    if args.json:
        for row in table:
            print(json.dumps({"event": "kind", **row}))
    else:
        print(f"{'':18}{'transfers':>10}{'bad':>5}{'resumed':>11}{'again, mean':>13}"
              f"{'most':>10}{'of all':>9}{'seconds':>9}")  # fmt: skip
        for r in table:
            print(
                f"{r['kind']:18}{r['transfers']:10}{r['bad']:5}{r['resumed_bytes']:11}"
                f"{r['again_mean']:13}{r['again_most']:10}{r['again_most_percent']:8}%"
                f"{r['seconds']:9.2f}"
            )
    bad = sum(bool(t.trouble) for t in done)
    totals = {
        "seed": args.seed, "interruptions": len(done), "bad": bad, "bytes": plain.carried,
        "unit": unit, "allowed": int(MOST * plain.carried) + unit,
    }  # fmt: skip
    print(json.dumps({"event": "campaign", **totals}) if args.json else totals)
    return bad == 0


def main():
    parser = argparse.ArgumentParser(prog="./dev interrupt")
    parser.add_argument("--quick", action="store_true", help="21 interruptions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=0, help="interruptions (200; --quick: 21)")
    parser.add_argument("--mb", type=float, default=24.0, help="of the model, in MB (24)")
    parser.add_argument("--rate", type=float, default=200.0, help="of the link, in Mbit/s (200)")
    parser.add_argument("--tls", action="store_true", help="with keys of its own")
    parser.add_argument("--keep", type=Path, help="a new folder for logs, kept in any case")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.count = args.count or (21 if args.quick else 200)
    if args.keep:
        args.keep.mkdir(parents=True)
    folder = Path(args.keep.resolve() if args.keep else tempfile.mkdtemp(prefix="kerf-interrupt-"))
    world = None
    well = False
    try:
        world = World(folder, args)
        well = report(args, *run(world, args))
    except Broken as broken:
        print(f"interrupt: {broken}", file=sys.stderr)
    finally:
        if world:
            world.clean_up()
    if not well:
        print(f"interrupt: seed {args.seed} repeats it; logs are in {folder}", file=sys.stderr)
    elif not args.keep:
        subprocess.run(["rm", "-r", str(folder)], check=False)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
