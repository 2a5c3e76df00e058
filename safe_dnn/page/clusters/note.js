// What the engineer says of an RCC or a weak spot. Props: said (see note.py). Fields belong to one: what is
// typed is sent with its key, and with what stood there before, so that the server can tell a change from what merely stood
// in this window. The lists hear of what was kept by an event. What is not kept yet when another one is chosen
// is sent all the same, and stays in sight until it is kept or the engineer lets it go.
const AGAIN = 4000;  // milliseconds until a connection that was lost is tried again
const root = $(".safe-note"), about = root.dataset.about, status = $(".safe-note-state");
const FIELDS = [...new Set([...root.querySelectorAll("[data-field]")].map((one) => one.dataset.field))];
const BLANK = Object.fromEntries(FIELDS.map((field) => [field, ""]));
const above = () => document.querySelector(`#${about}-words .safe-above`);  // what shows the one at hand
const input = (field) => $(`[data-field="${field}"]`);
const radio = (value) => $(`[data-field="verdict"][value="${value}"]`);
const keyOf = ({ key, run }) => `${run} ${key}`;
const same = (a, b) => a && b && keyOf(a) === keyOf(b);
let said = null;  // what the server says of the one at hand
let clicked = null;  // one of which the server has not answered yet
let early = null;  // one that the address has named before there was anything to fill in
let owner = null;  // key, run and title that the fields belong to
let seen = BLANK;  // by field: what stood there when it was last filled in or kept
let own = [], full = "";  // what there is to tell about them, and that the one that is typed into takes no more
let open = {};  // by field: the question that the engineer has not decided yet; until then the field is not sent
let drawn = "";  // key and run of what the server has shown last
let flying = null, again = false, timer = 0, keeping = null;  // what is on its way, and when all of it has arrived
let pictured = "";  // whose GIF is shown
let all = { at: -1, run: "", notes: {} };  // what the server has said of all of them, and when
const known = new Map();  // by key and run: what it has said of one
const drafts = new Map();  // by key and run: what is not kept yet of those that are no longer at hand

function get(field) {
  if (field !== "verdict") return input(field).value;
  return $('[data-field="verdict"]:checked')?.value ?? "";
}

function put(field, value) {
  if (field === "verdict") radio(value).checked = true;
  else if (input(field).value !== value) input(field).value = value;
}

const values = () => Object.fromEntries(FIELDS.map((field) => [field, get(field)]));
const differ = (a, b) => FIELDS.some((field) => a[field] !== b[field]);
const changed = () => owner && differ(values(), seen);
const decided = () => Object.fromEntries(FIELDS.map((field) => [field, open[field] ? seen[field] : get(field)]));
// The server drops spaces at the ends; whoever is typing keeps them.
const plain = (text) => text.trim().replace(/\s+/g, " ");

function learn(key, said) {
  if (said.at > (known.get(key)?.at ?? -1)) known.set(key, { at: said.at, ...Object.fromEntries(FIELDS.map((field) => [field, said[field]])) });
}

function latest(here) {
  const one = known.get(keyOf(here)) || { ...BLANK, at: -1 };
  return all.run === here.run && all.at > one.at ? all.notes[here.key] || BLANK : one;
}

// What the server says of the one at hand, or of the one that was just chosen.
function fill() {
  if (!props.said) return;
  said = JSON.parse(props.said);
  const { key, run, title } = said, here = { key, run, title };
  if (said.at > all.at) all = said;
  learn(keyOf(here), said);
  const named = early;
  early = null;
  if (named && named.key !== key) {
    owner = here;
    choose(named);
    return;
  }
  if (clicked && !said.forced && !same(clicked, here)) return;  // the answer to an earlier click
  if (keyOf(here) !== drawn) draw(keyOf(here), same(clicked, here));
  clicked = null;
  delete above().dataset.coming;
  if (!same(owner, here)) return take(here);
  owner = here;
  // What is being typed here stays; the rest follows what others have written.
  const now = latest(here);
  for (const field of FIELDS) {
    const mine = get(field);
    if (mine !== seen[field]) continue;
    if (plain(mine) !== plain(now[field])) put(field, now[field]);
    seen = { ...seen, [field]: get(field) };
  }
}

// A key that was pressed before another title was on the screen is not about that one, unless it was chosen here: its title
// stands there at once (see screen.js).
function draw(key, chosen) {
  drawn = key;
  root.dataset.since = chosen ? 0 : Infinity;
  if (!chosen) requestAnimationFrame(() => requestAnimationFrame(() => {
    if (drawn === key && root.dataset.since === "Infinity") root.dataset.since = performance.now();
  }));
}

// Pictures come after the words: those of another RCC are faded until then.
function fade() {
  if (about === "rcc" && owner) above().toggleAttribute("data-undrawn", Boolean(pictured) && !`${owner.title} `.startsWith(`${pictured} `));
}

