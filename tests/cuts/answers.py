"""What Paddle or onnxruntime answer for a model and for its halves, one after
the other; in a process of its own, since Paddle reads its flags once.

    python answers.py JOB.json    the job: see work(); prints one JSON object
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import graphs
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import oracles  # noqa: E402

RUNS = 2


def some_input(random, name, shape, dtype, size):
    """One input as a trained network might get it."""
    if name in ("im_shape", "scale_factor"):
        return np.array([size if name == "im_shape" else (1, 1)], np.float32)
    if np.issubdtype(dtype, np.floating):
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 9, shape).astype(dtype)


def make_inputs(net, shapes, seed):
    """Free dims become 1, unless shapes says more."""
    given = [(n, shapes.get(n) or [d if d > 0 else 1 for d in s], t) for n, s, t in net.inputs]
    size = next((s[2:] for _, s, _ in given if len(s) == 4), None)
    random = np.random.default_rng(seed)
    return [[some_input(random, *one, size) for one in given] for _ in range(RUNS)]


def is_set(want):
    """Rows of class, score and box."""
    return want.ndim == 2 and want.shape[1] in (4, 6)


def compare(want, got, exact, tolerance):
    """None, or what is wrong with an answer."""
    if len(want) != len(got):
        return f"{len(got)} outputs, not {len(want)}"
    for i, (a, b) in enumerate(zip(want, got)):
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"output {i} is {b.dtype}{b.shape}, not {a.dtype}{a.shape}"
        if a.tobytes() == b.tobytes():
            continue
        if exact:
            return f"output {i} is off by {np.abs(a.astype(float) - b).max():.3g}"
        try:
            (oracles.check_same_boxes if is_set(a) else oracles.check_close)(b, a, tolerance)
        except AssertionError:
            off = np.abs(a.astype(float) - b).max()
            return f"output {i} is off by {off:.3g}, over {tolerance:g}"
    return None


def check(wants, inputs, head, tail, exact, tolerance):
    """Runs tail(head(x)); None, or what is wrong."""
    for want, one in zip(wants, inputs):
        names = [name for name, _, _ in head.inputs]
        between = head.run([one[name] for name in names])
        if len(between) != len(tail.inputs):
            return f"{len(between)} tensors come, the tail takes {len(tail.inputs)}"
        if wrong := compare(want, tail.run(between), exact, tolerance):
            return wrong
    return None


def ways(suffix):
    """(label, how to open a model, whether answers must be equal in each bit)."""
    if suffix == ".onnx":
        return [
            ("onnxruntime", oracles.OnnxNet, False),
            ("onnxruntime, plain", lambda path: oracles.OnnxNet(path, plain=True), True),
        ]
    return [("paddle", oracles.PaddleNet, True)]


def whole_answers(path, job):
    """Of the whole model: (inputs by name, answers)."""
    if path.suffix == ".json":  # needs the other flag, so another process
        env = {**os.environ, "FLAGS_enable_pir_api": "1"}
        argv = [sys.executable, __file__, job["self"], "--whole"]
        subprocess.run(argv, env=env, check=True, stdout=sys.stderr)
        with np.load(job["self"] + ".npz") as saved:
            names, count = list(saved["names"]), int(saved["count"])
            inputs = [{n: saved[f"in{r}_{n}"] for n in names} for r in range(RUNS)]
            return inputs, [[saved[f"out{r}_{i}"] for i in range(count)] for r in range(RUNS)]
    net = ways(path.suffix)[0][1](path)
    return run_whole(net, job)


def run_whole(net, job):
    names = [name for name, _, _ in net.inputs]
    rows = make_inputs(net, job["shapes"], job["seed"])
    return [dict(zip(names, row)) for row in rows], [net.run(row) for row in rows]


def save_whole(path, job):
    net = oracles.PaddleNet(path)
    inputs, answers = run_whole(net, job)
    arrays = {"names": np.array(list(inputs[0])), "count": np.array(len(answers[0]))}
    for r in range(RUNS):
        arrays.update({f"in{r}_{n}": a for n, a in inputs[r].items()})
        arrays.update({f"out{r}_{i}": a for i, a in enumerate(answers[r])})
    np.savez(job["self"] + ".npz", **arrays)


def work(job):
    """job: model; graph (a .pdmodel or .onnx with its operations); shapes of
    free inputs; seed; cuts: lists of crossing tensors; halves: [head, tail].
    Gives nodes, reason (of each cut) and wrong (of each half: null or text)."""
    path = Path(job["model"])
    ops, constants = graphs.read(Path(job["graph"]))
    cuts = graphs.Cuts(ops, constants)
    found = {"nodes": len(ops), "reason": [cuts.reason(names) for names in job["cuts"]]}
    inputs, wants = whole_answers(path, job)
    wrongs = [None] * len(job["halves"])
    tolerance = job["tolerance"]  # over 1e-5: of halves, which are rounded
    for label, opened, exact in ways(path.suffix):
        if label == "onnxruntime, plain":
            net = opened(path)
            wants = [net.run(list(one.values())) for one in inputs]
        for i, (head, tail) in enumerate(job["halves"]):
            nets = opened(Path(head)), opened(Path(tail))
            wrong = check(wants, inputs, *nets, exact and tolerance <= 1e-5, tolerance)
            wrongs[i] = wrongs[i] or (wrong and f"{label}: {wrong}")
    found["wrong"] = wrongs
    return found


def main(path, *rest):
    with open(path) as file:
        job = {**json.load(file), "self": path}
    if rest:
        save_whole(Path(job["model"]), job)
    else:
        os.environ["FLAGS_enable_pir_api"] = "0"
        print(json.dumps(work(job)))


if __name__ == "__main__":
    main(*sys.argv[1:])
