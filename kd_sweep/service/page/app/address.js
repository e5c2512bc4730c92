// The address of what is shown: a path and parameters behind the `#` of the URL, so that everything can be linked to.
import { useEffect, useState } from "../vendor/preact-htm.js";

const CHANGED = "kd_sweep address";

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// Returns what the address says is shown: `parts` of the path, and `params`.
export function currentAddress() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decoded), params: new URLSearchParams(query) };
}

// Returns the URL of a page: `link(["studies", "digits"], { metric: "val_loss" })`. Empty parameters are left out.
export function link(parts, params = {}) {
  const given = Object.entries(params).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

// Goes to another page.
export function go(parts, params) {
  location.hash = link(parts, params);
}

// Changes parameters of the page that is shown; the browser's way back skips it.
export function setParams(changes) {
  const { parts, params } = currentAddress();
  history.replaceState(null, "", link(parts, { ...Object.fromEntries(params), ...changes }));
  dispatchEvent(new Event(CHANGED));
}

export function useAddress() {
  const [address, setAddress] = useState(currentAddress);
  useEffect(() => {
    const read = () => setAddress(currentAddress());
    addEventListener("hashchange", read);
    addEventListener(CHANGED, read);
    return () => {
      removeEventListener("hashchange", read);
      removeEventListener(CHANGED, read);
    };
  }, []);
  return address;
}
