// Labelling of the unsafe set, one image or one RCC at a time; every label is saved before the next image is shown (see tab.py).
// Props: version (changes with the set and the RCCs), classes, train (the folder that they are from, as it was typed).
const MANY = 9;  // classes, above which they can be searched
const UNHEARD = "Not kept: SAFE does not answer. Try again.";
const all = (selector) => [...element.querySelectorAll(selector)], find = $('[type="search"]');
let view = null, busy = false, turn = 0;
let asked = null;  // the label of which it was asked whether it is to replace others: it does if it is given again next
let faces = {};  // of each class, an image or two

// What was asked is answered by giving the same label again, as the next thing that is done.
function say(text, label = null) {
  $(".safe-label-news").textContent = text;
  asked = label;
}

async function post(what, more = {}) {
  if (!props.version || (busy && what !== "show")) return;
  const { index } = $('[aria-current="true"]')?.dataset ?? {};
  const sent = { what, view, asked, index: index === undefined ? null : Number(index), by: byWhom(), classes: props.classes || [],
    only: $('[data-do="unlabelled"]').checked, all: $('[name="scope"][value="all"]').checked, ...more };
  if (what === "give" && sent.index === null && !sent.all) return;
  const mine = ++turn;
  busy = what !== "show";
  $(".safe-label").setAttribute("aria-busy", busy);
  const next = await server.label(sent).catch(() => ({ news: UNHEARD }));
  if (mine !== turn) return;  // an answer to an earlier question may come later
  busy = false;
  $(".safe-label").setAttribute("aria-busy", false);
  say(next.news, next.asked);
  if (next.kept) $('[name="scope"][value="one"]').checked = true;
  if (next.view) show(next);
  if (next.kept && !faces[more.label]) askForPictures();
}

function show(next) {
  view = next.view;
  const { label, index } = document.activeElement.dataset, focused = element.contains(document.activeElement);
  for (const [name, html] of Object.entries(next.parts)) $(`.safe-label-${name}`).innerHTML = html;
  const many = all("[data-label]").length > MANY;
  $(".safe-label-find").hidden = $(".safe-label-help span").hidden = !many;
  if (!many) find.value = "";
  illustrate();
  const same = all("[data-label], [data-index]").find(({ dataset }) => (label === undefined ? dataset.index === index : dataset.label === label));
  if (focused && document.activeElement === document.body) (same ?? $(".safe-label")).focus({ preventScroll: true });
  look($('[aria-current="true"]'));
}

function look(tile) {
  const tiles = all("[data-index]"), { index, has } = tile?.dataset ?? {};
  for (const one of tiles) one.setAttribute("aria-current", one === tile);
  for (const button of all("[data-label]")) button.setAttribute("aria-pressed", button.dataset.label === has);
  $("figcaption").textContent = tile ? `${tile.title} · ${has || "no label yet"} · ${tiles.indexOf(tile) + 1} of ${tiles.length}`
    : `Every image of this RCC has a label.${tiles.length ? " ← goes back to the last one." : ""}`;
  // Another element, since one goes on showing its image until the next is there
  const source = tile ? { src: `unsafe/${view.set}/${index}/large`, alt: tile.title } : { alt: "", hidden: true };
  $("figure img").replaceWith(made("img", source));
  if (tile) keepInSight(tile);
}

function step(by) {
  const tiles = all("[data-index]"), at = tiles.findIndex(({ ariaCurrent }) => ariaCurrent === "true");
  const to = tiles[at < 0 ? (by < 0 ? tiles.length - 1 : -1) : at + by];
  if (!to) return;
  say("");
  look(to);
}

// Images of the classes, as soon as they are known.
function illustrate() {
  const buttons = all("[data-label]");
  for (const { dataset, firstChild } of buttons) firstChild.replaceChildren(...(faces[dataset.label] ?? []).map((src) => made("img", { src, alt: "" })));
  $(".safe-label-classes").dataset.faces = buttons.some(({ dataset }) => faces[dataset.label]);
}

async function askForPictures() {
  const { train, classes } = props;
  const known = await server.class_pictures([train || "", classes || []]).catch(() => ({}));
  if (train !== props.train || classes !== props.classes) return;
  faces = known;
  illustrate();
}

// The first class that is, begins with or has what is typed.
function classOf(typed) {
  const names = all("[data-label]").map(({ dataset }) => dataset.label), lower = (name) => name.toLowerCase();
  const fits = [(name) => name === typed, (name) => name.startsWith(typed), (name) => name.includes(typed)];
  return typed && fits.map((fit) => names.find((name) => fit(lower(name)))).find(Boolean);
}

element.addEventListener("click", ({ target }) => {
  const tile = target.closest("[data-index]"), { label, do: what } = target.closest("[data-label], [data-do]")?.dataset ?? {};
  if (label !== undefined) post("give", { label });
  else if (what === "undo") post("undo");
  else if (tile) {
    say("");
    look(tile);
  }
});
element.addEventListener("change", ({ target }) => {
  if (target.tagName === "SELECT") post("show", { view: { rcc: Number(target.value) }, index: null });
  else if (target.dataset.do === "unlabelled") post("show", { index: null });
});
element.addEventListener("input", ({ target }) => {
  if (target.type === "range") $(".safe-label").style.setProperty("--brightness", target.value);
});
// Also before anything in the pane is clicked; what is typed elsewhere stays there.
document.addEventListener("keydown", (event) => {
  const { key, target } = event, within = element.contains(target);
  if (!element.offsetParent || !view || target.tagName === "SELECT" || (editable(target) && !within)) return;
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[key];
  // With Caps Lock, a letter is the one that it is without.
  const pressed = /^[a-z]$/i.test(key) ? key[event.shiftKey ? "toUpperCase" : "toLowerCase"]() : key;
  const button = all("[data-key]").find(({ dataset }) => dataset.key === pressed);
  if (target === find) {
    const label = classOf(find.value.trim().toLowerCase());
    if (key === "Escape") $(".safe-label").focus();
    else if (key !== "Enter" || busy) return;
    else if (label) post("give", { label });
    else if (find.value) say("No class is called like this.");
    if (key === "Escape" || label) find.value = "";
    event.preventDefault();
    return;
  }
  if (undoes(event) === "undo") post("undo");
  else if (event.ctrlKey || event.metaKey || event.altKey || (by && ["radio", "range"].includes(target.type))) return;  // these move among their own
  else if (by) step(by);
  else if (key === "/" && !$(".safe-label-find").hidden) find.focus();
  else if (!button) return;
  else if (!event.repeat) post("give", { label: button.dataset.label });  // a key held down answers no question
  event.preventDefault();
});

shows(["version", "classes"], () => { post("show", { view: null, index: null }); });
shows(["classes", "train"], askForPictures);
