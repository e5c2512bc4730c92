// Suggestions for a statement of SQL: tables, columns of the tables that it names, and words of the language.
import { fitting } from "./study_suggestions.js";

const WORDS = ("SELECT FROM WHERE GROUP BY ORDER BY HAVING LIMIT JOIN LEFT JOIN ON USING AS AND OR NOT IN IS NULL BETWEEN LIKE "
  + "ILIKE DISTINCT UNION ALL WITH CASE WHEN THEN ELSE END DESC ASC NULLS LAST OVER PARTITION BY QUALIFY").split(" ");
const FUNCTIONS = ["avg", "count", "sum", "min", "max", "median", "quantile_cont", "stddev_samp", "arg_max", "arg_min", "round",
  "coalesce", "row_number", "rank", "corr", "list_contains", "string_agg", "date_trunc", "json_extract_string"];
const FEWEST = 2; // characters before something is suggested unasked

// Returns `{ from, options }` for the text before the cursor; null in texts and comments, and where nothing is asked for.
export function suggestSql(tables, text, at, isAsked) {
  const before = text.slice(0, at);
  if (isInText(before)) return null;
  const [written] = /[\w]*$/.exec(before);
  const from = at - written.length;
  const owner = /([A-Za-z_]\w*)\.$/.exec(before.slice(0, from))?.[1];
  if (!isAsked && !owner && (written.length < FEWEST || /^\d/.test(written))) return null;
  const named = tables.filter(({ name }) => new RegExp(`\\b${name}\\b`, "i").test(text));
  const columns = owner ? columnsOf(aliased(tables, text, owner)) : columnsOf(named.length ? named : tables);
  const isTable = /\b(from|join)\s+$/i.test(before.slice(0, from));
  const tablesHere = tables.map(({ name, columns: all }) => ({ text: name, detail: `Table of ${all.length} columns`, insert: name }));
  if (isTable) return { from, options: fitting(tablesHere, written, isAsked) };
  const language = [...FUNCTIONS.map((name) => ({ text: name, detail: "Function", insert: `${name}(` })),
    ...new Set(WORDS)].map((one) => (typeof one === "string" ? { text: one, insert: one } : one));
  return { from, options: fitting(owner ? columns : [...columns, ...tablesHere, ...language], written, isAsked) };
}

// Returns the number of the first line that has the name which a message complains about; null where it names none.
export function lineOfName(message, text) {
  const name = /(?:column "|with name "?)(\w+)/i.exec(message ?? "")?.[1];
  const at = name ? text.search(new RegExp(`\\b${name}\\b`)) : -1;
  return at < 0 ? null : text.slice(0, at).split("\n").length;
}

function columnsOf(tables) {
  const found = new Map();
  for (const { name: table, columns } of tables) {
    for (const { name, meaning } of columns) {
      if (!found.has(name)) found.set(name, { text: name, detail: meaning ?? `Of ${table}`, insert: name });
    }
  }
  return [...found.values()];
}

// Returns the tables that a name before a dot stands for.
function aliased(tables, text, owner) {
  const table = new RegExp(`\\b(\\w+)\\s+(?:as\\s+)?${owner}\\b`, "i").exec(text)?.[1];
  const found = tables.filter(({ name }) => [owner, table].some((one) => one?.toLowerCase() === name));
  return found.length ? found : tables;
}

function isInText(before) {
  const line = before.slice(before.lastIndexOf("\n") + 1);
  return line.includes("--") || before.split("'").length % 2 === 0;
}
