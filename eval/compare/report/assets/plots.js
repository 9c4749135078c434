// The forest plot, the gauge under the verdict and the bars by class.
function shape(tag, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

const STRONG = 0.02;

// Rows of the forest plot: words, estimate, class of the marks, whether the words stand out.
function forestRows() {
  const rows = [["candidate − baseline", candidate.to_baseline.miou, "candidate", true]];
  for (const [name, entry] of Object.entries(candidate.to_baseline.classes)) rows.push([`· ${name}`, entry, "candidate", entry.differs]);
  for (const arm of controls) {
    rows.push([`${arm.name} − baseline`, arm.to_baseline.miou, "", false]);
    rows.push([`candidate − ${arm.name}`, arm.candidate_to_this.miou, "candidate", false]);
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
  const line = narrow ? 44 : 27, words = narrow ? 4 : 165, height = rows.length * line + 24;
  const x = scale(rows.map(([, entry]) => entry), narrow ? 8 : words + 10, width - (narrow ? 8 : 180));
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.style.height = `${height}px`;
  svg.replaceChildren(...rules(x, 4, height - 18), shape("text", { class: "quiet", x: x(0), y: height - 4, "text-anchor": "middle" }, "0"),
    shape("text", { class: "quiet", x: x(STRONG), y: height - 4, "text-anchor": "middle" }, "+2"),
    ...rows.flatMap(([name, entry, kind, sure], place) => {
      const middle = place * line + 17, y = narrow ? middle + 16 : middle;
      const text = shape("text", { x: 0, y: middle + 4, class: sure ? "sure" : "" }, name);
      const value = shape("text", { x: width, y: middle + 4, "text-anchor": "end", class: "quiet" }, `${points(entry.difference)} (${interval(entry)})`);
      return [text, value, ...drawEstimate(entry, x, y, kind)];
    }));
}

function gauge() {
  const svg = $("gauge"), entry = report.difference, width = Math.max(svg.clientWidth, 240), x = scale([entry], 8, width - 8);
  svg.setAttribute("viewBox", `0 0 ${width} 44`);
  const label = (value, words) => shape("text", { class: "quiet", x: x(value), y: 40, "text-anchor": "middle" }, words);
  svg.replaceChildren(...rules(x, 4, 28), label(0, "0"), label(STRONG, "+2"), ...drawEstimate(entry, x, 16, "candidate"));
}

function bars() {
  const bar = (arm, name) => {
    const share = arm.metrics.iou_by_class[name];
    return [element("div", { className: `bar ${role(arm)}`, title: `${arm.name} ${percent(share)}` }, element("i", { style: { width: `${100 * (share ?? 0)}%` } })), element("span", {}, percent(share, 1))];
  };
  $("classes").replaceChildren(...report.test.classes.map((name) => element("div", { className: "bars" }, element("b", {}, name), ...bar(baseline, name), ...bar(candidate, name))),
    element("p", { className: "quiet" }, "Above: baseline. Below, in colour: candidate."));
}
