/* The interactive page of one convolution.
 *
 *   1. data        what convcli wrote into the file
 *   2. state       what the controls choose; it is kept in the fragment of the address
 *   3. arithmetic  the layer, its gradients, and the terms of one value
 *   4. text        numbers, indices and formulas
 *   5. grids       tables of numbers that the keyboard and the mouse can walk through
 *   6. views       forward, back to x, back to w
 *   7. cards       sizes, parameters, the matrix, the part of the input
 *   8. controls    settings, time, keys
 *
 * Inside, every array has three spatial axes; an input with fewer has axes of length 1 in front.
 * Along an axis, window position `a` of output `p` is at place v = p * step + a * dilation + start.
 * A place is a sample, a copy of one, a constant outside, or (transposed) a gap between samples.
 */
// 1. Data.

const DATA = JSON.parse(document.getElementById("data").textContent);
const TYPES = {
  uint8: Uint8Array,
  int8: Int8Array,
  uint16: Uint16Array,
  int16: Int16Array,
  int32: Int32Array,
  float32: Float32Array,
  float64: Float64Array,
};

function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.data), (character) => character.charCodeAt(0));
  return { shape: packed.shape, values: Float64Array.from(new TYPES[packed.type](bytes.buffer)) };
}

const STORED = unpack(DATA.x);
const KERNEL = unpack(DATA.w);
const GIVEN = DATA.dy && unpack(DATA.dy);
const ENGINE = Object.fromEntries(Object.entries(DATA.engine).map(([key, p]) => [key, unpack(p)]));
const DIMS = DATA.sides.length;
const product = (list) => list.reduce((a, b) => a * b, 1);
const range = (n) => Array.from({ length: n }, (_, i) => i);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const three = (list, fill) => [...Array(3 - DIMS).fill(fill), ...list];
const real = (list) => list.slice(3 - DIMS); // of three axes, those that the input has

const SIZE = three(DATA.sides, 1);
const AREA = three(STORED.shape.slice(1), 1);
const WINDOW = three(KERNEL.shape.slice(1, -1), 1);
const BANK = KERNEL.shape[0];
const DEPTH = KERNEL.shape[KERNEL.shape.length - 1]; // channels of one kernel
const CHANNELS = STORED.shape[0];
const GROUPS = DATA.groups;
const TAPS = product(WINDOW);
const SAMPLES = product(SIZE);
const SHARED = DATA.shared;
const BOUNDARIES = ["constant", "edge", "reflect", "symmetric", "wrap"];
const ACTIVATIONS = ["", "relu", "leaky-relu", "sigmoid", "tanh"];
const VIEWS = ["forward", "dx", "dw"];
const LEAK = 0.01;
const DRAWN = 600_000; // entries of the matrix that are drawn
const AXIS_NAMES = ["depth", "height", "width"]
  .slice(3 - DIMS)
  .map((name) => (DIMS === 1 ? "length" : name));
const LISTED = 24; // terms that are written out
const can = {
  // which directions the channels allow
  false: Boolean(SHARED) || CHANNELS === GROUPS * DEPTH,
  true: SHARED === "each" || (!SHARED && CHANNELS === BANK),
};

/** Return flat index of [z, y, x] in an array of this shape. */
const flat = (index, shape) => (index[0] * shape[1] + index[1]) * shape[2] + index[2];
const split = (at, shape) => [
  Math.floor(at / (shape[1] * shape[2])),
  Math.floor(at / shape[2]) % shape[1],
  at % shape[2],
];

// 2. State.

const START = {
  view: DATA.state.view,
  op: DATA.state.op,
  transposed: DATA.state.transposed,
  stride: DATA.state.stride,
  dilation: DATA.state.dilation,
  padding: DATA.state.padding,
  extra: DATA.state.extra,
  boundary: DATA.state.boundary,
  cval: DATA.state.cval,
  bias: DATA.state.bias,
  activation: DATA.state.activation,
  o: DATA.state.filter, // channel of the output
  c: 0, // channel of the input
  t: DATA.state.output, // output, flat
  m:
    Math.floor(SIZE[0] / 2) * SIZE[1] * SIZE[2] +
    Math.floor(SIZE[1] / 2) * SIZE[2] +
    Math.floor(SIZE[2] / 2), // sample, flat
  k: 0, // tap of the kernel as given, flat
  plane: 0, // plane of the window, for a volume
  part: DATA.state.part,
  w: {}, // edited taps by their flat index
  dy: {}, // edited upstream gradients by their flat index
  lang: DATA.language,
};
const SHAPING = [
  "op",
  "transposed",
  "stride",
  "dilation",
  "padding",
  "extra",
  "boundary",
  "cval",
  "bias",
  "activation",
  "part",
  "w",
  "dy",
]; // what changes the values
let S = START;
START.c = inputsOf(START.o)[0];
S = structuredClone(START);
let A; // the arrays of the state, from `compute`

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
const isFirst = () => SHAPING.every((key) => same(S[key], START[key]));

function encode(value) {
  if (Array.isArray(value)) return value.map((v) => (Array.isArray(v) ? v.join(":") : v)).join(",");
  if (typeof value === "object")
    return Object.entries(value)
      .map((pair) => pair.join(":"))
      .join(",");
  return String(value);
}

/** Return the state's differences from the first one, as a fragment. */
function fragment() {
  const coded = (value) =>
    encodeURIComponent(encode(value)).replaceAll("%2C", ",").replaceAll("%3A", ":");
  const changed = Object.keys(START).filter((key) => !same(S[key], START[key]));
  return changed.map((key) => `${key}=${coded(S[key])}`).join("&");
}

const wholes = (text, low, high) => {
  const list = text.split(",").map(Number);
  const ok =
    list.length === DIMS && list.every((v) => Number.isInteger(v) && v >= low && v <= high);
  return ok ? list : null;
};
const edits = (text, size) => {
  const pairs = text
    .split(",")
    .filter(Boolean)
    .map((pair) => pair.split(":"));
  const ok = pairs.every(([i, v]) => /^\d+$/.test(i) && +i < size && v !== "" && isFinite(+v));
  return ok ? Object.fromEntries(pairs.map(([i, v]) => [i, +v])) : null;
};
const one = (choices) => (text) => (choices.includes(text) ? text : null);
const number = (text) => (text !== "" && isFinite(+text) ? +text : null);
const whole = (text) => (/^\d{1,7}$/.test(text) ? +text : null);
const READ = {
  // how each part of a fragment is read; null keeps the first state's
  view: one(VIEWS),
  op: one(["correlate", "convolve"]),
  transposed: (text) => (can[text] ? text === "true" : null),
  stride: (text) => wholes(text, 1, 64),
  dilation: (text) => wholes(text, 1, 64),
  padding: (text) => {
    if (["valid", "same", "same-lower", "full"].includes(text)) return text;
    const list = text.split(",").map((pair) => pair.split(":").map(Number));
    const ok =
      list.length === DIMS &&
      list.every(
        (pair) => pair.length === 2 && pair.every((v) => Number.isInteger(v) && v >= 0 && v <= 32),
      );
    return ok ? list : null;
  },
  extra: (text) => wholes(text, 0, 63),
  boundary: one(BOUNDARIES),
  cval: number,
  bias: number,
  activation: one(ACTIVATIONS),
  o: whole,
  c: whole,
  t: whole,
  m: whole,
  k: whole,
  plane: whole,
  part: (text) => {
    const list = wholes(text, 0, 1e7);
    return list && list.map((v, i) => clamp(v, 0, STORED.shape[i + 1] - DATA.sides[i]));
  },
  w: (text) => edits(text, KERNEL.values.length),
  dy: (text) => edits(text, 1e7),
  lang: one(Object.keys(DATA.texts)),
};

function readFragment() {
  S = structuredClone(START);
  for (const part of location.hash.slice(1).split("&")) {
    const [key, text = ""] = part.split("=");
    if (!Object.hasOwn(READ, key)) continue;
    let value = null;
    try {
      value = READ[key](decodeURIComponent(text));
    } catch {
      /* not written by this page */
    }
    if (value !== null) S[key] = value;
  }
  if (!can[S.transposed]) S.transposed = START.transposed;
}

let saving = 0;
/** Keep the state in the address; later, as browsers limit how often that may be done. */
function save() {
  clearTimeout(saving);
  saving = setTimeout(() => {
    const text = fragment();
    if (text === location.hash.slice(1)) return;
    try {
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    } catch {
      /* too often */
    }
  }, 250);
}

// 3. Arithmetic.

/** Return the sample that the boundary puts at place v of an axis of n samples; -1 for none. */
function fold(v, n, boundary) {
  const mod = (a, b) => ((a % b) + b) % b;
  if (v >= 0 && v < n) return v;
  if (boundary === "edge") return v < 0 ? 0 : n - 1;
  if (boundary === "wrap") return mod(v, n);
  if (boundary === "symmetric") return Math.min(mod(v, 2 * n), 2 * n - 1 - mod(v, 2 * n));
  if (boundary === "reflect") {
    const period = Math.max(2 * n - 2, 1);
    return Math.min(mod(v, period), 2 * n - 2 - mod(v, period));
  }
  return -1;
}

/** Describe axis i of three: its sizes, its padding, and where each window position is. */
function axisOf(i) {
  const at = i - (3 - DIMS);
  const n = SIZE[i],
    k = WINDOW[i];
  if (at < 0)
    return {
      n,
      k,
      s: 1,
      d: 1,
      lo: 0,
      hi: 0,
      reach: 1,
      out: 1,
      extra: 0,
      step: 1,
      start: 0,
      from: 0,
      to: 1,
      source: () => 0,
    };
  const s = S.stride[at],
    d = S.dilation[at],
    reach = d * (k - 1) + 1;
  const halves = (total) =>
    S.padding === "same"
      ? [Math.floor(total / 2), Math.ceil(total / 2)]
      : [Math.ceil(total / 2), Math.floor(total / 2)];
  let extra = S.transposed ? Math.min(S.extra[at], Math.max(s, d) - 1) : 0,
    lo = 0,
    hi = 0;
  if (S.padding === "full") lo = hi = reach - 1;
  else if (S.padding === "same" || S.padding === "same-lower") {
    const surplus = S.transposed ? reach + extra - s : (Math.ceil(n / s) - 1) * s + reach - n;
    [lo, hi] = halves(Math.max(surplus, 0));
    if (S.transposed) extra += Math.max(-surplus, 0);
  } else if (S.padding !== "valid") [lo, hi] = S.padding[at];
  const base = { n, k, s, d, lo, hi, reach, extra };
  if (!S.transposed) {
    const out = Math.max(Math.floor((n + lo + hi - reach) / s) + 1, 0);
    return {
      ...base,
      out,
      step: s,
      start: -lo,
      from: -lo,
      to: n + hi,
      source: (v) => fold(v, n, S.boundary),
    };
  }
  const out = Math.max(s * (n - 1) + extra + reach - lo - hi, 0);
  const last = s * (n - 1);
  return {
    ...base,
    out,
    step: 1,
    start: lo - reach + 1,
    from: Math.min(0, lo - reach + 1),
    to: Math.max(last + 1, out + lo),
    source: (v) => (v >= 0 && v <= last && v % s === 0 ? v / s : -1),
  };
}

/** Return "sample", "copy", "gap" or "outside" for places along three axes. */
function kindOf(places) {
  let kind = "sample";
  for (let i = 0; i < 3; i++) {
    const axis = A.axes[i],
      v = places[i];
    const inside = v >= 0 && v < (S.transposed ? axis.s * (axis.n - 1) + 1 : axis.n);
    if (axis.source(v) < 0 && !(inside && S.transposed)) return "outside";
    if (!inside) kind = "copy";
    else if (axis.source(v) < 0) kind = "gap";
  }
  return kind;
}

const sampleAt = (places) => {
  const index = places.map((v, i) => A.axes[i].source(v));
  return index.some((v) => v < 0) ? -1 : flat(index, SIZE);
};
const placeOf = (p, a) =>
  p.map((out, i) => out * A.axes[i].step + a[i] * A.axes[i].d + A.axes[i].start);
const tapOf = (a) => flat(A.flipped ? a.map((v, i) => WINDOW[i] - 1 - v) : a, WINDOW);
const windowOf = (tap) => {
  // the window position of a tap: tapOf is its own inverse
  const index = split(tap, WINDOW);
  return A.flipped ? index.map((v, i) => WINDOW[i] - 1 - v) : index;
};

/** Return the input channels that output channel o sums over. */
function inputsOf(o) {
  if (SHARED === "each") return [o];
  if (SHARED === "sum") return range(CHANNELS);
  const group = Math.floor(o / (S.transposed ? DEPTH : BANK / GROUPS));
  const each = S.transposed ? BANK / GROUPS : DEPTH;
  return range(each).map((c) => group * each + c);
}

