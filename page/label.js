// Labelling of the unsafe set, one image or one RCC at a time; every label is saved before the next is shown.
// Props: version (changes when the set or its classes change), classes.
const $ = (selector) => element.querySelector(selector);
const KEYS = "123456789abcdefghijklmnopqrstvwxyz";  // u is for undo
let state = null, at = 0, busy = false, turn = 0;

async function load(rcc) {
  if (!props.version) return;
  const mine = ++turn, next = await server.label_state([rcc ?? null, props.classes || []]);
  if (mine === turn) show(next, true);  // an answer to an earlier question may come later
}

function visible() {
  const only = $('[data-do="unlabelled"]').checked;
  return state.images.filter((image) => !only || !image.label);
}

async function picture() {
  const list = visible(), image = list[at], figure = $("figure img");
  figure.hidden = !image;
  $("figcaption").textContent = image ? `${image.name} · ${image.label || "no label yet"} · ${at + 1} of ${list.length}` : "Every image of this RCC has a label.";
  for (const tile of element.querySelectorAll("[data-index]")) {
    const on = image && Number(tile.dataset.index) === image.index;
    tile.setAttribute("aria-current", Boolean(on));
    if (on) tile.scrollIntoView({ block: "nearest" });
  }
  if (!image) return;
  figure.alt = image.name;
  const source = await server.label_picture([image.index, state.set]);
  if (visible()[at] === image && source) figure.src = source;
}

function show(next, fresh) {
  if (!next) return;
  state = next;
  const rccs = $("select");
  rccs.replaceChildren(...state.rccs.map(({ rcc, title, labelled, total }) =>
    new Option(`${title} · ${labelled} of ${total} labelled`, rcc, false, rcc === state.rcc)));
  const total = state.rccs.reduce((sum, entry) => sum + entry.total, 0);
  const labelled = state.rccs.reduce((sum, entry) => sum + entry.labelled, 0);
  $("progress").max = total;
  $("progress").value = labelled;
  $("output").textContent = `${labelled} / ${total} labelled`;
  $('[data-do="undo"]').disabled = !state.undo;
  $(".safe-label-classes").replaceChildren(...state.classes.map((name, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.label = name;
    if (KEYS[i]) {
      const key = document.createElement("kbd");
      key.textContent = KEYS[i];
      button.append(key, " ");
    }
    button.append(name);
    return button;
  }));
  $(".safe-label-tiles").replaceChildren(...visible().map((image) => {
    const button = document.createElement("button"), img = document.createElement("img");
    const label = document.createElement("span");
    button.type = "button";
    button.dataset.index = image.index;
    button.title = image.name;
    if (image.picture) img.src = image.picture;
    img.alt = image.name;
    label.textContent = image.label || "–";
    button.append(img, label);
    return button;
  }));
  if (fresh) at = 0;
  at = Math.max(0, Math.min(at, visible().length - 1));
  picture();
}

async function give(label) {
  const list = visible(), image = list[at], all = $('[name="scope"][value="all"]').checked;
  if (busy || !state || (!image && !all)) return;
  busy = true;
  try {
    const next = await server.give_label([state.rcc, all ? null : image.index, label, props.classes || [], state.set]);
    if (!all && !$('[data-do="unlabelled"]').checked) at += 1;
    show(next, false);
    if (all) $('[name="scope"][value="one"]').checked = true;
  } finally { busy = false; }
}

async function undo() {
  if (busy || !state?.undo) return;
  busy = true;
  try { show(await server.undo_label([state.rcc, props.classes || [], state.set]), false); } finally { busy = false; }
}

function step(by) {
  at = Math.max(0, Math.min(at + by, visible().length - 1));
  picture();
}

element.addEventListener("click", (event) => {
  const tile = event.target.closest("[data-index]"), label = event.target.closest("[data-label]")?.dataset.label;
  if (label !== undefined) give(label);
  else if (tile) { at = visible().findIndex((image) => image.index === Number(tile.dataset.index)); picture(); }
  else if (event.target.closest('[data-do="undo"]')) undo();
});
element.addEventListener("change", (event) => {
  if (event.target.tagName === "SELECT") load(Number(event.target.value));
  else if (event.target.dataset.do === "unlabelled" && state) show(state, true);
});
element.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !state || ["SELECT"].includes(event.target.tagName)) return;
  const i = KEYS.indexOf(event.key);
  if (event.key === "ArrowRight" || event.key === "ArrowDown") step(1);
  else if (event.key === "ArrowLeft" || event.key === "ArrowUp") step(-1);
  else if (event.key === "u") undo();
  else if (event.key.length === 1 && i >= 0 && i < state.classes.length) give(state.classes[i]);
  else return;
  event.preventDefault();
});
watch(["version", "classes"], () => load());
load();
