// Below the enlarged image of a grid (see grid.js, which stands before this): images that look like it, of the kind that was
// chosen, and one of them beside it. The kind stays chosen when another image is enlarged.
const KINDS = { right: "Right", improvement: "Improvement" };
const AGAIN = 700;  // milliseconds until it is asked how far the work is
const choices = made("div", "safe-similar-tools", "Similar images"), found = made("div", "safe-similar-list");
const told = made("output", "safe-similar-told"), work = made("div", "safe-similar-tools");
let kind = "", turned = 0;  // which of the questions counts

function press(button, all) {
  for (const other of all) other.setAttribute("aria-pressed", other === button);
}

async function ask(asked) {
  const mine = ++turned, of = large;
  const answer = await server.similar_to([of, props.seen, kind, asked]).catch(() => null);
  if (mine !== turned || large !== of) return;  // another image or kind was chosen meanwhile
  const { says, images, working } = answer || { says: "SAFE does not answer. Ask again.", images: [] };
  told.textContent = says;
  work.replaceChildren(...(working ? [textButton("Stop", () => ask("stop"))] : []));
  list(images);
  if (working) setTimeout(() => { if (mine === turned) ask("wait"); }, AGAIN);
}

function list(images) {
  found.replaceChildren(...images.map((image) => {
    const tile = textButton("", () => compare(image, tile));
    tile.title = [image.name, image.told].filter(Boolean).join(" · ");
    tile.append(made("img", { src: image.picture, alt: image.name }),
      made("span", "safe-similar-distance", `distance ${image.distance}`), made("span", "", image.told || "class not known"));
    return tile;
  }));
  found.scrollLeft = 0;
  if (images.length) compare(images[0], found.firstChild);
  else alone();
}

function alone() {
  element.querySelector(".safe-lightbox-beside")?.remove();
}

// One of them beside the enlarged image.
async function compare(image, tile) {
  const mine = turned;
  press(tile, found.children);
  const source = await server.similar_picture([large, props.seen, kind, image.index]).catch(() => "");
  if (!source || mine !== turned || tile.getAttribute("aria-pressed") !== "true") return;
  const picture = made("img", { src: source, alt: `Beside it: ${image.name}`, style: $("dialog figure img").style.cssText });
  const words = [image.name, image.told, `distance ${image.distance}`].filter(Boolean).join(" · ");
  alone();
  $(".safe-lightbox-pair").append(made("figure", "safe-lightbox-beside", picture, made("p", "", words)));
}

const kinds = Object.entries(KINDS).map(([name, text]) => textButton(text, ({ currentTarget }) => {
  const off = kind === name;
  kind = off ? "" : name;
  press(off ? null : currentTarget, kinds);
  clear();
  if (!off) ask("look");
}));

function clear() {
  turned += 1;
  told.textContent = "";
  for (const part of [found, work]) part.replaceChildren();
  alone();
}

for (const [place, name] of Object.keys(KINDS).entries()) kinds[place].dataset.kind = name;
press(null, kinds);
choices.append(...kinds);
const similar = made("div", "safe-similar", choices, told, work, found);
[choices, found].forEach((part) => part.setAttribute("role", "group"));
choices.setAttribute("aria-label", "Similar images of which kind");
found.setAttribute("aria-label", "Similar images, nearest first");
told.setAttribute("aria-live", "polite");
$("dialog").append(similar);
element.addEventListener("enlarged", () => { clear(); if (kind) ask("look"); });
$("dialog").addEventListener("close", clear);