/** Return where the taps of output channel o and input channel c start in w, and their stride. */
function bankOf(o, c) {
  if (SHARED) return { kernel: 0, channel: 0 };
  return S.transposed ? { kernel: c, channel: o % DEPTH } : { kernel: o, channel: c % DEPTH };
}
const weightIndex = (o, c, tap) => {
  const { kernel, channel } = bankOf(o, c);
  return (kernel * TAPS + tap) * DEPTH + channel;
};

function inputPart() {
  const part = three(S.part, 0),
    x = new Float64Array(CHANNELS * SAMPLES);
  for (let c = 0, to = 0; c < CHANNELS; c++) {
    for (let s = 0; s < SAMPLES; s++, to++) {
      const index = split(s, SIZE).map((v, i) => v + part[i]);
      x[to] = STORED.values[c * product(AREA) + flat(index, AREA)];
    }
  }
  return x;
}

/** Call visit(p, tap, sample) for every product of output channel o with input channel c. */
function walk(visit) {
  const [[a0, a1, a2], [k0, k1, k2]] = [A.axes, WINDOW];
  const tables = A.axes.map((axis) =>
    Int32Array.from({ length: axis.out * axis.k }, (_, q) =>
      axis.source(Math.floor(q / axis.k) * axis.step + (q % axis.k) * axis.d + axis.start),
    ),
  );
  const taps = range(TAPS).map((q) => tapOf(split(q, WINDOW)));
  for (let p = 0, p0 = 0; p0 < a0.out; p0++)
    for (let p1 = 0; p1 < a1.out; p1++)
      for (let p2 = 0; p2 < a2.out; p2++, p++) {
        for (let q = 0, q0 = 0; q0 < k0; q0++)
          for (let q1 = 0; q1 < k1; q1++)
            for (let q2 = 0; q2 < k2; q2++, q++) {
              const i = tables[0][p0 * k0 + q0],
                j = tables[1][p1 * k1 + q1],
                l = tables[2][p2 * k2 + q2];
              visit(p, taps[q], i < 0 || j < 0 || l < 0 ? -1 : (i * SIZE[1] + j) * SIZE[2] + l);
            }
      }
}

const activate = {
  "": (z) => z,
  relu: (z) => (z < 0 ? 0 : z),
  "leaky-relu": (z) => (z < 0 ? LEAK * z : z),
  sigmoid: (z) => 1 / (1 + Math.exp(-z)),
  tanh: Math.tanh,
};
const slope = {
  "": () => 1,
  relu: (z) => (z > 0 ? 1 : 0),
  "leaky-relu": (z) => (z > 0 ? 1 : LEAK),
  sigmoid: (z) => {
    const v = activate.sigmoid(z);
    return v * (1 - v);
  },
  tanh: (z) => 1 - Math.tanh(z) ** 2,
};

/** Compute y, and dx, dw and db from the upstream gradient, for the state. */
function compute() {
  A = { axes: range(3).map(axisOf), flipped: (S.op === "convolve") !== S.transposed };
  A.outs = A.axes.map((axis) => axis.out);
  A.n = product(A.outs);
  A.filters =
    SHARED === "each" ? CHANNELS : SHARED === "sum" ? 1 : S.transposed ? DEPTH * GROUPS : BANK;
  A.x = inputPart();
  A.w = Float64Array.from(KERNEL.values);
  for (const [i, v] of Object.entries(S.w)) A.w[i] = v;
  A.outside = S.transposed ? 0 : S.cval;
  const { x, w, n, filters } = A;
  A.z = new Float64Array(filters * n).fill(S.bias);
  for (let o = 0; o < filters; o++)
    for (const c of inputsOf(o)) {
      const base = weightIndex(o, c, 0);
      walk((p, tap, s) => {
        A.z[o * n + p] += w[base + tap * DEPTH] * (s < 0 ? A.outside : x[c * SAMPLES + s]);
      });
    }
  A.y = A.z.map(activate[S.activation]);
  const fits =
    GIVEN && GIVEN.values.length === filters * n && same(GIVEN.shape, [filters, ...real(A.outs)]);
  A.dy = fits ? Float64Array.from(GIVEN.values) : new Float64Array(filters * n).fill(1);
  A.given = fits;
  for (const [i, v] of Object.entries(S.dy)) if (+i < A.dy.length) A.dy[i] = v;
  A.delta = A.dy.map((v, i) => v * slope[S.activation](A.z[i]));
  A.dx = new Float64Array(x.length);
  A.dw = new Float64Array(w.length);
  A.db = new Float64Array(filters);
  for (let o = 0; o < filters; o++) {
    for (let p = 0; p < n; p++) A.db[o] += A.delta[o * n + p];
    for (const c of inputsOf(o)) {
      const base = weightIndex(o, c, 0);
      walk((p, tap, s) => {
        const delta = A.delta[o * n + p];
        A.dw[base + tap * DEPTH] += delta * (s < 0 ? A.outside : x[c * SAMPLES + s]);
        if (s >= 0) A.dx[c * SAMPLES + s] += delta * w[base + tap * DEPTH];
      });
    }
  }
  A.inverse = A.axes.map((axis) => {
    // for each sample, the pairs of output and window position
    const found = range(axis.n).map(() => []);
    for (let p = 0; p < axis.out; p++)
      for (let a = 0; a < axis.k; a++) {
        const s = axis.source(p * axis.step + a * axis.d + axis.start);
        if (s >= 0) found[s].push([p, a]);
      }
    return found;
  });
}

/** Keep what is chosen inside the arrays. */
function settle() {
  S.o = clamp(S.o, 0, A.filters - 1);
  if (SHARED === "each") S.c = S.o;
  const inputs = inputsOf(S.o);
  if (!inputs.includes(S.c)) S.c = inputs[0];
  S.t = clamp(S.t, 0, Math.max(A.n - 1, 0));
  S.m = clamp(S.m, 0, SAMPLES - 1);
  S.k = clamp(S.k, 0, TAPS - 1);
  S.plane = clamp(S.plane, 0, WINDOW[0] - 1);
}

/** Return the products under the window of output p, in the order of the window. */
function forwardTerms(o, c, output) {
  const p = split(output, A.outs);
  return range(TAPS).map((q) => {
    const a = split(q, WINDOW),
      places = placeOf(p, a),
      sample = sampleAt(places),
      tap = tapOf(a);
    const x = sample < 0 ? A.outside : A.x[c * SAMPLES + sample],
      w = A.w[weightIndex(o, c, tap)];
    return { a, tap, places, sample, left: x, right: w, value: x * w };
  });
}

/** Return the products of the gradient of sample m: every output that sees it, with its tap. */
function inputTerms(o, c, m) {
  const [i0, i1, i2] = split(m, SIZE),
    terms = [];
  for (const [p0, b0] of A.inverse[0][i0])
    for (const [p1, b1] of A.inverse[1][i1])
      for (const [p2, b2] of A.inverse[2][i2]) {
        const a = [b0, b1, b2],
          p = flat([p0, p1, p2], A.outs),
          tap = tapOf(a);
        const delta = A.delta[o * A.n + p],
          w = A.w[weightIndex(o, c, tap)];
        terms.push({
          a,
          p,
          tap,
          places: placeOf([p0, p1, p2], a),
          left: delta,
          right: w,
          value: delta * w,
        });
      }
  return terms;
}

/** Return the products of the gradient of one tap: every output, with the sample under the tap. */
function kernelTerms(o, c, tap) {
  const a = windowOf(tap);
  return range(A.n).map((p) => {
    const places = placeOf(split(p, A.outs), a),
      sample = sampleAt(places);
    const x = sample < 0 ? A.outside : A.x[c * SAMPLES + sample],
      delta = A.delta[o * A.n + p];
    return { a, p, places, sample, left: x, right: delta, value: x * delta };
  });
}

const total = (terms) => terms.reduce((sum, term) => sum + term.value, 0);

// 4. Text.

const TEXTS = DATA.texts;

