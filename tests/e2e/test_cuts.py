"""A sample of ./dev cuts: small models that are hard to cut, every cut proved by
the engine, two of each in Paddle or onnxruntime."""

from pathlib import Path

import answers
import campaign
import graphs
import kept
import oracles
import pytest
import zoo

SAMPLE = """
shared.paddle early.paddle several.paddle shapes.paddle in_place.paddle loop.paddle
branches.paddle words.paddle gate.paddle unet.paddle reader.paddle ssd.paddle
efficient.paddle gate.json shared.json several.json shapes.json transformer.json
early.onnx shapes.onnx onnx_torch_resnet.onnx onnx_torch_view.onnx onnx_keras.onnx
onnx_early.onnx onnx_branch.onnx onnx_loop.onnx onnx_old.onnx onnx_external.onnx
onnx_tied.onnx onnx_quantised.onnx onnx_boxes.onnx onnx_lstm.onnx onnx_half.onnx
onnx_lists.onnx onnx_function.onnx onnx_shuffle.onnx onnx_seven.onnx onnx_modern.onnx
onnx_nested.onnx onnx_ports.onnx onnx_made.onnx onnx_f16.onnx
""".split()
BY_NAME = {model.name: model for model in zoo.MODELS}


@pytest.fixture(scope="session")
def models():
    """{name.form: path} of what can be made here; made once."""
    wanted = [(BY_NAME[name], form) for name, form in (one.split(".") for one in SAMPLE)]
    wanted = [(model, form) for model, form in wanted if not zoo.lacks(model, form)]
    paths = zoo.ensure(wanted)
    return {f"{model.name}.{form}": path for (model, form), path in zip(wanted, paths)}


def ask_once(subject, made, halves, graph, folder, seed):
    """campaign.ask_oracle() for a folder with the same halves as before is not
    repeated, when they were right."""
    sources = [Path(module.__file__) for module in (answers, graphs, oracles)]
    asked = [subject.path.name, subject.path.parent, subject.shapes, subject.tolerance]
    name = kept.key(sources, asked, [one["tensors"] for one in made], folder, seed)
    return kept.ask(
        name,
        lambda: campaign.ask_oracle(subject, made, halves, graph, folder, seed),
        lambda said: not any(said["wrong"]),
    )


@pytest.mark.parametrize("one", SAMPLE)
def test_every_cut__is_proved(kerf, models, one):
    name, form = one.split(".")
    model = BY_NAME[name]
    if one not in models:
        pytest.skip(f"{zoo.lacks(model, form)} is not installed")
    subject = campaign.subject_of(model, form, models[one])
    row = campaign.look(str(kerf), subject, count=2, seed=1, ask=ask_once)
    assert not row.failures, row
    assert row.oracle == row.oracle_tried > 0
    if subject.refused:
        assert row.refused and not row.cuts
    else:
        assert row.proved == row.cuts > 1


def test_free_sizes__are_asked_for(run, models):
    if "onnx_shuffle.onnx" not in models:
        pytest.skip("onnx is not installed")
    done = run("cut", models["onnx_shuffle.onnx"], "--prove")
    assert done.status == 1
    assert "error: no proof: sizes are not known: input x has free dims" in done.err
    assert "give --size HxW" in done.err


def test_sample__real_models(kerf, shared):
    """FastestDet: two branches to follow, and boxes."""
    path = shared / "models" / "resnet20_cifar10" / "inference.pdmodel"
    subject = campaign.Subject("resnet20_cifar10", path)
    row = campaign.look(str(kerf), subject, count=1, seed=2, ask=ask_once)
    assert not row.failures, row
    assert row.proved == row.cuts > 60 and row.bit_equal > row.cuts / 2


def test_reason__tells_a_convolution_from_what_is_joined_with_it():
    ops = [
        graphs.Op("Conv", ["x", "w"], ["c"]),
        graphs.Op("BatchNormalization", ["c", "s"], ["n"]),
        graphs.Op("Sigmoid", ["n"], ["g"]),
        graphs.Op("Mul", ["n", "g"], ["silu"]),
        graphs.Op("Add", ["silu", "x"], ["sum"]),
        graphs.Op("Relu", ["sum"], ["y"]),
    ]
    cuts = graphs.Cuts(ops, {"w", "s"})
    found = [cuts.reason(c) for c in (["c", "x"], ["n", "x"], ["n", "g", "x"], ["silu", "x"])]
    assert found == ["parting", "parting", "parting", "residual"]
    assert cuts.reason(["x"]) == "residual" and cuts.reason(["sum"]) == ""


def test_sums__are_looked_for_up_to_the_next_product():
    ops = [
        graphs.Op("Relu", ["x"], ["r"]),
        graphs.Op("Reshape", ["r"], ["s"]),
        graphs.Op("ReduceMean", ["s"], ["m"]),
        graphs.Op("Gemm", ["m", "w"], ["y"]),
        graphs.Op("Softmax", ["y"], ["p"]),
    ]
    cuts = graphs.Cuts(ops, {"w"})
    assert [cuts.reason([name]) for name in "xrsmy"] == ["sum", "sum", "sum", "", "sum"]
