// The weak spots, each with a bar of its failure rate. Props: value (key of the one at hand, "" if none), base (the
// failure rate of the whole test set), spots (rank, key, title of the level that it begins, where, rate, low, high, figures, overlaps, said), stays (whether
// the one at hand is meant to stay at hand), told and more (sentences above the list), named (rank, key, said: what the engineer says of those that have changed).
// spots and named are texts (JSON).
let clicked = "";  // key
let shownRun = "", shownAt = 0;  // of the answer that is shown
const given = (name) => JSON.parse(props[name] || '{"entries": []}'), since = newest("key");

const buttonOf = (rank) => element.querySelector(`[data-rank="${Number(rank)}"]`);

// The engineer's verdict and name.
function says(line, { verdict, mark, name }) {
  const judged = made("span", { className: "safe-spot-verdict", "data-verdict": verdict }, mark);
  line.replaceChildren(...(verdict ? [judged] : []), ...(name ? [made("span", "safe-spot-name", name)] : []));
}

function rename(news) {
  since.hear(news);
  for (const { rank, key, said } of since.of(news)) {
    const button = buttonOf(rank);
    if (button?.dataset.key === key) says(button.querySelector(".safe-spot-says"), said);
  }
}

function build() {
  const { run, at } = given("spots");
  if (run === shownRun && at < shownAt) return;  // an answer that was on its way when a later one came
  [shownRun, shownAt] = [run, at];
  const list = $(".safe-spots-list");
  $("p").textContent = props.told || "";
  const [first, ...rest] = (props.more || "").split(/(?<=\.) (?=[A-Z])/);
  $("details").hidden = !first;
  $("summary").textContent = first;
  $("details p").textContent = rest.join(" ");
  list.replaceChildren(...since.of(given("spots")).flatMap((spot) => {
    const line = made("span", "safe-spot-says");
    says(line, spot.said);
    const words = made("span", "safe-spot-words", made("b", "", spot.where), line, made("span", "", spot.figures),
      ...(spot.overlaps ? [made("span", { className: "safe-spot-rccs", innerHTML: spot.overlaps })] : []));
    const button = made("button", { type: "button", className: "safe-spot", "data-rank": spot.rank, "data-key": spot.key },
      made("span", "safe-spot-rank", spot.rank), words, rateBar(spot, props.base));
    return spot.title ? [made("h4", "safe-spots-level", spot.title), button] : [button];
  }));
  mark();
  if (!props.stays) clicked = "";
  // The answer to a question from before the click
  const button = [...list.children].find(({ dataset }) => dataset.key === clicked);
  if (button && props.value !== clicked) choose(button);
  announce("safe-listed", { kind: "spot" });
}

function mark() {
  for (const button of element.querySelectorAll("[data-rank]")) {
    button.setAttribute("aria-pressed", button.dataset.key === props.value);
  }
}

function choose(button) {
  // Gradio reads the value when it sends the event: of quick clicks the last counts.
  props.value = clicked = button.dataset.key;
  mark();
  // What is typed from now on is about this one, though what there is to show of it comes later (see note.js).
  const title = button.querySelector("b").textContent;
  announce("safe-spot", { key: button.dataset.key, title });
  trigger("select");
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-rank]");
  if (button) choose(button);
});
watch("named", () => rename(given("named")));
hears("safe-spot-noted", (detail) => rename(detail));
watch("value", mark);
shows(["spots", "base", "told", "more"], build);
