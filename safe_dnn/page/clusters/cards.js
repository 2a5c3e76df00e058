// The cards of all RCCs. Props: value (the RCC at hand), cards (see cards.py; place and picture as well), named (cards
// that say something else now), both as text. Gradio asks for the value when it sends the event, so of clicks in quick succession the last
// one counts.
const list = $(".safe-cards"), told = $("output");
const choice = (name) => $(`[data-choice="${name}"]`);
const given = (name) => JSON.parse(props[name] || '{"entries": []}'), since = newest("rcc");
const known = new Map(), cards = new Map();  // by RCC: what its card says, and the card
const ticked = new Set();  // RCCs
let marked = null, several = false, shownRun = "", shownAt = 0;
let filled = Boolean(props.cards);  // whether the window has shown RCCs, which may be before this script
let listed = null;  // the RCC at hand when all were listed last
const AT_ONCE = 40;  // pictures
const SEARCHED_FROM = 12;  // cards
const AGAIN = 4000;  // milliseconds until a connection that was lost is tried again
const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;

const SHOWN = {
  all: () => true,
  open: ({ verdict }) => !verdict,
  more: ({ more }) => more,
  loose: ({ loose }) => loose,
};
const textOf = ({ number, name, words, confusion, mark }) => [number, name, words, confusion, mark].join(" ").toLowerCase();
// The images in no cluster come last in every order.
const ORDERED = {
  place: (a, b) => a.place - b.place,
  images: (a, b) => b.images - a.images,
  steady: (a, b) => (b.steady ?? 0) - (a.steady ?? 0),
  name: (a, b) => !a.name - !b.name || a.name.localeCompare(b.name, undefined, { numeric: true }),
};

function chips(entry) {
  const found = [];
  const chip = (text, kind) => found.push(made("span", `safe-chip safe-chip-${kind}`, text));
  if (ticked.has(entry.rcc)) chip("✓ ticked", "ticked");
  if (entry.verdict) chip(entry.mark, entry.verdict);
  if (entry.loose) chip("loose", "loose");
  if (entry.spot && !entry.more) chip(`weak spot ${entry.spot}`, "spot");
  return found;
}

function write(card, entry) {
  const name = entry.name || entry.words || entry.number;
  const facts = [name === entry.number ? "" : entry.number, entry.size, percent(entry.share)].filter(Boolean).join(" · ");
  const words = entry.name && entry.words ? [made("span", "safe-card-words", entry.words)] : [];
  const confused = entry.confusion ? [made("span", "safe-card-words", entry.confusion)] : [];
  const rate = entry.rate === null ? [] : [
    made("span", "safe-card-rate", rateBar(entry, entry.elsewhere), made("span", "", `${entry.fails}: ${percent(entry.rate)}`)),
  ];
  const share = made("span", { className: "safe-card-share", style: `width: ${(100 * entry.share).toFixed(1)}%` });
  card.querySelector(".safe-card-text").replaceChildren(
    made("b", "", name), made("span", "safe-card-facts", facts), ...words, ...confused, ...rate,
    made("span", "safe-card-chips", ...chips(entry)),
  );
  card.querySelector(".safe-card-share").replaceWith(share);
  card.classList.toggle("loose", entry.loose);
  card.classList.toggle("ticked", ticked.has(entry.rcc));
  card.dataset.more = entry.more;
  const steady = entry.steady === null ? "" : `together in ${percent(entry.steady)} of the clusterings of random parts`;
  const compared = entry.elsewhere === null ? ""
    : `${percent(entry.rate)} of such test images are wrong, elsewhere (the upright line) ${percent(entry.elsewhere)}`;
  card.title = [entry.number, entry.name, entry.size, entry.words, compared, steady].filter(Boolean).join(" · ");
}

const cardOf = (rcc) => cards.get(Number(rcc));
const inSight = () => [...list.querySelectorAll("[data-rcc]:not([hidden])")];

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
  const some = [...wanted].slice(0, AT_ONCE), rccs = some.map(({ dataset }) => Number(dataset.rcc));
  for (const card of some) { wanted.delete(card); sight.unobserve(card); }
  const found = await server.card_pictures([rccs, given("cards").run]).catch(() => null);
  asking = false;
  if (!found) { setTimeout(() => some.forEach((card) => sight.observe(card)), AGAIN); return; }
  some.forEach((card, k) => { if (found[rccs[k]]) pictureOf(card).src = found[rccs[k]]; });
  askForPictures();
}

function build() {
  const { run, at } = given("cards");
  // An answer that was on its way when a later one came has written over that: what it is about is asked for again.
  if (run === shownRun && at < shownAt) { trigger("select"); return; }
  shownAt = at;
  if (run !== shownRun) tick([...ticked]);  // a number is another RCC in another run
  shownRun = run;
  known.clear();
  cards.clear();
  wanted.clear();
  marked = null;
  list.replaceChildren(...since.of(given("cards")).map((entry) => {
    const image = made("img", { alt: "", loading: "lazy", ...(entry.picture ? { src: entry.picture } : {}) });  // the words say it
    const card = made("button", { type: "button", className: "safe-card", ariaPressed: false, "data-rcc": entry.rcc },
      image, made("span", "safe-card-text"), made("span", "safe-card-share"));
    known.set(entry.rcc, entry);
    cards.set(entry.rcc, card);
    write(card, entry);
    return card;
  }));
  sight.disconnect();
  for (const card of list.children) if (!pictureOf(card).src) sight.observe(card);
  const loose = [...known.values()].some((entry) => entry.loose);
  choice("show").querySelector('[value="loose"]').hidden = !loose;
  choice("show").querySelector('[value="more"]').hidden = ![...known.values()].some((entry) => entry.more);
  const rated = [...known.values()].some(({ rate }) => rate !== null);
  choice("order").querySelector('[value="place"]').textContent = rated ? "worst first" : "largest";
  choice("order").querySelector('[value="images"]').hidden = !rated;
  choice("search").hidden = known.size <= SEARCHED_FROM;
  tick([...ticked].filter((rcc) => !known.has(rcc)));
  const heading = document.querySelector("#rcc-heading");  // not there yet where this script is the first
  if (heading) titles.observe(heading, { childList: true, subtree: true });
  entitle();
  arrange();
  mark();
  listed = props.value;
  announce("safe-listed", { kind: "rcc" });
}

