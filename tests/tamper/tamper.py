"""Bundles that were tampered with, offered to real edges and put into their stores:
none of them may run.

    ./dev tamper [--quick] [--seed N] [--count N]

Half of the worlds are edges that run a signed bundle and are offered others by a
cloud of ours, which sends whatever it likes (kinds.py). After each the edge must have
said why not, and the old one must go on: every tensor that an edge sends is compared
with what the head of a genuine bundle makes of that input. The other half change files
in the store of an edge that then starts without a cloud, and should finish requests
with the tail that it has. Each kind is first tried with a genuine bundle, which has to
run; what was not looked at by the edge (a flipped byte that it never asked for) does
not count.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import json
import os
import queue
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from hashlib import sha256
from pathlib import Path

import tamper_kinds as kinds
from tamper_kinds import drawn, exact, genuine, wire

KERF = os.environ.get("KERF", str(Path(__file__).resolve().parents[2] / "build" / "kerf"))
PATIENCE = 60.0
TAILS = 2  # feature of a cloud
INPUT = 7  # which of exact's inputs


class Broken(Exception):
    """The world itself does not do what it must: no verdict."""


@dataclasses.dataclass
class Tried:
    kind: str
    ran: bool = False  # the worst that can be
    counts: bool = True  # the edge got to see what was tampered with
    why: str = ""


def edge_process(port, store, trust, folder, *args):
    return subprocess.Popen(
        [
            *(KERF, "edge", "--json", "--engine", "fake", "--cloud-port", str(port)),
            *("--store", store, "--trust", trust, "--model", "m", *args),
            *("--input", *exact.inputs(folder / "in", INPUT + 1)[INPUT:]),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=open(folder / "stderr", "ab"),  # noqa: SIM115 - the process's
        text=True,
    )


# ---- over the wire -----------------------------------------------------------------


class Session:
    """Both connections of the edge; what it says is in .said, until ("gone", None)."""

    def __init__(self, cloud, biases):
        self.said = queue.Queue()
        self.biases = biases  # bundle id -> of its head; those that may run
        self.right = 0  # tensors so far
        self.wrong = []
        self.control = cloud.greet(heartbeat_ms=20000, features=TAILS)
        self.tensors = cloud.attach()
        self.threads = [
            threading.Thread(target=self._run, args=(run,), daemon=True)
            for run in (self._hear, self._answer)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, what):
        try:
            while True:
                what()
        except (wire.Closed, OSError, TimeoutError):
            self.said.put(("gone", None))

    def _hear(self):
        got = self.control.recv(timeout=None)
        if got.kind == wire.PING:
            self.control.send(wire.PONG, wire.pong(got.sent_ns, time.monotonic_ns()))
        elif got.kind in (wire.FETCH, wire.READY, wire.ERROR):
            self.said.put((got.kind, got))

    def _answer(self):
        got = self.tensors.recv(timeout=None)
        if got.kind == wire.PING:
            self.tensors.send(wire.PONG, wire.pong(got.sent_ns, time.monotonic_ns()))
        if got.kind != wire.TENSOR:
            return
        bundle, _ = got.describe()
        bias = self.biases.get(bundle)
        if bias is None or got.floats() != exact.h_of(INPUT, bias=bias):
            self.wrong.append(bundle.hex())
        self.right += 1
        values = wire.floats([0.0] * exact.Y)
        meta = wire.tensors(bundle, [(wire.F32, 0, (1, exact.Y), len(values))])
        self.tensors.send(wire.RESULT, meta, [values], id=got.id)

    def close(self):
        for peer in (self.control, self.tensors):
            try:
                peer.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            peer.close()
        for thread in self.threads:
            thread.join(PATIENCE)


class Wire:
    """An edge that runs a signed bundle, and a cloud that offers it others."""

    def __init__(self, seed, number, folder):
        self.draw = drawn(seed, "wire", number)
        self.folder = folder
        self.version = 10
        self.biases = {}
        self.issued = -55
        self.session = None
        folder.mkdir(parents=True)
        self.cloud = wire.Cloud()
        self.edge = edge_process(
            *(self.cloud.port, folder / "store", kinds.GOOD.write(folder / "key"), folder),
            *("--repeat", "0", "--rate", "1000", "--offline", "local"),
        )
        threading.Thread(target=self.edge.stdout.read, daemon=True).start()
        self.good = genuine(self.draw, self.version)
        self.run_genuine(self.good)

    def close(self):
        if self.session is not None:
            self.session.close()
        self.edge.terminate()
        self.edge.wait(PATIENCE)
        self.cloud.sock.close()

    def connect(self):
        """A session in which the good one runs, on which all depends."""
        if self.session is None:
            self.session = Session(self.cloud, self.biases)
        return self.session

    def drop(self):
        self.session.close()
        wrong, self.session = self.session.wrong, None
        return wrong

    def run_genuine(self, bundle):
        """The control: what is as it was signed does run."""
        self.biases[bundle.id] = bundle.bias
        err, why, _ = self.offer(kinds.honest(bundle))
        if err != 0:
            raise Broken(f"a genuine bundle, version {bundle.version}, does not run: {why}")
        self.good = bundle
        for other in self.biases.keys() - {bundle.id}:
            del self.biases[other]  # READY says that nothing of it is under way
        self.version = max(self.version, bundle.version)
        self.goes_on()

    def goes_on(self):
        """The good one is asked again. Returns what went wrong."""
        session = self.connect()
        until = time.monotonic() + PATIENCE
        before = session.right
        while session.right < before + 2:
            if time.monotonic() > until or self.edge.poll() is not None:
                raise Broken("the good bundle does not go on")
            time.sleep(0.0005)
        wrong, session.wrong = session.wrong, []
        return wrong

    def offer(self, bad):
        """(err of READY or None, why, whether all bytes that matter were taken)."""
        session = self.connect()
        left = bad.cut_at
        taken = set()
        wire.send_offer(session.control, bad.offered, bad.body)
        while True:
            kind, got = session.said.get(timeout=PATIENCE)
            if kind in ("gone", wire.ERROR):
                why = got.notice()[2] if got is not None else "the connection ended"
                self.drop()
                return None, why, taken
            if kind == wire.READY and got.meta[:32] == bad.offered:
                err, length = struct.unpack_from("<HH", got.meta, 32)
                return err, got.meta[36 : 36 + length].decode(errors="replace"), taken
            if kind != wire.FETCH:
                continue
            index, offset, length = struct.unpack_from("<HQI", got.meta, 32)
            taken.add(index)
            data = bad.sent[index][offset:]
            data = data[: length or len(data)]
            if bad.cut_at >= 0 and left < len(data):
                meta = wire.part(bad.offered, index, offset, max(left, 1))
                session.control.send(wire.PART, meta, [data[: max(left, 1)]])
                self.drop()
                return None, "cut", taken
            left -= len(data)
            for at in range(0, len(data), wire.CHUNK):
                step = data[at : at + wire.CHUNK]
                meta = wire.part(bad.offered, index, offset + at, len(step))
                try:
                    session.control.send(wire.PART, meta, [step])
                except wire.Closed:
                    break

    def back(self):
        """After a session that ended: the same good one runs in the next."""
        if self.session is None:
            err, why, _ = self.offer(kinds.honest(self.good))
            if err != 0:
                raise Broken(f"the good bundle is not taken up again: {why}")

    def control(self):
        self.run_genuine(genuine(self.draw, self.version + 1))

    def attempt(self, kind):
        fresh = genuine(self.draw, self.version + 1)
        other = genuine(self.draw, self.version + 2)
        bad = kinds.KINDS[kind](self.draw, fresh, other)
        if bad.body == fresh.manifest()[1] and bad.sent == kinds.honest(fresh).sent:
            if bad.cut_at < 0:
                return Tried(kind, counts=False, why="nothing was changed")
        err, why, taken = self.offer(bad)
        tried = Tried(kind, ran=err == 0, why=why)
        changed = {i for i, f in enumerate(fresh.files) if bad.sent[i : i + 1] != [f[2]]}
        tried.counts = not bad.served or bool(changed & taken)
        self.back()
        tried.ran |= bool(self.goes_on())
        return tried

    def replayed_permission(self):
        """Forward, back with a permission, forward again: it is of no more use."""
        before = self.good
        self.issued += 1  # each after the one before it, also within a second
        self.run_genuine(genuine(self.draw, self.version + 2))
        back = dataclasses.replace(
            before,
            text=kinds.signing.statement(
                "m", before.id, before.version, issued=self.issued, rollback_from=self.version
            ),
        )
        self.run_genuine(back)
        if self.draw.random() < 0.5:  # that one itself, which was left on purpose
            self.version += 1
        self.run_genuine(genuine(self.draw, self.version + 1))
        bad = kinds.honest(back)
        err, why, _ = self.offer(bad)
        tried = Tried("replayed_permission", ran=err == 0, why=why)
        self.back()
        tried.ran |= bool(self.goes_on())
        return tried


# ---- in the store ------------------------------------------------------------------


class Stored:
    """A store that an edge filled, and copies of it that are tampered with."""

    def __init__(self, seed, number, folder):
        self.draw = drawn(seed, "store", number)
        self.folder = folder
        folder.mkdir(parents=True)
        self.trust = kinds.GOOD.write(folder / "key")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.old, self.good = genuine(self.draw, 20), genuine(self.draw, 30)
        self.stores = {}
        for bundle in (self.old, self.good):
            self.stores[bundle.version] = self.fill(bundle)
        self.tries = 0

    def close(self):
        pass

    def fill(self, bundle):
        """The store of an edge that ran the old one, and then this one."""
        store = self.folder / f"store{bundle.version}"
        if bundle is self.good:
            shutil.copytree(self.stores[self.old.version], store)
        cloud = wire.Cloud()
        edge = edge_process(
            *(cloud.port, store, self.trust, self.folder),
            *("--repeat", "0", "--rate", "1000", "--offline", "local"),
        )
        session = Session(cloud, {bundle.id: bundle.bias})
        honest = kinds.honest(bundle)
        wire.send_offer(session.control, bundle.id, honest.body)
        while True:
            kind, got = session.said.get(timeout=PATIENCE)
            if kind == wire.READY:
                break
            if kind != wire.FETCH:
                raise Broken(f"the edge left while its store was filled: {got}")
            index, offset, length = struct.unpack_from("<HQI", got.meta, 32)
            data = honest.sent[index][offset:]
            data = data[: length or len(data)]
            meta = wire.part(bundle.id, index, offset, len(data))
            session.control.send(wire.PART, meta, [data])
        if got.meta[32:34] != b"\0\0":
            raise Broken("a genuine bundle does not run")
        edge.terminate()
        edge.wait(PATIENCE)
        session.close()
        cloud.sock.close()
        return store

    def part(self, store, bundle, role):
        return store / "parts" / sha256(bundle.files[role][2]).hexdigest()

    def start(self, store, may_run=False):
        """(values of all answers, why not) of an edge that starts with it alone. One
        that has nothing to run would wait for ever."""
        edge = edge_process(
            *(self.port, store, self.trust, self.folder),
            *("--once", "--offline", "local", "--dead-after", "0.3"),
        )
        watchdog = threading.Timer(PATIENCE, edge.kill)
        watchdog.start()
        answers, why = [], None
        try:
            for line in edge.stdout:
                event = json.loads(line)
                if event["event"] == "result":
                    answers.append(event["outputs"][0]["values"])
                elif event["event"] == "state" and "cannot be used" in event["text"]:
                    why = event["text"]
                    edge.terminate()
                elif event["event"] == "state" and "no model here" in event["text"]:
                    why = event["text"]
                    edge.terminate()
                elif event["event"] == "state" and "the tail of" in event["text"]:
                    why = event["text"]
                elif event["event"] == "model" and event["ok"] and not may_run:
                    threading.Timer(0.5, edge.terminate).start()
                elif event["event"] == "model":
                    why = event["why"]
            edge.wait(PATIENCE)
        finally:
            watchdog.cancel()
        if edge.returncode == -9:
            raise Broken(f"the edge hangs with a tampered store: {why}")
        return answers, why or "requests waited"

    def control(self):
        """What was not touched does run."""
        for bundle in (self.old, self.good):
            copy = self.copy(bundle)
            answers, why = self.start(copy, may_run=True)
            if answers != [exact.y_of(INPUT, bias=bundle.bias)]:
                raise Broken(f"a genuine store does not run: {why} {answers}")
            shutil.rmtree(copy)

    def copy(self, bundle):
        self.tries += 1
        copy = self.folder / f"try{self.tries}"
        shutil.copytree(self.stores[bundle.version], copy, symlinks=True)
        return copy

    def attempt(self, kind):
        store = self.copy(self.good)
        STORED[kind](self, store)
        answers, why = self.start(store, may_run=kind in SPARE)
        shutil.rmtree(store)
        if kind not in SPARE:
            return Tried(kind, ran=bool(answers), why=why)
        if not answers:
            raise Broken("the one in force does not go on")
        right = exact.y_of(INPUT, bias=self.good.bias)
        return Tried(kind, ran=answers != [right], why="the one in force goes on")


def flip_at(path, draw):
    path.write_bytes(kinds.flip(draw, path.read_bytes()))


def stored_flip(role):
    def tamper(world, store):
        flip_at(world.part(store, world.good, role), world.draw)

    return tamper


def stored_truncated(world, store):
    path = world.part(store, world.good, world.draw.choice(kinds.ROLES))
    path.write_bytes(path.read_bytes()[: world.draw.randrange(path.stat().st_size)])


def stored_swapped(world, store):
    """The bytes of the old one under the names of the good one's files."""
    role = world.draw.choice(kinds.ROLES)
    shutil.copy(world.part(store, world.old, role), world.part(store, world.good, role))


