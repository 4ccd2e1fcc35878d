"""A method of one's own: a term and a player more than a VAE, and everything else comes with it.

    python examples/own_method.py --out runs/own_method

The method is in the first thirty lines. Then it is trained, measured, tuned with KerasTuner, saved
and exported, as the built-in ones are. The work stands in a function: an export that is written by
another backend can then import the method. KerasTuner comes with
`pip install 'keras-disent[tune]'`.
"""

import argparse
import shutil
from pathlib import Path

import keras
from keras import layers, ops

from keras_disent import VAE, callbacks, export, load_model, metrics, plots, schedules
from keras_disent.datasets import Sprites, example_images


@keras.saving.register_keras_serializable("examples")
class UnpredictableVAE(VAE):
    """Minimizes reconstruction + KL - strength * error of a predictor of each latent.

    After Schmidhuber 1992, "Learning factorial codes by predictability minimization".
    """

    terms = (*VAE.terms, "prediction_error")
    strength = schedules.Weight()
    players = {**VAE.players, "prediction_error": ("predictor",)}

    def __init__(self, image_shape=(64, 64, 1), latent_dim=10, strength=1.0, **kwargs):
        super().__init__(image_shape, latent_dim, **kwargs)
        self.strength = strength
        which = layers.Input((latent_dim, 2 * latent_dim))
        hidden = layers.Dense(64, activation="relu")(which)
        self.predictor = keras.Model(which, layers.Dense(1, dtype="float32")(hidden))

    def error(self, codes):
        which = ops.eye(self.latent_dim)[None] + 0 * codes[:, None]  # (n, D, D), a row each latent
        others = codes[:, None] * (1 - which)
        guesses = self.predictor(ops.concatenate([others, which], axis=2))[..., 0]
        return ops.mean(ops.square(guesses - codes))

    def objective(self, player, batch, training):
        if player == "loss":
            return super().objective(player, batch, training)
        _, _, mean, _ = self.encode_batch(batch, training)
        return {"prediction_error": self.error(ops.stop_gradient(mean))}

    def penalty(self, codes, mean, log_variance, kl):
        return kl - self.current("strength") * self.error(mean), {}


def main():
    parser = argparse.ArgumentParser(
        description="Train, tune, save and export a method of one's own."
    )
    parser.add_argument("--out", type=Path, default=Path("runs/own_method"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", default="saved_model", choices=export.FORMATS)
    args = parser.parse_args()

    data = Sprites(image_size=32).subgrid({"shape": ["square"], "orientation": [0]})
    score = callbacks.DisentanglementMetrics(data, ["mig"], n_samples=2000)

    def build(strength):
        model = UnpredictableVAE.with_networks(
            data.image_shape, 4, "conv", 0.5, args.seed, strength=strength
        )
        model.compile({player: keras.optimizers.Adam(1e-3) for player in model.players})
        return model

    def batches():
        return data.batches(128, seed=args.seed, steps=args.steps)  # 64 for each player

    print("-- trained and measured")
    model = build(strength=1.0)
    model.fit(batches(), callbacks=[score], verbose=2)
    print(metrics.evaluate(model, data, ["mig", "factor_vae_score"], n_samples=2000))

    print("-- tuned")
    try:
        import keras_tuner
    except ImportError:
        raise SystemExit("Tuning needs KerasTuner: pip install 'keras-disent[tune]'.") from None
    tuner = keras_tuner.GridSearch(
        lambda hp: build(hp.Choice("strength", [0.0, 5.0, 20.0])),
        keras_tuner.Objective("val_mig", "max"),
        directory=args.out,
        project_name="search",
        overwrite=True,
    )
    tuner.search(batches(), callbacks=[score], verbose=0)
    for trial in tuner.oracle.get_best_trials(3):
        print(f"strength {trial.hyperparameters['strength']:4.0f}   MIG {trial.score:.3f}")
    model = tuner.get_best_models(1)[0]

    print("-- saved and exported")
    model.save(args.out / "model.keras")
    images = example_images(data, 16)
    assert (load_model(args.out / "model.keras").encode(images) == model.encode(images)).all()
    figure = plots.traversals(model, images, title=f"strength {model.strength:g}")
    print(f"Look at {plots.save(figure, args.out / 'traversal.png')}")
    shutil.rmtree(args.out / "exported", ignore_errors=True)
    model.export(args.out / "exported", args.format)
    print(f"Exported: {', '.join(sorted(path.name for path in (args.out / 'exported').iterdir()))}")


if __name__ == "__main__":
    main()
