// With Tab, Gradio opens the list that it has just closed, and leaves it open; and a browser would stop at the list, which
// goes away. Here the list closes, and the next field follows.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Tab" || !event.target.matches?.('[role="combobox"]')) return;
  event.stopPropagation();
  for (const list of document.querySelectorAll('[role="listbox"]')) list.tabIndex = -1;
}, true);
