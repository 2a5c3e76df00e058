// The map by keyboard. Fourth part; see map.js.
const WALK = "Arrows: next image · Space: select · Enter: open its RCC · Esc: back";
const MOVE = "+ − 0: zoom · arrows: move · Space: from image to image";
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The tooltip goes with the image that the keys are at, and so does the view.
function follow() {
  let f = frame(), [x, y] = place(f, hovered);
  if (x < STEP || y < ABOVE || x > f.width - STEP || y > f.height - STEP) {
    view.x = map.x[hovered];
    view.y = map.y[hovered];
    [x, y] = place(frame(), hovered);
  }
  tell(hovered, x, y);
}

function stand(i) {
  if (i < 0) return;
  hovered = i;
  walking = true;
  follow();
  const [title, words] = wordsOn(i);
  $(".safe-map-live").textContent = `${title}. ${words}. ${picked.has(i) ? "Selected" : "Not selected"}`;
  hint(WALK, 0);
  redraw();
}

// The next image in a direction: near, and rather ahead than aside.
function ahead([right, down]) {
  let best = -1, least = Infinity;
  for (let i = 0; i < map.n; i++) {
    if (hides[i] || i === hovered) continue;
    const dx = map.x[i] - map.x[hovered], dy = map.y[hovered] - map.y[i];
    const along = dx * right + dy * down, across = Math.abs(dx * down - dy * right);
    if (along > 0 && along >= across && along + 2 * across < least) { least = along + 2 * across; best = i; }
  }
  return best;
}

function walk(event) {
  if (ARROWS[event.key]) stand(ahead(ARROWS[event.key]));
  else if (event.key === " ") {
    pick(toggled(hovered), "input");
    stand(hovered);
  } else if (event.key === "Enter") pick([hovered]);
  else return false;
  return true;
}

function onKey(event) {
  if (!onMap(event) || event.altKey || event.ctrlKey || event.metaKey) return;
  const f = frame(), arrow = ARROWS[event.key];
  if (walking && !event.shiftKey && walk(event)) { event.preventDefault(); return; }
  if (arrow) go({ ...view, x: view.x + arrow[0] * STEP / f.scale, y: view.y - arrow[1] * STEP / f.scale });
  else if (event.key === " " || event.key === "Enter") stand(nearest(f.x, f.y, Infinity));
  else if (event.key === "+" || event.key === "=") zoom(1.5, f.x, f.y);
  else if (event.key === "-") zoom(1 / 1.5, f.x, f.y);
  else if (event.key === "0") go(fitted());
  else if (event.key === "Escape" && walking) { leave(); hint(MOVE); } else if (event.key === "Escape") pick([]);
  else return;
  event.preventDefault();
}

function leave() {
  walking = false;
  hovered = -1;
  tell(-1);
  hint();
  redraw();
}
