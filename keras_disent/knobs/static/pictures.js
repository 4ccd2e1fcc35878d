// Pictures: from numbers to canvases, and from files to the bytes that an encoder reads.

function imageData(values, [height, width, channels], scale = 255, offset = 0) {
  const image = new ImageData(width, height);
  for (let p = 0; p < height * width; p++) {
    for (let k = 0; k < 3; k++) {
      image.data[4 * p + k] = Math.round(scale * values[offset + p * channels + (channels === 3 ? k : 0)]);
    }
    image.data[4 * p + 3] = 255;
  }
  return image;
}

function newCanvas(height, width) {
  const canvas = document.createElement("canvas");
  canvas.height = height;
  canvas.width = width;
  return canvas;
}

const put = (canvas, image, x = 0, y = 0) => canvas.getContext("2d").putImageData(image, x, y);

const HEAT = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

// The change of each pixel, averaged over channels, in colors; also the largest one.
function heatMap(values, start, [height, width, channels]) {
  const image = new ImageData(width, height), change = new Float32Array(height * width);
  for (let i = 0; i < values.length; i++) {
    change[Math.floor(i / channels)] += Math.abs(values[i] - start[i]) / channels;
  }
  const most = change.reduce((a, b) => Math.max(a, b), 0), top = Math.max(most, 0.1);
  change.forEach((value, p) => {
    const place = (value / top) * (HEAT.length - 1);
    const low = Math.min(Math.floor(place), HEAT.length - 2);
    for (let k = 0; k < 3; k++) {
      image.data[4 * p + k] = HEAT[low][k] + (place - low) * (HEAT[low + 1][k] - HEAT[low][k]);
    }
    image.data[4 * p + 3] = 255;
  });
  return [image, most];
}

// As pictures became images in training: color or gray, cropped or padded, then resampled.
function prepared(bitmap, [height, width, channels], { crop, fit = "crop", background }) {
  let w = bitmap.width, h = bitmap.height, to = [width, height];
  if (crop && Math.min(w, h) < crop) {
    throw new Error(`A picture for this model has at least ${crop} x ${crop} pixels. Got ${w} x ${h}.`);
  }
  if (crop) [w, h] = [crop, crop];
  else if (fit === "pad") {
    const ratio = Math.min(width / w, height / h);
    to = [Math.round(w * ratio), Math.round(h * ratio)];
  } else if (fit === "crop") {
    const ratio = Math.min(w / width, h / height);
    [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  }
  const canvas = newCanvas(h, w), context = canvas.getContext("2d");
  context.fillStyle = `rgb(${background})`;
  context.fillRect(0, 0, w, h);
  context.drawImage(bitmap, -Math.floor((bitmap.width - w) / 2), -Math.floor((bitmap.height - h) / 2));
  const small = resampled(inChannels(context.getImageData(0, 0, w, h).data, channels), w, h, ...to, channels);
  if (to[0] === width && to[1] === height) return small;
  const behind = inChannels([...background, 255], channels), result = new Uint8Array(height * width * channels);
  const left = Math.round((width - to[0]) / 2), top = Math.round((height - to[1]) / 2);
  result.forEach((_, i) => (result[i] = behind[i % channels]));
  for (let y = 0; y < to[1]; y++) {
    const row = small.subarray(y * to[0] * channels, (y + 1) * to[0] * channels);
    result.set(row, ((top + y) * width + left) * channels);
  }
  return result;
}

function inChannels(rgba, channels) {
  const result = new Uint8Array((rgba.length / 4) * channels);
  for (let p = 0; p < rgba.length / 4; p++) {
    const [r, g, b] = [rgba[4 * p], rgba[4 * p + 1], rgba[4 * p + 2]];
    if (channels === 1) result[p] = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16; // Rec. 601
    else result.set([r, g, b], 3 * p);
  }
  return result;
}

// Hamming, as wide as the pixels of the result: first the rows, then the columns.
function resampled(pixels, w, h, width, height, channels) {
  const rows = along(pixels, h, w, width, channels, w * channels, channels);
  const columns = along(rows, width, h, height, channels, channels, width * channels);
  const result = new Uint8Array(width * height * channels);
  for (let x = 0; x < width; x++) {
    for (let y = 0; y < height; y++) {
      for (let k = 0; k < channels; k++) {
        result[(y * width + x) * channels + k] = columns[(x * height + y) * channels + k];
      }
    }
  }
  return result;
}

// Resample each of n lines from `from` to `to` pixels; a line begins every `line` numbers, a pixel every `pixel`.
function along(values, n, from, to, channels, line, pixel) {
  const result = new Uint8ClampedArray(n * to * channels), scale = from / to;
  const support = Math.max(scale, 1);
  const hamming = (x) => {
    if (x === 0) return 1;
    return Math.abs(x) >= 1 ? 0 : (Math.sin(Math.PI * x) / (Math.PI * x)) * (0.54 + 0.46 * Math.cos(Math.PI * x));
  };
  for (let t = 0; t < to; t++) {
    const center = (t + 0.5) * scale;
    const first = Math.max(0, Math.floor(center - support + 0.5));
    const last = Math.min(from, Math.floor(center + support + 0.5));
    const weights = [];
    for (let s = first; s < last; s++) weights.push(hamming((s + 0.5 - center) / Math.max(scale, 1)));
    const total = weights.reduce((a, b) => a + b);
    for (let i = 0; i < n; i++) {
      for (let k = 0; k < channels; k++) {
        let sum = 0;
        for (let s = first; s < last; s++) sum += weights[s - first] * values[i * line + s * pixel + k];
        result[(i * to + t) * channels + k] = sum / total;
      }
    }
  }
  return result;
}
