// The confusion matrix, a number in each cell to click. Props: value (the cell at hand as "row,column", "" if none), rows and
// columns (names of the true and of the predicted classes), cells (by row and column: images, and how many are wrong),
// nothing (the row of a detector's false detections and the column of missed objects; -1 if there are none).
const table = element.querySelector("table");

function made(tag, text, properties = {}) {
  const part = Object.assign(document.createElement(tag), properties);
  part.textContent = text;
  return part;
}

function heading(name, scope) {
  const cell = made("th", "", { scope, title: name });
  cell.append(made("span", name));
  return cell;
}

function confused(row, column) {
  const [label, said] = [props.rows[row], props.columns[column]];
  if (column === props.nothing) return `${label}, ${said}`;
  return row === props.nothing ? `false detections of ${said}` : `${label} taken for ${said}`;
}

function button(row, column, [images, wrong], most) {
  const cell = document.createElement("td");
  if (!images) {
    cell.append(made("span", "·"));
    return cell;
  }
  const told = `${confused(row, column)}: ${images.toLocaleString("en")}`;
  const right = row === column ? `${props.rows[row]}: ${(images - wrong).toLocaleString("en")} ${props.nothing >= 0 ? "found" : "right"}` : "";
  const label = !right ? told : wrong ? `${right}, ${wrong.toLocaleString("en")} wrong` : right;
  const one = made("button", images.toLocaleString("en"), { type: "button", title: label, tabIndex: -1 });
  one.setAttribute("aria-label", label);
  [one.dataset.row, one.dataset.column] = [row, column];
  one.dataset.wrong = wrong > 0;
  one.style.setProperty("--shade", `${Math.round(10 + 35 * (wrong ? wrong / most : 0.3))}%`);
  cell.append(one);
  return cell;
}

const buttons = () => [...table.querySelectorAll("button")];

function build() {
  const { rows = [], columns = [], cells = [] } = props;
  table.dataset.many = rows.length > 7;
  const most = Math.max(1, ...cells.flat().map(([, wrong]) => wrong));
  const head = document.createElement("tr");
  const corner = document.createElement("td");
  head.append(corner, ...columns.map((name) => heading(name, "col")));
  table.tHead.replaceChildren(head);
  table.tBodies[0].replaceChildren(...cells.map((line, row) => {
    const tr = document.createElement("tr");
    tr.append(heading(rows[row], "row"), ...line.map((cell, column) => button(row, column, cell, most)));
    return tr;
  }));
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
watch(["rows", "columns", "cells"], build);
watch("value", mark);
build();
// What was sent before this was on the page is lost.
setTimeout(() => { if (!(props.rows || []).length) trigger("opened"); });
