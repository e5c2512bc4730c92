// Colours and dashes of curves: eight colours of the style sheet that differ for colour-blind eyes, and dashes beside them.

const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [16, 4], [5, 2, 1, 2, 1, 2]];
const NUM_COLOURS = 8;

export function dashOf(index) {
  return DASHES[(index + Math.floor(index / NUM_COLOURS)) % DASHES.length];
}

export function colourName(index) {
  return `--curve-${(index % NUM_COLOURS) + 1}`;
}

// Returns what a colour of the style sheet is now, in light or dark, as a canvas takes it.
export function colour(element, name, opacity = 1) {
  const probe = document.createElement("span");
  probe.style.color = `var(${name})`;
  element.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return opacity === 1 ? found : found.replace(/^rgb\((.*)\)$/, `rgba($1, ${opacity})`);
}
