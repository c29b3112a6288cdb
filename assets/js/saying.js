// Sending to the server what a person says of a reply, and asking first whether it may be kept.

import { ask } from "./consent.js";

const CLOSED = "Not saved: you did not say whether it may be kept.";
const REFUSED = "Not saved: you decided that no feedback of yours is kept.";
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
  const keep = await ask(told.loss);
  if (keep === null) return told;
  const decided = await post("consent", { keep });
  if (decided.error) return decided;
  return keep ? postTo(address, body) : { ...told, consent: false };
}

/** Sends what waits in a record: `waiting` by kind, each with path, body and what the record then
 *  keeps. One write after the other; what fails keeps waiting, under the same id. `show` brings the
 *  page to what the record says; `saved`, if given, hears of each write that was acknowledged. */
export function sender(show, saved = () => {}) {
  function tell(record, state, told) {
    record.state = state;
    record.told = told;
    show(record);
  }

  function fail(record, told) {
    record.open = true; // nobody misses it, whether they had closed the panel or not
    if (!saysNo(told)) tell(record, "failed", told.error);
    else tell(record, "refused", told.consent === null ? CLOSED : REFUSED);
  }

  async function sendAll(record, anew) {
    for (;;) {
      const [kind, one] = Object.entries(record.waiting)[0] ?? [];
      if (!one) { tell(record, "saved", "Saved"); return; }
      tell(record, "saving", "Saving…");
      const told = await write(one.path, one.body, anew);
      const newest = record.waiting[kind] === one; // or the person went on meanwhile
      if (!told.error) {
        Object.assign(record.kept, one.keeps);
        if (newest) delete record.waiting[kind];
        saved(record, kind, told);
      } else if (newest) {
        fail(record, told);
        return;
      }
    }
  }

  /** Done when all of it is acknowledged, or something failed. */
  function send(record, anew = false) {
    record.sending ??= sendAll(record, anew).finally(() => { record.sending = null; show(record); });
    return record.sending;
  }

  return { send, tell };
}
