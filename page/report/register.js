// The register: saved as a table, read back from one, and what is missing. What is taken over was shown before.
const file = $("input"), take = $('[data-do="take"]'), missing = $("details");
let read = "", shown = [];  // the table, as base64, and what it would change

const list = (name, texts) => $(`[data-list="${name}"]`).replaceChildren(...texts.map((text) => made("li", "", text)));

async function ask(what, ...sent) {
  let answer = { problem: "SAFE does not answer. Try again." };
  try { answer = await server.register_table([what, ...sent]); } catch { /* the connection is lost */ }
  if (what !== "missing" || answer.problem) $("[role=status]").textContent = answer.problem || answer.news || "";
  return answer;
}

function show(changes = []) {
  shown = changes;
  list("changes", shown);
  take.hidden = !shown.length;
}

async function look() {
  if (missing.open) list("missing", (await ask("missing")).missing || []);
}

$('[data-do="save"]').addEventListener("click", async () => {
  const { text } = await ask("save");
  if (text === undefined) return;
  const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  made("a", { href, download: "register.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
});
missing.addEventListener("toggle", look);
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
  show((await ask("take", read, shown, document.querySelector("#visitor textarea, #visitor input")?.value ?? "")).changes);
  take.disabled = false;
  look();
});
