// Puts things into the page: texts as texts, never as HTML.

import { locale } from "./texts.js";

// Make an element with a class, and put texts and elements into it.
export function make(tag, className, ...inside) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...inside.map((one) => (one instanceof Node ? one : String(one))));
  return made;
}

export const at = (id) => document.getElementById(id);

export const count = (number) => number.toLocaleString(locale());

export const percent = (share) =>
  share === null || share === undefined ? "–" : share.toLocaleString(locale(), { style: "percent", maximumFractionDigits: 1 });

export const dollars = (amount) => amount.toLocaleString(locale(), { maximumFractionDigits: amount < 10 ? 4 : 2 });

export function milliseconds(value) {
  return value === null ? "–" : `${value.toLocaleString(locale(), { maximumSignificantDigits: 3 })} ms`;
}

export function moment(seconds) {
  return new Date(1000 * seconds).toLocaleString(locale(), { dateStyle: "short", timeStyle: "short" });
}

// Show a dialogue: the last turn, the others behind their roles.
export function dialogue(turns) {
  const shown = make("div");
  const many = turns.length > 1;
  for (const { role, content } of turns) {
    if (many) shown.append(make("span", "role", `${role}: `));
    shown.append(content, many ? "\n" : "");
  }
  return make("td", "text", shown);
}

// Show shares of the greatest as bars: {name, shown, share, more, bad}.
export function bars(list, rows, none) {
  list.replaceChildren(
    ...rows.map(({ name, shown, share, more, bad }) => {
      const bar = make("progress", bad ? "bad" : "");
      bar.max = 1;
      bar.value = share;
      bar.setAttribute("aria-label", name);
      const row = make("li", "", make("span", "", name), make("b", "", shown), bar);
      if (more) row.append(make("small", "", more));
      return row;
    }),
  );
  if (!rows.length) list.append(make("li", "", make("span", "said", none)));
}
