"""Fixtures for tests of data sets, which need no backend and run once."""

import pytest


@pytest.fixture(autouse=True)
def clean_keras():
    """Override the fixture of the same name, which resets Keras for tests of models."""
