"""Serve a model by TensorFlow Serving: write it in the layout it expects, then ask it.

    python examples/serve_with_tensorflow.py --out runs/serving
    python examples/serve_with_tensorflow.py --run runs/a --out runs/serving
    python examples/serve_with_tensorflow.py --out runs/serving --rest localhost:8501
    python examples/serve_with_tensorflow.py --out runs/serving --grpc localhost:8500

The first two write OUT/models/NAME/1 (of a finished run, or of a small beta-VAE that is trained
here) and print the docker command that serves it. The others ask the server for the codes of a few
images and for a traversal, and write it as a picture. Asking by REST needs neither Keras nor
TensorFlow; gRPC needs `pip install tensorflow-serving-api`.
"""

import argparse
import json
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from keras_disent.datasets import Sprites
from keras_disent.serving import read_card


def write(args):
    """Export a run, or a model trained here, as version 1."""
    from keras_disent.experiments import Config, Run

    if args.run is not None:
        run = Run.open(args.run)
    else:
        config = Config(
            model="beta_vae",
            data="sprites",
            subset={"shape": ["square"], "orientation": [0]},
            image_size=32,
            steps=args.steps,
            epoch_steps=min(args.steps, 500),
            learning_rate=1e-3,
            latent_dim=6,
            width=0.25,
        )
        run = Run.create(config, args.out / "run")
        run.train()
    folder = run.export(args.out / "models" / args.name / "1", "saved_model")
    print(f"Wrote {folder}")
    models = folder.parent.resolve()
    print("Serve it with")
    print(f"  docker run --rm -p 8500:8500 -p 8501:8501 -e MODEL_NAME={args.name} \\")
    print(f"    -v {models}:/models/{args.name}:ro tensorflow/serving")


def rest(address, model, card):
    """Return a function that asks by REST: (signature, arrays) -> arrays."""

    def ask(signature, inputs):
        body = {
            "signature_name": signature,
            "inputs": {name: array.tolist() for name, array in inputs.items()},
        }
        request = urllib.request.Request(
            f"http://{address}/v1/models/{model}:predict",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                outputs = json.load(answer)["outputs"]
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{signature}: {error.code} {error.read().decode()}") from None
        except urllib.error.URLError as error:
            raise SystemExit(f"No server at {address}: {error.reason}") from None
        told = {array["name"]: array["dtype"] for array in card["endpoints"][signature]["outputs"]}
        if len(told) == 1:  # then it comes without its name
            outputs = dict.fromkeys(told, outputs)
        return {name: np.array(outputs[name], dtype) for name, dtype in told.items()}

    return ask


def grpc(address, model, card):
    """Return a function that asks by gRPC: (signature, arrays) -> arrays."""
    try:
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
    except ImportError as error:
        raise SystemExit(f"gRPC needs `pip install tensorflow-serving-api`. {error}") from None
    large = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
    channel = grpc.insecure_channel(address, large)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def ask(signature, inputs):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            outputs = stub.Predict(request, timeout=60).outputs
        except grpc.RpcError as error:
            raise SystemExit(f"{signature}: {error.code().name} {error.details()}") from None
        return {name: tf.make_ndarray(proto) for name, proto in outputs.items()}

    return ask


def show(ask, card, out):
    """Print what `encode` says of some images, and draw what `traverse` makes of the first."""
    from PIL import Image

    height, width, channels = card["image_shape"]
    data = Sprites(image_size=height)
    images = data.images(np.linspace(0, len(data) - 1, 5).astype(int))
    images = np.repeat(images, channels, axis=-1)
    if images.shape[1:] != (height, width, channels):
        raise SystemExit(f"This example draws square images, not {height} x {width}.")
    encoded = ask("encode", {"images": images})
    print("encode:")
    for name, array in encoded.items():
        print(f"  {name} {array.shape}\n{array.round(3)}")
    latents = np.arange(card["latent_dim"], dtype="int32")
    values = np.linspace(-2, 2, 7, dtype="float32")
    asked = {"images": images[:1], "latents": latents, "values": values}
    traversed = ask("traverse", asked)["traversed"]
    print(f"traverse: {traversed.shape}")
    np.savez(out / "answers.npz", traversed=traversed, **encoded)
    rows = np.concatenate(traversed[0].swapaxes(0, 1), axis=2)  # (latents, height, values * width)
    pixels = np.concatenate(rows, axis=0)
    if pixels.dtype != np.uint8:
        pixels = (255 * pixels).round().astype("uint8")
    Image.fromarray(pixels.squeeze(-1) if channels == 1 else pixels).save(out / "traversed.png")
    print(f"Look at {out / 'traversed.png'}")


def main():
    parser = argparse.ArgumentParser(description="Write a model for TensorFlow Serving; ask it.")
    parser.add_argument("--out", type=Path, default=Path("runs/tensorflow_serving"))
    parser.add_argument("--run", type=Path, help="a finished run; default: train a small model")
    parser.add_argument("--name", default="disent", help="of the model on the server")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--rest", metavar="HOST:PORT", help="ask a server by REST")
    parser.add_argument("--grpc", metavar="HOST:PORT", help="ask a server by gRPC")
    args = parser.parse_args()
    folder = args.out / "models" / args.name / "1"
    if not (folder / "card.json").exists():
        write(args)
    card = read_card(folder)
    for address, client in ((args.rest, rest), (args.grpc, grpc)):
        if address:
            show(client(address, args.name, card), card, args.out)


if __name__ == "__main__":
    main()
