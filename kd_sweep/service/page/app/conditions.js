// Conditions on trials, as the address and the API have them: `val_accuracy>=0.8` and `distillation_loss=kl`.
import { setParams } from "./address.js";
import { number, words } from "./wording.js";

const BETWEEN = ";";
const PARTS = /^(\w+)(>=|<=|=)(.+)$/s;
const TOLD = { ">=": "from", "<=": "up to", "=": "is" };

// Returns the conditions of an address, `{ column, sign, value }` each; the value is text.
export function conditionsIn(params) {
  const found = (params.get("where") ?? "").split(BETWEEN).map((text) => text.replaceAll("%3B", BETWEEN).match(PARTS));
  return found.filter(Boolean).map(([, column, sign, value]) => ({ column, sign, value }));
}

export function textOf({ column, sign, value }) {
  return `${column}${sign}${value}`;
}

// Puts conditions into the address.
export function setConditions(conditions) {
  setParams({ where: conditions.map((one) => textOf(one).replaceAll(BETWEEN, "%3B")).join(BETWEEN) });
}

// Returns the conditions with those of one column replaced by others: `{ ">=": 0.5 }`; null takes one away.
export function withBounds(conditions, column, bounds) {
  const own = Object.entries(bounds).filter(([, value]) => value !== null);
  return [...conditions.filter((one) => one.column !== column), ...own.map(([sign, value]) => ({ column, sign, value: String(value) }))];
}

// Returns what a column is bound to, `{ ">=": 0.5 }`.
export function boundsOf(conditions, column) {
  return Object.fromEntries(conditions.filter((one) => one.column === column).map(({ sign, value }) => [sign, value]));
}

// Returns whether a value fulfils the bounds of its column; none fulfils nothing.
export function isWithin(value, bounds) {
  return Object.entries(bounds).every(([sign, bound]) => {
    if (value === null || value === undefined) return false;
    if (typeof value !== "number") return String(value) === bound;
    return sign === ">=" ? value >= Number(bound) : sign === "<=" ? value <= Number(bound) : value === Number(bound);
  });
}

// Returns a condition in words: "Seed up to 3".
export function told({ column, sign, value }) {
  const isNumber = value.trim() !== "" && Number.isFinite(Number(value));
  return `${words(column)} ${TOLD[sign]} ${isNumber ? number(Number(value)) : value}`;
}
