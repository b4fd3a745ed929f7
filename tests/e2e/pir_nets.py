"""Networks as Paddle 3 exports them (.json), for test_pir.py.

Run as a program, since Paddle decides at its import which form it writes:
pir_nets.py FOLDER NAME... makes FOLDER/NAME/inference.json with its weights,
and inputs and answers as in0.npy, ..., out0.npy, ...
"""

import os
import sys

import numpy as np

os.environ.pop("FLAGS_enable_pir_api", None)
import paddle  # noqa: E402
import paddle.nn.functional as F  # noqa: E402, N812
from paddle import nn  # noqa: E402
from paddle.static import InputSpec  # noqa: E402
from paddle.vision import models, ops  # noqa: E402

PHOTO = InputSpec([-1, 3, 64, 64], "float32", "x")


class ConvUnit(nn.Layer):
    """Convolution, normalisation, activation."""

    def __init__(self, inputs, outputs, size=3, stride=1, act=F.relu):
        super().__init__()
        self.conv = nn.Conv2D(inputs, outputs, size, stride, size // 2, bias_attr=False)
        self.norm = nn.BatchNorm2D(outputs)
        self.act = act

    def forward(self, x):
        return self.act(self.norm(self.conv(x)))


def leaky(x):
    return F.leaky_relu(x, 0.1)


class Yolo(nn.Layer):
    """Two scales, as YOLOv3 has three, with boxes and their suppression."""

    specs = [
        InputSpec([1, 3, 64, 64], "float32", "image"),
        InputSpec([1, 2], "int32", "im_size"),
    ]

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 8, 3, 2, leaky), ConvUnit(8, 16, 3, 2, leaky))
        self.block = nn.Sequential(ConvUnit(16, 8, 1, 1, leaky), ConvUnit(8, 16, 3, 1, leaky))
        self.c4, self.c5 = ConvUnit(16, 32, 3, 2, leaky), ConvUnit(32, 32, 3, 2, leaky)
        self.h5, self.h4 = nn.Conv2D(32, 27, 1), nn.Conv2D(48, 27, 1)
        self.up = ConvUnit(32, 16, 1, 1, leaky)

    def forward(self, x, size):
        x = self.stem(x)
        c4 = self.c4(x + self.block(x))
        c5 = self.c5(c4)
        up = F.interpolate(self.up(c5), scale_factor=2.0, mode="nearest")
        p4, p5 = self.h4(paddle.concat([up, c4], axis=1)), self.h5(c5)
        boxes4, scores4 = ops.yolo_box(p4, size, [4, 5, 8, 9, 14, 17], 4, 0.01, 8)
        boxes5, scores5 = ops.yolo_box(p5, size, [10, 14, 23, 27, 37, 58], 4, 0.01, 16)
        boxes = paddle.concat([boxes5, boxes4], 1)
        scores = paddle.transpose(paddle.concat([scores5, scores4], 1), [0, 2, 1])
        found, _, count = paddle._C_ops.multiclass_nms3(
            boxes, scores, None, 0.3, 100, 20, 0.45, True, 1.0, -1
        )
        return found, count


class Ssd(nn.Layer):
    """Heads of two scales over their default boxes."""

    specs = [InputSpec([1, 3, 64, 64], "float32", "image")]

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(ConvUnit(3, 8, 3, 2), ConvUnit(8, 16, 3, 2, F.relu6))
        self.second = ConvUnit(16, 16, 3, 2)
        self.place = nn.LayerList([nn.Conv2D(16, 16, 3, padding=1) for _ in range(2)])
        self.score = nn.LayerList([nn.Conv2D(16, 20, 3, padding=1) for _ in range(2)])

    def forward(self, image):
        first = self.first(image)
        places, scores, priors, spreads = [], [], [], []
        for i, features in enumerate([first, self.second(first)]):
            place = paddle.transpose(self.place[i](features), [0, 2, 3, 1])
            score = paddle.transpose(self.score[i](features), [0, 2, 3, 1])
            prior, spread = ops.prior_box(
                features, image, [10.0 + 10 * i], [20.0 + 20 * i], [2.0], flip=True, clip=True
            )
            places.append(paddle.reshape(place, [0, -1, 4]))
            scores.append(paddle.reshape(score, [0, -1, 5]))
            priors.append(paddle.reshape(prior, [-1, 4]))
            spreads.append(paddle.reshape(spread, [-1, 4]))
        boxes = ops.box_coder(
            paddle.concat(priors), paddle.concat(spreads), paddle.concat(places, 1),
            "decode_center_size", False, axis=0,
        )  # fmt: skip
        return boxes, F.softmax(paddle.concat(scores, 1))


