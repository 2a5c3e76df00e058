// The register: what is said of each reason, filtered by what is missing; saved as a table, and read back from one. What is
// taken over was shown before.
const file = $("input"), take = $('[data-do="take"]'), filter = $("[data-filter]");
const ALL = "all reasons", LACKING = "all with something missing";
let read = "", shown = [], rows = [];  // the table, as base64, what it would change, and what is said

async function ask(what, ...sent) {
  let answer = { problem: "SAFE does not answer. Try again." };
  try { answer = await server.register_table([what, ...sent]); } catch { /* the connection is lost */ }
  if (what !== "rows" || answer.problem) $("[role=status]").textContent = answer.problem || answer.news || "";
  return answer;
}

function show(changes = []) {
  shown = changes;
  const list = $('[data-list="changes"]');
  list.replaceChildren(...shown.map((text) => made("li", "", text)));
  list.hidden = take.hidden = !shown.length;
}

function draw() {
  const kinds = [...new Set(rows.flatMap((row) => row.lacks))], chosen = filter.value || ALL;
  filter.replaceChildren(...[ALL, LACKING, ...kinds].map((kind) => made("option", { value: kind, selected: kind === chosen }, kind)));
  const wanted = rows.filter((row) => filter.value === ALL || (filter.value === LACKING ? row.lacks.length : row.lacks.includes(filter.value)));
  $("tbody").replaceChildren(...wanted.map((row) => made("tr", "",
    made("th", { scope: "row" }, made("a", { href: `#${new URLSearchParams([row.link])}` }, row.reason), made("span", "", row.about)),
    ...row.cells.map((text) => made("td", "", text)),
    made("td", "", made("button", { type: "button", "data-key": row.key, title: `Fill in the register for ${row.reason}` }, "Fill in")))));
}

async function look() {
  if (!element.getClientRects().length) return;
  rows = (await ask("rows")).rows || rows;
  draw();
}

// --- The fields of one reason, each kept when it is left -----------------------------------------------------------

const dialog = $("dialog"), state = dialog.querySelector("[role=status]");
let at = null;  // its row
const stood = (field) => at.fields[field.dataset.field];

$("tbody").addEventListener("click", ({ target }) => {
  at = rows.find(({ key }) => key === target.dataset.key) ?? null;
  if (!at) return;
  $("#entry-title").textContent = [at.reason, at.about].filter(Boolean).join(" · ");
  state.textContent = "";
  for (const field of dialog.querySelectorAll("[data-field]")) field.value = stood(field);
  dialog.showModal();
});

async function keep(field) {
  const row = at, name = field.dataset.field, text = field.value;
  const answer = await server.register_table(["say", row.key, name, row.fields[name], text, byWhom()])
    .catch(() => ({ problem: "Not kept yet: SAFE does not answer. Change it again, or close to try again." }));
  state.textContent = answer.problem || answer.news || "";
  if (answer.kept !== undefined) row.fields[name] = answer.kept;
}

dialog.addEventListener("change", ({ target }) => keep(target));
async function close() {
  const typed = [...dialog.querySelectorAll("[data-field]")].filter((field) => field.value !== stood(field));
  for (const field of typed) await keep(field);
  if (typed.every((field) => field.value === stood(field))) dialog.close();
  look();
}
$('[data-do="close"]').addEventListener("click", close);
dialog.addEventListener("cancel", (event) => { event.preventDefault(); close(); });
leaves(() => {
  if (!dialog.open) return;
  for (const field of dialog.querySelectorAll("[data-field]")) {
    if (field.value !== stood(field)) outliving("register_table", "say", at.key, field.dataset.field, stood(field), field.value, byWhom());
  }
});

$('[data-do="save"]').addEventListener("click", async () => {
  const { text } = await ask("save");
  if (text === undefined) return;
  const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  made("a", { href, download: "register.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
});
filter.addEventListener("change", draw);
file.addEventListener("change", () => {
  const reader = new FileReader();
  reader.onload = async () => {
    read = reader.result.split(",")[1] ?? "";
    show((await ask("read", read)).changes);
  };
  if (file.files.length) reader.readAsDataURL(file.files[0]);
  file.value = "";  // the same file can be read again
});
take.addEventListener("click", async () => {
  take.disabled = true;
  show((await ask("take", read, shown, byWhom())).changes);
  take.disabled = false;
  look();
});
new IntersectionObserver(([seen]) => { if (seen.isIntersecting) look(); }).observe(element);
