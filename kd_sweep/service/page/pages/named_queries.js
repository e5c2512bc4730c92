// Named queries: a form for the parameters of each, made of their JSON Schema; what is asked is in the address.
import { html } from "../vendor/preact-htm.js";
import { go } from "../app/address.js";
import { useData } from "../app/live.js";
import { Waiting } from "../app/parts.js";
import { apiUrl } from "../app/requests.js";
import { unmarked, words } from "../app/wording.js";
import { Answer } from "./sql_answer.js";

const OF_QUERY = "of_"; // before the names of parameters in the address

export function NamedQueries({ params }) {
  const known = useData("/queries");
  const name = params.get("named");
  const given = [...params].filter(([key, value]) => key.startsWith(OF_QUERY) && value)
    .map(([key, value]) => [key.slice(OF_QUERY.length), value]);
  const asked = params.get("run") ? `/queries/${encodeURIComponent(name)}?${new URLSearchParams(given)}&format=` : null;
  const answer = useData(asked && `${asked}columns`);
  return html`<${Waiting} ...${known}>${() => {
    const query = known.data.queries.find((one) => one.name === name) ?? known.data.queries[0];
    return html`<section><div class="fields"><label>Query
        <select value=${query.name} onChange=${(event) => go(["sql"], { named: event.target.value })}>
          ${known.data.queries.map((one) => html`<option key=${one.name} value=${one.name}>${one.name}</option>`)}</select></label></div>
      <p>${unmarked(query.answers)}</p>
      <${Form} key=${query.name} query=${query} given=${Object.fromEntries(given)} /></section>
      ${asked && html`<section><h2>Answer</h2><${Waiting} ...${answer}>${() => html`
        <${Answer} key=${asked} of=${answer.data} name=${name} download=${(format) => apiUrl(`${asked}${format}`)} />`}<//></section>`}`;
  }}<//>`;
}

function Form({ query, given }) {
  function submit(event) {
    event.preventDefault();
    const fields = [...new FormData(event.target)].map(([key, value]) => [`${OF_QUERY}${key}`, value.trim()]);
    go(["sql"], { named: query.name, run: 1, ...Object.fromEntries(fields) });
  }
  return html`<form onSubmit=${submit}>
    <div class="parameters">${Object.entries(query.parameters.properties ?? {}).map(([name, schema]) => html`
      <${Parameter} key=${name} name=${name} schema=${schema} value=${given[name] ?? ""} />`)}</div>
    <div class="actions"><button class="primary">Ask</button></div>
  </form>`;
}

function Parameter({ name, schema, value }) {
  const kinds = [schema, ...(schema.anyOf ?? [])];
  const isList = kinds.some(({ type }) => type === "array");
  const isNumber = !isList && kinds.some(({ type }) => type === "number" || type === "integer");
  const values = kinds.flatMap((kind) => kind.enum ?? (kind.type === "boolean" ? [true, false] : []));
  const usual = schema.default === null || schema.default === undefined || schema.default.length === 0 ? "" : String(schema.default);
  const id = `parameter-${name}`;
  return html`<div><label for=${id}>${words(name)}</label>
    ${values.length
      ? html`<select id=${id} name=${name} aria-describedby=${`${id}-help`}><option value="">${usual}</option>
          ${values.map((one) => html`<option key=${one} value=${one} selected=${String(one) === value}>${one}</option>`)}</select>`
      : html`<input id=${id} name=${name} type=${isNumber ? "number" : "text"} step="any" defaultValue=${value} placeholder=${usual}
          min=${schema.minimum} max=${schema.maximum} aria-describedby=${`${id}-help`} />`}
    <p class="reason" id=${`${id}-help`}>${unmarked(schema.description)}${isList ? " Several are separated by commas." : ""}</p></div>`;
}
