// Requests to the API: problems are errors whose message is the service's one line.

const API = "api/v1";
let csrf = null;
let whenSignedOut = () => {};
const standings = new WeakMap();
const ahead = new Map();
const asked = new Set();

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

// Calls a function when the service no longer knows the session.
export function onSignedOut(listener) {
  whenSignedOut = listener;
}

// Sends a request; returns the content of its answer. `yaml` or `json` is the body.
export async function request(method, path, { json, yaml, headers = {} } = {}) {
  if (method === "GET" && ahead.has(path)) {
    const begun = ahead.get(path);
    ahead.delete(path);
    return begun;
  }
  if (method === "GET") asked.add(path);
  const sent = { ...headers };
  if (method !== "GET" && csrf) sent["X-CSRF-Token"] = csrf;
  if (json !== undefined) sent["Content-Type"] = "application/json";
  if (yaml !== undefined) sent["Content-Type"] = "application/yaml";
  const body = json === undefined ? yaml : JSON.stringify(json);
  let answer;
  try {
    answer = await fetch(apiUrl(path), { method, headers: sent, body });
  } catch {
    throw new Problem(0, "The service does not answer. It is asked again as soon as it does.");
  }
  if (!answer.ok) throw await problemOf(answer);
  const kind = answer.headers.get("content-type") ?? "";
  if (answer.status === 204) return null;
  if (!kind.includes("json")) return answer.text();
  const content = await answer.json();
  if (content) standings.set(content, {
    renewedInMs: 1000 * Number(answer.headers.get("x-kd-sweep-renewed-in") ?? 0),
    isBehind: answer.headers.get("x-kd-sweep-behind") === "1",
  });
  return content;
}

// Begins to read what will be asked for soon, while the page is still being made: the next request for this path takes
// the answer, unless there was none, as for somebody who is not signed in yet. What the page has asked for itself by now
// is not read: its answer would be taken for a newer one later.
export function readAhead(path) {
  if (asked.has(path)) return Promise.reject(new Error(`${path} is not ahead any more`));
  const begun = request("GET", path);
  ahead.set(path, begun);
  begun.catch(() => ahead.delete(path));
  return begun;
}

// Returns when a newer answer than this one may be had, and whether there is something newer already.
export function standingOf(content) {
  return standings.get(content) ?? { renewedInMs: 0, isBehind: false };
}

async function problemOf(answer) {
  if (answer.status === 401) whenSignedOut();
  try {
    return new Problem(answer.status, (await answer.json()).detail);
  } catch {
    return new Problem(answer.status, `The service answered ${answer.status} ${answer.statusText}`);
  }
}

export function apiUrl(path) {
  return `${API}${path}`;
}

// Returns the path of something in the API, its parts encoded: `apiPath("studies", name)`.
export function apiPath(...parts) {
  return `/${parts.map(encodeURIComponent).join("/")}`;
}

// Returns who is signed in; null for nobody.
export async function openSession() {
  try {
    return remembered(await request("GET", "/session"));
  } catch (problem) {
    if (problem.status === 401) return null;
    throw problem;
  }
}

export async function signIn(token) {
  return remembered(await request("POST", "/session", { json: { token } }));
}

export async function signOut() {
  await request("DELETE", "/session");
  csrf = null;
}

function remembered(session) {
  csrf = session.csrf;
  return session;
}
