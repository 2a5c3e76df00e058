// A grid of images to select from, or only to look at. Props: value (indices of those selected), tiles (HTML), seen (what the
// window shows), looks (whether a click enlarges an image instead of selecting it).
const dialog = $("dialog"), tiles = () => [...element.querySelectorAll("[data-index]")], indexOf = (tile) => Number(tile.dataset.index);
let large = null;  // the tile that is enlarged

function mark() {
  const picked = new Set(props.value);
  for (const tile of props.looks ? [] : tiles()) tile.setAttribute("aria-pressed", picked.has(indexOf(tile)));
}

function pick(some) {
  props.value = [...some];  // Gradio reads it when it sends the event: the last of quick clicks counts
  mark();
  trigger("select");
}

async function enlarge(tile) {
  if (!tile) return;
  large = tile;
  const source = await server.grid_picture([indexOf(tile), props.seen]);
  if (!source || large !== tile) return;  // another one was asked for meanwhile
  $("dialog img").src = source;
  $("dialog p").textContent = tile.title;
  $(".safe-lightbox-known").replaceChildren(tile.querySelector("template").content.cloneNode(true));
  if (!dialog.open) dialog.showModal();
}

const turn = (by) => enlarge(tiles()[tiles().indexOf(large) + by]);  // of those in the grid

element.addEventListener("click", ({ target }) => {
  const tile = target.closest("[data-index]"), { do: what, turn: by } = target.closest("[data-do], [data-turn]")?.dataset ?? {};
  if (by) turn(Number(by));
  else if (what === "close" || target.closest("figure")) dialog.close();
  else if (tile && props.looks) enlarge(tile);
  else if (tile) {
    const picked = new Set(props.value);
    if (!picked.delete(indexOf(tile))) picked.add(indexOf(tile));
    pick(picked);
  } else if (what) pick(what === "all" ? new Set([...props.value, ...tiles().map(indexOf)]) : []);
});
element.addEventListener("dblclick", ({ target }) => { if (!props.looks) enlarge(target.closest("[data-index]")); });
dialog.addEventListener("input", ({ target }) => { $("dialog img").style.filter = `brightness(${target.value})`; });
element.addEventListener("keydown", (event) => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key], tile = event.target.closest("[data-index]");
  if (dialog.open && by && event.target.type !== "range") turn(by);
  else if (tile && by) tiles()[tiles().indexOf(tile) + by]?.focus();
  else if (tile && event.key === "Enter") enlarge(tile);
  else return;
  event.preventDefault();
  event.stopPropagation();
});

watch("value", mark);
shows("tiles", () => { $(".safe-grid").innerHTML = props.tiles || ""; mark(); });
