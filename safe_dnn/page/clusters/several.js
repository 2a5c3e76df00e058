// What is done with all RCCs that are ticked among the cards (see cards.js). Value: what is done, then the RCCs, each with
// the verdict on its card.
let ticked = [], ticking = false;

function show() {
  $(".safe-several").hidden = !ticked.length && !ticking;
  $("b").textContent = ticked.length ? `${ticked.length} ticked` : "Click the RCCs to tick";
  for (const button of element.querySelectorAll("button")) button.hidden = !ticked.length;
  $('[data-do="merge"]').disabled = ticked.length < 2;
}

hears("safe-ticked", (detail) => {
  ticked = detail;
  show();
});
hears("safe-ticking", (detail) => {
  ticking = detail;
  show();
});
element.addEventListener("click", (event) => {
  const what = event.target.closest("[data-do]")?.dataset.do;
  if (what === undefined) return;
  props.value = [what, ...ticked];
  announce("safe-untick");
  if (what) trigger("select");
});
