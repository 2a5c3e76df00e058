// A table of counts, of which each opens its images. Props: value (what is opened, "" if nothing), title, told (a sentence),
// heads, rows (name, link: where the name leads, "" for nowhere; cells: text, opens: the name of its images, "" if it has
// none). What is not shown is hidden: a table without rows.
const $ = (selector) => element.querySelector(selector);

function made(tag, text, properties = {}) {
  return Object.assign(document.createElement(tag), { textContent: text }, properties);
}

function cell(name, head, { text, opens }) {
  const td = document.createElement("td");
  if (!opens) {
    td.textContent = text;
    return td;
  }
  const button = made("button", text, { type: "button", title: "Show these images" });
  button.dataset.opens = opens;
  button.setAttribute("aria-label", `${name}, ${head}: ${text}. Show these images`);
  td.append(button);
  return td;
}

function build() {
  const { title = "", told = "", heads = [], rows = [] } = props;
  element.querySelector("div").hidden = !rows.length;
  $("h3").textContent = title;
  $("p").textContent = told;
  $("p").hidden = !told;
  $(".safe-rates-scroll").setAttribute("aria-label", title);
  const head = document.createElement("tr");
  head.append(...heads.map((name) => made("th", name, { scope: "col" })));
  $("thead").replaceChildren(head);
  $("tbody").replaceChildren(...rows.map(({ name, link, cells }) => {
    const tr = document.createElement("tr"), th = made("th", link ? "" : name, { scope: "row", title: name });
    if (link) th.append(made("a", name, { href: link, title: "Show its images" }));
    tr.append(th, ...cells.map((one, column) => cell(name, heads[column + 1], one)));
    return tr;
  }));
  mark();
}

function mark() {
  for (const one of element.querySelectorAll("button")) one.setAttribute("aria-pressed", one.dataset.opens === props.value);
}

element.addEventListener("click", (event) => {
  const one = event.target.closest("[data-opens]");
  if (!one) return;
  props.value = one.dataset.opens;  // Gradio reads it when it sends the event: the last of quick clicks counts
  mark();
  trigger("select");
});
watch(["title", "told", "heads", "rows"], build);
watch("value", mark);
build();
