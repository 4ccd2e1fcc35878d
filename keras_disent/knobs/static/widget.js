// The page of knobs in a frame of a notebook: its code is shared with Python.

function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.title = "Page of knobs";
  frame.style.cssText = "width: 100%; border: 0; border-radius: 8px";
  let shown; // the code that the page has

  const size = () => (frame.style.height = `${model.get("height")}px`);
  const show = () => {
    const code = model.get("code");
    if (shown === undefined || String(code) === String(shown)) return;
    shown = code;
    frame.contentWindow.postMessage({ code }, "*");
  };
  const listen = ({ source, data }) => {
    if (source !== frame.contentWindow || !Array.isArray(data?.code)) return;
    const ready = shown === undefined;
    shown = data.code;
    if (ready) return frame.contentWindow.postMessage({ code: (shown = model.get("code")) }, "*");
    model.set("code", shown);
    model.save_changes();
  };
  size();
  model.on("change:height", size);
  model.on("change:code", show);
  addEventListener("message", listen);
  frame.srcdoc = model.get("page");
  el.append(frame);
  return () => {
    model.off("change:height", size);
    model.off("change:code", show);
    removeEventListener("message", listen);
  };
}

export default { render };
