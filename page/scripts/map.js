// The map of all failing images: a canvas, so that 10,000 points stay smooth.
// Gradio gives `element`, `props`, `watch`, `trigger` and `server`. Props: value (indices of the images
// selected), record and shade (see rccs/image_map.py), chosen (an RCC), found (images looked for), seen.
const NOISE = -1, NEAR = 9, LABELS = 60, NAMED = 8, ABOVE = 46, BELOW = 34;
let view = { x: 0, y: 0, scale: 1 }, hovered = -1, lasso = null, dragged = null, mode = "lasso";
let picked = new Set(), pictures = new Map(), waiting = 0;
const $ = (selector) => element.querySelector(selector);
const dark = () => document.body.classList.contains("dark");
const colour = (rcc) => rcc === NOISE ? (dark() ? "#7d8590" : "#9aa2ad")
  : `hsl(${(rcc * 137.508) % 360} ${rcc % 2 ? 75 : 58}% ${dark() ? 62 : rcc % 3 ? 42 : 52}%)`;

const SCALE = { light: [[49, 76, 168], [24, 134, 124], [230, 160, 0]], dark: [[124, 145, 255], [45, 190, 175], [255, 205, 70]] };
function shadeOf(value) {
  if (value == null) return colour(NOISE);
  if (props.shade.kind === "category") return colour(value);
  if (props.shade.kind === "angle") return `hsl(${value * 360} 65% ${dark() ? 62 : 45}%)`;
  const stops = SCALE[dark() ? "dark" : "light"], i = value < 0.5 ? 0 : 1, part = 2 * value - i;
  return `rgb(${stops[i].map((from, k) => Math.round(from + part * (stops[i + 1][k] - from))).join(" ")})`;
}

function legend() {
  const box = $(".safe-map-legend"), shade = props.shade;
  box.hidden = !shade;
  box.replaceChildren();
  if (!shade) return;
  const part = (tag, text, style) => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (style) made.style.background = style;
    box.append(made);
  };
  part("b", shade.name);
  if (shade.kind === "category") {
    shade.names.slice(0, NAMED).forEach((name, i) => { part("i", "", shadeOf(i)); part("span", name); });
    if (shade.names.length > NAMED) part("span", `and ${shade.names.length - NAMED} more`);
  } else {
    part("span", shade.low);
    const stops = Array.from({ length: 13 }, (_, i) => shadeOf(i / 12)).join(", ");
    part("i", "", `linear-gradient(90deg, ${stops})`);
    box.lastChild.className = "safe-map-scale";
    part("span", shade.high);
  }
}

function frame() {
  const canvas = $("canvas"), ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const side = Math.min(width - 28, height - ABOVE - BELOW);  // the buttons above and the legend below cover no point
  return { canvas, ratio, width, height, side, left: (width - side) / 2, top: ABOVE + (height - ABOVE - BELOW - side) / 2 };
}

function place(f, i) {
  const r = props.record, at = (v) => v / r.steps;
  return [
    (f.left + at(r.x[i]) * f.side - f.width / 2) * view.scale + f.width / 2 + view.x,
    (f.top + (1 - at(r.y[i])) * f.side - f.height / 2) * view.scale + f.height / 2 + view.y,
  ];
}