def manifest_of(store, bundle):
    return store / "bundles" / f"{bundle.id.hex()}.json"


def stored_manifest(world, store):
    path = manifest_of(store, world.good)
    body = path.read_bytes()
    at = world.draw.randrange(body.index(b'"files"'), body.index(b'"probes"'))
    bad = body
    while kinds.means_the_same(bad, body):
        bad = kinds.flip(world.draw, body, at)
        at = world.draw.randrange(body.index(b'"files"'), body.index(b'"probes"'))
    path.write_bytes(bad)
    manifest_of(store, world.old).unlink()


def stored_unsigned(world, store):
    path = manifest_of(store, world.good)
    body = json.loads(path.read_bytes())
    del body["signed"]
    path.write_text(json.dumps(body))
    manifest_of(store, world.old).unlink()


def stored_statement(world, store):
    """The good one's files, the old one's statement; or a bit of its own."""
    path = manifest_of(store, world.good)
    body = json.loads(path.read_bytes())
    if world.draw.random() < 0.5:
        body["signed"] = world.old.member()
    else:
        sig = kinds.flip(world.draw, bytes.fromhex(body["signed"]["signature"]))
        body["signed"]["signature"] = sig.hex()
    path.write_text(json.dumps(body))
    manifest_of(store, world.old).unlink()


