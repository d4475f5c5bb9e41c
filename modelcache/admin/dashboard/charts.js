// Draws charts with uPlot, in the colours of the page.

/* global uPlot */

const HEIGHT = 210;
const drawn = new Map();

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Draw a chart into an element, in place of the one before.
//
// series: {label, colour, scale, width, bars, value}; axes: {scale, values, side}. The first of data is x.
export function draw(into, { data, series, axes, x, scales, hooks }) {
  drawn.get(into)?.destroy();
  const lines = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line"), width: 1 } };
  const options = {
    width: Math.max(200, into.clientWidth),
    height: HEIGHT,
    scales,
    hooks,
    axes: [
      { ...lines, grid: { show: false }, values: x.ticks, space: x.space ?? 60, splits: x.splits },
      ...axes.map((axis) => ({ ...lines, size: 66, ...axis })),
    ],
    series: [
      { label: x.label, value: (_, value) => (value === null ? "–" : x.value(value)) },
      ...series.map((one) => ({
        label: one.label,
        scale: one.scale,
        stroke: colour(one.colour),
        fill: one.bars ? `${colour(one.colour)}55` : undefined,
        width: one.width ?? 2,
        dash: one.dash,
        spanGaps: true,
        paths: one.bars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined,
        points: { show: !one.bars && data[0].length < 60, size: 5 },
        value: (_, value) => (value === null || value === undefined ? "–" : one.value(value)),
      })),
    ],
  };
  const chart = new uPlot(options, data, into);
  chart.root.setAttribute("role", "img");
  chart.root.setAttribute("aria-label", into.parentElement.querySelector("figcaption, h2").textContent);
  drawn.set(into, chart);
}

window.addEventListener("resize", () => {
  for (const [into, chart] of drawn) chart.setSize({ width: Math.max(200, into.clientWidth), height: HEIGHT });
});
