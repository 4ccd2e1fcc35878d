// The page itself: a code, what is drawn of it, and all that changes it.

const settings = JSON.parse($("settings").textContent);
const root = document.documentElement, main = document.querySelector("main");
const TILES = 9, GAP = 2; // pictures in a strip, pixels between two
const CALM = 120; // milliseconds without a change before strips are drawn
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

const tell = (text) => ($("told").textContent = text);
const rounded = (value) => value.toFixed(2).replace(/^-(?=0\.00$)/, "").replace("-", "−");

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in made && key !== "list") made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function icon(path) {
  const span = document.createElement("span");
  span.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${path}"/></svg>`;
  return span.firstChild;
}
const ICONS = {
  lock: "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
  play: "M8 5.5v13l11-6.5z",
  save: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 19.5h14",
};

// -- where the page stands ------------------------------------------------------------------------

let models, code, origin; // origin: {codes, a code for each model; pixels, the image if there is one}
const rows = [], past = [], future = [], locked = new Set();

const copied = () => ({ code: code.slice(), origin });

function remember() {
  past.push(copied());
  future.length = 0;
  allow();
}

function step(from, to) {
  if (!from.length) return;
  to.push(copied());
  const stop = from.pop();
  origin = stop.origin;
  restart();
  move(stop.code);
  allow();
}

function allow() {
  $("undo").disabled = !past.length;
  $("redo").disabled = !future.length;
}

// -- the big pictures -----------------------------------------------------------------------------