function draw() {
  const r = props.record, canvas = $("canvas");
  if (!canvas || !canvas.clientWidth) return;
  $(".safe-map-none").hidden = Boolean(r);
  canvas.hidden = !r;
  canvas.dataset.chosen = props.chosen ?? "";
  if (!r) return;
  const f = frame(), pen = canvas.getContext("2d"), n = r.x.length;
  pen.setTransform(f.ratio, 0, 0, f.ratio, 0, 0);
  pen.clearRect(0, 0, f.width, f.height);
  const size = Math.max(2.2, Math.min(5, 110 / Math.sqrt(n))) * Math.min(1.8, Math.sqrt(view.scale));
  const shade = props.shade?.value.length === n ? props.shade : null;  // else of clusters that are no longer shown
  const some = picked.size > 0, isLit = (i) => some ? picked.has(i) : props.chosen == null || r.rcc[i] === props.chosen;
  for (const lit of [false, true]) {
    pen.globalAlpha = lit ? 0.95 : shade && !some ? 0.6 : 0.22;
    for (let i = 0; i < n; i++) {
      if (isLit(i) !== lit) continue;
      const [x, y] = place(f, i);
      if (x < -9 || y < -9 || x > f.width + 9 || y > f.height + 9) continue;
      pen.fillStyle = shade ? shadeOf(shade.value[i]) : colour(r.rcc[i]);
      const half = (r.rcc[i] === NOISE ? 0.75 : 1) * size * (lit && n < 3000 ? 1.15 : 1);
      if (n > 3000) pen.fillRect(x - half, y - half, 2 * half, 2 * half);
      else { pen.beginPath(); pen.arc(x, y, half, 0, 7); pen.fill(); }
    }
  }
  pen.globalAlpha = 1;
  pen.font = "600 12px system-ui, sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  for (const { rcc, at } of r.rccs.slice(0, LABELS)) {
    if (rcc === NOISE) continue;
    const [x, y] = place(f, at), text = String(rcc), wide = Math.max(20, pen.measureText(text).width + 10);
    pen.fillStyle = rcc === props.chosen ? (dark() ? "#fff" : "#111827") : (dark() ? "#1f2937e6" : "#ffffffe6");
    pen.beginPath();
    pen.roundRect(x - wide / 2, y - 10, wide, 20, 10);
    pen.fill();
    pen.lineWidth = 1.5;
    pen.strokeStyle = colour(rcc);
    pen.stroke();
    pen.fillStyle = rcc === props.chosen ? (dark() ? "#111827" : "#fff") : (dark() ? "#f3f4f6" : "#111827");
    pen.fillText(text, x, y + 0.5);
  }
  if (hovered >= 0) {
    const [x, y] = place(f, hovered);
    pen.strokeStyle = dark() ? "#fff" : "#111827";
    pen.lineWidth = 2;
    pen.beginPath();
    pen.arc(x, y, size + 4, 0, 7);
    pen.stroke();
  }
  if (lasso && lasso.length > 1) {
    pen.strokeStyle = dark() ? "#5eead4" : "#0f766e";
    pen.fillStyle = "#14b8a633";
    pen.lineWidth = 1.5;
    pen.beginPath();
    lasso.forEach(([x, y], k) => k ? pen.lineTo(x, y) : pen.moveTo(x, y));
    pen.closePath();
    pen.fill();
    pen.stroke();
  }
}

let asked = false;
function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; draw(); });
}

function nearest(x, y) {
  const f = frame(), r = props.record;
  let best = -1, least = NEAR * NEAR;
  for (let i = 0; i < r.x.length; i++) {
    const [px, py] = place(f, i), d = (px - x) ** 2 + (py - y) ** 2;
    if (d < least) { least = d; best = i; }
  }
  return best;
}

function inside(polygon, x, y) {
  let within = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [xi, yi] = polygon[i], [xj, yj] = polygon[j];
    if (yi > y !== yj > y && x < (xj - xi) * (y - yi) / (yj - yi) + xi) within = !within;
  }
  return within;
}

async function tell(i, x, y) {
  const tip = $(".safe-map-tip"), f = frame(), turn = ++waiting;
  if (i < 0) { tip.hidden = true; return; }
  const rcc = props.record.rcc[i], known = props.record.rccs.find((entry) => entry.rcc === rcc);
  tip.querySelector("b").textContent = known ? known.title : "No cluster";
  const told = props.record.told?.[i] ? ` · ${props.record.told[i]}` : "";
  const between = props.record.between?.[i] ? ` · ${props.record.between[i]}` : "";
  tip.querySelector("span").textContent = props.record.name[i] + told + between + (props.shade ? ` · ${props.shade.name}: ${props.shade.told[i] || "unknown"}` : "");
  tip.style.left = `${Math.min(x + 14, f.width - 150)}px`;
  tip.style.top = `${y > f.height - 190 ? y - 186 : y + 14}px`;
  tip.hidden = false;
  const image = tip.querySelector("img"), key = `${props.seen}/${i}`;
  image.style.visibility = pictures.has(key) ? "" : "hidden";
  if (!pictures.has(key)) {
    await new Promise((resume) => setTimeout(resume, 40));
    if (turn !== waiting) return;
    const source = await server.map_picture([i, props.seen]);
    if (pictures.size > 500) pictures.clear();
    pictures.set(key, source);
  }
  if (turn === waiting && pictures.get(key)) { image.src = pictures.get(key); image.style.visibility = ""; }
}