/** Return a text of the page's language; {name} is replaced by a value. */
function t(key, values = {}) {
  return (TEXTS[S.lang][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
const minus = (text) => text.replace("-", "−");

/** Format a number to a few significant digits; whole numbers as they are. */
function num(value, digits = 6) {
  if (Number.isNaN(value)) return "NaN";
  if (!isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return minus(String(value + 0 || 0));
  const size = Math.abs(value);
  if (size >= 1e7 || size < 1e-4)
    return minus(
      value
        .toExponential(Math.max(digits - 3, 1))
        .replace("e+", "e")
        .replace(/\.?0+e/, "e"),
    );
  return minus(String(+value.toPrecision(digits)));
}
const short = (value) => num(value, 4);
const count = (value) => value.toLocaleString("en");
const SIGNS = { 1: "pos", "-1": "neg" };
const toned = (value, text) => `<span class="${SIGNS[Math.sign(value)] ?? ""}">${text}</span>`;
const signed = (value) => toned(value, short(value));
const exact = (value) => toned(value, num(value));
const factor = (value) => (value < 0 ? `(${signed(value)})` : signed(value));

/** Join terms with their signs. */
function joined(values) {
  const next = (v) => `${v < 0 ? " − " : " + "}${toned(v, short(Math.abs(v)))}`;
  return values.map((v, i) => (i === 0 ? signed(v) : next(v))).join("");
}

/** Return an index with its channel where the user's array has it. */
function indexed(name, spatial, channel, end) {
  const all =
    end === "first" ? [channel, ...spatial] : end === "last" ? [...spatial, channel] : spatial;
  return `${name}[${all.join(",")}]`;
}
const nameX = (spatial, c, name = "x") => indexed(name, spatial, c, DATA.axis.x);
const nameY = (spatial, o, name = "y") =>
  indexed(name, spatial, o, DATA.axis.y || (A.filters > 1 ? "last" : ""));

/** Return an index of w: of a kernel of a bank, and of its channel, as the user gave it. */
function weight(spatial, kernel, channel, name = "w") {
  if (DATA.axis.bank)
    return indexed(name, spatial, channel, DATA.axis.w).replace("[", `[${kernel},`);
  return indexed(name, spatial, BANK > 1 ? kernel : channel, DATA.axis.w);
}
const nameW = (spatial, o, c, name) =>
  weight(spatial, bankOf(o, c).kernel, bankOf(o, c).channel, name);
const nameTap = (tap, o, c, name) => nameW(real(split(tap, WINDOW)), o, c, name);
const nameOut = (p, o, name) => nameY(real(split(p, A.outs)), o, name);
const nameSample = (m, c, name) => nameX(real(split(m, SIZE)), c, name);

/** Describe the value at three places: a sample, its copy, a gap, or the constant outside. */
function nameAt(places, c) {
  const kind = kindOf(places),
    sample = sampleAt(places);
  if (kind === "sample") return nameSample(sample, c);
  if (kind === "copy") return t("copyOf", { name: nameSample(sample, c) });
  return t(kind === "gap" ? "gapHere" : "outsideHere");
}

const LETTERS = {
  tap: [[], ["a"], ["a", "b"], ["a", "b", "e"]][DIMS],
  out: [[], ["i"], ["i", "j"], ["i", "j", "l"]][DIMS],
};

/** Return constant + factor * letter as text, such as 3+2a. */
function affine(constant, times, letter) {
  const term = times === 1 || times === -1 ? letter : `${Math.abs(times)}${letter}`;
  if (constant === 0) return times < 0 ? `−${term}` : term;
  return `${num(constant)}${times < 0 ? "−" : "+"}${term}`;
}
const axes = () => real(A.axes);
const sumOver = (letters) => `<span class="sigma">Σ</span><sub>${letters.join(",")}</sub> `;

/** Return the definition of the chosen value, with its numbers filled in. */
function definition() {
  const define = { forward: defineOutput, dx: defineInputGradient, dw: defineKernelGradient };
  return `<b>${chosenValue().name}</b> = ${define[S.view]()}`;
}

const stretchedX = () => (S.transposed && S.stride.some((s) => s > 1) ? "x̂" : "x");

function defineOutput() {
  const several = inputsOf(S.o).length > 1,
    p = real(split(S.t, A.outs));
  const moved = axes().map((axis, i) => {
    const first = p[i] * axis.step + axis.start + (A.flipped ? (axis.k - 1) * axis.d : 0);
    return affine(first, A.flipped ? -axis.d : axis.d, LETTERS.tap[i]);
  });
  const sum = sumOver(several ? [...LETTERS.tap, "c"] : LETTERS.tap);
  const x = nameX(moved, several ? "c" : S.c, stretchedX());
  return wrapped(`${sum}${lettered(LETTERS.tap, "c", several)} · ${x}`);
}

function defineInputGradient() {
  const several = outputsOf(S.c).length > 1,
    m = real(split(S.m, SIZE));
  const moved = axes().map((axis, i) => {
    const back = (axis.k - 1) * axis.d,
      times = A.flipped ? axis.d : -axis.d;
    if (S.transposed) {
      return affine(axis.s * m[i] - axis.lo + (A.flipped ? 0 : back), times, LETTERS.tap[i]);
    }
    const text = affine(m[i] + axis.lo - (A.flipped ? back : 0), times, LETTERS.tap[i]);
    return axis.s > 1 ? `(${text})/${axis.s}` : text;
  });
  const sum = sumOver(several ? [...LETTERS.tap, "o"] : LETTERS.tap);
  const delta = nameY(moved, several ? "o" : S.o, "δ");
  return `${sum}${delta} · ${lettered(LETTERS.tap, "o", several)}`;
}

function defineKernelGradient() {
  const several = kernelPairs().length > 1,
    a = real(windowOf(S.k));
  const moved = axes().map((axis, i) =>
    affine(a[i] * axis.d + axis.start, axis.step, LETTERS.out[i]),
  );
  const sum = sumOver(several ? [...LETTERS.out, "c"] : LETTERS.out);
  const delta = nameY(LETTERS.out, several && SHARED === "each" ? "c" : S.o, "δ");
  return `${sum}${delta} · ${nameX(moved, several ? "c" : S.c, stretchedX())}`;
}

/** Return w with letters for its taps, and "c" or "o" for the channel that is summed over. */
function lettered(tap, letter, several) {
  const { kernel, channel } = bankOf(S.o, S.c);
  const ofKernels = letter === (S.transposed ? "c" : "o"); // the sum is over kernels, or channels
  return weight(
    tap,
    several && ofKernels ? letter : kernel,
    several && !ofKernels ? letter : channel,
  );
}

/** Add the bias and the activation to a formula. */
function wrapped(sum) {
  const biased = S.bias ? `${sum} + b` : sum;
  return S.activation ? `${S.activation}(${biased})` : biased;
}

/** Return the output channels that use input channel c. */
const outputsOf = (c) => range(A.filters).filter((o) => inputsOf(o).includes(c));
/** Return the pairs of output and input channel that share the chosen tap. */
function kernelPairs() {
  if (SHARED === "each") return range(CHANNELS).map((c) => [c, c]);
  return SHARED === "sum" ? range(CHANNELS).map((c) => [0, c]) : [[S.o, S.c]];
}

// 5. Grids.

/** Create an element: h("td.a.b", {attributes}, ...children). */
function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "html") element.innerHTML = value;
    else if (value !== false && value !== null && value !== undefined)
      element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}
const still = matchMedia("(prefers-reduced-motion: reduce)");
const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/** A table of numbers. One cell at a time can be reached with Tab; arrows move to the others. */
class Grid {
  /** pick(row, column): a cell is pointed at or moved to. edit(row, column, value): it is changed;
   *  without a value, what it is now. editable(): whether cells may be changed now. */
  constructor({ pick, edit, editable = () => Boolean(edit) } = {}) {
    this.pick = pick;
    this.edit = edit;
    this.editable = editable;
    this.active = [0, 0];
    this.frame = h("div.frame", { "aria-hidden": "true", hidden: true });
    this.table = h("table.grid", { role: "grid" });
    this.host = h("div.host", {}, this.table, this.frame);
    const at = (event) => {
      const cell = event.target.closest("td");
      return cell && this.table.contains(cell)
        ? [cell.parentNode.rowIndex - 1, cell.cellIndex - 1]
        : null;
    };
    this.host.addEventListener("pointerover", (event) => {
      const place = at(event);
      if (place && event.pointerType === "mouse" && !playing && !this.input) this.pick?.(...place);
    });
    this.host.addEventListener("click", (event) => {
      const place = at(event);
      if (!place || this.input) return;
      this.focus(...place);
      this.pick?.(...place);
    });
    this.host.addEventListener("dblclick", (event) => {
      const place = at(event);
      if (place) this.change(...place);
    });
    this.table.addEventListener("keydown", (event) => this.key(event, at(event)));
  }

  /** Make the table anew if its size or its titles are others. */
  shape(rows, columns, titles, label) {
    const key = JSON.stringify([rows, columns, titles]);
    this.table.setAttribute("aria-label", label);
    this.table.setAttribute("aria-readonly", String(!this.editable()));
    if (key === this.known) return;
    this.known = key;
    this.rows = rows;
    this.columns = columns;
    this.titles = titles;
    this.cells = range(rows).map(() =>
      range(columns).map(() => h("td", { role: "gridcell", tabindex: -1 })),
    );
    this.head = range(columns).map(() => h("th", { scope: "col" }));
    this.side = range(rows).map(() => h("th", { scope: "row" }));
    this.table.replaceChildren(
      h("thead", {}, h("tr", {}, h("td.corner", {}), this.head)),
      h(
        "tbody",
        {},
        this.cells.map((row, r) => h("tr", {}, this.side[r], row)),
      ),
    );
    this.painted = new Map();
    this.active = [clamp(this.active[0], 0, rows - 1), clamp(this.active[1], 0, columns - 1)];
    this.cell = 0;
  }

  /** Set the size of a cell in pixels. */
  resize(cell) {
    if (cell === this.cell) return;
    this.cell = cell;
    this.table.style.setProperty("--px", `${cell}px`);
    this.table.classList.toggle("small", cell < 20);
    const every = cell >= 20 ? 1 : cell >= 12 ? 4 : 8;
    const label = (th, n, shown) => {
      th.textContent = minus(String(n));
      th.classList.toggle("unseen", !shown);
    };
    this.head.forEach((th, c) => label(th, this.titles[1] + c, (this.titles[1] + c) % every === 0));
    this.side.forEach((th, r) =>
      label(th, this.titles[0] + r, DIMS > 1 && (this.titles[0] + r) % every === 0),
    );
  }

  /** Show cells: {value, kind, tone (-1 to 1), marks, note, label, chosen} by row and column. */
  paint(describe) {
    const specs = range(this.rows).map((r) => range(this.columns).map((c) => describe(r, c)));
    const fit = fitting(
      specs
        .flat()
        .map((spec) => spec.value)
        .filter((v) => v !== undefined),
      this.cell,
    );
    this.table.style.setProperty("--font", `${fit.size}px`);
    specs.forEach((row, r) =>
      row.forEach((spec, c) => {
        if (spec.chosen) this.active = [r, c];
        const text = spec.value === undefined || !fit.digits ? "" : num(spec.value, fit.digits);
        const note = this.cell >= 30 && spec.note !== undefined ? num(spec.note, 3) : "";
        const tone =
          spec.value !== undefined && spec.tone
            ? Math.round(18 + 67 * Math.min(Math.abs(spec.tone), 1))
            : 0;
        const classes = [
          spec.kind,
          tone && (spec.tone > 0 ? "above" : "below"),
          ...(spec.marks ?? []),
        ]
          .filter(Boolean)
          .join(" ");
        const key = `${text}|${note}|${tone}|${classes}|${spec.label}`;
        if (this.painted.get(r * this.columns + c) === key) return;
        this.painted.set(r * this.columns + c, key);
        const cell = this.cells[r][c];
        cell.className = classes;
        cell.style.setProperty("--tone", `${tone}%`);
        cell.textContent = text;
        if (note) cell.append(h("small", { "aria-hidden": "true" }, note));
        cell.setAttribute("aria-label", spec.label);
        cell.title = spec.label;
      }),
    );
    for (const cell of this.table.querySelectorAll("[tabindex='0']")) cell.tabIndex = -1;
    const chosen = this.cells[this.active[0]]?.[this.active[1]];
    if (chosen) chosen.tabIndex = 0;
    for (const cell of this.table.querySelectorAll("[aria-selected]"))
      cell.removeAttribute("aria-selected");
    specs.forEach((row, r) =>
      row.forEach((spec, c) => {
        if (spec.chosen) this.cells[r][c].setAttribute("aria-selected", "true");
      }),
    );
  }

  /** Draw the outline of a window of cells; no arguments remove it. */
  outline(row, column, rows, columns) {
    const first = this.cells[row]?.[column],
      last = this.cells[row + rows - 1]?.[column + columns - 1];
    this.frame.hidden = !first || !last;
    if (this.frame.hidden) return;
    const left = first.offsetLeft,
      top = first.offsetTop;
    Object.assign(this.frame.style, {
      left: `${left - 2}px`,
      top: `${top - 2}px`,
      width: `${last.offsetLeft + last.offsetWidth - left + 4}px`,
      height: `${last.offsetTop + last.offsetHeight - top + 4}px`,
    });
  }

  focus(row, column) {
    this.active = [row, column];
    this.cells[row][column].tabIndex = 0;
    this.cells[row][column].focus();
  }

  key(event, place) {
    if (!place || event.altKey || event.metaKey || this.input) return;
    const [row, column] = place;
    const ends = event.ctrlKey
      ? { Home: [0, 0], End: [this.rows - 1, this.columns - 1] }
      : { Home: [row, 0], End: [row, this.columns - 1] };
    const move = MOVES[event.key];
    const to =
      ends[event.key] ?? (move && !event.ctrlKey ? [row + move[0], column + move[1]] : null);
    if (to) {
      event.preventDefault();
      if (!this.cells[to[0]]?.[to[1]]) return;
      this.active = to;
      this.pick?.(...to);
      this.focus(...to);
    } else if (event.key === "Enter" || event.key === "F2") {
      event.preventDefault();
      this.change(row, column);
    } else if (this.editable() && /^[-\d.]$/.test(event.key) && !event.ctrlKey) {
      event.preventDefault();
      this.change(row, column, event.key);
    }
  }

  /** Let the user type a cell's value; Enter keeps it, Escape does not. */
  change(row, column, typed) {
    if (!this.editable() || this.input) return;
    const cell = this.cells[row][column];
    const before = this.edit(row, column);
    const input = h("input.edit", {
      type: "text",
      inputmode: "decimal",
      "aria-label": cell.getAttribute("aria-label"),
    });
    input.value = typed ?? String(before);
    this.input = input;
    const done = (keep) => {
      if (this.input !== input) return;
      this.input = null;
      const value = Number(input.value.replace("−", "-"));
      this.painted.delete(row * this.columns + column);
      input.remove();
      if (keep && input.value.trim() !== "" && isFinite(value)) this.edit(row, column, value);
      else draw();
      this.focus(row, column);
    };
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") done(true);
      if (event.key === "Escape") done(false);
    });
    input.addEventListener("blur", () => done(true));
    cell.append(input);
    input.focus();
    if (!typed) input.select();
  }
}

/** Return how many digits of the values fit into a cell, and in which size; no digits if none. */
function fitting(values, cell) {
  for (const [digits, least] of [
    [4, 10],
    [3, 9],
    [2, 8],
    [2, 7],
  ]) {
    const longest = values.reduce((most, v) => Math.max(most, num(v, digits).length), 1);
    const size = Math.min(16, cell * 0.4, (cell * 0.95) / (longest * 0.62));
    if (size >= least) return { digits, size: Math.floor(size * 2) / 2 };
  }
  return { digits: 0, size: 8 };
}

const largest = (values) =>
  values.reduce((most, v) => (isFinite(v) ? Math.max(most, Math.abs(v)) : most), 0) || 1;

// 6. Views.

const UI = {}; // the elements that `draw` fills, made by `build`
let playing = 0;

/** Return the planes that are shown: of the window (a), the output (p), and the input (v). */
function planes() {
  const axis = A.axes[0];
  if (S.view !== "dx") {
    const a = S.view === "dw" ? windowOf(S.k)[0] : S.plane,
      p = split(S.t, A.outs)[0] || 0;
    return { a, p, v: p * axis.step + a * axis.d + axis.start, met: A.n > 0 };
  }
  const m = split(S.m, SIZE)[0],
    pairs = A.inverse[0][m];
  const [p, a] = pairs.find((pair) => pair[1] === S.plane) ?? pairs[0] ?? [0, S.plane];
  return { a, p, v: S.transposed ? m * axis.s : m, met: pairs.length > 0 };
}

/** Return the window position of places under the window of output p, or null. */
function underWindow(p, places) {
  const a = places.map((v, i) => (v - p[i] * A.axes[i].step - A.axes[i].start) / A.axes[i].d);
  return a.every((v, i) => Number.isInteger(v) && v >= 0 && v < WINDOW[i]) ? a : null;
}
const valueAt = (places, c) => {
  const sample = sampleAt(places);
  return sample < 0 ? A.outside : A.x[c * SAMPLES + sample];
};

