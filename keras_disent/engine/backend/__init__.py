"""All code that depends on the backend, one module per subject.

TensorFlow, JAX and PyTorch differ in how a gradient is computed, how an optimizer step is applied,
in the signature of ``train_step``, in how a step is distributed over several devices, and in their
distributions and convolutions. This package hides the differences; no other module asks which
backend runs.
"""

from keras_disent.engine.backend.choice import BACKEND as BACKEND
from keras_disent.engine.backend.choice import PREFETCHES as PREFETCHES
from keras_disent.engine.backend.choice import STEPS_AT_ONCE as STEPS_AT_ONCE
from keras_disent.engine.backend.devices import all_gather as all_gather
from keras_disent.engine.backend.devices import at_hand as at_hand
from keras_disent.engine.backend.devices import devices as devices
from keras_disent.engine.backend.devices import devices_of as devices_of
from keras_disent.engine.backend.devices import local_shard as local_shard
from keras_disent.engine.backend.devices import on_devices as on_devices
from keras_disent.engine.backend.devices import player_batch as player_batch
from keras_disent.engine.backend.devices import replica as replica
from keras_disent.engine.backend.devices import resolve_jit_compile as resolve_jit_compile
from keras_disent.engine.backend.devices import scatter_seed as scatter_seed
from keras_disent.engine.backend.devices import seed_device as seed_device
from keras_disent.engine.backend.devices import threads as threads
from keras_disent.engine.backend.devices import threads_spin as threads_spin
from keras_disent.engine.backend.distributions import bernoulli as bernoulli
from keras_disent.engine.backend.distributions import bernoulli_log_density as bernoulli_log_density
from keras_disent.engine.backend.distributions import continuous_bernoulli as continuous_bernoulli
from keras_disent.engine.backend.distributions import (
    continuous_bernoulli_log_density as continuous_bernoulli_log_density,
)
from keras_disent.engine.backend.distributions import (
    continuous_bernoulli_mean as continuous_bernoulli_mean,
)
from keras_disent.engine.backend.distributions import normal as normal
from keras_disent.engine.backend.distributions import normal_log_density as normal_log_density
from keras_disent.engine.backend.functions import compiled as compiled
from keras_disent.engine.backend.functions import input_gradient as input_gradient
from keras_disent.engine.backend.functions import (
    preserve_global_generators as preserve_global_generators,
)
from keras_disent.engine.backend.functions import without_autotuning as without_autotuning
from keras_disent.engine.backend.interrupts import uninterrupted as uninterrupted
from keras_disent.engine.backend.kernels import affine as affine
from keras_disent.engine.backend.kernels import calls_layers_eagerly as calls_layers_eagerly
from keras_disent.engine.backend.kernels import convolution as convolution
from keras_disent.engine.backend.kernels import is_hooked as is_hooked
from keras_disent.engine.backend.kernels import strided_convolutions as strided_convolutions
from keras_disent.engine.backend.kernels import transposed_convolution as transposed_convolution
from keras_disent.engine.backend.optimizers import accelerate as accelerate
from keras_disent.engine.backend.optimizers import finite_check as finite_check
from keras_disent.engine.backend.state import Held as Held
from keras_disent.engine.backend.steps import add_to as add_to
from keras_disent.engine.backend.steps import apply as apply
from keras_disent.engine.backend.steps import count as count
from keras_disent.engine.backend.steps import gradients as gradients
from keras_disent.engine.backend.steps import nan_if as nan_if
from keras_disent.engine.backend.steps import not_finite as not_finite
from keras_disent.engine.backend.steps import pad_rows as pad_rows
from keras_disent.engine.backend.steps import reason_unless as reason_unless
from keras_disent.engine.backend.steps import test_step as test_step
from keras_disent.engine.backend.steps import train_step as train_step
