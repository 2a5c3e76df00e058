// The tabs: the address says which one is in sight, so that a reload, the browser's buttons and a link lead back to it;
// those whose step is done have a tick.
const REASONS = props.first;
let first = REASONS, opens = !inAddress().has("tab");  // in sight where the address says nothing; whether it does not
const TICK = 100, STEADY = 5;  // milliseconds; how many of these a tab must stay in sight: Gradio sets its own at first
const idOf = (tab) => tab.dataset.tabId;
const all = () => [...document.querySelectorAll('.tab-container [role="tab"]')];
const named = () => all().find((tab) => idOf(tab) === (inAddress().get("tab") || first));
const selected = (tab) => tab?.getAttribute("aria-selected") === "true";

function follow() {
  const tab = named();
  if (tab && !selected(tab)) tab.click();
}

function keep() {
  const tab = all().find(selected);
  tick();
  const now = inAddress();
  if (!tab || (now.get("tab") || first) === idOf(tab)) return;
  if (idOf(tab) === first) now.delete("tab");
  else now.set("tab", idOf(tab));
  putInAddress(now);
}

// What is done has a tick; the button beside the title leads to what comes next, unless that is in sight.
const button = document.querySelector("#next-step");
let steps = { done: [], next: "", text: "" };

function tick() {
  for (const tab of all()) tab.toggleAttribute("data-done", steps.done.includes(idOf(tab)));
  const hidden = !steps.next || idOf(all().find(selected) || button) === steps.next;
  Object.assign(button, { textContent: steps.text, hidden });
}

button.addEventListener("click", () => all().find((tab) => idOf(tab) === steps.next)?.click());
watch("steps", () => {
  const tab = all().find(selected), now = inAddress();
  steps = props.steps;
  tick();
  if (first === REASONS || !tab || !steps.done.includes(REASONS)) return;
  first = REASONS;
  if (idOf(tab) === first) now.delete("tab");
  else now.set("tab", idOf(tab));
  putInAddress(now, "replaceState");
});

// An answer in an empty pane leads to the field to begin with.
function begins(name, more = STEADY) {
  const field = document.querySelector(`#${name} :is(textarea, input)`);
  field?.focus();
  if (more && document.activeElement !== field) setTimeout(begins, TICK, name, more - 1);  // its tab is not yet in sight
}
document.addEventListener("click", ({ target }) => {
  const { tab, field } = target.closest?.(".safe-empty [data-field]")?.dataset ?? {};
  if (!field) return;
  all().find((one) => idOf(one) === tab)?.click();
  begins(field);
});

let asked = !opens;
document.addEventListener("click", (event) => { if (event.isTrusted && event.target.closest?.('[role="tab"]')) asked = opens = false; }, true);
watch("first", () => { first = props.first; (opens ? follow : keep)(); });

function begin(steady) {
  if (!all().length || (asked && named() && steady < STEADY)) {
    follow();
    setTimeout(() => begin(selected(named()) ? steady + 1 : 0), TICK);
    return;
  }
  keep();
  new MutationObserver(keep).observe(all()[0].closest('[role="tablist"]'),
    { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
  window.addEventListener("popstate", follow);
}
begin(0);
