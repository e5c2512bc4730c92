// A chart of curves, over epochs or strengths, with bands around them: drawn by uPlot, read by keyboard and by screen readers.
import { html, useEffect, useRef } from "../vendor/preact-htm.js";
import { THEME_CHANGED } from "../app/theme_choice.js";
import { number } from "../app/wording.js";
import { colour, colourName, dashOf } from "./colours.js";

const HEIGHT = 320;
const WHOLE = [1, 10, 100, 1000, 10_000, 100_000].flatMap((one) => [one, 2 * one, 5 * one]); // between the marks of an axis of epochs
const MOST_POINTS = 30; // with fewer along the axis each has a dot

// `lines` are `{ name, index, values, low, high }`, all as long as `x`; `index` decides colour and dash. With `isStepped` a
// value holds until the next one.
export function LineChart({ label, x, xName, lines, cursor, setCursor, isStepped = false }) {
  const box = useRef();
  const chart = useRef(null);
  const moved = useRef(setCursor);
  moved.current = setCursor;
  const structure = lines.map((line) => `${line.index}${line.low ? "b" : ""}`).join() + (x.length <= MOST_POINTS);
  useEffect(() => {
    const element = box.current;
    chart.current = new uPlot(options(element, { x, xName, lines, isStepped }, (at) => moved.current(at)), columns(x, lines), element);
    const sized = new ResizeObserver(() => chart.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    sized.observe(element);
    const redraw = () => chart.current?.redraw(false);
    const system = matchMedia("(prefers-color-scheme: dark)");
    addEventListener(THEME_CHANGED, redraw);
    system.addEventListener("change", redraw);
    return () => {
      sized.disconnect();
      removeEventListener(THEME_CHANGED, redraw);
      system.removeEventListener("change", redraw);
      chart.current.destroy();
      chart.current = null;
    };
  }, [structure]);
  useEffect(() => chart.current?.setData(columns(x, lines)), [x, lines]);

  function onKey(event) {
    const last = x.length - 1;
    const steps = { ArrowLeft: (cursor ?? last + 1) - 1, ArrowRight: (cursor ?? -1) + 1, Home: 0, End: last };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const at = Math.min(Math.max(steps[event.key], 0), last);
    const { current } = chart;
    current.setCursor({ left: current.valToPos(x[at], "x"), top: current.over.clientHeight / 2 });
  }

  return html`<div class="chart" ref=${box} tabindex="0" role="application" aria-roledescription="chart"
    aria-label=${`${label}. Left and right arrow keys read its values.`} onKeyDown=${onKey}></div>
    <${Reading} x=${x} xName=${xName} lines=${lines} cursor=${cursor} />`;
}

// The values under the cursor, shown and said.
function Reading({ x, xName, lines, cursor }) {
  const isAt = cursor !== null && cursor < x.length;
  const values = isAt ? lines.map((line) => `${line.name} ${number(line.values[cursor])}`).join("; ") : "";
  return html`<p class="reading quiet" aria-live="polite">${isAt ? `${xName} ${x[cursor]}: ${values}` : "\u00a0"}</p>`;
}

// The sample of a curve's colour and dash, as legends have it.
export function Sample({ index }) {
  return html`<svg class="sample" viewBox="0 0 34 8" width="34" height="8" aria-hidden="true">
    <line x1="1" x2="33" y1="4" y2="4" stroke=${`var(${colourName(index)})`} stroke-width="2.5"
      stroke-dasharray=${dashOf(index).join(" ")} />
  </svg>`;
}

function columns(x, lines) {
  return [x, ...lines.flatMap((line) => (line.low ? [line.values, line.low, line.high] : [line.values]))];
}

function options(element, { x, xName, lines, isStepped }, moved) {
  const of = (name, opacity) => () => colour(element, name, opacity);
  const series = [{}];
  const bands = [];
  for (const line of lines) {
    const ink = of(colourName(line.index));
    const points = { show: x.length <= MOST_POINTS, size: 5, fill: ink, stroke: ink };
    const paths = isStepped ? uPlot.paths.stepped({ align: 1 }) : undefined;
    series.push({ label: line.name, stroke: ink, width: 2, dash: dashOf(line.index), points, paths });
    if (line.low) {
      const at = series.length;
      const edge = { width: 0, stroke: "transparent", points: { show: false } };
      series.push(edge, { ...edge });
      bands.push({ series: [at + 1, at], fill: of(colourName(line.index), 0.15) });
    }
  }
  const axis = { stroke: of("--quiet"), grid: { stroke: of("--line"), width: 1 }, ticks: { stroke: of("--line"), width: 1 } };
  return {
    width: element.clientWidth || 300,
    height: HEIGHT,
    series,
    bands,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, y: false, points: { show: false } },
    scales: { x: { time: false, range: (_, least, most) => (least === most ? [least - 1, most + 1] : [least, most]) } },
    axes: [
      { ...axis, ...(x.every(Number.isInteger) ? { incrs: WHOLE } : {}), label: xName, labelSize: 22, size: 34 },
      { ...axis, size: 62, values: (_, values) => values.map((value) => (value === null ? "" : number(value))) },
    ],
    hooks: { setCursor: [(chart) => moved(chart.cursor.idx ?? null)] },
  };
}

// The same curves as a table: a row per value along the axis; the row under the cursor is marked.
export function CurveTable({ label, x, xName, lines, cursor }) {
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${`${label}, as a table`}><table class="data">
    <thead><tr><th scope="col" class="number">${xName}</th>${lines.map((line) => html`<th key=${line.name} scope="col" class="number">${line.name}</th>`)}</tr></thead>
    <tbody>${x.map((value, at) => html`<tr key=${value} class=${at === cursor ? "marked" : null}>
      <th scope="row" class="number">${number(value)}</th>
      ${lines.map((line) => html`<td key=${line.name} class="number">${cell(line, at)}</td>`)}
    </tr>`)}</tbody>
  </table></div>`;
}

function cell(line, at) {
  const value = number(line.values[at]);
  const isBand = line.low && line.low[at] !== null && line.low[at] !== line.high[at];
  return isBand ? `${value} (${number(line.low[at])} to ${number(line.high[at])})` : value;
}