def stored_replay(world, store):
    """Only what is older than what ran is left."""
    manifest_of(store, world.good).unlink()


def stored_newest(world, store):
    """A bundle that nobody signed, whole, and the newest there is."""
    bad = genuine(world.draw, 40)
    body = json.loads(bad.manifest()[1])
    if world.draw.random() < 0.5:
        del body["signed"]
    else:
        body["signed"] = kinds.signing.signed(kinds.OTHER, bad.text)
    for _, _, data in bad.files:
        (store / "parts" / sha256(data).hexdigest()).write_bytes(data)
    manifest_of(store, bad).write_text(json.dumps(body))


def stored_ran(world, store):
    flip_at(store / "ran.json", world.draw)
    if world.draw.random() < 0.5:
        manifest_of(store, world.good).unlink()


STORED = {
    **{f"stored_{wire.ROLES[role]}": stored_flip(role) for role in kinds.ROLES},
    **{
        make.__name__: make
        for make in (
            *(stored_truncated, stored_swapped, stored_manifest, stored_unsigned),
            *(stored_statement, stored_replay, stored_newest, stored_ran),
        )
    },
}
SPARE = {"stored_newest"}  # the one in force is left as it is


# ---- the campaign -----------------------------------------------------------------


def run_world(make, names, seed, number, folder, count):
    """count tries, the kinds in turn; a genuine one before each new kind."""
    tried, controls = [], 0
    world = make(seed, number, folder / f"{make.__name__}{number}")
    try:
        for i in range(count):
            if i < len(names) and i % 4 == 0:
                world.control()
                controls += 1
            kind = names[(number + i) % len(names)]
            tried.append(
                world.replayed_permission()
                if kind == "replayed_permission"
                else world.attempt(kind)
            )
        world.control()
        controls += 1
    except Exception as error:
        last = "".join(f"\n  {one}" for one in tried[-5:])
        raise Broken(f"{error}, after{last}\n  {kind}") from error
    finally:
        world.close()
    return tried, controls


