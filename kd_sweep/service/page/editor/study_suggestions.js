// Suggestions for a study file: keys and values that its JSON Schema knows at the cursor, and what the field there means.
import { about, keysOf, schemasAt, valuesOf } from "./schema_fields.js";
import { placeOf, siblings } from "./yaml_place.js";

// Returns `{ from, options }` for the text before the cursor, or null where nothing is known or asked for.
export function suggestFields(schema, text, at, isAsked) {
  const place = schema && placeOf(text, at);
  if (!place || !(isAsked || place.prefix || !place.isKey)) return null;
  const schemas = schemasAt(schema, place.path, place.entries);
  const options = place.isKey ? keyOptions(schema, schemas, place, text, at) : [];
  if (!options.length) options.push(...valuesOf(schemas).map((value) => ({ text: value, insert: value })));
  return { from: place.from, options: fitting(options, place.prefix, isAsked) };
}

// Returns the dotted name of the field at the cursor with what is to be known of it; null where there is none.
export function fieldAt(schema, text, at) {
  const end = text.slice(at).search(/[\s:,{}[\]]|$/);
  const place = schema && placeOf(text, at + end);
  if (!place) return null;
  const isKnown = place.isKey && keysOf(schema, schemasAt(schema, place.path, place.entries)).has(place.prefix);
  const path = isKnown ? [...place.path, place.prefix] : place.path;
  const schemas = schemasAt(schema, path, place.entries);
  if (!path.length || !schemas.length) return null;
  const [section, name] = path;
  const searched = section === "search" && path.length === 2 ? about(schema, schemasAt(schema, name.split("."))) : null;
  const known = searched?.text ? searched : about(schema, schemas);
  return { name: path.map((part) => (typeof part === "number" ? `[${part}]` : part)).join(".").replaceAll(".[", "["), ...known };
}

function keyOptions(root, schemas, place, text, at) {
  const written = siblings(place.entries, place.path);
  const hasColon = /^[\w.-]*\s*:/.test(text.slice(at));
  return [...keysOf(root, schemas)]
    .filter(([name]) => !written.has(name) || name === place.prefix)
    .map(([name, detail]) => ({ text: name, detail, insert: hasColon ? name : `${name}: ` }));
}

// Returns the options that begin with what is written, then those that have it inside.
export function fitting(options, prefix, isAsked) {
  const wanted = prefix.toLowerCase();
  const begin = options.filter(({ text }) => text.toLowerCase().startsWith(wanted));
  const inside = options.filter(({ text }) => text.toLowerCase().indexOf(wanted) > 0);
  const found = [...begin, ...inside];
  return found.length === 1 && found[0].text === prefix && !isAsked ? [] : found;
}
