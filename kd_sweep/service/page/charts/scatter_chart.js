// A chart of points, with a front of the best among them and the area that it dominates; its table stands beside it.
import { html, useMemo, useRef } from "../vendor/preact-htm.js";
import { number } from "../app/wording.js";
import { useMarks } from "./marked_chart.js";
import { marks, useWidth } from "./plot_area.js";

const HEIGHT = 340;
const EDGE = { left: 62, right: 14, top: 12, bottom: 46 };

// `x` and `y` are `{ name, isLess }`: the axes, and whether less is better. Points are `{ key, x, y, title }`.
// `isClosed` says that nothing but the two axes decides who is on the front; `open(key)` follows a point. The cursor goes through
// the front first, then through the others, each by the horizontal axis.
export function ScatterChart({ label, x, y, points, front, isClosed, open }) {
  const box = useRef();
  const width = useWidth(box);
  const inOrder = useMemo(() => [...byX(front), ...byX(points)], [front, points]);
  const { at, setAt, props, reading } = useMarks(label, inOrder.map(({ title }) => title), (mark) => open(inOrder[mark].key));
  const point = (key) => setAt(inOrder.findIndex((one) => one.key === key));
  return html`<div class="chart" ref=${box} ...${props}>
    ${width > 0 && html`<${Drawing} ...${{ x, y, points, front, isClosed, width, point, open }} marked=${at === null ? null : inOrder[at]} />`}
  </div>${reading}`;
}

function byX(points) {
  return [...points].sort((first, second) => first.x - second.x);
}

function Drawing({ x, y, points, front, isClosed, width, point, open, marked }) {
  const all = [...points, ...front];
  const across = scale(all.map((point) => point.x), EDGE.left, width - EDGE.right);
  const up = scale(all.map((point) => point.y), HEIGHT - EDGE.bottom, EDGE.top);
  const sorted = byX(front);
  const shared = (key) => ({ onPointerEnter: () => point(key), onClick: () => open(key) });
  return html`<svg width=${width} height=${HEIGHT} aria-hidden="true">
    <${Axes} ...${{ x, y, across, up, width }} />
    ${isClosed && sorted.length > 0 && html`<path class="dominated" d=${`${stairs(sorted, x, y, across, up)} ${corner(sorted, x, y, across, up)} Z`} />
      <path class="front" d=${stairs(sorted, x, y, across, up)} />`}
    ${points.map((one) => html`<circle key=${one.key} class="point" cx=${across.at(one.x)} cy=${up.at(one.y)} r="3.5" ...${shared(one.key)}>
      <title>${one.title}</title></circle>`)}
    ${sorted.map((one) => html`<rect key=${one.key} class="best" x=${across.at(one.x) - 5} y=${up.at(one.y) - 5}
      width="10" height="10" ...${shared(one.key)}><title>${one.title}</title></rect>`)}
    ${marked && html`<circle class="ring" cx=${across.at(marked.x)} cy=${up.at(marked.y)} r="9" />`}
  </svg>`;
}

function Axes({ x, y, across, up, width }) {
  const bottom = HEIGHT - EDGE.bottom;
  return html`<g class="axes" aria-hidden="true">
    ${across.marks(Math.max(2, Math.floor(width / 110))).map((value) => html`<g key=${value}>
      <line x1=${across.at(value)} x2=${across.at(value)} y1=${EDGE.top} y2=${bottom} />
      <text x=${across.at(value)} y=${bottom + 17} text-anchor="middle">${number(value)}</text></g>`)}
    ${up.marks(6).map((value) => html`<g key=${value}>
      <line x1=${EDGE.left} x2=${width - EDGE.right} y1=${up.at(value)} y2=${up.at(value)} />
      <text x=${EDGE.left - 7} y=${up.at(value) + 4} text-anchor="end">${number(value)}</text></g>`)}
    <text x=${(EDGE.left + width) / 2} y=${HEIGHT - 8} text-anchor="middle">${x.name} (${better(x)})</text>
    <text transform=${`rotate(-90) translate(${-bottom / 2} 13)`} text-anchor="middle">${y.name} (${better(y)})</text>
  </g>`;
}

function better({ isLess }) {
  return isLess ? "less is better" : "more is better";
}

// The border of what the front dominates: between two of its points the corner that is worse in both.
function stairs(sorted, x, y, across, up) {
  const worse = (axis, first, second) => (axis.isLess ? Math.max(first, second) : Math.min(first, second));
  const steps = sorted.flatMap((point, at) => {
    const before = sorted[at - 1];
    return before ? [{ x: worse(x, before.x, point.x), y: worse(y, before.y, point.y) }, point] : [point];
  });
  const place = (point) => `${across.at(point.x)} ${up.at(point.y)}`;
  return `M ${steps.map(place).join(" L ")}`;
}

// The corner of the chart that is worst in both, reached from the ends of the front along its edges.
function corner(sorted, x, y, across, up) {
  const [worstX, worstY] = [x.isLess ? across.end : across.start, y.isLess ? up.end : up.start];
  const [first, last] = [sorted[0], sorted[sorted.length - 1]];
  const atX = `${worstX} ${up.at((x.isLess ? last : first).y)}`;
  const atY = `${across.at((x.isLess ? first : last).x)} ${worstY}`;
  return x.isLess ? `L ${atX} L ${worstX} ${worstY} L ${atY}` : `L ${atY} L ${worstX} ${worstY} L ${atX}`;
}

// Returns where values are between two edges, in pixels, with some room at both ends.
function scale(values, start, end) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = (most - least) * 0.06 || Math.abs(most) * 0.05 || 1;
  const [low, high] = [least - room, most + room];
  const at = (value) => Math.round((start + ((value - low) / (high - low)) * (end - start)) * 10) / 10;
  return { at, start, end, marks: (wanted) => marks(low, high, wanted) };
}
