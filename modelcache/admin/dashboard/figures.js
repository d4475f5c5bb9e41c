// What /admin/stats tells: tiles, charts, bars.

import { draw } from "./charts.js";
import { at, bars, count, dollars, make, milliseconds, percent } from "./show.js";
import { known, locale, text } from "./texts.js";

const DAY = 86400;

export function showFigures(told) {
  tiles(told.total);
  charts(told.days);
  breakdown(told.total);
}

function tile(name, shown, ...more) {
  return make("div", "", make("dt", "", name), make("dd", "", shown), ...more.map((one) => make("dd", "more", one)));
}

function tiles(total) {
  const { feedback, milliseconds: took, saved } = total;
  const judged = feedback.right + feedback.wrong;
  at("tiles").replaceChildren(
    tile(text("hitRate"), percent(total.hit_rate), text("hitsOf", count(total.hits), count(total.hits + total.misses))),
    tile(text("queries"), count(total.queries), text("beside", count(total.bypasses), count(total.errors))),
    tile(
      text("tokensSaved"), count(saved.prompt_tokens + saved.completion_tokens),
      text("promptAndCompletion", count(saved.prompt_tokens), count(saved.completion_tokens)),
    ),
    tile(text("dollars"), dollars(saved.usd), text("byListPrices")),
    tile(text("latencyHit"), milliseconds(took.hit.p95), `p95, ${quantiles(took.hit)}`),
    tile(text("latencyMiss"), milliseconds(took.miss.p95), `p95, ${quantiles(took.miss)}`),
    tile(text("wrong"), percent(feedback.wrong_rate), text("ofJudged", count(judged))),
  );
}

const quantiles = ({ p50, p99 }) => text("quantiles", milliseconds(p50), milliseconds(p99));

function charts(days) {
  const at_ = days.map(({ day }) => Date.parse(`${day}T00:00:00Z`) / 1000);
  const shown = (options) => new Intl.DateTimeFormat(locale(), { timeZone: "UTC", ...options });
  const short = shown({ month: "numeric", day: "numeric" });
  const full = shown({ dateStyle: "medium" });
  const x = {
    label: text("day"),
    value: (seconds) => full.format(1000 * seconds),
    // A tick of less than a day would tell the same day twice.
    ticks: (_, seconds) => seconds.map((one) => (one % DAY ? "" : short.format(1000 * one))),
  };
  const of = (read) => days.map(read);
  const numbers = { scale: "n", values: (_, values) => values.map((one) => (Number.isInteger(one) ? compact(one) : "")) };
  const range = (_, least, most) => [0, Math.max(1, (most ?? 0) * 1.1)];
  const scales = { x: { range: (_, from, to) => [from - DAY / 2, to + DAY / 2] }, n: { range } };
  draw(at("chart-hits"), {
    x,
    data: [at_, of((day) => day.hits || null), of((day) => (day.hit_rate === null ? null : 100 * day.hit_rate))],
    series: [
      { label: text("hits"), colour: "accent", scale: "n", bars: true, width: 1, value: count },
      { label: text("hitRate"), colour: "second", scale: "%", value: (value) => percent(value / 100) },
    ],
    axes: [numbers, { scale: "%", side: 1, grid: { show: false }, values: (_, values) => values.map((one) => `${one}%`) }],
    scales: { ...scales, "%": { range: [0, 100] } },
  });
  draw(at("chart-saved"), {
    x,
    data: [at_, of(({ saved }) => saved.prompt_tokens + saved.completion_tokens || null), of(({ saved }) => saved.usd)],
    series: [
      { label: text("tokensSaved"), colour: "accent", scale: "n", bars: true, width: 1, value: count },
      { label: text("usd"), colour: "second", scale: "$", value: dollars },
    ],
    axes: [numbers, { scale: "$", side: 1, grid: { show: false }, values: (_, values) => values.map((one) => `$${one}`) }],
    scales: { ...scales, $: { range: (_, least, most) => [0, (most || 1) * 1.1] } },
  });
  draw(at("chart-latency"), {
    x,
    data: [at_, of((day) => day.milliseconds.hit.p95), of((day) => day.milliseconds.miss.p95)],
    series: [
      { label: text("hits"), colour: "accent", scale: "ms", value: milliseconds },
      { label: text("misses"), colour: "second", scale: "ms", value: milliseconds },
    ],
    axes: [{ scale: "ms", values: (_, values) => values.map((one) => `${one} ms`) }],
    scales: { ...scales, ms: { range: (_, least, most) => [0, (most || 1) * 1.1] } },
  });
}

const compact = (number) => number.toLocaleString(locale(), { notation: "compact" });

function breakdown(total) {
  bars(at("types"), counted(total.hits_by_type, total.hits), text("none"));
  bars(at("vetoes"), counted(total.vetoes, total.hits + total.misses), text("none"));
  const judged = ["feedback", "compared"].map((name) => ({ name, ...total[name] }));
  bars(at("judged"), judged.filter((one) => one.wrong_rate !== null).map(verdicts), text("none"));
}

function counted(counts, all) {
  return Object.entries(counts).map(([name, amount]) => ({
    name: known(name), shown: `${count(amount)} · ${percent(amount / all)}`, share: amount / all,
  }));
}

function verdicts({ name, right, wrong, unclear, wrong_rate: rate, wrong_interval: [low, high] }) {
  const of = text("ofJudged", count(right + wrong));
  const parts = [of, text("wrongInterval", percent(low), percent(high)), unclear ? text("unclear", count(unclear)) : ""];
  return { name: text(name), shown: percent(rate), share: rate, bad: true, more: parts.filter(Boolean).join(" · ") };
}