class TextFinder(nn.Layer):
    """A backbone with squeeze and excitation, and a head that grows again."""

    specs = [InputSpec([-1, 3, -1, -1], "float32", "x")]

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(ConvUnit(3, 8, 3, 2, F.hardswish), ConvUnit(8, 16, 3, 2))
        self.second = ConvUnit(16, 16, 3, 2, F.hardswish)
        self.squeeze, self.excite = nn.Conv2D(16, 4, 1), nn.Conv2D(4, 16, 1)
        self.lateral = nn.LayerList([nn.Conv2D(16, 12, 1, bias_attr=False) for _ in range(2)])
        self.grow, self.norm = nn.Conv2DTranspose(12, 6, 2, 2), nn.BatchNorm2D(6)
        self.last = nn.Conv2DTranspose(6, 1, 2, 2)

    def forward(self, x):
        first = self.first(x)
        second = self.second(first)
        weights = F.relu(self.squeeze(F.adaptive_avg_pool2d(second, 1)))
        second = second * F.hardsigmoid(self.excite(weights), slope=0.2, offset=0.5)
        deep = F.upsample(self.lateral[1](second), scale_factor=2, mode="nearest", align_mode=1)
        grown = F.relu(self.norm(self.grow(self.lateral[0](first) + deep)))
        return F.sigmoid(self.last(grown))


