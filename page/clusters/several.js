// What is done with all RCCs that are ticked among the cards (see cards.js). Value: what is done, then the RCCs, each with
// the verdict on its card.
let ticked = [];

hears("safe-ticked", (detail) => {
  ticked = detail;
  $(".safe-several").hidden = !ticked.length;
  $("b").textContent = `${ticked.length} ticked`;
  $('[data-do="merge"]').disabled = ticked.length < 2;
});
element.addEventListener("click", (event) => {
  const what = event.target.closest("[data-do]")?.dataset.do;
  if (what === undefined) return;
  props.value = [what, ...ticked];
  announce("safe-untick");
  if (what) trigger("select");
});
