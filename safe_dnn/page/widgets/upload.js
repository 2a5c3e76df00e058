// Brings images, a ZIP file or a table from the engineer's own machine: a button at each field presses Gradio's, and what
// comes of it is filled in. Props: fields (which files each takes), images (whether it takes images, too), hosted, brought.
const boxOf = (field) => field.querySelector("textarea, input");
const line = made("p", { className: "safe-brought", role: "status" });
let button = null, field = null;  // what was pressed last

// Also at fields that Gradio mounts when what is folded is opened.
function addButtons() {
  for (const id of Object.keys(props.fields)) {
    const at = document.getElementById(id), text = at?.querySelector("[data-testid='block-info']")?.textContent.trim();
    if (!at || at.querySelector(".safe-upload")) continue;
    at.append(made("button", { type: "button", className: "safe-upload", ariaLabel: `Upload… ${text}`, onclick: ({ target }) => bring(target, at) }, "Upload…"));
    if (props.hosted) boxOf(at).placeholder = `Upload ${props.images[id] ? "images or a ZIP file" : "a file"}`;
  }
}

function bring(from, to) {
  if (boxOf(to).disabled || button?.ariaBusy === "true") return;
  [button, field] = [from, to];
  const input = document.querySelector("input[data-testid='Upload-upload-button']");
  input.accept = props.fields[field.id] + (props.images[field.id] ? ",image/*" : "");
  input.addEventListener("change", () => { if (input.files.length) busy(true); }, { once: true });
  input.click();
}

function busy(is) {
  button.ariaBusy = String(is);
  button.textContent = is ? "Uploading…" : "Upload…";
}

// Fills in a field as if it were typed into.
function typeIn(box, text) {
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(box), "value").set.call(box, text);
  box.dispatchEvent(new Event("input", { bubbles: true }));
  setTimeout(() => box.dispatchEvent(new Event("blur")), 50);  // some fields are read when they are left
}

watch("brought", () => {
  if (!props.brought || !field) return;
  const { path, notes, answers, problem } = JSON.parse(props.brought);
  busy(false);
  line.textContent = problem || notes;
  field.append(line);
  if (!path) return;
  typeIn(boxOf(field), path);
  const table = document.querySelector("#failures-answers :is(textarea, input)");  // they may have come with its test set
  if (answers && field.id === "failures-test" && table && !table.value) typeIn(table, answers);
});
let waiting = 0;
new MutationObserver(() => { waiting ||= setTimeout(() => { waiting = 0; addButtons(); }, 100); }).observe(document.body, { childList: true, subtree: true });
addButtons();
