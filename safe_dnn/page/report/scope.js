// The scope, kept as it is typed. A field is sent with what stood there before;
// what somebody else has written meanwhile is told, and overwritten only by a change that is made after that.
const PAUSE = 700, AGAIN = 4000;  // milliseconds without a key until a field is sent; until a lost connection is tried again
const fields = Object.fromEntries([...element.querySelectorAll("[data-field]")].map((field) => [field.dataset.field, field]));
const status = $("[role=status]"), scope = $("details");
const open = new Set();  // fields that somebody else has changed as well: not sent until they are changed again
let seen = Object.fromEntries(Object.keys(fields).map((name) => [name, ""])), timer = 0, flying = null;

async function ask(...sent) {
  try { return await server.scope(sent); } catch { return { lost: true, problem: "SAFE does not answer. This is tried again." }; }
}

function later(wait) {
  clearTimeout(timer);
  timer = setTimeout(keep, wait);
}

// What others have written is shown where nothing is typed.
async function look() {
  const { said = {}, problem = "" } = await ask("look");
  status.textContent = problem;
  for (const [name, text] of Object.entries(said)) {
    if (fields[name].value !== seen[name]) continue;
    fields[name].value = seen[name] = text;
    seen[name] = fields[name].value;
  }
}

const typed = () => Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, open.has(name) ? seen[name] : field.value]));
const differ = (mine, before) => Object.keys(mine).some((name) => mine[name] !== before[name]);

async function keep() {
  const mine = typed();
  if (!differ(mine, seen)) return;
  if (flying) return later(PAUSE);
  flying = mine;
  const { lost, ...answer } = await ask("keep", seen, mine, byWhom());
  flying = null;
  status.textContent = answer.problem ?? "";
  if (lost) return later(AGAIN);
  settle(mine, answer);
}

function settle(mine, { said, conflicts = [] }) {
  if (!said) return;
  for (const name of Object.keys(mine)) seen[name] = conflicts.includes(name) ? said[name] : mine[name];
  conflicts.forEach((name) => open.add(name));
}

// What is on its way was sent first.
function leave() {
  const mine = typed(), before = flying ?? seen;
  if (differ(mine, before)) outliving("scope", "keep", before, mine, byWhom()).then((answer) => settle(mine, answer));
}

for (const [name, field] of Object.entries(fields)) {
  field.addEventListener("input", () => { open.delete(name); later(PAUSE); });
  field.addEventListener("change", () => later(0));
}
leaves(leave);
scope.addEventListener("toggle", () => { if (scope.open) look(); });
