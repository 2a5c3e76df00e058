// Asks every few seconds which jobs were started last and whether the folder has changed, and tells the tabs. `known`:
// what of this the window was filled in with; without it, the tabs are told once that something may have changed.
const FIRST = 500, EVERY = 2000, SELDOM = 8000;  // milliseconds; seldom where nobody has touched the window for a while
const WHILE = 60000;
let touched = performance.now();
const told = {};
const listsEdits = () => Boolean(document.querySelector("#edits table")?.checkVisibility());

// While somebody answers about a word, key by key, nothing else is drawn.
const answering = () => document.querySelector("#words dialog[open]:not([data-list])");

async function look(first) {
  if (!document.hidden && !answering()) {
    try {
      const { steps, words, ...latest } = await server.latest_news([]);
      announce("safe-steps", steps);
      announce("safe-words", words);
      for (const [event, now] of Object.entries(latest)) {
        // At first the window is still being filled in, and would be filled in twice.
        if (first || !now || now === told[event]) continue;
        told[event] = now;
        trigger(event);
        if (event === "notes" && listsEdits()) trigger("edits");
      }
    } catch { /* The connection is lost for a moment. */ }
  }
  setTimeout(look, performance.now() - touched < WHILE ? EVERY : SELDOM);
}
// An answer that comes late shows what was there before: what has changed since is told again.
watch("known", () => { if (props.known) Object.assign(told, JSON.parse(props.known)); });
// What this window has written itself it shows already, but for the list of what was said.
hears("safe-kept", ([before, after]) => {
  if (told.notes === before) told.notes = after;
  if (listsEdits()) trigger("edits");
});
for (const event of ["pointermove", "keydown", "focus"]) window.addEventListener(event, () => { touched = performance.now(); });
setTimeout(look, FIRST, true);
