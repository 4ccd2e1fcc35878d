"""Bare training steps: what one would write by hand for one model on one backend, and no more.

`BARE[backend](model, method, our_layers)` returns `step(images uint8) -> loss`. The networks are
those of the model, weights and all, where they are traced away (TensorFlow, JAX), computed as Keras
computes them; and `torch.nn` modules of the same shapes with weights of their own on PyTorch. With
`our_layers` they are the model's on every backend, and computed in its way.
Losses, random draws, gradients and Adam are written out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

LATENTS = 10
BETA, GAMMA = 6.0, 35.0
VAE_ADAM = (1e-4, 0.9, 0.999, 1e-7)  # learning rate, betas, epsilon
DISCRIMINATOR_ADAM = (1e-4, 0.5, 0.9, 1e-7)
LOG_TWO_PI = math.log(2 * math.pi)


# -- the losses, over a few functions of each framework (`f`) --------------------------------------


def vae_loss(f, method: str, nets, images, noise):
    """Return the VAE player's loss, summed over pixels and latents, averaged over the batch."""
    mean, log_variance = nets.encode(images)
    codes = mean + f.exp(0.5 * log_variance) * noise
    count = images.shape[0]
    reconstruction = f.cross_entropy(nets.decode(codes), images) / count
    if method == "beta_tcvae":
        return reconstruction + tc_penalty(f, codes, mean, log_variance)
    kl = 0.5 * f.sum(mean * mean + f.exp(log_variance) - log_variance - 1.0) / count
    if method == "factor_vae":
        logits = nets.discriminate(codes)
        kl = kl + GAMMA * f.mean(logits[:, 0] - logits[:, 1])
    return reconstruction + kl


def tc_penalty(f, codes, mean, log_variance):
    """Return MI + BETA * TC + dimension-wise KL by minibatch-weighted sampling, N = 1."""

    def log_density(z, mu, lv):
        return -0.5 * ((z - mu) * (z - mu) * f.exp(-lv) + lv + LOG_TWO_PI)

    pairs = log_density(codes[:, None], mean[None], log_variance[None])
    weight = -math.log(codes.shape[0])
    joint = f.logsumexp(f.sum(pairs, 2), 1) + weight
    product = f.sum(f.logsumexp(pairs, 1) + weight, 1)
    given = f.sum(log_density(codes, mean, log_variance), 1)
    prior = -0.5 * f.sum(codes * codes + LOG_TWO_PI, 1)
    return f.mean(given - joint + BETA * (joint - product) + product - prior)


def discriminator_loss(f, nets, codes, permuted):
    """Return the cross-entropy of telling codes (first logit) from permuted codes (second)."""
    logits = nets.discriminate(f.concatenate([codes, permuted]))
    margin = logits[:, 0] - logits[:, 1]
    count = codes.shape[0]
    return 0.5 * (f.mean(f.softplus(-margin[:count])) + f.mean(f.softplus(margin[count:])))


def shares(method: str, images) -> tuple:
    """Return the images of each player's turn."""
    if method != "factor_vae":
        return (images,)
    half = images.shape[0] // 2
    return images[:half], images[half:]


def players(model, method: str) -> tuple[list, list]:
    """Return the Keras variables of the VAE and of the discriminator."""
    parts = (model.encoder, model.posterior_head, model.decoder)
    vae = [v for part in parts for v in part.trainable_variables]
    return vae, model.discriminator.trainable_variables if method == "factor_vae" else []


def as_keras_computes(model) -> None:
    """Take the faster ways of this package out of the layers of a model."""
    for layer in model._flatten_layers():
        vars(layer).pop("call", None)


def keras_nets(model) -> SimpleNamespace:
    """Return the model's own networks."""
    return SimpleNamespace(
        encode=lambda x: model.posterior_head(model.encoder(x, training=True)),
        decode=lambda z: model.decoder(z, training=True),
        discriminate=lambda z: model.discriminator(z, training=True),
    )


# -- TensorFlow: one graph, fused Adam ------------------------------------------------------------


