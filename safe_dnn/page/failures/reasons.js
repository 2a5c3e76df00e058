// Why the network fails, before anything is grouped: cards that open their images, and the curve of the one at hand. Props: value
// (the place of the card that is open, "" if none), reasons (the headline, cards and curves, as HTML).
function mark() {
  const cards = [...element.querySelectorAll("[data-opens]")], open = props.value || cards[0]?.dataset.opens;
  for (const card of cards) {
    card.setAttribute("aria-pressed", card.dataset.opens === props.value);
    card.classList.toggle("selected", card.dataset.opens === props.value);
  }
  for (const curve of element.querySelectorAll("[data-of]")) curve.hidden = curve.dataset.of !== open;
}

element.addEventListener("click", (event) => {
  const card = event.target.closest("[data-opens]");
  if (!card) return;
  props.value = props.value === card.dataset.opens ? "" : card.dataset.opens;  // Gradio reads it when it sends the event
  mark();
  trigger("select");
});
watch("value", mark);
shows("reasons", () => { $(".safe-failing").innerHTML = props.reasons || ""; mark(); });
// What was sent before this was on the page is lost.
setTimeout(() => { if (!props.reasons) trigger("opened"); });
