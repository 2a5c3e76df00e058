// Gradio counts the seconds of what is pending in each frame, and goes on when what shows them is gone: those of the loading
// of the page, for as long as the window is open. Here nobody sees them. Its script keeps `requestAnimationFrame` for itself,
// so the frame that it asks for after it has read the clock is found by its number, and taken back.
const clock = performance.now.bind(performance);
performance.now = () => {
  if (/statustracker/.test(new Error().stack)) {
    const before = requestAnimationFrame(() => {});
    queueMicrotask(() => { if (requestAnimationFrame(() => {}) === before + 2) cancelAnimationFrame(before + 1); });
  }
  return clock();
};
// With Tab, Gradio opens the list that it has just closed, and leaves it open; and a browser would stop at the list, which
// goes away. Here the list closes, and the next field follows.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Tab" || !event.target.matches?.('[role="combobox"]')) return;
  event.stopPropagation();
  for (const list of document.querySelectorAll('[role="listbox"]')) list.tabIndex = -1;
}, true);