/** Describe the input's cell at row r and column q, in the view. */
function inputCell(r, q, shown, scale) {
  const places = [shown.v, A.axes[1].from + r, A.axes[2].from + q];
  const kind = kindOf(places),
    sample = sampleAt(places),
    value = valueAt(places, S.c);
  const marks = [],
    name = nameAt(places, S.c);
  let label = `${name} = ${num(value)}`,
    note,
    chosen = false;
  if (S.view === "dx") {
    const gradient = kind === "sample" ? A.dx[S.c * SAMPLES + sample] : undefined;
    chosen = kind === "sample" && sample === S.m;
    if (chosen) marks.push("chosen");
    else if (kind === "copy" && sample === S.m) marks.push("part");
    label =
      gradient === undefined
        ? name
        : `${nameSample(sample, S.c, "dx")} = ${num(gradient)}; ${label}`;
    return { value: gradient, kind, tone: gradient / scale, marks, label, chosen };
  }
  if (A.n && S.view === "forward") {
    const a = underWindow(split(S.t, A.outs), places);
    if (a) {
      note = A.w[weightIndex(S.o, S.c, tapOf(a))];
      if (S.dilation.some((d) => d > 1)) marks.push("tap"); // the frame has others
      label += `, ${t("times")} ${nameTap(tapOf(a), S.o, S.c)} = ${num(note)}`;
    }
  }
  if (A.n && S.view === "dw") {
    const a = windowOf(S.k),
      axes = A.axes;
    const p = places.map((v, i) => (v - axes[i].start - a[i] * axes[i].d) / axes[i].step);
    if (p.every((v, i) => Number.isInteger(v) && v >= 0 && v < A.outs[i])) {
      note = A.delta[S.o * A.n + flat(p, A.outs)];
      if (axes.some((axis) => axis.step > 1)) marks.push("part");
      label += `, ${t("times")} ${nameOut(flat(p, A.outs), S.o, "δ")} = ${num(note)}`;
    }
  }
  return { value, kind, tone: value / scale, marks, note, label, chosen };
}

/** Describe the kernel's cell; gradient: of dw instead of w. */
function kernelCell(r, q, shown, scale, gradient) {
  const plane = A.flipped ? WINDOW[0] - 1 - shown.a : shown.a;
  const tap = flat([plane, r, q], WINDOW),
    index = weightIndex(S.o, S.c, tap);
  const value = (gradient ? A.dw : A.w)[index];
  const chosen = S.view === "dw" && tap === S.k;
  const marks = chosen ? ["chosen"] : [];
  if (S.view === "dx" && shown.used.has(tap) && shown.used.size < TAPS) marks.push("part");
  if (!gradient && index in S.w) marks.push("edited");
  const label = `${nameTap(tap, S.o, S.c, gradient ? "dw" : "w")} = ${num(value)}`;
  return { value, tone: value / scale, marks, label, chosen: gradient && chosen };
}

/** Describe the output's cell: y, or the upstream gradient. */
function outputCell(r, q, shown, scale) {
  const p = flat([shown.p, r, q], A.outs),
    at = S.o * A.n + p,
    marks = [];
  if (S.view === "forward") {
    const chosen = p === S.t,
      value = A.y[at];
    if (chosen) marks.push("chosen");
    if (playing && p > S.t) marks.push("later");
    return {
      value,
      tone: value / scale,
      marks,
      label: `${nameOut(p, S.o)} = ${num(value)}`,
      chosen,
    };
  }
  const value = A.delta[at];
  if (S.view === "dx" && !shown.outputs.has(p)) marks.push("aside");
  if (S.view === "dx" && shown.outputs.has(p) && S.dilation.some((d) => d > 1)) marks.push("part");
  if (at in S.dy) marks.push("edited");
  const note = S.activation ? A.dy[at] : undefined;
  return {
    value,
    tone: value / scale,
    marks,
    note,
    label: `${nameOut(p, S.o, "δ")} = ${num(value)}`,
  };
}

/** Return the terms of the chosen value, and the sums that it is made of. */
function chosenTerms() {
  if (!A.n) return { terms: [], parts: [], sum: 0 };
  let terms, parts;
  if (S.view === "forward") {
    terms = forwardTerms(S.o, S.c, S.t);
    parts = inputsOf(S.o).map((c) => [
      t("channelN", { n: c }),
      total(forwardTerms(S.o, c, S.t)),
      c === S.c,
      { c },
    ]);
  } else if (S.view === "dx") {
    terms = inputTerms(S.o, S.c, S.m);
    parts = outputsOf(S.c).map((o) => [
      t("outputN", { n: o }),
      total(inputTerms(o, S.c, S.m)),
      o === S.o,
      { o },
    ]);
  } else {
    terms = kernelTerms(S.o, S.c, S.k);
    parts = kernelPairs().map(([o, c]) => [
      t("channelN", { n: c }),
      total(kernelTerms(o, c, S.k)),
      c === S.c && o === S.o,
      { o, c },
    ]);
  }
  return { terms, parts, sum: parts.reduce((sum, part) => sum + part[1], 0) };
}

/** Return the name and the value of what is chosen. */
function chosenValue() {
  if (S.view === "forward") return { name: nameOut(S.t, S.o), value: A.y[S.o * A.n + S.t] };
  if (S.view === "dx")
    return { name: nameSample(S.m, S.c, "dx"), value: A.dx[S.c * SAMPLES + S.m] };
  return { name: nameTap(S.k, S.o, S.c, "dw"), value: A.dw[weightIndex(S.o, S.c, S.k)] };
}

/** Draw everything that depends on the state. */
function draw() {
  if (SHAPING.some((key) => !same(S[key], A?.state?.[key]))) {
    compute();
    A.state = structuredClone(Object.fromEntries(SHAPING.map((key) => [key, S[key]])));
  }
  settle();
  const shown = planes(),
    chosen = chosenTerms();
  shown.used = new Set(chosen.terms.map((term) => term.tap));
  shown.outputs = new Set(chosen.terms.map((term) => term.p));
  drawHead();
  drawStage(shown);
  drawStep(shown, chosen);
  drawSum(chosen);
  drawTime();
  drawCards();
  drawTable(chosen);
  drawSettings();
  save();
}

function drawHead() {
  for (const [view, button] of Object.entries(UI.views))
    button.setAttribute("aria-pressed", String(view === S.view));
  UI.sentence.innerHTML = t(
    `sentence.${S.view}${S.transposed && S.view !== "dw" ? ".transposed" : ""}`,
  );
  document.body.dataset.view = S.view;
}

const shapeOf = (spatial, channels, end) =>
  (end === "" ? spatial : end === "first" ? [channels, ...spatial] : [...spatial, channels]).join(
    "×",
  );

/** Draw input, kernel and output; the result of the view is marked. */
function drawStage(shown) {
  const { left, middle, right } = UI,
    [, rows, columns] = A.axes;
  const back = S.view !== "forward";
  const height = rows.to - rows.from,
    width = columns.to - columns.from;
  left.title.innerHTML = t(`input.${S.view}`);
  middle.title.innerHTML = t(`kernel.${S.view}`);
  right.title.innerHTML = t(back ? (S.activation ? "output.slope" : "output.delta") : "output.y", {
    f: S.activation,
  });
  const details = (...parts) => parts.filter(Boolean).join(" · ");
  const kernel = DEPTH > 1 ? "kernelOf" : "kernelN";
  left.detail.textContent = details(
    shapeOf(DATA.sides, CHANNELS, DATA.axis.x),
    CHANNELS > 1 && t("channelN", { n: S.c }),
  );
  middle.detail.textContent = details(
    real(WINDOW).join("×"),
    (BANK > 1 || DEPTH > 1) && t(kernel, bankOf(S.o, S.c)),
  );
  right.detail.textContent = details(
    shapeOf(real(A.outs), A.filters, DATA.axis.y),
    A.filters > 1 && t("outputN", { n: S.o }),
    back && t(A.given ? "dyGiven" : "dyOnes"),
  );
  left.grid.shape(height, width, [rows.from, columns.from], t("gridInput", { n: S.c }));
  middle.grid.shape(
    WINDOW[1],
    WINDOW[2],
    [0, 0],
    t(S.view === "dw" ? "gridGradient" : "gridKernel"),
  );
  right.none.hidden = A.n > 0;
  right.grid.host.hidden = A.n === 0;
  if (A.n)
    right.grid.shape(
      A.outs[1],
      A.outs[2],
      [0, 0],
      t(back ? "gridDelta" : "gridOutput", { n: S.o }),
    );
  for (const panel of [left, middle, right])
    panel.box.classList.toggle(
      "result",
      panel === { forward: right, dx: left, dw: middle }[S.view],
    );
  const signs = { forward: ["∗", "→"], dx: ["←", "←"], dw: ["→", "←"] }[S.view];
  UI.signs.forEach((sign, i) => {
    sign.textContent = signs[i];
  });
  fitStage(width, height);
  const field = (array, at, size) => largest(array.subarray(at * size, (at + 1) * size));
  const scales = {
    x: S.view === "dx" ? field(A.dx, S.c, SAMPLES) : field(A.x, S.c, SAMPLES),
    w: largest(A.w),
    dw: largest(A.dw),
  };
  left.grid.paint((r, q) => inputCell(r, q, shown, scales.x));
  middle.grid.paint((r, q) =>
    kernelCell(r, q, shown, S.view === "dw" ? scales.dw : scales.w, S.view === "dw"),
  );
  drawWeightsBelow(shown, scales.w);
  if (A.n)
    right.grid.paint((r, q) => outputCell(r, q, shown, field(back ? A.delta : A.y, S.o, A.n)));
  drawFrames(shown);
  drawDepth(shown);
}

/** Show, below the kernel, its flipped form as it slides; below the gradient dw, the kernel. */
function drawWeightsBelow(shown, scale) {
  const { grid, box, title } = UI.weights,
    flips = S.view === "forward" && A.flipped;
  box.hidden = S.view !== "dw" && !flips;
  if (box.hidden) return;
  title.innerHTML = t(flips ? "kernel.flipped" : "kernel.forward");
  grid.shape(WINDOW[1], WINDOW[2], [0, 0], t(flips ? "gridFlipped" : "gridKernel"));
  grid.resize(Math.min(UI.middle.grid.cell, 30));
  grid.paint((r, q) =>
    kernelCell(flips ? WINDOW[1] - 1 - r : r, flips ? WINDOW[2] - 1 - q : q, shown, scale, false),
  );
}

/** Outline the window in the input, or every sample that a tap meets. */
function drawFrames(shown) {
  const { left, middle, right } = UI,
    [, rows, columns] = A.axes;
  for (const panel of [left, middle, right]) panel.grid.outline();
  if (!A.n || !shown.met) return;
  if (S.view === "forward") {
    const p = split(S.t, A.outs);
    left.grid.outline(
      p[1] * rows.step + rows.start - rows.from,
      p[2] * columns.step + columns.start - columns.from,
      rows.reach,
      columns.reach,
    );
  } else if (S.view === "dw") {
    const a = windowOf(S.k);
    left.grid.outline(
      a[1] * rows.d + rows.start - rows.from,
      a[2] * columns.d + columns.start - columns.from,
      (rows.out - 1) * rows.step + 1,
      (columns.out - 1) * columns.step + 1,
    );
  } else if (shown.outputs.size) {
    const places = [...shown.outputs].map((p) => split(p, A.outs)).filter((p) => p[0] === shown.p);
    if (!places.length) return;
    const ends = [1, 2].map((i) => [
      Math.min(...places.map((p) => p[i])),
      Math.max(...places.map((p) => p[i])),
    ]);
    right.grid.outline(
      ends[0][0],
      ends[1][0],
      ends[0][1] - ends[0][0] + 1,
      ends[1][1] - ends[1][0] + 1,
    );
  }
}

/** Choose the layout and the size of the cells: input, kernel and output side by side; or kernel
 *  and output beside the input, if numbers fit only so; or all three one below another. */
function fitStage(width, height) {
  const { left, middle, right } = UI,
    room = UI.stage.clientWidth - 30;
  const outs = A.n ? A.outs[2] : 3,
    tall = Math.max(height, A.n ? A.outs[1] : 1);
  const most = DIMS === 1 ? 54 : 40,
    gap = (size) => (size < 21 ? 1 : 2);
  const small = clamp(Math.floor(150 / Math.max(WINDOW[1], WINDOW[2])), 14, most - 2);
  const sized = (size) => Math.floor(size) - gap(size);
  const beside = sized((room - small * WINDOW[2] - 190) / (width + outs));
  const paired = sized((room - 110) / (width + Math.max(outs, WINDOW[2] + 2)));
  const isPaired = room >= 560 && beside < 24 && paired >= beside + 4;
  const isStacked = !isPaired && (beside < 10 || room < 600);
  UI.stage.classList.toggle("paired", isPaired);
  UI.stage.classList.toggle("stacked", isStacked);
  const alone = (columns, size) => clamp(Math.floor((room - 28) / columns) - 2, 6, size);
  const high = Math.floor(500 / tall) - 2;
  const shared = clamp(Math.min(isPaired ? paired : beside, high), 10, most);
  const cell = isStacked ? alone(width, 34) : shared;
  left.grid.resize(cell);
  right.grid.resize(isStacked ? alone(outs, Math.min(34, Math.max(cell, 22))) : shared);
  middle.grid.resize(alone(WINDOW[2], Math.min(small, Math.max(cell, isPaired ? 26 : 36))));
}

