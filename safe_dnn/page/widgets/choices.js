// Parts that open images where they are clicked: tiles, cells of a matrix, cards. A second click goes back to what is open at
// first. Props: value (what is open, "" if nothing), first (what is open at first, "" if nothing), parts (HTML, where `data-opens`
// says what each opens).
const parts = () => [...element.querySelectorAll("[data-opens]")];
const stop = (cell) => { for (const one of element.querySelectorAll("td button")) one.tabIndex = one === cell ? 0 : -1; };

function mark() {
  const all = parts(), open = all.find((one) => one.dataset.opens === props.value);
  for (const one of all) one.setAttribute("aria-pressed", one === open);
}

element.addEventListener("click", ({ target }) => {
  const opens = target.closest("[data-opens]")?.dataset.opens;
  if (!opens) return;
  props.value = props.value === opens ? props.first : opens;  // Gradio reads it when it sends the event: the last of quick clicks counts
  mark();
  trigger("select");
});
// A matrix is one stop of the tabulator key; arrow keys go on from there, over cells without images.
element.addEventListener("focusin", ({ target }) => { if (target.closest("td")) stop(target); });
element.addEventListener("keydown", (event) => {
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key], cell = event.target.closest("td");
  if (!step || !cell) return;
  event.preventDefault();
  let row = cell.parentElement.sectionRowIndex, column = cell.cellIndex, next;
  do {
    [row, column] = [row + step[0], column + step[1]];
    next = cell.closest("tbody").rows[row]?.cells[column];
  } while (next && !next.firstElementChild);
  next?.querySelector("button")?.focus();
});
watch("value", mark);
shows("parts", () => { $(".safe-choices").innerHTML = props.parts || ""; mark(); });
