#!/usr/bin/env python3
"""Train Kerf's demo model and write everything in models/digits/ but its README.

    ./dev train

does it all: it makes .venv-train from tools/requirements-train.txt and
runs this file there. By hand, inside any virtualenv with those packages:

    python tools/train_digits.py --out models/digits

The model is a small residual network in the manner of ResNet18, trained on the
handwritten digits that scikit-learn carries (8x8 grey), enlarged to 32x32 RGB.
It is saved whole and cut in two, in Paddle's .pdmodel form:

    image (N,3,32,32) -> head -> features (N,64,8,8) -> tail -> scores (N,10)

All three come from one program, so names and weights agree. Every seed is
fixed and all arithmetic runs on one thread, so a second run on the same kind
of CPU repeats the first. Files are written only after the parts were checked
against the whole, in Paddle and in OpenVINO, and only if the accuracy is there.
"""

import argparse
import json
import math
import os
import re
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

# Paddle and its maths libraries read these once, when they are imported.
os.environ.update(
    FLAGS_enable_pir_api="0",  # the .pdmodel form; OpenVINO cannot read .json
    FLAGS_cpu_deterministic="1",
    GLOG_minloglevel="1",  # no notes about its executors
    OMP_NUM_THREADS="1",
    OPENBLAS_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
)

import numpy as np  # noqa: E402
import openvino as ov  # noqa: E402
import paddle  # noqa: E402
import paddle.nn.functional as F  # noqa: E402
from paddle import nn  # noqa: E402
from PIL import Image  # noqa: E402
from scipy import ndimage  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402
from sklearn.model_selection import train_test_split  # noqa: E402

NAME = "digits"
WHOLE, HEAD, TAIL = NAME, f"client_infer_{NAME}", f"server_infer_{NAME}"
SIDE = 32  # pixels
CLASSES = 10
SEED = 20
EPOCHS = 30
BATCH = 32
PEAK_RATE = 3e-3
IMAGES_PER_CLASS = 4
PROBE_SEEDS = (1, 2)
MIN_ACCURACY = 0.98
TOLERANCE = 1e-5  # largest difference between engines, on probabilities


# ---------------------------------------------------------------- the network


class ConvBn(nn.Sequential):
    """Convolution and batch normalisation; the activation is the caller's."""

    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__(
            nn.Conv2D(inputs, outputs, size, stride, padding=size // 2,
                      bias_attr=False),
            nn.BatchNorm2D(outputs),
        )


class Block(nn.Layer):
    """ResNet's basic block; `middle` channels lie between its convolutions."""

    def __init__(self, inputs, middle, outputs, stride=1):
        super().__init__()
        same = inputs == outputs and stride == 1
        self.first = ConvBn(inputs, middle, 3, stride)
        self.second = ConvBn(middle, outputs, 3)
        self.shortcut = None if same else ConvBn(inputs, outputs, 1, stride)

    def forward(self, x):
        y = self.second(F.relu(self.first(x)))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Head(nn.Layer):
    """The edge's part: (N,3,32,32) -> (N,64,8,8)."""

    def __init__(self):
        super().__init__()
        self.stem = ConvBn(3, 16, 3)
        self.stage1 = Block(16, 16, 16)
        self.stage2 = Block(16, 32, 32, stride=2)
        self.stage3 = Block(32, 32, 64, stride=2)

    def forward(self, x):
        return self.stage3(self.stage2(self.stage1(F.relu(self.stem(x)))))


class Tail(nn.Layer):
    """The cloud's part: (N,64,8,8) -> logits (N,10)."""

    def __init__(self):
        super().__init__()
        self.stage4 = Block(64, 32, 64)
        self.pool = nn.AdaptiveAvgPool2D(1)
        self.fc = nn.Linear(64, CLASSES)

    def forward(self, x):
        return self.fc(paddle.flatten(self.pool(self.stage4(x)), 1))


class Net(nn.Layer):
    def __init__(self):
        super().__init__()
        self.head = Head()
        self.tail = Tail()

    def forward(self, x):
        return self.tail(self.head(x))


# ------------------------------------------------------------------- the data


def enlarge(digit):
    """8x8 with values 0..16 -> 32x32 u8, as a picture of a digit would be."""
    grey = np.rint(digit * (255 / 16)).astype(np.uint8)
    image = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(image)


def load_split():
    """Returns grey u8 images and labels: ((x, y) to train on, (x, y) held out)."""
    digits = load_digits()
    images = np.stack([enlarge(d) for d in digits.images])
    labels = digits.target.astype(np.int64)
    x, held_x, y, held_y = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=SEED)
    return (x, y), (held_x, held_y)


def normalise(images, mean, std):
    """Grey u8 (N,32,32) -> what the model takes: f32 (N,3,32,32)."""
    value = (images.astype(np.float32) / np.float32(255) - np.float32(mean))
    value /= np.float32(std)
    return np.repeat(value[:, None], 3, axis=1)


