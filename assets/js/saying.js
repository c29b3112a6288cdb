// Sending to the server what a person says of a reply, and asking first whether it may be kept.

import { ask } from "./consent.js";

const AWAY = "Not saved. The server cannot be reached.";

/** What names one write: sent twice, it is one. Without https there is no crypto.randomUUID. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** POST to `path`; the answer, with `error`, a sentence, where it was refused or never arrived. */
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(`feedback/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  } catch {
    return { error: AWAY };
  }
  const told = await answer.json().catch(() => null);
  if (answer.ok && told) return told;
  return { ...told, error: told?.error ?? told?.detail ?? `Not saved (${answer.status}).` };
}

export const saysNo = (told) => told.error !== undefined && "consent" in told;

/** Write, asking first where nobody was asked, and, with `anew`, where somebody said no; what is
 *  refused for want of consent keeps `consent`. */
export async function write(path, body, anew = false) {
  const told = await post(path, body);
  if (!saysNo(told) || (told.consent !== null && !anew)) return told;
  const keep = await ask(told.loss);
  if (keep === null) return told;
  const decided = await post("consent", { keep });
  if (decided.error) return decided;
  return keep ? post(path, body) : { ...told, consent: false };
}
