// The engine and the networks, which the page holds as text: nothing is fetched.

const $ = (id) => document.getElementById(id);

function bytes(id) {
  const text = $(id).textContent.trim();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const raw = atob(text), result = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) result[i] = raw.charCodeAt(i);
  return result;
}

async function unzipped(id) {
  const stream = new Blob([bytes(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function startEngine() {
  const [script, wasm] = await Promise.all([unzipped("engine-script"), unzipped("engine-wasm")]);
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const engine = await import(url);
  URL.revokeObjectURL(url);
  Object.assign(engine.env.wasm, { numThreads: 1, proxy: false, wasmBinary: wasm.buffer });
  return engine;
}

let turn = Promise.resolve();
function inTurn(work) { // the engine does one thing at a time
  const result = turn.then(work);
  turn = result.catch(() => {});
  return result;
}

class Model {
  constructor(engine, settings, number) {
    Object.assign(this, settings, { engine, number, networks: {} });
    this.size = this.shape.reduce((a, b) => a * b);
  }

  async network(name) {
    this.weights ??= await unzipped(`weights-${this.number}`);
    this.networks[name] ??= await this.engine.InferenceSession.create(
      await unzipped(`${name}-${this.number}`),
      { executionProviders: ["wasm"], externalData: [{ path: "weights.bin", data: this.weights }] },
    );
    return this.networks[name];
  }

  // Run a network on inputs {name: [numbers of n rows, columns]}.
  run(name, inputs, n = 1) {
    return inTurn(async () => {
      const network = await this.network(name), feeds = {};
      for (const [input, [data, columns]] of Object.entries(inputs)) {
        const kind = data instanceof Uint8Array ? "uint8" : "float32";
        feeds[input] = new this.engine.Tensor(kind, data, [n].concat(columns));
      }
      return network.run(feeds);
    });
  }

  // Codes (n rows of one Float32Array) to pictures: numbers from 0 to 1 (n, h, w, c).
  async decode(codes, n = 1) {
    const { data } = (await this.run("decode", { codes: [codes, codes.length / n] }, n)).decoded;
    return data instanceof Uint8Array ? Float32Array.from(data, (value) => value / 255) : data;
  }

  // Bytes (h, w, c) of one picture to its code.
  async encode(pixels) {
    return (await this.run("encode", { images: [pixels, this.shape] })).mean.data;
  }
}
