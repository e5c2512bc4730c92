// What changes while the page is shown: one stream of events per tab, and data that is read anew when they say so.
import { useEffect, useRef, useState } from "../vendor/preact-htm.js";
import { apiUrl, openSession, request, standingOf } from "./requests.js";

const KINDS = ["study", "progress", "epochs", "reset", "hello", "heartbeat"];
const AGAIN_MS = 5000;
const SILENT_MS = 35000; // more than three heartbeats are missing
const PAUSE_MS = 1200; // between two readings of the same data

const listeners = new Set();
let stream = null;
let lastHeard = 0;
let timer = null;
let isConnected = null;

// Opens the stream, and keeps it open until `stopListening`.
export function startListening() {
  stopListening();
  stream = new EventSource(apiUrl("/events"));
  lastHeard = Date.now();
  stream.onopen = () => connected(true);
  stream.onerror = () => connected(false);
  for (const kind of KINDS) {
    stream.addEventListener(kind, (event) => {
      lastHeard = Date.now();
      const data = JSON.parse(event.data || "{}");
      tell({ kind, ...data });
    });
  }
  timer = setInterval(() => {
    const isLost = stream.readyState === EventSource.CLOSED || Date.now() - lastHeard > SILENT_MS;
    if (!isLost) return;
    openSession().catch(() => {}); // the stream may have ended since the session has
    startListening();
  }, AGAIN_MS);
}

export function stopListening() {
  stream?.close();
  clearInterval(timer);
  stream = null;
}

export function useEvents(listener) {
  const latest = useRef(listener);
  latest.current = listener;
  useEffect(() => {
    const heard = (event) => latest.current(event);
    listeners.add(heard);
    return () => listeners.delete(heard);
  }, []);
}

function tell(event) {
  for (const listener of [...listeners]) listener(event);
}

function connected(now) {
  if (now === isConnected) return;
  const isBack = isConnected === false && now;
  isConnected = now;
  tell({ kind: "connection", isConnected });
  if (isBack) tell({ kind: "reset" }); // a service that was started anew
}

// Returns `{ data, problem, reload, setData }` of a path of the API; null as path reads nothing. It is read again,
// with a pause of `pauseMs` at least, when an event comes that `isStale` is true of. Meanwhile the data stay as they are;
// with `isKept` also while another path is read, for what says by itself what it is, such as a table in another order.
export function useData(path, isStale = () => false, { read = (one) => request("GET", one), pauseMs = PAUSE_MS, isKept = false } = {}) {
  const [state, setState] = useState({ path: null, data: null, problem: null });
  const work = useRef({ path: null, timer: null, isBusy: false, isAgain: false, notBefore: 0 });

  async function load() {
    const { current } = work;
    if (current.path === null) return;
    if (current.isBusy) {
      current.isAgain = true;
      return;
    }
    current.isBusy = true;
    const asked = current.path;
    let next;
    try {
      next = { path: asked, data: await read(asked), problem: null };
    } catch (problem) {
      next = { path: asked, problem };
    }
    current.isBusy = false;
    const { renewedInMs, isBehind } = standingOf(next.data);
    if (asked === current.path) current.notBefore = Date.now() + renewedInMs; // until then the service answers the same
    if (asked === current.path) setState((before) => ({ data: before.path === asked ? before.data : null, ...next }));
    if (asked !== current.path) load();
    else if (current.isAgain || isBehind) soon();
    current.isAgain = false;
  }

  function soon() {
    const { current } = work;
    current.timer ??= setTimeout(() => {
      current.timer = null;
      if (document.hidden) document.addEventListener("visibilitychange", load, { once: true });
      else load();
    }, Math.max(pauseMs, current.notBefore - Date.now()));
  }

  useEffect(() => {
    work.current.path = path;
    work.current.notBefore = 0;
    load();
    return () => {
      work.current.path = null;
      clearTimeout(work.current.timer);
      work.current.timer = null;
    };
  }, [path]);
  useEvents((event) => {
    if (event.kind === "reset" || isStale(event)) soon();
  });
  const isCurrent = state.path === path;
  return {
    data: isCurrent || (isKept && path !== null) ? state.data : null,
    problem: isCurrent ? state.problem : null,
    reload: load,
    setData: (change) => {
      work.current.isAgain ||= work.current.isBusy; // what is being read may be older than this
      setState((before) => ({ ...before, data: change(before.data) }));
    },
  };
}
