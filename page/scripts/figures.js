// Figures as tiles; one that counts images opens them. Props: value (what is opened, "" if nothing), tiles (title, figure,
// more, and opens: the name of its images, "" if it has none).
const list = element.querySelector("dl");

function made(tag, text) {
  return Object.assign(document.createElement(tag), { textContent: text });
}

function build() {
  list.replaceChildren(...(props.tiles || []).map(({ title, figure, more, opens }) => {
    const tile = document.createElement("div"), value = document.createElement("dd");
    if (opens) {
      const button = made("button", figure);
      Object.assign(button, { type: "button", title: "Show these images" });
      button.dataset.opens = opens;
      button.setAttribute("aria-label", `${title}: ${figure}. Show these images`);
      value.append(button);
    } else value.append(figure);
    value.append(made("small", more));
    tile.append(made("dt", title), value);
    return tile;
  }));
  mark();
}

function mark() {
  for (const one of list.querySelectorAll("button")) one.setAttribute("aria-pressed", one.dataset.opens === props.value);
}

element.addEventListener("click", (event) => {
  const one = event.target.closest("[data-opens]");
  if (!one) return;
  props.value = one.dataset.opens;  // Gradio reads it when it sends the event: the last of quick clicks counts
  mark();
  trigger("select");
});
watch("tiles", build);
watch("value", mark);
build();
// What was sent before this was on the page is lost.
setTimeout(() => { if (!(props.tiles || []).length) trigger("opened"); });
