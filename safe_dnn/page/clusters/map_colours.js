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
let shaded = null;  // what colours the images, if not their RCCs
const dark = () => document.body.classList.contains("dark");
const theme = () => dark() ? "dark" : "light";

function scaleOf(share) {
  const stops = SCALE[theme()], i = share < 0.5 ? 0 : 1, part = 2 * share - i;
  return `rgb(${stops[i].map((from, k) => Math.round(from + part * (stops[i + 1][k] - from))).join(" ")})`;
}

const aroundOf = (share) => `hsl(${share * 360} 65% ${dark() ? 62 : 45}%)`;

// The colours in use, the last one for what is unknown, which of them each image has, which images are rings since their
// RCC has the colour of a larger one.
function inks() {
  const shade = shaded?.value.length === map.n ? shaded : null;  // else of clusters no longer shown
  const of = new Uint8Array(map.n), rings = new Uint8Array(map.n), few = shade ? shade.kind === "category" : true;
  const colours = few ? [...COLOURS[theme()], REST[theme()]]
    : Array.from({ length: STEPS_OF_SCALE }, (_, i) => (shade.kind === "angle" ? aroundOf : scaleOf)(i / (STEPS_OF_SCALE - 1)));
  const unknown = colours.push(GREY[theme()]) - 1;
  for (let i = 0; i < map.n; i++) {
    const value = shade ? shade.value[i] : map.rcc[i];
    if (value == null || (!shade && value === NOISE)) of[i] = unknown;
    else if (!shade) [of[i], rings[i]] = [hueOf(value), map.known.get(value)?.colour >= NAMED];
    else of[i] = few ? Math.min(value, NAMED) : Math.round(value * (STEPS_OF_SCALE - 1));
  }
  return { colours, of, rings, shade };
}

const hueOf = (rcc) => (map.known.get(rcc)?.colour ?? 0) % NAMED;
const colourOf = (rcc) => rcc === NOISE ? GREY[theme()] : COLOURS[theme()][hueOf(rcc)];

function legend() {
  const box = $(".safe-map-legend"), shade = shaded;
  box.hidden = !shade;
  if (!shade) return;
  const swatch = (background, className = "") => made("i", { className, style: `background: ${background}` });
  const entry = (colour, text) => made("span", "", swatch(colour), text);
  if (shade.kind === "category") {
    const more = shade.names.length > NAMED ? [entry(REST[theme()], `${shade.names.length - NAMED} more`)] : [];
    const entries = shade.names.slice(0, NAMED).map((name, i) => entry(COLOURS[theme()][i], name));
    box.replaceChildren(made("b", "", shade.name), ...entries, ...more);
    return;
  }
  const stops = Array.from({ length: 13 }, (_, i) => (shade.kind === "angle" ? aroundOf : scaleOf)(i / 12)).join(", ");
  box.replaceChildren(made("b", "", shade.name), made("span", "", shade.low),
    swatch(`linear-gradient(90deg, ${stops})`, "safe-map-scale"), made("span", "", shade.high));
}
