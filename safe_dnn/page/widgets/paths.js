// Suggests, while a path is typed, what lies in its folder. Props: fields (a selector).
let asked = "";

async function suggest({ target }) {
  const field = target.closest?.(props.fields);
  if (!field || target.tagName !== "INPUT") return;
  const about = `${field.id} ${target.value.slice(0, target.value.lastIndexOf("/") + 1)}`;
  target.setAttribute("list", "suggested-paths");
  if (about === asked) return;
  asked = about;
  const paths = await server.paths_beside([field.id, target.value]).then(JSON.parse).catch(() => []);
  if (about === asked) $("datalist").replaceChildren(...paths.map((value) => made("option", { value })));
}
for (const name of ["focusin", "input"]) document.addEventListener(name, suggest);
