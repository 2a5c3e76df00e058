// Brings images, a ZIP file or a table from the engineer's own machine: a button at each field presses Gradio's, and what
// comes of it is filled in. Props: fields (which files each takes), images (whether it takes images, too), brought.
let button = null, field = null;
const line = made("p", { className: "safe-brought", role: "status" });

const hint = (id) => (props.hosted ? `Upload ${props.images[id] ? "images or a ZIP file" : "a file"}` : "");

atFields(Object.keys(props.fields), "Upload…", "of-upload", (from, of) => {
  if (button?.ariaBusy === "true") return;
  [button, field] = [from, of];
  const input = document.querySelector("input[data-testid='Upload-upload-button']");
  input.accept = props.fields[field.id] + (props.images[field.id] ? ",image/*" : "");
  input.addEventListener("change", () => { if (input.files.length) busy(true); }, { once: true });
  input.click();
}, hint);

function busy(is) {
  if (!button) return;
  button.ariaBusy = String(is);
  button.textContent = is ? "Uploading…" : "Upload…";
}

watch("brought", () => {
  if (!props.brought || !field) return;
  const { path, notes, answers, problem } = JSON.parse(props.brought);
  busy(false);
  line.textContent = problem || notes;
  field.append(line);
  if (!path) return;
  typeIn(field, path);
  const table = document.getElementById("failures-answers");  // the network's answers may have come with its test set
  if (answers && field.id === "failures-test" && table && !fieldBox(table).value) typeIn(table, answers);
});
