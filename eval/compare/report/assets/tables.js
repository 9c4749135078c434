// The data, how numbers are written, and the tables.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const report = read("report");
const pictures = read("pictures");
const $ = (id) => document.getElementById(id);
const { baseline, candidate, controls } = report;
const everyArm = [baseline, candidate, ...controls];
const role = (arm) => (arm === baseline ? "baseline" : arm === candidate ? "candidate" : "control");

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") for (const [key, entry] of Object.entries(value)) made.style.setProperty(key, entry);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const percent = (share, digits = 2) => (share == null ? "–" : `${(100 * share).toFixed(digits)} %`);
const points = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(2)}`;
const interval = (entry) => (entry.low == null ? "no interval" : `${points(entry.low)} to ${points(entry.high)}`);
const swatch = (colour) => element("i", { className: "swatch", style: { background: colour } });

function verdict() {
  const { verdict, difference, test } = report;
  document.title = `${verdict.headline}: ${points(difference.difference)} pp`;
  $("facts").textContent = `${test.chips} test chips of ${test.scenes.length} scenes · ${report.created.slice(0, 10)}`;
  $("verdict").classList.add(verdict.grade, ...(verdict.claimed ? [] : ["unclear"]));
  $("headline").textContent = verdict.headline;
  $("difference").textContent = `${points(difference.difference)} pp of mIoU`;
  $("interval").textContent = difference.low == null ? "no interval: a single scene" : `95 % interval ${interval(difference)}`;
  $("words").replaceChildren(...verdict.words.map((words) => element("li", {}, words)));
}

// A column of the table of arms: its heading, the value it is sorted by, and the text shown.
const COLUMNS = [
  ["arm", (arm) => arm.name, (arm) => arm.name],
  ["runs", (arm) => arm.runs.length, (arm) => String(arm.runs.length)],
  ["mIoU", (arm) => arm.metrics.miou_macro_reference_classes, (arm) => percent(arm.metrics.miou_macro_reference_classes)],
  ["to the baseline", (arm) => arm.to_baseline?.miou.difference, (arm) => (arm.to_baseline ? points(arm.to_baseline.miou.difference) : "")],
  ["95 % interval", (arm) => arm.to_baseline?.miou.low, (arm) => (arm.to_baseline ? interval(arm.to_baseline.miou) : "")],
  ["candidate to this", (arm) => arm.candidate_to_this?.miou.difference, (arm) => (arm.candidate_to_this ? `${points(arm.candidate_to_this.miou.difference)} (${interval(arm.candidate_to_this.miou)})` : "")],
  ["pixel accuracy", (arm) => arm.metrics.pixel_accuracy, (arm) => percent(arm.metrics.pixel_accuracy)],
  ["F1", (arm) => arm.metrics.f1_macro_reference_classes, (arm) => percent(arm.metrics.f1_macro_reference_classes)],
];

function fillArms(arms) {
  $("arms").tBodies[0].replaceChildren(...arms.map((arm) =>
    element("tr", { className: role(arm) }, ...COLUMNS.map(([, , text]) => element("td", {}, text(arm))))));
}

function sortArms(column) {
  const heads = [...$("arms").tHead.rows[0].cells], [, value] = COLUMNS[column];
  const descending = heads[column].getAttribute("aria-sort") !== "descending";
  heads.forEach((head, place) => head.setAttribute("aria-sort", place === column ? (descending ? "descending" : "ascending") : "none"));
  const known = everyArm.filter((arm) => value(arm) != null), rest = everyArm.filter((arm) => value(arm) == null);
  const order = (a, b) => (typeof value(a) === "string" ? value(a).localeCompare(value(b)) : value(a) - value(b));
  fillArms([...known.sort((a, b) => (descending ? order(b, a) : order(a, b))), ...rest]);
}

function arms() {
  $("arms").tHead.replaceChildren(element("tr", {}, ...COLUMNS.map(([name], column) => {
    const button = element("button", { type: "button" }, name);
    button.addEventListener("click", () => sortArms(column));
    return element("th", { scope: "col", "aria-sort": "none" }, button);
  })));
  fillArms(everyArm);
}

function fillConfusion() {
  const arm = everyArm[+$("confusion-arm").value], raw = $("confusion-raw").checked;
  const names = report.test.classes, none = arm.confusion.some((row) => row.at(-1) > 0) ? ["nothing"] : [];
  const columns = [...names, ...none];
  const head = element("tr", {}, element("th", {}, "reference ↓ prediction →"), ...columns.map((name) => element("th", { scope: "col" }, name)));
  const rows = names.map((name, row) => element("tr", {}, element("td", {}, name), ...columns.map((_, column) => {
    const share = arm.confusion_row_normalised[row][column];
    return element("td", { style: { "--share": share ?? 0 } }, raw ? arm.confusion[row][column].toLocaleString("en") : percent(share, 1));
  })));
  $("confusion").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

function confusion() {
  $("confusion-arm").replaceChildren(...everyArm.map((arm, place) => element("option", { value: place }, arm.name)));
  $("confusion-arm").value = 1;
  $("confusion-arm").addEventListener("change", fillConfusion);
  $("confusion-raw").addEventListener("change", fillConfusion);
  fillConfusion();
}

function fill(table, heads, rows) {
  const cells = (tag, words) => element("tr", {}, ...words.map((text) => element(tag, {}, text)));
  table.replaceChildren(element("thead", {}, cells("th", heads)), element("tbody", {}, ...rows.map((row) => cells("td", row))));
}

function seedsAndClasses() {
  const { seeds, test, family } = report;
  $("seeds").hidden = !seeds.length;
  fill($("seeds"), ["seed", "baseline", "candidate", "difference (pp)"],
    seeds.map((row) => [String(row.seed), percent(row.baseline), percent(row.candidate), points(row.difference)]));
  fill($("without"), ["class", "scenes with it", "baseline's mIoU without it", "candidate's mIoU without it"],
    test.classes.map((name) => [name, String(test.scenes_by_class[name]), percent(baseline.miou_without_class[name]), percent(candidate.miou_without_class[name])]));
  $("family").textContent = family.words;
}

function origins() {
  const rows = (origin) => Object.entries(origin).filter(([, value]) => value !== null && value !== "" && String(value) !== "")
    .map(([key, value]) => element("tr", {}, element("td", {}, key.replaceAll("_", " ")),
      element("td", {}, typeof value === "object" && !Array.isArray(value) ? Object.entries(value).map((pair) => pair.join(" ")).join(", ") : String(value))));
  $("origins").replaceChildren(...everyArm.flatMap((arm) => arm.runs.map((run) =>
    element("details", {}, element("summary", {}, `${arm.name} · ${run.folder} · mIoU ${percent(run.metrics.miou_macro_reference_classes)}${run.origin.smoke ? " · a smoke run" : ""}`),
      element("table", {}, element("tbody", {}, ...rows(run.origin)))))));
}
