// Beside the enlarged image of a grid (see grid.js, which stands before this): where the network looks in it, by the key m.
const MOST = 20;  // images that are computed along with it: the next ones
const view = made("figure", "safe-lightbox-look"), place = made("img", "", ""), says = made("p", "", "");
const looking = textButton("Where it looks", () => look(looking.getAttribute("aria-pressed") !== "true"));

async function look(on) {
  looking.setAttribute("aria-pressed", on);
  view.hidden = !on;
  if (!on) return;
  const of = large, rows = [...element.querySelectorAll("[data-index]")].map((tile) => Number(tile.dataset.index));
  place.hidden = true;
  says.textContent = "Looking … the first time the model is loaded, which takes some seconds.";
  const answer = await server.look_at([props.seen, ...rows.slice(rows.indexOf(of)).slice(0, MOST)]).catch(() => null);
  if (large !== of) return;  // another image was enlarged meanwhile
  says.textContent = answer ? answer.says : "SAFE does not answer. Ask again.";
  place.hidden = !answer?.picture;
  if (answer?.picture) place.src = answer.picture;
}

place.alt = "Where the network looks in the image enlarged";
says.setAttribute("role", "status");
looking.append(" ", made("kbd", "", "m"));
view.append(place, says);
$(".safe-lightbox-pair figure").after(view);
$('[data-turn="1"]').after(looking);
look(false);
element.addEventListener("enlarged", () => look(!view.hidden));
$("dialog").addEventListener("keydown", (event) => {
  if (event.key !== "m" || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  look(view.hidden);
});