/** Show the sliders for the planes of a volume. */
function drawDepth(shown) {
  if (DIMS < 3) return;
  const axis = A.axes[0],
    kernel = A.flipped ? WINDOW[0] - 1 - shown.a : shown.a;
  const set = (panel, low, high, value) => {
    Object.assign(panel.depth, { min: low, max: high });
    panel.depth.value = value;
    panel.plane.textContent = t("planeN", {
      n: minus(String(value)),
      of: `${minus(String(low))}…${high}`,
    });
    panel.depth.setAttribute("aria-valuetext", panel.plane.textContent);
  };
  set(UI.left, axis.from, axis.to - 1, shown.v);
  set(UI.middle, 0, WINDOW[0] - 1, kernel);
  set(UI.right, 0, Math.max(axis.out - 1, 0), shown.p);
}

/** Choose another plane of the input (left), the kernel (middle) or the output (right). */
function choosePlane(which, value) {
  const axis = A.axes[0],
    shown = planes();
  const withOut = (p) => {
    const [, y, x] = split(S.t, A.outs);
    S.t = flat([clamp(p, 0, axis.out - 1), y, x], A.outs);
  };
  const withSample = (v) => {
    const m = axis.source(v),
      [, y, x] = split(S.m, SIZE);
    if (m >= 0) S.m = flat([m, y, x], SIZE);
  };
  const withTap = (plane) => {
    const [, y, x] = split(S.k, WINDOW);
    S.k = flat([plane, y, x], WINDOW);
  };
  if (which === "middle") {
    if (S.view === "dw") withTap(value);
    else S.plane = A.flipped ? WINDOW[0] - 1 - value : value;
  } else if (which === "right") {
    if (S.view === "dx") withSample(value * axis.step + shown.a * axis.d + axis.start);
    else withOut(value);
  } else if (S.view === "dx") withSample(value);
  else {
    const fits = range(WINDOW[0])
      .map((i) => (S.view === "dw" ? shown.a : (shown.a + i) % WINDOW[0]))
      .find((a) => {
        const p = (value - axis.start - a * axis.d) / axis.step;
        return Number.isInteger(p) && p >= 0 && p < axis.out;
      });
    const a = fits ?? shown.a;
    if (S.view === "forward") S.plane = a;
    withOut(Math.round((value - axis.start - a * axis.d) / axis.step));
  }
  draw();
}

/** Return the terms of each cell of the step's tables, by row and column. */
function stepCells(shown, chosen, columns) {
  const cells = new Map();
  for (const term of chosen.terms) {
    const [plane, ...place] = S.view === "dw" ? split(term.p, A.outs) : term.a;
    if (plane !== (S.view === "dw" ? shown.p : shown.a)) continue;
    const [r, q] = S.view === "dx" ? place.map((v, i) => WINDOW[i + 1] - 1 - v) : place;
    const key = r * columns + q;
    cells.set(key, [...(cells.get(key) ?? []), term]);
  }
  return cells;
}

/** Draw the chosen value's factors and products as three small tables. */
function drawStep(shown, chosen) {
  UI.step.hidden = !A.n;
  if (!A.n) return;
  const large = S.view === "dw",
    [rows, columns] = (large ? A.outs : WINDOW).slice(1);
  const cells = stepCells(shown, chosen, columns);
  const titles = {
    forward: ["step.patch", A.flipped ? "step.flipped" : "step.kernel", "step.products"],
    dx: ["step.deltas", A.flipped ? "step.kernelBack" : "step.turned", "step.products"],
    dw: ["step.samples", "step.delta", "step.products"],
  }[S.view];
  const room = UI.step.clientWidth - 32,
    side = (room - (room < 900 ? 90 : 420)) / 3;
  const cell = clamp(Math.min(side / columns - 2, 360 / rows - 2), large ? 6 : 18, 38);
  const values = {
    // of several outputs that see a sample and its copies through the same weight
    left: (terms) => terms.reduce((sum, term) => sum + term.left, 0),
    right: (terms) => terms[0].right,
    value: total,
  };
  UI.factors.forEach(({ grid, title }, i) => {
    const key = ["left", "right", "value"][i];
    const scale = largest([...cells.values()].map(values[key]));
    title.innerHTML = t(titles[i]);
    grid.shape(rows, columns, [0, 0], title.textContent);
    grid.resize(Math.floor(cell));
    grid.paint((r, q) => {
      const terms = cells.get(r * columns + q);
      if (!terms) return unmetCell(shown, r, q, key);
      const value = values[key](terms),
        places = S.view !== "dx" && key !== "right";
      const label = terms.map((term) => termLabel(term, key)).join("; ");
      return { value, kind: places ? kindOf(terms[0].places) : "", tone: value / scale, label };
    });
  });
  UI.stepTerms = (r, q) => cells.get(r * columns + q) ?? [];
  drawPipe(chosen);
}

/** Describe a cell of the step for a weight through which no output sees the sample. */
function unmetCell(shown, r, q, key) {
  const tap = tapOf([shown.a, WINDOW[1] - 1 - r, WINDOW[2] - 1 - q]);
  const value = key === "right" ? A.w[weightIndex(S.o, S.c, tap)] : undefined;
  const tone = value === undefined ? 0 : value / largest(A.w);
  return { value, kind: "gap", tone, marks: ["aside"], label: t("noOutput") };
}

let linked = [];
/** Mark, in the step and above it, the values of the product at row r and column q. */
function linkTerms(r, q) {
  for (const cell of linked) cell.classList.remove("linked");
  linked = UI.factors.map(({ grid }) => grid.cells[r]?.[q]).filter(Boolean);
  const { left, middle, right } = UI,
    below = S.view === "forward" && A.flipped;
  for (const { places, tap, p } of UI.stepTerms(r, q)) {
    const [, kr, kq] = tap === undefined ? [] : split(tap, WINDOW);
    const [, pr, pq] = p === undefined ? [] : split(p, A.outs);
    if (S.view !== "dx") {
      linked.push(left.grid.cells[places[1] - A.axes[1].from]?.[places[2] - A.axes[2].from]);
    }
    if (S.view !== "forward") linked.push(right.grid.cells[pr]?.[pq]);
    if (S.view !== "dw") linked.push(middle.grid.cells[kr]?.[kq]);
    if (below) linked.push(UI.weights.grid.cells[WINDOW[1] - 1 - kr]?.[WINDOW[2] - 1 - kq]);
  }
  linked = linked.filter(Boolean);
  for (const cell of linked) cell.classList.add("linked");
}

/** Describe a factor of a term ("left" or "right"), or the whole term ("value"). */
function termLabel(term, key) {
  const tap = () => nameTap(term.tap, S.o, S.c),
    out = () => nameOut(term.p, S.o, "δ");
  const sample = () => nameAt(term.places, S.c);
  const names = { forward: [sample, tap], dx: [out, tap], dw: [sample, out] }[S.view];
  const [left, right] = names.map((name) => name());
  if (key === "left") return `${left} = ${num(term.left)}`;
  if (key === "right") return `${right} = ${num(term.right)}`;
  const numbers = `${short(term.left)} · ${short(term.right)} = ${short(term.value)}`;
  return `${left} · ${right} = ${numbers}`;
}

const SIGMA = '<span class="sigma">Σ</span>';

/** Draw how the products become the value: partial sums, sum, bias, activation. */
function drawPipe(chosen) {
  const several = chosen.parts.length > 1,
    { name, value } = chosenValue();
  UI.parts.hidden = !several;
  UI.parts.replaceChildren(
    ...chosen.parts.map(([label, sum, on, state]) =>
      h("button.chip", {
        type: "button",
        "aria-pressed": String(on),
        html: `${label} <b>${signed(sum)}</b>`,
        onclick: () => set(state),
      }),
    ),
  );
  const over = S.view === "dx" ? "sumOutputs" : "sumChannels";
  const rows = [
    ...planeSums(chosen),
    [`${SIGMA} ${t(several ? over : "sumProducts")}`, chosen.sum],
  ];
  if (S.view === "forward") {
    rows.push([`+ ${t("biasB")}`, S.bias, S.bias ? "" : "off"]);
    if (S.bias || S.activation) rows.push(["z", A.z[S.o * A.n + S.t]]);
    const label = S.activation ? t("activated", { f: S.activation }) : t("noActivation");
    rows.push([label, value, S.activation ? "" : "off"]);
  }
  rows.push([name, value, "end"]);
  if (S.view === "dw") {
    rows.push([`db${A.filters > 1 ? `[${S.o}]` : ""} = ${SIGMA} δ`, A.db[S.o], "off"]);
  }
  UI.pipe.innerHTML = rows
    .map(
      ([label, sum, kind = ""]) =>
        `<div class="pipe-row ${kind}"><span>${label}</span><b>${exact(sum)}</b></div>`,
    )
    .join("");
}

/** Return a row for the sum of each plane of a volume: of the window, or of the output for dw. */
function planeSums(chosen) {
  if (DIMS < 3) return [];
  const shown = planes(),
    ofOutput = S.view === "dw";
  const planeOf = (term) => (ofOutput ? split(term.p, A.outs)[0] : term.a[0]);
  return range(ofOutput ? A.outs[0] : WINDOW[0]).map((plane) => {
    const n = A.flipped && !ofOutput ? WINDOW[0] - 1 - plane : plane;
    const sum = total(chosen.terms.filter((term) => planeOf(term) === plane));
    return [t("planeSum", { n }), sum, plane === (ofOutput ? shown.p : shown.a) ? "on" : ""];
  });
}

/** Write the sum out: its definition, its factors, its products, its value. */
function drawSum(chosen) {
  if (!A.n) {
    UI.sum.innerHTML = "";
    return;
  }
  const { terms } = chosen;
  const { name, value } = chosenValue();
  const several = chosen.parts.length > 1,
    { shown, left, rest } = longest(terms);
  const moreText = t("moreTerms", { n: count(left), sum: short(rest) });
  const more = left ? ` + <span class="more">${moreText}</span>` : "";
  const forward = S.view === "forward";
  const lines = [`<p class="definition">${definition()}</p>`];
  if (!terms.length) lines.push(`<p>${t("unseen")}</p>`);
  else if (forward || terms.length <= 12) {
    // of more terms, the list below has the factors
    const pair = ({ left: a, right: b }) =>
      forward ? `${factor(b)}·${factor(a)}` : `${factor(a)}·${factor(b)}`;
    const own = chosen.parts.find((part) => part[2]);
    const lead = several && own ? `<span class="lead">${own[0]}:</span> ` : "";
    const end = several ? ` = <b>${signed(total(terms))}</b>` : "";
    lines.push(`<p>${lead}${shown.map(pair).join(" + ")}${more}${end}</p>`);
  }
  const products = several
    ? joined(chosen.parts.map((part) => part[1]))
    : joined(shown.map((term) => term.value)) + more;
  const neuron = forward ? neuronText() : "";
  const before = terms.length > 1 || several || neuron ? `${products}${neuron} = ` : "";
  lines.push(`<p class="value"><b>${name}</b> = ${before}<strong>${exact(value)}</strong></p>`);
  lines.push(`<p class="why">${reasons().join(" ")}</p>`);
  if (!forward) {
    const items = [...shown.map((term) => termLabel(term, "value")), ...(left ? [moreText] : [])];
    lines.push(`<ol class="terms">${items.map((item) => `<li>${item}</li>`).join("")}</ol>`);
  }
  UI.sum.innerHTML = lines.join("");
  announce(`${name} = ${num(value)}`);
}

/** Return what follows the products of an output: the bias, the sum z, and the activation. */
function neuronText() {
  if (!S.bias && !S.activation) return "";
  const bias = S.bias ? ` ${S.bias < 0 ? "−" : "+"} ${num(Math.abs(S.bias))}` : "";
  const z = signed(A.z[S.o * A.n + S.t]);
  return `${bias} = ${z}${S.activation ? `, ${S.activation}(z)` : ""}`;
}

/** Say why the chosen value is this sum, for the operation and the stride of the state. */
function reasons() {
  const kind = S.transposed
    ? ".transposed"
    : S.op === "convolve" && S.view !== "forward"
      ? ".convolve"
      : "";
  const strided = S.stride.some((s) => s > 1),
    found = [t(`why.${S.view}${kind}`)];
  if (strided && S.transposed && S.view !== "dx") found.push(t("stretched"));
  if (strided && !S.transposed && S.view !== "forward") found.push(t("strided"));
  if (S.view === "dw" && !kind) found.push(t("textbook"));
  return found;
}

/** Return the terms that are written out: all of a few, else the largest in their order. */
function longest(terms) {
  if (terms.length <= LISTED) return { shown: terms, left: 0, rest: 0 };
  const kept = new Set(
    [...terms.keys()]
      .sort((a, b) => Math.abs(terms[b].value) - Math.abs(terms[a].value) || a - b)
      .slice(0, LISTED),
  );
  const shown = terms.filter((_, i) => kept.has(i));
  return { shown, left: terms.length - LISTED, rest: total(terms.filter((_, i) => !kept.has(i))) };
}

