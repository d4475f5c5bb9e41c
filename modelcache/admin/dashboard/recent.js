// What was asked lately: hits with right and wrong buttons, or what an entry nearly answered.

import { admin, judge } from "./service.js";
import { at, dialogue, make, milliseconds, moment } from "./show.js";
import { text } from "./texts.js";

const LIMIT = 20;
const GONE = 404;
let kind = "hits";
let shown = "";

// whenFailed is called with what went wrong where the page says it.
export function openRecent(whenFailed) {
  for (const one of document.querySelectorAll("[data-kind]")) {
    one.addEventListener("click", () => {
      kind = one.dataset.kind;
      showRecent(true).catch(whenFailed);
    });
  }
}

// Show the latest; again also where nothing is new.
export async function showRecent(again = false) {
  for (const one of document.querySelectorAll("[data-kind]")) one.setAttribute("aria-pressed", one.dataset.kind === kind);
  const told = await admin("recent", { model: at("model").value, kind, limit: LIMIT });
  const now = JSON.stringify([kind, told]);
  // What is being read or judged stays where it is.
  if (!again && (now === shown || at("recent").contains(document.activeElement))) return;
  shown = now;
  at("recent").replaceChildren(...told.recent.map(row));
  at("recent-none").textContent = told.logged ? text("none") : text("notLogged");
  at("recent-none").hidden = told.recent.length > 0;
}

function row(one) {
  const when = make("td", "when", moment(one.at), make("div", "role", one.model), make("div", "role", milliseconds(one.milliseconds)));
  const verdict = kind === "hits" ? judging(one) : make("td", "", nearness(one));
  return make("tr", "", when, dialogue(one.asked), dialogue(one.cached), make("td", "text", make("div", "", one.answer)), verdict);
}

// Say what kept an entry from answering.
function nearness({ confidence, veto }) {
  // Rounded down: at the threshold that is told it would have hit.
  const threshold = (Math.floor(confidence * 100) / 100).toFixed(2);
  return veto ? text("refusedBy", veto) : text("wouldHave", threshold);
}

function judging(one) {
  const said = make("span", "said", "");
  said.setAttribute("role", "status");
  const buttons = [true, false].map((correct) => {
    const button = make("button", correct ? "" : "danger", text(correct ? "right" : "wrongButton"));
    button.type = "button";
    button.addEventListener("click", async () => {
      for (const each of buttons) each.disabled = true;
      said.textContent = await judged(one, correct);
    });
    return button;
  });
  const confidence = one.confidence === null ? "" : text("confidence", one.confidence.toFixed(2));
  return make("td", "actions", make("div", "role", confidence), ...buttons, make("div", "", said));
}

// Send the verdict, and return what became of it.
async function judged({ entry_id: id, asked }, correct) {
  try {
    const { status } = await judge(id, { query: asked, correct });
    return text(status);
  } catch (error) {
    return error.status === GONE ? text("gone") : text("failed", error.message);
  }
}
