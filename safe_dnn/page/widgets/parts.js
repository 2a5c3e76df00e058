// What the scripts of all widgets are made of; stands before them. Gradio gives each of them `element`, `props`, `watch`,
// `trigger` and `server`.
const $ = (selector) => element.querySelector(selector);

// All scripts keep to this: what a widget shows follows its `props` (`shows`); what the engineer does is its `value`, with
// `trigger`, or a function of `server`; and what other widgets need to know is announced, and heard there.
function shows(names, show) {
  watch(names, show);
  show();
}
const announce = (name, detail) => document.dispatchEvent(new CustomEvent(name, { detail }));
const hears = (name, hear) => document.addEventListener(name, ({ detail }) => hear(detail));
const byWhom = () => document.querySelector("#visitor textarea, #visitor input")?.value ?? "";

// A new element: its properties and attributes (a text alone is its class), and what is in it.
function made(tag, properties = {}, ...content) {
  const part = document.createElement(tag), named = typeof properties === "string" ? { className: properties } : properties;
  for (const [name, value] of Object.entries(named)) {
    if (name in part) part[name] = value;
    else part.setAttribute(name, value);
  }
  part.append(...content);
  return part;
}

// Scrolls what a part lies in, and not the page.
function keepInSight(part) {
  const { scrollX, scrollY } = window;
  part.scrollIntoView({ block: "nearest", inline: "nearest" });
  window.scrollTo(scrollX, scrollY);
}

// Whether keys are typed into an element.
const editable = (target) => target.closest?.('textarea, select, [contenteditable="true"], input:not([type="radio"], [type="checkbox"], [type="range"])');

// What a key undoes or redoes, on every tab: z and Z, or with Ctrl as in other programs; nothing while it is typed into a field.
function undoes(event) {
  const key = event.key.toLowerCase(), command = event.ctrlKey || event.metaKey;
  if (event.altKey || editable(event.target)) return "";
  const shifted = command ? event.shiftKey : (event.key === "Z") !== event.getModifierState("CapsLock");
  if (key === "z") return shifted ? "redo" : "undo";
  return command && key === "y" ? "redo" : "";
}

// What the address says behind `#`, by name; the browser's buttons lead back to what it said before.
const inAddress = () => new URLSearchParams(location.hash.slice(1));

function putInAddress(parameters, how = "pushState") {
  const hash = `${parameters}` && `#${parameters}`;
  if (hash !== location.hash) history[how](null, "", hash || location.pathname + location.search);
}
