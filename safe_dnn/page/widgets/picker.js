// The dialog that chooses a path, one for all fields: a button at each field opens it at what the field names.
const dialog = $("dialog"), list = $("select"), taking = $('[data-do="take"]');
let button = null, field = null;  // the one that opened it, and its field
let shown = {}, asked = 0, last = "";

const say = (text) => { $("[role=status]").textContent = text; };

atFields(dialog.dataset.fields.split(" "), "Browse…", "of-this-machine", (from, of) => {
  if (dialog.open) return;
  [button, field] = [from, of];
  show({});
  dialog.showModal();
  const typed = fieldBox(field).value.trim();
  go(typed || last, typed);
});

// Show what is at a path; `from` is the entry to be at hand.
async function go(path, from = "") {
  const number = ++asked;
  say("");
  taking.disabled = true;
  const answer = await server.listed_folder([field.id, path]).then(JSON.parse).catch(() => ({}));
  if (number !== asked || !dialog.open) return;
  if (answer.place) show(answer, from);
  say(answer.place ? answer.notes : answer.problem || "SAFE does not answer. Try again.");
}

function show(answer, from = "") {
  const { place, above = [], entries = [], wanted } = shown = answer;
  $("h2").textContent = wanted ? `${fieldLabel(field)}: choose ${wanted}` : fieldLabel(field);
  const crumb = ({ name, path }) => made("button", { type: "button", title: path, dir: "auto", onclick: () => go(path, place.path) }, name);
  $("nav").replaceChildren(...above.map(crumb), ...(place ? [made("b", { title: place.path, dir: "auto" }, place.name)] : []));
  list.replaceChildren(...entries.map(({ name, folder }) => made("option", { title: name, dir: "auto" }, folder ? `${name}/` : name)));
  list.selectedIndex = entries.findIndex(({ path }) => path === from);
  list.focus();
  mark();
}

// What would be taken: the entry at hand or, where none is, the folder.
const chosen = () => shown.entries?.[list.selectedIndex] || (shown.takesFolders ? shown.place : null);

function mark() {
  const one = chosen();
  taking.textContent = one ? `${one.folder && !shown.takesFolders ? "Open" : "Use"} ${one.name}` : "Use";
  taking.disabled = !one;
}

function take(one = chosen()) {
  if (!one || taking.disabled) return;
  if (one.folder && !shown.takesFolders) { go(one.path); return; }
  typeIn(field, one.path);
  last = shown.place.path;
  dialog.close();
}

function enter() {
  const one = shown.entries?.[list.selectedIndex];
  if (one?.folder) go(one.path); else take();
}

list.addEventListener("change", mark);
list.addEventListener("dblclick", enter);
list.addEventListener("keydown", (event) => {
  if (event.key === "Enter") enter();
  else if (event.key === "Backspace" && shown.above?.length) go(shown.above.at(-1).path, shown.place.path);
  else return;
  event.preventDefault();
});
$('[data-do="close"]').addEventListener("click", () => dialog.close());
taking.addEventListener("click", () => take());
dialog.addEventListener("close", () => button?.focus({ preventScroll: true }));
