// The cards of all reasons. Props: value (the key of the reason at hand: the number of an RCC, or the conditions of a weak
// spot), cards (see reason_list.py), named (cards that say something else now), both as text; told and more (sentences below
// the list). Gradio asks for the value when it sends the event, so of clicks in quick succession the last one counts.
const list = $(".safe-cards"), counted = $("output");
const choice = (name) => $(`[data-choice="${name}"]`);
const given = (name) => JSON.parse(props[name] || '{"entries": []}');
const known = new Map(), cards = new Map();  // by key: what its card says, and the card
const keys = new Map();  // by RCC: the key of the reason that it is
const folds = new Map(), open = new Set();  // by kind of reasons: the button that unfolds them; the kinds that are unfolded
let marked = null;
const AT_ONCE = 40;  // pictures
const SEARCHED_FROM = 12;  // cards
const AGAIN = 4000;  // milliseconds until a connection that was lost is tried again
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
// An RCC may be at hand by itself, though it is a weak spot as well.
const keyOf = (value) => (known.has(value) ? value : keys.get(value));
const cardOf = (value) => cards.get(keyOf(value));
const kindOf = (value) => (typeof value === "string" ? "spot" : "rcc");

const SHOWN = {
  all: () => true,
  open: ({ verdict }) => !verdict,
  more: ({ more }) => more,
  loose: ({ loose }) => loose,
};
const textOf = ({ number, name, title, words, confusion, mark }) => [number, name, title, words, confusion, mark].join(" ").toLowerCase();
// The images in no cluster come last in every order.
const ORDERED = {
  place: (a, b) => a.place - b.place,
  images: (a, b) => b.images - a.images,
  name: (a, b) => !a.name - !b.name || a.name.localeCompare(b.name, undefined, { numeric: true }),
};

function write(card, entry) {
  const { name, words, number, confusion, verdict, loose, otherwise } = entry;
  const title = name || entry.title;
  const chips = [];
  const chip = (text, kind) => chips.push(made("span", `safe-chip safe-chip-${kind}`, text));
  if (verdict) chip(entry.mark, verdict);
  if (otherwise) chip(otherwise, "otherwise");
  if (loose) chip("loose", "loose");
  const rate = entry.rate === null ? [] : [made("span", "safe-card-rate", percent(entry.rate))];
  const bar = entry.rate === null ? [] : [rateBar(entry, entry.other)];
  const below = [name && name !== entry.title && entry.title, words, confusion].filter(Boolean).map((text) => made("span", "safe-card-words", text));
  card.querySelector(".safe-card-text").replaceChildren(
    made("span", "safe-card-title", made("b", "", title), ...rate), ...bar, made("span", "safe-card-facts", entry.facts), ...below,
    ...(chips.length ? [made("span", "safe-card-chips", ...chips)] : []),
  );
  card.classList.toggle("loose", loose);
  card.dataset.more = entry.more;
  card.title = [number, name, entry.title, words, `${entry.size}, ${percent(entry.share)} of all failing ones`].filter(Boolean).join(" · ");
}

const inSight = () => [...list.querySelectorAll("[data-key]:not([hidden])")];

// Pictures of cards that come in sight, several at a time.
const pictureOf = (card) => card.querySelector("img");
const wanted = new Set();
let asking = false;
const sight = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) wanted[isIntersecting ? "add" : "delete"](target);
  askForPictures();
}, { root: list, rootMargin: "400px" });

async function askForPictures() {
  if (asking || !wanted.size) return;
  asking = true;
  const some = [...wanted].slice(0, AT_ONCE), asked = some.map(({ dataset }) => dataset.key);
  for (const card of some) { wanted.delete(card); sight.unobserve(card); }
  const found = await server.card_pictures([asked, given("cards").run]).catch(() => null);
  asking = false;
  if (!found) { setTimeout(() => some.forEach((card) => sight.observe(card)), AGAIN); return; }
  some.forEach((card, k) => { if (found[asked[k]]) pictureOf(card).src = found[asked[k]]; });
  askForPictures();
}

function build() {
  for (const all of [known, cards, keys, folds, wanted]) all.clear();
  marked = null;
  for (const entry of given("cards").entries) {
    const { key, rcc, kind, fold, picture } = entry;
    const image = made("img", { alt: "", loading: "lazy", ...(picture ? { src: picture } : {}) });  // the words say it
    const card = made("button", { type: "button", className: "safe-card", ariaPressed: false, "data-key": key,
      "data-is": kindOf(key), "data-kind": kind, ...(rcc === null ? {} : { "data-rcc": rcc }) }, image, made("span", "safe-card-text"));
    known.set(key, entry);
    cards.set(key, card);
    if (rcc !== null) keys.set(rcc, key);
    if (fold && !folds.has(fold)) folds.set(fold, made("button", { type: "button", className: "safe-card-fold", "data-fold": fold }, fold));
    write(card, entry);
  }
  sight.disconnect();
  list.replaceChildren();
  for (const card of cards.values()) if (!pictureOf(card).getAttribute("src")) sight.observe(card);
  const all = [...known.values()], rated = all.some(({ rate }) => rate !== null);
  $("h3").textContent = rated ? "Reasons" : "Root cause clusters";
  choice("show").querySelector('[value="loose"]').hidden = !all.some(({ loose }) => loose);
  choice("show").querySelector('[value="more"]').hidden = !all.some(({ more }) => more);
  choice("order").querySelector('[value="place"]').textContent = rated ? "most failures" : "largest";
  choice("order").querySelector('[value="images"]').hidden = !rated;
  choice("search").hidden = known.size <= SEARCHED_FROM;
  const told = $("p.safe-notice"), more = $("details"), [first, ...rest] = (props.more || "").split(/(?<=\.) (?=[A-Z])/);
  told.textContent = props.told || "";
  told.hidden = !props.told;
  more.hidden = !first;
  more.querySelector("summary").textContent = first;
  more.querySelector("p").textContent = rest.join(" ");
  const heading = document.querySelector("#rcc-heading");  // not there yet where this script is the first
  if (heading) titles.observe(heading, { childList: true, subtree: true });
  entitle();
  arrange();
  mark();
  announce("safe-listed");
}

