// The chips that gained and lost most, one at a time.
const LAYERS = { rgb: "RGB", radar: "radar (VV, VH)", generated: "generated map", reference: "reference", baseline: `prediction of ${baseline.title}`, candidate: `prediction of ${candidate.title}`, agreement: "where they differ" };
const LEGENDS = { classes: pictures.legends.generated ? "reference, predictions" : "maps, reference, predictions", agreement: "where they differ", generated: "generated map" };
let at = 0;

function showChip(place) {
  at = (place + pictures.chips.length) % pictures.chips.length;
  const chip = pictures.chips[at];
  $("chip-name").textContent = chip.id;
  $("chip-facts").textContent = `${at + 1} of ${pictures.chips.length} · scene ${chip.scene} · mIoU ${percent(chip.baseline, 1)} → ${percent(chip.candidate, 1)} (${points(chip.difference)} pp)`;
  $("layers").replaceChildren(...Object.entries(LAYERS).filter(([layer]) => layer in chip.layers).map(([layer, words]) =>
    element("figure", {}, element("img", { src: chip.layers[layer], alt: `${words} of ${chip.id}`, className: layer === "rgb" || layer === "radar" ? "" : "map" }), element("figcaption", {}, words))));
}

function chips() {
  $("no-pictures").hidden = pictures.chips.length > 0;
  $("viewer").hidden = pictures.chips.length === 0;
  if (!pictures.chips.length) return;
  $("legends").replaceChildren(...Object.entries(pictures.legends).map(([key, entries]) =>
    element("p", {}, element("span", { className: "quiet" }, `${LEGENDS[key]}:`), ...entries.map((entry) => element("span", {}, swatch(entry.colour), entry.name)))));
  $("previous").addEventListener("click", () => showChip(at - 1));
  $("next").addEventListener("click", () => showChip(at + 1));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowLeft") showChip(at - 1);
    if (event.key === "ArrowRight") showChip(at + 1);
  });
  showChip(0);
}
