// Where the networks of a trial look: a sheet of images that the service draws once somebody asks for it.
import { html, useState } from "../vendor/preact-htm.js";
import { ProblemLine } from "../app/parts.js";
import { apiPath, apiUrl, request } from "../app/requests.js";

const NUM_IMAGES = 8;

export function Attention({ study, id }) {
  const [state, setState] = useState("hidden");
  const [problem, setProblem] = useState(null);
  const path = `${apiPath("studies", study, "trials", id)}/attention.png?images=${NUM_IMAGES}`;
  function begin() {
    setProblem(null);
    setState("drawing");
  }
  async function failed() { // an image does not say why it did not come
    setState("hidden");
    await request("GET", path).catch(setProblem);
  }
  const alt = `Attention of trial ${id.slice(0, 8)}: ${NUM_IMAGES} validation images, and over each where its teachers and its student look, with how much their regions overlap`;
  return html`<section><h2>Attention</h2>
    ${state === "hidden" && html`<p class="quiet">Where its teachers and its student look, on ${NUM_IMAGES} validation images. To draw it takes seconds.</p>
      <button type="button" onClick=${begin}>Show attention</button>`}
    <p class="quiet" role="status">${state === "drawing" ? "Drawing …" : ""}</p>
    ${state !== "hidden" && html`<div class="scroll" tabindex="0" role="region" aria-label="Attention">
      <img class="sheet" src=${apiUrl(path)} alt=${alt} onLoad=${() => setState("shown")} onError=${failed} /></div>`}
    <${ProblemLine} of=${problem} />
  </section>`;
}
