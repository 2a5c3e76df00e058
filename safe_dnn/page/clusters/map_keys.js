// The map by keyboard: it moves, or the arrow keys go from image to image. Fourth part; see map.js.
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const zoomBy = (factor) => zoom(factor, frame().x, frame().y);
const enter = () => stand(nearest(frame().x, frame().y, Infinity));
const KEYS = { "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), 0: () => go(fitted()), " ": enter, Enter: enter, Escape: () => pick([]) };
const WALKING = { Enter: () => open(hovered), Escape: () => over(-1), " "() {
  pick(toggled(hovered));
  stand(hovered);
} };

// The tooltip goes with the image that the keys are at, and so does the view.
function follow() {
  const f = frame(), [x, y] = place(f, hovered);
  if (x < STEP || y < ABOVE || x > f.width - STEP || y > f.height - STEP) Object.assign(view, { x: map.x[hovered], y: map.y[hovered] });
  tell(hovered, ...place(frame(), hovered));
}

function stand(i) {
  if (i < 0) return;
  hovered = i;
  walking = true;
  follow();
  const [title, words] = wordsOn(i);
  $(".safe-map-live").textContent = `${title}. ${words}. ${picked.has(i) ? "Selected" : "Not selected"}`;
  redraw();
}

// The next image in a direction: near, and rather ahead than aside.
function ahead([right, down]) {
  let best = -1, least = Infinity;
  for (let i = 0; i < map.n; i++) {
    const dx = map.x[i] - map.x[hovered], dy = map.y[hovered] - map.y[i];
    const along = dx * right + dy * down, across = Math.abs(dx * down - dy * right), far = along + 2 * across;
    if (!hides[i] && along > 0 && along >= across && far < least) [best, least] = [i, far];
  }
  return best;
}

canvas.addEventListener("keydown", (event) => {
  if (!map || event.altKey || event.ctrlKey || event.metaKey) return;
  const arrow = ARROWS[event.key], walks = walking && !event.shiftKey, { scale } = frame();
  const act = arrow && walks ? () => stand(ahead(arrow)) : arrow ? () => go({ ...view, x: view.x + arrow[0] * STEP / scale, y: view.y - arrow[1] * STEP / scale })
    : (walks && WALKING[event.key]) || KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
