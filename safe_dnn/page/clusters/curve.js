// How often the network is wrong over the range of what the weak spot at hand is about. Props: curve (an SVG drawing). Value:
// what is searched for, once a range was clicked.
const quoted = (text) => (/[\s<>="']/.test(text) ? (text.includes('"') ? `'${text}'` : `"${text}"`) : text);

element.addEventListener("click", (event) => {
  const bin = event.target.closest(".safe-bin")?.dataset;
  if (!bin) return;
  const name = quoted(bin.column), ends = [[">=", bin.low], ["<", bin.high]].filter(([, end]) => end);
  props.value = bin.value === undefined ? ends.map(([sign, end]) => `${name}${sign}${end}`).join(" ") : `${name}=${quoted(bin.value)}`;
  trigger("select");
});
shows("curve", () => { $(".safe-curve").innerHTML = props.curve || ""; });
