// The GIF of an RCC with play, pause, speed and a slider over its frames, where the browser can take GIFs apart
// (ImageDecoder); elsewhere the GIF just plays. Props: source (address of the GIF), name, count (images).
const FRAME = 500;  // milliseconds, as in the file
const canvas = $("canvas"), slider = $("input"), speed = $("select");
let decoder = null, frames = 0, playing = true, timer = 0, turn = 0, inSight = true;

async function paint(number) {
  const of = decoder, { image } = await of.decode({ frameIndex: number }).catch((error) => {
    if (of === decoder) throw error;  // else another GIF is shown by now, and this one's decoder was closed
    return {};
  });
  if (of !== decoder) { image?.close(); return; }
  const { displayWidth: width, displayHeight: height } = image;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  canvas.getContext("2d").drawImage(image, 0, 0);
  image.close();
  slider.value = number;
  // Of more images than frames, the one that the frame's caption tells: frames are at equal distances (rccs/gifs.py).
  const images = Math.max(props.count, frames), at = Math.round(number * (images - 1) / Math.max(1, frames - 1));
  $("output").firstChild.data = `${at + 1} / ${images}`;  // a new text node would cost ten times as much
}

function go() {
  clearTimeout(timer);
  const of = decoder;
  if (playing && of) timer = setTimeout(async () => {
    if (inSight && !document.hidden) await paint((Number(slider.value) + 1) % frames);
    if (of === decoder) go();
  }, FRAME / Number(speed.value));
}

const show = (what) => { $(".safe-player").dataset.shows = what; };

async function open() {
  const mine = ++turn, image = $("img"), { source, name, count } = props;
  clearTimeout(timer);
  decoder?.close();
  decoder = null;
  show(source ? "gif" : "nothing");
  if (!source) { image.removeAttribute("src"); return; }
  Object.assign(image, { src: source, alt: `${name}, its images one after the other` });
  if (!("ImageDecoder" in window) || count < 2) return;
  const answer = await fetch(source);
  if (!answer.ok || mine !== turn) return;
  const taken = new ImageDecoder({ data: await answer.arrayBuffer(), type: "image/gif" });
  await Promise.all([taken.tracks.ready, taken.completed]);
  if (mine !== turn) { taken.close(); return; }
  decoder = taken;
  frames = taken.tracks.selectedTrack.frameCount;  // the file may have been drawn anew since `count` was said
  slider.max = frames - 1;
  canvas.setAttribute("aria-label", image.alt);
  await paint(0);
  if (mine !== turn) return;
  show("frames");  // until then it says what it said of the one before
  go();
}

function play(on) {
  playing = on;
  $("button").textContent = on ? "Pause" : "Play";
  go();
}

$("button").addEventListener("click", () => play(!playing));
slider.addEventListener("input", () => {
  play(false);
  paint(Number(slider.value));
});
speed.addEventListener("change", go);
if (matchMedia("(prefers-reduced-motion: reduce)").matches) play(false);
new IntersectionObserver((seen) => { inSight = seen.at(-1).isIntersecting; }).observe(element);
shows("source", open);
