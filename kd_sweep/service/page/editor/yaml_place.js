// Where a cursor is in a study file: the path of keys that leads there, and what is written beside it.
// It reads what study files are written with: block and flow collections, quoted and plain scalars, comments.

const KEY = /^("(?:[^"\\]|\\.)*"|'[^']*'|[^\s#{}[\],&*!|>%@`"'-][^#]*?|-[^\s#][^#]*?)[ \t]*:(?=\s|$)/;

// Returns `{ path, isKey, from, prefix, entries }` of a position, or null in a comment or a quoted text. `path` leads to
// the collection that a key is written into, or to the value that is written; numbers in it are places in a list. `from`
// is where the word begins, `prefix` what of it is before the cursor, `entries` all keys of the text with their paths.
export function placeOf(text, at) {
  const { entries } = scan(text, null);
  const place = scan(text.slice(0, at), at).place;
  return place && { ...place, entries };
}

// Returns the keys of a collection, each with its plain value.
export function siblings(entries, path) {
  const wanted = path.join("\n");
  return new Map(entries.filter((entry) => entry.parent.join("\n") === wanted).map(({ key, value }) => [key, value]));
}

function scan(text, at) {
  const reader = new Reader();
  const lines = text.split("\n");
  let start = 0;
  let place = null;
  lines.forEach((line, number) => {
    const isLast = at !== null && number === lines.length - 1;
    const found = reader.flow.length ? reader.inFlow(line, 0, isLast) : reader.inBlock(line, isLast);
    if (isLast) place = found && { ...found, from: start + found.from };
    start += line.length + 1;
  });
  return { entries: reader.entries, place };
}

class Reader {
  constructor() {
    this.entries = [];
    this.block = []; // { indent, key } of mappings, { indent, key: number, isItem } of lists
    this.flow = []; // { open, key, from }: what is open between braces and brackets
  }

  path() {
    const open = this.flow.slice(0, -1).map(({ key }) => key);
    return [...this.block.map(({ key }) => key), ...open];
  }

  inBlock(line, isLast) {
    const content = line.trimStart();
    if (content.startsWith("#") || (!content && !isLast)) return null;
    let column = line.length - content.length;
    for (let dash = /^-(?:[ \t]+|$)/.exec(line.slice(column)); dash; dash = /^-(?:[ \t]+|$)/.exec(line.slice(column))) {
      this.item(column);
      column += dash[0].length;
    }
    while (this.block.at(-1)?.indent >= column) this.block.pop();
    const key = KEY.exec(line.slice(column));
    if (!key) {
      const isFlow = /^[{[]/.test(line.slice(column));
      if (isFlow) return this.inFlow(line, column, isLast);
      return isLast ? word(line, column, this.path(), true) : null;
    }
    const name = unquoted(key[1]);
    const value = column + key[0].length;
    this.entries.push({ parent: this.path(), key: name, value: unquoted(uncommented(line.slice(value)).trim()) });
    this.block.push({ indent: column, key: name });
    if (/^\s*[{[]/.test(line.slice(value))) return this.inFlow(line, value, isLast);
    return isLast ? word(line, value, this.path(), false) : null;
  }

  item(column) {
    while (this.block.at(-1)?.indent > column) this.block.pop();
    const before = this.block.at(-1);
    const isNext = before?.isItem && before.indent === column;
    if (isNext) this.block.pop();
    this.block.push({ indent: column, key: isNext ? before.key + 1 : 0, isItem: true });
  }

  inFlow(line, begin, isLast) {
    let from = begin;
    for (let at = begin; at < line.length; at += 1) {
      const sign = line[at];
      if (sign === '"' || sign === "'") {
        const end = line.indexOf(sign, at + 1);
        if (end < 0) return null;
        at = end;
      } else if (sign === "#" && /\s/.test(line[at - 1] ?? " ")) {
        this.said(line.slice(from, at));
        return null;
      } else if (sign === "{" || sign === "[") {
        this.flow.push({ open: sign, key: sign === "[" ? 0 : null });
        from = at + 1;
      } else if (sign === "}" || sign === "]" || sign === ",") {
        this.said(line.slice(from, at));
        from = at + 1;
        if (sign === ",") this.next();
        else this.flow.pop();
        if (!this.flow.length) return null;
      } else if (sign === ":" && this.flow.at(-1)?.open === "{" && /^(\s|$)/.test(line.slice(at + 1))) {
        const key = unquoted(line.slice(from, at).trim());
        this.entries.push({ parent: this.path(), key, value: "" });
        this.flow.at(-1).key = key;
        from = at + 1;
      }
    }
    if (!isLast) this.said(line.slice(from));
    if (!isLast || !this.flow.length) return null;
    const { key } = this.flow.at(-1);
    return key === null ? word(line, from, this.path(), true) : word(line, from, [...this.path(), key], false);
  }

  // Keeps the value of the key that was read last.
  said(value) {
    const top = this.flow.at(-1);
    const entry = this.entries.at(-1);
    if (top?.open === "{" && entry?.key === top.key && !entry.value) entry.value = unquoted(value.trim());
  }

  next() {
    const top = this.flow.at(-1);
    if (top) top.key = top.open === "[" ? top.key + 1 : null;
  }
}

function word(line, from, path, isKey) {
  const written = line.slice(from);
  const prefix = written.trimStart();
  if (/^["']/.test(prefix) || uncommented(written) !== written) return null;
  return { path, isKey, prefix, from: from + written.length - prefix.length };
}

function uncommented(text) {
  return text.replace(/(^|\s)#.*$/, "$1");
}

function unquoted(text) {
  const quoted = /^(["'])(.*)\1$/.exec(text);
  return quoted ? quoted[2] : text;
}
