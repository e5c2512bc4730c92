// Numbers, times and states in words.

const STATES = {
  queued: ["○", "waits", "Queued"],
  running: ["▶", "runs", "Running"],
  pausing: ["◐", "waits", "Stopping"],
  paused: ["‖", "waits", "Paused"],
  cancelled: ["×", "rests", "Cancelled"],
  finished: ["✓", "done", "Finished"],
  completed: ["✓", "done", "Completed"],
  stopped: ["✓", "done", "Stopped early"],
  finished_with_failures: ["!", "failed", "Finished, some failed"],
  failed: ["!", "failed", "Failed"],
  budget_used: ["■", "waits", "Budget used"],
  pending: ["○", "waits", "Pending"],
  interrupted: ["‖", "waits", "Interrupted"],
  preempted: ["◐", "waits", "Preempted"],
  lost: ["◐", "waits", "Lost"],
  alive: ["✓", "done", "Alive"],
  silent: ["◐", "waits", "Not heard from"],
  dead: ["×", "failed", "Dead"],
};

// Returns sign, kind (a class of the style sheet) and text of a state of a study or trial.
export function stateWords(state) {
  return STATES[state] ?? ["·", "rests", state ? words(state) : "Unknown"];
}

const SHORT = /\b(ece|iou|kl)\b/g;

// Returns a name of the tables as words: `val_accuracy` is "Val accuracy", `ece` "ECE".
export function words(name) {
  const text = String(name).replaceAll("_", " ").replace(SHORT, (one) => (one === "iou" ? "IoU" : one.toUpperCase()));
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// Returns words as they stand within a sentence: "val accuracy", and "ECE" as it is.
export function within(name) {
  const text = words(name);
  return /^[A-Z][a-z]/.test(text) && !text.startsWith("IoU") ? text.charAt(0).toLowerCase() + text.slice(1) : text;
}

// Returns how a value differs from another: "+0.02".
export function change(value, digits = 3) {
  return value === null || value === undefined ? "–" : `${value > 0 ? "+" : ""}${number(value, digits)}`;
}

// Returns a number as short as it can be told apart, or a dash for none.
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en");
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e6)) return value.toExponential(2);
  return String(Number(value.toPrecision(digits)));
}

// Returns a value of a table as text.
export function shown(value) {
  if (Array.isArray(value) || (value !== null && typeof value === "object")) return JSON.stringify(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  return number(value);
}

// Returns a size in bytes with a unit.
export function bytes(size) {
  const exponent = size < 1 ? 0 : Math.min(4, Math.floor(Math.log2(size) / 10));
  return `${number(size / 1024 ** exponent, 3)} ${["B", "KiB", "MiB", "GiB", "TiB"][exponent]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const total = Math.round(seconds);
  if (seconds < 10) return `${number(seconds, 2)} s`;
  if (total < 60) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} min ${total % 60} s`;
  if (total < 86400) return `${Math.floor(total / 3600)} h ${Math.floor((total % 3600) / 60)} min`;
  return `${Math.floor(total / 86400)} d ${Math.floor((total % 86400) / 3600)} h`;
}

// Returns a time of the API, seconds since 1970 or ISO text, in the reader's zone.
export function time(value) {
  if (value === null || value === undefined) return "–";
  const date = new Date(typeof value === "number" ? value * 1000 : value);
  return date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

// Returns a text of the documentation without the signs of its mark-up.
export function unmarked(text) {
  return (text ?? "").replaceAll("`", "");
}

// Returns "1 trial" or "3 trials".
export function count(many, one) {
  return `${number(many)} ${one}${many === 1 ? "" : "s"}`;
}
