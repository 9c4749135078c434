// The data, how numbers are written, and the tables.
const report = read("report");
const pictures = read("pictures");
const { baseline, candidate, controls } = report;
const everyArm = [baseline, candidate, ...controls];
const overall = report.metrics.filter((metric) => !metric.by_class);
const byClass = report.metrics.filter((metric) => metric.by_class && metric.interval);
const role = (arm) => (arm === baseline ? "baseline" : arm === candidate ? "candidate" : "control");
const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

const percent = (share, digits = 2) => (share == null ? "–" : `${(100 * share).toFixed(digits)} %`);
const points = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(2)}`;
const duration = (seconds) => (seconds < 600 ? `${seconds.toFixed(0)} s` : seconds < 5400 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`);
const interval = (entry) => (entry.low == null ? "no interval" : `${points(entry.low)} to ${points(entry.high)}`);

function verdict() {
  const { verdict, difference, test } = report;
  $("names").textContent = `${candidate.title} against ${baseline.title}`;
  $("facts").textContent = `${counted(test.chips, "test chip")} of ${counted(test.scenes.length, "scene")} · ${report.created.slice(0, 10)}`;
  $("verdict").classList.add(verdict.claimed ? "claimed" : verdict.harmful ? "worse" : "unclear");
  $("headline").textContent = verdict.outcome;
  $("difference").textContent = `${points(difference.difference)} pp of mIoU`;
  $("interval").textContent = difference.low == null ? "no interval: a single scene" : `95 % interval ${interval(difference)}`;
  $("words").replaceChildren(...verdict.words.map((words) => element("li", {}, words)));
}

function checklist() {
  $("left-out").textContent = report.left_out.map(({ words }) => words).join(" ");
  fill($("checklist"), ["question", "answer", ""],
    report.checklist.map(({ question, yes, words }) => [question, yes ? "yes" : "no", words]));
}

function helps() {
  const { slopes, words } = report.helps;
  $("helps-words").replaceChildren(...words.map((text) => element("li", {}, text)));
  $("helps").hidden = !slopes.length;
  fill($("helps"), ["gain in mIoU per SD of", "by", "SD", "slope (pp)", "95 % interval", "p after Holm"],
    slopes.map(({ covariate, level, spread, slope }) => [covariate, level, spread.toFixed(3), points(slope.difference), interval(slope), slope.p_holm.toFixed(3)]));
}

// An arm's name in a table: what it is in the comparison, and what its runs are called.
const named = (arm) => (arm.title === arm.name ? [arm.name] : [`${arm.name} `, element("small", {}, arm.title)]);

// A column of the table of arms: its heading, the value it is sorted by, and what is shown.
const COLUMNS = [
  ["arm", (arm) => arm.name, named],
  ["runs", (arm) => arm.runs.length, (arm) => [String(arm.runs.length)]],
  ...overall.flatMap((metric) => {
    const value = (arm) => arm.metrics.overall[metric.key];
    const own = [[metric.label, value, (arm) => [percent(value(arm))]]];
    if (!metric.interval) return own;
    const words = metric.key === report.headline_metric ? "" : `${metric.label}: `;
    const difference = (which) => (arm) => arm[which]?.overall[metric.key];
    const column = (name, which) => [words + name, (arm) => difference(which)(arm)?.difference, (arm) => {
      const entry = difference(which)(arm);
      return [entry ? `${points(entry.difference)} (${interval(entry)})` : ""];
    }];
    return [...own, column("to the baseline", "to_baseline"), column("candidate to this", "candidate_to_this")];
  }),
];

function fillArms(arms) {
  $("arms").tBodies[0].replaceChildren(...arms.map((arm) =>
    element("tr", { className: role(arm) }, ...COLUMNS.map(([, , text]) => element("td", {}, ...text(arm))))));
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
  $("averages").textContent = report.statistics.averages;
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
  $("confusion-arm").replaceChildren(...everyArm.map((arm, place) => element("option", { value: place }, arm.title === arm.name ? arm.name : `${arm.name} (${arm.title})`)));
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
  fill($("seeds"), ["seed", baseline.title, candidate.title, "difference (pp)"],
    seeds.map((row) => [String(row.seed), percent(row.baseline), percent(row.candidate), points(row.difference)]));
  fill($("without"), ["class", "scenes with it", `mIoU without it: ${baseline.title}`, `mIoU without it: ${candidate.title}`],
    test.classes.map((name) => [name, String(test.scenes_by_class[name]), percent(baseline.miou_without_class[name]), percent(candidate.miou_without_class[name])]));
  $("family").textContent = family.words;
}

function costs() {
  const rows = everyArm.map((arm) => [arm, arm.runs.flatMap((run) => (run.origin.run ? [run.origin.run.cost] : []))]).filter(([, costs]) => costs.length);
  const whole = (number) => number.toLocaleString("en");
  const mean = (costs) => costs.reduce((sum, cost) => sum + cost.wall_seconds, 0) / costs.length;
  fill($("costs"), ["arm", "parameters", "trained", "epochs", "steps", "time a run", "device"], rows.map(([arm, costs]) => {
    const [cost] = costs;
    return [arm.title, whole(cost.parameters), whole(cost.trainable_parameters), whole(cost.epochs), whole(cost.steps), duration(mean(costs)), `${cost.device}, ${cost.precision}`];
  }));
  $("costs").hidden = !rows.length;
  return rows.length > 0;
}

// Nested records as rows: the names on the way to a value, and the value.
function flat(value, path = []) {
  if (value === null || value === "" || (Array.isArray(value) && !value.length)) return [];
  if (typeof value !== "object" || Array.isArray(value)) return [[path.join(" · ").replaceAll("_", " "), String(value)]];
  return Object.entries(value).flatMap(([key, entry]) => flat(entry, [...path, key]));
}

function origins() {
  const rows = (origin) => flat(origin).map((row) => element("tr", {}, ...row.map((text) => element("td", {}, text))));
  $("origins").replaceChildren(...everyArm.flatMap((arm) => arm.runs.map((run) =>
    element("details", {}, element("summary", {}, `${arm.name} · ${run.folder} · mIoU ${percent(run.metrics.overall[report.headline_metric])}${run.origin.run?.smoke ? " · a smoke run" : ""}`),
      element("table", {}, element("tbody", {}, ...rows(run.origin)))))));
}
