"""python differ_nets.py FOLDER - exports one op per network with Paddle, with an
input and Paddle's answer: FOLDER/differs/NAME.json, .in.npy, .out.npy, and
FOLDER/agrees/... In a process of its own, since Paddle's mode is set once."""

import os
import sys

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional
from paddle.static import InputSpec


class Call(nn.Layer):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


class Grown(nn.Layer):
    """A transposed convolution to that size."""

    def __init__(self, size):
        super().__init__()
        self.size = size
        self.grow = nn.Conv2DTranspose(3, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return self.grow(x, output_size=self.size)


def nearest(**size):
    return Call(lambda x: functional.interpolate(x, mode="nearest", **size))


def over(divisor):
    return Call(lambda x: paddle.floor_divide(x, paddle.full_like(x, divisor)))


def nets():
    """What the engine is known to compute otherwise, and its nearest kin."""
    pool, adaptive, grow = nn.AvgPool2D, nn.AdaptiveAvgPool2D, nn.Conv2DTranspose
    return {
        "differs": {
            "arg_max": Call(lambda x: paddle.argmax(x, axis=1, keepdim=True)),
            "arg_min": Call(lambda x: paddle.argmin(x, axis=-1, keepdim=True)),
            "conv2d": nn.Conv2D(3, 4, 3, padding="SAME", dilation=2),
            "depthwise_conv2d": nn.Conv2D(3, 3, 3, padding="SAME", dilation=2, groups=3),
            "conv2d_transpose_padding": grow(3, 4, 3, stride=2, padding=1, output_padding=1),
            "conv2d_transpose_size": Grown([16, 16]),
            "conv2d_transpose_same": grow(3, 4, 3, stride=2, padding="SAME"),
            "pool2d_row": adaptive([1, 4]),
            "pool2d_column": adaptive([8, 1]),
            "max_pool2d_with_index": nn.AdaptiveMaxPool2D([8, 1]),
            "pool2d_lopsided": pool(3, 2, padding=[0, 1, 1, 0], exclusive=False),
            "pool2d_ceil": pool(3, 2, padding=1, exclusive=False, ceil_mode=True),
            "nearest_interp_v2_size": nearest(size=[5, 8]),
            "nearest_interp_v2_scale": nearest(scale_factor=0.3),
            "elementwise_floordiv": over(0.3),
        },
        "agrees": {
            "arg_max": Call(lambda x: paddle.argmax(x, axis=1)),
            "conv2d": nn.Conv2D(3, 4, 3, padding="SAME"),
            "conv2d_dilated": nn.Conv2D(3, 4, 3, padding=2, dilation=2),
            "conv2d_transpose": grow(3, 4, 4, stride=2, padding=1),
            "conv2d_transpose_size": Grown([15, 15]),
            "conv2d_transpose_valid": grow(3, 4, 3, stride=2, padding="VALID"),
            "pool2d_one": adaptive(1),
            "pool2d_three": adaptive([3, 2]),
            "pool2d_padded": pool(3, 2, padding=1, exclusive=False),
            "pool2d_ceil": pool(3, 2, padding=1, ceil_mode=True),
            "nearest_interp_v2_half": nearest(scale_factor=0.5),
            "nearest_interp_v2_larger": nearest(size=[13, 11]),
        },
    }


def main(folder):
    paddle.seed(8)
    x = np.random.default_rng(8).random((1, 3, 8, 8), np.float32)
    for kind, named in nets().items():
        os.makedirs(f"{folder}/{kind}", exist_ok=True)
        for name, net in named.items():
            net.eval()
            path = f"{folder}/{kind}/{name}"
            np.save(f"{path}.out.npy", net(paddle.to_tensor(x)).numpy())
            paddle.jit.save(net, path, input_spec=[InputSpec([1, 3, 8, 8], "float32", "x")])
            if not os.path.exists(f"{path}.pdiparams"):
                open(f"{path}.pdiparams", "wb").close()
    np.save(f"{folder}/x.npy", x)


if __name__ == "__main__":
    main(sys.argv[1])
