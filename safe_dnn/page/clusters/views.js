// What the map and the cards show, in the address: filters and colouring of the map, which cards are shown and in which
// order. A reload, the browser's buttons and a link lead back to it. `tab`, `rcc` and `spot` are of tabs.js and screen.js.
// Value: what the address colours the map by.
const DEFAULTS = { show: "all", order: "place", colour: "", filters: "{}" };
const QUIET = 300;  // milliseconds: of a range that is dragged, the last one counts
let changes = {}, timer = 0, coloured = "", lost = {};

const say = (text) => { $("p").textContent = text; };

// --- From the page to the address -------------------------------------------------------------------------------

function keep(part, value) {
  changes[part] = value;
  clearTimeout(timer);
  timer = setTimeout(write, QUIET);
}

function write() {
  const address = inAddress();
  for (const [part, value] of Object.entries(changes)) {
    if (value === DEFAULTS[part]) address.delete(part); else address.set(part, value);
  }
  changes = {};
  lost = {};
  say("");
  putInAddress(address);
}

hears("safe-cards-shown", ({ show, order }) => { keep("show", show); keep("order", order); });
hears("safe-filters", (detail) => keep("filters", JSON.stringify(detail)));
hears("safe-colour", (detail) => { coloured = detail || ""; keep("colour", coloured); });

// --- From the address to the page -------------------------------------------------------------------------------

// Whoever listens adds to `gone` what is not there any more; the events are answered before this goes on.
function tell(event, detail) {
  const gone = [];
  announce(event, { ...detail, gone });
  lost = { ...lost, [event]: gone };
  const all = Object.values(lost).flat();
  say(all.length ? `The link asks for ${all.join(", ")}, which is not there any more.` : "");
}

const part = (name) => inAddress().get(name) ?? DEFAULTS[name];
const pending = () => Object.keys(changes).length > 0;  // chosen just now, and not in the address yet

function applyToCards() {
  if (!pending()) tell("safe-show-cards", { show: part("show"), order: part("order") });
}

function applyToMap(drawn) {
  if (pending()) return;
  let filters;
  try { filters = JSON.parse(part("filters")); } catch { filters = { filters: [part("filters")] }; }
  tell("safe-filter", { filters });
  if (drawn ? !part("colour") : part("colour") === coloured) return;  // a map that is drawn anew shows the RCCs
  props.value = coloured = part("colour");
  trigger("select");
}

hears("safe-listed", applyToCards);
hears("safe-map-drawn", () => applyToMap(true));
window.addEventListener("popstate", () => { applyToCards(); applyToMap(false); });

applyToCards();
if (document.querySelector("#map canvas")?.dataset.shown) applyToMap(true);