def tensorflow(model, method: str, our_layers: bool) -> Callable:
    """A `tf.function` without XLA, with TensorFlow's fused Adam."""
    import tensorflow as tf

    f = SimpleNamespace(
        exp=tf.exp,
        sum=tf.reduce_sum,
        mean=tf.reduce_mean,
        softplus=tf.nn.softplus,
        logsumexp=tf.reduce_logsumexp,
        concatenate=lambda parts: tf.concat(parts, 0),
        cross_entropy=lambda logits, x: tf.reduce_sum(
            tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=logits)
        ),
    )
    if not our_layers:
        as_keras_computes(model)
    nets = keras_nets(model)
    vae, discriminator = ([v.value for v in owned] for owned in players(model, method))

    def adam(variables, settings):
        rate, beta1, beta2, epsilon = settings
        moments = [(tf.Variable(v * 0), tf.Variable(v * 0)) for v in variables]
        powers = tf.Variable(beta1), tf.Variable(beta2)

        def apply(gradients):
            for v, (m, u), g in zip(variables, moments, gradients, strict=True):
                tf.raw_ops.ResourceApplyAdam(
                    var=v.handle, m=m.handle, v=u.handle, beta1_power=powers[0],
                    beta2_power=powers[1], lr=rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
                    grad=g,
                )  # fmt: skip
            powers[0].assign(powers[0] * beta1)
            powers[1].assign(powers[1] * beta2)

        return apply

    apply_vae = adam(vae, VAE_ADAM)
    apply_discriminator = adam(discriminator, DISCRIMINATOR_ADAM) if discriminator else None

    @tf.function
    def step(images):
        first, *second = shares(method, images)
        first = tf.cast(first, "float32") / 255
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(vae)
            noise = tf.random.normal((first.shape[0], LATENTS))
            loss = vae_loss(f, method, nets, first, noise)
        apply_vae(tape.gradient(loss, vae))
        for share in second:
            mean, log_variance = nets.encode(tf.cast(share, "float32") / 255)
            codes = mean + tf.exp(0.5 * log_variance) * tf.random.normal(mean.shape)
            order = tf.argsort(tf.random.uniform(codes.shape), axis=0)
            permuted = tf.gather(tf.transpose(codes), tf.transpose(order), axis=1, batch_dims=1)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(discriminator)
                own = discriminator_loss(f, nets, codes, tf.transpose(permuted))
            apply_discriminator(tape.gradient(own, discriminator))
        return loss

    return lambda images: step(tf.constant(images))


# -- JAX: one jitted function of a donated state --------------------------------------------------


