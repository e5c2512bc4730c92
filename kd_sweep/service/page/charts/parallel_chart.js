// A chart of parallel coordinates: a line for each trial across the axes, and brushes that leave lines out.
import { html, useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { THEME_CHANGED } from "../app/theme_choice.js";
import { colour, colourName, dashOf } from "./colours.js";
import { boundsBetween } from "./parallel_axes.js";
import { useWidth } from "./plot_area.js";

const HEIGHT = 380;
const EDGE = { left: 56, right: 56, top: 58, bottom: 16 };
const LEAST_BETWEEN = 92; // pixels between two axes; below that the chart scrolls
const LINE = 13;
const OF_A_LETTER = 6.6;
const LONGEST = 13; // letters of a mark
const DRAG = 4; // pixels that a pointer moves before it brushes

// `rows` are `{ id, values, share, isShown, pin }`: a value for each axis, how far down the ranks from 0 to 1, whether the
// brushes let it through, and the number of its pin, or null. `bounds` are those of each axis; `brush(axis, bounds, isDone)`.
export function ParallelChart({ label, axes, rows, bounds, brush }) {
  const box = useRef();
  const outer = useWidth(box);
  const width = Math.max(outer, EDGE.left + EDGE.right + LEAST_BETWEEN * (axes.length - 1));
  const at = axes.map((_, index) => EDGE.left + (axes.length > 1 ? index / (axes.length - 1) : 0.5) * (width - EDGE.left - EDGE.right));
  return html`<div class="scroll parallel" ref=${box} tabindex="0" role="region" aria-label=${label}>
    ${outer > 0 && html`<div class="layers" style=${{ width: `${width}px`, height: `${HEIGHT}px` }}>
      <${Lines} ...${{ axes, rows, at, width }} />
      <${Overlay} ...${{ axes, at, width, bounds, brush }} />
    </div>`}
  </div>`;
}

function up(place) {
  return HEIGHT - EDGE.bottom - place * (HEIGHT - EDGE.top - EDGE.bottom);
}

function Lines({ axes, rows, at, width }) {
  const canvas = useRef();
  useEffect(() => {
    const draw = () => drawLines(canvas.current, axes, rows, at, width);
    draw();
    const system = matchMedia("(prefers-color-scheme: dark)");
    addEventListener(THEME_CHANGED, draw);
    system.addEventListener("change", draw);
    return () => {
      removeEventListener(THEME_CHANGED, draw);
      system.removeEventListener("change", draw);
    };
  });
  return html`<canvas ref=${canvas} aria-hidden="true"></canvas>`;
}

function drawLines(canvas, axes, rows, at, width) {
  const scale = devicePixelRatio || 1;
  [canvas.width, canvas.height] = [Math.round(width * scale), Math.round(HEIGHT * scale)];
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.lineJoin = "round";
  const ranks = [1, 2, 3, 4, 5].map((step) => colour(canvas, `--rank-${step}`));
  const [left, shown] = [rows.filter((row) => !row.isShown), rows.filter((row) => row.isShown)];
  const trace = (row) => {
    pen.beginPath();
    let isDown = false;
    row.values.forEach((value, index) => {
      const place = axes[index].place(value);
      if (place !== null) pen[isDown ? "lineTo" : "moveTo"](at[index], up(place));
      isDown = place !== null;
    });
    pen.stroke();
  };
  Object.assign(pen, { lineWidth: 1, strokeStyle: colour(canvas, "--line"), globalAlpha: left.length > 300 ? 0.35 : 0.8 });
  left.forEach(trace);
  pen.globalAlpha = Math.min(Math.max(60 / Math.max(shown.length, 1), 0.25), 0.9);
  pen.lineWidth = 1.3;
  for (const row of [...shown].sort((first, second) => second.share - first.share)) { // the best lie on top
    pen.strokeStyle = ranks[Math.min(Math.floor(row.share * 5), 4)];
    trace(row);
  }
  Object.assign(pen, { globalAlpha: 1, lineWidth: 3 });
  for (const row of rows.filter(({ pin }) => pin !== null)) {
    pen.strokeStyle = colour(canvas, colourName(row.pin));
    pen.setLineDash(dashOf(row.pin));
    trace(row);
  }
  pen.setLineDash([]);
}

function Overlay({ axes, at, width, bounds, brush }) {
  const between = axes.length > 1 ? at[1] - at[0] : width;
  return html`<svg width=${width} height=${HEIGHT} aria-hidden="true">
    ${axes.map((axis, index) => html`<g key=${axis.column} class="axes">
      <${Name} text=${axis.name} x=${at[index]} room=${index % (axes.length - 1) ? between : Math.min(between, 2 * EDGE.left)} />
      <line class="axis" x1=${at[index]} x2=${at[index]} y1=${up(1)} y2=${up(0)} />
      ${axis.marks.map(({ at: place, text }) => html`<text key=${text} class="mark" x=${at[index] - 6} y=${up(place) + 4} text-anchor="end">${text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text}</text>`)}
      <${Brush} axis=${axis} x=${at[index]} bounds=${bounds[index]} brush=${(next, isDone) => brush(axis, next, isDone)} />
    </g>`)}
  </svg>`;
}

// The name of an axis above it, in up to three lines that end at the same height.
function Name({ text, x, room }) {
  const lines = lettered(text, room);
  return html`<text class="name" y=${EDGE.top - 16 - LINE * (lines.length - 1)} text-anchor="middle">${lines.map((line, number) => html`<tspan
    key=${number} x=${x} dy=${number ? LINE : 0}>${line}</tspan>`)}</text>`;
}

// The part of an axis that is let through; drawn with a pointer, while touches scroll the page.
function Brush({ axis, x, bounds, brush }) {
  const grip = useRef();
  const [start, setStart] = useState(null); // `box` is where the axis was: what fills above meanwhile moves it away
  const place = (event, { top, height }) => 1 - (event.clientY - top) / height;
  const hasMoved = (event) => start !== null && Math.abs(event.clientY - start.y) > DRAG;
  function down(event) {
    if (event.pointerType === "touch" || event.button !== 0) return;
    event.preventDefault();
    grip.current.setPointerCapture(event.pointerId);
    const box = grip.current.getBoundingClientRect();
    setStart({ y: event.clientY, box, place: place(event, box) });
  }
  function move(event) {
    if (hasMoved(event) && !axis.isText) brush(boundsBetween(axis, start.place, place(event, start.box)) ?? {}, false);
  }
  function release(event) {
    if (start === null) return;
    const isDrag = hasMoved(event) && !axis.isText;
    const picked = axis.isText ? axis.nearest(place(event, start.box)) : null;
    if (isDrag) brush(boundsBetween(axis, start.place, place(event, start.box)) ?? {}, true);
    else brush(axis.isText && bounds["="] !== picked ? { "=": picked } : {}, true);
    setStart(null);
  }
  function cancel() {
    setStart(null);
    brush(bounds, true);
  }
  const [low, high] = shares(axis, bounds);
  return html`
    ${(low > 0 || high < 1) && html`<rect class="brush" x=${x - 7} width="14" y=${up(high) - 3} height=${up(low) - up(high) + 6} rx="3" />`}
    <rect class="grip" ref=${grip} x=${x - 14} width="28" y=${up(1)} height=${up(0) - up(1)} onPointerDown=${down} onPointerMove=${move}
      onPointerUp=${release} onPointerCancel=${cancel} />`;
}

// Where the part begins and ends, from 0 at the bottom to 1 at the top.
function shares(axis, bounds) {
  const within = (value, otherwise) => {
    const place = value === undefined ? otherwise : axis.place(axis.isText ? value : Number(value));
    return Number.isFinite(place) ? Math.min(Math.max(place, 0), 1) : otherwise;
  };
  return "=" in bounds ? [within(bounds["="], 0), within(bounds["="], 1)] : [within(bounds[">="], 0), within(bounds["<="], 1)];
}

// The words of a name in lines that fit between two axes, three at most.
function lettered(name, width) {
  const lines = [];
  for (const word of name.split(" ")) {
    const last = lines[lines.length - 1];
    if (last !== undefined && (last.length + word.length + 1) * OF_A_LETTER <= width - 8) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.length > 3 ? [...lines.slice(0, 2), `${lines[2]}…`] : lines;
}
