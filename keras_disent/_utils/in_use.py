"""When a latent is in use."""

IN_USE = {"nats": 0.1, "gray levels": 1.0}
"""Least importance of a latent in use, by the unit of importance: information about an image, or
mean change of a pixel in steps of 1/255 where the information is not known."""