def jitter(image, rng):
    """A small random rotation, scaling and shift about the image's centre."""
    angle = math.radians(rng.uniform(-12, 12))
    zoom = rng.uniform(0.9, 1.1)
    matrix = np.array([[math.cos(angle), -math.sin(angle)],
                       [math.sin(angle), math.cos(angle)]]) / zoom
    centre = np.full(2, (SIDE - 1) / 2)
    offset = centre - matrix @ (centre + rng.uniform(-3, 3, size=2))
    return ndimage.affine_transform(image, matrix, offset, order=1)


# ---------------------------------------------------------------- the training


def train(images, labels, mean, std, epochs):
    """Returns a trained Net, in evaluation mode."""
    warnings.filterwarnings("ignore", message="When training, we now always")
    paddle.seed(SEED)
    rng = np.random.default_rng(SEED)
    net = Net()
    batches = math.ceil(len(images) / BATCH)
    rate = paddle.optimizer.lr.CosineAnnealingDecay(PEAK_RATE, epochs * batches)
    adam = paddle.optimizer.AdamW(rate, parameters=net.parameters(),
                                  weight_decay=0.02)
    for epoch in range(epochs):
        start, total = time.monotonic(), 0.0
        order = rng.permutation(len(images))
        for picked in np.array_split(order, batches):
            batch = np.stack([jitter(images[i], rng) for i in picked])
            scores = net(paddle.to_tensor(normalise(batch, mean, std)))
            wanted = F.one_hot(paddle.to_tensor(labels[picked]), CLASSES)
            # Smoothed labels keep the probabilities, and the probes, off 0 and 1.
            loss = F.cross_entropy(scores, F.label_smooth(wanted, epsilon=0.05),
                                   soft_label=True)
            loss.backward()
            adam.step()
            adam.clear_grad()
            rate.step()
            total += float(loss) * len(picked)
        print(f"epoch {epoch + 1:2d}/{epochs}  loss {total / len(images):.4f}"
              f"  {time.monotonic() - start:.1f} s", flush=True)
    net.eval()
    return net


def parameter_count(net):
    """Trained numbers only, without batch normalisation's running statistics."""
    return sum(p.size for p in net.parameters() if not p.stop_gradient)


# ------------------------------------------------------------ saving, checking


def export(weights, folder):
    """Writes whole, head and tail, all from one program, into `folder`."""
    paddle.enable_static()
    program, startup = paddle.static.Program(), paddle.static.Program()
    with paddle.static.program_guard(program, startup), \
            paddle.utils.unique_name.guard():
        image = paddle.static.data("image", [-1, 3, SIDE, SIDE], "float32")
        net = Net()
        net.eval()
        features = net.head(image)
        scores = F.softmax(net.tail(features))
    cpu = paddle.CPUPlace()
    executor = paddle.static.Executor(cpu)
    executor.run(startup)
    for key, var in net.state_dict().items():
        # OpenVINO skips such names when it reads weights, and so misreads all.
        assert not var.name.endswith(("feed", "fetch")), var.name
        paddle.static.global_scope().find_var(var.name).get_tensor().set(
            weights[key], cpu)
    for name, source, result in ((WHOLE, image, scores),
                                 (HEAD, image, features),
                                 (TAIL, features, scores)):
        paddle.static.save_inference_model(
            str(folder / name), [source], [result], executor, program=program)
        strip_program(folder / f"{name}.pdmodel")


def strip_program(path):
    """Drops attributes that no runtime needs; some name the exporter's files."""
    program = paddle.static.Program.parse_from_string(path.read_bytes())
    program = program._remove_training_info(clip_extra=True)
    for op in program.global_block().ops:
        for attribute in ("op_callstack", "op_namescope", "op_role_var"):
            if op.has_attr(attribute):
                op.desc.remove_attr(attribute)
    path.write_bytes(program.desc.serialize_to_string())


def paddle_runner(folder, name):
    """Returns a function f32 array -> f32 array that runs a saved model."""
    scope = paddle.static.Scope()
    executor = paddle.static.Executor(paddle.CPUPlace())
    with paddle.static.scope_guard(scope):
        program, feeds, fetches = paddle.static.load_inference_model(
            str(folder / name), executor)

    def run(x):
        with paddle.static.scope_guard(scope):
            return executor.run(program, {feeds[0]: x}, fetches)[0]
    return run


