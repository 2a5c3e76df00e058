// ESLint's recommended rules for the scripts of widgets, each of which is run behind those that it is joined with.
const fs = require("node:fs"), path = require("node:path");
const near = require("node:module").createRequire(fs.realpathSync(process.argv[1]));  // where npx has put ESLint

const JOINED = [["clusters/map_colours", "clusters/map_drawing", "clusters/map_filters", "clusters/map_keys", "clusters/map"]];
const scripts = fs.readdirSync(__dirname, { recursive: true }).filter((file) => file.endsWith(".js")).map((file) => file.slice(0, -3));
const text = (name) => fs.readFileSync(path.join(__dirname, `${name}.js`), "utf8");

// What a script defines for those that it is joined with.
function names(name) {
  const named = (to) => to?.name ?? [...(to?.properties ?? to?.elements ?? [])].map((part) => named(part.value ?? part));
  const defined = ({ id, declarations = [] }) => [id, ...declarations.map((one) => one.id)].filter(Boolean).map(named);
  return near("espree").parse(text(name), { ecmaVersion: "latest" }).body.flatMap(defined).flat(Infinity);
}

const given = Object.fromEntries(["element", "props", "watch", "trigger", "server"].map((name) => [name, "readonly"]));

module.exports = scripts.map((name) => {
  const own = new Set(names(name)), others = ["widgets/parts", ...(JOINED.find((group) => group.includes(name)) ?? [])];
  const known = others.filter((other) => other !== name && scripts.includes(other)).flatMap(names).map((one) => [one, "writable"]);
  const globals = Object.entries({ ...near("globals").browser, ...given, ...Object.fromEntries(known) });
  return {
    files: [`${name}.js`],
    languageOptions: {
      sourceType: "script",
      globals: Object.fromEntries(globals.filter(([one]) => !own.has(one))),  // a script is run in a function of its own
    },
    rules: { ...near("@eslint/js").configs.recommended.rules, "no-unused-vars": ["error", { vars: "local" }] },
  };
});
