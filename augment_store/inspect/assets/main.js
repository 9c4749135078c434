// The page: overview, filters, cards.
const cards = new Map();
let shown = chips;

function facts() {
  $("name").textContent = store.name;
  const timestep = store.timesteps > 1 ? `timestep ${store.timestep} of 0 to ${store.timesteps - 1} shown` : "";
  const sample = store.seen < store.complete ? `numbers from a seeded sample of ${store.seen} chips` : "";
  $("facts").textContent = [store.title, store.progress, `${chips.length} shown here`, timestep, sample,
    `fingerprint ${store.fingerprint.slice(0, 12)}`].filter(Boolean).join(" · ");
}

function overview() {
  const name = (group) => group.name || "no split";
  $("groups").replaceChildren(...store.groups.map((group) => element("div", { className: "group" }, `${name(group)} (${group.chips})`, bar(group.shares))));
  $("legend").replaceChildren(...store.classes.filter((_, code) => store.groups.some((group) => group.shares[code] > 0))
    .map((entry) => element("li", {}, swatch(entry.colour), entry.name)));
  $("wrong-note").textContent = store.wrong ? `⚑ ${store.wrong} of ${store.seen} chips look wrong: ${store.flags.map(([flag, chips]) => `${flag} (${chips})`).join(", ")}` : "";
  const rows = Object.entries(store.measures).filter(([key]) => store.groups.some((group) => key in group.measures))
    .map(([key, words]) => [words, (group) => group.measures[key]]);
  if (store.continuous) rows.push(["mean value", (group) => group.mean]);
  const head = element("tr", {}, element("th"), ...store.groups.map((group) => element("th", {}, name(group))));
  $("measures").replaceChildren(head, ...rows.map(([words, value]) =>
    element("tr", {}, element("td", {}, words), ...store.groups.map((group) => element("td", {}, number(value(group)))))));
}

function card(chip) {
  const [left, right] = pair(chip, "rgb", "map");
  const image = (layer, side) => element("img", { src: chip.layers[layer][0], alt: LAYERS[layer], draggable: false, loading: "lazy",
    className: `${side} ${isMap(layer) ? "pixels" : ""}` });
  const swipe = element("div", { className: "swipe" }, image(left, "under"), image(right, "over"));
  swipe.addEventListener("pointermove", (event) => {
    const box = swipe.getBoundingClientRect();
    swipe.style.setProperty("--at", `${100 * (event.clientX - box.left) / box.width}%`);
  });
  swipe.addEventListener("pointerleave", () => swipe.style.removeProperty("--at"));
  const words = [["token", "token"], ["confidence", "confidence"], ...AGREEMENTS.map((key) => [key, key])].filter(([key]) => key in chip.measures)
    .map(([key, text]) => `${text} ${number(chip.measures[key])}`);
  const made = element("button", { type: "button", className: "card" }, swipe,
    element("div", {}, chip.split ? element("span", { className: "tag" }, chip.split) : "", element("strong", {}, chip.id)),
    bar(chip.shares), element("p", {}, words.join(" · ")), ...chip.flags.map((flag) => element("p", { className: "flag" }, `⚑ ${flag}`)));
  made.dataset.id = chip.id;
  made.addEventListener("click", () => openViewer(chip, shown));
  made.addEventListener("mouseenter", () => shapes.get(chip)?.classList.add("on"));
  made.addEventListener("mouseleave", () => shapes.get(chip)?.classList.remove("on"));
  return made;
}

function dualRange(key) {
  const inputs = ["smallest", "largest"].map((end, place) =>
    element("input", { type: "range", min: 0, max: 1, step: .01, defaultValue: place, id: `${key}-${place ? "high" : "low"}`, "aria-label": `${end} ${store.measures[key]}` }));
  return element("label", {}, element("span", {}, `${store.measures[key]} `, element("output", { id: `${key}-value` }, "any")),
    element("span", { className: "dual", id: `${key}-dual` }, ...inputs));
}

