"""The page of knobs in a notebook: its code is that of Python, and Python's is that of the page."""

from importlib import resources

import numpy as np
import pytest
from support.browser import KnobsPage, drawn, started
from support.checks import BACKEND, on
from support.commands import python

from keras_disent import VAE, datasets, knobs
from keras_disent.knobs import engine

ROUNDING = 1.5  # of 255

here = [
    pytest.mark.skipif(BACKEND != "tensorflow", reason="ONNX is written by TensorFlow"),
    pytest.mark.skipif(not engine.installed(), reason=f"needs the engine: {engine.CURE}"),
]

# A front end of widgets that has what anywidget gives to `render`.
HOST = """<!doctype html><meta charset="utf-8"><div id="el"></div><script type="module">
const state = { page: PAGE, code: CODE, height: 700 }, listeners = {};
window.sent = [];
const model = {
  get: (name) => state[name],
  set: (name, value) => { state[name] = value; listeners[`change:${name}`]?.(); },
  save_changes: () => window.sent.push(state.code),
  on: (event, act) => (listeners[event] = act),
  off: (event) => delete listeners[event],
};
window.model = model;
const url = URL.createObjectURL(new Blob([SOURCE], { type: "text/javascript" }));
const { default: widget } = await import(url);
window.end = widget.render({ model, el: document.getElementById("el") });
</script>"""

NOTEBOOK = (
    """
from keras_disent import datasets, knobs, load_model
data = datasets.Sprites(32).only("position_x", "position_y", "scale")
widget = knobs.Widget(load_model("model.keras"), data, height=500)
widget
""",
    """
widget.set_state({"code": [0.5, -1.0]})
print(widget.code, widget.image().shape)
""",
)


@pytest.fixture(scope="module")
def data():
    return datasets.Sprites(32).only("position_x", "position_y", "scale")


@pytest.fixture(scope="module")
def model():
    model = VAE.with_networks((32, 32, 1), 2, "mlp", width=0.2, seed=1)
    for variable in [*model.posterior_head.weights, *model.decoder.weights]:
        variable.assign(3 * variable)
    return model


@pytest.fixture(scope="module")
def widget(model, data):
    pytest.importorskip("anywidget")
    pytest.importorskip("tf2onnx")
    return knobs.Widget(model, data)


@on("torch")
def test_without_anywidget_it_says_what_to_install():
    status, _, last = python("from keras_disent.knobs import Widget", hidden=("anywidget",))
    assert status == 1
    assert last.startswith(
        "ImportError: The widget needs anywidget: pip install 'keras-disent[notebook]'."
    )


@pytest.mark.usefixtures("widget")
class TestWidget:
    pytestmark = here

    def test_the_code_is_an_array_and_has_a_picture(self, widget, model, data):
        image = data.images(datasets.example_indices(data, 1024)[:1])
        np.testing.assert_allclose(widget.code, model.encode(image)[0], atol=1e-4)
        seen = []
        widget.observe(lambda change: seen.append(change["new"]), "code")
        widget.set_state({"code": [1.5, -0.25]})  # as from the browser
        assert widget.code.dtype == np.float32
        assert [one.tolist() for one in seen] == [[1.5, -0.25]]
        np.testing.assert_array_equal(widget.image(), model.decode([[1.5, -0.25]])[0])
        assert widget.image("uint8").dtype == np.uint8
        widget.code = [0, 1]
        assert widget.get_state("code") == {"code": [0.0, 1.0]}
        for wrong in ([1.0], [0.0, np.nan], "code", None):
            with pytest.raises(ValueError, match="`code` is 2 finite numbers"):
                widget.code = wrong
        assert widget.code.tolist() == [0, 1]

    def test_the_page_and_python_move_each_other(self, widget, model, tmp_path):
        import json

        text = json.dumps(widget.page).replace("<", "\\u003c")
        source = resources.files(knobs).joinpath("static", "widget.js").read_text()
        parts = {"PAGE": text, "SOURCE": json.dumps(source).replace("<", "\\u003c")}
        first = {"CODE": "[0.25, -0.5]"}  # set before the page is shown
        host = tmp_path / "host.html"
        page = HOST
        for name, value in (first | parts).items():
            page = page.replace(name, value, 1)
        host.write_text(page)
        with started() as browser:
            opened = InFrame(browser, host)
            assert opened.code().tolist() == [0.25, -0.5]
            opened.drag(0, 0.5, 0.9)
            sent = opened.host.evaluate("window.sent.at(-1)")
            np.testing.assert_allclose(opened.code(), sent, atol=1e-4)
            assert sent != [0.25, -0.5]
            opened.host.evaluate("window.model.set('code', [-1, 0.75])")
            opened.page.wait_for_function("document.body.textContent.includes('[[-1, 0.75]]')")
            assert opened.settle().code().tolist() == [-1, 0.75]
            assert np.abs(opened.pixels() - drawn(model, opened.code())).max() <= ROUNDING
            assert np.array_equal(opened.click("Undo").code(), np.float32(sent).round(4))
            assert not opened.page.get_by_role("button", name="Link", exact=True).is_visible()
            assert opened.errors == []

    @pytest.mark.slow
    def test_a_notebook_runs_it(self, widget, model, tmp_path):
        nbclient = pytest.importorskip("nbclient")
        pytest.importorskip("ipykernel")
        import nbformat

        model.save(tmp_path / "model.keras")
        cells = [nbformat.v4.new_code_cell(text.strip()) for text in NOTEBOOK]
        notebook = nbformat.v4.new_notebook(cells=cells)
        client = nbclient.NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}
        )
        client.execute()
        shown = notebook.cells[0].outputs[-1]["data"]
        assert "application/vnd.jupyter.widget-view+json" in shown
        assert "[ 0.5 -1. ] (32, 32, 1)" in notebook.cells[1].outputs[-1]["text"]


class InFrame(KnobsPage):
    """A page of knobs in a frame of another page, `host`."""

    def __init__(self, browser, path):
        self.context = browser.new_context(offline=True)
        self.host = self.context.new_page()
        self.errors = []
        self.host.on("pageerror", lambda error: self.errors.append(str(error)))
        self.host.goto(path.as_uri(), wait_until="commit")
        self.host.wait_for_function("window.frames.length")
        self.page = self.host.frames[1]
        self.page.wait_for_selector('html[data-state="ready"]', timeout=120_000)
        self.settle()

    def drag(self, number, start, end):
        self.page.mouse = self.host.mouse
        return super().drag(number, start, end)
