"""Read exported models as a stranger does: a new process, without Keras and without keras_disent.

    python -P exported.py REQUEST.json

The request is a list of [format, folder, inputs.npz, outputs.npz]. The inputs are named
`ENDPOINT/BATCH/ARRAY`, and so are the outputs.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

sys.modules["keras"] = sys.modules["keras_disent"] = None  # importing either is an error

import numpy as np  # noqa: E402


def saved_model(folder):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))

    def call(endpoint, inputs):
        inputs = {name: tf.constant(array) for name, array in inputs.items()}
        outputs = loaded.signatures[endpoint](**inputs)
        return {name: output.numpy() for name, output in outputs.items()}

    call.keep = loaded
    return call


def onnx(folder):
    import onnxruntime

    def call(endpoint, inputs):
        session = onnxruntime.InferenceSession(folder / f"{endpoint}.onnx")
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, inputs), strict=True))

    return call


def litert(folder):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(folder / "model.tflite"))
    return lambda endpoint, inputs: interpreter.get_signature_runner(endpoint)(**inputs)


def openvino(folder):
    import openvino as ov

    core = ov.Core()
    core.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def call(endpoint, inputs):
        model = core.read_model(folder / f"{endpoint}.xml")
        outputs = core.compile_model(model, "CPU")(inputs)
        return {output.any_name: outputs[output.any_name] for output in model.outputs}

    return call


def torch(folder):
    import torch
    from torch.export.pt2_archive._package import load_pt2

    programs = load_pt2(str(folder / "model.pt2")).exported_programs

    def call(endpoint, inputs):
        inputs = {name: torch.from_numpy(array) for name, array in inputs.items()}
        outputs = programs[endpoint].module()(**inputs)
        return {name: output.detach().numpy() for name, output in outputs.items()}

    return call


def main():
    for format, folder, inputs, outputs in json.loads(Path(sys.argv[1]).read_text()):
        call = globals()[format](Path(folder))
        asked, answers = defaultdict(dict), {}
        for key, array in np.load(inputs).items():
            question, _, name = key.rpartition("/")
            asked[question][name] = array
        for question, arrays in asked.items():
            endpoint = question.partition("/")[0]
            for name, array in call(endpoint, arrays).items():
                answers[f"{question}/{name}"] = array
        np.savez(outputs, **answers)
    assert not {"keras.src", "keras_disent.export"} & set(sys.modules)


if __name__ == "__main__":
    main()
