// What the map shows: histograms of all that is known of the images. Third part; see map.js. What is chosen hides all other
// images, and every other histogram counts what is left: categories by their boxes, a number by both ends of its range.
const NUMBERS = new Intl.NumberFormat("en");  // to make it takes longer than to use it
const SOME = 12;  // names that a message names
let stale = false;  // what was chosen is yet to be counted, with the next frame
let filters = [], hides = new Uint8Array(), shownOf = new Map();

const grouped = (count) => NUMBERS.format(count);
const isOn = (filter) => filter.kept !== null;

const unpacked = (text, Type) => new Type(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

// Nobody looks at the histograms while they are closed and hide nothing: they are made when they are wanted.
function renewFilters() {
  if ($(".safe-map-filters").hidden && !filters.some(isOn)) filters = [];
  else makeFilters();
  stale = true;
  redraw();
}

// Of RCCs and verdicts, which may be edited, and of what the server has sent. What was chosen is kept by a filter's name.
function makeFilters() {
  const before = filters.filter(isOn), at = new Map(map.rccs.map(({ rcc }, k) => [rcc, k]));
  const bins = Uint16Array.from(map.rcc, (rcc) => at.get(rcc)), judged = props.verdicts.filter((verdict) => map.rccs.some((entry) => entry.verdict === verdict));
  filters = [{ name: "RCC", names: map.rccs.map(({ title }) => title), bins }];
  if (judged.length > 1) {
    const of = map.rccs.map(({ verdict }) => judged.indexOf(verdict));
    filters.push({ name: "Verdict", names: judged.map((verdict) => verdict || "not judged"), bins: bins.map((k) => of[k]) });
  }
  for (const sent of given("filters") || []) filters.push({ ...sent, bins: unpacked(sent.bins, Uint8Array) });
  filters = filters.filter((filter) => filter.bins.length === map.n);  // not of clusters that are no longer shown
  for (const filter of filters) {
    const known = (filter.names ?? filter.low).length;
    filter.numbers = filter.names ? 0 : known;
    filter.texts = [...(filter.names ?? filter.low)];
    if (filter.bins.some((bin) => bin >= known)) {
      filter.bins = filter.bins.map((bin) => Math.min(bin, known));
      filter.texts.push("unknown");
    }
    filter.all = new Uint32Array(filter.texts.length);
    for (const bin of filter.bins) filter.all[bin]++;
    filter.kept = before.find(({ name, texts }) => name === filter.name && `${texts}` === `${filter.texts}`)?.kept ?? null;
  }
  $(".safe-map-histograms").replaceChildren(...filters.map(histogram));
}

function histogram(filter) {
  const most = Math.max(...filter.all), ends = [filter.low?.[0], filter.high?.at(-1)];
  filter.parts = filter.texts.map((text, k) => {
    const style = `--all: ${filter.all[k] / most}`;
    if (k < filter.numbers) return made("i", { style });
    const box = made("input", { type: "checkbox", value: k, checked: Boolean(filter.kept?.[k]), tabIndex: k > filter.numbers ? -1 : 0 });
    return made("label", { style }, box, made("span", "", text), made("output"));
  });
  const range = filter.kept?.subarray(0, filter.numbers) ?? [], bounds = range.includes(1) ? [range.indexOf(1), range.lastIndexOf(1)] : [0, filter.numbers - 1];
  const slider = (end, k) => made("input", { type: "range", min: 0, max: filter.numbers - 1, value: bounds[k], ariaLabel: `${filter.name} ${end}` });
  const clear = made("button", { type: "button", "data-do": "clear-filter", ariaLabel: `All of ${filter.name}` }, "×");
  const numbers = filter.numbers ? [made("div", "safe-map-bins", ...filter.parts.slice(0, filter.numbers)),
    made("div", "safe-map-range", slider("from", 0), slider("to", 1)), made("div", "safe-map-ends", ...ends.map((end) => made("span", "", end)))] : [];
  filter.box = made("section", { className: "safe-map-filter", role: "group", ariaLabel: filter.name },
    made("div", "safe-map-filter-head", made("b", "", filter.name), made("span", "safe-map-kept"), clear), ...numbers,
    made("div", "safe-map-bars", ...filter.parts.slice(filter.numbers)));
  return filter.box;
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
  map.shown = 0;
  for (let i = 0; i < n; i++) if (!by[i]) { map.shown++; shownOf.set(map.rcc[i], (shownOf.get(map.rcc[i]) || 0) + 1); }
  if (hovered >= 0 && hides[hovered]) over(-1);
  stale = false;
}

function showCounts() {
  const on = filters.some(isOn), part = `${grouped(map.shown)} of ${grouped(map.n)}`, closed = $(".safe-map-filters").hidden;
  $("[data-do=filters]").textContent = on && closed ? `Filter · ${part}` : "Filter";
  $("[data-do=filters]").classList.toggle("on", on);
  canvas.dataset.shown = map.shown;
  showHidden();
  if (closed) return;
  $(".safe-map-filters header b").textContent = `${part} shown`;
  $("[data-do=clear-filters]").disabled = !on;
  $("[data-do=select-shown]").disabled = !map.shown;
  for (const { box, kept, parts, counts, all, numbers, low, high } of filters) {
    const most = Math.max(...all), range = kept?.subarray(0, numbers) ?? [];
    box.classList.toggle("on", kept !== null);
    box.querySelector("[data-do=clear-filter]").hidden = !kept;
    box.querySelector(".safe-map-kept").textContent = range.includes(1) ? `${low[range.indexOf(1)]} to ${high[range.lastIndexOf(1)]}` : "";
    parts.forEach((part, k) => {
      part.toggleAttribute("data-kept", Boolean(kept?.[k]));
      if (part.count === counts[k]) return;  // only what has changed is written: there may be hundreds of RCCs
      part.count = counts[k];
      part.style.setProperty("--now", counts[k] / most);
      if (k >= numbers) part.lastChild.textContent = grouped(counts[k]);
      part.title = `${k < numbers ? `${low[k]} to ${high[k]}: ` : ""}${grouped(counts[k])} of ${grouped(all[k])}`;
    });
  }
}

// Images that were found or selected before may be hidden.
function showHidden() {
  const line = $(".safe-map-hidden"), hidden = [...picked].filter((i) => hides[i]).length;
  line.hidden = !hidden;
  line.textContent = `${grouped(hidden)} of ${grouped(picked.size)} selected images are not shown`;
}

function chosen({ box, texts, numbers }) {
  const kept = new Uint8Array(texts.length);
  for (const { value } of box.querySelectorAll(":checked")) kept[value] = 1;
  const [from, to] = [...box.querySelectorAll("[type=range]")].map(({ value }) => Number(value)).sort((a, b) => a - b);
  if (to - from < numbers - 1) kept.fill(1, from, to + 1);
  return kept.includes(1) ? kept : null;
}

function clearFilters(some = filters) {
  for (const filter of some) {
    filter.kept = null;
    for (const box of filter.box.querySelectorAll(":checked")) box.checked = false;
    filter.box.querySelectorAll("[type=range]").forEach((end, k) => { end.value = k * (filter.numbers - 1); });
  }
  stale = true;
  redraw();
}

// `name=value`, typed: its box is ticked; of a number, both ends of the range go to its bin.
function setFilter(field) {
  const [name, value = ""] = field.value.split(/=(.*)/).map((part) => part.trim().toLowerCase());
  const filter = filters.find((one) => one.name.toLowerCase() === name), { texts = [], numbers = 0, low, high } = filter ?? {};
  const parts = (text) => [text, ...text.split(" · ")].map((part) => part.toLowerCase());  // "RCC 0 · its name"
  const at = Number(Number(value).toPrecision(4)), bin = value && at >= low?.[0] && at <= high.at(-1) ? low.findLastIndex((end) => end <= at) : -1;
  const box = texts.findIndex((text, k) => k >= numbers && [value, `${name} ${value}`].some((one) => parts(text).includes(one)));
  const some = (all) => `${all.slice(0, SOME).join(", ")}${all.length > SOME ? " …" : ""}`;
  const known = numbers ? `numbers from ${low[0]} to ${high.at(-1)}` : some(texts);
  field.setCustomValidity(!filter ? `Expected name=value. Names are ${some(filters.map((one) => one.name))}`
    : bin < 0 && box < 0 ? `No image has ${filter.name}=${value}. Expected ${known}` : "");
  if (!field.reportValidity()) return;
  field.value = "";
  if (box >= 0) filter.parts[box].firstChild.checked = true;
  else for (const end of filter.box.querySelectorAll("[type=range]")) end.value = bin;
  filter.box.dispatchEvent(new Event("input", { bubbles: true }));
  keepInSight(filter.box);
}

const filterOf = (target) => filters.find(({ box }) => box.contains(target));

$(".safe-map-filters form").addEventListener("input", ({ target }) => target.setCustomValidity(""));
$(".safe-map-filters form").addEventListener("submit", (event) => {
  event.preventDefault();
  setFilter(event.target.elements[0]);
});
$(".safe-map-histograms").addEventListener("input", ({ target }) => {
  const filter = filterOf(target);
  filter.kept = chosen(filter);
  stale = true;
  redraw();
});
// The boxes of a filter are one stop of the tabulator key; the arrow keys go on from there.
$(".safe-map-histograms").addEventListener("keydown", (event) => {
  const label = event.target.closest("label"), next = { ArrowDown: label?.nextElementSibling, ArrowUp: label?.previousElementSibling }[event.key];
  if (event.key === "Escape") clearFilters([filterOf(event.target)]);
  if (!next) return;
  event.preventDefault();
  event.target.tabIndex = -1;
  next.firstChild.tabIndex = 0;
  next.firstChild.focus();
});
