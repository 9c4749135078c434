// The data, and what is worked out of it: names, filters, order.
const store = read("store");
const chips = read("chips");

const AGREEMENTS = ["samples", "timesteps", "reference"];
const LAYERS = { rgb: "RGB", map: "map", token: "token probability (light is sure)", confidence: "confidence given the token", reference: "reference", radar: "radar (VV, VH)", relief: "relief" };
const MEASURES = Object.keys(store.measures).filter((key) => chips.some((chip) => key in chip.measures));
const RANGED = MEASURES.filter((key) => key !== "entropy");
const SPLITS = [...new Set(chips.map((chip) => chip.split))].sort();
const PRESENT = store.classes.map((_, code) => code).filter((code) => chips.some((chip) => chip.shares[code] > 0));

const option = (value, text) => element("option", { value }, text);
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
const number = (value) => (value == null ? "–" : value.toFixed(2));

function bar(shares) {
  const parts = shares.map((share, code) => [share, store.classes[code]]).filter(([share]) => share > 0);
  const pieces = parts.map(([share, entry]) =>
    element("i", { title: `${entry.name} ${percent(share, 1)}`, style: { width: `${100 * share}%`, background: entry.colour } }));
  return element("div", { className: "bar" }, ...pieces);
}

const dominant = (chip) => chip.shares.indexOf(Math.max(...chip.shares));

// What one sorts by: the words for it and the value of a chip.
const ORDERS = {
  id: ["id", (chip) => chip.id],
  split: ["split", (chip) => chip.split],
  doubt: ["doubt (looks wrong, unsure)", (chip) => chip.doubt],
  ...Object.fromEntries(MEASURES.map((key) => [key, [store.measures[key], (chip) => chip.measures[key]]])),
  ...(store.continuous ? { mean: ["mean value", (chip) => chip.mean] } : {}),
  ...Object.fromEntries(PRESENT.map((code) => [`class-${code}`, [`share of ${store.classes[code].name}`, (chip) => chip.shares[code]]])),
};

function inOrder(list, key, descending) {
  const value = ORDERS[key][1];
  const compare = (one, other) => {
    const [a, b] = [value(one), value(other)];
    if (a == null || b == null) return (a == null) - (b == null); // without a value: always last
    const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return (descending ? -order : order) || one.id.localeCompare(other.id);
  };
  return [...list].sort(compare);
}

function passes(chip, wanted) {
  const text = `${chip.id} ${chip.scene}`.toLowerCase();
  const within = ([key, [low, high]]) =>
    (low <= 0 && high >= 1) || (key in chip.measures && chip.measures[key] >= low && chip.measures[key] <= high);
  return text.includes(wanted.find) && wanted.splits.has(chip.split) && chip.shares[wanted.code] >= wanted.share &&
    (!wanted.wrong || chip.flags.length > 0) && Object.entries(wanted.ranges).every(within);
}
