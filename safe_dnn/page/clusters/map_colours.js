// The colours of the map, and its legend. First of the parts of the map's script; see map.js.
// People who are blind to red or to green tell all of a theme's colours, and grey, apart: Okabe and Ito's set, changed so
// that each differs from the ground too. A test measures it. In both modes the same hues, but black, which is yellow in the dark.
const NOISE = -1, NAMED = 7, STEPS_OF_SCALE = 32;
const COLOURS = {
  light: ["#e69500", "#4fa8e0", "#00956b", "#0a5fa8", "#c44a00", "#bf5f97", "#262b36"],
  dark: ["#e69f00", "#5cc7ec", "#0aa57a", "#1f7fd6", "#d9540a", "#ff6fbe", "#f4ee5a"],
};
const GREY = { light: "#b3bac5", dark: "#5f6977" };
const REST = { light: "#7b8494", dark: "#a3adba" };  // categories after the commonest
// From dark to light, as cividis is: its order is visible to everybody.
const SCALE = {
  light: [[20, 44, 110], [110, 112, 122], [226, 178, 20]],
  dark: [[62, 104, 196], [142, 145, 150], [255, 222, 80]],
};
const UNKNOWN = 255;
let shaded = null;  // what colours the images, if not their RCCs
const theme = () => (document.body.classList.contains("dark") ? "dark" : "light"), dark = () => theme() === "dark";

// The colours of a scale, or around the circle.
function scaleOf(kind, steps) {
  const mixed = (share) => {
    const half = Number(share >= 0.5), [from, to] = SCALE[theme()].slice(half);
    return `rgb(${from.map((part, k) => Math.round(part + (2 * share - half) * (to[k] - part))).join(" ")})`;
  };
  const around = (share) => `hsl(${share * 360} 65% ${dark() ? 62 : 45}%)`;
  return Array.from({ length: steps }, (_, i) => (kind === "angle" ? around : mixed)(i / (steps - 1)));
}

// The colours in use, which of them each image has, and which images are rings since their RCC has the colour of a larger one.
function inks() {
  const shade = shaded?.bins.length === map.n ? shaded : null;  // else of clusters no longer shown
  const colours = shade && shade.kind !== "category" ? scaleOf(shade.kind, STEPS_OF_SCALE) : [...COLOURS[theme()], REST[theme()]];
  colours[UNKNOWN] = GREY[theme()];
  const of = shade?.bins ?? Uint8Array.from(map.rcc, (rcc) => (rcc === NOISE ? UNKNOWN : hueOf(rcc)));
  return { colours, of, shade, rings: Uint8Array.from(map.rcc, (rcc) => !shade && rcc !== NOISE && map.known.get(rcc).colour >= NAMED) };
}

const hueOf = (rcc) => map.known.get(rcc).colour % NAMED;

function legend() {
  const box = $(".safe-map-legend"), { name, kind, names = [], low, high } = shaded ?? {};
  box.hidden = !shaded;
  const swatch = (background, className = "") => made("i", { className, style: `background: ${background}` });
  const entry = (text, i) => made("span", "", swatch(i < NAMED ? COLOURS[theme()][i] : REST[theme()]), text);
  const texts = names.length > NAMED ? [...names.slice(0, NAMED), `${names.length - NAMED} more`] : names;
  const scale = kind === "category" ? texts.map(entry) : [made("span", "", low),
    swatch(`linear-gradient(90deg, ${scaleOf(kind, 13)})`, "safe-map-scale"), made("span", "", high)];
  box.replaceChildren(made("b", "", name), ...scale);
}
