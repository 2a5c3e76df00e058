// The errors of a regression, and a slider for the threshold. Props: value (the threshold that was taken, as text), drawn (HTML), per
// (places of the slider in a bar), step (the error from one place to the next), above (by place: images with a larger error), of
// (all images), threshold, its place and failing (as they were collected).
const short = (number) => String(Number(number.toPrecision(6))), count = (n) => n.toLocaleString("en");

function say() {
  const slider = $("input"), bars = $(".safe-errors-bars");
  if (!slider) return;
  const place = Number(slider.value), moved = place !== props.place;
  const threshold = moved ? place * props.step : props.threshold, failing = moved ? props.above[place] : props.failing;
  const now = moved ? ` Collected above ${short(props.threshold)}: ${count(props.failing)}.` : "";
  const share = (100 * failing / Math.max(props.of, 1)).toFixed(1);
  $(".safe-errors-now").textContent = `Above ${short(threshold)}: ${count(failing)} of ${count(props.of)} fail (${share}%).${now}`;
  slider.setAttribute("aria-valuetext", short(threshold));
  $("button").disabled = !moved || !place;
  [...bars.children].forEach((bar, index) => { bar.dataset.wrong = (index + 0.5) * props.per * props.step > threshold; });
  bars.style.setProperty("--at", `${100 * Math.min(threshold / props.step / (bars.children.length * props.per), 1)}%`);
}

element.addEventListener("input", say);
element.addEventListener("click", ({ target }) => {
  if (!target.closest("button")) return;
  props.value = short(Number($("input").value) * props.step);
  trigger("select");
});
shows(["drawn", "threshold", "failing"], () => { $(".safe-errors").innerHTML = props.drawn || ""; say(); });