def jax(model, method: str, our_layers: bool) -> Callable:
    """`jax.jit` of the whole step, the state donated."""
    import jax
    import jax.numpy as jnp

    f = SimpleNamespace(
        exp=jnp.exp,
        sum=jnp.sum,
        mean=jnp.mean,
        softplus=jax.nn.softplus,
        logsumexp=jax.nn.logsumexp,
        concatenate=jnp.concatenate,
        cross_entropy=lambda logits, x: jnp.sum(jax.nn.softplus(logits) - x * logits),
    )

    if not our_layers:
        as_keras_computes(model)

    def nets(vae, discriminator):
        import keras

        heads = len(model.posterior_head.trainable_variables)
        cut = len(model.encoder.trainable_variables)

        def call(part, values, x):
            mapping = list(zip(part.trainable_variables, values, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return part(x, training=True) if part is not model.posterior_head else part(x)

        return SimpleNamespace(
            encode=lambda x: call(
                model.posterior_head, vae[cut : cut + heads], call(model.encoder, vae[:cut], x)
            ),
            decode=lambda z: call(model.decoder, vae[cut + heads :], z),
            discriminate=lambda z: call(model.discriminator, discriminator, z),
        )

    def adam(values, moments, gradients, count, settings):
        rate, beta1, beta2, epsilon = settings
        rate = rate * jnp.sqrt(1 - beta2**count) / (1 - beta1**count)
        new, new_moments = [], []
        for w, (m, u), g in zip(values, moments, gradients, strict=True):
            m, u = beta1 * m + (1 - beta1) * g, beta2 * u + (1 - beta2) * g * g
            new.append(w - rate * m / (jnp.sqrt(u) + epsilon))
            new_moments.append((m, u))
        return new, new_moments

    def step(state, images):
        (vae, vae_moments), (discriminator, discriminator_moments), count, key = state
        key, *keys = jax.random.split(key, 4)
        first, *second = shares(method, images)
        first = first.astype("float32") / 255
        noise = jax.random.normal(keys[0], (first.shape[0], LATENTS))
        loss, gradients = jax.value_and_grad(
            lambda vae: vae_loss(f, method, nets(vae, discriminator), first, noise)
        )(vae)
        vae, vae_moments = adam(vae, vae_moments, gradients, count, VAE_ADAM)
        for share in second:
            mean, log_variance = nets(vae, discriminator).encode(share.astype("float32") / 255)
            noise = jax.random.normal(keys[1], mean.shape)
            codes = mean + jnp.exp(0.5 * log_variance) * noise
            permuted = jax.random.permutation(keys[2], codes, axis=0, independent=True)
            gradients = jax.grad(
                lambda own, codes=codes, permuted=permuted: discriminator_loss(
                    f, nets(None, own), codes, permuted
                )
            )(discriminator)
            discriminator, discriminator_moments = adam(
                discriminator, discriminator_moments, gradients, count, DISCRIMINATOR_ADAM
            )
        state = (vae, vae_moments), (discriminator, discriminator_moments), count + 1, key
        return state, loss

    compiled = jax.jit(step, donate_argnums=0)

    def player(variables):
        values = [jnp.array(v.value, copy=True) for v in variables]
        return values, [(jnp.zeros_like(v), jnp.zeros_like(v)) for v in values]

    state = (*map(player, players(model, method)), jnp.float32(1), jax.random.key(0))

    def run(images):
        nonlocal state
        state, loss = compiled(state, images)
        return loss

    return run


# -- PyTorch: eager -------------------------------------------------------------------------------


def torch(model, method: str, our_layers: bool) -> Callable:
    """Eager `torch.nn` (channels first) with `torch.optim.Adam`."""
    import torch
    from torch.nn import functional

    f = SimpleNamespace(
        exp=torch.exp,
        sum=torch.sum,
        mean=torch.mean,
        softplus=functional.softplus,
        logsumexp=torch.logsumexp,
        concatenate=torch.cat,
        cross_entropy=lambda logits, x: functional.binary_cross_entropy_with_logits(
            logits, x, reduction="sum"
        ),
    )
    if our_layers:
        nets = keras_nets(model)
        vae, discriminator = ([v.value for v in owned] for owned in players(model, method))
    else:
        encoder, decoder = torch_modules(model.encoder), torch_modules(model.decoder)
        width = model.encoder.output_shape[-1]
        heads = torch.nn.ModuleList(torch.nn.Linear(width, LATENTS) for _ in range(2))
        judge = torch_modules(model.discriminator) if method == "factor_vae" else None

        def encode(x):
            features = encoder(x)
            return heads[0](features), heads[1](features)

        nets = SimpleNamespace(encode=encode, decode=decoder, discriminate=judge)
        vae = [p for part in (encoder, heads, decoder) for p in part.parameters()]
        discriminator = list(judge.parameters()) if judge else []

    def adam(parameters, settings):
        rate, beta1, beta2, epsilon = settings
        return torch.optim.Adam(parameters, rate, (beta1, beta2), epsilon)

    optimizer = adam(vae, VAE_ADAM)
    own_optimizer = adam(discriminator, DISCRIMINATOR_ADAM) if discriminator else None

    def pixels(images):
        images = images.float() / 255
        return images if our_layers else images.permute(0, 3, 1, 2)

    def learn(optimizer, parameters, loss):
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()

    def step(images):
        first, *second = shares(method, torch.from_numpy(images))
        first = pixels(first)
        noise = torch.randn(first.shape[0], LATENTS)
        loss = vae_loss(f, method, nets, first, noise)
        learn(optimizer, vae, loss)
        for share in second:
            with torch.no_grad():
                mean, log_variance = nets.encode(pixels(share))
                codes = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
                permuted = codes.gather(0, torch.rand_like(codes).argsort(0))
            learn(own_optimizer, discriminator, discriminator_loss(f, nets, codes, permuted))
        return loss.detach()

    return step


def torch_modules(network):
    """Return a Keras network, layer by layer, as `torch.nn` modules (with new weights)."""
    from torch import nn

    modules, channels, features = [], 1, network.input_shape[-1]
    for layer in network.layers:
        name = type(layer).__name__
        if name in ("Conv2D", "Conv2DTranspose"):
            kind = nn.Conv2d if name == "Conv2D" else nn.ConvTranspose2d
            kernel, stride = layer.kernel_size[0], layer.strides[0]
            modules.append(kind(channels, layer.filters, kernel, stride, (kernel - stride) // 2))
            channels = layer.filters
        elif name == "Dense":
            modules.append(nn.Linear(features, layer.units))
            features = layer.units
        elif name == "Flatten":
            modules.append(nn.Flatten())
            features = layer.output.shape[-1]
        elif name == "Reshape":
            rows, columns, channels = layer.target_shape
            modules.append(nn.Unflatten(1, (channels, rows, columns)))
        elif name == "LeakyReLU":
            modules.append(nn.LeakyReLU(0.2))
        if getattr(getattr(layer, "activation", None), "__name__", "") == "relu":
            modules.append(nn.ReLU())
    for module in modules:
        if hasattr(module, "weight"):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return nn.Sequential(*modules)


BARE = {"tensorflow": tensorflow, "jax": jax, "torch": torch}
