// A table of counts (see opens.js). Props: title, told (a sentence), heads, rows (name, link: where the name leads, "" for
// nowhere; cells: text, opens: the name of its images, "" if it has none). A table without rows is hidden.
const $ = (selector) => element.querySelector(selector);

function cell(name, head, { text, opens }) {
  const td = document.createElement("td");
  td.append(opens ? opener(text, opens, `${name}, ${head}`) : text);
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

watch(["title", "told", "heads", "rows"], build);
build();
