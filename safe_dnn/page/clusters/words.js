// A word for what somebody sees: images, 20 at a time, of which each gets an answer by a key or a click. Answers are sent in the
// background, in order, and are kept in this browser until the server has them: whoever answers waits for nothing.
// Props: seen (JSON, see words.py). Event: select, once answers were given.
const WAIT = 700, AGAIN = 4000;  // milliseconds until it is asked how far the work is, and whether a lost connection is back
const STORE = `safe-word ${location.pathname}`;
const ANSWERS = { y: "yes", n: "no", u: "unsure" };
const UNHEARD = "SAFE does not answer. What you answered is kept in this browser, and sent again.";
const dialog = $("dialog"), status = $(".safe-words p"), news = $(".safe-word-news"), asked = $(".safe-word-asked"), told = $(".safe-word-rate");
const strip = $(".safe-word-tiles"), next = $('[data-do="more"]');
let word = "", at = 0, answered = 0;  // the image that is asked; behind the last one, the rate is in sight
let unsent = [], sending = null, turn = 0, started = false;  // unsent: answers that the server has not yet

const seen = () => JSON.parse(props.seen || "{}");
const store = () => localStorage.setItem(STORE, JSON.stringify({ word: dialog.open ? word : "", unsent }));
const call = async (name, ...sent) => (await server[name](sent).catch(() => null)) ?? { lost: true, problem: UNHEARD };

function send() {
  sending ??= sendAll().finally(() => { sending = null; });
  return sending;
}

async function sendAll() {
  let last = {}, refused = "";
  while (unsent.length && !last.lost) {
    const batch = unsent.filter((one) => one.word === unsent[0].word);
    last = await call("keep_answers", batch[0].word, batch.map(({ image, answer }) => [image, answer]), byWhom());
    if (last.lost) setTimeout(send, AGAIN);
    else unsent = unsent.filter((one) => !batch.includes(one));
    if (last.problem && !last.lost) refused = `Not kept: ${last.problem}`;
    store();
  }
  news.textContent = refused || (last.problem ?? "");
  return last;
}

function give(answer) {
  const tile = strip.children[at];
  if (!tile) return;
  answerOf(tile, answer);
  unsent.push({ word, image: tile.dataset.image, answer });
  store();
  send();
  go(at + 1);
}

function answerOf(tile, answer) {
  tile.dataset.is = answer;
  tile.ariaLabel = `Image ${[...strip.children].indexOf(tile) + 1}: ${answer || "no answer"}`;
}

async function undo() {
  const of = word;
  await send();
  if (unsent.length || of !== word) return;
  const { problem = "", answer, image, tile, ...rest } = await call("undo_answer", word, byWhom());
  news.textContent = problem;
  if (problem || of !== word) return;
  const there = () => [...strip.children].find(({ dataset }) => dataset.image === image);
  if (!there()) strip.insertAdjacentHTML("afterbegin", tile);
  answerOf(there(), "");
  go([...strip.children].indexOf(there()));
  news.textContent = `Undone: ${answer}.`;
  count(rest);
}

function go(to) {
  at = Math.max(0, Math.min(to, strip.childElementCount));
  const tile = strip.children[at];
  for (const one of strip.children) one.ariaCurrent = one === tile;
  asked.hidden = !tile;
  told.hidden = next.hidden = Boolean(tile);
  if (!tile) { rest(); return; }
  Object.assign(asked.querySelector("img"), { src: tile.firstChild.src, alt: `Image ${at + 1} of ${strip.childElementCount}` });
  for (const button of asked.querySelectorAll("[data-answer]")) button.ariaPressed = button.dataset.answer === tile.dataset.is;
  count();
}

function count({ answers = answered } = {}) {
  answered = answers;
  const place = strip.children[at] ? `image ${at + 1} of ${strip.childElementCount} · ` : "";
  $(".safe-word-count").textContent = `${place}${answers} image${answers === 1 ? "" : "s"} answered in all`;
}

// After twenty: the rate.
async function rest() {
  const mine = ++turn;
  told.textContent = "Counting …";
  next.disabled = true;
  const { lost } = await send(), now = lost ? { problem: UNHEARD } : await call("rate_of_word", word);
  if (mine !== turn || strip.children[at]) return;
  if (now.problem) told.textContent = now.problem;
  else told.innerHTML = now.rate;
  count(now);
  next.disabled = false;
  next.focus();
}

// The next images of a word; nothing if there are none yet, which is told. Features may have to be extracted first.
async function ask(name) {
  const { run = "", rows = [] } = seen(), mine = ++turn, look = (stop = false) => call("next_to_ask", name, rows, run, byWhom(), stop);
  let found = await look();
  while (found.working && mine === turn) {
    say(found.working, false, made("button", { type: "button", onclick: () => look(true) }, "Stop"));
    await new Promise((resume) => setTimeout(resume, WAIT));
    found = await look();
  }
  if (mine !== turn && found.working) return null;
  say(found.problem ?? "", true);
  return found.problem ? null : found;
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
  const found = await ask(name);
  if (!found) return;
  word = found.word;
  answered = found.answers;
  $("input").value = "";
  $("#word-title").textContent = word;
  news.textContent = found.images ? "" : "Every image was asked.";
  if (!dialog.open) dialog.showModal();
  dialog.focus();  // and not the first answer
  store();
  strip.innerHTML = found.images;
  go(0);
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  begin($("input").value);
});
element.addEventListener("click", ({ target }) => {
  const part = target.closest("[data-answer], [data-image], [data-do]"), { answer, image, do: what } = part?.dataset ?? {};
  if (answer) give(answer);
  else if (image) go([...strip.children].indexOf(part));
  else if (what) ({ undo, more: () => begin(word), close: () => dialog.close() })[what]();
});
dialog.addEventListener("keydown", (event) => {
  event.stopPropagation();  // the page's own keys judge
  if (event.repeat) return;
  const key = event.key.toLowerCase();
  if (undoes(event) === "undo") undo();
  else if (event.ctrlKey || event.metaKey || event.altKey) return;
  else if (ANSWERS[key]) give(ANSWERS[key]);
  else if (key === "arrowleft") go(at - 1);
  else if (key === "arrowright" && at < strip.childElementCount - 1) go(at + 1);
  else return;
  event.preventDefault();
});
dialog.addEventListener("close", async () => {
  turn += 1;
  say("");
  store();
  await send();
  trigger("select");  // the map knows the answers
});
shows("seen", () => {
  const { heading = "", words = [] } = seen();
  $("datalist").replaceChildren(...words.map((value) => made("option", { value })));
  $(".safe-words label").title = heading && `Shown first: images of “${heading}”`;
  if (started || !props.seen) return;
  started = true;
  const before = JSON.parse(localStorage.getItem(STORE)) ?? {};
  unsent = before.unsent ?? [];
  if (before.word) begin(before.word);
  else send();
});