function makeView(model) {
  const [height, width] = model.shape;
  const canvas = newCanvas(height, width);
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Picture that ${model.name} decodes`);
  const view = { model, canvas, trail: {} };
  const trail = element("div", { className: "trail" });
  for (const [name, text] of [["original", "image"], ["start", "start"], ["change", "change"]]) {
    const small = newCanvas(height, width), caption = element("figcaption", {}, text);
    small.setAttribute("role", "img");
    small.setAttribute("aria-label", `${text}, ${model.name}`);
    view.trail[name] = { figure: element("figure", {}, small, caption), canvas: small, caption };
    trail.append(view.trail[name].figure);
  }
  view.box = element("div", { className: "view" }, canvas, trail);
  if (models.length > 1) view.box.prepend(element("h2", {}, model.name));
  return view;
}

// The code of a model for a code of the first: matched latents move by the same part of their ranges.
function followed(model, codes = code) {
  if (model === models[0]) return Float32Array.from(codes);
  const result = Float32Array.from(origin.codes[model.number]);
  for (const { index, low, high, match } of models[0].latents) {
    if (!match) continue;
    const other = model.latents.find((latent) => latent.index === match.index);
    const part = (codes[index] - origin.codes[0][index]) / (high - low);
    result[match.index] += match.sign * part * (other.high - other.low);
  }
  return result;
}

let wanted = false, drawing = false, views, whatIf;

async function draw() { // never twice at once; the newest code wins
  wanted = true;
  if (parent !== window) parent.postMessage({ code: Array.from(code) }, "*"); // a notebook listens
  if (drawing) return;
  drawing = true;
  main.setAttribute("aria-busy", "true");
  try {
    while (wanted) {
      wanted = false;
      for (const view of views) await paint(view);
      if (whatIf && $("causal").open) await whatIf.paint(code.slice());
    }
  } catch (error) {
    tell(`The model could not be run: ${error.message ?? error}`);
  } finally {
    drawing = false;
  }
  later();
}

async function paint(view) {
  const { model, trail } = view, first = origin;
  if (view.origin !== first) {
    view.start = await model.decode(Float32Array.from(first.codes[model.number]));
    view.origin = first;
    put(trail.start.canvas, imageData(view.start, model.shape));
    trail.original.figure.hidden = !first.pixels;
    if (first.pixels) put(trail.original.canvas, imageData(first.pixels[model.number], model.shape, 1));
  }
  const values = await model.decode(followed(model));
  view.image = imageData(values, model.shape);
  put(view.canvas, view.image);
  const [heat, most] = heatMap(values, view.start, model.shape);
  put(trail.change.canvas, heat);
  trail.change.caption.textContent = most < 0.005 ? "no change" : `change ≤ ${most.toFixed(2)}`;
}

// -- strips: what each latent does to this picture ------------------------------------------------

let timer, round = 0;

function later() {
  clearTimeout(timer);
  timer = setTimeout(drawStrips, CALM);
}

async function drawStrips() {
  const mine = ++round, model = models[0];
  for (const row of rows) {
    if (row.latent.silent && !$("silent").open) continue;
    const others = code.slice();
    others[row.latent.index] = 0;
    const key = others.join();
    if (row.key === key) continue;
    const tiles = row.values.length, codes = new Float32Array(tiles * code.length);
    row.values.forEach((value, i) => {
      codes.set(code, i * code.length);
      codes[i * code.length + row.latent.index] = value;
    });
    const decoded = await model.decode(codes, tiles);
    if (mine !== round || wanted || drawing) return; // the code has changed meanwhile
    row.values.forEach((_, i) => {
      const [canvas, x] = row.tiles[i];
      put(canvas, imageData(decoded, model.shape, 255, i * model.size), x);
    });
    row.key = key;
  }
  if (!motion) main.setAttribute("aria-busy", "false");
}

// -- moves ----------------------------------------------------------------------------------------

let motion = 0;

function stop() {
  cancelAnimationFrame(motion);
  motion = 0;
  for (const row of rows) row.play.setAttribute("aria-pressed", "false");
}

function set(next) {
  code = Float32Array.from(next);
  for (const row of rows) row.show();
  showCode();
  return draw();
}

// Go to a code in a third of a second; discrete latents change half-way.
function move(target) {
  stop();
  target = Float32Array.from(target);
  const from = code.slice(), began = performance.now();
  const frame = (now) => {
    const t = Math.min((now - began) / 320, 1), part = t * t * (3 - 2 * t);
    motion = t < 1 ? requestAnimationFrame(frame) : 0;
    set(t === 1 ? target : target.map((value, i) => {
      const row = rows.find(({ latent }) => latent.index === i);
      if (row?.discrete) return part < 0.5 ? from[i] : value;
      return from[i] + part * (value - from[i]);
    }));
  };
  main.setAttribute("aria-busy", "true");
  if (calm) set(target);
  else motion = requestAnimationFrame(frame);
}

const unlocked = (next) => Float32Array.from(next, (value, i) => (locked.has(i) ? code[i] : value));

function go(next) {
  remember();
  move(unlocked(next));
}

function restart() {
  for (const button of $("examples").children) {
    button.setAttribute("aria-pressed", String(button.dataset.example === String(origin.example)));
  }
}

function begin(next) { // from another start
  remember();
  origin = next;
  restart();
  move(unlocked(origin.codes[0]));
}

// A random code: as wide as the codes of the data, which are standard normal under the prior.
function drawn({ latents, codes }) {
  const result = Float32Array.from(codes[0]);
  for (const { index, low, high, values, silent } of latents) {
    if (silent) continue;
    if (values) {
      result[index] = values[Math.floor(Math.random() * values.length)];
      continue;
    }
    do {
      const normal = Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
      result[index] = (low + high) / 2 + (normal * (high - low)) / 5.15; // 99 % of them are inside
    } while (result[index] < low || result[index] > high);
  }
  return result;
}

// -- one latent -----------------------------------------------------------------------------------

function makeRow(latent) {
  const { index, low, high, values, classes } = latent, id = `latent-${index}`;
  const points = values ?? Array.from({ length: TILES }, (_, i) => low + ((high - low) * i) / (TILES - 1));
  const [height, width] = models[0].shape;
  const row = { latent, values: points, discrete: Boolean(values), key: "" };
  const name = element("input", {
    className: "name", type: "text", value: latent.name, spellcheck: false, maxLength: 40,
    "aria-label": `Name of latent ${index}`, title: "Name of this latent: type your own",
  });
  const output = element("output", { htmlFor: id });
  const button = (path, label) => element("button", { type: "button", title: label, "aria-label": label }, icon(path));
  const lock = button(ICONS.lock, "Lock"), save = button(ICONS.save, "Save a sweep as GIF");
  row.play = button(ICONS.play, "Sweep");
  lock.setAttribute("aria-pressed", "false");
  row.play.setAttribute("aria-pressed", "false");
  const matched = latent.match && `moves ${latent.match.name} of ${models[1].name}`;
  const about = [`${latent.importance.toFixed(2)} ${models[0].unit}`, matched].filter(Boolean).join(" · ");
  const hint = element("span", { className: "hint" });
  const head = element("div", { className: "head" }, name, hint,
    element("span", { className: "weight", title: about }, about), output, row.play, lock, save);
  const box = element("div", { className: "latent" }, head);
  const nearest = (value) => points.reduce((best, x, i) =>
    (Math.abs(x - value) < Math.abs(points[best] - value) ? i : best), 0);

  let holding = false; // a move of many steps is one step to undo
  const change = (value) => {
    if (locked.has(index)) return;
    stop();
    if (!holding) remember();
    holding = true;
    code[index] = value;
    row.show();
    showCode();
    draw();
  };
  const release = () => (holding = false);

  if (classes) {
    const group = element("div", { className: "classes", role: "radiogroup", "aria-label": latent.name });
    row.tiles = points.map((value, i) => {
      const canvas = newCanvas(height, width);
      const input = element("input", { type: "radio", name: id, value: String(i) });
      input.addEventListener("change", () => { change(value); release(); });
      group.append(element("label", {}, input, canvas, String(i)));
      return [canvas, 0];
    });
    const inputs = [...group.querySelectorAll("input")];
    box.append(group);
    row.show = () => {
      const i = nearest(code[index]);
      inputs[i].checked = true;
      output.value = `class ${i}`;
    };
    row.enable = (on) => inputs.forEach((input) => (input.disabled = !on));
  } else {
    const canvas = newCanvas(height, points.length * (width + GAP)), marker = element("div", { className: "marker" });
    const strip = element("div", { className: "strip" }, canvas, marker);
    const steps = values ? { min: 0, max: points.length - 1, step: 1 } : { min: low, max: high, step: "any" };
    const slider = element("input", { type: "range", id, ...steps });
    row.tiles = points.map((_, i) => [canvas, i * (width + GAP) + GAP / 2]);
    box.style.setProperty("--tiles", points.length);
    box.append(strip, slider);
    slider.addEventListener("input", () => change(values ? points[slider.valueAsNumber] : slider.valueAsNumber));
    slider.addEventListener("change", release);
    slider.addEventListener("dblclick", () => { change(origin.codes[0][index]); release(); });
    slider.addEventListener("keydown", (event) => {
      const way = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
      if (event.key === "Delete" || event.key === "Backspace") change(origin.codes[0][index]);
      else if (way && !values) {
        change(Math.min(high, Math.max(low, code[index] + (way * (high - low)) / 100)));
      } else return;
      event.preventDefault();
      if (!event.repeat) release();
    });
    const press = (event) => {
      const { left, width: wide } = strip.getBoundingClientRect();
      const place = ((event.clientX - left) / wide) * points.length - 0.5, last = points.length - 1;
      const part = Math.min(1, Math.max(0, place / last));
      change(values ? points[Math.round(part * last)] : low + part * (high - low));
    };
    strip.addEventListener("pointerdown", (event) => {
      strip.setPointerCapture(event.pointerId);
      press(event);
    });
    strip.addEventListener("pointermove", (event) => strip.hasPointerCapture(event.pointerId) && press(event));
    strip.addEventListener("pointerup", release);
    strip.addEventListener("pointercancel", release);
    row.show = () => {
      const value = code[index], last = points.length - 1;
      const place = values ? nearest(value) / last : Math.min(1, Math.max(0, (value - low) / (high - low)));
      slider.value = values ? nearest(value) : value;
      output.value = rounded(value);
      slider.setAttribute("aria-valuetext", rounded(value));
      marker.style.left = `${((place * last + 0.5) / points.length) * 100}%`;
    };
    row.enable = (on) => (slider.disabled = !on);
    row.label = (text) => slider.setAttribute("aria-label", text);
  }

  const rename = (text) => {
    latent.name = text.trim() || latent.standard;
    name.value = latent.name;
    name.size = Math.max(2, latent.name.length); // where the style cannot fit it
    const known = `${latent.name.replaceAll("_", " ")} `; // a factor that the name tells already
    hint.textContent = latent.hint.startsWith(known) ? latent.hint.slice(known.length) : latent.hint;
    row.label?.(latent.name);
    for (const [part, word] of [[lock, "Lock"], [row.play, "Sweep"], [save, "Save as GIF a sweep of"]]) {
      part.setAttribute("aria-label", `${word} ${latent.name}`);
    }
  };
  rename(latent.name);
  name.addEventListener("change", () => {
    rename(name.value);
    storeNames();
  });
  name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
  lock.addEventListener("click", () => {
    const on = !locked.delete(index);
    if (on) locked.add(index);
    lock.setAttribute("aria-pressed", String(on));
    row.enable(!on);
    row.play.disabled = on;
  });
  row.play.addEventListener("click", () => {
    const on = row.play.getAttribute("aria-pressed") === "true";
    stop();
    if (on) return;
    remember();
    row.play.setAttribute("aria-pressed", "true");
    const began = performance.now(), now = (code[index] - low) / (high - low);
    const ahead = Math.acos(1 - 2 * Math.min(1, Math.max(0, now)));
    const frame = (time) => {
      motion = requestAnimationFrame(frame);
      const value = low + ((high - low) * (1 - Math.cos((time - began) / 600 + ahead))) / 2;
      code[index] = values ? points[nearest(value)] : value;
      row.show();
      draw();
    };
    motion = requestAnimationFrame(frame);
  });
  save.addEventListener("click", () => saveSweep(row));
  row.box = box;
  return row;
}

// -- take away ------------------------------------------------------------------------------------

const fileName = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "picture";

function download(blob, name) {
  const url = URL.createObjectURL(blob);
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  tell(`Saved ${name}.`);
}

function enlarged(image, side) { // by a whole number, with sharp pixels
  const times = Math.max(1, Math.round(side / Math.max(image.width, image.height)));
  const small = newCanvas(image.height, image.width), canvas = newCanvas(image.height * times, image.width * times);
  put(small, image);
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
  return canvas;
}

function savePicture() {
  enlarged(views[0].image, 512).toBlob((blob) => download(blob, `${fileName(settings.title)}.png`));
}

async function saveSweep({ latent, values, discrete }) {
  tell("Drawing the sweep.");
  const { index, low, high, name } = latent, model = models[0], frames = [];
  const last = values.length - 1;
  const there = discrete ? values : Array.from({ length: 25 }, (_, i) =>
    low + ((high - low) * (1 - Math.cos((Math.PI * i) / 24))) / 2);
  for (const value of [...there, ...there.slice(1, -1).reverse()]) {
    const codes = code.slice();
    codes[index] = value;
    const canvas = enlarged(imageData(await model.decode(codes), model.shape), 256);
    frames.push(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height));
  }
  const [{ height, width }] = frames, delay = discrete ? Math.round(200 / last) : 5;
  const animation = gif(frames.map(({ data }) => data), height, width, delay);
  download(animation, `${fileName(name)}.gif`);
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // not allowed, as in a frame
    const area = element("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  tell(`Copied ${what}.`);
}

const list = () => Array.from(code, (value) => Number(value.toFixed(4))).join(", ");

function python() {
  const { path, server } = models[0];
  if (server) {
    const address = location.protocol.startsWith("http") ? location.href : "http://127.0.0.1:8000/";
    const key = server.key ? ', "X-API-Key": "KEY"' : "";
    return [
      "import json, urllib.request", "import numpy as np", "",
      `codes = [[${list()}]]`,
      `body = json.dumps({"inputs": {"codes": codes}}).encode()`,
      `headers = {"Content-Type": "application/json"${key}}`,
      `request = urllib.request.Request("${new URL("decode", address)}", body, headers)`,
      "with urllib.request.urlopen(request) as response:",
      `    image = np.array(json.load(response)["outputs"]["decoded"][0])`,
    ].join("\n");
  }
  return [
    "import numpy as np", "from keras_disent import load_model", "",
    `model = load_model(${path})`,
    `codes = np.array([[${list()}]], "float32")`,
    "image = model.decode(codes)[0]  # (height, width, channels), 0 to 1",
  ].join("\n");
}

const showCode = () => ($("code").textContent = python());

const link = () => `${location.href.split("#")[0]}#code=${list().replaceAll(" ", "")}`;

function codeOfLink() {
  const match = /^#code=(.*)$/.exec(location.hash);
  if (!match) return null;
  const numbers = decodeURIComponent(match[1]).split(",").map(Number);
  if (numbers.length === code.length && numbers.every(Number.isFinite)) return numbers;
  tell(`The link does not fit: this model has ${code.length} latents, each a number.`);
  return null;
}

const shelf = `keras-disent knobs ${settings.id}`;

function storeNames() {
  const names = Object.fromEntries(models[0].latents.map(({ index, name }) => [index, name]));
  try {
    localStorage.setItem(shelf, JSON.stringify(names));
    tell("The name is kept in this browser; Page saves a copy of this page with it.");
  } catch {
    tell("This browser keeps no names; Page saves a copy of this page with it.");
  }
}

function storedNames() {
  try {
    return JSON.parse(localStorage.getItem(shelf)) ?? {};
  } catch {
    return {};
  }
}

function savePage() {
  const changed = structuredClone(settings);
  for (const latent of changed.models[0].latents) {
    latent.name = models[0].latents.find(({ index }) => index === latent.index).name;
  }
  const clone = root.cloneNode(true);
  clone.dataset.state = "starting";
  clone.querySelectorAll("[data-fill]").forEach((part) => part.replaceChildren());
  clone.querySelector("#settings").textContent = JSON.stringify(changed).replaceAll("<", "\\u003c");
  download(new Blob([`<!doctype html>\n${clone.outerHTML}\n`], { type: "text/html" }), `${fileName(settings.title)}.html`);
}

// -- pictures of the reader -----------------------------------------------------------------------

async function open(file) {
  if (!file || $("own").hidden) return;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    tell(`${file.name || "This"} is not a picture that this browser can read: choose a PNG, JPEG or WebP file.`);
    return;
  }
  try {
    const pixels = models.map((model) => prepared(bitmap, model.shape, model.pictures));
    const codes = [];
    for (const model of models) codes.push(Array.from(await model.encode(pixels[model.number])));
    begin({ codes, pixels });
    tell("Your picture, encoded in this page. It has not left your computer.");
  } catch (error) {
    tell(error.message ?? String(error));
  }
}

