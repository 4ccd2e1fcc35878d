"""A browser for tests of pages, without a network; tests are skipped where there is none."""

import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def started():
    """Start Chromium without windows."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class KnobsPage:
    """A page of knobs that is open in a browser.

    Attributes:
        page: Playwright's page.
        requests: Addresses that it asked for.
        errors: Errors of its code, and what it wrote to the console as one.
    """

    def __init__(self, browser, path, anchor="", context=None, **options):
        self.context = context or browser.new_context(offline=True, **options)
        self.page = self.context.new_page()
        self.requests, self.errors = [], []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._note)
        self.page.goto(path if isinstance(path, str) else f"{path.as_uri()}{anchor}")
        self.page.wait_for_selector('html:not([data-state="starting"])', timeout=60_000)
        assert self.page.get_attribute("html", "data-state") == "ready", self.told()
        self.settle()

    def _note(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def settle(self):
        """Wait until all pictures are drawn."""
        self.page.wait_for_selector('main[aria-busy="false"]', timeout=30_000)
        return self

    def told(self):
        return self.page.text_content("#told")

    def code(self):
        """Return the code that the page shows: (D,) float32."""
        numbers = re.search(r"\[\[(.*)\]\]", self.page.text_content("#code")).group(1)
        return np.array([float(number) for number in numbers.split(",")], "float32")

    def pixels(self, selector=".view > canvas", number=0):
        """Return the pixels of a canvas: (h, w, 3) uint8."""
        values = (
            self.page.locator(selector)
            .nth(number)
            .evaluate(
                "canvas => [canvas.height, canvas.width, ...canvas.getContext('2d')"
                ".getImageData(0, 0, canvas.width, canvas.height).data]"
            )
        )
        return np.array(values[2:], "uint8").reshape(values[0], values[1], 4)[..., :3]

    def click(self, name, **options):
        self.page.get_by_role("button", name=name, exact=True, **options).click()
        return self.settle()

    def drag(self, number, start, end):
        """Drag along a slider with the mouse, from one part of its length to another."""
        slider = self.page.locator('#latents input[type="range"]').nth(number)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(box["x"] + start * box["width"], y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + end * box["width"], y, steps=8)
        self.page.mouse.up()
        return self.settle()

    def saved(self, act):
        """Return the path of the file that is saved when `act` is called."""
        with self.page.expect_download() as download:
            act()
        return download.value.path()


def drawn(model, code):
    """Return what a page must draw of a code: (h, w, 3), 0 to 255, before rounding."""
    image = 255 * model.decode(code[None])[0]
    return image if image.shape[-1] == 3 else np.repeat(image[..., :1], 3, axis=-1)
