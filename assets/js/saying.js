// Sending to the server what a person says of a reply, and asking first whether it may be kept.

import { ask } from "./consent.js";

const AWAY = "Not saved. The server cannot be reached.";

/** What names one write: sent twice, it is one. Without https there is no crypto.randomUUID. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** POST to an address; the answer, with `error`, a sentence, where it was refused or never arrived,
 *  and `status`, 0 for the latter. */
export async function postTo(address, body, options = {}) {
  let answer;
  try {
    answer = await fetch(address, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
      ...options,
    });
  } catch {
    return { error: AWAY, status: 0 };
  }
  const told = await answer.json().catch(() => null);
  if (answer.ok && told) return told;
  const error = told?.error ?? told?.detail ?? `Not saved (${answer.status}).`;
  return { ...told, error, status: answer.status };
}

export const post = (path, body) => postTo(`feedback/${path}`, body);

export const saysNo = (told) => told.error !== undefined && "consent" in told;

/** Write, asking first where nobody was asked, and, with `anew`, where somebody said no; what is
 *  refused for want of consent keeps `consent`. */
export const write = (path, body, anew = false) => writeTo(`feedback/${path}`, body, anew);

export async function writeTo(address, body, anew = false) {
  const told = await postTo(address, body);
  if (!saysNo(told) || (told.consent !== null && !anew)) return told;
  const keep = await ask();
  if (keep === null) return told;
  const decided = await post("consent", { keep });
  if (decided.error) return decided;
  return keep ? postTo(address, body) : { ...told, consent: false };
}
