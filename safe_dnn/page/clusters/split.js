// The two parts that an RCC may be split into, to look at before it is done. Props: asked (the RCC, the number of the last edit when
// its parts were found, and a moment), parts (HTML). Value: as asked, once it is done.
const dialog = $("dialog");

element.addEventListener("click", ({ target }) => {
  const what = target.closest("[data-do]")?.dataset.do;
  if (what) dialog.close();
  if (what !== "split") return;
  props.value = props.asked;
  trigger("select");
});
watch("asked", () => {
  $("dialog > div").innerHTML = props.parts;
  if (!dialog.open) dialog.showModal();
});
