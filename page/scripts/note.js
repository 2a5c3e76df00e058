// What the engineer says of an RCC. Props: said (rcc, run, name, note, verdict, lengths); value: the RCC kept last.
// Fields belong to the RCC that they were filled in with: what is typed is sent with it, and with what stood there
// before, so that the server can tell a change from what merely stood in this window.
const FIELDS = ["name", "note", "verdict"];
const status = element.querySelector(".safe-note-state");
const input = (field) => element.querySelector(`[data-field="${field}"]`);
const radio = (value) => element.querySelector(`[name="verdict"][value="${value}"]`);
let owner = null;  // rcc and run that the fields belong to
let seen = {};  // by field: what stood there when it was last filled in or kept
let sending = false;

function get(field) {
  if (field !== "verdict") return input(field).value;
  return element.querySelector('[name="verdict"]:checked')?.value ?? "";
}

function put(field, value) {
  if (field === "verdict") radio(value).checked = true;
  else if (input(field).value !== value) input(field).value = value;
}

const changed = () => owner && FIELDS.some((field) => get(field) !== seen[field]);
const same = (a, b) => a && b && a.rcc === b.rcc && a.run === b.run;

function fill() {
  const said = props.said;
  if (!said) return;
  const here = { rcc: said.rcc, run: said.run };
  for (const field of ["name", "note"]) input(field).maxLength = said.lengths[field];
  if (same(owner, here)) {
    // What is being typed here stays; the rest follows what others have written.
    for (const field of FIELDS) {
      if (get(field) !== seen[field]) continue;
      put(field, said[field]);
      seen[field] = said[field];
    }
    return;
  }
  if (changed()) send(owner, values(), { ...seen });  // of the RCC before, typed as this one was chosen
  owner = here;
  tell("");
  for (const field of FIELDS) {
    put(field, said[field]);
    seen[field] = said[field];
  }
}

const values = () => Object.fromEntries(FIELDS.map((field) => [field, get(field)]));

async function send(to, mine, before) {
  const answer = await server.keep_note([to.rcc, to.run, before, mine]);
  if (answer?.kept) {
    props.value = to.rcc;
    trigger("kept");
  }
  return answer;
}

// One request at a time: what is typed while one is on its way goes with the next.
async function keep() {
  if (sending) return;
  sending = true;
  try {
    while (changed()) {
      const to = owner, mine = values();
      let answer = null;
      try { answer = await send(to, mine, { ...seen }); } catch { /* the connection is lost */ }
      if (!same(to, owner)) continue;
      if (!answer?.kept) {
        tell(answer?.problem || "Not kept: SAFE does not answer. It is kept when you type on, or leave the field.");
        break;
      }
      for (const field of FIELDS) seen[field] = answer.conflicts.includes(field) ? seen[field] : mine[field];
      if (answer.conflicts.length) {
        ask(answer.conflicts, answer.kept);
        break;
      }
      tell(answer.problem || "");
    }
  } finally { sending = false; }
}

function tell(text) {
  status.textContent = text;
}

// Somebody else has changed a field meanwhile: the engineer decides; both texts stay in sight until then.
function ask(conflicts, kept) {
  status.replaceChildren(...conflicts.map((field) => {
    const line = document.createElement("p"), theirs = document.createElement("button");
    const mine = document.createElement("button");
    const value = kept[field] || (field === "verdict" ? "not judged" : "nothing");
    line.append(`Meanwhile another window has changed the ${field} to “${value}”. Yours is not kept yet.`, theirs, mine);
    theirs.type = mine.type = "button";
    theirs.textContent = "Take theirs";
    mine.textContent = "Keep mine";
    theirs.onclick = () => { seen[field] = kept[field]; put(field, kept[field]); line.remove(); keep(); };
    mine.onclick = () => { seen[field] = kept[field]; line.remove(); keep(); };
    return line;
  }));
}

element.addEventListener("input", keep);
element.addEventListener("change", keep);
element.addEventListener("focusout", keep);
watch("said", fill);
fill();
