// The tabs: the address says which one is in sight, so that a reload, the browser's buttons and a link lead back to it; those whose
// step is done have a tick. Props: first (the tab in sight where the address says nothing), steps (see steps.py).
const STEADY = 500, STEP = 50;  // milliseconds that a tab must stay in sight until it is taken as chosen: Gradio sets its own at first
const button = document.querySelector("#next-step");
const all = () => [...document.querySelectorAll('.tab-container [role="tab"]')];
const idOf = (tab) => tab?.dataset.tabId;
const inSight = () => idOf(all().find((tab) => tab.ariaSelected === "true"));
const open = (id) => all().find((tab) => idOf(tab) === id && id !== inSight())?.click();
const follow = () => open(inAddress().get("tab") ?? props.first);

// What is done has a tick; the button beside the title leads to what comes next, unless that is in sight.
function tick() {
  const { done = [], next, text } = props.steps ?? {};
  for (const tab of all()) tab.toggleAttribute("data-done", done.includes(idOf(tab)));
  Object.assign(button, { textContent: text, hidden: !next || next === inSight() });
}

function keep() {
  const now = inAddress(), id = inSight();
  tick();
  if (!id || id === (now.get("tab") ?? props.first)) return;
  now.set("tab", id);
  putInAddress(now);
}

// An answer in an empty pane leads to the field to begin with, once its tab is in sight.
function begin(name, left = STEADY) {
  const field = document.querySelector(`#${name} :is(textarea, input)`);
  field?.focus();
  if (left && document.activeElement !== field) setTimeout(begin, STEP, name, left - STEP);
}
button.addEventListener("click", () => open(props.steps.next));
document.addEventListener("click", ({ target }) => {
  const { tab, field } = target.closest?.(".safe-empty [data-field]")?.dataset ?? {};
  if (!field) return;
  open(tab);
  begin(field);
});

let left = STEADY;
document.addEventListener("click", ({ isTrusted }) => { if (isTrusted) left = 0; }, true);
function start() {
  if (left > 0 || !all().length) {
    follow();
    if (all().length) left -= STEP;
    setTimeout(start, STEP);
    return;
  }
  keep();
  new MutationObserver(keep).observe(all()[0].closest('[role="tablist"]'), { subtree: true, attributeFilter: ["aria-selected"] });
  watch("first", () => { if (!inAddress().has("tab")) follow(); });
  window.addEventListener("popstate", follow);
}
watch("steps", tick);
start();
