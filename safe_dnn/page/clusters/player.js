// The GIF of an RCC with play, pause, speed and a slider over its frames, where the browser can take GIFs apart
// (ImageDecoder); elsewhere the GIF just plays. Props: source (address of the GIF), name, count (images).
const FRAME = 500;  // milliseconds, as in the file
let decoder = null, frames = 0, frame = 0, playing = true, timer = 0, turn = 0, inSight = true;

async function paint(number, mine) {
  let image;
  try { ({ image } = await decoder.decode({ frameIndex: number })); } catch (error) {
    if (mine !== turn) return;  // another GIF is shown by now, and this one's decoder was closed
    throw error;
  }
  if (mine !== turn) { image.close(); return; }
  const canvas = $("canvas");
  if (canvas.width !== image.displayWidth || canvas.height !== image.displayHeight) {
    canvas.width = image.displayWidth;
    canvas.height = image.displayHeight;
  }
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
  frame = number;
  $("input").value = number;
  // Of more images than frames, the one that the frame's caption tells: frames are at equal distances (rccs/gifs.py).
  const images = Math.max(props.count, frames), at = Math.round(number * (images - 1) / Math.max(1, frames - 1));
  $("output").firstChild.data = `${at + 1} / ${images}`;  // a new text node would cost ten times as much
}

function go(mine) {
  clearTimeout(timer);
  if (!playing || !decoder) return;
  timer = setTimeout(async () => {
    if (mine !== turn) return;
    if (inSight && !document.hidden) await paint((frame + 1) % frames, mine);
    go(mine);
  }, FRAME / Number($("select").value));
}

async function open() {
  const mine = ++turn, image = $("img");
  clearTimeout(timer);
  decoder?.close();
  decoder = null;
  frame = 0;
  $("canvas").hidden = true;
  $(".safe-player-tools").hidden = true;
  image.hidden = !props.source;
  $("p").hidden = Boolean(props.source);
  if (!props.source) { image.removeAttribute("src"); return; }
  image.src = props.source;
  image.alt = `${props.name}, its images one after the other`;
  if (!("ImageDecoder" in window) || props.count < 2) return;
  const answer = await fetch(props.source);
  if (!answer.ok || mine !== turn) return;
  const taken = new ImageDecoder({ data: await answer.arrayBuffer(), type: "image/gif" });
  await taken.tracks.ready;
  await taken.completed;
  if (mine !== turn) { taken.close(); return; }
  decoder = taken;
  frames = taken.tracks.selectedTrack.frameCount;  // the file may have been drawn anew since `count` was said
  $("input").max = frames - 1;
  $("canvas").setAttribute("aria-label", image.alt);
  await paint(0, mine);
  if (mine !== turn) return;
  $("canvas").hidden = false;
  image.hidden = true;
  $(".safe-player-tools").hidden = false;  // until then it says what it said of the one before
  go(mine);
}

function play(on) {
  playing = on;
  $("button").textContent = on ? "Pause" : "Play";
  go(turn);
}

element.addEventListener("click", (event) => { if (event.target.closest("button")) play(!playing); });
element.addEventListener("input", (event) => {
  if (event.target.type !== "range") return;
  play(false);
  paint(Number(event.target.value), turn);
});
element.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") go(turn); });
if (matchMedia("(prefers-reduced-motion: reduce)").matches) play(false);
new IntersectionObserver((seen) => { inSight = seen.at(-1).isIntersecting; }).observe(element);
shows("source", open);
