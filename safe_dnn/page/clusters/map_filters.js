// What the map shows: histograms of all that is known of the images. Third part; see map.js. A bin that is chosen hides all
// other images, and every other histogram counts what is left. A bin is one of a number's intervals, or a category. What is typed
// chooses a bin as well.
const NUMBERS = new Intl.NumberFormat("en");  // to make it takes longer than to use it
let stale = false;  // what was chosen is yet to be counted, with the next frame
let unmade = false;  // the histograms are not those of what is known by now
let filters = [], hides = new Uint8Array(), shownOf = new Map(), brush = null;

const grouped = (count) => NUMBERS.format(count);
const isOn = (filter) => filter.kept !== null;

function unpacked(text, Type) {
  return new Type(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

// Nobody looks at the histograms while they are closed and hide nothing: they are made when they are wanted.
function renewFilters() {
  unmade = $(".safe-map-filters").hidden && !filters.some(isOn);
  if (!unmade) { makeFilters(); return; }
  filters = [];
  refilter();
}

// Of RCCs and verdicts, which may be edited, and of what the server has sent. What was chosen is kept by a filter's name.
function makeFilters() {
  unmade = false;
  const before = new Map(filters.filter(isOn).map((filter) => [filter.name, filter]));
  const titles = map.rccs.map((entry) => entry.title), at = new Map(map.rccs.map(({ rcc }, k) => [rcc, k]));
  const numbers = map.rccs.map((entry) => String(entry.rcc));
  filters = [{ name: "RCC", kind: "category", texts: titles, keys: numbers, bins: Uint16Array.from(map.rcc, (rcc) => at.get(rcc)) }];
  const judged = props.verdicts.filter((verdict) => map.rccs.some((entry) => entry.verdict === verdict));
  if (judged.length > 1) {
    const of = map.rccs.map((entry) => judged.indexOf(entry.verdict));
    const bins = Uint16Array.from(filters[0].bins, (k) => of[k]);
    filters.push({ name: "Verdict", kind: "category", texts: judged.map((verdict) => verdict || "not judged"), bins });
  }
  for (const sent of given("filters") || []) {
    const bins = unpacked(sent.bins, Uint8Array);
    if (bins.length !== map.n) continue;  // of clusters that are no longer shown
    const texts = sent.names || sent.low.map((low, k) => low === sent.high[k] ? low : `${low} to ${sent.high[k]}`);
    filters.push({ ...sent, bins, texts });
  }
  for (const filter of filters) {
    const same = before.get(filter.name), unknown = filter.texts.length;
    if (filter.bins.some((bin) => bin >= unknown)) {
      filter.bins = filter.bins.map((bin) => Math.min(bin, unknown));
      filter.texts = [...filter.texts, "unknown"];
    }
    filter.unknown = unknown;
    filter.all = new Uint32Array(filter.texts.length);
    for (const bin of filter.bins) filter.all[bin]++;
    filter.kept = same && same.texts.join("\n") === filter.texts.join("\n") ? same.kept : null;
  }
  const [first] = [...filters.slice(1), ...filters];  // what is recorded or measured
  $(".safe-map-filters input").placeholder = `${first.name}=${first.low?.[0] ?? first.texts[0]}`;
  buildFilters();
  refilter();
}

// Each image is hidden by none, one or more filters; a histogram counts those that no other filter hides.
function count() {
  const n = map.n, by = new Uint8Array(n), last = new Uint8Array(n);
  filters.forEach((filter, k) => {
    if (!isOn(filter)) return;
    for (let i = 0; i < n; i++) if (!filter.kept[filter.bins[i]]) { by[i]++; last[i] = k; }
  });
  filters.forEach((filter, k) => {
    filter.counts = new Uint32Array(filter.all.length);
    for (let i = 0; i < n; i++) if (!by[i] || (by[i] === 1 && last[i] === k)) filter.counts[filter.bins[i]]++;
  });
  hides = by;
  shownOf = new Map();
  let shown = 0;
  for (let i = 0; i < n; i++) if (!by[i]) { shown++; shownOf.set(map.rcc[i], (shownOf.get(map.rcc[i]) || 0) + 1); }
  if (hovered >= 0 && hides[hovered]) leave();
  map.shown = shown;
  stale = false;
}

function refilter() {
  count();
  showCounts();
  redraw();
}

function showCounts() {
  const on = filters.some(isOn), part = `${grouped(map.shown)} of ${grouped(map.n)}`;
  const closed = $(".safe-map-filters").hidden;
  $("[data-do=filters]").textContent = on && closed ? `Filter · ${part}` : "Filter";
  $("[data-do=filters]").classList.toggle("on", on);
  $("canvas").dataset.shown = map.shown;
  showHidden();
  if (closed) return;
  $(".safe-map-filters header b").textContent = `${part} shown`;
  $("[data-do=clear-filters]").disabled = !on;
  $("[data-do=select-shown]").disabled = !map.shown;
  for (const filter of filters) {
    filter.box.classList.toggle("on", isOn(filter));
    filter.box.querySelector("[data-do=clear-filter]").hidden = !isOn(filter);
    filter.box.querySelector(".safe-map-kept").textContent = keptText(filter);
    const most = filter.all.reduce((one, other) => Math.max(one, other));
    filter.nodes.forEach((node, k) => showBin(filter, node, k, most));
  }
}

// Only what has changed is written: there may be hundreds of RCCs.
function showBin(filter, node, k, most) {
  const count = filter.counts[k], pressed = String(Boolean(filter.kept?.[k]));
  if (node.ariaPressed !== pressed) node.ariaPressed = pressed;
  if (node.count === count) return;
  node.count = count;
  node.style.setProperty("--now", count / most);
  if (filter.kind === "category") node.lastChild.textContent = grouped(count);
  node.ariaLabel = `${filter.texts[k]}: ${grouped(count)} of ${grouped(filter.all[k])}`;
}

// Images that were found or selected before may be hidden.
function showHidden() {
  const line = $(".safe-map-hidden"), hidden = [...picked].filter((i) => hides[i]).length;
  line.hidden = !hidden;
  line.textContent = `${grouped(hidden)} of ${grouped(picked.size)} selected images are not shown`;
}

function keptText(filter) {
  if (filter.kind === "category" || !isOn(filter)) return "";
  const [from, to] = ends(filter);
  return from < 0 ? "unknown" : `${filter.low[from]} to ${filter.high[to]}`;
}

// The first and the last bin of a number that are chosen, -1 if none is.
const ends = (filter) => {
  const chosen = [...filter.low.keys()].filter((k) => filter.kept?.[k]);
  return [chosen[0] ?? -1, chosen.at(-1) ?? -1];
};

const keysOf = (filter) => filter.keys || filter.texts;

function buildFilters() {
  $(".safe-map-histograms").replaceChildren(...filters.map((filter, f) => {
    const kind = filter.kind === "category" ? "safe-map-bars" : "safe-map-bins";
    const clear = made("button", { type: "button", "data-do": "clear-filter", ariaLabel: `All of ${filter.name}` }, "×");
    const bins = made("div", { className: kind, role: "group", ariaLabel: filter.name });
    const most = filter.all.reduce((one, other) => Math.max(one, other));
    const shown = filter.nodes = filter.texts.map((text, k) => {
      const words = filter.kind === "category" ? [made("span", "", text), made("output")] : [];
      const tabIndex = k ? -1 : 0;  // the arrow keys go on from there
      return made("button", { type: "button", tabIndex, "data-bin": k, style: `--all: ${filter.all[k] / most}` }, ...words);
    });
    const head = made("div", "safe-map-filter-head", made("b", "", filter.name), made("span", "safe-map-kept"), clear);
    const box = filter.box = made("section", { className: "safe-map-filter", "data-filter": f }, head, bins);
    if (filter.kind === "category") bins.append(...shown);
    else {
      const unknown = shown.slice(filter.unknown);
      for (const bin of unknown) { bin.textContent = `${filter.all[filter.unknown]} unknown`; bin.tabIndex = 0; }
      bins.append(...shown.slice(0, filter.unknown));
      box.append(made("div", "safe-map-filter-foot", made("span", "", filter.low[0]), ...unknown, made("span", "", filter.high.at(-1))));
    }
    return box;
  }));
}

const filterOf = (target) => filters[target.closest?.("[data-filter]")?.dataset.filter];
const binOf = (target) => Number(target.closest?.("[data-bin]")?.dataset.bin ?? -1);

// A category is added to those chosen, or taken away again; of a number, a range is chosen.
function choose(filter, from, to = from) {
  const size = filter.texts.length, kept = new Uint8Array(size);
  if (filter.kind === "category") {
    if (isOn(filter)) kept.set(filter.kept);
    kept[to] ^= 1;
  } else {
    const alone = from === to && filter.kept?.[to] && filter.kept.reduce((sum, one) => sum + one) === 1 && !brush?.moved;
    if (!alone) kept.fill(1, Math.min(from, to), Math.max(from, to) + 1);
  }
  filter.kept = kept.some(Boolean) ? kept : null;
  stale = true;
  redraw();
}

function clearFilters(some = filters) {
  for (const filter of some) filter.kept = null;
  stale = true;
  redraw();
}

// The bin that `name = value` means: a category, or the interval of a number that holds the value.
function binOfText(text) {
  const [name, ...rest] = text.split("="), same = (one) => (other) => other.trim().toLowerCase() === one.trim().toLowerCase();
  const value = rest.join("="), filter = filters.find((one) => same(name)(one.name));
  if (!filter) return {};
  const named = [filter.texts, keysOf(filter)].map((all) => all.findIndex(same(value))).find((bin) => bin >= 0);
  if (named !== undefined || filter.kind === "category" || !value.trim()) return { filter, bin: named };
  const bin = filter.low.findLastIndex((low) => Number(low) <= Number(value));
  return { filter, bin: Number(value) <= Number(filter.high[bin]) ? bin : undefined };
}

function filterByText(field) {
  const { filter, bin } = binOfText(field.value), line = $(".safe-map-refused");
  line.hidden = bin !== undefined;
  line.textContent = !filter ? `Expected one of ${filters.map(({ name }) => name).join(", ")}, as ${field.placeholder}`
    : bin === undefined ? `No image has this ${filter.name}` : "";
  if (bin === undefined) return;
  if (!filter.kept?.[bin]) choose(filter, bin);
  field.value = "";
}

function listenToFilters() {
  $(".safe-map-filters input").addEventListener("keydown", ({ key, target }) => { if (key === "Enter") filterByText(target); });
  const pane = $(".safe-map-histograms");
  pane.addEventListener("pointerdown", (event) => {
    const filter = filterOf(event.target), bin = binOf(event.target);
    if (!filter || filter.kind === "category" || bin < 0 || bin >= filter.unknown || event.button) return;
    brush = { filter, from: bin, to: bin, moved: false };
  });
  pane.addEventListener("pointermove", (event) => {
    if (!brush) return;
    const bins = brush.filter.box.querySelector(".safe-map-bins"), { left, width } = bins.getBoundingClientRect();
    const last = brush.filter.unknown - 1;
    const to = Math.min(last, Math.max(0, Math.floor((event.clientX - left) / width * (last + 1))));
    if (to === brush.to) return;
    brush.to = to;
    brush.moved = true;
    choose(brush.filter, brush.from, to);
  });
  document.addEventListener("pointerup", () => setTimeout(() => { brush = null; }));  // after the click that follows
  pane.addEventListener("pointerover", (event) => {
    const node = event.target.closest("[data-bin]");
    if (node) node.title = node.ariaLabel;
  });
  pane.addEventListener("click", (event) => {
    const filter = filterOf(event.target), bin = binOf(event.target);
    if (!filter) return;
    if (event.target.closest("[data-do=clear-filter]")) clearFilters([filter]);
    else if (bin >= 0 && !brush?.moved) choose(filter, event.shiftKey && filter.low && isOn(filter) ? ends(filter)[0] : bin, bin);
  });
  pane.addEventListener("keydown", (event) => {
    const filter = filterOf(event.target), bin = binOf(event.target);
    if (!filter || bin < 0) return;
    if (event.key === "Escape") { clearFilters([filter]); return; }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key], to = bin + step;
    const next = step && filter.box.querySelector(`[data-bin="${to}"]`);
    if (!next) return;
    event.preventDefault();
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
    // With Shift, a range grows from where it began.
    if (event.shiftKey && filter.low && to < filter.unknown) {
      const [first, last] = ends(filter);
      choose(filter, first < 0 ? bin : first === bin && last !== bin ? last : first, to);
    }
  });
}
