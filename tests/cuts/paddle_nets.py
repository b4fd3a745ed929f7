"""Networks of the zoo that are written here with paddle.nn: detectors, and
what makes cutting hard. Random weights, seeded by who calls.

settle() gives batch normalisations the statistics of what really passes
through them, so that numbers stay in the range of a trained network's.
"""

import paddle
from paddle import nn
from paddle.framework import in_dynamic_or_pir_mode
from paddle.nn import functional as F


def settle(net, *inputs):
    """One training pass: running statistics become those of these inputs;
    scales and shifts get spread as training spreads them."""
    norms = [m for m in net.sublayers(True) if isinstance(m, nn.BatchNorm2D)]
    for norm in norms:
        norm._momentum = 0.0
        norm.weight.set_value(paddle.uniform(norm.weight.shape, min=0.5, max=1.5))
        norm.bias.set_value(paddle.normal(0.0, 0.2, norm.bias.shape))
    net.train()
    with paddle.no_grad():
        net(*inputs)
    for norm in norms:
        norm._momentum = 0.9
    net.eval()
    return net


class ConvNorm(nn.Sequential):
    """Convolution, normalisation, activation."""

    def __init__(self, c_in, c_out, k=3, stride=1, groups=1, act=nn.ReLU):
        conv = nn.Conv2D(c_in, c_out, k, stride, k // 2, groups=groups, bias_attr=False)
        super().__init__(conv, nn.BatchNorm2D(c_out), act())


def many_boxes(boxes, scores, threshold, keep=50):
    """Non-maximum suppression as PaddleDetection exports it."""
    attrs = {
        "background_label": -1, "score_threshold": threshold, "nms_top_k": 200,
        "nms_threshold": 0.45, "keep_top_k": keep, "nms_eta": 1.0, "normalized": True,
    }  # fmt: skip
    if in_dynamic_or_pir_mode():
        out, _, count = paddle._C_ops.multiclass_nms3(
            boxes, scores, None, threshold, 200, keep, 0.45, True, 1.0, -1
        )
        return out, count
    helper = paddle.base.layer_helper.LayerHelper("multiclass_nms3")
    out = helper.create_variable_for_type_inference("float32")
    index = helper.create_variable_for_type_inference("int32")
    count = helper.create_variable_for_type_inference("int32")
    helper.append_op(
        type="multiclass_nms3",
        inputs={"BBoxes": boxes, "Scores": scores},
        attrs=attrs,
        outputs={"Out": out, "Index": index, "NmsRoisNum": count},
    )
    return out, count


# ---- YOLOv3 --------------------------------------------------------------------


def leaky():
    return nn.LeakyReLU(0.1)


class Residual(nn.Layer):
    def __init__(self, c):
        super().__init__()
        self.body = nn.Sequential(ConvNorm(c, c // 2, 1, act=leaky), ConvNorm(c // 2, c, act=leaky))

    def forward(self, x):
        return x + self.body(x)


class Darknet(nn.Layer):
    """Darknet-53's blocks; gives the last three stages."""

    def __init__(self, width, depths=(1, 2, 8, 8, 4)):
        super().__init__()
        self.stem = ConvNorm(3, width, act=leaky)
        self.stages = nn.LayerList()
        for i, depth in enumerate(depths):
            c = width << (i + 1)
            blocks = [ConvNorm(c // 2, c, stride=2, act=leaky)]
            self.stages.append(nn.Sequential(*blocks, *[Residual(c) for _ in range(depth)]))

    def forward(self, x):
        x = self.stem(x)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found[-3:]


class YoloNeck(nn.Sequential):
    def __init__(self, c_in, c):
        layers = []
        for i in range(5):
            k = 1 if i % 2 == 0 else 3
            out = c if k == 1 else c * 2
            layers.append(ConvNorm(c_in if i == 0 else (c if k == 3 else c * 2), out, k, act=leaky))
        super().__init__(*layers)


class YoloV3(nn.Layer):
    """Three heads, yolo_box and multiclass_nms3, inputs im_shape, image and
    scale_factor, as PaddleDetection exports it."""

    ANCHORS = ((116, 90, 156, 198, 373, 326), (30, 61, 62, 45, 59, 119), (10, 13, 16, 30, 33, 23))

    def __init__(self, width=8, classes=4, depths=(1, 2, 8, 8, 4)):
        super().__init__()
        self.classes = classes
        self.backbone = Darknet(width, depths)
        self.necks, self.tips, self.heads, self.routes = (nn.LayerList() for _ in range(4))
        for i in range(3):
            c = width << (4 - i)
            self.necks.append(YoloNeck(c * 2 if i == 0 else c * 3, c))
            self.tips.append(ConvNorm(c, c * 2, act=leaky))
            head = nn.Conv2D(c * 2, 3 * (5 + classes), 1)
            # As in a trained one, most places hold nothing.
            bias = paddle.zeros([3, 5 + classes])
            bias[:, 4] = -5.0
            head.bias.set_value(bias.reshape([-1]))
            self.heads.append(head)
            self.routes.append(ConvNorm(c, c // 2, 1, act=leaky))

    def features(self, image):
        """What the three heads say."""
        stages = self.backbone(image)
        route, maps = None, []
        for i, x in enumerate(reversed(stages)):
            if i > 0:
                x = paddle.concat([route, x], axis=1)
            x = self.necks[i](x)
            maps.append(self.heads[i](self.tips[i](x)))
            x = self.routes[i](x)
            route = F.interpolate(x, size=[n * 2 for n in x.shape[2:]])
        return maps

    def forward(self, im_shape, image, scale_factor):
        size = paddle.cast(paddle.floor(im_shape / scale_factor + 0.5), "int32")
        boxes, scores = [], []
        for i, x in enumerate(self.features(image)):
            box, score = paddle.vision.ops.yolo_box(
                x, size, list(self.ANCHORS[i]), self.classes, 0.01, 32 >> i, True, None, 1.0
            )
            boxes.append(box)
            scores.append(paddle.transpose(score, [0, 2, 1]))
        return many_boxes(paddle.concat(boxes, axis=1), paddle.concat(scores, axis=2), 0.05)


class Features(nn.Layer):
    """A detector up to its heads, for settle()."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        return self.net.features(image)


def yolo(width=8, depths=(1, 2, 8, 8, 4), size=320):
    net = YoloV3(width, depths=depths)
    settle(Features(net), paddle.randn([2, 3, size, size]))
    net.eval()
    return net


# ---- SSD -----------------------------------------------------------------------


class Ssd(nn.Layer):
    """Prior boxes, which need the image for its size only; box decoding."""

    def __init__(self, classes=3):
        super().__init__()
        self.classes = classes
        self.stem = nn.Sequential(ConvNorm(3, 16, stride=2), ConvNorm(16, 32, stride=2))
        self.near, self.far = ConvNorm(32, 48, stride=2), ConvNorm(48, 64, stride=2)
        self.boxes = nn.LayerList([nn.Conv2D(c, 4 * 4, 3, padding=1) for c in (48, 64)])
        self.scores = nn.LayerList([nn.Conv2D(c, 4 * classes, 3, padding=1) for c in (48, 64)])

    def features(self, image):
        near = self.near(self.stem(image))
        return near, self.far(near)

    def forward(self, image):
        priors, variances, boxes, scores = [], [], [], []
        for i, x in enumerate(self.features(image)):
            prior, variance = paddle_prior_box(x, image, 24.0 + 32 * i, 48.0 + 32 * i)
            priors.append(prior.reshape([-1, 4]))
            variances.append(variance.reshape([-1, 4]))
            boxes.append(self.boxes[i](x).transpose([0, 2, 3, 1]).reshape([1, -1, 4]))
            score = self.scores[i](x).transpose([0, 2, 3, 1])
            scores.append(score.reshape([1, -1, self.classes]))
        decoded = paddle.vision.ops.box_coder(
            paddle.concat(priors),
            paddle.concat(variances),
            paddle.concat(boxes, axis=1) * 0.2,
            code_type="decode_center_size",
        )
        score = F.softmax(paddle.concat(scores, axis=1) * 2.0).transpose([0, 2, 1])
        return many_boxes(decoded, score, 0.6)


def paddle_prior_box(x, image, least, most):
    return paddle.vision.ops.prior_box(
        x, image, [least], [most], [1.0, 2.0], flip=True, clip=True, variance=[0.1, 0.1, 0.2, 0.2]
    )


def ssd():
    net = Ssd()
    settle(Features(net), paddle.randn([2, 3, 96, 96]))
    net.eval()
    return net


# ---- what makes cutting hard -----------------------------------------------------


class Shared(nn.Layer):
    """One convolution and one normalisation used three times."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = ConvNorm(3, 12), ConvNorm(12, 12)
        self.out = nn.Linear(12, 5)

    def forward(self, x):
        x = self.block(self.block(self.block(self.stem(x))))
        return self.out(x.mean([2, 3]))


class Early(nn.Layer):
    """Gives what is half-way, too, twice over, and the input's own mean."""

    def __init__(self):
        super().__init__()
        self.first, self.second = ConvNorm(3, 8, stride=2), ConvNorm(8, 16, stride=2)
        self.side, self.out = nn.Linear(8, 4), nn.Linear(16, 6)

    def forward(self, x):
        half = self.first(x)
        side = F.softmax(self.side(half.mean([2, 3])))
        return side, self.out(self.second(half).mean([2, 3])), half, x.mean([1, 2, 3])


class Several(nn.Layer):
    """Three inputs; one meets the others late, one is only scaled with."""

    def __init__(self):
        super().__init__()
        self.left, self.right = ConvNorm(3, 8, stride=2), ConvNorm(1, 8, stride=2)
        self.both, self.out = ConvNorm(16, 16), nn.Linear(16, 4)

    def forward(self, colour, depth, weight):
        x = self.both(paddle.concat([self.left(colour), self.right(depth)], axis=1))
        return self.out(x.mean([2, 3])) * weight


class Shapes(nn.Layer):
    """Reshapes by what the shape operation says, resizes to another map's
    size, and a slice whose ends are computed."""

    def __init__(self):
        super().__init__()
        self.first, self.second = ConvNorm(3, 8, stride=2), ConvNorm(8, 8, stride=2)
        self.out = nn.Linear(8, 4)

    def forward(self, x):
        wide = self.first(x)
        deep = self.second(wide)
        deep = F.interpolate(deep, size=paddle.shape(wide)[2:], mode="nearest")
        x = wide + deep
        n = paddle.shape(x)[0]
        x = x.reshape([n, 8, -1]).transpose([0, 2, 1])
        half = paddle.shape(x)[1] // 2
        return self.out(x[:, :half].mean(1))


class Block(nn.Layer):
    """Self-attention, as in a vision transformer."""

    def __init__(self, d, heads):
        super().__init__()
        self.heads, self.d = heads, d
        self.norm, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, d * 3), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, d * 2), nn.GELU(), nn.Linear(d * 2, d))

    def forward(self, x):
        y = self.qkv(self.norm(x)).reshape([0, -1, 3, self.heads, self.d // self.heads])
        q, k, v = paddle.unbind(y.transpose([2, 0, 3, 1, 4]), 0)
        at = F.softmax(paddle.matmul(q, k, transpose_y=True) * (self.d // self.heads) ** -0.5)
        y = paddle.matmul(at, v).transpose([0, 2, 1, 3]).reshape([0, -1, self.d])
        x = x + self.proj(y)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Layer):
    """A small vision transformer: patches, a class token, places, two blocks."""

    def __init__(self, d=32, heads=4, size=32, patch=8):
        super().__init__()
        self.d = d
        self.patch = nn.Conv2D(3, d, patch, patch)
        places = (size // patch) ** 2 + 1
        normal = nn.initializer.TruncatedNormal(std=0.2)
        self.token = self.create_parameter([1, 1, d], default_initializer=normal)
        self.place = self.create_parameter([1, places, d], default_initializer=normal)
        self.blocks = nn.Sequential(Block(d, heads), Block(d, heads))
        self.norm, self.out = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose([0, 2, 1])
        x = paddle.concat([self.token.expand([paddle.shape(x)[0], -1, -1]), x], axis=1)
        x = self.blocks(x + self.place)
        return F.softmax(self.out(self.norm(x)[:, 0]))


class UNet(nn.Layer):
    """Long skips and transposed convolutions; a map comes out."""

    def __init__(self, c=8, depth=3):
        super().__init__()
        self.down, self.up, self.join = nn.LayerList(), nn.LayerList(), nn.LayerList()
        for i in range(depth):
            self.down.append(ConvNorm(3 if i == 0 else c << (i - 1), c << i))
        for i in reversed(range(depth - 1)):
            self.up.append(nn.Conv2DTranspose(c << (i + 1), c << i, 2, 2))
            self.join.append(ConvNorm(c << (i + 1), c << i))
        self.out = nn.Conv2D(c, 2, 1)

    def forward(self, x):
        kept = []
        for i, layer in enumerate(self.down):
            x = layer(x if i == 0 else F.max_pool2d(x, 2, 2))
            kept.append(x)
        for up, join, skip in zip(self.up, self.join, kept[-2::-1]):
            x = join(paddle.concat([up(x), skip], axis=1))
        return F.sigmoid(self.out(x))


class Reader(nn.Layer):
    """Convolutions, a two-way LSTM, and a class for each column: text."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            ConvNorm(3, 16, stride=2), ConvNorm(16, 24, stride=2), nn.MaxPool2D((8, 1))
        )
        self.lstm = nn.LSTM(24, 16, direction="bidirect")
        # Paddle 3.3.1 does not save it into an old program while it is nowhere.
        paddle.assign(paddle.zeros([1], "uint8"), self.lstm._dropout_state)
        self.out = nn.Linear(32, 11)

    def forward(self, x):
        x = self.body(x).squeeze(2).transpose([0, 2, 1])
        return F.softmax(self.out(self.lstm(x)[0]))


class Words(nn.Layer):
    """Integers in: an embedding; the branch taken is chosen by a mask."""

    def __init__(self):
        super().__init__()
        self.table, self.body, self.out = nn.Embedding(50, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, ids):
        mask = paddle.cast(ids > 0, "float32").unsqueeze(2)
        x = F.tanh(self.body(self.table(ids))) * mask
        return self.out(paddle.sum(x, 1) / paddle.clip(paddle.sum(mask, 1), min=1.0))


class Gate(nn.Layer):
    """Squeeze-and-excitation, hard activations, dropout, split and stack, a
    constant made in the graph: small operations of mobile networks."""

    def __init__(self):
        super().__init__()
        self.stem = ConvNorm(3, 16, stride=2, act=nn.Hardswish)
        self.squeeze, self.excite = nn.Conv2D(16, 4, 1), nn.Conv2D(4, 16, 1)
        self.depth = ConvNorm(16, 16, groups=16, act=nn.ReLU6)
        self.drop, self.out = nn.Dropout(0.2), nn.Linear(16, 5)

    def forward(self, x):
        x = self.stem(x)
        at = F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))
        x = x * F.hardsigmoid(self.excite(at))
        a, b = paddle.split(self.depth(x), 2, axis=1)
        a = paddle.stack([a, b], axis=2).flatten(1, 2) + paddle.full([1], 0.25)
        x = self.drop(F.swish(a).mean([2, 3]))
        return self.out(x)


class Efficient(nn.Layer):
    """Inverted bottlenecks with swish and squeeze-and-excitation by reshapes; a
    grouped convolution whose channels are shuffled."""

    def __init__(self, c=8):
        super().__init__()
        self.stem = ConvNorm(3, c, stride=2, act=nn.Swish)
        self.wide = ConvNorm(c, 4 * c, 1, act=nn.Silu)
        self.deep = ConvNorm(4 * c, 4 * c, groups=4 * c, act=nn.Hardswish)
        self.squeeze, self.excite = nn.Linear(4 * c, c), nn.Linear(c, 4 * c)
        self.narrow = ConvNorm(4 * c, c, 1, groups=2, act=nn.Identity)
        self.out = nn.Linear(c, 5)

    def forward(self, x):
        x = self.stem(x)
        y = self.deep(self.wide(x))
        at = F.sigmoid(self.excite(F.silu(self.squeeze(y.mean([2, 3])))))
        y = self.narrow(y * at.reshape([-1, at.shape[1], 1, 1]))
        size = paddle.shape(y)
        n, c, h, w = (size[i] for i in range(4))
        y = y.reshape([n, 2, c // 2, h, w]).transpose([0, 2, 1, 3, 4]).reshape([n, c, h, w])
        return self.out((x + y).mean([2, 3]))


class Mask(nn.Layer):
    """A U-Net that resizes to the size of its skips, padding on the way; a map of
    classes comes out."""

    def __init__(self, c=8):
        super().__init__()
        self.one, self.two = ConvNorm(3, c, stride=2), ConvNorm(c, 2 * c, stride=2)
        self.deep = ConvNorm(2 * c, 2 * c, stride=2, act=nn.LeakyReLU)
        self.join = nn.LayerList([ConvNorm(4 * c, c), ConvNorm(2 * c, c)])
        self.pad, self.out = nn.Pad2D([1, 1, 1, 1], mode="reflect"), nn.Conv2D(c, 4, 3)

    def forward(self, x):
        one = self.one(x)
        two = self.two(one)
        y = self.deep(two)
        for skip, join in zip((two, one), self.join):
            size = paddle.shape(skip)[2:]
            y = F.interpolate(y, size, mode="bilinear", align_corners=False)
            y = join(paddle.concat([y, skip], 1))
        y = self.out(self.pad(y))
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        return F.softmax(y, axis=1)
