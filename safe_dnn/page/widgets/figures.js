// Figures as tiles; one that counts images opens them (see opens.js). Props: tiles (title, figure, more, and opens: the name
// of its images, "" if it has none).
function build() {
  $("dl").replaceChildren(...(props.tiles || []).map(({ title, figure, more, opens }) => made("div", "",
    made("dt", "", title), made("dd", "", opens ? opener(figure, opens, title) : figure, made("small", "", more)))));
  mark();
}

shows("tiles", build);
// What was sent before this was on the page is lost.
setTimeout(() => { if (!(props.tiles || []).length) trigger("opened"); });