function point(event) {
  const box = $("canvas").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function zoom(factor, x, y) {
  const f = frame(), scale = Math.min(40, Math.max(1, view.scale * factor)), grown = scale / view.scale;
  view.x = (x - f.width / 2) * (1 - grown) + view.x * grown;
  view.y = (y - f.height / 2) * (1 - grown) + view.y * grown;
  view.scale = scale;
  if (scale === 1) view.x = view.y = 0;
  redraw();
}

function pick(indices, add) {
  picked = new Set(add ? [...picked, ...indices] : indices);
  redraw();
  props.value = [...picked];
  trigger("select");
}

element.addEventListener("pointerdown", (event) => {
  if (event.target.tagName !== "CANVAS" || !props.record || event.button) return;
  event.target.setPointerCapture(event.pointerId);
  const at = point(event);
  if (mode === "move" || event.ctrlKey || event.metaKey) dragged = { at, from: { ...view } };
  else lasso = [at];
});
element.addEventListener("pointermove", (event) => {
  if (event.target.tagName !== "CANVAS" || !props.record) return;
  const at = point(event);
  if (dragged) {
    view.x = dragged.from.x + at[0] - dragged.at[0];
    view.y = dragged.from.y + at[1] - dragged.at[1];
  } else if (lasso) lasso.push(at);
  else {
    const i = nearest(...at);
    if (i !== hovered) { hovered = i; tell(i, ...at); }
    else return;
  }
  redraw();
});
element.addEventListener("pointerup", (event) => {
  if (dragged) { dragged = null; return; }
  if (!lasso) return;
  const polygon = lasso, [x, y] = polygon[0];
  lasso = null;
  const far = polygon.some(([px, py]) => Math.hypot(px - x, py - y) > 5);
  if (far) {
    const f = frame(), found = [];
    for (let i = 0; i < props.record.x.length; i++) if (inside(polygon, ...place(f, i))) found.push(i);
    pick(found, event.shiftKey);
  } else {
    const i = nearest(x, y);
    if (i >= 0) pick([i], event.shiftKey);
    else pick([], false);
  }
});
element.addEventListener("pointerleave", () => { hovered = -1; tell(-1); redraw(); }, true);
element.addEventListener("wheel", (event) => {
  if (event.target.tagName !== "CANVAS" || !props.record || !(event.ctrlKey || mode === "move" || event.shiftKey)) return;
  event.preventDefault();
  zoom(Math.exp(-(event.deltaY || event.deltaX) / 400), ...point(event));
}, { passive: false });
element.addEventListener("click", (event) => {
  const action = event.target.closest("[data-do]")?.dataset.do, f = frame();
  if (action === "mode") {
    mode = mode === "lasso" ? "move" : "lasso";
    event.target.textContent = mode === "lasso" ? "Lasso" : "Move";
    event.target.title = mode === "lasso" ? "Dragging selects images" : "Dragging moves the map";
    $("canvas").style.cursor = mode === "lasso" ? "crosshair" : "grab";
  } else if (action === "in") zoom(1.5, f.width / 2, f.height / 2);
  else if (action === "out") zoom(1 / 1.5, f.width / 2, f.height / 2);
  else if (action === "all") { view = { x: 0, y: 0, scale: 1 }; redraw(); }
});
element.addEventListener("keydown", (event) => {
  if (event.target.tagName !== "CANVAS") return;
  const f = frame(), step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
  if (step) { view.x += step[0]; view.y += step[1]; }
  else if (event.key === "+") zoom(1.5, f.width / 2, f.height / 2);
  else if (event.key === "-") zoom(1 / 1.5, f.width / 2, f.height / 2);
  else if (event.key === "Escape") pick([], false);
  else return;
  event.preventDefault();
  redraw();
});

watch(["record", "chosen", "seen"], () => { picked = new Set(); redraw(); });
watch("found", () => { picked = new Set(props.found?.rows); redraw(); });
watch("shade", () => { hovered = -1; tell(-1); legend(); redraw(); });
new ResizeObserver(redraw).observe(element);
new MutationObserver(() => { legend(); redraw(); }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
redraw();
