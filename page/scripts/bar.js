// The row of all RCCs. Props: value (the RCC at hand), faces (rcc, caption, loose, picture), named (rcc, caption: those that
// have changed). Gradio asks for the value when it sends the event, so of clicks in quick succession the last one counts.
const row = element.querySelector(".safe-bar");
const faces = () => [...row.querySelectorAll(".thumbnail-item")];
const faceOf = (rcc) => row.querySelector(`[data-rcc="${Number(rcc)}"]`);

function caption(face, text) {
  face.title = text;
  face.querySelector(".caption-label").textContent = text;
}

function build() {
  row.replaceChildren(...(props.faces || []).map((entry) => {
    const face = document.createElement("button"), image = document.createElement("img");
    const text = document.createElement("span");
    face.type = "button";
    face.className = "thumbnail-item";
    face.dataset.rcc = entry.rcc;
    face.classList.toggle("loose", Boolean(entry.loose));
    text.className = "caption-label";
    image.src = entry.picture;
    image.alt = "";  // the caption says it
    image.loading = "lazy";
    face.append(image, text);
    caption(face, entry.caption);
    return face;
  }));
  mark();
}

function mark() {
  const chosen = faceOf(props.value);
  for (const face of faces()) {
    face.classList.toggle("selected", face === chosen);
    face.setAttribute("aria-pressed", face === chosen);
  }
  if (!chosen) return;
  // Sideways only: an RCC that is chosen on the map must not scroll the page.
  const left = chosen.offsetLeft - row.offsetLeft, right = left + chosen.offsetWidth;
  if (left < row.scrollLeft || right > row.scrollLeft + row.clientWidth) {
    row.scrollLeft = left - (row.clientWidth - chosen.offsetWidth) / 2;
  }
}

function rename() {
  for (const { rcc, caption: text } of props.named || []) {
    const face = faceOf(rcc);
    if (face) caption(face, text);
  }
}

function choose(face) {
  props.value = Number(face.dataset.rcc);
  mark();
  // What is typed from now on is about this RCC, though what there is to show of it comes later (see note.js).
  document.dispatchEvent(new CustomEvent("safe-rcc", { detail: { key: props.value, title: `RCC ${props.value}` } }));
  trigger("select");
}

element.addEventListener("click", (event) => {
  const face = event.target.closest(".thumbnail-item");
  if (face) choose(face);
});
element.addEventListener("keydown", (event) => {
  const all = faces(), at = all.indexOf(event.target.closest(".thumbnail-item"));
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  if (!all[to]) return;
  all[to].focus();
  choose(all[to]);
});
watch("faces", build);
watch("named", rename);
watch("value", mark);
build();
