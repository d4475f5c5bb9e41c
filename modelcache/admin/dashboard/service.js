// Asks the service. The key, where one is wanted, is kept in this tab only.

const KEY = "modelcache-key";

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

async function send(method, path, fields, body) {
  const headers = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const query = new URLSearchParams(Object.entries(fields ?? {}).filter(([, value]) => value !== "" && value !== null));
  const address = query.size ? `${path}?${query}` : path;
  const reply = await fetch(address, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const told = reply.status === 204 ? null : await reply.json().catch(() => null);
  const code = told?.errorCode ?? 0;
  if (!reply.ok || code) {
    throw new Refused(reply.status, told?.error?.message ?? told?.errorDesc ?? `HTTP ${reply.status}`);
  }
  return told;
}

// Ask one of the routes under /admin.
export const admin = (what, fields) => send("GET", `admin/${what}`, fields);

export const removeEntry = (id) => send("DELETE", `admin/entries/${id}`);

// Say whether an entry's answer was right for a question.
export const judge = (id, said) => send("POST", `admin/entries/${id}/feedback`, null, said);

// Send a request to the API of the cache itself.
export const tell = (body) => send("POST", "modelcache", null, body);

// Return whether the service is ready, and what it says if it is not.
export async function readiness() {
  const reply = await fetch("ready");
  return { ready: reply.ok, reason: (await reply.json().catch(() => ({}))).reason ?? "" };
}