let speaking = 0;
/** Tell a screen reader the value, once the choice has come to rest. */
function announce(text) {
  clearTimeout(speaking);
  if (!playing)
    speaking = setTimeout(() => {
      if (UI.live.textContent !== text) UI.live.textContent = text;
    }, 250);
}

/** Fill the table of the step, which a screen reader can walk and a person can copy. */
function drawTable(chosen) {
  if (!UI.details.open) return;
  const columns = {
    forward: ["channel", "tap", "sample", "x", "w", "product"],
    dx: ["outputChannel", "tap", "outputAt", "δ", "w", "product"],
    dw: ["channel", "outputAt", "sample", "x", "δ", "product"],
  }[S.view];
  const cells = {
    forward: (term) => [
      S.c,
      nameTap(term.tap, S.o, S.c),
      nameAt(term.places, S.c),
      num(term.left),
      num(term.right),
      num(term.value),
    ],
    dx: (term) => [
      S.o,
      nameTap(term.tap, S.o, S.c),
      nameOut(term.p, S.o, "δ"),
      num(term.left),
      num(term.right),
      num(term.value),
    ],
    dw: (term) => [
      S.c,
      nameOut(term.p, S.o, "δ"),
      nameAt(term.places, S.c),
      num(term.left),
      num(term.right),
      num(term.value),
    ],
  }[S.view];
  const rows = chosen.terms.slice(0, 256),
    left = chosen.terms.length - rows.length;
  UI.tableCaption.textContent = UI.sum.querySelector(".value")?.textContent ?? "";
  UI.tableHead.replaceChildren(
    h(
      "tr",
      {},
      columns.map((key) => h("th", { scope: "col" }, t(key))),
    ),
  );
  UI.tableBody.replaceChildren(
    ...rows.map((term) =>
      h(
        "tr",
        {},
        cells(term).map((text) => h("td", {}, String(text))),
      ),
    ),
    ...(left > 0
      ? [
          h(
            "tr",
            {},
            h(
              "td",
              { colspan: 6 },
              t("moreTerms", { n: count(left), sum: num(total(chosen.terms.slice(256))) }),
            ),
          ),
        ]
      : []),
  );
}

// 7. Cards.

function drawCards() {
  if (UI.drawn !== A) {
    // these do not depend on what is chosen
    drawSizes();
    drawWeights();
    drawPart();
    drawCheck();
    UI.drawn = A;
  }
  drawMatrix();
}

/** Write the size formula of every axis, with its numbers. */
function drawSizes() {
  const general = S.transposed
    ? "out = s·(n − 1) + e + d·(k − 1) + 1 − lo − hi"
    : "out = ⌊(n + lo + hi − d·(k − 1) − 1) / s⌋ + 1";
  const rows = axes().map((axis, i) => {
    const unused =
      S.transposed || !axis.out ? 0 : (axis.n + axis.lo + axis.hi - axis.reach) % axis.s;
    const note = unused ? ` <small>${t("unused", { n: unused })}</small>` : "";
    const size = `${sizeFormula(axis)} = <b>${axis.out}</b>${note}`;
    return `<tr><th scope="row">${t(AXIS_NAMES[i])}</th><td>${size}</td></tr>`;
  });
  UI.sizes.innerHTML = `
    <p class="general">${general}</p>
    <table class="plain">${rows.join("")}</table>
    <p class="small">${t("sizeLetters")}</p>`;
}

/** Return the formula of an axis's output size, without terms that are zero. */
function sizeFormula({ n, k, s, d, lo, hi, extra }) {
  const reach = d > 1 ? `(${d}·(${k} − 1) + 1)` : k,
    pads = lo || hi ? [lo, hi] : [];
  const padded = (sign) => pads.map((pad) => ` ${sign} ${pad}`).join("");
  const more = extra ? ` + ${extra}` : "";
  if (S.transposed) return `${s}·(${n} − 1)${more} + ${reach}${padded("−")}`;
  const inner = `${n}${padded("+")} − ${reach}`;
  return s > 1 ? `⌊(${inner}) / ${s}⌋ + 1` : `${inner} + 1`;
}

/** Compare the weights with those of a dense layer of the same shapes. */
function drawWeights() {
  const own = A.w.length,
    outs = A.filters * A.n,
    ins = CHANNELS * SAMPLES,
    full = outs * ins;
  const bar = (label, value, kind) => `
    <span>${t(label)}</span>
    <div class="bar"><i class="${kind}"
      style="width:${Math.max(0.4, (100 * value) / Math.max(full, own))}%"></i></div>
    <b>${count(value)}</b>`;
  const ratio = full / own,
    times = ratio >= 10 ? count(Math.round(ratio)) : num(ratio, 2);
  const counts = { own: count(own), full: count(full), outs: count(outs), ins: count(ins) };
  UI.parameters.innerHTML = `
    <div class="bars">${bar("convolution", own, "")}${bar("denseLayer", full, "dense")}</div>
    <p class="small">${t("shared", { ...counts, ratio: times })}</p>`;
}

/** Return the entries of the matrix: rows are outputs of channel o, columns the samples it sees. */
function matrixEntries() {
  const inputs = inputsOf(S.o),
    whole = inputs.length * SAMPLES <= 1024 && A.n * inputs.length * SAMPLES <= 1_100_000;
  const shown = whole ? inputs : [S.c],
    columns = shown.length * SAMPLES;
  const values = new Map();
  shown.forEach((c, i) => {
    const base = weightIndex(S.o, c, 0);
    walk((p, tap, s) => {
      if (s < 0) return;
      const key = p * columns + i * SAMPLES + s;
      values.set(key, (values.get(key) ?? 0) + A.w[base + tap * DEPTH]);
    });
  });
  return { shown, columns, values };
}

let M = null; // the matrix that is drawn: its entries, its key, its picture without marks
function drawMatrix() {
  const row = UI.matrixText.parentNode.clientWidth,
    room = Math.max(Math.floor(row < 640 ? row - 2 : row * 0.66), 100),
    style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const key = JSON.stringify([
    A.state,
    S.o,
    inputsOf(S.o).length > 1 && S.c,
    room,
    colour("--cell"),
  ]);
  const drawn = A.n > 0 && A.n * TAPS <= DRAWN;
  UI.matrix.hidden = !drawn;
  if (!drawn) {
    M = null;
    UI.matrixText.textContent = A.n ? t("matrixLarge") : "";
    return;
  }
  if (M?.key !== key) {
    const { shown, columns, values } = matrixEntries();
    const size = Math.min(34, room / columns, 360 / A.n);
    const scale = Math.min(devicePixelRatio || 1, 2),
      canvas = h("canvas");
    M = { key, shown, columns, values, size, scale, picture: canvas };
    canvas.width = Math.max(1, Math.round(columns * M.size * scale));
    canvas.height = Math.max(1, Math.round(A.n * M.size * scale));
    const g = canvas.getContext("2d"),
      unit = M.size * scale,
      most = largest([...values.values()]);
    g.fillStyle = colour("--cell");
    g.fillRect(0, 0, canvas.width, canvas.height);
    if (unit >= 8) {
      g.strokeStyle = colour("--grid");
      g.lineWidth = 1;
      g.beginPath();
      for (let r = 1; r < A.n; r++) {
        g.moveTo(0, Math.round(r * unit) + 0.5);
        g.lineTo(canvas.width, Math.round(r * unit) + 0.5);
      }
      for (let c = 1; c < columns; c++) {
        g.moveTo(Math.round(c * unit) + 0.5, 0);
        g.lineTo(Math.round(c * unit) + 0.5, canvas.height);
      }
      g.stroke();
    }
    g.font = `${Math.min(13, M.size * 0.42) * scale}px system-ui, sans-serif`;
    g.textAlign = "center";
    g.textBaseline = "middle";
    for (const [at, value] of values) {
      const r = Math.floor(at / columns),
        c = at % columns;
      g.globalAlpha = value ? 0.25 + (0.75 * Math.abs(value)) / most : 0;
      g.fillStyle = colour(value > 0 ? "--above" : "--below");
      g.fillRect(
        c * unit,
        r * unit,
        Math.max(unit - (unit >= 8 ? 1 : 0), 1),
        Math.max(unit - (unit >= 8 ? 1 : 0), 1),
      );
      g.globalAlpha = 1;
      g.fillStyle = colour("--text");
      if (M.size >= 22) g.fillText(num(value, 2), (c + 0.5) * unit, (r + 0.5) * unit);
    }
    UI.matrix.width = canvas.width;
    UI.matrix.height = canvas.height;
    UI.matrix.style.width = `${columns * M.size}px`;
    UI.matrix.style.height = `${A.n * M.size}px`;
    const other = [...values.values()].filter((v) => v !== 0);
    const share = (100 * other.length) / (A.n * columns);
    M.text = t(SHARED || inputsOf(S.o).length === shown.length ? "matrixStats" : "matrixBlock", {
      rows: count(A.n),
      columns: count(columns),
      share: num(share, 3),
      different: count(new Set(other).size),
      cells: count(A.n * columns),
      c: S.c,
    });
  }
  markMatrix(colour("--accent"));
}

/** Mark the row, the column or the diagonal that the view reads. */
function markMatrix(colour) {
  const g = UI.matrix.getContext("2d"),
    unit = M.size * M.scale,
    { columns } = M;
  g.drawImage(M.picture, 0, 0);
  g.strokeStyle = colour;
  g.fillStyle = colour;
  g.lineWidth = Math.max(2, Math.min(3, unit / 5)) * Math.min(M.scale, 1.5);
  const box = (x, y, w, height) =>
    g.strokeRect(x * unit, y * unit, Math.max(w * unit, 3), Math.max(height * unit, 3));
  const block = Math.max(M.shown.indexOf(S.c), 0) * SAMPLES;
  if (S.view === "forward") box(0, S.t, columns, 1);
  else if (S.view === "dx") box(block + S.m, 0, 1, A.n);
  else {
    for (const term of kernelTerms(S.o, S.c, S.k))
      if (term.sample >= 0) {
        if (unit >= 6) box(block + term.sample, term.p, 1, 1);
        else
          g.fillRect(
            (block + term.sample) * unit,
            term.p * unit,
            Math.max(unit, 2),
            Math.max(unit, 2),
          );
      }
  }
  const text = t(`matrix.${S.view}`, {
    row: S.t,
    column: block + S.m,
    tap: nameTap(S.k, S.o, S.c),
    out: nameOut(S.t, S.o),
    sample: nameSample(S.m, S.c, "dx"),
    dw: nameTap(S.k, S.o, S.c, "dw"),
  });
  UI.matrixText.innerHTML = `${text} <span class="small">${M.text}</span>`;
  UI.matrix.setAttribute("aria-label", UI.matrixText.textContent);
}

/** Choose by a point of the matrix: a row forward, a column back to x, a tap back to w. */
function pickMatrix(event) {
  if (!M || playing) return;
  const box = UI.matrix.getBoundingClientRect();
  const row = clamp(Math.floor((event.clientY - box.top) / M.size), 0, A.n - 1);
  const column = clamp(Math.floor((event.clientX - box.left) / M.size), 0, M.columns - 1);
  if (S.view === "forward") return choose({ t: row });
  const c = M.shown[Math.floor(column / SAMPLES)];
  if (S.view === "dx") return choose({ c, m: column % SAMPLES });
  const near = forwardTerms(S.o, c, row)
    .filter((term) => term.sample >= 0)
    .sort(
      (a, b) => Math.abs(a.sample - (column % SAMPLES)) - Math.abs(b.sample - (column % SAMPLES)),
    )[0];
  return near && choose({ c, k: near.tap });
}

/** Draw the small picture of the whole input, with the part that is shown. */
function drawPart() {
  if (!DATA.thumbnail) return;
  const { levels, canvas, scale } = UI.thumb,
    [rows, columns] = levels.shape.length > 1 ? levels.shape.slice(-2) : [1, levels.shape[0]];
  const whole = DATA.whole.shape,
    line = DIMS === 1,
    g = canvas.getContext("2d");
  const step = Math.max(1, ...whole.slice(-2).map((n) => Math.ceil(n / 160)));
  canvas.width = columns * scale;
  canvas.height = line ? 60 : rows * scale;
  if (line) {
    g.strokeStyle = getComputedStyle(document.body).color;
    g.lineWidth = 1.5;
    g.beginPath();
    levels.values.forEach((v, i) => g.lineTo((i + 0.5) * scale, 54 - (v / 255) * 48));
    g.stroke();
  } else {
    levels.values.forEach((v, i) => {
      g.fillStyle = `rgb(${v},${v},${v})`;
      g.fillRect((i % columns) * scale, Math.floor(i / columns) * scale, scale, scale);
    });
  }
  const unit = scale / step,
    mark = (start, size, colour, dash) => {
      const [y, x] = line ? [0, start[0]] : start.slice(-2),
        [height, width] = line ? [60 / unit, size[0]] : size.slice(-2);
      for (const [style, thick] of [
        ["#000", 4],
        [colour, 2],
      ]) {
        g.strokeStyle = style;
        g.lineWidth = thick;
        g.setLineDash(dash);
        g.strokeRect(x * unit + 1, y * unit + 1, width * unit - 2, height * unit - 2);
      }
    };
  const stored = STORED.shape.slice(1);
  if (!same(stored, whole)) mark(DATA.area, stored, "#bbb", [4, 3]);
  const at = S.part.map((v, i) => v + DATA.area[i]);
  mark(at, DATA.sides, "#fdb863", []);
  UI.partText.textContent = t("partAt", {
    ranges: at.map((v, i) => `${v}…${v + DATA.sides[i] - 1}`).join(" × "),
    whole: whole.join("×"),
  });
  UI.partInputs.forEach((input, i) => {
    if (document.activeElement !== input) input.value = at[i];
  });
}

