// What the fields of the note are about. Value: JSON (see note.py), sent with the fields. Props: problem (why they are not kept).
// Nothing is typed or judged between the click on another reason and the answer; what is typed is stored in the browser until it
// is kept, which may be when the page is opened again.
const MOST = 5000;  // milliseconds until the fields can be used again where no answer comes
const DRAFT = `safe-note ${location.pathname}`, form = element.closest("#note");
let coming = null, timer = 0, opened = true;

const typed = () => ["#note-name input", "#note-verdict :checked", "#note-text textarea"].map((field) => form.querySelector(field)?.value ?? "");
const about = () => JSON.parse(props.value || "null");

function rest() {
  coming = null;
  form.inert = false;
  announce("safe-settled");
}

hears("safe-chosen", (key) => {
  coming = key;
  form.inert = true;
  clearTimeout(timer);
  timer = setTimeout(rest, MOST);
});
form.addEventListener("input", () => { localStorage.setItem(DRAFT, JSON.stringify([props.value, ...typed()])); });
shows("value", () => {
  const at = about();
  if (!at) return;
  announce("safe-at-hand", at.key);
  if (coming === at.key || props.problem) rest();
  const draft = JSON.parse(localStorage.getItem(DRAFT) || "[]").slice(1);
  if (opened ? !props.problem : `${draft}` === `${at.saved}`) localStorage.removeItem(DRAFT);
  opened = false;
});
shows("problem", () => { $("p").textContent = props.problem || ""; });
