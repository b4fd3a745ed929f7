"""python port_nets.py FOLDER - a network with two inputs, and the same in two
halves with two tensors between them, all of one shape, as Paddle exports them
in the old form: the feed op of the last input comes first there."""

import os
import sys

os.environ["FLAGS_enable_pir_api"] = "0"

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec


class Head(nn.Layer):
    def forward(self, a, b):
        return a * 2, b * 3 + 1


class Tail(nn.Layer):
    def forward(self, a, b):
        return a - b * b, a * 5


class Whole(nn.Layer):
    def forward(self, a, b):
        return Tail().forward(*Head().forward(a, b))


def main(folder):
    numbers = np.random.default_rng(3)
    pair = [numbers.random((1, 4, 3, 2), np.float32) for _ in range(2)]
    specs = [InputSpec([1, 4, 3, 2], "float32", name) for name in "ab"]
    for name, net in [
        ("whole", Whole()),
        ("pair/client_infer_net", Head()),
        ("pair/server_infer_net", Tail()),
    ]:
        paddle.jit.save(net, f"{folder}/{name}", input_spec=specs)
        open(f"{folder}/{name}.pdiparams", "ab").close()
    for i, array in enumerate(pair):
        np.save(f"{folder}/in{i}.npy", array)
    for i, tensor in enumerate(Whole()(*map(paddle.to_tensor, pair))):
        np.save(f"{folder}/out{i}.npy", tensor.numpy())


if __name__ == "__main__":
    main(sys.argv[1])
