// What the map and the cards show, in the address: filters and colouring of the map, which cards are shown and in which
// order. A reload, the browser's buttons, a link and a saved view lead back to it. `tab`, `rcc` and `spot`, and `models` are
// of tabs.js and screen.js. Value: what the address colours the map by.
const DEFAULTS = { show: "all", order: "place", colour: "", filters: "{}" };
const ELSEWHERE = ["tab", "models"];  // stay as they are whichever view is chosen
const QUIET = 300;  // milliseconds: of a range that is dragged, the last one counts
let changes = {}, timer = 0, views = {}, asked = "", coloured = "", lost = {};

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
  mark();
}

document.addEventListener("safe-cards-shown", ({ detail }) => { keep("show", detail.show); keep("order", detail.order); });
document.addEventListener("safe-filters", ({ detail }) => keep("filters", JSON.stringify(detail)));
document.addEventListener("safe-colour", ({ detail }) => { coloured = detail || ""; keep("colour", coloured); });

// --- From the address to the page -------------------------------------------------------------------------------

// Whoever listens adds to `gone` what is not there any more; the events are answered before this goes on.
function tell(event, detail) {
  const gone = [];
  document.dispatchEvent(new CustomEvent(event, { detail: { ...detail, gone } }));
  lost = { ...lost, [event]: gone };
  const all = Object.values(lost).flat();
  say(all.length ? `The link asks for ${all.join(", ")}, which is not there any more.` : "");
  mark();
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

document.addEventListener("safe-listed", ({ detail }) => { if (detail.kind === "rcc") applyToCards(); });
document.addEventListener("safe-map-drawn", () => applyToMap(true));
window.addEventListener("popstate", () => { applyToCards(); applyToMap(false); });

// --- Saved views ------------------------------------------------------------------------------------------------

function state() {
  const address = inAddress();
  for (const other of ELSEWHERE) address.delete(other);
  return `${address}`;
}

// The one of which all is as it was saved is the one chosen.
function mark() {
  const here = state(), name = Object.keys(views).find((one) => views[one] === here);
  $("select").value = name === undefined ? "" : `+${name}`;
  $('[data-do="delete"]').hidden = name === undefined;
}

function list(answer) {
  if (answer?.views) views = answer.views;
  $("select").replaceChildren(new Option(Object.keys(views).length ? "not a saved one" : "none saved yet", ""),
    ...Object.keys(views).map((name) => new Option(name, `+${name}`)));
  mark();
  say(answer ? answer.problem || "" : "SAFE does not answer. Try again.");
  return Boolean(answer) && !answer.problem;
}

async function ask(...sent) {
  try { return list(await server.saved_views(sent)); } catch { return list(null); }
}

function open(form) {
  $("form").hidden = !form;
  $('[data-do="name"]').hidden = form;
  asked = "";
  if (form) $("input").select();
}

async function save() {
  if (timer) { clearTimeout(timer); write(); }
  const name = $("input").value.trim().replace(/\s+/g, " "), again = asked === name;
  const done = await ask("save", name, state(), again ? views[name] ?? "" : "");
  asked = name;
  if (done) { open(false); $('[data-do="name"]').focus(); say(`Saved as ${name}.`); }
}

$("select").addEventListener("change", (event) => {
  const view = views[event.target.value.slice(1)];
  if (!event.target.value || view === undefined) { mark(); return; }
  const address = new URLSearchParams(view);
  for (const other of ELSEWHERE) if (inAddress().has(other)) address.set(other, inAddress().get(other));
  putInAddress(address);
  window.dispatchEvent(new PopStateEvent("popstate"));
});
$("form").addEventListener("submit", (event) => { event.preventDefault(); save(); });
$("form").addEventListener("keydown", (event) => { if (event.key === "Escape") { open(false); $('[data-do="name"]').focus(); } });
element.addEventListener("focusin", (event) => { if (event.target.tagName === "SELECT") ask("list", "", "", ""); });
element.addEventListener("click", (event) => {
  const action = event.target.closest("[data-do]")?.dataset.do;
  if (action === "name") open(true);
  else if (action === "close") open(false);
  else if (action === "delete") ask("delete", $("select").value.slice(1), "", "");
});
ask("list", "", "", "");
applyToCards();
if (document.querySelector("#map canvas")?.dataset.shown) applyToMap(true);
