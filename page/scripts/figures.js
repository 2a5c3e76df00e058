// Figures as tiles; one that counts images opens them (see opens.js). Props: tiles (title, figure, more, and opens: the name
// of its images, "" if it has none).
const list = element.querySelector("dl");

function build() {
  list.replaceChildren(...(props.tiles || []).map(({ title, figure, more, opens }) => {
    const tile = document.createElement("div"), value = document.createElement("dd");
    value.append(opens ? opener(figure, opens, title) : figure, made("small", more));
    tile.append(made("dt", title), value);
    return tile;
  }));
  mark();
}

watch("tiles", build);
build();
// What was sent before this was on the page is lost.
setTimeout(() => { if (!(props.tiles || []).length) trigger("opened"); });
