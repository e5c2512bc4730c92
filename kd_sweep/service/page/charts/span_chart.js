// A chart of spans of time, a row for each slot: what ran when, drawn as bars; its table stands beside it.
import { html, useRef } from "../vendor/preact-htm.js";
import { duration } from "../app/wording.js";
import { useMarks } from "./marked_chart.js";
import { marks, useWidth } from "./plot_area.js";

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
const ROW = 20;
const EDGE = { right: 14, top: 4, bottom: 42 };
const OF_A_LETTER = 7; // pixels

// `rows` are names; spans are `{ key, row, start, end, kind, title }`: seconds from the beginning, `kind` is a class of the style sheet.
export function SpanChart({ label, rows, spans }) {
  const box = useRef();
  const width = useWidth(box);
  const { at, setAt, props, reading } = useMarks(label, spans.map(({ title }) => title));
  return html`<div class="spans" ref=${box} ...${props}>${width > 0 && html`<${Drawing} ...${{ rows, spans, width, marked: at, mark: setAt }} />`}</div>
    ${reading}`;
}

function Drawing({ rows, spans, width, marked, mark }) {
  const left = 12 + OF_A_LETTER * Math.max(...rows.map((row) => row.length));
  const bottom = EDGE.top + rows.length * ROW;
  const whole = Math.max(...spans.map((span) => span.end), 1);
  const at = (seconds) => Math.round((left + (seconds / whole) * (width - left - EDGE.right)) * 10) / 10;
  const times = marks(0, whole, Math.max(2, Math.floor((width - left) / 100)), STEPS);
  return html`<svg width=${width} height=${bottom + EDGE.bottom} aria-hidden="true">
    <g class="axes" aria-hidden="true">
      ${times.map((seconds) => html`<g key=${seconds}><line x1=${at(seconds)} x2=${at(seconds)} y1=${EDGE.top} y2=${bottom} />
        <text x=${at(seconds)} y=${bottom + 16} text-anchor="middle">${brief(seconds)}</text></g>`)}
      ${rows.map((row, number) => html`<text key=${row} x=${left - 6} y=${EDGE.top + number * ROW + 14} text-anchor="end">${row}</text>`)}
      <text x=${(left + width) / 2} y=${bottom + 36} text-anchor="middle">Time since the beginning</text>
    </g>
    ${spans.map(({ key, row, start, end, kind, title }, index) => html`<rect key=${key} class=${`span span-${kind}${index === marked ? " marked" : ""}`}
      onPointerEnter=${() => mark(index)} x=${at(start)} y=${EDGE.top + row * ROW + 2} width=${Math.max(at(end) - at(start), 1.5)} height=${ROW - 4}><title>${title}</title></rect>`)}
  </svg>`;
}

// A time of the axis without what is nothing: "5 min", not "5 min 0 s".
function brief(seconds) {
  return duration(seconds).replace(/ 0 (s|min|h)$/, "");
}
