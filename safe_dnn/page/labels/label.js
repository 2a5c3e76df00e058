// Labelling of the unsafe set, one image or one RCC at a time; every label is saved before the next is shown, and what
// could not be saved is told. When the last image of an RCC has its label, the next RCC with images without one follows;
// after the last of all, nothing does.
// Props: version (changes with the set and the RCCs), classes, train (the folder that they are from, as it was typed).
const LETTERS = "abcdefghijklmnopqrstvwxy";  // z undoes, and u judges, as on the other tabs
const KEYS = [..."1234567890", ...LETTERS, ...LETTERS.toUpperCase()];  // the last with Shift
// at: the place of the image among those visible; behind the last one where there is nothing more to label
let state = null, at = 0, busy = false, turn = 0;
let asked = null;  // the label of which it was asked whether it is to replace others
let pictures = {};  // of each class, an image or two
const MANY = 9;  // classes, above which they can be searched

function work(on) {
  busy = on;
  $(".safe-label").setAttribute("aria-busy", on);
}

const UNHEARD = "Not kept: SAFE does not answer. Try again.";

const first = () => 0;
const firstUnlabelled = (images) => Math.max(0, images.findIndex((image) => !image.label));

async function load(rcc, start = first) {
  if (!props.version) return;
  const mine = ++turn, next = await server.label_state([rcc ?? null, props.classes || []]);
  if (mine === turn) show(next, start);  // an answer to an earlier question may come later
}

// What was asked is answered by giving the same label again, as the next thing that is done.
function say(text, label = null) {
  $(".safe-label-news").textContent = text;
  asked = label;
}

function keyOf(event) {
  // With Caps Lock, a letter is the one that it is without.
  return /^[a-z]$/i.test(event.key) ? event.key[event.shiftKey ? "toUpperCase" : "toLowerCase"]() : event.key;
}

function visible() {
  const only = $('[data-do="unlabelled"]').checked;
  return state.images.filter((image) => !only || !image.label);
}

async function picture() {
  const list = visible(), image = list[at], figure = $("figure img");
  figure.hidden = !image;
  $("figcaption").textContent = image ? `${image.name} · ${image.label || "no label yet"} · ${at + 1} of ${list.length}` : `Every image of this RCC has a label.${list.length ? " ← goes back to the last one." : ""}`;
  for (const tile of element.querySelectorAll("[data-index]")) {
    const on = image && Number(tile.dataset.index) === image.index;
    tile.setAttribute("aria-current", Boolean(on));
    if (!on) continue;
    // Within the tiles only: the page stays where it is, also when its tab is opened.
    const tiles = tile.parentElement, top = tile.offsetTop - tiles.offsetTop, bottom = top + tile.offsetHeight;
    if (top < tiles.scrollTop) tiles.scrollTop = top;
    else if (bottom > tiles.scrollTop + tiles.clientHeight) tiles.scrollTop = bottom - tiles.clientHeight;
  }
  for (const button of element.querySelectorAll("[data-label]")) button.setAttribute("aria-pressed", button.dataset.label === image?.label);
  if (!image) return;
  figure.alt = image.name;
  const source = await server.label_picture([image.index, state.set]);
  if (visible()[at] === image && source) figure.src = source;
}

function show(next, start = () => at) {
  if (next?.problem) say(next.problem);
  if (!next?.images) return;
  const focused = element.querySelector(":focus");
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
  $(".safe-label-classes").replaceChildren(...state.classes.map(classButton));
  const many = state.classes.length > MANY;
  $(".safe-label-find").hidden = $(".safe-label-help span").hidden = !many;
  if (!many) $('[type="search"]').value = "";
  illustrate();
  find();
  $(".safe-label-tiles").replaceChildren(...visible().map(({ index, name, picture: src, label }) =>
    made("button", { type: "button", title: name, "data-index": index },
      made("img", { alt: name, ...(src ? { src } : {}) }), made("span", "", label || "–"))));
  at = Math.max(0, Math.min(start(visible()), visible().length));
  if (focused) keepFocus(focused);
  picture();
}

function classButton(name, i) {
  const key = /[A-Z]/.test(KEYS[i]) ? `⇧${KEYS[i]}` : KEYS[i];
  return made("button", { type: "button", title: name, "data-label": name },
    made("span", "safe-label-faces"), ...(KEYS[i] ? [made("kbd", "", key)] : []), made("b", "", name));
}

// Images of the classes, as soon as they are known. A class without any gets the first image that is labelled as it.
function illustrate() {
  for (const { label, picture } of state.images) if (label && picture && !pictures[label]) pictures[label] = [picture];
  const some = state.classes.some((name) => pictures[name]);
  $(".safe-label-classes").dataset.faces = some;
  for (const button of element.querySelectorAll("[data-label]")) {
    button.firstChild.replaceChildren(...(pictures[button.dataset.label] || []).map((source) =>
      Object.assign(new Image(), { src: source, alt: "" })));
  }
}

async function askForPictures() {
  const { train, classes } = props;
  const known = await server.class_pictures([train || "", classes || []]).catch(() => ({}));
  if (train !== props.train || classes !== props.classes) return;
  pictures = known;
  if (state) illustrate();
}

// The classes whose names have what is typed, those first that are or begin with it: the order in which Enter takes them.
function find() {
  const typed = $('[type="search"]').value.trim().toLowerCase();
  const rank = (name) => (name === typed ? 0 : name.startsWith(typed) ? 1 : name.includes(typed) ? 2 : 3);
  const buttons = [...element.querySelectorAll("[data-label]")];
  for (const button of buttons) {
    const place = typed ? rank(button.dataset.label.toLowerCase()) : 0;
    button.hidden = place === 3;
    button.style.order = place;
    delete button.dataset.first;
  }
  const found = buttons.filter((button) => !button.hidden);
  const first = typed ? found.toSorted((a, b) => a.style.order - b.style.order)[0] : null;
  if (first) first.dataset.first = true;
  $(".safe-label-find output").textContent = typed && !first ? "No class is called like this." : "";
  return first;
}

