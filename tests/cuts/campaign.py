"""Every cut of every model, proved; and some of them in Paddle and onnxruntime.

For each model of the zoo (zoo.py) and of ../shared/models: `kerf cut --prove`
proves all of its cuts in the engine; five, spread over the model, are written
to files and run in the framework that the format comes from: bit-equal in
Paddle and in onnxruntime without its optimisations, within 1e-5 of the
output's range with them. Exit status 1 when anything fails.
"""

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import zoo

HERE = Path(__file__).resolve().parent
FORMATS = {".pdmodel": "paddle", ".onnx": "onnx", ".json": "json"}
# Sizes of inputs that the file leaves free.
SHAPES = {
    "ch_PP-OCRv3_det_infer": {"x": (1, 3, 320, 320)},
    "ppyolo_tiny_650e_coco": {"image": (1, 3, 320, 320)},
    "textline_ori_pplcnet_x0_25_PIR": {"x": (1, 3, 80, 160)},
    "onnx_attention": {"tokens": (1, 7, 16)},
    "onnx_shuffle": {"x": (1, 3, 32, 48)},
}
# What answers next to nothing to inputs that are no photo gets one of
# ../shared/images too: else its output's range is that of its noise.
PHOTOS = {"ch_PP-OCRv3_det_infer": "doc-1.png"}


class Failure(Exception):
    """A step that should have worked."""


@dataclasses.dataclass
class Row:
    """What came out for one model."""

    model: str
    format: str
    nodes: int = 0
    cuts: int = 0  # tried: all that are not refused
    proved: int = 0
    bit_equal: int = 0
    parting: int = 0  # part a convolution from what belongs to it
    # Of those that do not and are not bit-equal all the same: a sum over a map
    # comes next; a residual does, that the engine adds in the convolution
    before_sum: int = 0
    before_residual: int = 0
    unexplained: int = 0
    # Over the tolerance, but equal to the whole once it gives what crosses too
    rounding: int = 0
    refused: dict = dataclasses.field(default_factory=dict)  # reason -> cuts
    oracle: int = 0  # cuts that a framework agrees about
    oracle_tried: int = 0
    worst: float = 0.0  # relative difference of a proof
    seconds: float = 0.0
    failures: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Subject:
    name: str
    path: Path
    refused: str = ""  # the whole model is to be refused with this
    tolerance: float = 1e-5

    @property
    def format(self):
        return FORMATS[self.path.suffix]

    @property
    def shapes(self):
        return SHAPES.get(self.name, {})

    def flags(self):
        words = ("{}={}".format(n, "x".join(map(str, s))) for n, s in self.shapes.items())
        return [part for word in words for part in ("--shape", word)]