class Attention(nn.Layer):
    """One block of a vision transformer, for any batch."""

    specs = [InputSpec([-1, 3, 32, 32], "float32", "x")]

    def __init__(self, width=24, heads=3):
        super().__init__()
        self.width, self.heads = width, heads
        self.patch = nn.Conv2D(3, width, 8, 8)
        self.token = self.create_parameter([1, 1, width])
        self.place = self.create_parameter([1, 17, width])
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down, self.head = (
            nn.Linear(width, 48),
            nn.Linear(48, width),
            nn.Linear(width, 10),
        )
        self.drop = nn.Dropout(0.1)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose([0, 2, 1])
        batch = paddle.shape(x)[0]
        x = paddle.concat([self.token.expand([batch, -1, -1]), x], 1) + self.place
        shape = [0, 17, 3, self.heads, self.width // self.heads]
        qkv = self.qkv(self.norm1(x)).reshape(shape).transpose([2, 0, 3, 1, 4])
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = paddle.matmul(q * shape[-1] ** -0.5, k, transpose_y=True)
        mixed = paddle.matmul(self.drop(F.softmax(scores)), v)
        x = x + self.proj(mixed.transpose([0, 2, 1, 3]).reshape([0, 17, self.width]))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(x[:, 0])


class Reader(nn.Layer):
    """Columns of a picture as a sequence."""

    specs = [InputSpec([-1, 3, 8, 32], "float32", "x")]

    def __init__(self):
        super().__init__()
        self.conv, self.lstm = ConvUnit(3, 8), nn.LSTM(8, 6, 2, direction="bidirect")
        self.words, self.head = nn.Embedding(7, 5), nn.Linear(17, 7)

    def forward(self, x):
        x = F.max_pool2d(self.conv(x), [8, 1]).squeeze(2).transpose([0, 2, 1])
        x, _ = self.lstm(x)
        best = paddle.argmax(x[:, :, :7], axis=-1)
        return F.softmax(self.head(paddle.concat([self.words(best), x], 2)))


def tensors(values):
    return [paddle.assign(v) for v in values]


class Maths(nn.Layer):
    """Element by element, and sums along axes."""

    specs = [InputSpec([2, 4, 6], "float32", "x"), InputSpec([3], "int64", "i")]

    def forward(self, x, i):
        a = paddle.abs(x) + 0.1
        out = [F.relu(x), F.relu6(x * 9), F.sigmoid(x), paddle.tanh(x), F.silu(x), F.swish(x)]
        out += [F.hardswish(x), F.hardsigmoid(x), F.leaky_relu(x, 0.2), F.elu(x, 0.7), F.gelu(x)]
        out += [F.gelu(x, True), F.hardtanh(x, -0.5, 0.4), F.softplus(x), F.softshrink(x, 0.3)]
        out += [F.tanhshrink(x), paddle.exp(x), paddle.log(a), paddle.sqrt(a), paddle.rsqrt(a)]
        out += [paddle.square(x), paddle.reciprocal(a), paddle.floor(x), paddle.ceil(x), -x]
        out += [paddle.round(x * 3), paddle.sin(x), paddle.cos(x), paddle.atan2(x, a), a**1.5]
        out += [paddle.pow(a, x), paddle.clip(x, -0.5, 0.5), paddle.scale(x, 2.0, 1.0, False)]
        out += [
            x / 4,
            2 / a,
            1 - x,
            paddle.maximum(x, x[0]),
            paddle.minimum(x, paddle.to_tensor(0.25)),
        ]
        out += [paddle.max(x, [1, 2]), paddle.min(x, -1, True), paddle.sum(x), paddle.mean(x, 1)]
        out += [paddle.prod(x, 2), paddle.amax(x, 1), paddle.any(x > 1, 1).astype("int32")]
        out += [paddle.all(x > -2, 1).astype("int32"), paddle.sum(x > 0, 1), paddle.cumsum(x, 1)]
        out += [paddle.norm(x, p=2, axis=-1), F.normalize(x, axis=1), F.softmax(x, 1)]
        out += [paddle.bmm(x, x.transpose([0, 2, 1])), paddle.matmul(x, x, transpose_x=True)]
        out += [i % 2, i // 2, paddle.add_n([x, x, a]), F.dropout(x, 0.3, training=False)]
        return tensors(out)


class Pieces(nn.Layer):
    """Shapes, pieces, choices, constants."""

    specs = [InputSpec([2, 4, 6], "float32", "x"), InputSpec([3], "int64", "i")]

    def forward(self, x, i):
        out = [*paddle.split(x, 3, 2), *paddle.split(x, [1, -1], 1), *paddle.unbind(x, 0)]
        out += [paddle.stack([x, x * 2], 1), paddle.unsqueeze(x, [0, 2]), x[:1].squeeze(0)]
        out += [paddle.expand(x.unsqueeze(1), [-1, 3, -1, -1]), paddle.tile(x, [1, 2, 1])]
        out += [
            paddle.expand_as(x[:1], x),
            x.flatten(1),
            x.reshape([0, 2, -1]),
            paddle.flip(x, [2]),
        ]
        out += [paddle.roll(x, 1, 2), x[:, 1:3, ::2], x[0], x[:, -1], x[:, ::-1]]
        out += [paddle.tril(x[0]), paddle.triu(x[0], 1), *paddle.meshgrid(x[0, 0], x[0, :, 0])]
        out += [
            paddle.argmax(x, -1),
            paddle.argmin(x, 1),
            *paddle.topk(x, 2),
            paddle.cast(x, "int32"),
        ]
        out += [paddle.gather(x, i, axis=2), paddle.index_select(x, i, 1), F.one_hot(i, 6)]
        out += [paddle.gather_nd(x, paddle.to_tensor([[0, 1], [1, 2]]))]
        out += [paddle.take_along_axis(x, paddle.to_tensor([[[0, 1]]]), 2)]
        out += [paddle.scatter(x[0], paddle.to_tensor([0, 2]), x[1][:2]), paddle.nonzero(x > 0)]
        out += [paddle.where((x > 0.5).logical_or(x < -0.5), x, x * 0.1), paddle.unique(i)]
        out += [paddle.where(x > 0, x, paddle.full([1], float("-inf"))), paddle.arange(6.0) + x]
        out += [paddle.full([2, 4, 6], 1.5) * x, paddle.zeros_like(x) + 1, paddle.eye(6) + x[0, :1]]
        out += [paddle.linspace(0, 1, 6) + x, paddle.to_tensor([[1.5, 2, 3, 4, 5, 6]]) * x]
        out += [paddle.where(paddle.to_tensor([True, False] * 3), x, -x)]
        return tensors(out)


class Images(nn.Layer):
    """What takes pictures, of any batch."""

    specs = [InputSpec([-1, 4, 8, 8], "float32", "m"), InputSpec([1, 3, 3, 2], "float32", "grid")]

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2D(4, 6, 3, dilation=2, groups=2, padding=[1, 0, 2, 1])
        self.deep, self.grow = (
            nn.Conv2D(4, 8, 3, groups=4),
            nn.Conv2DTranspose(4, 4, 4, 2, 1, groups=4),
        )
        self.offset, self.mask = nn.Conv2D(4, 18, 3, padding=1), nn.Conv2D(4, 9, 3, padding=1)
        self.bent = ops.DeformConv2D(4, 5, 3, padding=1)
        self.group, self.layer = nn.GroupNorm(2, 4), nn.LayerNorm([8, 8])

    def forward(self, m, grid):
        n = paddle.shape(m)
        out = [self.wide(m), self.deep(m), self.grow(m), self.bent(m, self.offset(m))]
        out += [self.bent(m, self.offset(m), F.sigmoid(self.mask(m))), self.group(m), self.layer(m)]
        out += [F.max_pool2d(m, 3, 2, 1, ceil_mode=True), F.avg_pool2d(m, 3, 2, 1)]
        out += [F.avg_pool2d(m, 3, 2, 1, exclusive=False), F.adaptive_avg_pool2d(m, 3)]
        out += [F.avg_pool2d(m, 2, padding="SAME"), F.max_pool3d(m.unsqueeze(2), [1, 2, 2])]
        for how in (
            {"size": [9, 12], "mode": "bilinear"},
            {"scale_factor": 2, "mode": "bilinear", "align_corners": True},
            {"scale_factor": [2, 3], "mode": "bicubic"},
            {"scale_factor": 2, "mode": "nearest"},
            {"size": [n[2] * 2, n[3] * 2], "mode": "nearest"},
        ):
            out.append(F.interpolate(m, **how))
        out += [F.pad(m, [1, 1, 2, 0], mode) for mode in ("constant", "reflect", "replicate")]
        out += [F.grid_sample(m, grid), m.reshape([n[0], -1, 16]), m[:, :, : n[2] - 1]]
        out += [paddle.zeros([n[0], 3]), paddle.tile(m, [1, n[1], 1, 1]), paddle.arange(n[1])]
        boxes = (m[0, 0, :3, :4].abs() + paddle.to_tensor([0.0, 0, 3, 3])).reshape([3, 4])
        out.append(ops.roi_align(m, boxes, paddle.to_tensor([3], dtype="int32"), 2))
        return tensors(out)


class Branches(nn.Layer):
    """Control flow, which stays untranslated."""

    specs = [InputSpec([1, 4], "float32", "x")]

    def forward(self, x):
        if paddle.sum(x) > 0:
            x = x * 2
        return F.mish(x)


NETS = {
    "yolo": Yolo,
    "ssd": Ssd,
    "text": TextFinder,
    "attention": Attention,
    "reader": Reader,
    "maths": Maths,
    "pieces": Pieces,
    "images": Images,
    "branches": Branches,
}


def make_net(name):
    """(network, its inputs): one of ours, or one of paddle.vision's."""
    if name in NETS:
        return NETS[name](), NETS[name].specs
    if name == "LeNet":
        return models.LeNet(), [InputSpec([-1, 1, 28, 28], "float32", "x")]
    return getattr(models, name)(), [PHOTO]


def make_input(numbers, spec):
    shape = [(64 if i > 1 else 1) if n < 0 else n for i, n in enumerate(spec.shape)]
    if spec.name == "im_size":
        return np.full(shape, 64, np.int32)
    if spec.name == "i":
        return numbers.integers(0, 4, shape)
    return numbers.standard_normal(shape).astype(np.float32)


def liven(net, numbers):
    """Running means and variances that are not 0 and 1."""
    for name, value in net.state_dict().items():
        if name.endswith("_variance"):
            value.set_value(numbers.uniform(0.5, 1.5, value.shape).astype(np.float32))
        elif name.endswith("_mean"):
            value.set_value(numbers.uniform(-0.2, 0.2, value.shape).astype(np.float32))


def export(folder, name):
    numbers = np.random.default_rng(4)
    paddle.seed(4)
    net, specs = make_net(name)
    net.eval()
    liven(net, numbers)
    inputs = [make_input(numbers, spec) for spec in specs]
    outputs = net(*[paddle.to_tensor(a) for a in inputs])
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    paddle.jit.save(net, f"{folder}/{name}/inference", input_spec=specs)
    for i, tensor in enumerate(inputs):
        np.save(f"{folder}/{name}/in{i}.npy", tensor)
    for i, tensor in enumerate(outputs):
        np.save(f"{folder}/{name}/out{i}.npy", tensor.numpy())


if __name__ == "__main__":
    for net_name in sys.argv[2:]:
        export(sys.argv[1], net_name)
