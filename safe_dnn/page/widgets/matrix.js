// The confusion matrix, a number in each cell to click. Props: value (the cell at hand as "row,column", "" if none), rows and
// columns (names of the true and of the predicted classes), cells (by row and column: images, and how many are wrong).
const table = $("table");

const heading = (name, scope) => made("th", { scope, title: name }, made("span", "", name));

function confused(row, column) {
  const [label, said] = [props.rows[row], props.columns[column]];
  return row === column ? `${label} taken for one another (right ones are not counted)` : `${label} taken for ${said}`;
}

function button(row, column, [images, wrong], most) {
  if (!images) return made("td");
  const number = images.toLocaleString("en");
  const label = wrong ? `${confused(row, column)}: ${number}` : `${props.rows[row]}: ${number} right`;
  return made("td", "", made("button", {
    type: "button", title: label, ariaLabel: label, tabIndex: -1, "data-row": row, "data-column": column, "data-wrong": wrong > 0,
    style: `--shade: ${Math.round(10 + 35 * (wrong ? wrong / most : 0.3))}%`,
  }, number));
}

const buttons = () => [...table.querySelectorAll("button")];

function build() {
  const { rows = [], columns = [], cells = [] } = props;
  table.dataset.many = rows.length > 7;
  const most = Math.max(1, ...cells.flat().map(([, wrong]) => wrong));
  const axes = "Rows: the true class. Columns: what the network said. Click a number to see its images, and again to leave them.";
  table.tHead.replaceChildren(made("tr", "", made("td", { title: axes }, "true ↓ said →"), ...columns.map((name) => heading(name, "col"))));
  table.tBodies[0].replaceChildren(...cells.map((line, row) =>
    made("tr", "", heading(rows[row], "row"), ...line.map((cell, column) => button(row, column, cell, most)))));
  mark();
}

function mark() {
  const all = buttons();
  for (const one of all) {
    one.setAttribute("aria-pressed", `${one.dataset.row},${one.dataset.column}` === props.value);
    one.tabIndex = -1;
  }
  // One stop of the tabulator key; arrow keys go on from there.
  const first = all.find((one) => one.getAttribute("aria-pressed") === "true") || all.find((one) => one.dataset.wrong === "true") || all[0];
  if (first) first.tabIndex = 0;
}

element.addEventListener("click", (event) => {
  const one = event.target.closest("button[data-row]");
  if (!one) return;
  const cell = `${one.dataset.row},${one.dataset.column}`;
  props.value = props.value === cell ? "" : cell;  // Gradio reads it when it sends the event: the last of quick clicks counts
  mark();
  trigger("select");
});
element.addEventListener("keydown", (event) => {
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  const one = event.target.closest("button[data-row]");
  if (!step || !one) return;
  event.preventDefault();
  const size = (props.cells || []).length;
  let [row, column] = [Number(one.dataset.row), Number(one.dataset.column)], next;
  do {  // over cells without images
    [row, column] = [row + step[0], column + step[1]];
    next = table.querySelector(`button[data-row="${row}"][data-column="${column}"]`);
  } while (!next && row >= 0 && column >= 0 && row < size && column < size);
  if (!next) return;
  for (const other of buttons()) other.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
watch("value", mark);
shows(["rows", "columns", "cells"], build);
// What was sent before this was on the page is lost.
setTimeout(() => { if (!(props.rows || []).length) trigger("opened"); });
