// What belongs to the screen as a whole: keys that go through the reasons and judge, and the address, which leads back to the
// reason at hand. Props: keys (verdicts by key).
const onPage = (selector) => document.querySelector(selector);
const dialog = $("dialog"), lost = $(".safe-screen-lost"), KINDS = ["rcc", "spot"];
const LISTED = "#reason-list [data-key]";
let keys = Promise.resolve(), arrived = keys, first = true;

const named = (key) => [...document.querySelectorAll(LISTED)].find(({ dataset }) => [dataset.key, dataset.rcc].includes(key));
const addressed = () => KINDS.map((kind) => inAddress().get(kind)).find((key) => key !== null) ?? null;

// Whether the address leads nowhere.
function say(isLost) {
  lost.textContent = isLost ? `The link leads to ${inAddress().has("rcc") ? `RCC ${addressed()}` : "a weak spot"}, which is not there any more.` : "";
}

// The address says what is at hand; the browser's buttons go back and forth between them, without those that are gone.
hears("safe-at-hand", (key) => {
  const kind = typeof key === "string" ? "spot" : "rcc", now = inAddress();
  onPage("#clusters-pane").setAttribute("data-kind", kind);
  if (first) say(addressed() !== null && addressed() !== `${key}`);
  else {
    const gone = KINDS.some((one) => now.has(one) && !named(now.get(one)));
    for (const one of KINDS) now.delete(one);
    now.set(kind, key);
    putInAddress(now, gone ? "replaceState" : "pushState");
    say(false);
  }
  first = false;
  for (const above of document.querySelectorAll(".safe-above")) above.scrollTop = 0;
});

// The next key is about the reason that was chosen, once it is at hand.
hears("safe-chosen", () => {
  arrived = new Promise((resolve) => {
    document.addEventListener("safe-settled", resolve, { once: true });
  });
});

function step(by) {
  const all = [...document.querySelectorAll(`${LISTED}:not([hidden])`)], at = all.findIndex((card) => card.ariaPressed === "true");
  all[at < 0 ? 0 : at + by]?.click();
}

const judge = (verdict) => onPage(`#note-verdict input[value="${verdict}"]`)?.click();

// What is typed before the field of the name is there goes into it, and is no key.
const nameField = () => onPage("#note-name :is(input, textarea)");
let naming = false;

function name() {
  naming = false;
  nameField().focus();
  nameField().select();
}

function type(key) {
  const field = nameField();
  if (key === "Enter") { field.blur(); return; }
  field.setRangeText(key, field.selectionStart, field.selectionEnd, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
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
  if (event.target.closest?.("#note-name") && ["Enter", "Escape"].includes(event.key)) event.target.blur();
  if (onPage("dialog[open]")) return;
  const turn = undoes(event), { key } = event;
  if (!turn && (event.ctrlKey || event.metaKey || event.altKey || editable(event.target))) return;
  const act = naming ? key.length === 1 || key === "Enter" ? () => type(key) : null : turn ? () => onPage(`#${turn}`).click() : key in props.keys ? () => judge(props.keys[key]) : {
    j: () => step(1), k: () => step(-1), n: name, b: brighten, "?": () => dialog.showModal(),
  }[key];
  if (!act) return;
  event.preventDefault();
  naming ||= act === name;
  keys = keys.then(() => arrived).then(act);
});
element.addEventListener("click", (event) => {
  if (event.target.closest('[data-do="help"]')) dialog.showModal();
  else if (event.target.closest('[data-do="bright"]')) brighten();
});
window.addEventListener("popstate", () => {
  const key = addressed(), card = named(key);
  say(key !== null && !card);
  if (card?.ariaPressed !== "true") card?.click();
});