// What names an RCC has its name of now, also where an answer that is older than the name comes after it.
function entitle() {
  for (const place of document.querySelectorAll("#rcc-heading h2, .safe-rcc-name")) {
    const rcc = Number(place.dataset.key), entry = known.get(keys.get(rcc));
    const words = entry && [rcc < 0 ? entry.number : `RCC ${rcc}`, entry.name].filter(Boolean).join(" · ");
    if (words && place.textContent !== words) place.textContent = words;
  }
}
const titles = new MutationObserver(entitle);

// In the order chosen; only those that match, and the one at hand: it stays in sight when a judgement makes it match no more.
function arrange() {
  const order = ORDERED[choice("order").value], wanted = choice("show").value;
  const kept = SHOWN[wanted] ?? (({ verdict }) => verdict === wanted);
  const sought = choice("search").value.toLowerCase().split(/\s+/);
  const shows = (entry) => kept(entry) && sought.every((word) => textOf(entry).includes(word));
  const folding = order === ORDERED.place && wanted === "all" && sought.every((word) => !word);
  const entries = [...known.values()].sort((a, b) => (a.rcc === -1) - (b.rcc === -1) || order(a, b) || a.place - b.place);
  const nodes = new Set();
  for (const entry of entries) {
    const { fold, verdict } = entry, card = cards.get(entry.key);
    if (folding && fold) nodes.add(folds.get(fold));
    const hidden = (!shows(entry) || (folding && fold && !verdict && !open.has(fold))) && card !== cardOf(props.value);
    if (card.hidden !== hidden) card.hidden = hidden;
    nodes.add(card);
  }
  for (const [fold, button] of folds) {
    button.ariaExpanded = open.has(fold);
    if (!nodes.has(button)) button.remove();
  }
  // Only what differs is touched: with hundreds of cards, to lay them all out again takes longer than all else.
  [...nodes].forEach((node, place) => { if (list.children[place] !== node) list.insertBefore(node, list.children[place] ?? null); });
  const asked = entries.filter(({ key, kind, verdict }) => key !== -1 && (verdict || kind === "listed"));
  const judged = asked.filter(({ verdict }) => verdict).length, listed = asked.filter(shows).length;
  counted.textContent = (listed < asked.length ? `${listed} of ${asked.length} · ` : "") + `${judged} of ${asked.length} judged`;
}

function mark() {
  const chosen = cardOf(props.value);
  for (const card of marked === chosen ? [] : [marked, chosen]) {
    card?.classList.toggle("selected", card === chosen);
    card?.setAttribute("aria-pressed", card === chosen);
  }
  marked = chosen;
  if (!chosen) return;
  chosen.hidden = false;
  // Within the list only: an RCC that is chosen on the map must not scroll the page.
  const top = chosen.offsetTop - list.offsetTop, bottom = top + chosen.offsetHeight;
  if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) {
    list.scrollTop = top - (list.clientHeight - chosen.offsetHeight) / 2;
  }
  const left = chosen.offsetLeft - list.offsetLeft, right = left + chosen.offsetWidth;
  if (left < list.scrollLeft || right > list.scrollLeft + list.clientWidth) {
    list.scrollLeft = left - (list.clientWidth - chosen.offsetWidth) / 2;
  }
}

function rename() {
  let changed = false;
  for (const entry of given("named").entries) {
    const before = known.get(entry.key), after = { ...before, ...entry };
    if (!before || JSON.stringify(before) === JSON.stringify(after)) continue;
    known.set(entry.key, after);
    write(cards.get(entry.key), after);
    changed = true;
  }
  if (!changed) return;
  entitle();
  arrange();
}

function choose(key) {
  props.value = key;
  mark();
  announce("safe-chosen", key);
  trigger("select");
}

const keyAt = (card) => [...cards].find(([, one]) => one === card)?.[0];
list.addEventListener("click", (event) => {
  const fold = event.target.closest("[data-fold]")?.dataset.fold, card = event.target.closest("[data-key]");
  if (fold) {
    if (!open.delete(fold)) open.add(fold);
    arrange();
  } else if (card) choose(keyAt(card));
});
choice("search").addEventListener("input", arrange);
list.addEventListener("keydown", (event) => {
  const all = inSight(), at = all.indexOf(event.target.closest("[data-key]"));
  const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  const to = steps[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  if (!all[to]) return;
  all[to].focus();
  choose(keyAt(all[to]));
});
element.addEventListener("change", ({ target }) => { if (target.matches("select")) arrange(); });
watch("named", rename);

// An RCC of a reason that is a weak spot as well is looked at by itself.
document.addEventListener("click", ({ target }) => {
  const rcc = target.closest?.("[data-open-rcc]")?.dataset.openRcc;
  if (rcc !== undefined) choose(Number(rcc));
});

watch("value", mark);
shows("cards", build);
