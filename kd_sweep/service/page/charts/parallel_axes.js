// The axes of parallel coordinates: where a value is on one, its marks, and the steps at which it can be cut.
import { number } from "../app/wording.js";
import { marks } from "./plot_area.js";

const MOST_STEPS = 60; // with more values an axis is cut into even parts
const EVEN_STEPS = 100;
const LOG_FROM = 100; // between least and greatest: powers of ten, as of learning rates
const MOST_NAMES = 14; // marks of an axis of text

// Returns an axis: `place(value)` is from 0 at its bottom to 1 at its top; null for what is not on it.
export function axisOf(column, name, values) {
  const known = [...new Set(values.filter((value) => value !== null && value !== undefined))];
  const axis = known.every((value) => typeof value === "number") ? ofNumbers(known) : ofNames(known.map(String));
  return { column, name, ...axis };
}

function ofNames(known) {
  const names = known.sort();
  const at = new Map(names.map((name, index) => [name, names.length > 1 ? index / (names.length - 1) : 0.5]));
  const every = Math.ceil(names.length / MOST_NAMES);
  return {
    isText: true,
    steps: names,
    place: (value) => at.get(String(value)) ?? null,
    marks: names.filter((_, index) => index % every === 0).map((text) => ({ at: at.get(text), text })),
    nearest: (place) => names.reduce((best, one) => (Math.abs(at.get(one) - place) < Math.abs(at.get(best) - place) ? one : best)),
  };
}

function ofNumbers(known) {
  const sorted = known.sort((first, second) => first - second);
  const [low, high] = [sorted[0], sorted[sorted.length - 1]];
  const isLog = low > 0 && high / low >= LOG_FROM;
  const [to, from] = isLog ? [Math.log10, (value) => 10 ** value] : [Number, Number];
  const [start, end] = [to(low), to(high)];
  const place = (value) => (typeof value === "number" ? (end > start ? (to(value) - start) / (end - start) : 0.5) : null);
  const at = (share) => Number(from(start + share * (end - start)).toPrecision(4));
  const even = () => Array.from({ length: EVEN_STEPS + 1 }, (_, step) => (step === 0 ? low : step === EVEN_STEPS ? high : at(step / EVEN_STEPS)));
  return {
    isText: false,
    steps: sorted.length <= MOST_STEPS ? sorted : even(),
    place,
    marks: marksOf(sorted, isLog, place),
  };
}

function marksOf(sorted, isLog, place) {
  const [low, high] = [sorted[0], sorted[sorted.length - 1]];
  let values = sorted.length <= 6 ? sorted : marks(low, high, 5);
  if (isLog && sorted.length > 6) values = marks(Math.log10(low), Math.log10(high), 5, [1, 2, 5]).map((power) => 10 ** power);
  return values.map((value) => ({ at: place(value), text: number(value) }));
}

// Returns the bounds of a brush from one place to another, as steps: null where it reaches an end; nothing within is nothing.
export function boundsBetween(axis, first, second) {
  const [bottom, top] = [Math.min(first, second), Math.max(first, second)];
  const within = axis.steps.filter((step) => axis.place(step) >= bottom && axis.place(step) <= top);
  if (!within.length) return null;
  const [low, high] = [within[0], within[within.length - 1]];
  return { ">=": low === axis.steps[0] ? null : low, "<=": high === axis.steps[axis.steps.length - 1] ? null : high };
}
