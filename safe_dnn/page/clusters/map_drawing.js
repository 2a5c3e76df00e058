// How the map is drawn: points, thumbnails, labels, lasso. Second part; see map.js.
// `view` is the middle of what is shown, in the map's steps, and `zoom`, 1 where the bulk of the images fits.
const ABOVE = 46, BELOW = 34, BESIDE = 18;  // kept free of points: the buttons, the legend
const LABELS = 60, LONGEST_LABEL = 20, MARGIN = 0.02;
const THUMBNAILS = 60, MAGNIFIED = 1.4;  // thumbnails replace points where as few are in view, and it is magnified
let widths = new Map(), inView = [];

const canvas = $("canvas");

function frame() {
  const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
  const size = [width, height].map((side) => Math.round(side * ratio));
  if (`${size}` !== `${[canvas.width, canvas.height]}`) [canvas.width, canvas.height] = size;
  const below = shaded ? BELOW : BESIDE;
  const inner = [Math.max(40, width - 2 * BESIDE), Math.max(40, height - ABOVE - below)];
  const scale = map ? fitting(map.bulk, inner) * view.zoom : 1;
  return { ratio, width, height, inner, scale, x: width / 2, y: ABOVE + inner[1] / 2 };
}

// Pixels for each step so that a rectangle fits.
function fitting([left, low, right, high], [wide, tall]) {
  const least = map.steps / 1000;  // of images that are all the same
  return Math.min(wide / Math.max(least, right - left), tall / Math.max(least, high - low)) / (1 + 2 * MARGIN);
}

const middle = ([left, low, right, high]) => ({ x: (left + right) / 2, y: (low + high) / 2 });
const fitted = () => ({ ...middle(map.bulk), zoom: 1 });

// All images fit; what is magnified least.
function whole() {
  const f = frame();
  return { ...middle(map.whole), zoom: Math.min(1, fitting(map.whole, f.inner) / fitting(map.bulk, f.inner)) };
}

const place = (f, i) => [(map.x[i] - view.x) * f.scale + f.x, (view.y - map.y[i]) * f.scale + f.y];

function draw() {
  if (!canvas.clientWidth) return;
  $(".safe-map-none").hidden = Boolean(map);
  canvas.hidden = !map;
  canvas.dataset.chosen = framed() ?? "";
  if (!map) return;
  const f = frame(), pen = canvas.getContext("2d");
  inked ||= inks();
  const size = Math.max(2.2, Math.min(5, 110 / Math.sqrt(map.n))) * Math.min(1.9, Math.max(1, Math.sqrt(view.zoom)));
  points(pen, f, size);
  pen.setTransform(f.ratio, 0, 0, f.ratio, 0, 0);
  const pictured = thumbnails(pen, f);
  labels(pen, f, pictured);
  if (hovered >= 0) ring(pen, f, hovered, size + 4, pictured.find(({ i }) => i === hovered));
  if (drag?.path) outline(pen);
  canvas.dataset.pictures = pictured.length;
  canvas.dataset.zoom = view.zoom.toFixed(2);
}

// The RCC at hand; none while a weak spot is.
const framed = () => (element.closest('#clusters-pane[data-kind="spot"]') ? null : props.chosen);

// Says which images are lit; made once for a frame, since Gradio's `props` are slow to read: 7 ms for 100,000 images.
function lighting() {
  const chosen = framed(), { rcc } = map;
  return picked.size ? (i) => marked[i] === 1 : (i) => chosen == null || rcc[i] === chosen;
}

// The pixels of a disc, or a ring, in a colour, made once for all images that have it.
function stamp(f, radius, colour, alpha, isRing) {
  const side = Math.ceil(radius + 1), small = new OffscreenCanvas(2 * side * f.ratio, 2 * side * f.ratio), pen = small.getContext("2d", { willReadFrequently: true });
  pen.scale(f.ratio, f.ratio);
  pen.globalAlpha = isRing ? Math.min(1, 2 * alpha) : alpha;
  pen.fillStyle = pen.strokeStyle = colour;
  pen.lineWidth = 0.4 * radius;
  pen.arc(side, side, isRing ? 0.8 * radius : radius, 0, 2 * Math.PI);
  if (isRing) pen.stroke(); else pen.fill();
  return { side, width: small.width, data: pen.getImageData(0, 0, small.width, small.width).data };
}

// Blend a stamp over pixels, as `drawImage` does; 20,000 of those take longer where no GPU draws them.
function blend({ data: over, width: side }, { data, width, height }, left, top) {
  for (let row = Math.max(0, -top); row < Math.min(side, height - top); row++) {
    for (let column = Math.max(0, -left); column < Math.min(side, width - left); column++) {
      const from = 4 * (row * side + column), alpha = over[from + 3] / 255;
      if (!alpha) continue;
      const to = 4 * ((top + row) * width + left + column), under = data[to + 3] / 255 * (1 - alpha), sum = alpha + under;
      for (let c = 0; c < 3; c++) data[to + c] = (over[from + c] * alpha + data[to + c] * under) / sum;
      data[to + 3] = 255 * sum;
    }
  }
}

function points(pen, f, size) {
  inView = [];
  const isLit = lighting(), button = $(".safe-map-outside");
  let outside = 0;
  const pixels = pen.createImageData(canvas.width, canvas.height);
  for (const lit of [false, true]) {
    const radius = size * (lit && map.n < 3000 ? 1.2 : 1), alpha = lit ? 0.95 : inked.shade && !picked.size ? 0.55 : 0.26;
    const stamps = [false, true].map((isRing) => inked.colours.map((colour) => stamp(f, radius, colour, alpha, isRing)));
    for (let i = 0; i < map.n; i++) {
      if (hides[i] || isLit(i) !== lit) continue;
      const x = (map.x[i] - view.x) * f.scale + f.x, y = (view.y - map.y[i]) * f.scale + f.y;
      if (x < 0 || y < 0 || x > f.width || y > f.height) { outside++; continue; }
      inView.push(i);
      const small = stamps[inked.rings[i]][inked.of[i]];
      blend(small, pixels, Math.round((x - small.side) * f.ratio), Math.round((y - small.side) * f.ratio));
    }
  }
  pen.putImageData(pixels, 0, 0);
  button.hidden = !outside || view.zoom > 1;  // of a part that is magnified, most lie outside
  button.textContent = `${grouped(outside)} outside`;
}

