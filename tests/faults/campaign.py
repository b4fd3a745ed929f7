"""A campaign of faults against real edges and clouds, and what became of each request.

    ./dev faults [--quick] [--seed N] [--faults N] [--requests N] [--keep DIR]

Eight edges ask without a pause, each through a `kerf link` of its own (world.py). One
round of faults (kinds.py) after another happens to links, edges and clouds, drawn from
the seed. Then an oracle looks at every request of every edge: it has to be answered
exactly once, with the right numbers. A process that was killed is started again, as
a supervisor would; anything else that had to be done by hand is a repair.
"""

import argparse
import collections
import dataclasses
import functools
import json
import math
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path

import kinds
from world import DEAD_S, DIGITS, KERF, REPO, WIDTH, Broken, World, exact

PATIENCE_S = 60.0  # for a recovery, before it counts as none
GAP_S = 0.5  # when this process did not run for so long, times do not count


@dataclasses.dataclass
class Happened:
    """One fault."""

    kind: str
    edges: list
    began: float = 0.0
    healed: float = 0.0
    over: float = 0.0
    recovery: list = dataclasses.field(default_factory=list)  # seconds, one per edge
    found: list = dataclasses.field(default_factory=list)  # seconds until a link was dead
    missed: int = 0  # dead links that nobody found in time
    repairs: int = 0
    paused: bool = False
    trouble: str = ""


class Watch:
    """Knows when this machine, or a debugger, froze us: then no time counts."""

    def __init__(self):
        self.gaps = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        last = time.monotonic()
        while True:
            time.sleep(0.05)
            at = time.monotonic()
            if at - last > GAP_S:
                self.gaps.append((last, at))
            last = at

    def froze(self, since, until):
        return any(a < until and b > since for a, b in self.gaps)


def repair(edge):
    """By hand: a new process with an empty store."""
    edge.repairs += 1
    edge.lines.end(signal.SIGKILL)
    shutil.rmtree(edge.store / "models", ignore_errors=True)
    edge.start()
    if edge.lines.wait_event("result") is None:
        raise Broken(f"edge {edge.number} gets no answer, even after a repair")


def look_for_finding(fault, edges, h):
    """Did who is to find it find the dead link of these edges in time?"""
    limit = DEAD_S + 1
    for edge in edges:
        patience = max(h.began + limit - kinds.now(), 0) + 0.5
        if fault.finds == "edge":
            lines, event, fields = edge.lines, "state", {"connected": False}
        else:
            lines, event = edge.cloud.lines, "edge"
            fields = {"edge": f"e{edge.number}", "joined": False}
        lost = lines.wait_event(event, since=h.began, patience=patience, **fields)
        if lost is None or lost[0] - h.began > limit:
            h.missed += 1
        if lost is not None:
            h.found.append(lost[0] - h.began)


def run_fault(fault, watch):
    h = Happened(fault.name, [e.number for e in fault.edges])
    concerned = [e for e in fault.edges if e.uses_link()] if fault.finds else []
    h.began = kinds.now()
    try:
        fault.begin()
        time.sleep(fault.seconds)
        fault.end()
        h.healed = kinds.now()
        look_for_finding(fault, concerned, h)
        for edge in fault.edges:
            restarts = edge.restarts
            answer = edge.wait_answer(h.healed, PATIENCE_S)
            if edge.restarts > restarts and not fault.ends:
                h.trouble = f"edge {edge.number} ended by itself"
            if answer is None:
                h.repairs += 1
                h.trouble = f"edge {edge.number} did not come back"
                repair(edge)
            else:
                h.recovery.append(answer[0] - h.healed)
    except Exception:
        h.trouble = traceback.format_exc()
    h.over = kinds.now()
    h.paused = watch.froze(h.began, h.over)
    if h.paused:
        h.recovery, h.found, h.missed = [], [], 0
    return h


