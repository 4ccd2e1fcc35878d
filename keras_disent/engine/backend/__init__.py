"""The only place that knows which backend runs, by subject.

TensorFlow, JAX and PyTorch differ in how a gradient is taken, how an optimizer step is applied, in
the signature of ``train_step``, and in how a step is spread over several devices; their
distributions and convolutions are their own. All of it has one face here, and is asked for nowhere
else.
"""

from keras_disent.engine.backend.choice import BACKEND as BACKEND
from keras_disent.engine.backend.choice import PREFETCHES as PREFETCHES
from keras_disent.engine.backend.devices import all_gather as all_gather
from keras_disent.engine.backend.devices import compiles as compiles
from keras_disent.engine.backend.devices import devices as devices
from keras_disent.engine.backend.devices import devices_of as devices_of
from keras_disent.engine.backend.devices import local_shard as local_shard
from keras_disent.engine.backend.devices import on_devices as on_devices
from keras_disent.engine.backend.devices import player_batch as player_batch
from keras_disent.engine.backend.devices import replica as replica
from keras_disent.engine.backend.devices import spread as spread
from keras_disent.engine.backend.distributions import bernoulli as bernoulli
from keras_disent.engine.backend.distributions import continuous_bernoulli as continuous_bernoulli
from keras_disent.engine.backend.distributions import (
    continuous_bernoulli_log_density as continuous_bernoulli_log_density,
)
from keras_disent.engine.backend.distributions import mean as mean
from keras_disent.engine.backend.distributions import normal as normal
from keras_disent.engine.backend.functions import compiled as compiled
from keras_disent.engine.backend.functions import global_generators_kept as global_generators_kept
from keras_disent.engine.backend.functions import input_gradient as input_gradient
from keras_disent.engine.backend.functions import without_autotuning as without_autotuning
from keras_disent.engine.backend.kernels import convolution as convolution
from keras_disent.engine.backend.kernels import strided_convolutions as strided_convolutions
from keras_disent.engine.backend.kernels import transposed_convolution as transposed_convolution
from keras_disent.engine.backend.optimizers import prepare as prepare
from keras_disent.engine.backend.optimizers import total as total
from keras_disent.engine.backend.steps import apply as apply
from keras_disent.engine.backend.steps import count as count
from keras_disent.engine.backend.steps import gradients as gradients
from keras_disent.engine.backend.steps import nan_if as nan_if
from keras_disent.engine.backend.steps import not_finite as not_finite
from keras_disent.engine.backend.steps import reason_unless as reason_unless
from keras_disent.engine.backend.steps import test_step as test_step
from keras_disent.engine.backend.steps import train_step as train_step
from keras_disent.engine.backend.steps import with_rows as with_rows