// Thumbnails in place of points, those first that are pointed at or selected; where two would overlap, one stays a point.
function thumbnails(pen, f) {
  if (view.zoom < MAGNIFIED || !inView.length || inView.length > THUMBNAILS) return [];
  const side = inView.length <= 15 ? 72 : inView.length <= 30 ? 56 : 44, drawn = [], isLit = lighting();
  const first = (i) => (i === hovered ? 2 : 0) + (isLit(i) ? 1 : 0);
  for (const i of [...inView].sort((a, b) => first(b) - first(a))) {
    const image = pictureOf(i);
    if (!image.complete || !image.naturalWidth) continue;
    const [x, y] = place(f, i);
    if (drawn.some((box) => Math.abs(box.x - x) < side && Math.abs(box.y - y) < side)) continue;
    const grown = side / Math.max(image.naturalWidth, image.naturalHeight);
    const wide = image.naturalWidth * grown, tall = image.naturalHeight * grown;
    drawn.push({ i, x, y, wide: wide + 4, tall: tall + 4 });
    pen.globalAlpha = isLit(i) ? 1 : 0.75;
    pen.fillStyle = inked.colours[inked.of[i]];
    pen.fillRect(x - wide / 2 - 2, y - tall / 2 - 2, wide + 4, tall + 4);
    pen.drawImage(image, x - wide / 2, y - tall / 2, wide, tall);
  }
  pen.globalAlpha = 1;
  return drawn;
}

const short = (text) => text.length > LONGEST_LABEL ? `${text.slice(0, LONGEST_LABEL - 1).trimEnd()}…` : text;

// Each RCC's name above it, below it or over it, the RCC at hand and large ones first, as long as there is room.
function labels(pen, f, pictured) {
  Object.assign(pen, { font: "600 12px system-ui, sans-serif", textAlign: "center", textBaseline: "middle" });
  const taken = pictured.map(({ x, y, wide, tall }) => [x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2]), made = [];
  const free = (box) => box[0] >= 2 && box[1] >= ABOVE - 4 && box[2] <= f.width - 2 && box[3] <= f.height - 4 &&
    !taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1]);
  const framing = framed(), first = (entry) => entry.rcc === framing ? 0 : 1;
  for (const entry of [...map.rccs].sort((a, b) => first(a) - first(b))) {
    if (made.length >= LABELS) break;
    if (entry.rcc === NOISE || !shownOf.get(entry.rcc)) continue;
    const text = short(entry.name) || `RCC ${entry.rcc}`, [x, y] = place(f, entry.at);
    if (x < 0 || x > f.width || y < 0 || y > f.height) continue;
    if (!widths.has(text)) widths.set(text, pen.measureText(text).width);
    const wide = widths.get(text) + 14, [top, bottom] = entry.reach.map((step) => (view.y - step) * f.scale + f.y);
    for (const [right, height] of [[0, top - 12], [0, bottom + 12], [0, y], [wide / 2 + 8, y], [-wide / 2 - 8, y]]) {
      const at = [Math.max(wide / 2 + 6, Math.min(f.width - wide / 2 - 6, x + right)), height];
      const box = [at[0] - wide / 2 - 3, at[1] - 13, at[0] + wide / 2 + 3, at[1] + 13];
      if (!free(box)) continue;
      taken.push(box);
      made.push({ entry, text, at, wide });
      break;
    }
  }
  for (const { entry, text, at: [x, y], wide } of made.reverse()) {
    const chosen = entry.rcc === framing;
    pen.globalAlpha = chosen || framing == null ? 1 : 0.85;
    pen.fillStyle = chosen ? (dark() ? "#fff" : "#111827") : (dark() ? "#1f2937" : "#fff");
    pen.beginPath();
    pen.roundRect(x - wide / 2, y - 10, wide, 20, 10);
    pen.fill();
    pen.lineWidth = chosen ? 2.5 : 1.5;
    pen.strokeStyle = COLOURS[theme()][hueOf(entry.rcc)];
    pen.stroke();
    pen.globalAlpha = 1;
    pen.fillStyle = chosen ? (dark() ? "#111827" : "#fff") : (dark() ? "#f3f4f6" : "#111827");
    pen.fillText(text, x, y + 0.5);
  }
  canvas.dataset.labels = made.map(({ text }) => text).reverse().join("|");
}

function ring(pen, f, i, radius, picture) {
  const path = new Path2D(), [x, y] = place(f, i);
  if (picture) path.rect(x - picture.wide / 2 - 1, y - picture.tall / 2 - 1, picture.wide + 2, picture.tall + 2);
  else path.arc(x, y, radius, 0, 7);
  for (const [colour, width] of [[dark() ? "#111827" : "#fff", 5], [dark() ? "#fff" : "#111827", 2.2]]) {
    Object.assign(pen, { strokeStyle: colour, lineWidth: width });
    pen.stroke(path);
  }
}

function outline(pen) {
  Object.assign(pen, { strokeStyle: dark() ? "#5eead4" : "#0f766e", fillStyle: "#14b8a633", lineWidth: 1.5 });
  pen.fill(drag.path, "evenodd");
  pen.stroke(drag.path);
}
