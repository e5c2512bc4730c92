// The page on which somebody shows a token.
import { html, useState } from "../vendor/preact-htm.js";
import { Heading, ProblemLine } from "../app/parts.js";
import { signIn } from "../app/requests.js";

export function SignIn({ whenSignedIn }) {
  const [problem, setProblem] = useState(null);
  const [isBusy, setBusy] = useState(false);
  async function submit(event) {
    event.preventDefault();
    setBusy(true);
    try {
      whenSignedIn(await signIn(new FormData(event.target).get("token").trim()));
    } catch (failure) {
      setProblem(failure);
      setBusy(false);
    }
  }
  return html`
    <${Heading} title="Sign in" />
    <form class="sign-in" onSubmit=${submit}>
      <label for="token">Token</label>
      <input id="token" name="token" type="password" autocomplete="current-password" required
        aria-describedby="token-help" aria-invalid=${problem !== null} />
      <p id="token-help" class="quiet">
        The first start of the service printed one. <code>kd-sweep token create</code> makes more.
      </p>
      <${ProblemLine} of=${problem} />
      <button class="primary" disabled=${isBusy}>Sign in</button>
    </form>`;
}