// -- start ----------------------------------------------------------------------------------------

async function start() {
  const began = performance.now();
  const engine = await startEngine();
  models = settings.models.map((model, number) => new Model(engine, structuredClone(model), number));
  main.classList.toggle("two", models.length > 1);
  const [first] = models, names = storedNames();
  for (const latent of first.latents) {
    latent.standard = latent.name;
    latent.name = names[latent.index] ?? latent.name;
  }
  const examples = await Promise.all(models.map(async ({ number, size, codes }) => {
    const all = await unzipped(`examples-${number}`);
    return codes.map((_, i) => all.subarray(i * size, (i + 1) * size));
  }));
  const example = (i) => ({
    codes: models.map(({ codes }) => codes[i]), example: i,
    pixels: first.drawn ? undefined : examples.map((images) => images[i]), // drawn from the code itself
  });
  origin = example(0);
  code = Float32Array.from(origin.codes[0]);
  views = models.map(makeView);
  $("views").append(...views.map(({ box }) => box));

  first.codes.forEach((_, i) => {
    const canvas = newCanvas(...first.shape);
    put(canvas, imageData(examples[0][i], first.shape, 1));
    const button = element("button", { type: "button", "aria-label": `Example ${i + 1}` }, canvas);
    button.dataset.example = i;
    button.addEventListener("click", () => begin(example(i)));
    $("examples").append(button);
  });
  restart();
  rows.push(...first.latents.map(makeRow));
  if (first.causal) {
    $("causal").hidden = false;
    whatIf = new Interventions(first, draw);
    $("causal").addEventListener("toggle", draw);
  }
  const silent = rows.filter(({ latent }) => latent.silent);
  $("latents").append(...rows.filter(({ latent }) => !latent.silent).map(({ box }) => box));
  $("silent").hidden = !silent.length;
  const [summary, inside] = $("silent").children;
  summary.textContent = `${silent.length} more ${silent.length === 1 ? "latent says" : "latents say"} nothing about the images`;
  inside.append(...silent.map(({ box }) => box));
  $("silent").addEventListener("toggle", later);
  $("own").hidden = !models.every(({ encodes }) => encodes);

  const on = (id, act) => $(id).addEventListener("click", act);
  on("shuffle", () => go(drawn(first)));
  on("random", () => {
    const random = drawn(first);
    begin({ codes: models.map((model) => Array.from(followed(model, random))) });
  });
  on("reset", () => go(origin.codes[0]));
  on("undo", () => step(past, future));
  on("redo", () => step(future, past));
  on("picture", savePicture);
  on("python", () => copy(python(), "Python code"));
  on("link", () => copy(link(), "a link to this code"));
  on("page", savePage);
  $("file").addEventListener("change", () => {
    open($("file").files[0]);
    $("file").value = "";
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.matches?.('input[type="text"], textarea');
    if (typing || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    if (event.shiftKey) step(future, past);
    else step(past, future);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    root.classList.add("dropping");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || root.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    root.classList.remove("dropping");
    open(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => open(event.clipboardData.files[0]));
  const follow = () => {
    const linked = codeOfLink();
    if (linked) go(linked);
  };
  addEventListener("hashchange", follow);
  addEventListener("message", ({ source, data }) => { // a notebook sets the code
    if (source !== parent || parent === window || data?.code?.length !== code.length) return;
    if (String(data.code) === String(Array.from(code))) return;
    stop();
    remember();
    set(data.code);
  });
  $("link").hidden = location.protocol === "about:"; // a frame without an address

  tell("");
  allow();
  const linked = codeOfLink();
  await set(linked ?? code);
  root.dataset.state = "ready";
  root.dataset.milliseconds = Math.round(performance.now() - began);
}

start().catch((error) => {
  root.dataset.state = "failed";
  tell(`This browser cannot run the model: ${error.message ?? error}`);
});
