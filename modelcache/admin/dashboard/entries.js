// The entries that are kept: search, the most hit, and delete.

import { admin, removeEntry } from "./service.js";
import { at, count, dialogue, make, moment } from "./show.js";
import { text } from "./texts.js";

const PAGE = 20;
let following = null;
let fail = () => {};

export function openEntries(whenFailed) {
  fail = whenFailed;
  at("search").addEventListener("submit", (event) => {
    event.preventDefault();
    showEntries();
  });
  at("order").addEventListener("change", showEntries);
  at("more").addEventListener("click", () => read(following));
}

// Show the first page of what is searched for.
export async function showEntries() {
  const model = at("model").value;
  // The most hit are told of one model.
  at("order").disabled = !model;
  if (!model) at("order").value = "newest";
  await read(null);
}

async function read(cursor) {
  const fields = { model: at("model").value, q: at("search-text").value.trim(), order: at("order").value, limit: PAGE, cursor };
  try {
    const told = await admin("entries", fields);
    const rows = told.entries.map(row);
    if (cursor) at("entries").append(...rows);
    else at("entries").replaceChildren(...rows);
    following = told.next;
    at("more").hidden = following === null;
    at("entries-none").hidden = at("entries").children.length > 0;
  } catch (error) {
    fail(error);
  }
}

function row(entry) {
  const button = make("button", "danger", text("delete"));
  button.type = "button";
  button.setAttribute("aria-label", text("deleteEntry", entry.id));
  const shown = make(
    "tr", "",
    dialogue(entry.question),
    make("td", "text", make("div", "", entry.answer)),
    make("td", "", entry.model),
    make("td", "number", count(entry.hits)),
    make("td", "when", moment(entry.created)),
    make("td", "actions", button),
  );
  shown.dataset.id = entry.id;
  button.addEventListener("click", () => remove(entry, shown));
  return shown;
}

async function remove(entry, shown) {
  if (!(await confirmed(entry.question.at(-1).content))) return;
  try {
    await removeEntry(entry.id);
    shown.remove();
    at("entries-none").hidden = at("entries").children.length > 0;
  } catch (error) {
    fail(error);
  }
}

function confirmed(what) {
  const dialog = at("confirm");
  at("confirm-what").textContent = what;
  return new Promise((resolve) => {
    const done = (answer) => () => {
      resolve(answer);
      dialog.close();
    };
    at("confirm-yes").onclick = done(true);
    at("confirm-no").onclick = done(false);
    dialog.onclose = () => resolve(false);
    dialog.showModal();
    at("confirm-no").focus();
  });
}
