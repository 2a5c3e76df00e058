// What belongs to the screen as a whole: whether an RCC or a weak spot is at hand, keys that go through the reasons and judge,
// the address, which leads back to the one at hand, and what was undone. Props: undone (JSON: a number, and a sentence; "" after
// anything else that was done).
const onPage = (selector) => document.querySelector(selector);
const dialog = $("dialog"), lost = $(".safe-screen-lost"), undone = $(".safe-undone");
const NOTES = { rcc: "#rcc-says", spot: "#spot-says" };
const LISTED = "#reason-list [data-key]";
let kind = "rcc", waiting = inAddress();

const entries = () => [...document.querySelectorAll(`${LISTED}:not([hidden])`)];
const atHand = () => entries().findIndex((entry) => entry.getAttribute("aria-pressed") === "true");
const named = (which, key) => [...document.querySelectorAll(LISTED)]
  .find(({ dataset }) => (which === "rcc" ? dataset.rcc === key : dataset.is === "spot" && dataset.key === key));

function show(which) {
  kind = which;
  element.closest("#clusters-pane")?.setAttribute("data-kind", kind);
}

// The address says what is at hand; the browser's buttons go back and forth between them, without those that are gone.
function address(key) {
  const now = inAddress(), gone = Object.keys(NOTES).some((which) => now.has(which) && !named(which, now.get(which)));
  for (const which of Object.keys(NOTES)) now.delete(which);
  now.set(kind, key);
  putInAddress(now, gone ? "replaceState" : "pushState");
  lost.textContent = "";
  for (const above of document.querySelectorAll(".safe-above")) above.scrollTop = 0;
}

// Choose what the address names, as soon as it is listed.
function follow() {
  for (const which of Object.keys(NOTES)) {
    const key = waiting.get(which);
    if (key === null || !onPage(LISTED)) continue;
    waiting = new URLSearchParams();
    const entry = named(which, key);
    lost.textContent = entry ? "" : `The link leads to ${which === "rcc" ? `RCC ${key}` : "a weak spot"}, which is not there any more.`;
    if (!entry) return;
    if (entry.getAttribute("aria-pressed") === "true") show(entry.dataset.is);
    else entry.click();
  }
}

function step(by) {
  const all = entries(), at = atHand(), to = all[at < 0 ? 0 : at + by];
  if (!to) return;
  to.click();
  to.scrollIntoView({ block: "nearest" });
}

// A key is about what its title on the screen says when it is pressed, and about nothing that is yet to be drawn.
function judge(radio, { timeStamp }) {
  const { key, since } = onPage(`${NOTES[kind]} .safe-note`)?.dataset ?? {};
  const titled = onPage(`#${kind}-words [data-coming]`) || onPage(`#${kind}-heading h2`)?.dataset.key === key;
  if (!titled || !(timeStamp >= Number(since))) return;
  radio.click();
}

function name() {
  const field = onPage(`${NOTES[kind]} [data-field="name"]`);
  field?.focus();
  field?.select();
}

const BRIGHT = [1, 2, 4, 8];
let bright = 0;

function brighten() {
  bright = (bright + 1) % BRIGHT.length;
  document.body.style.setProperty("--safe-bright", BRIGHT[bright]);
  $('[data-do="bright"] span').textContent = bright ? `Brightened ×${BRIGHT[bright]}` : "Brighten";
}

document.addEventListener("keydown", (event) => {
  if (!element.offsetParent) return;  // another tab is in sight
  const inName = event.target.matches?.('[data-field="name"]');
  if (inName && (event.key === "Escape" || event.key === "Enter")) event.target.blur();
  if (onPage("dialog[open]")) return;
  const turn = undoes(event);
  if (!turn && (event.ctrlKey || event.metaKey || event.altKey || editable(event.target))) return;
  const radio = onPage(`${NOTES[kind]} [data-stroke="${CSS.escape(event.key)}"]`);
  const act = turn ? () => press(turn) : radio ? () => judge(radio, event) : {
    j: () => step(1), k: () => step(-1), n: name, b: brighten, "?": () => dialog.showModal(),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
element.addEventListener("click", (event) => {
  if (event.target.closest('[data-do="help"]')) dialog.showModal();
  else if (event.target.closest('[data-do="bright"]')) brighten();
});

// --- What was undone, said at once: whoever sees nothing presses again --------------------------------------------

const READ = 20_000;  // milliseconds
const BUSY = { undo: "Undoing …", redo: "Redoing …" };
let reading = 0;

const forget = () => undone.replaceChildren();

// Below what was undone before: nothing is taken back out of sight.
function tell(line) {
  undone.querySelectorAll("[aria-busy], button").forEach((one) => one.remove());
  undone.append(line);
  clearTimeout(reading);
  reading = setTimeout(forget, READ);
}

const busy = (turn) => tell(made("p", { ariaBusy: true }, BUSY[turn]));

// What was judged just now is kept first, or what was done before would be taken back.
async function press(turn) {
  const kept = [];
  busy(turn);
  announce("safe-settle", kept);
  await Promise.all(kept);
  onPage(`#${turn}`).click();
}

document.addEventListener("click", ({ target }) => {
  const turn = target.closest?.("#undo, #redo")?.id;
  if (turn) busy(turn);
});
watch("undone", () => {
  if (!props.undone) return forget();
  const [, text] = JSON.parse(props.undone);
  tell(made("p", "", text, ...(text.startsWith("Undone") ? [textButton("Redo", () => press("redo"))] : [])));
});
hears("safe-not-undone", () => undone.querySelector("[aria-busy]")?.remove());
for (const about of Object.keys(NOTES)) hears(`safe-${about}-noted`, forget);

hears("safe-rcc", (detail) => { show("rcc"); address(detail.key); });
hears("safe-spot", (detail) => { show("spot"); address(detail.key); });
hears("safe-at-hand", ({ kind: which, key, first }) => {
  show(which);
  if (!first) address(key);
});
hears("safe-listed", follow);
window.addEventListener("popstate", () => {
  waiting = inAddress();
  follow();
});
show("rcc");
follow();
