
// Whose name all that is said from this browser has: typed once, and sent with every request (see serving/entrance.py).
const engineer = $("#engineer input"), NAME = "safe-engineer=";
const LASTING = `; path=${new URL("./", $("nav a").href).pathname}; max-age=${400 * 24 * 3600}; samesite=strict`;

function known() {
  const kept = document.cookie.split("; ").find((cookie) => cookie.startsWith(NAME));
  try { return decodeURIComponent(kept?.slice(NAME.length) ?? ""); } catch { return ""; }
}

// Outside of fields, a browser would take back what was typed into the last of them, such as this name.
document.addEventListener("keydown", (event) => { if ((event.ctrlKey || event.metaKey) && undoes(event)) event.preventDefault(); });

if (engineer) {
  const show = () => { if (document.activeElement !== engineer) engineer.value = known(); };
  engineer.addEventListener("input", () => { document.cookie = NAME + encodeURIComponent(engineer.value.trim()) + LASTING; });
  window.addEventListener("focus", show);  // it may have been typed in another window
  show();
}