WORLDS = {Wire: [*kinds.KINDS, "replayed_permission"], Stored: list(STORED)}


def run(seed, counts, workers=2, most=8):
    """(tries, genuine ones that ran). counts: tries in each of WORLDS, of which there
    are `most` at most."""
    jobs = []
    for make, total in counts.items():
        names = WORLDS[make]
        for i in range(worlds := max(1, min(total // 4, most))):
            first, end = total * i // worlds, total * (i + 1) // worlds
            jobs.append((make, names, seed, first, end - first))
    tried, controls = [], 0
    with (
        tempfile.TemporaryDirectory(prefix="kerf-tamper-") as folder,
        concurrent.futures.ThreadPoolExecutor(workers) as pool,
    ):
        futures = [
            pool.submit(run_world, make, names, seed, number, Path(folder), n)
            for make, names, seed, number, n in jobs
        ]
        for future in futures:
            more, some = future.result()
            tried += more
            controls += some
    return tried, controls


def missing(tried, worlds=WORLDS):
    """Kinds that were never tried to the end."""
    done = {one.kind for one in tried if one.counts}
    return [kind for make in worlds for kind in WORLDS[make] if kind not in done]


def report(tried, controls):
    """The table; the exit status."""
    rows = collections.defaultdict(list)
    for one in tried:
        rows[one.kind].append(one)
    print(f"{'kind':24} {'tried':>6} {'counts':>7} {'ran':>4}  for example")
    for kind in (kind for names in WORLDS.values() for kind in names):
        some = rows[kind]
        seen = [one for one in some if one.counts]
        why = seen[0].why if seen else "-"
        ran = sum(one.ran for one in some)
        print(f"{kind:24} {len(some):6} {len(seen):7} {ran:4}  {why[:90]}")
    seen = [one for one in tried if one.counts]
    ran = [one for one in tried if one.ran]
    print(
        f"{len(seen)} tampered bundles of {len(rows)} kinds, {len(ran)} run; "
        f"{controls} times genuine ones did"
    )
    for kind in missing(tried):
        print(f"{kind} was never tried to the end", file=sys.stderr)
    return 1 if ran or missing(tried) or controls == 0 else 0


def main():
    parser = argparse.ArgumentParser(description="tampered bundles: none may run")
    parser.add_argument("--quick", action="store_true", help="each kind a few times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=0)
    args = parser.parse_args()
    count = args.count or (120 if args.quick else 1000)
    kinds_of = {make: len(names) for make, names in WORLDS.items()}
    stored = count * kinds_of[Stored] // sum(kinds_of.values())
    began = time.monotonic()
    tried, controls = run(args.seed, {Wire: count - stored, Stored: stored})
    status = report(tried, controls)
    print(f"seed {args.seed}, {time.monotonic() - began:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
