// The cards of all reasons. Props: value (the key of the reason at hand: the number of an RCC, or the conditions of a weak
// spot), cards and notice (what stands below them), both HTML. Gradio asks for the value when it sends the event, so of clicks in
// quick succession the last one counts.
const list = $(".safe-cards"), choice = (name) => $(`[data-choice="${name}"]`);
const cards = () => [...list.querySelectorAll("[data-key]")];
const keyOf = ({ dataset }) => (dataset.is === "rcc" ? Number(dataset.key) : dataset.key);
// An RCC may be at hand by itself, though it is a weak spot as well.
const cardOf = (value) => ["key", "rcc"].map((name) => cards().find(({ dataset }) => dataset[name] === `${value}`)).find(Boolean);
const open = new Set();  // the kinds of reasons that are unfolded
const SEARCHED_FROM = 12;  // cards
const ORDERED = {
  place: (a, b) => a.place - b.place,
  images: (a, b) => b.images - a.images,
  name: (a, b) => !a.name - !b.name || a.name.localeCompare(b.name, undefined, { numeric: true }),
};

// A card that is there already stays, with its picture and the focus, and says something else.
function build() {
  const sent = made("div", { innerHTML: props.cards || "" }), before = new Map(cards().map((card) => [card.dataset.key, card]));
  for (const card of sent.querySelectorAll("[data-key]")) {
    const there = before.get(card.dataset.key);
    if (!there) continue;
    const [[now, words], [image, told]] = [card.children, there.children];
    if (image.src !== now.src) image.src = now.src;
    told.replaceWith(words);
    there.title = card.title;
    Object.assign(there.dataset, card.dataset);
    card.remove();
    before.delete(card.dataset.key);
  }
  for (const gone of [...before.values(), ...list.querySelectorAll("[data-fold]")]) gone.remove();
  list.append(...sent.children);
  $("h3").textContent = $(".safe-card-rate") ? "Reasons" : "Root cause clusters";
  for (const option of [...choice("show").options].slice(3)) option.hidden = !list.querySelector(option.value);
  choice("search").hidden = cards().length <= SEARCHED_FROM;
  arrange();
  mark();
}

// In the order chosen, the images in no cluster last; only those that match, and the one at hand: it stays in sight when a
// judgement makes it match no more.
function arrange() {
  const [show, order, search] = ["show", "order", "search"].map((name) => choice(name).value);
  const words = search.toLowerCase().split(/\s+/), chosen = cardOf(props.value), folding = show === "*" && order === "place" && !search.trim();
  const matches = (card) => card.matches(show) && words.every((word) => `${card.title} ${card.textContent}`.toLowerCase().includes(word));
  const nodes = [...list.children].sort(({ dataset: a }, { dataset: b }) =>
    (a.rcc === "-1") - (b.rcc === "-1") || ORDERED[order](a, b) || a.place - b.place);
  for (const node of nodes) {
    const { fold, under, verdict } = node.dataset;
    if (fold) node.ariaExpanded = open.has(fold);
    node.hidden = fold ? !folding : node !== chosen && (!matches(node) || (folding && under && !verdict && !open.has(under)));
  }
  // Only what differs is touched: with hundreds of cards, to lay them all out again takes longer than all else.
  nodes.forEach((node, place) => { if (list.children[place] !== node) list.insertBefore(node, list.children[place]); });
  const asked = cards().filter(({ dataset: { key, kind, verdict } }) => key !== "-1" && (verdict || kind === "listed"));
  const judged = asked.filter(({ dataset }) => dataset.verdict).length, listed = asked.filter(matches).length;
  $("output").textContent = (listed < asked.length ? `${listed} of ${asked.length} · ` : "") + `${judged} of ${asked.length} judged`;
}

function mark() {
  const chosen = cardOf(props.value);
  for (const card of cards()) if ((card.ariaPressed === "true") !== (card === chosen)) card.ariaPressed = card === chosen;
  if (!chosen) return;
  chosen.hidden = false;
  keepInSight(chosen);
}

function choose(key) {
  props.value = key;
  mark();
  announce("safe-chosen", key);
  trigger("select");
}

list.addEventListener("click", ({ target }) => {
  const { fold } = target.closest("[data-fold]")?.dataset ?? {}, card = target.closest("[data-key]");
  if (card) choose(keyOf(card));
  if (!fold) return;
  if (!open.delete(fold)) open.add(fold);
  arrange();
});
list.addEventListener("keydown", (event) => {
  const all = cards().filter(({ hidden }) => !hidden), at = all.indexOf(event.target.closest("[data-key]"));
  const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  const to = steps[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  if (!all[to]) return;
  all[to].focus();
  choose(keyOf(all[to]));
});
element.addEventListener("input", arrange);
// An RCC of a reason that is a weak spot as well is looked at by itself.
document.addEventListener("click", ({ target }) => {
  const rcc = target.closest?.("[data-open-rcc]")?.dataset.openRcc;
  if (rcc !== undefined) choose(Number(rcc));
});
hears("safe-open", choose);

watch("value", mark);
shows("cards", build);
shows("notice", () => { $(".safe-list-notice").innerHTML = props.notice || ""; });