function movePart(event) {
  const { canvas, scale } = UI.thumb,
    box = canvas.getBoundingClientRect(),
    whole = DATA.whole.shape;
  const step = Math.max(1, ...whole.slice(-2).map((n) => Math.ceil(n / 160)));
  const ratio = canvas.width / box.width;
  const x = ((event.clientX - box.left) * ratio * step) / scale,
    y = ((event.clientY - box.top) * ratio * step) / scale;
  const part = [...S.part],
    middle = [...(DIMS > 1 ? [[DIMS - 2, y]] : []), [DIMS - 1, x]];
  for (const [i, v] of middle)
    part[i] = clamp(
      Math.round(v - DATA.sides[i] / 2) - DATA.area[i],
      0,
      STORED.shape[i + 1] - DATA.sides[i],
    );
  if (!same(part, S.part)) set({ part });
}

// 8. Controls.

/** Change the state, and draw it. */
function set(change) {
  Object.assign(S, change);
  draw();
}
/** Change what is chosen, if it is another. */
function choose(change) {
  if (Object.entries(change).some(([key, value]) => S[key] !== value)) set(change);
}

const steps = () =>
  ({ forward: [A.n, S.t, "t"], dx: [SAMPLES, S.m, "m"], dw: [TAPS, S.k, "k"] })[S.view];

function drawTime() {
  const [n, at] = steps();
  UI.time.max = Math.max(n - 1, 0);
  UI.time.value = at;
  const text = n ? t(`time.${S.view}`, { n: at + 1, of: count(n) }) : "";
  UI.timeText.textContent = text;
  UI.now.innerHTML = n && A.n ? `<b>${chosenValue().name}</b> = ${exact(chosenValue().value)}` : "";
  UI.time.setAttribute("aria-valuetext", text);
  UI.play.textContent = playing ? `❚❚ ${t("pause")}` : `▶ ${t("play")}`;
  UI.play.setAttribute("aria-pressed", String(Boolean(playing)));
  for (const control of [UI.play, UI.prev, UI.next, UI.time]) control.disabled = n === 0;
}
function stepBy(by) {
  const [n, at, key] = steps();
  if (n) set({ [key]: (at + by + n) % n });
}
function play(on) {
  clearInterval(playing);
  playing = on ? setInterval(() => stepBy(1), 1000 / Number(UI.speed.value)) : 0;
  draw();
}

/** Compare the page's numbers of the first state with those that convcli wrote. */
function drawCheck() {
  const first = isFirst();
  UI.reset.hidden = first;
  if (!first) {
    UI.check.className = "check live";
    UI.check.textContent = t("checkLive");
    return;
  }
  const sum = (values) => values.reduce((a, v) => a + (isFinite(v) ? Math.abs(v) : 0), 0);
  const mostX = Math.max(largest(A.x), Math.abs(A.outside)),
    weights = sum(A.w),
    mostDelta = largest(A.delta);
  const scale = {
    y: mostX * weights + Math.abs(S.bias),
    dx: mostDelta * weights,
    dw: mostX * mostDelta * A.n * A.filters,
    db: mostDelta * A.n,
  };
  let n = 0,
    wrong = null;
  for (const [key, engine] of Object.entries(ENGINE)) {
    const own = A[key];
    engine.values.forEach((v, i) => {
      n += 1;
      const close =
        Object.is(v, own[i]) || v === own[i] || Math.abs(v - own[i]) <= 2e-13 * scale[key] + 1e-300;
      if (!close && !wrong) wrong = { key, i, own: own[i], engine: v };
    });
    if (engine.values.length !== own.length && !wrong)
      wrong = { key, i: own.length, own: own.length, engine: engine.values.length };
  }
  UI.check.className = `check ${wrong ? "bad" : "good"}`;
  UI.check.textContent = wrong
    ? t("checkBad", {
        name: `${wrong.key}[${wrong.i}]`,
        own: num(wrong.own),
        engine: num(wrong.engine),
      })
    : t("checkGood", { n: count(n), version: DATA.version });
}

const option = (value, text) => h("option", { value }, text);

/** Return controls, which have names of their own, under a label. */
function field(label, ...given) {
  const controls = given.flat();
  return h(
    "div.field",
    {},
    h("span.label", { "aria-hidden": "true" }, label),
    h("div.controls", {}, controls),
  );
}
function stepper(name, low, high, change) {
  const input = h("input", { type: "number", min: low, max: high, step: 1, "aria-label": name });
  const apply = (value) => {
    if (Number.isInteger(value)) change(clamp(value, low, Math.max(high, +input.max)));
  };
  input.addEventListener("change", () => apply(input.valueAsNumber));
  const button = (text, by) =>
    h(
      "button",
      {
        type: "button",
        tabindex: -1,
        "aria-hidden": "true",
        onclick: () => apply(input.valueAsNumber + by),
      },
      text,
    );
  return { input, box: h("span.stepper", {}, button("−", -1), input, button("+", 1)) };
}

/** Return one stepper for all axes, or one for each; per: change one axis alone. */
function perAxis(key, low, high) {
  return range(DIMS).map((i) =>
    stepper(`${t(key)}, ${t(AXIS_NAMES[i])}`, low, high, (value) =>
      set({ [key]: S[key].map((v, j) => (UI.linked || i === j ? value : v)) }),
    ),
  );
}

function buildSettings() {
  const select = (name, key, options) =>
    h(
      "select",
      { "aria-label": name, onchange: (event) => set({ [key]: event.target.value }) },
      options,
    );
  UI.op = select(t("op"), "op", [
    option("correlate", t("correlate")),
    option("convolve", t("convolve")),
  ]);
  UI.transposed = h("input", {
    type: "checkbox",
    onchange: (event) => set({ transposed: event.target.checked, t: 0 }),
  });
  const widest = Math.max(...WINDOW, 2) - 1; // a window reaches over at most 33 samples
  UI.steppers = {
    stride: perAxis("stride", 1, 8),
    dilation: perAxis("dilation", 1, clamp(Math.floor(32 / widest), 1, 8)),
    extra: perAxis("extra", 0, 7),
  };
  UI.padding = h(
    "select",
    {
      "aria-label": t("padding"),
      onchange: (event) => {
        const value = event.target.value;
        set({ padding: value === "custom" ? axes().map((axis) => [axis.lo, axis.hi]) : value });
      },
    },
    ["valid", "same", "same-lower", "full"].map((name) => option(name, name)),
    option("custom", t("custom")),
  );
  UI.pads = range(DIMS).flatMap((i) =>
    [0, 1].map((side) =>
      stepper(
        `${t("padding")}, ${t(AXIS_NAMES[i])}, ${t(side ? "end" : "start")}`,
        0,
        16,
        (value) =>
          set({
            padding: S.padding.map((pair, j) =>
              UI.linked || i === j
                ? pair.map((v, k) => (k === side || UI.linked ? value : v))
                : pair,
            ),
          }),
      ),
    ),
  );
  UI.boundary = select(
    t("boundary"),
    "boundary",
    BOUNDARIES.map((name) => option(name, t(`boundary.${name}`))),
  );
  const real = (name, key) =>
    h("input.number", {
      type: "number",
      step: "any",
      "aria-label": name,
      onchange: (event) => {
        if (isFinite(event.target.valueAsNumber)) set({ [key]: event.target.valueAsNumber });
      },
    });
  UI.cval = real(t("cval"), "cval");
  UI.bias = real(t("bias"), "bias");
  UI.activation = select(
    t("activation"),
    "activation",
    ACTIVATIONS.map((name) => option(name, name || t("none"))),
  );
  UI.filter = h("select", {
    "aria-label": t("filter"),
    onchange: (event) => set({ o: Number(event.target.value) }),
  });
  UI.channels = h("div.tabs", { role: "group", "aria-label": t("channel") });
  UI.link = h("input", {
    type: "checkbox",
    onchange: (event) => {
      UI.linked = !event.target.checked;
      draw();
    },
  });
  UI.undo = h("button", { type: "button", onclick: () => set({ w: {}, dy: {} }) }, t("undo"));
  UI.strideField = field(
    t("stride"),
    UI.steppers.stride.map((s) => s.box),
  );
  UI.dilationField = field(
    t("dilation"),
    UI.steppers.dilation.map((s) => s.box),
  );
  UI.extraField = field(
    t("extra"),
    UI.steppers.extra.map((s) => s.box),
  );
  UI.padsBox = h(
    "span.pads",
    {},
    UI.pads.map((s) => s.box),
  );
  UI.paddingField = field(t("padding"), UI.padding, UI.padsBox);
  UI.boundaryField = field(t("boundary"), UI.boundary, UI.cval);
  UI.filterField = field(t("filter"), UI.filter);
  UI.channelField = field(t("channel"), UI.channels);
  return h(
    "form.settings",
    { "aria-label": t("settings"), onsubmit: (event) => event.preventDefault() },
    field(t("op"), UI.op, h("label.check-label", {}, UI.transposed, t("transposed"))),
    UI.strideField,
    UI.dilationField,
    UI.paddingField,
    UI.extraField,
    UI.boundaryField,
    DIMS > 1 ? field(t("axes"), h("label.check-label", {}, UI.link, t("eachAxis"))) : null,
    UI.filterField,
    UI.channelField,
    field(t("bias"), UI.bias),
    field(t("activation"), UI.activation),
    h("div.field.end", {}, UI.undo),
  );
}

function drawSettings() {
  UI.op.value = S.op;
  UI.transposed.checked = S.transposed;
  UI.transposed.disabled = !can[!S.transposed];
  UI.transposed.parentNode.title = UI.transposed.disabled ? t("cannotTranspose") : "";
  for (const [key, list] of Object.entries(UI.steppers))
    list.forEach(({ input, box }, i) => {
      input.value = S[key][i];
      box.hidden = UI.linked && i > 0;
    });
  UI.link && (UI.link.checked = !UI.linked);
  const custom = Array.isArray(S.padding);
  UI.padding.value = custom ? "custom" : S.padding;
  UI.padsBox.hidden = !custom;
  if (custom)
    UI.pads.forEach(({ input, box }, i) => {
      input.value = S.padding[Math.floor(i / 2)][i % 2];
      box.hidden = UI.linked && i > 0;
    });
  UI.extraField.hidden = !S.transposed;
  UI.boundaryField.hidden = S.transposed;
  UI.boundary.value = S.boundary;
  UI.cval.hidden = S.boundary !== "constant";
  const setNumber = (input, value) => {
    if (document.activeElement !== input) input.value = value;
  };
  setNumber(UI.cval, S.cval);
  setNumber(UI.bias, S.bias);
  UI.activation.value = S.activation;
  UI.filterField.hidden = A.filters < 2 || SHARED === "each";
  if (UI.filter.length !== A.filters)
    UI.filter.replaceChildren(...range(A.filters).map((o) => option(o, String(o))));
  UI.filter.value = S.o;
  const tabs = SHARED === "each" ? range(CHANNELS) : inputsOf(S.o);
  UI.channelField.hidden = tabs.length < 2;
  const known = [...UI.channels.children].map((button) => Number(button.dataset.c));
  if (!same(known, tabs))
    UI.channels.replaceChildren(
      ...tabs.map((c) =>
        h(
          "button",
          {
            type: "button",
            "data-c": c,
            onclick: () => set(SHARED === "each" ? { o: c, c } : { c }),
          },
          String(c),
        ),
      ),
    );
  for (const button of UI.channels.children)
    button.setAttribute("aria-pressed", String(Number(button.dataset.c) === S.c));
  UI.undo.hidden = !Object.keys(S.w).length && !Object.keys(S.dy).length;
}

