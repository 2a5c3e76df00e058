// The map of all failing images: a canvas, so that 20,000 points stay smooth. Last of the parts of its script, which are
// joined in this order: parts.js, map_colours.js, map_drawing.js, map_filters.js, map_keys.js, map.js.
// Gradio gives `element`, `props`, `watch`, `trigger` and `server`. Props: value (indices of the images selected), record
// and shade (see rccs/image_map.py), filters (see rccs/image_map.py), named (RCCs of which the name or verdict has
// changed), chosen (an RCC), found (images looked for), seen (the run). Of these, record, filters, named, shade and found are
// texts (JSON).
// Events: select (images to be shown, or the RCC of a single one), input (images marked one after the other).
const NEAR = 9, FAR = 5, MOST_ZOOM = 400, STEP = 40, MOST_PICTURES = 600;
const given = (name) => JSON.parse(props[name] || "null");
let map = null, view = { x: 0, y: 0, zoom: 1 }, inked = null, hovered = -1, walking = false;
let lasso = null, dragged = null, byLasso = false, picked = new Set(), marked = new Uint8Array();
let pictures = new Map(), asked = false, hinting = 0;

function load() {
  const r = given("record"), before = map;
  map = null;
  hovered = -1;
  walking = false;
  tell(-1);
  if (!r) { redraw(); return; }
  const x = unpacked(r.x, Uint16Array), y = unpacked(r.y, Uint16Array), least = (of) => of.reduce((a, b) => Math.min(a, b));
  const most = (of) => of.reduce((a, b) => Math.max(a, b));
  map = { ...r, x, y, n: x.length, rcc: unpacked(r.rcc, Int32Array), whole: [least(x), least(y), most(x), most(y)] };
  map.known = new Map(map.rccs.map((entry) => [entry.rcc, { ...entry, ys: [] }]));
  map.rccs = [...map.known.values()];
  const beside = (map.bulk[2] - map.bulk[0]) / 24;
  for (let i = 0; i < map.n; i++) {
    const entry = map.known.get(map.rcc[i]);
    if (Math.abs(x[i] - x[entry.at]) <= beside) entry.ys.push(y[i]);
  }
  for (const entry of map.rccs) {  // how far it reaches up and down at its middle, where its label is, but for a few of its images
    const ys = entry.ys.sort((a, b) => a - b), cut = Math.floor(ys.length / 12);
    entry.reach = [ys[ys.length - 1 - cut], ys[cut]];
    delete entry.ys;
  }
  map.seen = props.seen;
  inked = null;
  pictures.clear();
  mark([]);
  const edited = before?.n === map.n && before.seen === map.seen;  // which leaves the view and the filters as they are
  if (!edited) { view = fitted(); filters = []; }
  renewFilters();
  if (!edited) showChosen();
}

function mark(rows) {
  picked = new Set(rows);
  marked = new Uint8Array(map?.n ?? 0);
  for (const i of picked) marked[i] = 1;
  if (map) showHidden();
  redraw();
}

function redraw() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const counts = stale && map;
    if (counts) count();
    draw();
    if (counts) showCounts();  // last, or the browser would lay it all out before the map is drawn
  });
}

