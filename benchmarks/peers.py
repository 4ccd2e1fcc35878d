"""How long does a training step take, against pythae's on the same work?

    python3 -m venv /tmp/pythae
    /tmp/pythae/bin/pip install torch==2.13.0 pythae==0.1.2
    python benchmarks/peers.py --peer-python /tmp/pythae/bin/python

FactorVAE and beta-VAE on 64 x 64 images, the networks of Burgess et al. 2018, 64 images for each
player: FactorVAE is fed 128, and pythae's discriminator gets the sixth layer that it lacks. Both
sides train by their own loops (`fit`; pythae's trainers, data loader and all), each in a process of
its own, in turns. All have the environment that the command line chooses: without its wait policy,
PyTorch's threads spin (`--as-they-come`). Prints JSON: medians in milliseconds a step of wall clock
and processor time; `faster` is pythae's time over ours within a round, by the wall clock and by
processor time, which moves less with the load of the machine.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from turns import answer, report, take_turns

METHODS = ("factor_vae", "beta_vae")
BACKENDS = ("torch", "tensorflow", "jax")
PEER = "pythae"
SIZE, LATENTS, BETA, GAMMA = 64, 10, 4.0, 35.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="Python that has pythae")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--batch-size", type=int, default=64, help="images for each player")
    parser.add_argument("--as-they-come", action="store_true", help="threads and wait policy")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="timed steps of a round")
    parser.add_argument("--out", type=Path, help="write the JSON there too")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not (args.child or args.peer_python):
        parser.error("--peer-python is the Python of an environment with pythae.")
    return args


def main() -> None:
    """Measure and print."""
    args = arguments()
    if args.child:
        side, method = args.child
        (peer if side == PEER else ours)(method, args)
        return
    report(args, lambda: {method: compared(method, args) for method in args.methods})


def compared(method: str, args: argparse.Namespace) -> dict[str, dict]:
    """Return the times of one method on all sides."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    if not args.as_they_come:
        from keras_disent._utils.threads import thread_env

        environment |= thread_env()
    processes = {}
    for side in (PEER, *args.backends):
        python = args.peer_python if side == PEER else sys.executable
        command = [python, __file__, *sys.argv[1:], "--child", side, method]
        processes[side] = command, {**environment, "KERAS_BACKEND": side}
    times = take_turns(processes, args.rounds)
    result = {}
    for side, own in times.items():
        result[side] = {
            "wall": round(statistics.median(wall for wall, _ in own), 1),
            "processor": round(statistics.median(cpu for _, cpu in own), 1),
        }
        if side != PEER:
            ratios = [
                [theirs / mine for theirs, mine in zip(*turn, strict=True)]
                for turn in zip(times[PEER], own, strict=True)
            ]
            names = ("faster", "faster_by_processor_time")
            medians = map(statistics.median, zip(*ratios, strict=True))
            result[side] |= {n: round(v, 2) for n, v in zip(names, medians, strict=True)}
    return result


def pictures(number: int):
    """Return uint8 images (n, 64, 64, 1) of noise: the work does not depend on them."""
    import numpy as np

    return np.random.default_rng(0).integers(256, size=(number, SIZE, SIZE, 1), dtype="uint8")


def ours(method: str, args: argparse.Namespace) -> None:
    """Train by `fit` whenever a line comes in."""
    import keras

    from keras_disent.models import MODELS

    options = {"gamma": GAMMA} if method == "factor_vae" else {"beta": BETA}
    model = MODELS[method].with_networks(
        (SIZE, SIZE, 1), LATENTS, "burgess", 1.0, seed=0, **options
    )
    model.compile(keras.optimizers.Adam(1e-4))
    fed = args.batch_size * len(model.players)
    images = pictures(fed * args.steps)
    model.fit(images[: 3 * fed], batch_size=fed, verbose=0)  # compiles
    answer(lambda: model.fit(images, batch_size=fed, verbose=0), args.steps)


def peer(method: str, args: argparse.Namespace) -> None:
    """Train by pythae's trainer whenever a line comes in."""
    import pythae.models as models
    import pythae.trainers as trainers
    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from torch import nn

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            filters = (1, 32, 32, 32, 32)
            convolutions = [nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(filters, filters[1:])]  # noqa: B905, RUF007
            dense = [nn.Linear(512, 256), nn.Linear(256, 256)]
            steps = [*convolutions, nn.Flatten(), *dense]
            self.features = nn.Sequential(*_with_relu(steps, nn.ReLU))
            self.embedding, self.variance = nn.Linear(256, LATENTS), nn.Linear(256, LATENTS)

        def forward(self, x):
            features = self.features(x)
            return ModelOutput(
                embedding=self.embedding(features), log_covariance=self.variance(features)
            )

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            dense = [nn.Linear(LATENTS, 256), nn.Linear(256, 256), nn.Linear(256, 512)]
            convolutions = [nn.ConvTranspose2d(32, 32, 4, 2, 1) for _ in range(3)]
            steps = [*dense, nn.Unflatten(1, (32, 4, 4)), *convolutions]
            self.steps = nn.Sequential(
                *_with_relu(steps, nn.ReLU), nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Sigmoid()
            )

        def forward(self, z):
            return ModelOutput(reconstruction=self.steps(z))

    shape = {"input_dim": (1, SIZE, SIZE), "latent_dim": LATENTS, "reconstruction_loss": "bce"}
    if method == "factor_vae":
        config = models.FactorVAEConfig(**shape, gamma=GAMMA)
        model, batch = models.FactorVAE(config, Encoder(), Decoder()), 2 * args.batch_size
        layers = model.discriminator.layers
        layers.insert(2, nn.Linear(1000, 1000))  # six hidden layers, as published, not five
        layers.insert(3, nn.LeakyReLU(0.2))
        trainer_class, config_class = trainers.AdversarialTrainer, trainers.AdversarialTrainerConfig
    else:
        model = models.BetaVAE(models.BetaVAEConfig(**shape, beta=BETA), Encoder(), Decoder())
        batch = args.batch_size
        trainer_class, config_class = trainers.BaseTrainer, trainers.BaseTrainerConfig
    images = torch.from_numpy(pictures(batch * args.steps)).permute(0, 3, 1, 2).float() / 255
    trainer = trainer_class(
        model=model,
        train_dataset=BaseDataset(images, torch.zeros(len(images))),
        training_config=config_class(
            output_dir=tempfile.mkdtemp(), per_device_train_batch_size=batch, num_epochs=1
        ),
    )
    trainer.prepare_training()
    sys.stdout, told = sys.stderr, sys.stdout  # its progress is none of the answer
    trainer.train_step(1)
    sys.stdout = told
    answer(lambda: trainer.train_step(1), args.steps)


def _with_relu(steps: list, relu: type) -> list:
    """Return the steps with an activation after each but changes of shape."""
    shapes = ("Flatten", "Unflatten")
    return [part for s in steps for part in ((s,) if type(s).__name__ in shapes else (s, relu()))]


if __name__ == "__main__":
    main()