def run_kerf(kerf, *args, timeout=3600):
    done = subprocess.run(
        [kerf, "cut", *map(str, args)], capture_output=True, text=True, timeout=timeout
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done.returncode, lines, done.stderr.strip()


def spread(cuts, count, seed):
    """count of them, one out of each of as many equal parts."""
    pick = random.Random(seed)
    ends = [len(cuts) * i // count for i in range(count + 1)]
    return [cuts[pick.randrange(a, b)] for a, b in zip(ends, ends[1:]) if a < b]


def shared():
    return Path(os.environ.get("KERF_SHARED") or zoo.REPO.parent / "shared")


def photo(subject, folder):
    """Flags for one more input of the proof; [] when there is none."""
    path = shared() / "images" / PHOTOS.get(subject.name, "")
    if not path.is_file():
        return []
    from PIL import Image

    ((_, shape),) = subject.shapes.items()
    picture = Image.open(path).convert("RGB").resize(shape[:1:-1])
    x = (np.asarray(picture, np.float32) / 255 - 0.45) / 0.225
    np.save(folder / "photo.npy", x.transpose(2, 0, 1)[None])
    return ["--input", folder / "photo.npy"]


def list_cuts(kerf, subject):
    status, listed, said = run_kerf(kerf, subject.path, *subject.flags(), "--json")
    if status != 0:
        raise Failure(said or f"status {status}")
    return listed


def prove(kerf, subject, row, listed, folder):
    """Proves these cuts; those that can be made."""
    more = ["--prove", "--json", *photo(subject, folder)]
    if subject.tolerance > 1e-5:  # else Kerf's own, by what crosses
        more += ["--tolerance", subject.tolerance]
    status, proved, said = run_kerf(kerf, subject.path, *subject.flags(), *more)
    if not proved:
        raise Failure(said or f"status {status}, and nothing said")
    by_number = {one["cut"]: one for one in proved}
    if sorted(by_number) != [one["cut"] for one in listed]:
        raise Failure("--prove has other cuts than the list")
    found = [one | by_number[one["cut"]] for one in listed]
    row.refused = dict(Counter(one["refused"] for one in found if one.get("refused")))
    made = [one for one in found if not one.get("refused")]
    row.cuts = len(made)
    for one in made:
        row.proved += one["ok"]
        row.bit_equal += bool(one["bit_equal"])
        row.worst = max(row.worst, one.get("max_rel") or 0.0)
        row.rounding += bool(one["rounding"])
        if not one["ok"] and not one["rounding"]:
            row.failures.append(f"cut {one['cut']} after {one['after']}: {one.get('why', '')}")
    if status != 0 and not row.failures and not row.rounding:
        row.failures.append(said or f"status {status}")
    return made


def write_halves(kerf, subject, cuts, folder):
    """[(head, tail)] of files."""
    halves = []
    for one in cuts:
        out = folder / str(one["cut"])
        status, _, said = run_kerf(
            kerf, subject.path, *subject.flags(), "--at", one["cut"], "--out", out, "--no-proof"
        )
        pair = [
            next(iter(sorted(out.glob(f"{side}_infer_*{suffix}"))), None)
            for side in ("client", "server")
            for suffix in [".onnx" if subject.format == "onnx" else ".pdmodel"]
        ]
        if status != 0 or None in pair:
            raise Failure(f"cut {one['cut']}: {said or 'a half is missing'}")
        halves.append([str(path) for path in pair])
    return halves


def ask_oracle(subject, made, halves, graph, folder, seed):
    job = {
        "model": str(subject.path),
        "graph": str(graph),
        "shapes": subject.shapes,
        "seed": seed,
        "tolerance": subject.tolerance,
        "cuts": [[t["name"] for t in one["tensors"]] for one in made],
        "halves": halves,
    }
    (folder / "job").write_text(json.dumps(job))
    argv = [sys.executable, str(HERE / "answers.py"), str(folder / "job")]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure("the oracle failed: " + "\n".join(done.stderr.splitlines()[-4:]))
    return json.loads(done.stdout.splitlines()[-1])


def make(kerf, subject, row, folder):
    """Cuts for the oracles. What the engine cannot read is cut without a proof."""
    listed = list_cuts(kerf, subject)
    try:
        return prove(kerf, subject, row, listed, folder)
    except Failure as failure:
        if not subject.refused or subject.refused not in str(failure):
            raise
        row.refused = {str(failure): 0}
        return [one for one in listed if not one.get("refused")]


def count_reasons(row, made, reasons):
    row.parting = reasons.count("parting")
    unequal = Counter(why for one, why in zip(made, reasons) if not one["bit_equal"])
    row.before_sum, row.before_residual = unequal["sum"], unequal["residual"]
    row.unexplained = unequal[""]


def look(kerf, subject, count, seed, ask=ask_oracle):
    """One row; ask: who is asked about the halves, as ask_oracle()."""
    row = Row(subject.name, subject.format)
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="kerf-cuts-") as folder:
            folder = Path(folder)
            made = make(kerf, subject, row, folder)
            inner = [one for one in made if one["after"] not in (None, "")][:-1] or made
            chosen = spread(inner, count, seed)
            halves = write_halves(kerf, subject, chosen, folder)
            graph = subject.path
            if subject.format == "json":  # the head of the last cut is nearly all
                graph = write_halves(kerf, subject, made[-1:], folder / "last")[0][0]
            said = ask(subject, made, halves, graph, folder, seed)
        row.nodes = said["nodes"]
        row.oracle_tried = len(chosen)
        for one, wrong in zip(chosen, said["wrong"]):
            row.oracle += wrong is None
            if wrong:
                row.failures.append(f"cut {one['cut']} after {one['after']}: {wrong}")
        if row.cuts:
            count_reasons(row, made, said["reason"])
    except Failure as failure:
        row.failures.append(str(failure))
    row.seconds = time.monotonic() - start
    return row


# ---- what there is ------------------------------------------------------------------


def files(names):
    """Models given by their path."""
    paths = [Path(name).resolve() for name in names if "/" in name]
    return [Subject(path.parent.name, path) for path in paths]


def zoo_subjects(quick, names):
    """Made now when they are not there; what cannot be made is said."""
    wanted, lacking = [], set()
    for model in zoo.MODELS:
        if names and model.name not in names or not names and quick and not model.quick:
            continue
        for form in model.forms:
            if lack := zoo.lacks(model, form):
                lacking.add(f"{lack} is not installed: models that need it are left out")
            else:
                wanted.append((model, form))
    for line in sorted(lacking):
        print(f"cuts: {line}", file=sys.stderr)
    paths = zoo.ensure(wanted)
    return [subject_of(model, form, path) for (model, form), path in zip(wanted, paths)]


def subject_of(model, form, path):
    refused = model.refused if form in model.refused_as else ""
    return Subject(model.name, path, refused, model.tolerance)


def shared_subjects(names):
    folder = shared() / "models"
    if not folder.is_dir():
        print(f"cuts: no real models at {folder}: set KERF_SHARED", file=sys.stderr)
    found = [p for p in sorted(folder.glob("*/*")) if p.suffix in FORMATS]
    return [Subject(p.parent.name, p) for p in found if not names or p.parent.name in names]


# ---- what is printed -----------------------------------------------------------------

HEAD = ["model", "format", "nodes", "cuts", "proved", "rounding", "bit-equal", "parting", "sum"]
HEAD += ["residual", "other", "refused", "oracle", "worst", "seconds"]


def cells(row):
    oracle = f"{row.oracle}/{row.oracle_tried}"
    numbers = [row.nodes, row.cuts, row.proved, row.rounding, row.bit_equal, row.parting]
    numbers += [row.before_sum, row.before_residual, row.unexplained]
    refused = "all" if row.refused and not row.cuts else sum(row.refused.values())
    end = [refused, oracle, f"{row.worst:.1e}", f"{row.seconds:.1f}"]
    return [row.model, row.format, *map(str, numbers + end)]


def print_cells(words):
    line = f"{words[0]:31}{words[1]:7}" + "".join(f"{w:>10}" for w in words[2:])
    print(line, flush=True)


def print_row(row):
    print_cells(cells(row))
    for reason, count in row.refused.items():
        print(f"    refused{f' ({count})' if count else ''}: {reason}")
    for failure in row.failures[:5]:
        print(f"    FAILED: {failure}")
    if len(row.failures) > 5:
        print(f"    FAILED: and {len(row.failures) - 5} more")


def total(rows):
    done = Row(f"{len(rows)} models", "")
    for field in dataclasses.fields(Row):
        if field.type in (int, float) and field.name != "worst":
            setattr(done, field.name, sum(getattr(row, field.name) for row in rows))
    done.worst = max((row.worst for row in rows), default=0.0)
    done.refused = {"": sum(sum(row.refused.values()) for row in rows)}
    return done


LEGEND = """
cuts       tried: all that are not refused
rounding   not proved: over the tolerance, but equal to the whole once that gives what crosses too
bit-equal  in the engine, of those proved; parting: cuts that part a convolution from its
           normalisation or activation; not bit-equal although they do not: sum: a pooling or
           mean over a map comes next, residual: an addition that the engine does in the
           convolution, other: neither
oracle     cuts that Paddle (bit-equal) or onnxruntime (1e-5; bit-equal unoptimised) agree about
worst      difference of a proof, in parts of the output's range"""


def main():
    parser = argparse.ArgumentParser(prog="./dev cuts", description=__doc__)
    parser.add_argument(
        "model", nargs="*", help="names of the zoo or in ../shared/models, or files"
    )
    parser.add_argument("--quick", action="store_true", help="the small models only")
    parser.add_argument("--json", action="store_true", help="one object for each model")
    parser.add_argument("--oracle", type=int, default=5, metavar="N", help="cuts for the oracles")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    kerf = os.environ.get("KERF") or str(zoo.REPO / "build" / "kerf")
    names = [name for name in args.model if "/" not in name]
    subjects = files(args.model)
    if names or not subjects:
        subjects += zoo_subjects(args.quick, names) + shared_subjects(names)
    unknown = set(names) - {s.name for s in subjects}
    if unknown:
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    rows = []
    if not args.json:
        print_cells(HEAD)
    for subject in subjects:
        rows.append(look(kerf, subject, args.oracle, args.seed))
        if args.json:
            print(json.dumps(dataclasses.asdict(rows[-1])), flush=True)
        else:
            print_row(rows[-1])
    if not args.json:
        print_cells(cells(total(rows)))
        print(LEGEND)
    failed = sum(bool(row.failures) for row in rows)
    if failed:
        print(f"cuts: {failed} of {len(rows)} models failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
