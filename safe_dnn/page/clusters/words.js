// A word for what somebody sees: images, 20 at a time, of which each gets an answer by a key or a click. Answers are sent in the
// background, in order, and are kept in this browser until the server has them: whoever answers waits for nothing.
// Props: seen (JSON, see words.py). Value: the word by which the map is to be coloured; empty: none. Event: select.
const WAIT = 700, AGAIN = 4000;  // milliseconds until it is asked how far the work is, and whether a lost connection is back
const STORE = `safe-word ${location.pathname}`;
const ANSWERS = { y: "yes", n: "no", u: "unsure" };
const UNHEARD = "SAFE does not answer. What you answered is kept in this browser, and sent again.";
const dialog = $("dialog"), status = $(".safe-words p"), news = $(".safe-word-news"), asked = $(".safe-word-asked"), told = $(".safe-word-rate");
let word = "", images = [], at = 0;  // those that are asked; behind the last one, the rate is in sight
let unsent = [], sending = null, singly = false;  // answers that the server has not yet; whether they are sent one by one
let coming = null, turn = 0;

const given = () => JSON.parse(props.seen || "{}");
const store = () => localStorage.setItem(STORE, JSON.stringify({ word: dialog.open ? word : "", unsent }));
const stored = () => JSON.parse(localStorage.getItem(STORE)) ?? {};
const call = async (name, ...sent) => (await server[name](sent).catch(() => null)) ?? { lost: true, problem: UNHEARD };

// --- Answers ----------------------------------------------------------------------------------------------------

function send() {
  sending ??= sendAll().finally(() => { sending = null; });
  return sending;
}

async function sendAll() {
  let last = {};
  while (unsent.length) {
    const of = unsent[0].word, next = unsent.findIndex((one) => one.word !== of);
    const batch = unsent.slice(0, singly ? 1 : next < 0 ? unsent.length : next);
    last = await call("keep_answers", of, batch.map(({ image, answer }) => [image, answer]), byWhom());
    if (last.lost) { setTimeout(send, AGAIN); break; }
    if (last.problem && batch.length > 1) { singly = true; continue; }  // one of them is refused, the others count
    singly = singly && batch.length < unsent.length;
    unsent = unsent.slice(batch.length);
    store();
    if (last.problem) { news.textContent = `Not kept: ${last.problem}`; return last; }
  }
  news.textContent = last.problem ?? "";
  return last;
}

function give(answer) {
  const image = images[at];
  if (!image) return;
  image.answer = answer;
  unsent.push({ word, image: image.image, answer });
  store();
  send();
  go(at + 1);
}

async function undo() {
  const of = word;
  await send();
  if (unsent.length || of !== word) return;
  const { problem = "", image, answer, picture, ...rest } = await call("undo_answer", word, byWhom());
  news.textContent = problem;
  if (problem || of !== word) return;
  coming = null;
  let place = images.findIndex((one) => one.image === image);
  if (place < 0) { images.unshift({ image, picture }); place = 0; }
  images[place].answer = "";
  go(place);
  news.textContent = `Undone: ${answer}.`;
  count(rest);
}

// --- The image at hand ------------------------------------------------------------------------------------------

function go(to) {
  at = Math.max(0, Math.min(to, images.length));
  const image = images[at];
  asked.hidden = !image;
  told.hidden = Boolean(image);
  $('[data-do="more"]').hidden = Boolean(image);
  $(".safe-word-tiles").replaceChildren(...images.map((one, i) => made("button", { type: "button", "data-place": i, "data-is": one.answer ?? "",
    ariaLabel: `Image ${i + 1}: ${one.answer || "no answer"}`, ariaCurrent: i === at }, made("img", { src: one.picture, alt: "" }))));
  if (!image) { rest(); return; }
  $(".safe-word-asked img").src = image.picture;
  $(".safe-word-asked img").alt = `Image ${at + 1} of ${images.length}`;
  for (const button of asked.querySelectorAll("[data-answer]")) button.setAttribute("aria-pressed", button.dataset.answer === image.answer);
  count();
}

function count(rest = {}) {
  $(".safe-word-count").dataset.answers = rest.answers ?? $(".safe-word-count").dataset.answers ?? 0;
  const n = Number($(".safe-word-count").dataset.answers);
  $(".safe-word-count").textContent = `${images[at] ? `image ${at + 1} of ${images.length} · ` : ""}${n} image${n === 1 ? "" : "s"} answered in all`;
}

// After twenty: the rate. The next ones are asked for meanwhile.
async function rest() {
  const mine = ++turn;
  told.replaceChildren(made("p", "", "Counting …"));
  $('[data-do="more"]').disabled = true;
  const { lost } = await send();
  const now = lost ? { problem: UNHEARD } : await call("rate_of_word", word);
  if (mine !== turn || images[at]) return;
  told.replaceChildren(...rated(now));
  count(now);
  $('[data-do="more"]').disabled = false;
  $('[data-do="more"]').focus();
  if (!lost) coming = ask(word, "look");
}

