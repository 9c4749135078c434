// The map of footprints, drawn from the chips' own coordinates (longitude and latitude, WGS 84).
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 480, HEIGHT = 240, MARGIN = 26;
const located = chips.filter((chip) => chip.ring);
const shapes = new Map();

function draw(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text != null) made.textContent = text;
  $("map").append(made);
  return made;
}

function projection() {
  const corners = located.flatMap((chip) => chip.ring);
  const [xs, ys] = [corners.map((corner) => corner[0]), corners.map((corner) => corner[1])];
  const reduce = (values, pick) => values.reduce((a, b) => pick(a, b));
  const [west, east, south, north] = [reduce(xs, Math.min), reduce(xs, Math.max), reduce(ys, Math.min), reduce(ys, Math.max)];
  const narrowing = Math.max(Math.cos(((south + north) / 2) * Math.PI / 180), 0.05);
  const scale = Math.min((WIDTH - 2 * MARGIN) / Math.max((east - west) * narrowing, 1e-6), (HEIGHT - 2 * MARGIN) / Math.max(north - south, 1e-6));
  const [middleX, middleY] = [(west + east) / 2, (south + north) / 2];
  const place = ([x, y]) => [WIDTH / 2 + (x - middleX) * narrowing * scale, HEIGHT / 2 - (y - middleY) * scale];
  const back = (px, py) => [middleX + (px - WIDTH / 2) / (narrowing * scale), middleY - (py - HEIGHT / 2) / scale];
  return { place, back, scale };
}

function graticule({ place, back, scale }) {
  const step = [30, 20, 10, 5, 2, 1, .5, .2, .1, .05, .02, .01, .005, .002, .001].find((size) => size * scale < 110) ?? .0005;
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const [west, north] = back(0, 0), [east, south] = back(WIDTH, HEIGHT);
  for (let x = Math.ceil(west / step) * step; x <= east; x += step) {
    const px = place([x, 0])[0];
    draw("line", { class: "graticule", x1: px, x2: px, y1: 0, y2: HEIGHT });
    if (px > 20 && px < WIDTH - 45) draw("text", { x: px + 3, y: HEIGHT - 4 }, `${Math.abs(x).toFixed(digits)}°${x < 0 ? "W" : "E"}`);
  }
  for (let y = Math.ceil(south / step) * step; y <= north; y += step) {
    const py = place([0, y])[1];
    draw("line", { class: "graticule", x1: 0, x2: WIDTH, y1: py, y2: py });
    if (py > 14 && py < HEIGHT - 20) draw("text", { x: 3, y: py - 3 }, `${Math.abs(y).toFixed(digits)}°${y < 0 ? "S" : "N"}`);
  }
}

function scaleBar(scale) {
  const kilometre = scale / 111.32;
  const length = [2000, 1000, 500, 200, 100, 50, 20, 10, 5, 2, 1, .5, .2, .1].find((size) => size * kilometre < 130) ?? .1;
  const end = WIDTH - 12, start = end - length * kilometre;
  draw("line", { class: "scale", x1: start, x2: end, y1: 14, y2: 14 });
  draw("text", { x: start, y: 27 }, `${length} km`);
}

function drawFootprints(open) {
  $("map").setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  const away = chips.length - located.length;
  $("map-note").textContent = away ? `${away} of ${chips.length} chips have no georeference and are not on the map.` : "";
  if (!located.length) return $("map").setAttribute("hidden", "");
  const view = projection();
  graticule(view);
  scaleBar(view.scale);
  for (const chip of located) {
    const points = chip.ring.map(view.place);
    const [x, y] = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / 4);
    const size = Math.hypot(points[1][0] - points[0][0], points[1][1] - points[0][1]);
    const shape = size < 5 ? draw("circle", { class: "chip", cx: x, cy: y, r: 5 })
      : draw("polygon", { class: "chip", points: points.map((point) => point.map((part) => part.toFixed(1)).join(",")).join(" ") });
    const title = document.createElementNS(SVG, "title");
    title.textContent = chip.id;
    shape.append(title);
    shape.addEventListener("click", () => open(chip));
    shapes.set(chip, shape);
  }
}

const RAMP = [[68, 27, 84], [190, 74, 94], [247, 172, 104], [253, 246, 214]];
const SPLIT_COLOURS = ["#1d6b72", "#c0703c", "#7a62a8", "#8b8f92"];

function rampColour(value) {
  const place = Math.min(Math.max(value, 0), 1) * (RAMP.length - 1), low = Math.min(Math.floor(place), RAMP.length - 2);
  return `rgb(${RAMP[low].map((part, i) => Math.round(part + (RAMP[low + 1][i] - part) * (place - low))).join(" ")})`;
}

function chipColour(chip, by) {
  if (by === "class") return store.classes[dominant(chip)].colour;
  if (by === "split") return SPLIT_COLOURS[SPLITS.indexOf(chip.split)];
  return by in chip.measures ? rampColour(chip.measures[by]) : "#8b8f92";
}

function paintFootprints(shown) {
  for (const [chip, shape] of shapes) {
    shape.setAttribute("fill", chipColour(chip, $("map-colour").value));
    shape.classList.toggle("out", !shown.has(chip));
  }
}
