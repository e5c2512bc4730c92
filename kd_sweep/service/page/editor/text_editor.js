// A field for text with line numbers, a line that is marked, and suggestions at the cursor, by mouse and keyboard.
import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-htm.js";
import { unmarked } from "../app/wording.js";

const MOST_OPTIONS = 60;

// `suggest(text, at, isAsked)` returns `{ from, options: [{ text, detail, insert }] }` or null; `whenMoved(text, at)` hears
// where the cursor is; `marked` is the number of a line, from 1. `field` is a reference to the element. With `indents` a new
// line begins below the one before. When `known` changes, `suggest` knows more. What else is given is the text area's.
export function TextEditor({ id, value, rows, whenChanged, suggest, whenMoved, marked, field, indents, known, onKeyDown, ...others }) {
  const own = useRef();
  const area = field ?? own;
  const frame = useRef();
  const [list, setList] = useState(null); // { from, at, options, active }
  const [scroll, setScroll] = useState({ top: 0, left: 0 });
  const size = useSize(area, frame);

  function ask(isAsked) {
    const { selectionStart: at, selectionEnd: end, value: text } = area.current;
    const found = at === end ? suggest(text, at, isAsked) : null;
    const options = found?.options.slice(0, MOST_OPTIONS) ?? [];
    setList(options.length ? { from: found.from, at, options, active: isAsked ? 0 : -1 } : null);
  }
  useEffect(() => { // what is suggested has come while somebody typed
    if (document.activeElement === area.current) ask(false);
  }, [known]);
  function moved() {
    whenMoved?.(area.current.value, area.current.selectionStart);
  }
  function changed() {
    whenChanged(area.current.value);
    ask(false);
    moved();
  }
  function take(option) {
    area.current.focus();
    area.current.setSelectionRange(list.from, list.at);
    setList(null);
    if (!document.execCommand("insertText", false, option.insert)) { // which can be undone
      area.current.setRangeText(option.insert, list.from, list.at, "end");
      changed();
    }
  }
  function press(event) {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      ask(true);
    } else if (list && ["ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      const { length } = list.options;
      setList({ ...list, active: (Math.max(list.active, step === 1 ? -1 : 0) + step + length) % length });
    } else if (list && (event.key === "Tab" ? !event.shiftKey : event.key === "Enter" && list.active >= 0 && !event.ctrlKey)) {
      event.preventDefault();
      take(list.options[Math.max(list.active, 0)]);
    } else if (list && event.key === "Escape") {
      event.preventDefault();
      setList(null);
    } else if (event.key === "Enter" && indents && !event.ctrlKey && !event.metaKey) {
      const { value: text, selectionStart: at } = area.current;
      const line = text.slice(text.lastIndexOf("\n", at - 1) + 1, at);
      const indent = /^ */.exec(line)[0] + (/:\s*$/.test(line) ? "  " : "");
      if (indent && document.execCommand("insertText", false, `\n${indent}`)) event.preventDefault();
    } else {
      if (["ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown"].includes(event.key)) setList(null);
      onKeyDown?.(event);
    }
  }
  const numLines = value.split("\n").length;
  const top = (line) => `${size.padding + (line - 1) * size.line - scroll.top}px`;
  const activeId = list && list.active >= 0 ? `${id}-option-${list.active}` : null;
  return html`<div class="text-editor" ref=${frame}>
    <div class="line-numbers" aria-hidden="true"><div style=${{ transform: `translateY(${-scroll.top}px)` }}>
      ${Array.from({ length: numLines }, (_, line) => line + 1).join("\n")}</div></div>
    <div class="text-area">
      <div class="marks">${marked && marked <= numLines
        && html`<div class="marked-line" style=${{ top: top(marked), height: `${size.line}px` }}></div>`}</div>
      <textarea id=${id} ref=${area} class="editor" rows=${rows} wrap="off" spellcheck="false" autocapitalize="off"
        autocomplete="off" value=${value} onInput=${changed} onKeyDown=${press} onKeyUp=${moved} onClick=${moved}
        onBlur=${() => setList(null)} aria-autocomplete="list" aria-haspopup="listbox" aria-controls=${list ? `${id}-options` : null}
        aria-activedescendant=${activeId}
        onScroll=${({ target }) => setScroll({ top: target.scrollTop, left: target.scrollLeft })} ...${others}></textarea>
      ${list && html`<${Options} id=${id} list=${list} take=${take} place=${placed(list, value, size, scroll, top)} />`}
    </div>
    <p class="hidden" aria-live="polite">${list ? `${list.options.length} suggestions` : ""}</p>
  </div>`;
}

function Options({ id, list, take, place }) {
  const active = useRef();
  useEffect(() => active.current?.scrollIntoView({ block: "nearest" }), [list.active]);
  return html`<ul class="options" role="listbox" id=${`${id}-options`} aria-label="Suggestions" style=${place}>
    ${list.options.map((option, at) => html`<li key=${option.text} id=${`${id}-option-${at}`} role="option"
      ref=${at === list.active ? active : null} aria-selected=${at === list.active}
      onMouseDown=${(event) => { event.preventDefault(); take(option); }}>
      <span class="option">${option.text}</span>${option.detail && html`<span class="reason">${unmarked(option.detail)}</span>`}</li>`)}
  </ul>`;
}

// Returns where the list of suggestions is: below the cursor, and within the frame.
function placed(list, text, size, scroll, top) {
  const before = text.slice(0, list.from).split("\n");
  const left = size.padding + before.at(-1).length * size.character - scroll.left;
  return { top: top(before.length + 1), left: `${Math.max(0, Math.min(left, size.width - 330))}px` };
}

// Returns the sizes of characters and lines of a text area, in pixels.
function useSize(area, frame) {
  const [size, setSize] = useState({ line: 20, character: 8, padding: 8, width: 600 });
  useLayoutEffect(() => {
    const measure = () => {
      const style = getComputedStyle(area.current);
      const context = document.createElement("canvas").getContext("2d");
      context.font = `${style.fontSize} ${style.fontFamily}`;
      setSize({
        line: parseFloat(style.lineHeight), padding: parseFloat(style.paddingTop),
        character: context.measureText("0".repeat(100)).width / 100, width: area.current.clientWidth,
      });
    };
    const observer = new ResizeObserver(measure);
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);
  return size;
}

// Returns the number of the line that a message names, or null.
export function lineIn(message) {
  const found = /\bline (\d+)/.exec(message ?? "");
  return found ? Number(found[1]) : null;
}

// Moves the cursor of a field to the beginning of a line.
export function goToLine(element, line) {
  const at = element.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
  element.focus();
  element.setSelectionRange(at, at);
}