function controls() {
  $("splits").hidden = SPLITS.length < 2;
  $("splits").append(...SPLITS.map((name) => element("label", {}, element("input", { type: "checkbox", name: "split", value: name, defaultChecked: true }), name || "none")));
  $("share-class").replaceChildren(...PRESENT.map((code) => option(code, store.classes[code].name)));
  $("ranges").replaceChildren(...RANGED.map(dualRange));
  $("sort").replaceChildren(...Object.entries(ORDERS).map(([key, [words]]) => option(key, words)));
  $("map-colour").replaceChildren(option("class", "largest class"), ...RANGED.map((key) => option(key, store.measures[key])), ...(SPLITS.length > 1 ? [option("split", "split")] : []));
}

function wantedRange(key) {
  const [low, high] = [+$(`${key}-low`).value, +$(`${key}-high`).value].sort((a, b) => a - b);
  $(`${key}-dual`).style.setProperty("--low", `${100 * low}%`);
  $(`${key}-dual`).style.setProperty("--high", `${100 * high}%`);
  $(`${key}-value`).textContent = low <= 0 && high >= 1 ? "any" : `${number(low)} to ${number(high)}`;
  return [key, [low, high]];
}

function update() {
  const splits = [...document.querySelectorAll("input[name=split]:checked")].map((input) => input.value);
  $("share-value").textContent = percent($("share").value / 100);
  const wanted = { find: $("find").value.trim().toLowerCase(), splits: new Set(splits), code: +$("share-class").value, share: $("share").value / 100,
    wrong: $("wrong").checked, ranges: Object.fromEntries(RANGED.map(wantedRange)) };
  const descending = $("direction").getAttribute("aria-pressed") === "true";
  shown = inOrder(chips.filter((chip) => passes(chip, wanted)), $("sort").value, descending);
  $("direction").textContent = descending ? "↑" : "↓";
  $("count").textContent = `${shown.length} of ${chips.length} chips`;
  $("none").hidden = shown.length > 0;
  $("cards").replaceChildren(...shown.map((chip) => cards.get(chip)));
  paintFootprints(new Set(shown));
}

function cardKey(event) {
  const all = [...$("cards").children], at = all.indexOf(document.activeElement);
  if (at < 0 || !(event.key in ARROWS) || event.shiftKey) return;
  const columns = all.filter((entry) => entry.offsetTop === all[0].offsetTop).length;
  const [rows, steps] = ARROWS[event.key];
  event.preventDefault();
  all[Math.min(Math.max(at + rows * columns + steps, 0), all.length - 1)].focus();
}

function pageKey(event) {
  if ($("viewer").open || event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); $("find").focus(); }
  else if (event.key === "?") $("help").showModal();
  else if (event.key in ARROWS && document.activeElement === document.body && shown.length) { event.preventDefault(); cards.get(shown[0]).focus(); }
}

["rows", "columns"].forEach((name, axis) => document.body.style.setProperty(`--${name}`, store.cells[axis]));
facts();
overview();
controls();
for (const chip of chips) cards.set(chip, card(chip));
drawFootprints((chip) => openViewer(chip, shown));
startViewer();
update();
$("controls").addEventListener("input", update);
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("controls").addEventListener("reset", () => { $("direction").setAttribute("aria-pressed", "false"); setTimeout(update); });
$("direction").addEventListener("click", () => { $("direction").setAttribute("aria-pressed", $("direction").getAttribute("aria-pressed") !== "true"); update(); });
$("map-colour").addEventListener("change", update);
$("cards").addEventListener("keydown", cardKey);
$("help-open").addEventListener("click", () => $("help").showModal());
$("viewer").addEventListener("close", () => { for (const shape of shapes.values()) shape.classList.remove("on"); cards.get(current())?.focus(); });
document.addEventListener("keydown", pageKey);
