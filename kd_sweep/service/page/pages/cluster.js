// The cluster: its nodes, the studies and trials that use it, and what waits for a slot.
import { html, useEffect } from "../vendor/preact-htm.js";
import { link } from "../app/address.js";
import { useData } from "../app/live.js";
import { Heading, State, Waiting } from "../app/parts.js";
import { bytes, count, number, time } from "../app/wording.js";

const AGAIN_MS = 5000;

export function Cluster() {
  const cluster = useData("/cluster", ({ kind }) => kind === "study" || kind === "progress");
  useEffect(() => {
    const timer = setInterval(() => document.hidden || cluster.reload(), AGAIN_MS);
    return () => clearInterval(timer);
  }, []);
  return html`
    <${Heading} title="Cluster" />
    <${Waiting} ...${cluster}>${() => html`
      <${Nodes} ray=${cluster.data.ray} nodes=${cluster.data.nodes} />
      <${Running} cluster=${cluster.data} />
      <${Queue} cluster=${cluster.data} />`}<//>`;
}

function Nodes({ ray, nodes }) {
  const living = nodes.filter((node) => node.is_alive);
  const sum = (name, kind) => living.reduce((total, node) => total + node[name][kind], 0);
  const used = (name) => `${number(sum(name, "used"))} of ${number(sum(name, "total"))}`;
  return html`<section aria-label="Nodes"><h2>Nodes</h2>
    ${ray.problem && html`<p class=${nodes.length ? "problem" : "quiet"} role="status">${sentence(ray.problem)}</p>`}
    ${living.length > 0 && html`<p>${count(living.length, "node")} of Ray at <code>${ray.address}</code>: ${used("cpus")} CPUs
      in use${sum("gpus", "total") ? `, ${used("gpus")} GPUs` : ""}. As of ${clock(ray.read_at)}.</p>`}
    ${nodes.length > 0 && html`<table class="cards">
      <caption class="hidden">Nodes of Ray</caption>
      <thead><tr>${["Node", "State", "CPUs in use", "GPUs in use", "Memory", "Since"].map((name) => html`<th key=${name}
        scope="col">${name}</th>`)}</tr></thead>
      <tbody>${nodes.map((node) => html`<${Node} key=${node.node_id} node=${node} isKnown=${!ray.problem} />`)}</tbody>
    </table>`}</section>`;
}

function Node({ node, isKnown }) {
  const state = !node.is_alive ? "dead" : isKnown ? "alive" : "silent";
  return html`<tr>
    <th scope="row"><div>${node.host}<div class="reason">${node.address}${node.is_head ? ", head" : ""}</div></div></th>
    <td data-label="State"><div><${State} of=${state} />
      ${!node.is_alive && html`<div class="reason">last seen ${time(node.last_seen_at)}${node.message ? `: ${node.message}` : ""}</div>`}
    </div></td>
    <td data-label="CPUs in use"><${Share} of=${node.cpus} isAlive=${node.is_alive} what="CPUs" /></td>
    <td data-label="GPUs in use"><div><${Share} of=${node.gpus} isAlive=${node.is_alive} what="GPUs" />
      ${node.accelerators.length > 0 && html`<div class="reason">${node.accelerators.join(", ")}</div>`}</div></td>
    <td data-label="Memory" class="figure">${bytes(node.memory_bytes.total)}</td>
    <td data-label="Since">${time(node.started_at)}</td>
  </tr>`;
}

function Share({ of, isAlive, what }) {
  if (!of.total) return html`<span class="quiet">none</span>`;
  if (!isAlive) return html`<span class="quiet">${number(of.total)}</span>`;
  const text = `${number(of.used)} of ${number(of.total)}`;
  return html`<span class="progress"><progress value=${of.used} max=${of.total} aria-label=${`${text} ${what}`}></progress>
    <span>${text}</span></span>`;
}

function Running({ cluster }) {
  const { running } = cluster;
  const trials = running.flatMap((study) => study.trials.map((trial) => ({ ...trial, study: study.name })));
  return html`<section aria-label="In use"><h2>In use</h2>
    <p>${number(running.length)} of ${count(cluster.max_studies, "slot")} of this service for studies.</p>
    ${running.length > 0 && html`<ul class="plain-list">${running.map((study) => html`<li key=${study.name}>
      <a href=${link(["studies", study.name])}>${study.name}</a> of ${study.submitted_by}: <${State} of=${study.state} />
      ${" "}${study.message ?? doing(study)}</li>`)}</ul>`}
    ${trials.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Trials that run"><table class="data">
      <thead><tr>${["Trial", "Study", "Host", "Epoch", "Attempt", "Since"].map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${trials.map((trial) => html`<tr key=${`${trial.study} ${trial.trial_id}`}>
        <th scope="row"><a href=${link(["studies", trial.study, "trials", trial.trial_id])}>${trial.trial_id.slice(0, 8)}</a></th>
        <td>${trial.study}</td><td>${trial.host ?? "–"}</td><td>${number(trial.epoch ?? 0)} of ${number(trial.num_epochs)}</td>
        <td>${number(trial.attempt)}</td><td>${time(trial.started_at)}</td></tr>`)}</tbody></table></div>`}
  </section>`;
}

function doing({ num_trials: many, trials, slots }) {
  const most = slots ? `, ${slots} at most` : "";
  if (!many) return "no trial yet: it starts, or trains teachers";
  return `${count(many, "trial")} at a time${most}${many > trials.length ? `; ${trials.length} are shown` : ""}`;
}

function Queue({ cluster }) {
  const { queue, num_queued: many } = cluster;
  return html`<section aria-label="Queue"><h2>Queue</h2>
    ${many === 0 && html`<p class="quiet">Nothing waits.</p>`}
    ${many > 0 && html`<ol class="plain-list">${queue.map((study) => html`<li key=${study.name}>
      <a href=${link(["studies", study.name])}>${study.name}</a> of ${study.submitted_by}${study.priority ? `, priority ${study.priority}` : ""}
      <div class="reason">${study.why}</div></li>`)}</ol>`}
    ${many > queue.length && html`<p><a href=${link(["studies"], { state: "queued", sort: "-priority" })}>All ${number(many)} that wait</a></p>`}
  </section>`;
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}