// The image nearest to a place, if it is near and shown.
function nearest(x, y, near = NEAR) {
  const f = frame();
  let best = -1, least = near * near;
  for (let i = 0; i < map.n; i++) {
    if (hides[i]) continue;
    const px = (map.x[i] - view.x) * f.scale + f.x, py = (view.y - map.y[i]) * f.scale + f.y;
    const d = (px - x) ** 2 + (py - y) ** 2;
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

// --- Images -----------------------------------------------------------------------------------------------------

const pictureAt = (i) => `image/${map.seen}/${i}`;

function pictureOf(i) {
  if (pictures.size > MOST_PICTURES) pictures.clear();
  if (!pictures.has(i)) pictures.set(i, Object.assign(new Image(), { onload: redraw, src: pictureAt(i) }));
  return pictures.get(i);
}

function wordsOn(i) {
  const rcc = map.rcc[i], shade = inked?.shade ?? null;
  const more = [map.name[i], map.told?.[i], map.between?.[i], shade && `${shade.name}: ${shade.told[i] || "unknown"}`];
  return [map.known.get(rcc)?.title ?? "No cluster", more.filter(Boolean).join(" · ")];
}

function tell(i, x, y) {
  const tip = $(".safe-map-tip"), f = frame();
  tip.hidden = i < 0;
  if (tip.hidden) return;
  const [title, words] = wordsOn(i);
  tip.replaceChildren(made("img", { src: pictureAt(i), alt: "" }), made("b", "", title), made("span", "", words));
  const { offsetHeight: tall, offsetWidth: wide } = tip, away = Number($("canvas").dataset.pictures) ? 46 : 14;
  tip.style.left = `${Math.max(2, x + away + 2 + wide > f.width ? x - away - wide : x + away)}px`;
  tip.style.top = `${Math.max(2, y + 16 + tall > f.height ? Math.min(y - 14, f.height - 2) - tall : y + 14)}px`;
}

// --- View -------------------------------------------------------------------------------------------------------

function zoom(factor, x, y) {
  const f = frame(), least = whole().zoom, before = view.zoom;
  view.zoom = Math.min(MOST_ZOOM, Math.max(least, before * factor));
  const grown = 1 / f.scale - before / (f.scale * view.zoom);  // what is at (x, y) stays there
  view.x += (x - f.x) * grown;
  view.y -= (y - f.y) * grown;
  moved();
}

function go(to) {
  view = { ...to };
  moved();
}

function moved() {
  hovered = walking ? hovered : -1;
  if (walking) follow(); else tell(-1);
  redraw();
}

// Words below the map for some seconds; without any, none.
function hint(words = "", seconds = 2.5) {
  clearTimeout(hinting);
  $(".safe-map-hint").hidden = !words;
  $(".safe-map-hint").textContent = words;
  if (words && seconds) hinting = setTimeout(hint, 1000 * seconds);
}

// --- Selection --------------------------------------------------------------------------------------------------

function pick(rows, how = "select") {
  mark(rows);
  props.value = [...picked];
  trigger(how);
}

const toggled = (i) => picked.has(i) ? [...picked].filter((other) => other !== i) : [...picked, i];
const shownRows = () => [...Array(map.n).keys()].filter((i) => !hides[i]);

function point(event) {
  const box = $("canvas").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function click(event, [x, y]) {
  const i = nearest(x, y), more = event.shiftKey || event.ctrlKey || event.metaKey;
  if (i >= 0) pick(more ? toggled(i) : [i], more ? "input" : "select");
  else if (picked.size && !more) pick([]);
}

const onMap = (event) => map && event.target.tagName === "CANVAS";

element.addEventListener("pointerdown", (event) => {
  if (!onMap(event) || event.button) return;
  event.target.setPointerCapture(event.pointerId);
  const at = point(event);
  walking = false;
  hint();
  if (byLasso || event.shiftKey) lasso = [at];
  else dragged = { at, from: { ...view }, far: false };
});
element.addEventListener("pointermove", (event) => {
  if (!onMap(event)) return;
  const at = point(event);
  if (dragged) {
    const [right, down] = [at[0] - dragged.at[0], at[1] - dragged.at[1]];
    if (!dragged.far && Math.hypot(right, down) <= FAR) return;
    dragged.far = true;
    const { scale } = frame();
    event.target.style.cursor = "grabbing";
    go({ ...view, x: dragged.from.x - right / scale, y: dragged.from.y + down / scale });
  } else if (lasso) {
    lasso.push(at);
    redraw();
  } else if (!walking) {
    const i = nearest(...at);
    event.target.style.cursor = byLasso ? "crosshair" : i >= 0 ? "pointer" : "";
    if (i === hovered) return;
    hovered = i;
    tell(i, ...at);
    redraw();
  }
});
element.addEventListener("pointerup", (event) => {
  if (!onMap(event)) return;
  const drag = dragged, polygon = lasso;
  dragged = lasso = null;
  event.target.style.cursor = byLasso ? "crosshair" : "";
  if (drag && !drag.far) click(event, drag.at);
  if (!polygon) return;
  const far = polygon.some(([x, y]) => Math.hypot(x - polygon[0][0], y - polygon[0][1]) > FAR);
  if (!far) { click(event, polygon[0]); redraw(); return; }
  const f = frame(), found = shownRows().filter((i) => inside(polygon, ...place(f, i)));
  pick(event.ctrlKey || event.metaKey || (byLasso && event.shiftKey) ? [...picked, ...found] : found);
});
element.addEventListener("pointercancel", () => { dragged = lasso = null; redraw(); });
element.addEventListener("pointerleave", (event) => {
  if (!onMap(event) || walking || dragged || lasso) return;
  hovered = -1;
  tell(-1);
  redraw();
}, true);
element.addEventListener("dblclick", (event) => { if (onMap(event)) zoom(2, ...point(event)); });
element.addEventListener("wheel", (event) => {
  if (!onMap(event)) return;
  if (!event.ctrlKey && !event.metaKey && document.activeElement !== event.target) {
    hint("Click the map first, or hold Ctrl, to zoom with the wheel");  // and the page scrolls
    return;
  }
  event.preventDefault();
  const turned = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? 33 : 1) * (event.ctrlKey ? 2 : 1);
  zoom(Math.exp(-turned / 400), ...point(event));
}, { passive: false });

const ACTIONS = {
  in: () => zoom(1.5, frame().x, frame().y),
  out: () => zoom(1 / 1.5, frame().x, frame().y),
  fit: () => go(fitted()),
  whole: () => go(whole()),
  "select-shown": () => pick(shownRows()),
  "clear-filters": () => clearFilters(),
  "clear-filter": (button) => clearFilters([filterOf(button)]),
  lasso(button) {
    byLasso = !byLasso;
    button.setAttribute("aria-pressed", byLasso);
    $("canvas").style.cursor = byLasso ? "crosshair" : "";
  },
  filters(button) {
    const pane = $(".safe-map-filters");
    pane.hidden = !pane.hidden;
    button.setAttribute("aria-expanded", !pane.hidden);
    renewFilters();
  },
};
element.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-do]");
  if (map && button) ACTIONS[button.dataset.do](button);
});

