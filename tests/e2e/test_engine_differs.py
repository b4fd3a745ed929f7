"""What the engine computes otherwise than Paddle is said, and nothing else is.
Networks: differ_nets.py."""

from pathlib import Path

import numpy as np
import oracles
import pytest


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A folder with what Paddle exports, and answers."""
    oracles.need_paddle()
    folder = tmp_path_factory.mktemp("differ")
    script = Path(__file__).with_name("differ_nets.py")
    oracles.export(script, folder)
    return folder


@pytest.fixture
def ask(run, exported, tmp_path):
    """ask(kind, name) -> the process, and whether it answers as Paddle does."""

    def go(kind, name):
        model = exported / kind / f"{name}.json"
        done = run("run", model, "--input", exported / "x.npy", "--save", tmp_path, "--quiet")
        assert done.status == 0, done.report()
        ours = np.load(tmp_path / "000000.0.npy")
        theirs = np.load(exported / kind / f"{name}.out.npy")
        same = ours.shape == theirs.shape and np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        return done, same

    return go


def names(kind):
    """Without importing Paddle here."""
    text = Path(__file__).with_name("differ_nets.py").read_text()
    part = text.partition(f'"{kind}": {{')[2].partition("        },")[0]
    return [line.split('"')[1] for line in part.splitlines() if line.startswith(12 * " " + '"')]


@pytest.mark.parametrize("name", names("differs"))
def test_op_that_differs__is_said_once(ask, name):
    done, same = ask("differs", name)
    lines = [line for line in done.err.splitlines() if "engine.differs" in line]
    assert len(lines) == 1 and f'what="{name[: len(op_of(name))]} of ' in lines[0], done.report()
    assert not same, "this OpenVINO has mended it: take the rule out of openvino_differs.c"


def op_of(name):
    """conv2d_transpose of conv2d_transpose_size."""
    for end in ("_padding", "_size", "_same", "_row", "_column", "_lopsided", "_ceil", "_scale"):
        name = name.removesuffix(end)
    return name


@pytest.mark.parametrize("name", names("agrees"))
def test_op_that_agrees__is_not_complained_about(ask, name):
    done, same = ask("agrees", name)
    assert same and "engine.differs" not in done.err, done.report()


def test_cut__says_it_once(run, exported, tmp_path):
    """The whole, the probe for sizes and the halves are read, and all have the op."""
    model = exported / "differs" / "conv2d.json"
    done = run("cut", model, "--prove", timeout=120)
    assert done.status == 0 and done.err.count("engine.differs") == 1, done.report()


def test_real_models__have_none(run, shared, digits):
    folders = sorted(p for p in (shared / "models").iterdir() if p.is_dir())
    for folder in [digits / "digits", *folders]:
        done = run("cut", folder, "--info", timeout=120)
        assert done.status == 0 and "engine.differs" not in done.err, done.report()
    assert len(folders) > 5
