// The page on which somebody shows a token; what the address says is shown afterwards.
import { html, useRef, useState } from "../vendor/preact-htm.js";
import { Heading, ProblemLine } from "../app/parts.js";
import { signIn } from "../app/requests.js";

export function SignIn({ whenSignedIn, hasEnded }) {
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  const field = useRef();
  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    try {
      whenSignedIn(await signIn(field.current.value.trim()));
    } catch (failure) {
      setProblem(failure);
      setBusy(false);
      field.current.select();
    }
  }
  return html`
    <${Heading} title="Sign in" />
    ${hasEnded && html`<p class="notice" role="status">Your session has ended. Sign in, and go on where you were.</p>`}
    <form class="sign-in" onSubmit=${submit}>
      <label for="token">Token</label>
      <input id="token" ref=${field} name="token" type="password" autocomplete="current-password" required
        placeholder="kds_…" aria-describedby="token-help" aria-invalid=${problem !== null} />
      <${ProblemLine} of=${problem} />
      <button class="primary" disabled=${isBusy}>Sign in</button>
      <div id="token-help" class="quiet">
        <p>The first start of the service has printed one. Where it runs, this makes more:</p>
        <pre>kd-sweep token create ROOT NAME --role viewer</pre>
      </div>
    </form>`;
}