// What names an RCC has its name of now, also where an answer that is older than the name comes after it.
function entitle() {
  for (const place of document.querySelectorAll("#rcc-heading h2, .safe-rcc-name")) {
    const entry = known.get(Number(place.dataset.key));
    const words = entry && [entry.number, entry.name].filter(Boolean).join(" · ");
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
  const entries = [...known.values()].sort((a, b) => (a.rcc < 0) - (b.rcc < 0) || order(a, b) || a.place - b.place);
  // Only what differs is touched: with hundreds of cards, to lay them all out again takes longer than all else.
  for (const [place, entry] of entries.entries()) {
    const card = cardOf(entry.rcc), hidden = !shows(entry) && entry.rcc !== Number(props.value);
    if (card.hidden !== hidden) card.hidden = hidden;
    if (list.children[place] !== card) list.insertBefore(card, list.children[place]);
  }
  const rccs = entries.filter(({ rcc }) => rcc >= 0), judged = rccs.filter(({ verdict }) => verdict).length;
  const listed = rccs.filter(shows).length;
  told.textContent = (listed < rccs.length ? `${listed} of ${rccs.length} · ` : "") + `${judged} of ${rccs.length} judged`;
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

function rename(news) {
  let changed = false;
  since.hear(news);
  for (const entry of since.of(news)) {
    const before = known.get(entry.rcc), after = { ...before, ...entry };
    if (!before || JSON.stringify(before) === JSON.stringify(after)) continue;
    known.set(entry.rcc, after);
    write(cardOf(entry.rcc), after);
    changed = true;
  }
  if (!changed) return;
  entitle();
  arrange();
  tick([]);  // with the verdicts that are seen from now on
}

// Tick RCCs, or untick those that are, and tell which are.
function tick(rccs) {
  for (const rcc of rccs.filter((rcc) => rcc >= 0)) {
    if (!ticked.delete(rcc)) ticked.add(rcc);
    const card = cardOf(rcc);
    if (card) write(card, known.get(rcc));
  }
  announce("safe-ticked", [...ticked].map((rcc) => [rcc, known.get(rcc)?.verdict ?? ""]));
}

function choose(card) {
  props.value = Number(card.dataset.rcc);
  filled = true;
  mark();
  const entry = known.get(props.value);
  // What is typed from now on is about this RCC, though what there is to show of it comes later (see note.js).
  announce("safe-rcc", { key: props.value, title: entry.number });
  trigger("select");
}

list.addEventListener("click", (event) => {
  const card = event.target.closest("[data-rcc]");
  if (card && (several || event.ctrlKey || event.metaKey) && event.isTrusted) tick([Number(card.dataset.rcc)]);
  else if (card) choose(card);
});
$('[data-do="several"]').addEventListener("click", ({ target }) => {
  several = !several;
  target.setAttribute("aria-pressed", several);
  announce("safe-ticking", several);
});
hears("safe-untick", () => tick([...ticked]));
hears("safe-tick", () => tick([Number(props.value)]));
choice("search").addEventListener("input", arrange);
list.addEventListener("keydown", (event) => {
  const all = inSight(), at = all.indexOf(event.target.closest("[data-rcc]"));
  const steps = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  const to = steps[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  if (!all[to]) return;
  all[to].focus();
  choose(all[to]);
});
element.addEventListener("change", (event) => {
  if (!event.target.matches("select")) return;
  arrange();
  const detail = { show: choice("show").value, order: choice("order").value };
  announce("safe-cards-shown", detail);
});
hears("safe-show-cards", (detail) => {
  for (const name of ["show", "order"]) {
    const known = [...choice(name).options].some(({ value }) => value === detail[name]);
    if (!known) detail.gone.push(`${name}: ${detail[name]}`);
    else if (choice(name).value !== detail[name]) choice(name).value = detail[name];
  }
  arrange();
});
watch("named", () => rename(given("named")));
hears("safe-rcc-noted", (detail) => rename(detail));

// Another one is at hand, which was not clicked here: `first` in a window that was just opened, `chosen` on the map.
function follow() {
  mark();
  const detail = { kind: "rcc", key: Number(props.value), first: !filled, chosen: props.value !== listed };
  filled = true;
  announce("safe-at-hand", detail);
}
watch("value", follow);
// The fields of the note are the RCC's at hand: an answer to an earlier question may have come after a click.
hears("safe-rcc-owner", ({ key }) => {
  if (props.value === key || !cards.has(key)) return;
  props.value = key;
  follow();
});
shows("cards", build);
