// The dialog that chooses a path, one for all fields: a button at each field opens it at what the field names.
// The filter keeps the focus: its keys go through the list, into folders and out of them.
const dialog = element.querySelector("dialog"), $ = (selector) => dialog.querySelector(selector);
const list = $("ul"), filter = $("input"), taking = $('[data-do="take"]');
const FIELDS = dialog.dataset.fields.split(" ");
const PAGE = 10;  // entries
let button = null;  // the one that opened it
let shown = { place: null, above: [], entries: [], takesFolders: true, wanted: "" };
let fitting = [], active = -1;  // entries that the filter leaves, and which of them is at hand
let asked = 0, busy = false, last = "";

const block = () => button.parentElement;
const box = () => block().querySelector("textarea, input");
const made = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });

// --- The buttons at the fields ----------------------------------------------------------------------------------

function label(field) {
  return field.querySelector("[data-testid='block-info']")?.textContent.trim() || field.id;
}

function addButtons() {
  for (const id of FIELDS) {
    const field = document.getElementById(id);
    if (!field || field.querySelector(".safe-browse")) continue;
    const browse = made("button", "Browse…", { type: "button", className: "safe-browse" });
    browse.setAttribute("aria-label", `Browse… ${label(field)}`);
    browse.setAttribute("aria-haspopup", "dialog");
    browse.addEventListener("click", () => open(browse));
    field.append(browse);
  }
}

let waiting = false;
new MutationObserver(() => {  // Gradio mounts what is folded when it is opened
  if (waiting) return;
  waiting = true;
  setTimeout(() => { waiting = false; addButtons(); }, 100);
}).observe(document.body, { childList: true, subtree: true });
addButtons();

// --- What is shown ----------------------------------------------------------------------------------------------

function open(from) {
  button = from;
  if (box().disabled || dialog.open) return;
  $("h2").textContent = label(block());
  shown = { ...shown, place: null, above: [], entries: [] };
  show();
  say("");
  dialog.showModal();
  filter.focus();
  go(box().value.trim() || last, box().value.trim());
}

// Show what is at a path; `from` is the entry to be at hand. What is typed meanwhile filters the new list.
async function go(path, from = "") {
  const number = ++asked;
  filter.value = "";
  wait(true);
  let answer;
  try { answer = JSON.parse(await server.listed_folder([block().id, path])); } catch { answer = null; }
  if (number !== asked || !dialog.open) return;
  wait(false);
  if (!answer?.place) { say(answer?.problem || "SAFE does not answer. Try again."); return; }
  shown = answer;
  show(from);
  say(answer.notes);
}

function wait(on) {
  busy = on;
  dialog.setAttribute("aria-busy", String(on));
}

const say = (text) => { $(".safe-picker-notes").textContent = text; };

function show(from = "") {
  const { place, above, entries, wanted } = shown;
  $("header span").textContent = wanted && `Choose ${wanted}`;
  const crumbs = above.map((folder) => made("button", folder.name, { type: "button", title: folder.path, dir: "auto", onclick: () => go(folder.path, place.path) }));
  const here = place ? [made("b", place.name, { title: place.path, dir: "auto" }), made("span", place.holds)] : [];
  $("nav").replaceChildren(...crumbs, ...here);
  $("nav").scrollTop = $("nav").scrollHeight;
  $('[data-do="up"]').disabled = !above.length;
  sift(entries.findIndex(({ path }) => path === from));
}

function row(entry, number) {
  const name = made("bdi", entry.name, { title: entry.name }), holds = made("span", entry.holds);
  const option = made("li", "", { id: `picker-${number}` });
  option.setAttribute("role", "option");
  option.dataset.kind = entry.folder ? "folder" : "file";
  option.append(name, holds);
  if (entry.folder) option.append(made("i", "›", { title: "Open (→)", ariaHidden: "true" }));
  return option;
}

// Those whose names contain what is typed; the first of them is at hand if something is.
function sift(at = -1) {
  const wanted = filter.value.trim().toLowerCase();
  fitting = shown.entries.filter(({ name }) => name.toLowerCase().includes(wanted));
  list.replaceChildren(...fitting.map(row));
  list.hidden = !fitting.length;
  $(".safe-picker-none").hidden = fitting.length > 0 || !shown.place;
  $(".safe-picker-none").textContent = wanted ? "Nothing here has such a name." : `There is nothing to open or choose here${shown.takesFolders ? " but the folder itself" : ""}.`;
  mark(wanted && fitting.length ? 0 : at);
}

function mark(number) {
  list.children[active]?.setAttribute("aria-selected", "false");
  active = number;
  const option = list.children[active], at = fitting[active];
  option?.setAttribute("aria-selected", "true");
  option?.scrollIntoView({ block: "nearest" });
  if (option) filter.setAttribute("aria-activedescendant", option.id); else filter.removeAttribute("aria-activedescendant");
  const opens = at?.folder && !shown.takesFolders, chosen = at || (shown.takesFolders ? shown.place : null);
  taking.textContent = chosen ? `${opens ? "Open" : "Use"} ${chosen.name}` : "Use";
  taking.disabled = !chosen;
}

// --- What is done -----------------------------------------------------------------------------------------------

const up = () => { if (shown.above.length && !busy) go(shown.above.at(-1).path, shown.place.path); };
const enter = (entry) => { if (entry?.folder && !busy) go(entry.path); };

function take(entry = shown.takesFolders ? shown.place : null) {
  if (!entry || busy) return;
  if (entry.folder && !shown.takesFolders) { enter(entry); return; }
  const field = box(), kind = field.tagName === "TEXTAREA" ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(field, entry.path);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  setTimeout(() => field.dispatchEvent(new Event("blur")), 50);  // some fields are read when they are left
  last = shown.place.path;
  dialog.close();
}

filter.addEventListener("input", () => sift());
filter.addEventListener("keydown", (event) => {
  const end = filter.selectionEnd === filter.value.length, step = (by) => mark(Math.min(Math.max(active + by, 0), fitting.length - 1));
  const act = {
    ArrowDown: () => step(1), ArrowUp: () => step(-1), PageDown: () => step(PAGE), PageUp: () => step(-PAGE),
    ArrowRight: end && fitting[active]?.folder && (() => enter(fitting[active])),
    ArrowLeft: !filter.value && up, Backspace: !filter.value && up,
    Enter: () => take(fitting[active]),
  }[event.key];
  if (!act || event.isComposing) return;
  event.preventDefault();
  act();
});
list.addEventListener("click", (event) => {
  const number = [...list.children].indexOf(event.target.closest("li"));
  if (number < 0) return;
  if (event.target.tagName === "I") enter(fitting[number]); else mark(number);
  filter.focus();
});
list.addEventListener("dblclick", (event) => {
  const entry = fitting[[...list.children].indexOf(event.target.closest("li"))];
  if (entry?.folder) enter(entry); else if (entry) take(entry);
});
dialog.addEventListener("click", (event) => {
  const action = event.target === dialog ? "" : event.target.closest("[data-do]")?.dataset.do;
  if (action === "close") dialog.close();
  else if (action === "take") take(fitting[active]);
  else if (action === "up") up();
  if (action === "up" || event.target.closest("nav button")) filter.focus();
});
dialog.addEventListener("close", () => { asked += 1; button?.focus({ preventScroll: true }); });
