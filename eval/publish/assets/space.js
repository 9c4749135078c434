// A test chip is picked; its pictures are shown side by side.
const page = read("space");
const chosen = $("chip");

const legend = (title, classes) => [
  element("span", {}, `${title}:`),
  ...classes.map((entry) => element("span", {}, swatch(entry.colour), entry.name)),
];

function show() {
  const chip = page.chips[chosen.selectedIndex];
  $("facts").textContent = `scene ${chip.scene}; ${chip.right === null ? "without a reference" : `${(100 * chip.right).toFixed(1)} % of the pixels right`}`;
  $("pictures").replaceChildren(
    ...chip.pictures.map(({ caption, uri }) =>
      element("figure", {}, element("img", { src: uri, alt: `${caption} of ${chip.id}` }), element("figcaption", {}, caption))),
  );
}

function step(by) {
  chosen.selectedIndex = (chosen.selectedIndex + by + page.chips.length) % page.chips.length;
  show();
}

$("name").textContent = page.name;
$("claim").textContent = page.claim;
chosen.append(...page.chips.map((chip) => element("option", {}, chip.id)));
$("legends").append(...page.legends.flatMap(({ title, classes }) => [element("div", {}, ...legend(title, classes))]));
chosen.addEventListener("change", show);
$("previous").addEventListener("click", () => step(-1));
$("next").addEventListener("click", () => step(1));
show();
