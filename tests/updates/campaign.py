"""Hot updates under load, and what became of every request.

    ./dev updates [--quick] [--updates N] [--edges N] [--rate HZ] [--bad N] [--seed N]
                  [--keep DIR] [--json]

Edges ask a cloud without a pause while its pair is replaced again and again. Each answer
tells which head and which tail made it (halves.py), so an answer of a new head and an
old tail is seen. Of each N updates one (--bad) is a pair that no edge can load: every
edge has to go on with the one before. Between two updates is a quiet period of the same
length as the update took: what an update adds to the latency is told against these.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))

from world import KERF, Broken, Lines  # noqa: E402 - it knows where exact.py is

import halves  # noqa: E402 isort: skip

PATIENCE_S = 120.0
INPUTS = 32
QUIET_S = 0.4  # at least


class Run:
    def __init__(self, opts, folder):
        self.opts = opts
        self.folder = folder
        self.models = folder / "models"
        self.rng = random.Random(opts.seed)
        self.periods = []  # (begin, end, is an update)
        self.now = 1
        self.bad = []
        halves.put(self.models, self.now, self.rng)
        self.control = Path(tempfile.mkdtemp(prefix="kerf-up-")) / "c"
        self.cloud = self.start(
            "cloud", "cloud", "--cloud_host", "127.0.0.1", "--cloud_port", "0", "--quiet",
            "--models", self.models, "--control", self.control,
        )  # fmt: skip
        listening = self.cloud.wait_event("listening")
        if listening is None:
            raise Broken("the cloud does not listen")
        files = halves.images(folder / "in", INPUTS)
        self.edges = [
            self.start(
                f"edge{n}", "edge", "--cloud_port", listening[1]["port"], "--name", f"edge{n}",
                "--store", folder / f"store{n}", "--repeat", "0", "--rate", opts.rate,
                "--window", "4", "--input", *files,
            )
            for n in range(opts.edges)
        ]  # fmt: skip
        for edge in self.edges:
            self.wait(edge, "model", 0.0, ok=True)
            self.wait(edge, "result", 0.0)

    def start(self, name, command, *args):
        argv = [KERF, command, "--json", "--engine", "fake", *args]
        return Lines(name, argv, self.folder / f"{name}.log")

    def wait(self, lines, kind, since, **fields):
        found = lines.wait_event(kind, since, PATIENCE_S, **fields)
        if found is None:
            raise Broken(f"{lines.name}: no {kind} {fields} in {PATIENCE_S:.0f} s")
        return found

    def update(self, number, bad):
        began = time.monotonic()
        halves.put(self.models, number, self.rng, bad=bad)
        _, model = self.wait(self.cloud, "model", began)
        if not model["ok"]:
            raise Broken(f"the cloud does not serve update {number}: {model['why']}")
        for edge in self.edges:
            fields = {"ok": False} if bad else {"ok": True, "bundle": model["bundle"]}
            at, _ = self.wait(edge, "model", began, **fields)
            self.wait(edge, "result", at)
        if bad:
            self.bad.append(number)
        else:
            self.now = number
        ended = time.monotonic()
        self.periods.append((began, ended, True))
        time.sleep(max(ended - began, QUIET_S))
        self.periods.append((ended, time.monotonic(), False))

    def stop(self):
        codes = [edge.end(signal.SIGINT) for edge in self.edges]
        return [*codes, self.cloud.end(signal.SIGINT)]

    def clean_up(self):
        for lines in [*getattr(self, "edges", []), getattr(self, "cloud", None)]:
            if lines is not None and lines.popen.poll() is None:
                lines.popen.kill()
                lines.popen.wait()
        shutil.rmtree(self.control.parent, ignore_errors=True)


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))] if values else 0.0


def judge(run, codes):
    """Looks at every answer of every edge."""
    found = {
        "updates": sum(1 for p in run.periods if p[2]),
        "rejected_updates": len(run.bad),
        "edges": len(run.edges),
        "answered": 0,
        "failed": 0,
        "skipped": 0,
        "wrong_halves": 0,
        "of_rejected": 0,
        "back_to_older": 0,
        "lost": 0,
        "bad_exits": sum(1 for code in codes if code != 0),
    }
    times = {True: [], False: []}
    for edge in run.edges:
        last = 0
        indices = []
        for at, event in edge.events:
            kind = event["event"]
            if kind in ("error", "skipped"):
                found["failed"] += kind == "error"
                found["skipped"] += kind == "skipped"
            if kind == "summary":
                found["lost"] += event["asked"] - event["answered"]
            if kind != "result":
                continue
            found["answered"] += 1
            indices.append(event["index"])
            number = int(Path(event["input"]).stem)
            head, tail = halves.made_by(number, event["outputs"][0]["values"])
            found["wrong_halves"] += head is None or head != tail
            found["of_rejected"] += head in run.bad
            found["back_to_older"] += head is not None and head < last
            last = max(last, head or 0)
            for began, ended, is_update in run.periods:
                if began <= at < ended:
                    times[is_update].append(event["total_us"] / 1e3)
                    break
        found["lost"] += len(indices) != len(set(indices))
        found["back_to_older"] += last != run.now
    for name, kind in (("quiet", False), ("update", True)):
        for key, q in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)):
            found[f"{name}_{key}"] = round(quantile(times[kind], q), 3)
    found["worst_added_ms"] = round(found["update_max_ms"] - found["quiet_p50_ms"], 3)
    found["update_s_mean"] = round(
        sum(e - b for b, e, u in run.periods if u) / max(1, found["updates"]), 3
    )
    return found


def campaign(opts, folder):
    run = None
    try:
        run = Run(opts, folder)
        for number in range(2, opts.updates + 2):
            run.update(number, bool(opts.bad) and number % opts.bad == 0)
        codes = run.stop()
        return judge(run, codes)
    finally:
        if run is not None:
            run.clean_up()


FAILS = ("failed", "skipped", "wrong_halves", "of_rejected", "back_to_older", "lost", "bad_exits")


def show(found):
    print(
        f"{found['updates']} updates ({found['rejected_updates']} of them rejected by all edges) "
        f"under {found['edges']} edges: {found['answered']} answered, {found['failed']} failed, "
        f"{found['lost']} lost, {found['wrong_halves']} of wrong halves, "
        f"{found['of_rejected']} of rejected ones, {found['back_to_older']} back to older ones"
    )
    for name in ("quiet", "update"):
        print(
            f"  {name:6}  p50 {found[name + '_p50_ms']:8.2f} ms"
            f"   p99 {found[name + '_p99_ms']:8.2f} ms   worst {found[name + '_max_ms']:8.2f} ms"
        )
    print(
        f"  worst added latency {found['worst_added_ms']:.2f} ms (worst during an update less "
        f"the quiet median); an update took {found['update_s_mean']:.2f} s"
    )


def main():
    parser = argparse.ArgumentParser(prog="./dev updates")
    parser.add_argument("--quick", action="store_true", help="8 updates")
    parser.add_argument("--updates", type=int)
    parser.add_argument("--edges", type=int, default=8)
    parser.add_argument("--rate", type=float, default=50, help="requests of an edge per second")
    parser.add_argument("--bad", type=int, default=5, help="each Nth is rejected; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="folder for logs and stores")
    parser.add_argument("--json", action="store_true")
    opts = parser.parse_args()
    opts.updates = opts.updates or (8 if opts.quick else 50)
    folder = Path(opts.keep or tempfile.mkdtemp(prefix="kerf-updates-")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(KERF, os.X_OK):
        sys.exit(f"updates: {KERF} is not there: ./dev build")
    try:
        found = campaign(opts, folder)
    except Broken as e:
        sys.exit(f"updates: {e}; logs are in {folder}")
    if opts.json:
        print(json.dumps(found))
    else:
        show(found)
    good = not any(found[key] for key in FAILS)
    if good and not opts.keep:
        shutil.rmtree(folder, ignore_errors=True)
    elif not good:
        print(f"updates: logs are in {folder}", file=sys.stderr)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
