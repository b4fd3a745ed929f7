"""What paddlepaddle and onnxruntime say that a model answers."""

import os

import numpy as np
import pytest


def paddle_answers(graph, inputs):
    """Outputs of a .pdmodel for a list of {input name: array}. The plain
    executor: its optimised CPU passes differ by 1e-4 (and more)."""
    os.environ["FLAGS_enable_pir_api"] = "0"  # else .pdmodel cannot be loaded
    paddle = pytest.importorskip("paddle", reason="no paddlepaddle for this machine")
    paddle.enable_static()
    runner = paddle.static.Executor(paddle.CPUPlace())
    with paddle.static.scope_guard(paddle.static.Scope()):
        program, feeds, fetches = paddle.static.load_inference_model(
            str(graph.with_suffix("")), runner
        )
        answers = []
        for one in inputs:
            assert sorted(one) == sorted(feeds)
            answers.append([np.array(a) for a in runner.run(program, one, fetches)])
    return answers


def onnx_answers(graph, inputs):
    """Outputs of a .onnx for a list of {input name: array}."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="no onnxruntime for this machine")
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    return [session.run(None, one) for one in inputs]


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
