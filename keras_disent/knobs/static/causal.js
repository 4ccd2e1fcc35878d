// Interventions on the concepts of a model with a causal graph.

class Interventions {
  // `changed` is called after each change of a concept.
  constructor(model, changed) {
    Object.assign(this, { model, changed, fixed: new Map(), rows: [] });
    const { names, ranges } = model.causal, [height, width] = model.shape;
    this.views = ["intervention", "counterfactual"].map((name) => {
      const canvas = newCanvas(height, width);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Picture after the ${name}`);
      return canvas;
    });
    const captions = ["as the population would look", "as this very image would look"];
    $("outcomes").append(...this.views.map((canvas, i) => element("figure", {}, canvas,
      element("figcaption", {}, `${i ? "counterfactual" : "intervention"}: ${captions[i]}`))));
    names.forEach((name, i) => {
      const [low, high] = ranges[i], id = `concept-${i}`;
      const set = element("input", { type: "checkbox", id: `${id}-set` });
      const slider = element("input", { type: "range", id, min: low, max: high, step: (high - low) / 200, "aria-label": name });
      const output = element("output", { htmlFor: id });
      set.addEventListener("change", () => this.fix(i, set.checked ? slider.valueAsNumber : null));
      slider.addEventListener("input", () => this.fix(i, slider.valueAsNumber));
      this.rows.push({ set, slider, output });
      const label = element("label", { htmlFor: set.id }, set, ` do(${name})`);
      $("concepts").append(element("div", { className: "concept" }, label, slider, output));
    });
    this.drawGraph();
  }

  fix(i, value) {
    if (value === null) this.fixed.delete(i);
    else this.fixed.set(i, value);
    this.changed();
  }

  // Concepts that an intervention reaches along the edges of the graph.
  reached() {
    const { graph } = this.model.causal, result = new Set(this.fixed.keys());
    for (const j of result) graph[j].forEach((edge, i) => edge && result.add(i)); // a set grows while it is read
    return result;
  }

  async paint(code) {
    const { model } = this, { names } = model.causal, fixed = new Map(this.fixed), count = names.length;
    const repeated = (values) => Float32Array.from([...values, ...values]);
    const { decoded, concepts } = await model.run("intervene", {
      codes: [repeated(code), code.length],
      values: [repeated(names.map((_, i) => fixed.get(i) ?? 0)), count],
      fixed: [repeated(names.map((_, i) => Number(fixed.has(i)))), count],
      noise: [Float32Array.from([0, 1]), 1],
    }, 2);
    this.views.forEach((canvas, i) => put(canvas, imageData(decoded.data, model.shape, 255, i * model.size)));
    const reached = this.reached();
    this.rows.forEach(({ set, slider, output }, i) => {
      const value = concepts.data[count + i]; // of the counterfactual
      set.checked = fixed.has(i);
      if (!fixed.has(i)) slider.value = value;
      output.value = value.toPrecision(3).replace("-", "−");
      slider.setAttribute("aria-valuetext", output.value);
      const state = fixed.has(i) ? "set" : reached.has(i) ? "follows" : "";
      this.nodes[i].setAttribute("class", state);
      slider.closest(".concept").className = `concept ${state}`;
    });
    for (const { line, from, to } of this.lines) {
      line.setAttribute("class", fixed.has(to) ? "cut" : reached.has(from) ? "follows" : "");
    }
  }

  // Nodes on a circle, an arrow for each edge.
  drawGraph() {
    const { names, graph } = this.model.causal, tag = (name, attributes, ...children) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
      made.append(...children);
      return made;
    };
    const place = (i) => {
      const angle = Math.PI * (0.75 - (2 * i) / names.length);
      return names.length === 1 ? [150, 110] : [150 + 98 * Math.cos(angle), 110 - 72 * Math.sin(angle)];
    };
    const svg = tag("svg", { viewBox: "0 0 300 220", role: "img" });
    svg.append(tag("defs", {}, tag("marker", { id: "arrow", viewBox: "0 0 10 10", refX: 9, refY: 5, markerUnits: "userSpaceOnUse", markerWidth: 10, markerHeight: 10, orient: "auto" },
      tag("path", { d: "M0 0L10 5L0 10z" }))));
    this.lines = [];
    const told = [];
    graph.forEach((row, from) => row.forEach((edge, to) => {
      if (!edge) return;
      const [a, b] = [place(from), place(to)], length = Math.hypot(b[0] - a[0], b[1] - a[1]);
      const [x, y] = [(b[0] - a[0]) / length, (b[1] - a[1]) / length];
      const reach = Math.min(46 / Math.max(Math.abs(x), 0.01), 20 / Math.max(Math.abs(y), 0.01)); // to the border of a node
      const line = tag("line", { x1: a[0], y1: a[1], x2: b[0] - reach * x, y2: b[1] - reach * y, "marker-end": "url(#arrow)" });
      this.lines.push({ line, from, to });
      told.push(`${names[from]} causes ${names[to]}`);
      svg.append(line);
    }));
    this.nodes = names.map((name, i) => {
      const [x, y] = place(i), words = name.split(/[ _]/), text = tag("text", {});
      words.forEach((word, k) => text.append(tag("tspan", { x, y: y + 4 + 12 * (k - (words.length - 1) / 2) }, word)));
      const node = tag("g", {}, tag("rect", { x: x - 44, y: y - 18, width: 88, height: 36, rx: 8 }), text);
      svg.append(node);
      return node;
    });
    svg.setAttribute("aria-label", `Learned causal graph: ${told.join(", ") || "no edge"}`);
    $("graph").append(svg);
  }
}
