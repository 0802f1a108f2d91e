// Curves of a run as SVG: one panel a group of values, one line a value, an epoch a step.

const COLOURS = ["#1f77d0", "#e07b00", "#2a9d4a", "#c8322b", "#8a5bd0", "#8c6d4f", "#d060a8", "#7f8c8d"];
const WIDTH = 420, HEIGHT = 200, LEFT = 48, BOTTOM = 22, TOP = 8, RIGHT = 8;
const SVG = "http://www.w3.org/2000/svg";

/** Values of an epoch that are drawn, by panel: losses, and scores of the validation; single terms are not. */
export function groups(rows) {
  const names = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const scores = names.filter((name) => /^val_.*_(dice|iou|accuracy|mae|angle)$/.test(name));
  const kinds = [...new Set(scores.map((name) => name.slice(name.lastIndexOf("_") + 1)))];
  const panels = [["loss", names.filter((name) => name === "train_loss" || name === "val_loss")]];
  for (const kind of kinds) panels.push([kind, scores.filter((name) => name.endsWith(`_${kind}`))]);
  return panels.filter(([, values]) => values.length > 0);
}

function make(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const short = (value) => Number(value.toPrecision(3)).toString();

/** The points of a value: [epoch, value]; epochs without a number leave none. */
export function points(rows, name) {
  return rows.filter((row) => Number.isFinite(row[name])).map((row) => [row.epoch, row[name]]);
}

export function panel(title, names, rows) {
  const figure = document.createElement("figure");
  figure.append(Object.assign(document.createElement("figcaption"), { textContent: title }));
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 16 * names.length}`, role: "img", "aria-label": title });
  const lines = names.map((name) => points(rows, name));
  const all = lines.flat();
  const [low, high] = span(all.map(([, value]) => value));
  const [first, last] = span(all.map(([epoch]) => epoch));
  const x = (epoch) => LEFT + ((epoch - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + ((high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  svg.append(make("path", { class: "axis", fill: "none", d: `M${LEFT} ${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` }));
  for (const value of [low, high]) {
    svg.append(make("text", { x: LEFT - 4, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  svg.append(make("text", { x: LEFT, y: HEIGHT - 6 }, `epoch ${first}`));
  svg.append(make("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, short(last)));
  lines.forEach((line, number) => {
    const colour = COLOURS[number % COLOURS.length];
    const way = line.map(([epoch, value]) => `${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    if (line.length > 1) svg.append(make("path", { d: `M${way}`, fill: "none", stroke: colour, "stroke-width": 1.5 }));
    if (line.length === 1) svg.append(make("circle", { cx: x(line[0][0]), cy: y(line[0][1]), r: 3, fill: colour }));
    const now = line.length ? short(line.at(-1)[1]) : "–";
    const label = make("text", { x: LEFT, y: HEIGHT + 11 + 16 * number }, `${names[number]}  ${now}`);
    label.style.fill = colour;
    svg.append(label);
  });
  figure.append(svg);
  return figure;
}

/** Smallest and largest number, never equal. */
function span(values) {
  const low = Math.min(...values), high = Math.max(...values);
  return Number.isFinite(low) && low < high ? [low, high] : [low || 0, (low || 0) + 1];
}
