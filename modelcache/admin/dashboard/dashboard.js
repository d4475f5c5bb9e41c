// The page: what is chosen at the top, and what is shown again every few seconds.

import { openEntries, showEntries } from "./entries.js";
import { showFigures } from "./figures.js";
import { showModels } from "./models.js";
import { openRecent, showRecent } from "./recent.js";
import { admin, key, readiness } from "./service.js";
import { showShadow } from "./shadow.js";
import { at } from "./show.js";
import { switchLanguage, text, translate } from "./texts.js";

const EVERY_MS = 10_000;
const DAYS = [7, 30, 90, 365];
const UNAUTHORIZED = 401;
let figures = null;

function problem(said) {
  at("problem").textContent = said;
  at("problem").hidden = !said;
}

function failed(error) {
  if (error.status === UNAUTHORIZED) {
    at("key-form").hidden = false;
    problem(text("keyRefused"));
  } else {
    problem(error.status ? text("failed", error.message) : text("unreachable"));
  }
}

async function showHealth() {
  const shown = at("health");
  try {
    const { ready, reason } = await readiness();
    shown.className = ready ? "good" : "bad";
    shown.textContent = ready ? text("healthy") : `${text("unhealthy")}: ${reason}`;
  } catch {
    shown.className = "bad";
    shown.textContent = text("unreachable");
  }
}

const firstDay = () => new Date(Date.now() - (Number(at("days").value) - 1) * 86_400_000).toISOString().slice(0, 10);

// Ask for all but the entries, and show it.
async function refresh(again = false) {
  await showHealth();
  try {
    const asked = { model: at("model").value, from: firstDay() };
    const told = await admin("stats", asked);
    // Of all models, also where the figures are of one.
    const { models } = asked.model ? await admin("stats", { from: asked.from }) : told;
    // Drawn again only where something happened: a chart that is looked at stays.
    if (JSON.stringify(told) !== JSON.stringify(figures)) {
      figures = told;
      showFigures(told);
    }
    chooseFrom(await showModels(models, modeSet, failed));
    await showRecent(again);
    await showShadow(again);
    problem("");
  } catch (error) {
    failed(error);
  }
}

function modeSet(said) {
  at("mode-hint").textContent = said;
}

// Offer these models, keeping what is chosen.
function chooseFrom(names) {
  const select = at("model");
  const chosen = select.value;
  const offered = [...new Set([...names, ...(chosen ? [chosen] : [])])].sort();
  if (offered.join("\n") === [...select.options].slice(1).map((one) => one.value).join("\n")) return;
  const options = offered.map((name) => new Option(name, name));
  select.replaceChildren(new Option(text("allModels"), ""), ...options);
  select.value = chosen;
}

async function showAll() {
  figures = null;
  await Promise.all([refresh(true), showEntries()]);
}

function say() {
  translate();
  const chosen = at("days").value || "30";
  at("days").replaceChildren(...DAYS.map((days) => new Option(text("days", days), days)));
  at("days").value = chosen;
  at("model").replaceChildren(new Option(text("allModels"), ""), ...[...at("model").options].slice(1));
  at("language").textContent = text("otherLanguage");
}

function useKey(event) {
  event.preventDefault();
  key.set(at("key").value.trim());
  at("key").value = "";
  at("key-form").hidden = true;
  problem("");
  showAll();
}

function open() {
  say();
  openEntries(failed);
  openRecent(failed);
  at("model").addEventListener("change", () => {
    if (at("model").value) at("order").value = "hits";
    showAll();
  });
  at("days").addEventListener("change", () => refresh());
  at("language").addEventListener("click", () => {
    const model = at("model").value;
    switchLanguage();
    say();
    at("model").value = model;
    showAll();
  });
  at("key-button").addEventListener("click", () => {
    at("key-form").hidden = !at("key-form").hidden;
    if (!at("key-form").hidden) at("key").focus();
  });
  at("key-form").addEventListener("submit", useKey);
  at("key-forget").addEventListener("click", () => {
    key.forget();
    showAll();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    figures = null;
    refresh(true);
  });
  setInterval(() => document.visibilityState === "visible" && refresh(), EVERY_MS);
  showAll();
}

open();