/** Return a panel of the stage: a title, a line of details, a grid, and a slider for its planes. */
function panel(name, options) {
  const grid = new Grid(options),
    title = h("h2"),
    detail = h("p.detail");
  const none = h("p.none", { role: "alert", hidden: true }, t("tooLarge"));
  const plane = h("span"),
    depth = h("input", {
      type: "range",
      "aria-label": t("planeOf", { name: t(`panel.${name}`) }),
      oninput: (event) => choosePlane(name, Number(event.target.value)),
    });
  const box = h(
    `section.panel.${name}`,
    {},
    title,
    detail,
    DIMS === 3 && name !== "weights" ? h("label.depth", {}, plane, depth) : null,
    grid.host,
    none,
  );
  return { grid, title, detail, box, depth, plane, none };
}

function pickInput(r, q) {
  const shown = planes(),
    places = [shown.v, A.axes[1].from + r, A.axes[2].from + q];
  if (S.view === "dx") {
    const sample = sampleAt(places);
    if (sample >= 0 && kindOf(places) === "sample") choose({ m: sample });
  } else if (S.view === "forward" && A.n) {
    // the output whose window's centre is nearest
    const p = places.map((v, i) =>
      i === 0
        ? shown.p
        : clamp(
            Math.round((v - A.axes[i].start - (A.axes[i].reach - 1) / 2) / A.axes[i].step),
            0,
            A.outs[i] - 1,
          ),
    );
    choose({ t: flat(p, A.outs) });
  }
}
const kernelAt = (r, q) => {
  const { a } = planes();
  return flat([A.flipped ? WINDOW[0] - 1 - a : a, r, q], WINDOW);
};
function editKernel(r, q, value) {
  const index = weightIndex(S.o, S.c, kernelAt(r, q));
  if (value === undefined) return A.w[index];
  const w = { ...S.w };
  if (value === KERNEL.values[index]) delete w[index];
  else w[index] = value;
  return set({ w });
}
function editOutput(r, q, value) {
  const index = S.o * A.n + flat([planes().p, r, q], A.outs);
  if (value === undefined) return A.dy[index];
  return set({ dy: { ...S.dy, [index]: value } });
}

function buildStage() {
  UI.left = panel("left", { pick: pickInput });
  UI.middle = panel("middle", {
    pick: (r, q) => {
      if (S.view === "dw") choose({ k: kernelAt(r, q) });
    },
    edit: editKernel,
    editable: () => S.view !== "dw",
  });
  UI.right = panel("right", {
    pick: (r, q) => {
      if (S.view === "forward") choose({ t: flat([planes().p, r, q], A.outs) });
    },
    edit: editOutput,
    editable: () => S.view !== "forward",
  });
  UI.weights = panel("weights", { edit: editKernel, editable: () => S.view === "dw" });
  UI.signs = [h("div.sign", { "aria-hidden": "true" }), h("div.sign", { "aria-hidden": "true" })];
  UI.middle.box.append(UI.weights.box, ...buildPart());
  UI.stage = h("div.stage", {}, UI.left.box, UI.signs[0], UI.middle.box, UI.signs[1], UI.right.box);
  return UI.stage;
}

function buildStep() {
  UI.factors = range(3).map(() => {
    const grid = new Grid({ pick: linkTerms }),
      title = h("h3");
    grid.host.addEventListener("pointerleave", () => linkTerms(-1, -1));
    return { grid, title, box: h("div.factor", {}, title, grid.host) };
  });
  UI.parts = h("div.parts", { role: "group", "aria-label": t("partialSums") });
  UI.pipe = h("div.pipe");
  UI.sum = h("div.sum");
  UI.live = h("div.hidden", { "aria-live": "polite", role: "status" });
  const [a, b, c] = UI.factors.map((factor) => factor.box),
    sign = (text) => h("div.sign.small", { "aria-hidden": "true" }, text);
  UI.step = h(
    "section.step",
    { "aria-label": t("stepTitle") },
    h("div.factors", {}, a, sign("×"), b, sign("="), c, h("div.pipe-box", {}, UI.pipe)),
    UI.parts,
  );
  return [UI.step, UI.sum, UI.live];
}

function buildTime() {
  UI.play = h("button.primary", { type: "button", onclick: () => play(!playing) });
  UI.prev = h(
    "button",
    {
      type: "button",
      "aria-label": t("previous"),
      title: t("previous"),
      onclick: () => stepBy(-1),
    },
    "◀",
  );
  UI.next = h(
    "button",
    { type: "button", "aria-label": t("next"), title: t("next"), onclick: () => stepBy(1) },
    "▶",
  );
  UI.time = h("input.time", {
    type: "range",
    min: 0,
    "aria-label": t("timeline"),
    oninput: (event) => choose({ [steps()[2]]: Number(event.target.value) }),
  });
  UI.timeText = h("span.time-text");
  UI.now = h("span.now", { "aria-hidden": "true" });
  UI.speed ??= h("input", { type: "range", min: 1, max: 20, value: still.matches ? 1 : 4 });
  UI.speed.setAttribute("aria-label", t("speed"));
  UI.speed.oninput = () => {
    if (playing) play(true);
  };
  return h(
    "div.timeline",
    { role: "group", "aria-label": t("timeline") },
    UI.play,
    UI.prev,
    UI.next,
    UI.time,
    UI.timeText,
    UI.now,
    h("label.speed", {}, t("speed"), UI.speed),
  );
}

function buildPart() {
  if (!DATA.thumbnail) return [];
  const levels = unpack(DATA.thumbnail),
    columns = levels.shape[levels.shape.length - 1];
  const canvas = h("canvas.thumb", {
    "aria-hidden": "true",
    onclick: movePart,
    onpointermove: (event) => {
      if (event.buttons) movePart(event);
    },
  });
  UI.thumb = {
    levels,
    canvas,
    scale: Math.max(
      1,
      Math.floor(150 / Math.max(columns, levels.shape.length > 1 ? levels.shape[0] : 1)),
    ),
  };
  UI.partText = h("span");
  UI.partInputs = range(DIMS).map((i) =>
    h("input.number", {
      type: "number",
      min: DATA.area[i],
      max: DATA.area[i] + STORED.shape[i + 1] - DATA.sides[i],
      "aria-label": t("partFrom", { axis: t(AXIS_NAMES[i]) }),
      onchange: (event) => {
        const value = event.target.valueAsNumber;
        if (Number.isInteger(value))
          set({
            part: S.part.map((v, j) =>
              i === j ? clamp(value - DATA.area[i], 0, STORED.shape[i + 1] - DATA.sides[i]) : v,
            ),
          });
      },
    }),
  );
  return [
    h(
      "section.cut",
      { "aria-label": t("partTitle") },
      h("h2", {}, t("partTitle")),
      canvas,
      h("p.small", {}, UI.partText),
      h("p.controls", {}, UI.partInputs),
    ),
  ];
}

function notes() {
  const lines = [],
    { channels, filters } = DATA;
  if (DATA.thumbnail)
    lines.push(t("fewSamples", { shown: DATA.sides.join("×"), of: DATA.whole.shape.join("×") }));
  const named = (list) => `${list[0]}…${list[list.length - 1]}`;
  if (channels.length < DATA.whole.channels)
    lines.push(t("fewChannels", { range: named(channels), of: DATA.whole.channels }));
  if (filters.length < DATA.whole.filters)
    lines.push(t("fewFilters", { range: named(filters), of: DATA.whole.filters }));
  if (DATA.batch > 1) lines.push(t("oneItem", { of: DATA.batch }));
  return lines.length ? h("p.notes", {}, lines.join(" ")) : null;
}

function build() {
  document.documentElement.lang = S.lang;
  UI.linked ??=
    [S.stride, S.dilation].every((list) => new Set(list).size === 1) &&
    (typeof S.padding === "string" || new Set(S.padding.flat()).size === 1);
  UI.check = h("span.check", { role: "status" });
  UI.reset = h(
    "button",
    {
      type: "button",
      onclick: () => {
        play(false);
        S = { ...structuredClone(START), lang: S.lang, view: S.view };
        draw();
      },
    },
    t("reset"),
  );
  const languages = Object.keys(TEXTS).map((name) =>
    h(
      "button",
      {
        type: "button",
        lang: name,
        "aria-pressed": String(name === S.lang),
        onclick: () => {
          S.lang = name;
          build();
        },
      },
      TEXTS[name].language,
    ),
  );
  const named = ({ name, shape }) => `${name} (${shape.join("×")})`;
  UI.views = Object.fromEntries(
    VIEWS.map((view) => [
      view,
      h("button", {
        type: "button",
        html: t(`view.${view}`),
        onclick: () => {
          play(false);
          set({ view });
        },
      }),
    ]),
  );
  UI.sentence = h("p.sentence");
  UI.sizes = h("div");
  UI.parameters = h("div");
  UI.matrix = h("canvas.matrix", {
    role: "img",
    onpointermove: (event) => {
      if (event.pointerType === "mouse") pickMatrix(event);
    },
    onclick: pickMatrix,
  });
  UI.matrixText = h("p.matrix-text");
  UI.tableCaption = h("caption");
  UI.tableHead = h("thead");
  UI.tableBody = h("tbody");
  UI.details = h(
    "details",
    { ontoggle: () => draw() },
    h("summary", {}, t("asTable")),
    h(
      "div.scroll",
      { tabindex: 0, role: "region", "aria-label": t("asTable") },
      h("table.plain", {}, UI.tableCaption, UI.tableHead, UI.tableBody),
    ),
  );
  const legend = [
    ["above", "legend.above"],
    ["below", "legend.below"],
    ["outside", "legend.outside"],
    ["framed", "legend.window"],
    ["chosen", "legend.chosen"],
    ["part", "legend.part"],
  ];
  const app = h(
    "div.app",
    {},
    h(
      "header",
      {},
      h(
        "div",
        {},
        h("h1", {}, `${named(DATA.input)} ∗ ${named(DATA.kernel)}`),
        h("p.small", {}, t("subtitle")),
      ),
      h(
        "div.status",
        {},
        UI.check,
        UI.reset,
        h("div.tabs", { role: "group", "aria-label": t("languages") }, languages),
      ),
    ),
    buildSettings(),
    h(
      "main",
      {},
      h("div.views", { role: "group", "aria-label": t("views") }, Object.values(UI.views)),
      UI.sentence,
      notes(),
      buildStage(),
      buildTime(),
      buildStep(),
      h(
        "div.key",
        {},
        legend.map(([kind, key]) => h("span", {}, h(`i.${kind}`), t(key))),
      ),
      h(
        "div.cards",
        {},
        h("section.card", {}, h("h2", {}, t("sizes")), UI.sizes),
        h("section.card", {}, h("h2", {}, t("parameters")), UI.parameters),
      ),
      h(
        "section.card",
        {},
        h("h2", { html: t("matrixTitle") }),
        h("div.matrix-row", {}, h("div.matrix-box", {}, UI.matrix), UI.matrixText),
      ),
      UI.details,
    ),
    h("footer", {}, h("p", { html: t("keys") }), h("p", {}, t("made", { version: DATA.version }))),
  );
  document.querySelector(".app")?.remove();
  document.body.prepend(app);
  A = undefined;
  M = null;
  draw();
}

document.addEventListener("keydown", (event) => {
  if (event.target.closest?.("input, select") || event.ctrlKey || event.metaKey || event.altKey)
    return;
  const view = { f: "forward", x: "dx", w: "dw" }[event.key];
  if (view) {
    play(false);
    set({ view });
  }
  if (event.key === " " && !event.target.closest?.("button, summary")) {
    event.preventDefault();
    play(!playing);
  }
  if (event.key === "PageDown" || event.key === "PageUp") {
    if (DIMS < 3 || !event.target.closest?.("table")) return;
    event.preventDefault();
    const by = event.key === "PageDown" ? 1 : -1,
      shown = planes();
    if (S.view === "dw")
      choosePlane(
        "middle",
        clamp((A.flipped ? WINDOW[0] - 1 - shown.a : shown.a) + by, 0, WINDOW[0] - 1),
      );
    else if (S.view === "dx") choosePlane("left", clamp(split(S.m, SIZE)[0] + by, 0, SIZE[0] - 1));
    else choosePlane("right", shown.p + by);
  }
});
addEventListener("hashchange", () => {
  readFragment();
  build();
});
let resizing = 0;
let breadth = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === breadth) return;
  breadth = innerWidth;
  cancelAnimationFrame(resizing);
  resizing = requestAnimationFrame(draw);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  M = null;
  draw();
});

readFragment();
build();

/** For tests, and for the console of a browser: the state, and every value that is computed. */
window.convcli = {
  get state() {
    return structuredClone(S);
  },
  set,
  get values() {
    return Object.fromEntries(
      ["y", "dx", "dw", "db"]
        .map((key) => [key, Array.from(A[key])])
        .concat([["shape", [A.filters, ...real(A.outs)]]]),
    );
  },
  get matrix() {
    return range(M ? A.n : 0).map((r) =>
      range(M.columns).map((c) => M.values.get(r * M.columns + c) ?? 0),
    );
  },
  get terms() {
    return chosenTerms();
  },
  get chosen() {
    return chosenValue().value;
  },
};
