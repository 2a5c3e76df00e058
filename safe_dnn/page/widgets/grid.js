// A grid of images to select from, or only to look at. Props: value (indices of those selected), tiles (index, name, picture,
// mark, caption, hint, near, between, known, is: "wrong" or "right" where both are shown), seen, looks (whether a click enlarges an image instead of selecting it).
let picked = new Set();
let large = null;  // the index of the image that is enlarged

// In a tooltip and below an enlarged image it is said how sure the network was.
const caption = (told) => told?.replace(/ \(\d+%\)$/, "");

function build() {
  const grid = $(".safe-grid");
  if (!grid) return;
  picked = new Set(props.value || []);
  grid.replaceChildren(...(props.tiles || []).map((tile, i, all) => {
    const title = [tile.name, tile.caption, tile.hint, tile.between].filter(Boolean).join(" · ") + (tile.mark ? ` (${tile.mark})` : "");
    const again = props.looks && tile.caption && tile.caption === all[i - 1]?.caption;  // a ditto mark; in words in the tooltip
    const pressed = props.looks ? {} : { ariaPressed: picked.has(tile.index) };
    return made("button", { type: "button", title, "data-index": tile.index, "data-is": tile.is ?? "", ...pressed }, made("img", { src: tile.picture, alt: tile.name }),
      ...(again ? [made("span", "safe-ditto")] : []), ...[!again && caption(tile.caption), tile.near].filter(Boolean).map((text) => made("span", "", text)));
  }));
}

function show(on, index) {
  if (on) picked.add(index); else picked.delete(index);
  $(`[data-index="${index}"]`)?.setAttribute("aria-pressed", on);
}

element.addEventListener("click", (event) => {
  const tile = event.target.closest("[data-index]"), action = event.target.closest("[data-do]")?.dataset.do;
  const turned = event.target.closest("[data-turn]");
  if (turned) { turn(Number(turned.dataset.turn)); return; }
  if (event.target.closest("dialog")) {
    if (!event.target.closest(".safe-lightbox-tools")) $("dialog").close();
    return;
  }
  if (tile && props.looks) {
    enlarge(tile);
    return;
  }
  if (tile) {
    const index = Number(tile.dataset.index);
    show(!picked.has(index), index);
  } else if (action === "all") for (const { index } of props.tiles || []) show(true, index);
  else if (action === "none") for (const index of [...picked]) show(false, index);
  else return;
  props.value = [...picked];  // Gradio reads it when it sends the event: the last of quick clicks counts
  trigger("select");
});

async function enlarge(tile) {
  const index = Number(tile.dataset.index);
  large = index;
  const source = await server.grid_picture([index, props.seen]);
  if (!source || large !== index) return;  // another one was asked for meanwhile
  $("dialog img").src = source;
  $("dialog p").textContent = tile.title;
  const known = JSON.parse(props.tiles?.find((one) => one.index === index)?.known || "{}");
  $(".safe-lightbox-known").replaceChildren(...Object.entries(known).map(([name, text]) => made("div", "", made("dt", "", name), made("dd", "", text))));
  if (!$("dialog").open) $("dialog").showModal();
}

// The image before or after the one that is enlarged, of those in the grid; 0 closes it.
function turn(by) {
  if (!by) { $("dialog").close(); return; }
  const tiles = [...element.querySelectorAll("[data-index]")];
  const to = tiles[tiles.findIndex((tile) => Number(tile.dataset.index) === large) + by];
  if (to) enlarge(to);
}

$("dialog").addEventListener("input", (event) => {
  for (const image of element.querySelectorAll("dialog figure img")) image.style.filter = `brightness(${event.target.value})`;
});
$("dialog").addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.target.type === "range") return;
  event.preventDefault();
  event.stopPropagation();
  turn(by);
});
element.addEventListener("dblclick", (event) => {
  const tile = event.target.closest("[data-index]");
  if (tile && !props.looks) enlarge(tile);
});
element.addEventListener("keydown", (event) => {
  const tile = event.target.closest("[data-index]");
  if (!tile) return;
  const tiles = [...element.querySelectorAll("[data-index]")], at = tiles.indexOf(tile);
  if (event.key === "ArrowRight") tiles[at + 1]?.focus();
  else if (event.key === "ArrowLeft") tiles[at - 1]?.focus();
  else if (event.key === "Enter") enlarge(tile);
  else return;
  event.preventDefault();
});

shows(["tiles", "value"], build);
