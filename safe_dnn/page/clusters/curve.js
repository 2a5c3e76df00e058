// How often the network is wrong over the range of what the weak spot at hand is about. Props: curve (an SVG drawing). Value:
// a column, the ends of a range, empty where it is open, and a category, once one of them was clicked.
element.addEventListener("click", ({ target }) => {
  const { column, low = "", high = "", value = "" } = target.closest(".safe-bin")?.dataset ?? {};
  if (!column) return;
  props.value = [column, low, high, value];
  trigger("select");
});
shows("curve", () => { $(".safe-curve").innerHTML = props.curve || ""; });
