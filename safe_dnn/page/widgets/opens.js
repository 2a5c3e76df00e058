// Counts of which each opens its images. Props: value (what is opened, "" if nothing). The scripts behind this one build them.

// A count that opens images, and what it counts, in words.
function opener(text, opens, counted) {
  const label = `${counted}: ${text}. Show these images`;
  return made("button", { type: "button", title: "Show these images", "data-opens": opens, ariaLabel: label }, text);
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
