// The two parts that an RCC may be split into, to look at before it is done. Props: asked (the RCC, the number of the last edit when
// its parts were found, and a moment), parts (HTML). Value: as asked, once it is done.
const dialog = $("dialog");

dialog.addEventListener("close", () => {
  if (dialog.returnValue !== "split") return;
  props.value = props.asked;
  trigger("select");
});
watch("asked", () => {
  $("dialog > div").innerHTML = props.parts;
  dialog.returnValue = "";
  if (!dialog.open) dialog.showModal();
});