function keepFocus(focused) {
  // Without the focus in here, the keys would go nowhere: what had it may be replaced, or switched off.
  if (focused.isConnected && !focused.disabled) return;
  const { label, index } = focused.dataset;
  const same = [...element.querySelectorAll("[data-label], [data-index]")].find((button) =>
    label === undefined ? index !== undefined && button.dataset.index === index : button.dataset.label === label);
  (same || $(".safe-label")).focus({ preventScroll: true });
}

async function give(label) {
  const list = visible(), image = list[at], all = $('[name="scope"][value="all"]').checked;
  if (busy || !state || (!image && !all)) return;
  const others = all && asked !== label ? state.images.filter((one) => one.label && one.label !== label).length : 0;
  if (!all && image.filed && image.label !== label && asked !== label) {
    return say(`${image.name} lies in the folder ${image.label}. Give “${label}” again to replace this label.`, label);
  }
  if (others) return say(`${others} of this RCC ${others === 1 ? "has another label" : "have other labels"}. Give “${label}” again to replace ${others === 1 ? "it" : "them"}.`, label);
  work(true);
  say("");
  try {
    const seen = all ? state.images.map((one) => one.label) : [image.label];
    const next = await server.give_label(
      [state.rcc, all ? null : image.index, label, props.classes || [], state.set, byWhom(), seen]);
    if (next.problem || next.set !== state.set) return show(next, next.set === state.set ? undefined : first);
    if (all) $('[name="scope"][value="one"]').checked = true;
    const wasLast = at === list.length - 1;
    if (next.images.some((other) => !other.label)) {
      if (wasLast) say("Some images of this RCC were passed over, and have no label yet.");
      show(next, wasLast ? firstUnlabelled : $('[data-do="unlabelled"]').checked ? undefined : () => at + 1);
    } else if (all || wasLast || !image.label) await moveOn(next);
    else show(next, () => at + 1);  // one label of a finished RCC was changed
  } catch { say(UNHEARD); } finally { work(false); }
}

async function moveOn(next) {
  show(next, (images) => images.length);
  const here = next.rccs.findIndex(({ rcc }) => rcc === next.rcc);
  const open = [...next.rccs.slice(here + 1), ...next.rccs.slice(0, here)].find(({ labelled, total }) => labelled < total);
  if (!open) return say("Every image of the unsafe set has a label.");
  say(`${next.rccs[here].title} is labelled. This is ${open.title}.`);
  await load(open.rcc, firstUnlabelled);
}

async function undo() {
  if (busy || !state?.undo) return;
  work(true);
  say("");
  try {
    const next = await server.undo_label([state.rcc, props.classes || [], state.set, state.undo]);
    const place = (images) => Math.max(0, images.findIndex((image) => image.index === next.undone));
    show(next, next.problem ? undefined : place);
    const image = next.undone === null ? null : next.images?.[place(next.images)];
    if (image && next.others) say(`Undone: the labels of ${image.name} and ${next.others} more.`);
    else if (image) say(`Undone: ${image.name} has ${image.label ? `its label “${image.label}”` : "no label"} again.`);
  } catch { say(UNHEARD); } finally { work(false); }
}

function step(by) {
  if (by > 0 && at >= visible().length - 1) return;
  at = Math.max(0, at + by);
  say("");
  picture();
}

element.addEventListener("click", (event) => {
  const tile = event.target.closest("[data-index]"), label = event.target.closest("[data-label]")?.dataset.label;
  if (label !== undefined) give(label);
  else if (tile) { say(""); at = visible().findIndex((image) => image.index === Number(tile.dataset.index)); picture(); }
  else if (event.target.closest('[data-do="undo"]')) undo();
});
element.addEventListener("change", (event) => {
  if (event.target.tagName === "SELECT") { say(""); load(Number(event.target.value)); }
  else if (event.target.dataset.do === "unlabelled" && state) show(state, first);
});
// Also before anything in the pane is clicked; what is typed elsewhere stays there.
document.addEventListener("keydown", (event) => {
  if (!element.offsetParent || (editable(event.target) && !element.contains(event.target))) return;
  if (!state || event.target.tagName === "SELECT") return;
  if (event.target.type === "search") return typed(event);
  if (undoes(event) === "undo") { undo(); event.preventDefault(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = keyOf(event), i = KEYS.indexOf(key);
  if (key.startsWith("Arrow") && ["radio", "range"].includes(event.target.type)) return;  // these move among their own
  if (key === "ArrowRight" || key === "ArrowDown") step(1);
  else if (key === "ArrowLeft" || key === "ArrowUp") step(-1);
  else if (key === "/" && !$(".safe-label-find").hidden) $('[type="search"]').focus();
  else if (i >= 0 && i < state.classes.length) { if (!event.repeat) give(state.classes[i]); }  // a key held down answers no question
  else return;
  event.preventDefault();
});

function typed(event) {
  if (event.key === "Escape") {
    event.target.value = "";
    $(".safe-label").focus();
  } else if (event.key === "Enter") {
    const first = find();
    if (!first || busy) return;
    event.target.value = "";
    give(first.dataset.label);
  } else return;
  event.preventDefault();
  find();
}

element.addEventListener("input", ({ target }) => {
  if (target.type === "search") find();
  else if (target.type === "range") $(".safe-label").style.setProperty("--brightness", target.value);
});

shows(["version", "classes"], () => { say(""); load(); });
shows(["classes", "train"], askForPictures);
