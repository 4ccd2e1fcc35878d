"""How often the host waits for the values of a step: on a GPU, each time the GPU then idles."""

import collections

import numpy as np
import pytest
from keras import ops

from keras_disent import FactorVAE, networks
from keras_disent.engine import backend

pytestmark = pytest.mark.skipif(backend.BACKEND != "torch", reason="others compile the step")


def test_the_host_reads_one_value_for_each_player_of_a_step():
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    reads = collections.Counter()

    class Reads(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._local_scalar_dense.default:
                reads[str(args[0].dtype)] += 1
            return func(*args, **(kwargs or {}))

    model = FactorVAE(
        (8, 8, 1), 2, encoder="mlp", decoder="mlp", discriminator=networks.discriminator(2, 4)
    )
    model.compile()
    for optimizer in model.optimizer.by_player.values():
        del optimizer._parallel_update_step  # the kernel of the CPU, which reads rate and step
    batch = (ops.convert_to_tensor(np.zeros((4, 8, 8, 1), "uint8")),)
    with Reads():
        model.train_step(batch)
    assert reads.pop("torch.bool") == len(model.players)
    # The rest are seeds, which are kept on the CPU.
    assert not [dtype for dtype in reads if "float" in dtype], reads
    assert all(seed.value.device.type == "cpu" for seed in model._seeds())
