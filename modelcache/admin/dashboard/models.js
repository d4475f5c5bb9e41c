// Each model: what it was asked, how many entries it has, and the switch of its mode.

import { admin, tell } from "./service.js";
import { at, count, make, percent } from "./show.js";
import { text } from "./texts.js";

const MODES = ["serve", "verified", "shadow", "off"];

// Show each model with its figures; whenSet is called after a mode was set.
export async function showModels(figures, whenSet, whenFailed) {
  const { models } = await admin("models");
  const byName = new Map(figures.map((one) => [one.model, one]));
  const set = new Map(models.map((one) => [one.model, one]));
  // A name may come back from the figures alone, of a model that has no entry any more.
  const names = [...new Set([...byName.keys(), ...set.keys()])].filter(Boolean);
  // Nothing is moved under the hands of who is choosing.
  if (at("models").contains(document.activeElement)) return names;
  at("models").replaceChildren(...names.map((name) => row(name, byName.get(name), set.get(name), whenSet, whenFailed)));
  return names;
}

function row(name, figures, model, whenSet, whenFailed) {
  const saved = figures ? figures.saved.prompt_tokens + figures.saved.completion_tokens : 0;
  const { wrong_rate: rate = null, wrong_interval: interval } = figures?.feedback ?? {};
  const wrong = rate === null ? "–" : `${percent(rate)} (${percent(interval[0])} – ${percent(interval[1])})`;
  const entries = model ? model.entries : 0;
  return make(
    "tr", "",
    make("td", "", name),
    make("td", "number", count(figures?.queries ?? 0)),
    make("td", "number", percent(figures?.hit_rate ?? null)),
    make("td", "number", count(saved)),
    make("td", "number", entries === null ? "–" : count(entries)),
    make("td", "", wrong),
    make("td", "", modeOf(name, model, whenSet, whenFailed)),
  );
}

function modeOf(name, model, whenSet, whenFailed) {
  const select = make("select", "", ...MODES.map((mode) => new Option(mode, mode)));
  select.setAttribute("aria-label", `${text("mode")}: ${name}`);
  select.dataset.model = name;
  if (model) select.value = model.mode;
  else select.selectedIndex = -1;
  select.addEventListener("change", async () => {
    select.disabled = true;
    try {
      await tell({ type: "register", scope: { model: name }, mode: select.value });
      whenSet(text("modeSet", name, select.value));
    } catch (error) {
      select.value = model?.mode ?? "";
      whenFailed(error);
    }
    select.disabled = false;
  });
  return select;
}
