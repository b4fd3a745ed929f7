"""The models that cutting is tried on, made at run time into build/zoo: real
architectures with random weights, and small ones that are hard to cut.

    python tests/cuts/zoo.py                 lists them
    python tests/cuts/zoo.py NAME...         makes them (all: every one)

A model is made in each of its forms: `paddle` (.pdmodel, as Paddle 2 writes
it), `json` (Paddle 3's), `onnx` (what paddle2onnx makes of it, or put together
in onnx_nets.py and onnx_more.py). What is there already is made again only when
these sources change.
"""

import fcntl
import hashlib
import importlib
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
ROOT = REPO / "build" / "zoo"
SUFFIX = {"paddle": ".pdmodel", "json": ".json", "onnx": ".onnx"}
FORMS = tuple(SUFFIX)
SEED = 5


@dataclass(frozen=True)
class Model:
    """kind: what makes it: a class or function of a module, see make_one()."""

    name: str
    kind: str
    args: dict = field(default_factory=dict)
    inputs: dict = field(default_factory=dict)  # name -> shape; None: free
    forms: tuple = FORMS
    settle: int = 0  # images to take the normalisations' statistics from
    quick: bool = False
    refused: str = ""  # Kerf does not cut it, and says this ...
    refused_as: tuple = FORMS  # ... in these forms
    tolerance: float = 1e-5  # of an output's range: halves and integers round more

    def path(self, form, root=ROOT):
        return root / f"{self.name}.{form}" / f"{self.name}{SUFFIX[form]}"


def image(size, batch=None, channels=3):
    return (batch, channels, size, size)


def vision(name, size, kind=None, quick=False, settle=2, **args):
    """One of paddle.vision.models; Paddle 3's form of the small ones alone, since
    it becomes the same program as `paddle`."""
    return Model(
        name, f"vision.{kind or name}", args, {"x": image(size)},
        forms=FORMS if quick else ("paddle", "onnx"), settle=settle, quick=quick,
    )  # fmt: skip


def small(name, kind, inputs, forms=FORMS, settle=4, **more):
    more.setdefault("args", {})
    return Model(name, kind, inputs=inputs, forms=forms, settle=settle, quick=True, **more)


def yolo(name, size, quick=False, **args):
    inputs = {"im_shape": (1, 2), "image": image(size, 1), "scale_factor": (1, 2)}
    forms = FORMS if quick else ("paddle", "onnx")
    return Model(name, "nets.yolo", {"size": size, **args}, inputs, forms, quick=quick)


def by_hand(name, module="onnx_nets", **more):
    """A function of that module; its inputs stand in the file."""
    return Model(f"onnx_{name}", f"{module}.{name}", forms=("onnx",), quick=True, **more)


OLD = ("paddle",)
BY_HAND = (
    "torch_resnet torch_yolo torch_view attention keras early branch loop old external tied "
    "boxes lstm lists"
)
MORE_BY_HAND = "inception shuffle efficient mask gru seven eleven modern nested made"
MODELS = [
    vision("resnet18", 224),
    vision("resnet50", 224),
    vision("mobilenet_v1", 224),
    vision("mobilenet_v2", 224),
    vision("mobilenet_v3_small", 224),
    vision("mobilenet_v3_large", 224),
    vision("vgg16", 224, settle=0),
    vision("densenet121", 96),
    vision("googlenet", 224),
    vision("inception_v3", 128),
    vision("squeezenet1_1", 224, settle=0),
    vision("shufflenet_v2_x0_25", 224),
    yolo("yolov3", 320),
    vision("resnet18_32", 32, "resnet18", quick=True, num_classes=10),
    vision("mobilenet_v3_64", 64, "mobilenet_v3_small", quick=True, num_classes=10),
    yolo("yolov3_64", 64, quick=True, width=4, depths=(1, 1, 1, 1, 1)),
    small("ssd", "nets.ssd", {"image": image(96, 1)}, ("paddle", "json"), settle=0),
    small("shared", "nets.Shared", {"x": image(16)}),
    small("early", "nets.Early", {"x": image(16)}),
    small(
        "several",
        "nets.Several",
        {"colour": image(16), "depth": image(16, channels=1), "weight": (None, 4)},
    ),
    small("shapes", "nets.Shapes", {"x": image(16)}),
    small(
        "transformer",
        "nets.Transformer",
        {"x": image(32)},
        settle=0,
        refused="the engine lacks the op unbind",
        refused_as=("paddle",),
    ),
    small("unet", "nets.UNet", {"x": image(32)}),
    small("reader", "nets.Reader", {"x": (None, 3, 32, 48)}),
    small("words", "nets.Words", {"ids:int64": (None, 7)}, settle=0),
    small("gate", "nets.Gate", {"x": image(16)}),
    small("efficient", "nets.Efficient", {"x": image(32)}),
    # paddle2onnx dies of it
    small("mask", "nets.Mask", {"x": image(32, 1)}, ("paddle", "json")),
    small("in_place", "programs.in_place", {"x": image(8, 1)}, OLD, settle=0),
    small("loop", "programs.loop", {"x": (1, 6)}, OLD, settle=0),
    small(
        "branches",
        "programs.branches",
        {"x": (1, 6)},
        OLD,
        settle=0,
        refused="the engine cannot take this op internal::ConditionalBlock: ",
    ),
    *map(by_hand, BY_HAND.split()),
    *(by_hand(name, "onnx_more") for name in MORE_BY_HAND.split()),
    by_hand("ports", "onnx_more"),
    by_hand("f16", "onnx_more", tolerance=5e-3),
    by_hand("scan", "onnx_more", refused="the engine cannot take this op Scan: "),
    by_hand("function", refused="the engine lacks the op"),
    by_hand("quantised", tolerance=1e-3),
    by_hand("half", tolerance=1e-3),
]


