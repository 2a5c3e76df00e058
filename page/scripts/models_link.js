// The comparison of two models that is shown, in the address: a reload, the browser's buttons and a link lead back to it.
// Value: which comparison is wanted or shown, as text; the server reads it.
const PART = "models";
const now = () => new URLSearchParams(location.hash.slice(1));
let shown = "";

function follow() {
  const wanted = now().get(PART) ?? "";
  if (!wanted || wanted === shown) return;
  shown = props.value = wanted;
  trigger("select");
}

watch("value", () => {
  if (!props.value || props.value === shown) return;
  shown = props.value;
  const address = now();
  address.set(PART, shown);
  history.pushState(null, "", `#${address}`);
});
window.addEventListener("popstate", follow);
follow();
