// Figures as tiles; one that counts images opens them. Props: value (what is opened, "" if nothing), tiles (title, figure,
// more, opens: the name of its images, "" if it has none, and hint, a tooltip).
// A count that opens images, and what it counts, in words.
function opener(text, opens, counted, hint) {
  const label = `${counted}: ${text}. Show these images`;
  return made("button", { type: "button", title: hint || "Show these images", "data-opens": opens, ariaLabel: label }, text);
}

function mark() {
  for (const one of element.querySelectorAll("[data-opens]")) {
    one.setAttribute("aria-pressed", one.dataset.opens === props.value);
  }
}

element.addEventListener("click", (event) => {
  const one = event.target.closest("[data-opens]");
  if (!one) return;
  props.value = one.dataset.opens;  // Gradio reads it when it sends the event: the last of quick clicks counts
  mark();
  trigger("select");
});
watch("value", mark);

function build() {
  $("dl").replaceChildren(...(props.tiles || []).map(({ title, figure, more, opens, hint = "" }) => made("div", { title: hint },
    made("dt", "", title), made("dd", "", opens ? opener(figure, opens, title, hint) : figure, made("small", "", more)))));
  mark();
}

shows("tiles", build);
// What was sent before this was on the page is lost.
setTimeout(() => { if (!(props.tiles || []).length) trigger("opened"); });
