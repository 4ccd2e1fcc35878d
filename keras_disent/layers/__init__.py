"""Keras layers of the models: latents, likelihoods and networks."""