function take(here) {
  if (changed()) drafts.set(keyOf(owner), { to: owner, mine: values(), seen });
  const key = keyOf(here), draft = drafts.get(key), now = latest(here);
  drafts.delete(key);
  owner = here;
  fade();
  root.dataset.key = here.key;
  [seen, open, own, full] = [{}, {}, [], ""];
  for (const field of FIELDS) {
    const typed = draft && draft.mine[field] !== draft.seen[field];
    seen[field] = typed ? draft.seen[field] : now[field];
    put(field, typed ? draft.mine[field] : now[field]);
  }
  tell();
  keep();
  announce(`safe-${about}-owner`, { key: here.key });
}

// One request at a time: what is typed while one is on its way goes with the next.
function keep() {
  again = true;
  if (!flying) keeping = keepAll();
}

async function keepAll() {
  while (again) {
    again = false;
    for (const draft of [...drafts.values()]) await send(draft);
    if (owner && differ(decided(), seen)) await send({ to: owner, mine: decided(), seen });
  }
}

async function send(entry) {
  const { to, mine } = entry;
  let answer = null;
  flying = entry;
  try {
    answer = await server.keep_note([to.key, to.run, [entry.seen], mine, byWhom()]);
  } catch { /* the connection is lost */ } finally { flying = null; }
  let problem = answer?.problem;
  if (answer?.kept) {
    learn(keyOf(to), { ...answer.kept, at: answer.at });
    settle(to, Object.fromEntries(FIELDS.filter((field) => !answer.conflicts.includes(field)).map((field) => [field, mine[field]])));
    announce(`safe-${about}-noted`, answer.listed);
    announce("safe-kept", answer.stamps);
  } else {
    problem ||= "Not kept yet: SAFE does not answer. This is tried again.";
    clearTimeout(timer);
    if (!answer) timer = setTimeout(keep, AGAIN);
  }
  const conflicts = answer?.conflicts || [];
  if (same(to, owner)) {
    own = problem ? [line(problem)] : [];
    for (const field of conflicts) open[field] = question(field, answer.kept[field]);
  } else if (drafts.has(keyOf(to))) {
    drafts.get(keyOf(to)).problem = conflicts.length ? `another window changed it. Choose this ${said.noun} to decide.` : problem;
  }
  tell();
}

// These values are kept: they are what a later change begins from.
function settle(to, kept) {
  if (same(to, owner)) seen = { ...seen, ...kept };
  const key = keyOf(to), draft = drafts.get(key);
  if (!draft) return;
  draft.seen = { ...draft.seen, ...kept };
  if (!differ(draft.mine, draft.seen)) drafts.delete(key);
}

const line = (text, ...buttons) => made("p", "", text, ...buttons);

// Somebody else has changed a field meanwhile: the engineer decides; both texts stay in sight until then.
function question(field, theirs) {
  const text = theirs || (field === "verdict" ? "not judged" : "empty");
  const decide = (replaced) => () => {
    seen = { ...seen, [field]: theirs };
    if (replaced) put(field, theirs);
    delete open[field];
    tell();
    keep();
  };
  return line(`Another window changed the ${field}: “${text}”. Yours is not kept yet.`,
    textButton("Take theirs", decide(true)), textButton("Keep mine", decide(false)));
}

function tell() {
  const others = [...drafts.values()].filter((draft) => draft.problem).map((draft) => {
    const typed = FIELDS.filter((field) => draft.mine[field] !== draft.seen[field]).map((field) => `${field} “${draft.mine[field]}”`);
    return line(`Not kept of ${draft.to.title}: ${typed.join(", ")}; ${draft.problem}`,
      textButton("Discard", () => { drafts.delete(keyOf(draft.to)); tell(); }));
  });
  status.replaceChildren(...Object.values(open), ...own, ...(full ? [line(full)] : []), ...others);
}

// The window is left: what is on its way may be lost, and what is not yet is sent in a way that outlives it. Which of them
// comes first is not known, so the server is told of both what stood there and what may stand there by now.
function leave() {
  const entries = [...drafts.values(), ...(changed() ? [{ to: owner, mine: values(), seen }] : [])];
  for (const { to, mine, seen: before } of entries) {
    const states = flying && same(flying.to, to) ? [before, flying.mine] : [before];
    outliving("keep_note", to.key, to.run, states, mine, byWhom()).then(({ kept, conflicts }) => {
      if (kept && !conflicts.length) settle(to, mine);
    });
  }
}

element.addEventListener("input", ({ target }) => {
  full = target.maxLength > 0 && target.value.length >= target.maxLength ? `Not more than ${target.maxLength} characters.` : "";
  tell();
  keep();
});
element.addEventListener("change", keep);
element.addEventListener("focusout", () => { if (changed()) keep(); });
// Chosen by a click: what is typed from now on is about this one, before the server has answered.
function choose({ key, title }) {
  if (!owner) { early = { key, title }; return; }
  clicked = { key, run: owner.run, title };
  draw(keyOf(clicked), true);
  if (same(clicked, owner)) return;
  take(clicked);
  above().dataset.coming = title;
}
hears(`safe-${about}`, choose);
hears("safe-drawn", (name) => {
  pictured = name;
  fade();
});
hears("safe-settle", (kept) => kept.push(keeping));
leaves(leave);
shows("said", fill);
