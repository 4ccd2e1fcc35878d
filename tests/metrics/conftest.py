"""Fixtures for tests of metrics, which run without a Keras backend."""

import pytest


@pytest.fixture(autouse=True)
def clean_keras():
    """Replace the fixture of the same name for tests of models."""
