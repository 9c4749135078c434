// One chip, large: two layers with a divider between them, the token grid, the numbers.
const viewer = { list: [], at: 0, cell: null, pixels: new Map() };
const current = () => viewer.list[viewer.at];
const layersOf = (chip) => Object.keys(LAYERS).filter((name) => name in chip.layers);
const uriOf = (chip, layer) => chip.layers[layer][Math.min(+$("sample").value || 0, chip.layers[layer].length - 1)];
const isMap = (layer) => store.drawnByLegend && (layer === "map" || layer === "reference");

function pair(chip, left, right) {
  const have = layersOf(chip);
  const first = have.includes(left) ? left : have.find((name) => name !== "map") ?? "map";
  return [first, have.includes(right) ? right : have.includes("map") ? "map" : have[0]];
}

function openViewer(chip, list) {
  viewer.list = list.includes(chip) ? list : [chip];
  viewer.at = viewer.list.indexOf(chip);
  viewer.cell = null;
  if (!$("viewer").open) $("viewer").showModal();
  showChip();
  $("stage").focus();
}

function step(by) {
  viewer.at = (viewer.at + by + viewer.list.length) % viewer.list.length;
  showChip();
}

function showChip() {
  const chip = current();
  const chosen = pair(chip, $("left").value || "rgb", $("right").value || "map");
  for (const [place, id] of ["left", "right"].entries()) {
    $(id).replaceChildren(...layersOf(chip).map((name) => option(name, LAYERS[name])));
    $(id).value = chosen[place];
  }
  $("title").textContent = chip.id;
  const where = chip.ring ? `${coordinate(chip.ring, 1, "N", "S")} ${coordinate(chip.ring, 0, "E", "W")}` : "no georeference";
  const taken = Object.entries(chip.series).map(([name, position]) => `${name} ${position}`).join(", ");
  const series = store.timesteps > 1 && `positions in the series: ${taken}`;
  $("subtitle").textContent = [`scene ${chip.scene}`, chip.split, where, series, `${viewer.at + 1} of ${viewer.list.length}`].filter(Boolean).join(" · ");
  $("flags").replaceChildren(...chip.flags.map((flag) => element("span", { className: "flag" }, `⚑ ${flag} `)));
  const rows = MEASURES.map((key) => [store.measures[key], number(chip.measures[key])]);
  if (store.continuous) rows.push(["mean value", number(chip.mean)]);
  $("numbers").replaceChildren(...rows.map(([name, value]) => element("tr", {}, element("td", {}, name), element("td", {}, value))));
  const order = chip.shares.map((share, code) => [share, code]).filter(([share]) => share > 0).sort((a, b) => b[0] - a[0]);
  $("shares").replaceChildren(...order.slice(0, 12).map(([share, code]) => shareRow(share, store.classes[code])));
  for (const [shown, shape] of shapes) shape.classList.toggle("on", shown === chip);
  showLayers();
}

function shareRow(share, entry) {
  const filled = element("i", { style: { width: `${100 * share}%`, background: entry.colour } });
  return element("li", {}, element("span", {}, swatch(entry.colour), entry.name),
    element("div", { className: "bar" }, filled), element("span", {}, percent(share, 1)));
}

function coordinate(ring, axis, positive, negative) {
  const mean = ring.reduce((sum, corner) => sum + corner[axis], 0) / ring.length;
  return `${Math.abs(mean).toFixed(3)}°${mean < 0 ? negative : positive}`;
}

function showLayers() {
  const chip = current();
  for (const [image, select, label] of [["under", "left", "left-name"], ["over", "right", "right-name"]]) {
    const layer = $(select).value;
    $(image).src = uriOf(chip, layer);
    $(image).classList.toggle("pixels", isMap(layer));
    $(label).textContent = LAYERS[layer];
  }
  $("grid").hidden = !$("tokens").checked;
  viewer.pixels.clear();
  placeCell(viewer.cell);
}

function setSwipe(value) {
  const at = Math.min(Math.max(value, 0), 100);
  $("swipe").value = at;
  $("stage").style.setProperty("--at", `${at}%`);
}

// The last patch of a row may reach beyond the chip, so that neither side need have a whole number of cells.
const lastCell = store.cells.map((cells) => Math.ceil(cells) - 1);