element.addEventListener("keydown", onKey);
element.addEventListener("focusin", (event) => { if (onMap(event) && event.target.matches(":focus-visible")) hint(MOVE, 6); });
element.addEventListener("focusout", (event) => { if (onMap(event)) leave(); });

// --- What comes from the server ---------------------------------------------------------------------------------

function rename(entries) {
  const said = JSON.stringify(map?.rccs);
  for (const entry of map ? entries : []) Object.assign(map.known.get(entry.rcc) ?? {}, entry);
  if (said !== JSON.stringify(map?.rccs)) renewFilters();
}

// An RCC at hand that is not in sight is shown.
function showChosen() {
  const entry = map?.known.get(props.chosen), f = frame();
  if (!entry || !f.width) return;
  const [x, y] = place(f, entry.at);
  if (x >= 0 && y >= 0 && x <= f.width && y <= f.height) return;
  go(view.zoom > 1 ? { ...view, x: map.x[entry.at], y: map.y[entry.at] } : whole());
}

watch(["record", "seen"], load);
watch("filters", () => { if (map) renewFilters(); });
watch("named", () => { if (props.named) rename(given("named").entries); });
hears("safe-chosen", () => { mark([]); hint(); });  // also the RCC that was at hand before a weak spot was looked at
watch("chosen", () => { mark([]); showChosen(); });
watch("found", () => {
  const { rows = [], tells = "" } = given("found") ?? {};
  mark(rows);
  hint(tells, 0);  // until something else is done: what is found is listed further down
  $(".safe-map-live").textContent = tells;
});
watch("shade", () => { shaded = given("shade"); hovered = -1; tell(-1); inked = null; legend(); redraw(); });
new ResizeObserver(redraw).observe($(".safe-map"));
new MutationObserver(() => { inked = null; legend(); redraw(); })
  .observe(document.body, { attributes: true, attributeFilter: ["class"] });
shaded = given("shade");
load();
legend();
