// The map of all failing images: a canvas, so that 20,000 points stay smooth. Last of the parts of its script, which are
// joined in this order: parts.js, map_colours.js, map_drawing.js, map_filters.js, map_keys.js, map.js.
// Props: value (indices of the images selected), record, shade and filters (see rccs/image_map.py), named (RCCs of which the name or
// verdict has changed), chosen (an RCC), found (images looked for), verdicts, seen (the run). All but value, chosen and seen are JSON.
// Event: select (images to be shown). A single one that is clicked has its RCC opened in the list (`safe-open`).
const NEAR = 9, FAR = 5, MOST_ZOOM = 400, STEP = 40, MOST_PICTURES = 600;
const given = (name) => JSON.parse(props[name] || "null");
let map = null, view = { x: 0, y: 0, zoom: 1 }, inked = null, hovered = -1, walking = false;
let drag = null, picked = new Set(), marked = new Uint8Array();  // drag: what moves the map or, with a path, is a lasso
let pictures = new Map(), asked = false, hinting = 0;

function load() {
  const sent = given("record"), before = map;
  map = null;
  over(-1);
  if (!sent) return;
  map = { ...sent, x: unpacked(sent.x, Uint16Array), y: unpacked(sent.y, Uint16Array), rcc: unpacked(sent.rcc, Int32Array), seen: props.seen };
  map.n = map.x.length;
  map.known = new Map(map.rccs.map((entry) => [entry.rcc, entry]));
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

const pictureAt = (i) => `image/${map.seen}/${i}`;

function pictureOf(i) {
  if (pictures.size > MOST_PICTURES) pictures.clear();
  if (!pictures.has(i)) pictures.set(i, Object.assign(new Image(), { onload: redraw, src: pictureAt(i) }));
  return pictures.get(i);
}

function wordsOn(i) {
  const rcc = map.rcc[i], shade = inked?.shade ?? null;
  const more = [map.name[i], map.told?.[i], shade && `${shade.name}: ${shade.told[i] || "unknown"}`];
  return [map.known.get(rcc)?.title ?? "No cluster", more.filter(Boolean).join(" · ")];
}

function tell(i, x, y) {
  const tip = $(".safe-map-tip"), f = frame();
  tip.hidden = i < 0;
  if (tip.hidden) return;
  const [title, words] = wordsOn(i);
  tip.replaceChildren(made("img", { src: pictureAt(i), alt: "" }), made("b", "", title), made("span", "", words));
  const { offsetHeight: tall, offsetWidth: wide } = tip, away = Number(canvas.dataset.pictures) ? 46 : 14;
  tip.style.left = `${Math.max(2, x + away + 2 + wide > f.width ? x - away - wide : x + away)}px`;
  tip.style.top = `${Math.max(2, y + 16 + tall > f.height ? Math.min(y - 14, f.height - 2) - tall : y + 14)}px`;
}

function zoom(factor, x, y) {
  const f = frame(), least = whole().zoom, before = view.zoom;
  view.zoom = Math.min(MOST_ZOOM, Math.max(least, before * factor));
  const grown = 1 / f.scale - before / (f.scale * view.zoom);  // what is at (x, y) stays there
  view.x += (x - f.x) * grown;
  view.y -= (y - f.y) * grown;
  moved();
}

function moved() {
  if (walking) follow(); else over(-1);
  redraw();
}
const go = (to) => { view = { ...to }; moved(); };

// An image that is pointed at, with its tooltip; -1: none.
function over(i, x, y) {
  hovered = i;
  walking = false;
  canvas.toggleAttribute("data-over", i >= 0);
  tell(i, x, y);
  redraw();
}

// Words below the map for some seconds; without any, none.
function hint(words = "", seconds = 2.5) {
  clearTimeout(hinting);
  $(".safe-map-hint").hidden = !words;
  $(".safe-map-hint").textContent = words;
  if (words && seconds) hinting = setTimeout(hint, 1000 * seconds);
}

function pick(rows) {
  mark(rows);
  props.value = [...picked];
  trigger("select");
}
// The RCC of an image becomes the one at hand, and lists this image first.
function open(i) {
  announce("safe-open", map.rcc[i]);
  mark(props.value = [i]);
}

const toggled = (i) => picked.has(i) ? [...picked].filter((other) => other !== i) : [...picked, i];
const shownRows = () => [...Array(map.n).keys()].filter((i) => !hides[i]);

const byLasso = () => $("[data-do=lasso]").ariaPressed === "true", adds = (event) => event.ctrlKey || event.metaKey;

function click(event, [x, y]) {
  const i = nearest(x, y), more = event.shiftKey || adds(event);
  if (i >= 0) more ? pick(toggled(i)) : open(i);
  else if (picked.size && !more) pick([]);
}

canvas.addEventListener("pointerdown", ({ button, pointerId, offsetX: x, offsetY: y, shiftKey }) => {
  if (!map || button) return;
  canvas.setPointerCapture(pointerId);
  over(-1);
  hint();
  drag = { at: [x, y], from: { ...view }, far: false, path: byLasso() || shiftKey ? new Path2D() : null };
  drag.path?.moveTo(x, y);
});
canvas.addEventListener("pointermove", ({ offsetX: x, offsetY: y }) => {
  if (!map) return;
  if (drag) {
    const { at, from, path } = drag, { scale } = frame();
    drag.far ||= Math.hypot(x - at[0], y - at[1]) > FAR;
    path?.lineTo(x, y);
    if (path) redraw();
    else if (drag.far) go({ ...view, x: from.x - (x - at[0]) / scale, y: from.y + (y - at[1]) / scale });
  } else if (!walking && nearest(x, y) !== hovered) over(nearest(x, y), x, y);
});
canvas.addEventListener("pointerup", (event) => {
  if (!drag) return;
  const { at, far, path } = drag, f = frame(), pen = canvas.getContext("2d");
  drag = null;
  redraw();
  if (!far) click(event, at);
  if (!far || !path) return;
  const found = shownRows().filter((i) => pen.isPointInPath(path, ...place(f, i).map((side) => side * f.ratio), "evenodd"));
  pick(adds(event) || (byLasso() && event.shiftKey) ? [...picked, ...found] : found);
});
canvas.addEventListener("pointercancel", () => { drag = null; redraw(); });
canvas.addEventListener("pointerleave", () => { if (!walking && !drag) over(-1); });
canvas.addEventListener("blur", () => over(-1));
canvas.addEventListener("dblclick", ({ offsetX, offsetY }) => zoom(2, offsetX, offsetY));
canvas.addEventListener("wheel", (event) => {
  if (!adds(event) && document.activeElement !== canvas) {
    hint("Click the map first, or hold Ctrl, to zoom with the wheel");  // and the page scrolls
    return;
  }
  event.preventDefault();
  const turned = (event.deltaY || event.deltaX) * (event.deltaMode === 1 ? 33 : 1) * (event.ctrlKey ? 2 : 1);
  zoom(Math.exp(-turned / 400), event.offsetX, event.offsetY);
}, { passive: false });

const ACTIONS = {
  in: () => zoomBy(1.5),
  out: () => zoomBy(1 / 1.5),
  fit: () => go(fitted()),
  whole: () => go(whole()),
  "select-shown": () => pick(shownRows()),
  "clear-filters": () => clearFilters(),
  "clear-filter": (button) => clearFilters([filterOf(button)]),
  lasso: (button) => { button.ariaPressed = !byLasso(); },
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
watch("named", () => {
  if (!map) return;
  for (const entry of given("named") ?? []) Object.assign(map.known.get(entry.rcc) ?? {}, entry);
  renewFilters();
});
hears("safe-chosen", () => { mark(props.value = []); hint(); });  // also the RCC that was at hand before a weak spot was looked at
watch("chosen", () => { mark([]); showChosen(); });
watch("found", () => {
  const { rows = [], tells = "" } = given("found") ?? {};
  mark(rows);
  hint(tells, 0);  // until something else is done: what is found is listed further down
  $(".safe-map-live").textContent = tells;
});
function shade() {
  shaded = given("shade");
  if (shaded) shaded.bins = unpacked(shaded.bins, Uint8Array);
  repaint();
}
function repaint() {
  inked = null;
  legend();
  over(-1);
}
watch("shade", shade);
new ResizeObserver(redraw).observe($(".safe-map"));
new MutationObserver(repaint).observe(document.body, { attributes: true, attributeFilter: ["class"] });
shade();
load();
