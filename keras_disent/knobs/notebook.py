"""The page of knobs as a widget of a notebook."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import numpy as np

from keras_disent._utils.checks import check_integer
from keras_disent.knobs.names import read_settings
from keras_disent.knobs.pages import page_text


@functools.cache
def widget_class() -> type:
    """Return the class of the widget; it needs anywidget, which is imported here.

    Raises:
        ImportError: If anywidget is missing; says what to install.
    """
    try:
        import anywidget
        import traitlets
    except ModuleNotFoundError as error:
        raise ImportError(
            f"The widget needs anywidget: pip install 'keras-disent[notebook]'. Here: {error}."
        ) from None

    class Widget(anywidget.AnyWidget):
        """Show the page of knobs of a model in a notebook, and share its code with Python.

        The page is that of `write_page`: the networks run in the browser. Moving a slider sets
        `code`, and setting `code` moves the sliders, as one step that can be undone.

        Args:
            model: Model of this package, or of a custom subclass.
            data: Data set whose images have the shape of the model's.
            other: Second model of the same images, to compare.
            title: Title of the page. Default: the names of model and data set.
            height: Height of the widget in CSS pixels (int).

        Attributes:
            code: Code that the page shows: (D,) float32, in standard deviations of the prior.

        Raises:
            ValueError, ImportError: As `write_page`; a ValueError too for a `code` that is not D
                finite numbers.

        Example:
            widget = knobs.Widget(model, data)
            widget  # as the last line of a cell, shows it
            widget.image()  # the picture of its sliders: (h, w, c) float32
        """

        _esm = resources.files(__package__).joinpath("static", "widget.js").read_text()
        page = traitlets.Unicode(read_only=True).tag(sync=True)
        height = traitlets.Int(720).tag(sync=True)
        code: Any = traitlets.TraitType().tag(
            sync=True, to_json=lambda code, _: code.tolist(), from_json=lambda code, _: code
        )

        def __init__(
            self,
            model: Any,
            data: Any,
            *,
            other: Any = None,
            title: str | None = None,
            height: int = 720,
        ):
            check_integer("height", height, at_least=1)
            self._decodes = model
            text = page_text(model, data, other=other, title=title)
            start = read_settings(text)["models"][0]["codes"][0]
            self.set_trait("page", text)
            super().__init__(code=start, height=height)

        @traitlets.validate("code")
        def _check_code(self, proposal: Any) -> np.ndarray:
            shape = (self._decodes.latent_dim,)
            try:
                code = np.asarray(proposal["value"], "float32")
            except (TypeError, ValueError):
                code = np.empty(0)
            if code.shape != shape or not np.isfinite(code).all():
                raise ValueError(
                    f"`code` is {shape[0]} finite numbers, one for each latent. "
                    f"Got {proposal['value']!r:.80}."
                )
            return code

        def image(self, dtype: str = "float32") -> np.ndarray:
            """Decode `code`: (h, w, c) float32 in [0, 1], or "uint8"."""
            return self._decodes.decode(self.code[None], dtype=dtype)[0]

    Widget.__module__, Widget.__qualname__ = __package__, "Widget"
    return Widget
