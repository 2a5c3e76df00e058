// A table of counts (see opens.js). Props: title, told (a sentence), heads, rows (name, link: where the name leads, "" for
// nowhere; cells: text, opens: the name of its images, "" if it has none). A table without rows is hidden.

const cell = (name, head, { text, opens }) => made("td", "", opens ? opener(text, opens, `${name}, ${head}`) : text);

function build() {
  const { title = "", told = "", heads = [], rows = [] } = props;
  $("div").hidden = !rows.length;
  $("h3").textContent = title;
  $("p").textContent = told;
  $("p").hidden = !told;
  $(".safe-rates-scroll").setAttribute("aria-label", title);
  $("thead").replaceChildren(made("tr", "", ...heads.map((name) => made("th", { scope: "col" }, name))));
  $("tbody").replaceChildren(...rows.map(({ name, link, cells }) => made("tr", "",
    made("th", { scope: "row", title: name }, link ? made("a", { href: link, title: "Show its images" }, name) : name),
    ...cells.map((one, column) => cell(name, heads[column + 1], one)))));
  mark();
}

watch(["title", "told", "heads", "rows"], build);
build();
