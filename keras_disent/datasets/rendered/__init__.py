"""Rendered data sets: images are rendered when they are read, so nothing is downloaded."""
