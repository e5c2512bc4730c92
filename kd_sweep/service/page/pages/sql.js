// SQL over the tables of all studies: a statement or a named query, its answer, and the answer as a file.
import { html, useRef, useState } from "../vendor/preact-htm.js";
import { link, setParams } from "../app/address.js";
import { useData } from "../app/live.js";
import { Heading, ProblemLine, Waiting } from "../app/parts.js";
import { apiUrl } from "../app/requests.js";
import { lineOfName, suggestSql } from "../editor/sql_suggestions.js";
import { lineIn, TextEditor } from "../editor/text_editor.js";
import { NamedQueries } from "./named_queries.js";
import { Answer } from "./sql_answer.js";
import { EXAMPLES } from "./sql_examples.js";
import { History, useHistory } from "./sql_history.js";
import { Tables } from "./sql_tables.js";

const LONGEST_LINK = 6000;

export function Sql({ params }) {
  const isNamed = params.has("named");
  return html`
    <${Heading} title="SQL" />
    <nav class="choices" aria-label="Ways to ask">
      <a href=${link(["sql"])} aria-current=${isNamed ? null : "true"}>A statement</a>
      <a href=${link(["sql"], { named: "leaderboard" })} aria-current=${isNamed ? "true" : null}>A named query</a>
    </nav>
    ${isNamed ? html`<${NamedQueries} params=${params} />` : html`<${Statement} params=${params} />`}`;
}

function Statement({ params }) {
  const asked = params.get("query");
  const [text, setText] = useState(asked ?? EXAMPLES[0][2]);
  const tables = useData("/tables", ({ kind, state }) => kind === "study" && state === "finished");
  const history = useHistory();
  const field = useRef();
  const query = asked ? `/sql?query=${encodeURIComponent(asked)}&format=` : null;
  const answer = useData(query && `${query}columns`);
  const problem = query ? answer.problem : null;
  const line = problem && text === asked ? lineIn(problem.message) ?? lineOfName(problem.message, text) : null;
  function run(event) {
    event?.preventDefault();
    if (!text.trim()) return;
    history.add(text);
    if (text === asked) answer.reload();
    setParams({ query: text });
  }
  function onKeyDown(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
  }
  function insert(name) {
    const area = field.current;
    area.focus();
    if (!document.execCommand("insertText", false, name)) setText(`${area.value}${name}`);
  }
  const known = tables.data?.tables ?? [];
  return html`
    <form onSubmit=${run}><section>
      <label for="sql">One statement that reads, in DuckDB's dialect</label>
      <${TextEditor} id="sql" field=${field} rows="7" maxlength=${LONGEST_LINK} value=${text} marked=${line} whenChanged=${setText} known=${tables.data}
        suggest=${(written, at, isAsked) => suggestSql(known, written, at, isAsked)} onKeyDown=${onKeyDown}
        aria-describedby="sql-help" aria-invalid=${problem !== null} />
      <${ProblemLine} of=${problem} />
      <p id="sql-help" class="quiet">Ctrl and Enter run it. Tables and columns are suggested while you type, and with Ctrl and Space.</p>
      <div class="actions"><button class="primary">Run</button>
        <label class="fields">Example <select value="" onChange=${({ target }) => setText(EXAMPLES[Number(target.value)][2])}>
          <option value="" disabled>choose one</option>
          ${[...new Set(EXAMPLES.map(([table]) => table))].map((table) => html`<optgroup key=${table} label=${table}>
            ${EXAMPLES.map(([of, name], at) => of === table && html`<option key=${name} value=${at}>${name}</option>`)}</optgroup>`)}
        </select></label>
      </div>
      <${History} of=${history} choose=${setText} />
      ${known.length > 0 && html`<${Tables} of=${known} insert=${insert} />`}
      <${ProblemLine} of=${tables.problem} />
    </section></form>
    ${query && !problem && html`<section><h2>Answer</h2><${Waiting} ...${answer}>
      ${() => html`<${Answer} key=${asked} of=${answer.data} name="answer" download=${(format) => apiUrl(`${query}${format}`)} />`}
    <//></section>`}`;
}
