// The forest plot, the gauge under the verdict, the bars by class and the scatter of scenes.
function shape(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

// Round numbers between two values, about three of them: 0.60, 0.65, 0.70.
function ticks(low, high) {
  const rough = Math.max(high - low, 0.004) / 2, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
  return first > last ? [low] : Array.from({ length: last - first + 1 }, (_, place) => (first + place) * step);
}

const STRONG = report.statistics.strong_above;

// A class differs by both its p after Holm and its interval.
const differs = (entry) => entry.p_holm < 1 - report.statistics.level && (entry.low > 0 || entry.high < 0);

// Rows of the forest plot: words, estimate, class of the marks, whether the words stand out.
function forestRows() {
  const rows = [];
  for (const metric of report.metrics.filter((entry) => entry.interval)) {
    if (metric.by_class) {
      const found = Object.entries(candidate.to_baseline.by_class[metric.key]);
      rows.push(...found.map(([name, entry]) => [`${metric.label} ${name}`, entry, "candidate", differs(entry)]));
      continue;
    }
    const words = metric.key === report.headline_metric ? "" : `${metric.label}: `;
    const row = (one, other, found, kind, sure = false) => [`${words}${one} − ${other}`, found.overall[metric.key], kind, sure];
    rows.push(row(candidate.title, baseline.title, candidate.to_baseline, "candidate", true));
    for (const arm of controls) rows.push(row(arm.name, baseline.title, arm.to_baseline, ""), row(candidate.title, arm.name, arm.candidate_to_this, "candidate"));
  }
  return rows;
}

function scale(entries, left, right) {
  const ends = entries.flatMap((entry) => [entry.difference, entry.low ?? entry.difference, entry.high ?? entry.difference]);
  const low = Math.min(-0.005, ...ends), high = Math.max(STRONG + 0.005, ...ends), room = 0.04 * (high - low);
  return (value) => left + ((value - low + room) / (high - low + 2 * room)) * (right - left);
}

function drawEstimate(entry, x, y, kind) {
  const parts = [shape("circle", { class: `dot ${kind}`, cx: x(entry.difference), cy: y, r: 4.5 })];
  if (entry.low != null) parts.unshift(shape("line", { class: `span ${kind}`, x1: x(entry.low), x2: x(entry.high), y1: y, y2: y }));
  return parts;
}

function rules(x, top, bottom) {
  return [shape("line", { class: "zero", x1: x(0), x2: x(0), y1: top, y2: bottom }), shape("line", { class: "mark", x1: x(STRONG), x2: x(STRONG), y1: top, y2: bottom })];
}

function forest() {
  const svg = $("forest"), rows = forestRows(), width = Math.max(svg.clientWidth, 300), narrow = width < 480;
  const longest = Math.max(...rows.map(([name]) => name.length)), words = Math.min(7.4 * longest, width / 2.4);
  const line = narrow ? 44 : 27, height = rows.length * line + 24;
  const x = scale(rows.map(([, entry]) => entry), narrow ? 8 : words + 12, width - (narrow ? 8 : 180));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  const label = (value, text) => shape("text", { class: "quiet", x: x(value), y: height - 4, "text-anchor": "middle" }, text);
  svg.replaceChildren(...(narrow ? [] : rules(x, 4, height - 18)), label(0, "0"), label(STRONG, "+2"),
    ...rows.flatMap(([name, entry, kind, sure], place) => {
      const middle = place * line + 17, y = narrow ? middle + 16 : middle;
      const text = shape("text", { x: 0, y: middle + 4, class: sure ? "sure" : "" }, name);
      const value = shape("text", { x: width, y: middle + 4, "text-anchor": "end", class: "quiet" }, `${points(entry.difference)} (${interval(entry)})`);
      return [...(narrow ? rules(x, y - 9, y + 9) : []), text, value, ...drawEstimate(entry, x, y, kind)]; // narrow: not through the words
    }));
}

function gauge() {
  const svg = $("gauge"), entry = report.difference, width = Math.max(svg.clientWidth, 240), x = scale([entry], 8, width - 8);
  svg.setAttribute("viewBox", `0 0 ${width} 44`);
  const label = (value, words) => shape("text", { class: "quiet", x: x(value), y: 40, "text-anchor": "middle" }, words);
  svg.replaceChildren(...rules(x, 4, 28), label(0, "0"), label(STRONG, "+2"), ...drawEstimate(entry, x, 16, "candidate"));
}

function bars() {
  const bar = (metric, arm, name) => {
    const share = arm.metrics.by_class[metric.key][name];
    const words = share == null ? "–" : percent(share, 1);
    return [element("div", { className: `bar ${role(arm)}`, title: `${arm.title} ${words}` }, element("i", { style: { width: `${100 * (share ?? 0)}%` } })), element("span", {}, words)];
  };
  const rows = (metric) => report.test.classes.map((name) => element("div", { className: "bars" }, element("b", {}, name), ...bar(metric, baseline, name), ...bar(metric, candidate, name)));
  const absent = report.test.classes.filter((name) => report.test.scenes_by_class[name] === 0);
  $("classes").replaceChildren(...byClass.flatMap((metric) => [element("h2", {}, `${metric.label} by class`), ...rows(metric)]),
    element("p", { className: "quiet" }, `Above: ${baseline.title}. Below, in colour: ${candidate.title}.${absent.length ? ` –: not in the reference (${absent.join(", ")}).` : ""}`));
}

function curves() {
  const svg = $("curves"), width = Math.max(svg.clientWidth, 240), height = 210, left = 46, bottom = height - 24;
  const lines = [baseline, candidate].flatMap((arm) => arm.runs.map((run, place) => [arm, run.curve.filter((epoch) => epoch.val_miou != null), run.origin.seed, place])).filter(([, epochs]) => epochs.length > 1);
  const there = lines.length > 0, every = lines.flatMap(([, epochs]) => epochs);
  for (const name of ["curves", "curves-note"]) $(name).toggleAttribute("hidden", !there);
  if (!there) return there;
  const last = Math.max(...every.map((entry) => entry.epoch)), values = every.map((entry) => entry.val_miou);
  const low = Math.min(...values), high = Math.max(...values), room = Math.max(high - low, 0.01);
  const x = (epoch) => left + (epoch / Math.max(last, 1)) * (width - left - 10), y = (share) => bottom - ((share - low) / room) * (bottom - 12);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const mark = (attributes, words) => shape("text", { class: "quiet", ...attributes }, words);
  svg.replaceChildren(
    ...ticks(low, high).flatMap((share) => [shape("line", { class: "axis", x1: left, x2: width - 10, y1: y(share), y2: y(share) }), mark({ x: left - 6, y: y(share) + 4, "text-anchor": "end" }, percent(share, 1))]),
    mark({ x: left, y: height - 6 }, "epoch 0"), mark({ x: width - 10, y: height - 6, "text-anchor": "end" }, String(last)),
    ...lines.map(([arm, epochs, seed, run]) => { // the first run's line is whole, others are dashed, each in its own way
      const line = shape("path", { class: role(arm), "stroke-dasharray": run ? `${2 + 3 * run} 3` : "none", d: epochs.map((entry, place) => `${place ? "L" : "M"}${x(entry.epoch)} ${y(entry.val_miou)}`).join("") });
      line.append(shape("title", {}, `${arm.title}, seed ${seed ?? "unknown"}`));
      return line;
    }));
  return there;
}

function scenes() {
  const svg = $("scenes"), width = Math.max(svg.clientWidth, 240), height = Math.min(width, 340), left = 52, bottom = height - 40;
  const values = report.scenes.flatMap((row) => [row.baseline, row.candidate]), low = Math.min(...values), high = Math.max(...values);
  const room = 0.06 * Math.max(high - low, 0.01), most = Math.max(...report.scenes.map((row) => row.chips));
  const share = (value) => (value - low + room) / (high - low + 2 * room);
  const x = (value) => left + share(value) * (width - left - 12), y = (value) => bottom - share(value) * (bottom - 10);
  const mark = (attributes, words) => shape("text", { class: "quiet", ...attributes }, words);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  svg.replaceChildren(
    ...ticks(low, high).flatMap((value) => [
      shape("line", { class: "axis", x1: left, x2: width - 12, y1: y(value), y2: y(value) }), mark({ x: left - 6, y: y(value) + 4, "text-anchor": "end" }, percent(value, 1)),
      shape("line", { class: "axis", x1: x(value), x2: x(value), y1: 10, y2: bottom }), mark({ x: x(value), y: bottom + 16, "text-anchor": "middle" }, percent(value, 1))]),
    shape("line", { class: "mark", x1: x(low - room), y1: y(low - room), x2: x(high + room), y2: y(high + room) }),
    mark({ x: left, y: height - 6 }, `across: ${baseline.title}; upwards: ${candidate.title}`),
    ...report.scenes.map((row) => {
      const dot = shape("circle", { class: "scene", cx: x(row.baseline), cy: y(row.candidate), r: 3.5 + 4 * Math.sqrt(row.chips / most) });
      dot.append(shape("title", {}, `${row.scene}, ${counted(row.chips, "chip")}: ${percent(row.baseline, 1)} → ${percent(row.candidate, 1)} (${points(row.difference)} pp)`));
      return dot;
    }));
  $("ahead").textContent = `${candidate.title} is ahead in ${report.scenes.filter((row) => row.difference > 0).length} of ${counted(report.scenes.length, "scene")}.`;
}
