// The area of a chart that is drawn as SVG: how wide it is, and the marks of its axes.
import { useEffect, useState } from "../vendor/preact-htm.js";

// Returns the width of an element, now and when it changes.
export function useWidth(box) {
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const sized = new ResizeObserver(() => setWidth(box.current?.clientWidth ?? 0));
    sized.observe(box.current);
    return () => sized.disconnect();
  }, []);
  return width;
}

// Returns about `number` round values from `low` to `high`; `steps` are the round steps, without end where there are none.
export function marks(low, high, number, steps = null) {
  const least = (high - low) / number || 1;
  const power = 10 ** Math.floor(Math.log10(least));
  const round = steps?.find((step) => step >= least) ?? [1, 2, 5, 10].map((step) => step * power).find((step) => step >= least);
  const found = [];
  for (let at = Math.ceil(low / round); at * round <= high + round * 1e-9; at += 1) found.push(Number((at * round).toPrecision(12)));
  return found;
}
