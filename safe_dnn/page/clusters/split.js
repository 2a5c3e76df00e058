// The two parts that an RCC may be split into, to look at before it is done. Props: parts (JSON, see split.py).
// Value: the RCC, and the number of the last edit when its parts were found.
const dialog = $("dialog");
let asked = {};

function show() {
  asked = JSON.parse(props.parts || "{}");
  if (!asked.parts) return;
  $("h2").textContent = `Split ${asked.title} into two?`;
  $("dialog > div").replaceChildren(...asked.parts.map(({ words, pictures }) => made("section", "", made("h3", "", words),
    made("div", "", ...pictures.map((src) => made("img", { src, alt: "" }))))));
  if (!dialog.open) dialog.showModal();
}

element.addEventListener("click", (event) => {
  const what = event.target.closest("[data-do]")?.dataset.do;
  if (!what) return;
  dialog.close();
  if (what !== "split") return;
  props.value = [asked.rcc, asked.seen];
  trigger("select");
});
shows("parts", show);
