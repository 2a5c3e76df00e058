// The dialog that brings a folder, a ZIP file or a table from the engineer's own machine to the server, part by part.
const dialog = $("dialog"), bar = $("progress"), fields = JSON.parse(dialog.dataset.fields), kept = dialog.dataset.kept.split(" ");
const PART = 2 ** 21, WAITS = [1, 2, 4, 8, 15, 30, 60, 60, 60, 60, 60];  // bytes; seconds until the line is tried again
let button = null, field = null, sending = null;  // what opened it, its field, and what is on its way

const say = (text) => { $("[role=status]").textContent = text; };
const suffix = (name) => name.slice(name.lastIndexOf(".")).toLowerCase();
const megabytes = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 20 ? 2 : 0)} MB`;

atFields(Object.keys(fields), "Upload…", "of-upload", (from, of) => {
  if (!sending) [button, field] = [from, of];  // else it shows what is on its way
  const takes = fields[field.id];
  $("h2").textContent = fieldLabel(field);
  $("p").textContent = takes.folder
    ? "A folder of your machine, or a ZIP file: images, and tables such as predictions.csv or parameters.csv beside them. You can also drop a file here."
    : `A file of your machine (${takes.files}). You can also drop it here.`;
  $('[data-do="folder"]').hidden = !takes.folder;
  $('[data-do="file"]').textContent = takes.folder ? "Choose a ZIP file…" : "Choose a file…";
  $('[data-of="file"]').accept = takes.files;
  if (!sending) rest("");
  dialog.showModal();
}, (id) => dialog.dataset.hosted === "true" && (fields[id].folder ? "Upload a folder or a ZIP file" : "Upload a file"));

// Nothing is on its way (any more).
function rest(text) {
  sending = null;
  say(text);
  bar.hidden = true;
  $('[data-do="stop"]').textContent = "Close";
  dialog.querySelectorAll('[data-do="folder"], [data-do="file"]').forEach((one) => { one.disabled = false; });
}

// The answer to a request; where the line breaks, it is made again for some minutes.
async function asked(address, body, again = () => asked(address, body)) {
  const mine = sending;
  try {
    const answer = await fetch(address, { method: "POST", body, signal: mine.signal });
    if (answer.status >= 502) throw new Error();
    const told = await answer.json().catch(() => ({ problem: "SAFE does not answer as expected. Reload the page, and choose the same again: it goes on from there." }));
    mine.tried = 0;
    return told;
  } catch (error) {
    if (mine.signal.aborted || mine.tried >= WAITS.length) throw error;
    const seconds = WAITS[mine.tried++];
    say(`The line broke. It goes on in ${seconds} s, from where it was.`);
    await new Promise((done) => { setTimeout(done, 1000 * seconds); });
    if (mine.signal.aborted) throw error;
    return again();
  }
}

async function bring(name, files) {
  const stop = new AbortController(), whole = new Blob(files.map(([, file]) => file)), into = field;
  sending = { stop, signal: stop.signal, tried: 0, id: "" };
  dialog.querySelectorAll('[data-do="folder"], [data-do="file"]').forEach((one) => { one.disabled = true; });
  $('[data-do="stop"]').textContent = "Stop";
  bar.hidden = false;
  say("Beginning …");
  try {
    const sizes = files.map(([path, file]) => [path, file.size]);
    const begin = () => asked("upload", JSON.stringify({ name, files: sizes }));
    let answer = await begin(), started = performance.now(), from = answer.received;
    sending.id = answer.id;
    while (!answer.problem && answer.received < whole.size) {
      const at = answer.received;
      const seconds = (performance.now() - started) / 1000, left = at > from ? (seconds * (whole.size - at)) / (at - from) : 0;
      bar.value = at / whole.size;
      say(`${megabytes(at)} of ${megabytes(whole.size)}${left > 2 ? `, about ${Math.ceil(left)} s left` : ""}`);
      answer = await asked(`upload/${sending.id}?at=${at}`, whole.slice(at, at + PART), begin);
      if (answer.received <= at) { [from, started] = [answer.received, performance.now()]; }
    }
    while (!answer.problem && !answer.path) {
      answer = await asked(`upload/${sending.id}?finish`);
      if (!answer.total) continue;
      bar.value = answer.done / answer.total;
      say(`Unpacking, ${answer.done} of ${answer.total}`);
    }
    if (answer.problem) { rest(answer.problem); return; }
    typeIn(into, answer.path);
    const table = document.getElementById("failures-answers");  // the network's answers may have come with its test set
    if (answer.answers && into.id === "failures-test" && table && !fieldBox(table).value) typeIn(table, answer.answers);
    rest(answer.notes);
    $('[data-do="stop"]').textContent = "Done";
    $('[data-do="stop"]').focus();
  } catch {
    rest(stop.signal.aborted ? "Stopped. Nothing was kept." : "The line broke. Choose the same again: it goes on from where it was.");
  }
}

function choose(list) {
  const folder = list[0]?.webkitRelativePath.split("/")[0] ?? "";
  const inside = [...list].map((file) => [folder ? file.webkitRelativePath.slice(folder.length + 1) : file.name, file]);
  const files = folder ? inside.filter(([path]) => kept.includes(suffix(path)) && !/(^|\/)\./.test(path)) : inside;
  if (sending || !list.length) return;
  if (!files.length) say(`There is nothing to bring in ${folder}: neither images nor tables.`);
  else bring(folder || list[0].name.replace(/\.[^.]*$/, ""), files);
}

function stop() {
  if (!sending) { dialog.close(); return; }
  const { id, stop: stopping } = sending;
  stopping.abort();
  if (id) fetch(`upload/${id}?stop`, { method: "POST" });
}

for (const kind of ["folder", "file"]) {
  const input = $(`[data-of="${kind}"]`);
  $(`[data-do="${kind}"]`).addEventListener("click", () => { input.value = ""; input.click(); });
  input.addEventListener("change", () => choose(input.files));
}
dialog.addEventListener("dragover", (event) => event.preventDefault());
dialog.addEventListener("drop", (event) => { event.preventDefault(); choose(event.dataTransfer.files); });
$('[data-do="stop"]').addEventListener("click", stop);
dialog.addEventListener("close", () => button?.focus({ preventScroll: true }));