const percent = (share) => `${Math.round(100 * share)}%`;
const rated = ({ text = "", problem = "", rates = [] }) => [
  ...rates.flatMap((rate) => [
    made("p", "safe-word-figure", rate.of && `${rate.of}: `, made("b", "", percent(rate.rate)), ` wrong, ${percent(rate.low)} to ${percent(rate.high)}`), rateBar(rate, null)]),
  made("p", "", problem || text)];

async function more() {
  const next = await (coming ?? ask(word, "look"));
  coming = null;
  if (!next) return;
  images = next.images;
  news.textContent = images.length ? "" : "Every image was asked.";
  if (!images.length) return;
  dialog.focus();  // the button is hidden
  go(0);
}

// --- Images to ask ----------------------------------------------------------------------------------------------

// The next images of a word; nothing if there are none yet, which is told. Features may have to be extracted first.
async function ask(name, how) {
  const { run = "", rows = [] } = given(), mine = ++turn;
  let next = await call("next_to_ask", name, rows, run, byWhom(), how);
  while (next.working && mine === turn) {
    say(next.working, false, textButton("Stop", () => call("next_to_ask", name, rows, run, byWhom(), "stop")));
    await new Promise((resume) => setTimeout(resume, WAIT));
    next = await call("next_to_ask", name, rows, run, byWhom(), "wait");
    if (!next.working && !next.problem && !next.images) next = await call("next_to_ask", name, rows, run, byWhom(), "look");
  }
  if (mine !== turn && next.working) return null;
  say(next.problem ?? "", true);
  return next.problem ? null : next;
}

// Where the engineer looks.
function say(text, wrong = false, ...parts) {
  const where = dialog.open ? news : status;
  status.replaceChildren();
  where.replaceChildren(text, ...parts);
  where.toggleAttribute("data-wrong", wrong);
}

async function begin(name) {
  say("Looking for images …");
  await send();
  const next = await ask(name, "look");
  if (!next) return;
  word = next.word;
  images = next.images;
  coming = null;
  $("#word-title").textContent = word;
  $("input").value = "";
  $('[data-do="close"]').textContent = "Enough";
  dialog.dataset.list = "";
  count(next);
  open();
  go(0);
}

function open() {
  news.textContent = "";
  if (!dialog.open) dialog.showModal();
  dialog.focus();  // and not the first answer
  store();
}

// --- The words that there are -----------------------------------------------------------------------------------

async function list() {
  const { words = [], problem = "" } = await call("known_words");
  const button = $('[data-do="list"]');
  button.hidden = !words.length;
  button.textContent = `${words.length} word${words.length === 1 ? "" : "s"}`;
  if (dialog.open && dialog.dataset.list) showList(words, problem);
  return [words, problem];
}

function showList(words, problem) {
  dialog.dataset.list = "words";
  $("#word-title").textContent = "Words";
  $('[data-do="close"]').textContent = "Close";
  $(".safe-word-count").textContent = "";
  $(".safe-word-tiles").replaceChildren();
  asked.hidden = $('[data-do="more"]').hidden = true;
  told.hidden = false;
  told.replaceChildren(...(problem ? [made("p", "", problem)] : []), ...words.map((one) => made("article", { "data-word": one.word }, ...rated(one), made("p", "safe-word-do",
    textButton("Go on", () => begin(one.word)), textButton("Colour the map", () => { dialog.close(); colour(one.word); })))));
}

function colour(name) {
  props.value = name;
  trigger("select");
}

// --- What the engineer does -------------------------------------------------------------------------------------

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  begin($("input").value);
});
element.addEventListener("click", async ({ target }) => {
  const { answer, place, do: what } = target.closest("[data-answer], [data-place], [data-do]")?.dataset ?? {};
  if (answer) give(answer);
  else if (place) go(Number(place));
  else if (what === "undo") undo();
  else if (what === "more") more();
  else if (what === "close") dialog.close();
  else if (what === "list") { showList(...await list()); open(); }
});
dialog.addEventListener("keydown", (event) => {
  event.stopPropagation();  // the page's own keys judge
  if (dialog.dataset.list || event.repeat) return;
  const key = event.key.toLowerCase();
  if (undoes(event) === "undo") undo();
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (ANSWERS[key]) give(ANSWERS[key]);
  else if (key === "arrowleft") go(at - 1);
  else if (key === "arrowright" && at < images.length - 1) go(at + 1);
  else return;
  event.preventDefault();
});
dialog.addEventListener("close", async () => {
  const wasList = dialog.dataset.list;
  turn += 1;
  say("");
  store();
  if (wasList) return;
  await send();
  list();
  colour("");  // the map knows the answers
});

// --- What comes from the server ---------------------------------------------------------------------------------

let started = false;
shows("seen", () => {
  const { heading = "" } = given();
  $(".safe-words label").title = heading && `Shown first: images of “${heading}”`;
  if (started || !props.seen) return;
  started = true;
  list();
  const before = stored();
  unsent = before.unsent ?? [];
  if (before.word) begin(before.word);
  else send();
});
