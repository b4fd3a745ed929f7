"""What paddlepaddle and onnxruntime say that a model answers."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import kept
import numpy as np
import pytest


def need_paddle():
    """Skips where it is not; not by an import, which would settle its mode."""
    if importlib.util.find_spec("paddle") is None:
        pytest.skip("no paddlepaddle for this machine")


def export(script, folder, *names):
    """Fills the folder by a script of ours, in a process with Paddle's own mode,
    whatever a PaddleNet has set in this one."""
    made = subprocess.run(
        [sys.executable, script, folder, *names],
        env={k: v for k, v in os.environ.items() if k != "FLAGS_enable_pir_api"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert made.returncode == 0, made.stdout.decode()[-4000:]


class PaddleNet:
    """A Paddle program in the plain executor: its optimised CPU passes differ
    by 1e-4 (and more). inputs: [(name, shape, dtype)] in the order of run()."""

    def __init__(self, graph):
        # Without this, .pdmodel cannot be loaded; .json needs the default.
        if graph.suffix == ".pdmodel":
            os.environ["FLAGS_enable_pir_api"] = "0"
        paddle = pytest.importorskip("paddle", reason="no paddlepaddle for this machine")
        paddle.enable_static()
        self.paddle, self.scope = paddle, paddle.static.Scope()
        self.runner = paddle.static.Executor(paddle.CPUPlace())
        with paddle.static.scope_guard(self.scope):
            self.program, feeds, self.fetches = paddle.static.load_inference_model(
                str(graph.with_suffix("")), self.runner
            )
        self.inputs = [self._describe(name) for name in feeds]

    def _describe(self, name):
        if hasattr(self.program.global_block(), "var"):
            found = self.program.global_block().var(name)
        else:
            found = next(
                op.results()[0]
                for op in self.program.global_block().ops
                if op.name() in ("pd_op.data", "pd_op.feed") and op.attrs()["name"] == name
            )
        kind = self.paddle.base.data_feeder.convert_dtype(found.dtype)
        return name, list(found.shape), np.dtype(kind)

    def run(self, arrays):
        """Outputs for one array for each input."""
        fed = {name: array for (name, _, _), array in zip(self.inputs, arrays)}
        with self.paddle.static.scope_guard(self.scope):
            return [np.array(a) for a in self.runner.run(self.program, fed, self.fetches)]


class OnnxNet:
    """An ONNX model in onnxruntime; plain: without its optimisations."""

    TYPES = {"float": "f4", "float16": "f2", "double": "f8", "bool": "?"}

    def __init__(self, graph, plain=False):
        onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime for this machine")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if plain:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [self._describe(one) for one in self.session.get_inputs()]

    def _describe(self, one):
        kind = one.type.removeprefix("tensor(").removesuffix(")")
        shape = [d if isinstance(d, int) else -1 for d in one.shape]
        return one.name, shape, np.dtype(self.TYPES.get(kind, kind))

    def run(self, arrays):
        """Outputs for one array for each input."""
        fed = {name: array for (name, _, _), array in zip(self.inputs, arrays)}
        return self.session.run(None, fed)


def answers(open_net, graph, inputs):
    """Outputs for a list of {input name: array}."""

    def run():
        net = open_net(graph)
        names = [name for name, _, _ in net.inputs]
        assert all(sorted(one) == sorted(names) for one in inputs)
        return [net.run([one[name] for name in names]) for one in inputs]

    name = kept.key(Path(__file__), open_net.__name__, graph.name, graph.parent, inputs)
    return kept.ask(name, run)


def paddle_answers(graph, inputs):
    """Outputs of a .pdmodel for a list of {input name: array}."""
    return answers(PaddleNet, graph, inputs)


def onnx_answers(graph, inputs):
    """Outputs of a .onnx for a list of {input name: array}."""
    return answers(OnnxNet, graph, inputs)


def prepare(pixels, scale, mean, std):
    """[1,H,W,3] u8, channels in the network's order -> [1,3,H,W] f32."""
    values = (pixels.astype(np.float64) * scale - np.array(mean)) / np.array(std)
    return values.transpose(0, 3, 1, 2).astype(np.float32)


def check_close(ours, theirs, relative=1e-4):
    """The same to 1e-4 of the output's range."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    spread = float(theirs.max() - theirs.min())
    assert np.abs(ours.astype(np.float64) - theirs).max() <= relative * spread


def check_same_boxes(ours, theirs, relative=1e-4):
    """Rows of numbers, equal in any order."""
    assert ours.shape == theirs.shape
    tolerance = relative * float(np.ptp(theirs)) if theirs.size else 0.0
    left = list(theirs)
    for box in ours:
        distance = [np.abs(box - other).max() for other in left]
        nearest = int(np.argmin(distance))
        assert distance[nearest] <= tolerance, (box, left[nearest])
        left.pop(nearest)
