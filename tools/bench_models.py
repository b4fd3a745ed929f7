"""Files of weights in the sizes of the reference's study, for `kerf bench codec`.

    python tools/bench_models.py DIR

Networks of paddle.vision as their constructors make them: random weights from a
fixed seed, so that they stand for sizes and speeds; what trained weights compress
to is told by real models. What is in DIR already stays.
"""

import os
import sys
from pathlib import Path

os.environ["FLAGS_enable_pir_api"] = "0"  # .pdmodel, as Paddle 2 writes it
SEED = 5
# Near 3, 11.8, 17, 46.8, 87.3, 102 and 184 MB.
MODELS = {
    "shufflenet_v2_x0_33": {},
    "mobilenet_v3_small": {"scale": 1.1},
    "mobilenet_v1": {},
    "resnet18": {},
    "resnet34": {},
    "resnet50": {},
    "resnet101": {},
}


def make(paddle, name, args, folder):
    paddle.seed(SEED)
    net = getattr(paddle.vision.models, name)(pretrained=False, **args)
    net.eval()
    image = paddle.static.InputSpec([1, 3, 224, 224], "float32", "x")
    # Under another name until it is whole: .pdiparams is what is looked for.
    paddle.jit.save(net, str(folder / f"{name}.part"), [image])
    (folder / f"{name}.part.pdmodel").unlink()
    (folder / f"{name}.part.pdiparams.info").unlink(missing_ok=True)
    (folder / f"{name}.part.pdiparams").rename(folder / f"{name}.pdiparams")


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {n: a for n, a in MODELS.items() if not (folder / f"{n}.pdiparams").exists()}
    if wanted:
        import paddle  # takes seconds

        for name, args in wanted.items():
            make(paddle, name, args, folder)


if __name__ == "__main__":
    main()
