"""Latents, likelihoods and networks: Keras layers that models are made of."""