def openvino_runner(folder, name):
    compiled = ov.Core().compile_model(
        folder / f"{name}.pdmodel", "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    return lambda x: compiled(x)[0]


def check_parts(folder, inputs):
    """Both engines must give the whole's answer, from the whole and the parts."""
    want = paddle_runner(folder, WHOLE)(inputs)
    for engine, runner in (("paddle", paddle_runner),
                           ("openvino", openvino_runner)):
        whole, head, tail = (runner(folder, n) for n in (WHOLE, HEAD, TAIL))
        features = head(inputs)
        assert features.shape == (len(inputs), 64, 8, 8), features.shape
        assert features.dtype == np.float32
        by_whole = float(np.abs(whole(inputs) - want).max())
        by_parts = float(np.abs(tail(features) - want).max())
        print(f"{engine:8s}  whole {by_whole:.1e}  parts {by_parts:.1e}"
              "  (largest difference from Paddle's whole model)")
        if max(by_whole, by_parts) > TOLERANCE:
            sys.exit(f"{engine} disagrees by more than {TOLERANCE}")


def check_clean(folder):
    """No path of the machine that trained it may be in a model file."""
    for path in folder.glob("*.pdmodel"):
        found = re.search(rb"op_callstack|\.py\b|/\w\w", path.read_bytes())
        if found:
            sys.exit(f"{path.name} contains {found.group().decode()!r}")


# -------------------------------------------------------------------- the card


def probe_input(seed):
    """Uniform f32 in [0,1) from splitmix64, in row-major order."""
    count = 3 * SIDE * SIDE
    step = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + step * np.arange(1, count + 1, dtype=np.uint64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    value = (z >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return value.reshape(1, 3, SIDE, SIDE)


def make_probe(run, seed):
    output = run(probe_input(seed))
    values = [float(f"{v:.9g}") for v in output.ravel()]  # 9 digits: exact f32
    return {"seed": seed,
            "outputs": [{"shape": list(output.shape),
                         "at": list(range(output.size)), "values": values}]}


def make_card(run, mean, std, accuracy, held_out, trained):
    return {
        "kerf_card": 1,
        "name": NAME,
        "task": "classify",
        "input": {"kind": "image", "layout": "NCHW", "size": [SIDE, SIDE],
                  "resize": "stretch", "colour": "rgb", "scale": 1 / 255,
                  "mean": [mean] * 3, "std": [std] * 3},
        "labels": [str(c) for c in range(CLASSES)],
        "scores": "probabilities",
        "probes": [make_probe(run, seed) for seed in PROBE_SEEDS],
        "about": {
            "accuracy": round(accuracy, 4),
            "held_out": held_out,
            "train": trained,
            "data": "scikit-learn load_digits (UCI Optical Recognition of "
                    "Handwritten Digits, test set), CC BY 4.0",
            "licence": "Apache-2.0 (weights: ours)",
            "trained_by": "tools/train_digits.py",
        },
    }


def card_text(card):
    """JSON with one line per member, so that a retrained card diffs well."""
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in card.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def save_images(images, labels, folder):
    """The first few of each class in the order of the held-out split, right or
    wrong; the number in a name is the image's place in that split."""
    folder.mkdir()
    left = dict.fromkeys(range(CLASSES), IMAGES_PER_CLASS)
    for place, (grey, label) in enumerate(zip(images, labels)):
        if left[int(label)] == 0:
            continue
        left[int(label)] -= 1
        rgb = np.repeat(grey[:, :, None], 3, axis=2)
        Image.fromarray(rgb).save(folder / f"{label}_{place:03d}.png")


# ------------------------------------------------------------------------ main


def publish(made, out):
    """Replaces the generated files in `out`; its README is left alone."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "images", ignore_errors=True)
    for path in made.iterdir():
        shutil.move(path, out / path.name)


def main():
    parser = argparse.ArgumentParser(
        description="Train the demo model on scikit-learn's digits.")
    parser.add_argument("--out", type=Path, default=Path("models") / NAME,
                        help="folder for the results (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS,
                        help="passes over the data (default: %(default)s)")
    args = parser.parse_args()

    (x, y), (held_x, held_y) = load_split()
    mean, std = (round(float(v) / 255, 3) for v in (x.mean(), x.std()))
    net = train(x, y, mean, std, args.epochs)
    count = parameter_count(net)
    weights = {key: value.numpy() for key, value in net.state_dict().items()}

    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary)
        export(weights, made)
        held = normalise(held_x, mean, std)
        check_clean(made)
        check_parts(made, np.concatenate(
            [held] + [probe_input(s) for s in PROBE_SEEDS]))

        run = paddle_runner(made, WHOLE)
        right = int((run(held).argmax(axis=1) == held_y).sum())
        accuracy = right / len(held_y)
        print(f"{count} parameters, held-out accuracy "
              f"{accuracy:.2%} ({right} of {len(held_y)})")
        if accuracy < MIN_ACCURACY:
            sys.exit(f"that is below {MIN_ACCURACY:.0%}: nothing was written")

        card = make_card(run, mean, std, accuracy, len(held_y), len(y))
        (made / f"{NAME}.kerf.json").write_text(card_text(card))
        save_images(held_x, held_y, made / "images")
        publish(made, args.out)


if __name__ == "__main__":
    main()
