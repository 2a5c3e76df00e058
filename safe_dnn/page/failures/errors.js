// The errors of a regression, and a slider for the threshold. Props: value (the threshold that was taken, as text), bars (images
// by error), per (places of the slider in a bar), step (the error from one place to the next), above (by place: images with a
// larger error), of (all images), threshold and failing (as they were collected; threshold is null if it is not known).
const slider = $("input"), take = $("button"), bars = $(".safe-errors-bars");
const short = (number) => String(Number(number.toPrecision(6)));
const collected = () => Math.min(Math.round(props.threshold / props.step), props.above.length - 1);

function build() {
  const { bars: heights = [], above = [], threshold = null, step = 1 } = props;
  if (!above.length) return;
  const most = Math.max(1, ...heights);
  bars.replaceChildren(...heights.map((images) => made("i", { style: `height: ${images ? Math.max(100 * images / most, 1) : 0}%`, title: images })));
  slider.max = above.length - 1;
  element.querySelector(".safe-errors-ends span:last-child").textContent = short((above.length - 1) * step);
  slider.value = threshold === null ? 0 : collected();
  for (const one of [slider, take, $(".safe-errors-now")]) one.hidden = threshold === null;
  say();
}

function say() {
  if (props.threshold === null || !props.above.length) return;
  const place = Number(slider.value), moved = place !== collected();
  const threshold = moved ? place * props.step : props.threshold, failing = moved ? props.above[place] : props.failing;
  const share = (100 * failing / Math.max(props.of, 1)).toFixed(1), count = (n) => n.toLocaleString("en");
  const now = moved ? ` Collected above ${short(props.threshold)}: ${count(props.failing)}.` : "";
  $(".safe-errors-now").textContent = `Above ${short(threshold)}: ${count(failing)} of ${count(props.of)} fail (${share}%).${now}`;
  slider.setAttribute("aria-valuetext", short(threshold));
  take.disabled = !moved || !place;
  [...bars.children].forEach((bar, index) => { bar.dataset.wrong = (index + 0.5) * props.per * props.step > threshold; });
  bars.style.setProperty("--at", `${100 * Math.min(threshold / props.step / (bars.children.length * props.per), 1)}%`);
}

slider.addEventListener("input", say);
take.addEventListener("click", () => {
  props.value = short(Number(slider.value) * props.step);
  trigger("select");
});
shows(["above", "bars", "threshold", "failing"], build);
// What was sent before this was on the page is lost.
setTimeout(() => { if (!(props.above || []).length) trigger("opened"); });
