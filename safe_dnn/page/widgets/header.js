// Which analysis is shown, those beside it, and whose name all that is said from this browser has: typed once, and sent with
// every request (see serving/guard.py).
const engineer = $("#engineer input"), NAME = "safe-engineer=";
const LASTING = `; path=${location.pathname.replace(/a\/[^/]+\/$/, "")}; max-age=${400 * 24 * 3600}; samesite=strict`;

function known() {
  const kept = document.cookie.split("; ").find((cookie) => cookie.startsWith(NAME));
  try { return decodeURIComponent(kept?.slice(NAME.length) ?? ""); } catch { return ""; }
}
const showName = () => { if (document.activeElement !== engineer) engineer.value = known(); };

// Read again when the list is opened: analyses come and go. What is typed below them meanwhile stays.
async function showAnalyses() {
  const { title, list, login } = await server.analyses_beside([]).catch(() => ({}));
  if (!title) return;
  document.title = `${title} – SAFE`;
  const links = $("nav div > p");
  if (links) links.innerHTML = new DOMParser().parseFromString(list, "text/html").querySelector("div > p").innerHTML;
  else {
    $("nav").innerHTML = list;
    $("nav > details").addEventListener("toggle", ({ target }) => { if (target.open) showAnalyses(); });
  }
  engineer.hidden = Boolean(login);
  $("#engineer b").hidden = !login;
  $("#engineer b").textContent = login;
}

// Outside of fields, a browser would take back what was typed into the last of them, such as this name.
document.addEventListener("keydown", (event) => { if ((event.ctrlKey || event.metaKey) && undoes(event)) event.preventDefault(); });
// A click of the page's own (see tabs.js) leaves the list open.
document.addEventListener("click", ({ isTrusted, target }) => { if (isTrusted && !$("nav").contains(target)) $("nav > details")?.removeAttribute("open"); });
engineer.addEventListener("input", () => { document.cookie = NAME + encodeURIComponent(engineer.value.trim()) + LASTING; });
window.addEventListener("focus", showName);  // it may have been typed in another window
showName();
showAnalyses();
