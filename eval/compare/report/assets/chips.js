// The chips that gained and lost most, one at a time or all together.
const LAYERS = { rgb: "RGB", radar: "radar (VV, VH)", generated: "generated map", reference: "reference", baseline: `prediction of ${baseline.title}`, candidate: `prediction of ${candidate.title}`, agreement: "where they differ" };
const LEGENDS = { classes: pictures.legends.generated ? "reference, predictions" : "maps, reference, predictions", agreement: "where they differ", generated: "generated map" };
let at = 0;

function picture(chip, layer) {
  return element("img", { src: chip.layers[layer], alt: `${LAYERS[layer]} of ${chip.id}`, className: layer === "rgb" || layer === "radar" ? "" : "map" });
}

function gained(chip) {
  return `mIoU ${percent(chip.baseline, 1)} → ${percent(chip.candidate, 1)} (${points(chip.difference)} pp)`;
}

function showChip(place) {
  at = (place + pictures.chips.length) % pictures.chips.length;
  const chip = pictures.chips[at];
  $("chip-name").textContent = chip.id;
  $("chip-facts").textContent = `${at + 1} of ${pictures.chips.length} · scene ${chip.scene} · ${gained(chip)}`;
  $("layers").replaceChildren(...Object.keys(LAYERS).filter((layer) => layer in chip.layers).map((layer) => element("figure", {}, picture(chip, layer), element("figcaption", {}, LAYERS[layer]))));
}

// Rows of chips by columns of layers; a chip's name leads back to it alone.
function showTogether(together) {
  const layers = Object.keys(LAYERS).filter((layer) => pictures.chips.some((chip) => layer in chip.layers));
  const name = (chip, place) => {
    const button = element("button", { type: "button" }, chip.id);
    button.addEventListener("click", () => { showTogether(false); showChip(place); });
    return element("td", {}, button, element("div", { className: "quiet" }, gained(chip)));
  };
  $("together").setAttribute("aria-pressed", String(together));
  $("together").textContent = together ? "one at a time" : "all together";
  for (const id of ["layers", "chip-name", "chip-facts", "previous", "next"]) $(id).hidden = together;
  $("grid").hidden = !together;
  if (!together) return;
  const head = element("tr", {}, element("th", {}, "chip"), ...layers.map((layer) => element("th", {}, LAYERS[layer])));
  const rows = pictures.chips.map((chip, place) => element("tr", {}, name(chip, place), ...layers.map((layer) => element("td", {}, ...(layer in chip.layers ? [picture(chip, layer)] : [])))));
  $("grid").replaceChildren(element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows)));
}

function chips() {
  $("no-pictures").hidden = pictures.chips.length > 0;
  $("viewer").hidden = pictures.chips.length === 0;
  if (!pictures.chips.length) return;
  $("legends").replaceChildren(...Object.entries(pictures.legends).map(([key, entries]) =>
    element("p", {}, element("span", { className: "quiet" }, `${LEGENDS[key]}:`), ...entries.map((entry) => element("span", {}, swatch(entry.colour), entry.name)))));
  $("previous").addEventListener("click", () => showChip(at - 1));
  $("next").addEventListener("click", () => showChip(at + 1));
  $("together").addEventListener("click", () => showTogether($("grid").hidden));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") showChip(at - 1);
    if (event.key === "ArrowRight") showChip(at + 1);
  });
  showChip(0);
}