def run_round(faults, watch):
    happened = []
    threads = [
        threading.Thread(target=lambda f=f: happened.append(run_fault(f, watch))) for f in faults
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return happened


# ---- the oracle ----------------------------------------------------------------------


@functools.cache
def right_answer(index, bias):
    return exact.y_of(index, WIDTH, bias)


class Oracle:
    """What each input must give."""

    def __init__(self, folder):
        """Digits: as edge and cloud answer in peace, the labels as the whole network."""
        images = REPO / "models" / "digits" / "images"
        model = REPO / "models" / "digits" / "digits.pdmodel"
        whole = self._events([KERF, "run", model, "--input", images, "--json"])
        cloud = subprocess.Popen(
            [KERF, "cloud", "--models", REPO / "models/digits", "--cloud_port", "0", "--json"],
            stdout=subprocess.PIPE,
        )
        port = next(
            e["port"] for e in map(json.loads, cloud.stdout) if e["event"] == "listening"
        )  # fmt: skip
        words = ["--cloud_port", str(port), "--store", folder / "store-oracle", "--once", "--json"]
        split = self._events([KERF, "edge", *words, "--input", images])
        cloud.terminate()
        cloud.communicate()
        if [e["top"][0]["index"] for e in whole] != [e["top"][0]["index"] for e in split]:
            raise Broken("the split digits do not answer as the whole network")
        self.digits = [e["outputs"][0]["values"] for e in split]

    @staticmethod
    def _events(argv):
        done = subprocess.run([str(w) for w in argv], capture_output=True, text=True, check=True)
        events = map(json.loads, done.stdout.splitlines())
        return sorted((e for e in events if e["event"] == "result"), key=lambda e: e["index"])

    def is_right(self, number, event):
        index = int(Path(event["input"]).stem)
        values = event["outputs"][0]["values"]
        if number in DIGITS:
            return values == self.digits[index % len(self.digits)]
        return any(
            all(math.isclose(a, b, rel_tol=1e-8) for a, b in zip(values, wanted, strict=True))
            for wanted in (right_answer(index % exact.INPUTS, bias) for bias in (0, 1))
        )


@dataclasses.dataclass
class Fates:
    requests: int = 0
    lost: list = dataclasses.field(default_factory=list)  # (edge, time)
    wrong: list = dataclasses.field(default_factory=list)
    doubled: list = dataclasses.field(default_factory=list)
    failed: list = dataclasses.field(default_factory=list)  # reported with a reason


def judge_edge(edge, oracle, fates):
    """Answers cover the inputs up to the last that was asked, each once."""
    when = collections.defaultdict(list)
    for at, event in edge.results():
        when[event["input"]].append(at)
        if not oracle.is_right(edge.number, event):
            fates.wrong.append((edge.number, at))
    told = set()
    for life in edge.lives:
        for at, event in life.events:
            if event["event"] in ("error", "skipped"):
                told.add(event["input"])
                fates.failed.append((edge.number, at, event["why"]))
    asked = [i for i, path in enumerate(edge.inputs) if str(path) in when]
    last_at = 0.0
    for path in edge.inputs[: max(asked) + 1]:
        times = when.get(str(path), [])
        fates.requests += 1
        if not times and str(path) in told:
            continue
        if not times:
            fates.lost.append((edge.number, last_at))
            continue
        last_at = times[0]
        fates.doubled += [(edge.number, at) for at in times[1:]]


def judge(world, oracle):
    fates = Fates()
    for edge in world.edges:
        judge_edge(edge, oracle, fates)
    return fates


def end_all(world):
    """All in order; what does not end well is trouble."""
    trouble = []
    for edge in world.edges:
        status = edge.lines.end(signal.SIGTERM)
        found = edge.lines.wait_event("summary", patience=1)
        if status != 0 or found is None:
            trouble.append(f"edge {edge.number} ended with {status} after SIGTERM")
        elif found[1]["asked"] != found[1]["answered"]:
            trouble.append(f"edge {edge.number}: {json.dumps(found[1])}")
    for cloud in world.clouds.values():
        status = cloud.lines.end(signal.SIGTERM)
        if status != 0:
            trouble.append(f"cloud {cloud.name} ended with {status} after SIGTERM")
    return trouble


# ---- the table -----------------------------------------------------------------------


def quantile(values, q):
    values = sorted(values)
    return values[min(int(q * len(values)), len(values) - 1)]


def kind_of(happened, number, at):
    """The fault that a request of that edge had to do with."""
    near = [h for h in happened if number in h.edges and h.began <= at <= h.over + 1]
    return near[-1].kind if near else "none"


def rows(happened, fates):
    count = collections.Counter
    lost = count(kind_of(happened, *where) for where in fates.lost)
    wrong = count(kind_of(happened, *where) for where in fates.wrong)
    doubled = count(kind_of(happened, *where) for where in fates.doubled)
    failed = count(kind_of(happened, *where[:2]) for where in fates.failed)
    names = [k.name for k in kinds.EDGE_KINDS + kinds.CLOUD_KINDS]
    for name in [*names, "none"]:
        mine = [h for h in happened if h.kind == name]
        row = {
            "kind": name, "faults": len(mine), "lost": lost[name], "wrong": wrong[name],
            "doubled": doubled[name], "failed": failed[name],
            "repairs": sum(h.repairs for h in mine),
        }  # fmt: skip
        recovery = [s for h in mine for s in h.recovery]
        found = [s for h in mine for s in h.found]
        if recovery:
            row |= {"recovery_p50_s": statistics.median(recovery)}
            row |= {"recovery_p99_s": quantile(recovery, 0.99)}
        if found:
            row |= {"found_p50_s": statistics.median(found), "found_most_s": max(found)}
        row["missed"] = sum(h.missed for h in mine)
        if mine or any(row[k] for k in ("lost", "wrong", "doubled", "failed")):
            yield row


def show(table):
    columns = ["faults", "lost", "wrong", "doubled", "failed", "repairs", "missed"]
    times = ["recovery_p50_s", "recovery_p99_s", "found_p50_s", "found_most_s"]
    print(f"{'':20}" + "".join(f"{c:>8}" for c in columns), end="")
    print(f"{'back p50':>10}{'p99':>7}{'found p50':>11}{'most':>7}  (s)")
    for row in table:
        print(f"{row['kind']:20}" + "".join(f"{row[c]:8}" for c in columns), end="")
        for key, width in zip(times, (10, 7, 11, 7)):
            print(f"{row[key]:{width}.2f}" if key in row else " " * width, end="")
        print()


# ---- the campaign --------------------------------------------------------------------


def run(world, args, oracle, watch):
    rng = random.Random(args.seed)
    world.start()
    happened = []
    for number, faults in enumerate(kinds.Planner(world, args.faults, rng).rounds()):
        happened += run_round(faults, watch)
        bad = [h for h in happened[-len(faults) :] if h.trouble]
        for h in bad:
            print(f"{h.kind} of edges {h.edges}: {h.trouble}", file=sys.stderr)
        if number % 10 == 0:
            answered = sum(len(e.answered()) for e in world.edges)
            print(f"  {len(happened)} faults, {answered} answers", file=sys.stderr, flush=True)
    while sum(len(e.answered()) for e in world.edges) < args.requests:
        time.sleep(1)
        if any(e.lines.popen.poll() is not None for e in world.edges):
            break
    trouble = end_all(world)
    return happened, judge(world, oracle), trouble


def report(args, world, happened, fates, trouble):
    """Prints the table; whether all is well."""
    table = list(rows(happened, fates))
    if args.json:
        for row in table:
            print(json.dumps({"event": "kind", **row}))
    else:
        show(table)
    trouble += [h.trouble for h in happened if h.trouble]
    trouble += [f"edge {n}: {why}" for n, _, why in fates.failed]
    totals = {
        "seed": args.seed, "faults": len(happened), "requests": fates.requests,
        "lost": len(fates.lost), "wrong": len(fates.wrong), "doubled": len(fates.doubled),
        "failed": len(fates.failed), "repairs": sum(e.repairs for e in world.edges),
        "missed": sum(h.missed for h in happened), "trouble": len(trouble),
        "paused": sum(h.paused for h in happened),
    }  # fmt: skip
    print(json.dumps({"event": "campaign", **totals}) if args.json else totals)
    for text in world.missing:
        print(f"left out: {text}", file=sys.stderr)
    for text in trouble[:20]:
        print(f"trouble: {text}", file=sys.stderr)
    bad = ("lost", "wrong", "doubled", "failed", "repairs", "missed", "trouble")
    return not any(totals[key] for key in bad)


def main():
    parser = argparse.ArgumentParser(prog="./dev faults")
    parser.add_argument("--quick", action="store_true", help="about one minute")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=0, help="default 500; 40 with --quick")
    parser.add_argument("--requests", type=int, default=0, help="at least; default 20000")
    parser.add_argument("--tls", action="store_true", help="all connections over TLS")
    parser.add_argument("--keep", type=Path, help="a new folder for logs, kept in any case")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.faults = args.faults or (40 if args.quick else 500)
    args.requests = args.requests or (0 if args.quick else 20000)
    if args.keep:
        args.keep.mkdir(parents=True)
    folder = Path(args.keep.resolve() if args.keep else tempfile.mkdtemp(prefix="kerf-faults-"))
    world = World(folder, args.seed, args.tls)
    well = False
    try:
        oracle = Oracle(folder)
        happened, fates, trouble = run(world, args, oracle, Watch())
        well = report(args, world, happened, fates, trouble)
    except Broken as broken:
        print(f"faults: {broken}", file=sys.stderr)
    finally:
        world.clean_up()
    if not well:
        print(f"faults: seed {args.seed} repeats it; logs are in {folder}", file=sys.stderr)
    elif not args.keep:
        subprocess.run(["rm", "-r", str(folder)], check=False)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
