// What each threshold would have answered of a model's queries, as a curve.

import { colour, draw } from "./charts.js";
import { admin } from "./service.js";
import { at, count, percent } from "./show.js";
import { text } from "./texts.js";

let shown = "";

export async function showShadow(again = false) {
  const model = at("model").value;
  const told = model ? await admin("shadow", { model }) : null;
  const now = JSON.stringify(told);
  if (!again && now === shown) return;
  shown = now;
  const has = Boolean(told?.queries);
  at("chart-shadow").hidden = !has;
  at("shadow-hint").textContent = has ? marks(told) : text("shadowNone");
  if (has) curve(told);
}

const fixed = (threshold) => String(Number(threshold.toFixed(3)));

// Name the thresholds in use: by language where they differ.
function named(thresholds) {
  const all = Object.entries(thresholds);
  if (new Set(all.map(([, value]) => value)).size === 1) return [[fixed(all[0][1]), all[0][1]]];
  return all.map(([language, value]) => [`${text(`in_${language}`)} ${fixed(value)}`, value]);
}

function marks({ queries, thresholds }) {
  return text("shadowHint", count(queries), named(thresholds).map(([name]) => name).join(text("and")));
}

// Where a threshold is between those that the curve has points for.
function place(points, threshold) {
  const known = points.map((one) => one.threshold ?? 1.001);
  const above = known.findIndex((one) => one >= threshold);
  if (above <= 0) return above < 0 ? known.length - 1 : 0;
  return above - 1 + (threshold - known[above - 1]) / (known[above] - known[above - 1]);
}

function curve({ points, thresholds }) {
  const share = (value) => (value === null || value === undefined ? null : 100 * value);
  const name = (index) => (points[index]?.threshold === null ? text("equal") : fixed(points[index]?.threshold ?? 0));
  const shares = (value) => percent(value / 100);
  draw(at("chart-shadow"), {
    x: {
      label: text("threshold"),
      value: name,
      ticks: (_, values) => values.map((one) => (Number.isInteger(one) && points[one] ? name(one) : "")),
      splits: () => points.map((_, index) => index),
      space: 40,
    },
    data: [
      points.map((_, index) => index),
      points.map((one) => share(one.hit_rate)),
      points.map((one) => share(one.wrong_rate)),
      points.map((one) => share(one.wrong_interval?.[0])),
      points.map((one) => share(one.wrong_interval?.[1])),
    ],
    series: [
      { label: text("hitRate"), colour: "accent", scale: "%", value: shares },
      { label: text("wrongHits"), colour: "bad", scale: "%", value: shares },
      { label: text("atLeast"), colour: "bad", scale: "%", width: 1, dash: [4, 4], value: shares },
      { label: text("atMost"), colour: "bad", scale: "%", width: 1, dash: [4, 4], value: shares },
    ],
    axes: [{ scale: "%", values: (_, values) => values.map((one) => `${one}%`) }],
    scales: { x: { time: false, range: (_, from, to) => [from - 0.3, to + 0.3] }, "%": { range: [0, 100] } },
    hooks: { draw: [(chart) => named(thresholds).forEach((one, row) => mark(chart, points, one, row))] },
  });
}

// Draw a threshold in use as a line with its name.
function mark(chart, points, [name, threshold], row) {
  const { ctx, bbox } = chart;
  const x = Math.round(chart.valToPos(place(points, threshold), "x", true));
  const scale = devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = colour("second");
  ctx.lineWidth = 2 * scale;
  ctx.beginPath();
  ctx.moveTo(x, bbox.top);
  ctx.lineTo(x, bbox.top + bbox.height);
  ctx.stroke();
  ctx.font = `${12 * scale}px sans-serif`;
  ctx.textAlign = "right";
  ctx.fillText(name, x - 5 * scale, bbox.top + (14 + 15 * row) * scale);
  ctx.restore();
}
