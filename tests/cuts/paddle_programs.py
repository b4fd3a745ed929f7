"""Paddle programs that are put together operation by operation, because no
layer of paddle.nn exports them so: in-place writes and control flow. Only in
the old form."""

import paddle
from paddle import nn
from paddle.nn import functional as F


def conv(x, name):
    """3x3 to 8 channels, by the operation itself."""
    scale = nn.initializer.Normal(0.0, (2 / (9 * x.shape[1])) ** 0.5)
    weight = paddle.static.create_parameter(
        [8, x.shape[1], 3, 3], "float32", name=name, default_initializer=scale
    )
    return F.conv2d(x, weight, padding=1)


def in_place(x):
    """Names that are written again, as operations 'in place' write them."""
    block = paddle.static.default_main_program().global_block()

    def again(kind, v, **attrs):
        block.append_op(type=kind, inputs={"X": [v]}, outputs={"Out": [v]}, attrs=attrs)

    y = conv(x, "first")
    again("relu", y)
    side = paddle.mean(y, axis=[2, 3])
    again("scale", y, scale=0.5, bias=0.1, bias_after_scale=True)
    z = conv(y, "second")
    again("relu", z)
    total = y + z
    again("tanh", y)
    return [paddle.mean(total, axis=[2, 3]) + side + paddle.mean(y, axis=[2, 3])]


def square(name):
    scale = nn.initializer.Normal(0.0, 0.4)
    return paddle.static.create_parameter([6, 6], "float32", name=name, default_initializer=scale)


def loop(x):
    """A while loop with a weight that is used outside of it too. What leaves
    early is overwritten by the loop."""
    weight = square("shared_w")
    early = F.relu(paddle.matmul(x, weight))
    i, end = paddle.full([1], 0, "int64"), paddle.full([1], 3, "int64")

    def go_on(i, _):
        return paddle.less_than(i, end)

    def step(i, h):
        return [i + 1, paddle.tanh(paddle.matmul(h, weight))]

    i, h = paddle.static.nn.while_loop(go_on, step, [i, early])
    return [early, F.softmax(paddle.matmul(h, square("last_w")))]


def branches(x):
    """Two conditional blocks, of which one runs, before and behind layers.
    (static.nn.cond cannot be built any more: Paddle 3.3.1 lost logical_not.)"""
    flow = paddle.static.nn.control_flow
    before = paddle.tanh(paddle.matmul(x, square("before")))
    mean, zero = paddle.mean(x), paddle.full([], 0.0)
    is_more, is_less = paddle.less_than(zero, mean), paddle.less_equal(mean, zero)

    def branch(condition, name, function):
        out = paddle.static.default_main_program().current_block()
        out = out.create_var(name=name, dtype="float32", shape=[1, 6])
        with flow.ConditionalBlock([condition], is_scalar_condition=True).block():
            paddle.assign(function(before), out)
        return out

    more = branch(is_more, "more", lambda h: F.relu(h) * 2.0)
    less = branch(is_less, "less", lambda h: paddle.matmul(h, square("inside")))
    y = flow.select_input([less, more], paddle.cast(is_more, "int32"))
    return [F.softmax(paddle.matmul(y, square("behind")))]