def lacks(model, form):
    """The first package that making it needs and that is not there, or None:
    there is no Paddle for aarch64."""
    need = ["onnx"] if form == "onnx" else []
    if not model.kind.startswith("onnx_"):
        need += ["paddle", "paddle2onnx"] if form == "onnx" else ["paddle"]
    return next((name for name in need if not importlib.util.find_spec(name)), None)


def stamp():
    """Changes with whatever the models come from."""
    sources = sorted(HERE.glob("*.py"))
    text = b"".join(p.read_bytes() for p in sources if p.stem != "campaign")
    pins = (REPO / "tools" / "requirements-test.txt").read_bytes()
    return hashlib.sha256(text + pins).hexdigest()


def ensure(wanted, root=ROOT):
    """Makes what is not there of [(model, form)]; raises when it cannot."""
    root.mkdir(parents=True, exist_ok=True)
    now = stamp()
    with open(root / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for form in SUFFIX:
            names = [m.name for m, f in wanted if f == form and not is_made(m, f, now, root)]
            if names:
                make_in_child(form, names, root)
                for name in names:
                    (root / f"{name}.{form}" / "stamp").write_text(now)
    return [m.path(form, root) for m, form in wanted]


def is_made(model, form, now, root):
    path = model.path(form, root).with_name("stamp")
    return path.exists() and path.read_text() == now


def make_in_child(form, names, root):
    """Paddle reads its flags once, when it is imported."""
    env = {**os.environ, "FLAGS_enable_pir_api": "0" if form == "paddle" else "1", "GLOG_v": "0"}
    argv = [sys.executable, __file__, "--child", form, str(root), *names]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise RuntimeError(f"cannot make {' '.join(names)} ({form}):\n{done.stderr[-3000:]}")


# ---- in the child ----------------------------------------------------------------


def make(form, root, names):
    by_name = {m.name: m for m in MODELS}
    for name in names:
        model = by_name[name]
        path = model.path(form, root)
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.iterdir():
            old.unlink()
        family, kind = model.kind.split(".")
        if family.startswith("onnx_"):
            getattr(importlib.import_module(family), kind)(path)
        else:
            make_with_paddle(model, family, kind, form, path)


def make_with_paddle(model, family, kind, form, path):
    import old_ir
    import paddle

    if form == "paddle":
        old_ir.mend()
    paddle.seed(SEED)
    with paddle.utils.unique_name.guard():
        if family == "programs":
            make_program(model, kind, path)
        else:
            save_layer(model, path, layer_of(model, family, kind))
    if form == "onnx":
        convert(path)


def convert(path):
    """The .json there to .onnx."""
    import paddle2onnx

    source, weights = path.with_suffix(".json"), path.with_suffix(".pdiparams")
    # Its optimiser wants packages of its own.
    paddle2onnx.export(
        str(source), str(weights), str(path), opset_version=13,
        enable_onnx_checker=False, optimize_tool="None",
    )  # fmt: skip
    source.unlink()
    weights.unlink()


def layer_of(model, family, kind):
    import paddle
    import paddle_nets

    if family == "vision":
        net = getattr(paddle.vision.models, kind)(pretrained=False, **model.args)
    else:
        net = getattr(paddle_nets, kind)(**model.args)
    if model.settle:
        shapes = model.inputs.values()
        paddle_nets.settle(net, *[paddle.randn([model.settle, *s[1:]]) for s in shapes])
    net.eval()
    return net


def save_layer(model, path, net):
    import paddle

    specs = []
    for name, shape in model.inputs.items():
        name, _, dtype = name.partition(":")
        specs.append(paddle.static.InputSpec(list(shape), dtype or "float32", name))
    paddle.jit.save(net, str(path.with_suffix("")), input_spec=specs)


def make_program(model, kind, path):
    import paddle
    import paddle_programs

    paddle.enable_static()
    main, first = paddle.static.Program(), paddle.static.Program()
    main.random_seed = first.random_seed = SEED
    with paddle.static.program_guard(main, first):
        inputs = [paddle.static.data(n, list(s)) for n, s in model.inputs.items()]
        outputs = getattr(paddle_programs, kind)(*inputs)
    runner = paddle.static.Executor(paddle.CPUPlace())
    with paddle.static.scope_guard(paddle.static.Scope()):
        runner.run(first)
        paddle.static.save_inference_model(
            str(path.with_suffix("")), inputs, outputs, runner, program=main
        )
    paddle.disable_static()


def main(args):
    if args[:1] == ["--child"]:
        return make(args[1], Path(args[2]), args[3:])
    if not args:
        for model in MODELS:
            print(f"{model.name:22} {' '.join(model.forms)}")
    chosen = [m for m in MODELS if m.name in args or args == ["all"]]
    ensure([(m, form) for m in chosen for form in m.forms if not lacks(m, form)])


if __name__ == "__main__":
    main(sys.argv[1:])
