// An animated GIF: each frame has its own 256 colors.

function gif(frames, height, width, delay) {
  const out = [];
  const word = (n) => out.push(n & 255, n >> 8);
  const text = (s) => out.push(...[...s].map((c) => c.charCodeAt(0)));
  text("GIF89a");
  word(width);
  word(height);
  out.push(0, 0, 0);
  out.push(0x21, 0xff, 11);
  text("NETSCAPE2.0");
  out.push(3, 1, 0, 0, 0); // again and again
  for (const frame of frames) {
    const { colors, indices } = quantized(frame);
    out.push(0x21, 0xf9, 4, 0);
    word(delay);
    out.push(0, 0, 0x2c, 0, 0, 0, 0);
    word(width);
    word(height);
    out.push(0x87); // a table of 256 colors
    for (let i = 0; i < 256; i++) out.push(...(colors[i] ?? [0, 0, 0]));
    compress(indices, out);
  }
  out.push(0x3b);
  return new Blob([new Uint8Array(out)], { type: "image/gif" });
}

// Median cut: split the colors at the middle of their widest channel until there are 256 boxes.
function quantized(rgba) {
  const counts = new Map(), keys = new Uint32Array(rgba.length / 4);
  for (let p = 0; p < keys.length; p++) {
    keys[p] = (rgba[4 * p] << 16) | (rgba[4 * p + 1] << 8) | rgba[4 * p + 2];
    counts.set(keys[p], (counts.get(keys[p]) ?? 0) + 1);
  }
  const channel = (key, k) => (key >> (16 - 8 * k)) & 255;
  const range = (box, k) => {
    const values = box.map((key) => channel(key, k));
    return values.reduce((a, b) => Math.max(a, b)) - values.reduce((a, b) => Math.min(a, b));
  };
  const widest = (box) => [0, 1, 2].map((k) => [range(box, k), k]).sort((a, b) => b[0] - a[0])[0];
  const boxes = [[...counts.keys()]].map((box) => ({ box, wide: widest(box) }));
  while (boxes.length < 256) {
    boxes.sort((a, b) => b.wide[0] - a.wide[0]);
    const { box, wide } = boxes[0];
    if (wide[0] === 0) break;
    box.sort((a, b) => channel(a, wide[1]) - channel(b, wide[1]));
    const halves = [box.slice(0, box.length >> 1), box.slice(box.length >> 1)];
    boxes.splice(0, 1, ...halves.map((half) => ({ box: half, wide: widest(half) })));
  }
  const number = new Map();
  const colors = boxes.map(({ box }, i) => {
    const total = box.reduce((sum, key) => sum + counts.get(key), 0);
    box.forEach((key) => number.set(key, i));
    return [0, 1, 2].map((k) =>
      Math.round(box.reduce((sum, key) => sum + counts.get(key) * channel(key, k), 0) / total));
  });
  return { colors, indices: Uint8Array.from(keys, (key) => number.get(key)) };
}

// LZW with codes of 9 to 12 bits, in blocks of at most 255 bytes.
function compress(indices, out) {
  const block = [];
  let bits = 0, held = 0, size = 9, next = 258, table = new Map();
  const byte = (value) => {
    block.push(value);
    if (block.length === 255) out.push(255, ...block.splice(0));
  };
  const emit = (code) => {
    held |= code << bits;
    bits += size;
    for (; bits >= 8; bits -= 8, held >>>= 8) byte(held & 255);
  };
  out.push(8);
  emit(256); // clear the table
  let prefix = indices[0];
  for (const index of indices.subarray(1)) {
    const key = (prefix << 8) | index;
    if (table.has(key)) {
      prefix = table.get(key);
      continue;
    }
    emit(prefix);
    if (next === 4096) {
      emit(256);
      [size, next, table] = [9, 258, new Map()];
    } else {
      table.set(key, next++);
      if (next > 1 << size && size < 12) size++;
    }
    prefix = index;
  }
  emit(prefix);
  if (++next > 1 << size && size < 12) size++; // as a reader counts
  emit(257); // the end
  if (bits) byte(held & 255);
  if (block.length) out.push(block.length, ...block);
  out.push(0);
}
