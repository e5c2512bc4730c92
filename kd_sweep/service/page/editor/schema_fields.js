// Fields of a JSON Schema along a path: which keys and values are possible there, and what they mean.
import { siblings } from "./yaml_place.js";

const MOST_LISTED = 6;

// Returns the schemas of what is at a path, of which one fits; narrowed by what selects among them, such as `name`.
export function schemasAt(root, path, entries = []) {
  let found = alternatives(root, root);
  path.forEach((step, depth) => {
    const inside = narrowed(found, siblings(entries, path.slice(0, depth)));
    found = inside.flatMap((schema) => alternatives(root, child(schema, step)));
  });
  return narrowed(found, siblings(entries, path));
}

// Returns the keys that a collection may have, by name, each with its description.
export function keysOf(root, schemas) {
  const keys = new Map();
  for (const schema of schemas) {
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      if (!keys.has(name)) keys.set(name, described(root, property));
    }
    for (const name of schema.propertyNames ? enumerated(schema.propertyNames) : []) {
      keys.set(name, descriptionOf(root, schemasAt(root, name.split("."))));
    }
  }
  return keys;
}

// Returns the values that are known of a field.
export function valuesOf(schemas) {
  const values = schemas.flatMap((schema) => [
    ...enumerated(schema),
    ...(schema.examples ?? []),
    ...(typesOf(schema).includes("boolean") ? [true, false] : []),
    ...(schema.default !== undefined && typeof schema.default !== "object" ? [schema.default] : []),
  ]);
  const texts = values.filter((value) => value !== null && value !== "").map(String);
  return [...new Set(texts)];
}

// Returns what is to be known of a field: its description, type, limits and default.
export function about(root, schemas) {
  const known = schemas.find((schema) => schema.default !== undefined);
  const types = [...new Set(schemas.flatMap(typesOf))].filter((type) => type !== "null");
  const limits = schemas.flatMap((schema) => [
    ["at least", schema.minimum], ["above", schema.exclusiveMinimum],
    ["at most", schema.maximum], ["below", schema.exclusiveMaximum],
  ]).filter(([, value]) => value !== undefined && Math.abs(value) < 1e6).map(([text, value]) => `${text} ${value}`);
  const facts = [types.slice(0, MOST_LISTED).join(" or "), ...new Set(limits)];
  if (known && JSON.stringify(known.default).length < 60) facts.push(`${JSON.stringify(known.default)} if left out`);
  return { text: descriptionOf(root, schemas), facts: facts.filter(Boolean).join(", ") };
}

function descriptionOf(root, schemas) {
  const own = schemas.filter((schema) => !schema.pattern); // a pattern is that of names of plug-ins, among others
  return [...own, ...schemas].map((schema) => described(root, schema)).find(Boolean) ?? "";
}

function described(root, schema) {
  return schema.description ?? (schema.$ref ? resolved(root, schema).description : undefined) ?? "";
}

function child(schema, step) {
  if (typeof step === "number") return schema.prefixItems?.[step] ?? schema.items;
  const further = schema.additionalProperties;
  return schema.properties?.[step] ?? (typeof further === "object" ? further : undefined);
}

function alternatives(root, schema) {
  if (!schema) return [];
  const whole = resolved(root, schema);
  const choices = whole.anyOf ?? whole.oneOf;
  if (!choices) return [whole];
  const { anyOf, oneOf, ...shared } = whole;
  return choices.flatMap((choice) => alternatives(root, choice)).map((choice) => ({ ...shared, ...choice }));
}

function resolved(root, schema) {
  if (!schema.$ref) return schema;
  const target = schema.$ref.split("/").slice(1).reduce((at, part) => at?.[part], root) ?? {};
  return { ...target, ...schema, $ref: undefined };
}

// Of alternatives that a constant tells apart, returns those whose constant is written.
function narrowed(schemas, written) {
  const fits = schemas.filter((schema) => Object.entries(schema.properties ?? {}).some(
    ([name, property]) => property.const !== undefined && written.get(name) === String(property.const)));
  return fits.length ? fits : schemas;
}

function enumerated(schema) {
  const inner = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].flatMap(enumerated);
  return [...(schema.enum ?? []), ...(schema.const === undefined ? [] : [schema.const]), ...inner];
}

function typesOf(schema) {
  return [schema.type ?? []].flat();
}