function tokensOf(chip) {
  const sample = Math.min(+$("sample").value || 0, chip.tokens.length - 1);
  const bytes = Uint8Array.from(atob(chip.tokens[sample]), (character) => character.charCodeAt(0));
  return new Uint16Array(bytes.buffer);
}

// The colour a map shows at a place tells its class.
function className(image, layer, x, y) {
  if (!isMap(layer) || !$(image).complete) return "";
  if (!viewer.pixels.has(image)) {
    const canvas = element("canvas", { width: $(image).naturalWidth, height: $(image).naturalHeight });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage($(image), 0, 0);
    viewer.pixels.set(image, context);
  }
  const context = viewer.pixels.get(image), { width, height } = context.canvas;
  const [red, green, blue] = context.getImageData(Math.floor(x * width), Math.floor(y * height), 1, 1).data;
  const colour = `#${[red, green, blue].map((part) => part.toString(16).padStart(2, "0")).join("")}`;
  const legend = layer === "reference" ? current().referenceClasses : store.classes;
  return `${layer} ${legend.find((entry) => entry.colour === colour)?.name ?? "without a value"}`;
}

function placeCell(cell, x, y) {
  const chip = current(), on = cell && $("tokens").checked;
  viewer.cell = cell;
  $("cell").hidden = !on;
  const words = [];
  if (cell) {
    const [row, column] = cell;
    const [rows, columns] = store.cells;
    $("cell").style.left = `${100 * column / columns}%`;
    $("cell").style.top = `${100 * row / rows}%`;
    if (on && chip.tokens) words.push(`token ${tokensOf(chip)[row * (lastCell[1] + 1) + column]}`);
    if (on) words.push(`row ${row}, column ${column}`);
    const [px, py] = [x ?? (column + .5) / columns, y ?? (row + .5) / rows].map((part) => Math.min(part, .9999));
    words.push(className("under", $("left").value, px, py), className("over", $("right").value, px, py));
  }
  $("readout").textContent = [...new Set(words.filter(Boolean))].join(" · ");
}

function pointAt(event) {
  const box = $("stage").getBoundingClientRect();
  const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((part) => Math.min(Math.max(part, 0), .9999));
  if (event.buttons & 1) setSwipe(100 * x);
  placeCell([y, x].map((part, axis) => Math.floor(part * store.cells[axis])), x, y);
}

function moveCell(rows, columns) {
  const [row, column] = viewer.cell ?? [0, -1 * columns];
  $("tokens").checked = true;
  $("grid").hidden = false;
  placeCell([row + rows, column + columns].map((place, axis) => Math.min(Math.max(place, 0), lastCell[axis])));
}

function exchange() {
  [$("left").value, $("right").value] = [$("right").value, $("left").value];
  showLayers();
}

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function viewerKey(event) {
  const typing = event.target.matches("select, input[type=range]");
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && event.key in ARROWS)) return;
  const actions = {
    ArrowLeft: () => step(-1),
    ArrowRight: () => step(1),
    "[": () => setSwipe(+$("swipe").value - 5),
    "]": () => setSwipe(+$("swipe").value + 5),
    x: exchange,
    s: () => { $("sample").value = (+$("sample").value + 1) % store.samples; showLayers(); },
    g: () => { $("tokens").checked = !$("tokens").checked; showLayers(); },
  };
  const action = event.shiftKey && event.key in ARROWS ? () => moveCell(...ARROWS[event.key]) : actions[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

function startViewer() {
  $("sample").replaceChildren(...Array.from({ length: store.samples }, (_, sample) => option(sample, `${sample}`)));
  $("sample-label").hidden = store.samples === 1;
  for (const id of ["left", "right", "sample", "tokens"]) $(id).addEventListener("change", showLayers);
  for (const id of ["under", "over"]) $(id).addEventListener("load", () => { viewer.pixels.delete(id); placeCell(viewer.cell); });
  $("swipe").addEventListener("input", () => setSwipe(+$("swipe").value));
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("close").addEventListener("click", () => $("viewer").close());
  $("stage").addEventListener("pointerdown", (event) => { $("stage").setPointerCapture(event.pointerId); pointAt(event); });
  $("stage").addEventListener("pointermove", pointAt);
  $("viewer").addEventListener("keydown", viewerKey);
}
