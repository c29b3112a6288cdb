// Drafts and answers on their way to the server. What is not acknowledged is tried again, an answer
// under the id that it was given first, so that one which did arrive is not there twice.

import { written } from "./server.js";

const TYPED_MS = 700; // of no more typing
const AGAIN_MS = [2000, 5000, 10000, 30000];
const isAway = (status) => status === 0 || status === 429 || status >= 500;

/** Sends the drafts of one item. tell(state, sentence): "", "saving", "saved", "failed". */
export function draftsOf(item, values, lead_time_s, tell) {
  let timer = null;
  let sending = null;
  let stale = false; // something was entered since what was sent last
  let tries = 0;
  let ended = false;

  const later = (ms) => { clearTimeout(timer); timer = setTimeout(flush, ms); };

  async function send() {
    stale = false;
    tell("saving", "Saving the draft…");
    const told = await written("draft", { item: item.id, values: values(), lead_time_s: lead_time_s() });
    if (ended) return;
    if (!told.error) {
      tries = 0;
      if (stale) later(TYPED_MS); else tell("saved", "Draft saved");
    } else if (isAway(told.status)) {
      stale = true;
      tell("failed", "Draft not saved. Trying again…");
      later(AGAIN_MS[Math.min(tries++, AGAIN_MS.length - 1)]);
    } else tell("failed", told.error);
  }

  function flush() {
    clearTimeout(timer);
    if (ended) return Promise.resolve();
    sending ??= send().finally(() => { sending = null; });
    return sending;
  }

  /** A page that goes out of sight may not come back. */
  const hide = () => { if (document.hidden && stale) flush(); };
  document.addEventListener("visibilitychange", hide);
  // A draft renews the lease: somebody who reads for long keeps the item.
  const renewing = item.lease_s ? setInterval(() => { if (!document.hidden) flush(); }, Math.max(5000, item.lease_s * 400)) : null;

  return {
    changed() { stale = true; tell("", "Not saved yet"); later(TYPED_MS); },
    waits: () => stale || sending !== null,
    flush,
    /** Nothing more is sent; done when nothing is on its way. */
    async end() {
      ended = true;
      clearTimeout(timer);
      clearInterval(renewing);
      document.removeEventListener("visibilitychange", hide);
      await sending;
    },
  };
}

/** Say something of an item until it is acknowledged or refused; `wanted` is asked before each try. */
export async function keep(path, body, tell, wanted) {
  for (let tries = 0; wanted(); tries += 1) {
    tell("saving", "Saving…");
    const told = await written(path, body, true);
    if (!told.error || !isAway(told.status)) return told;
    tell("failed", "Not saved. Trying again…");
    await new Promise((done) => setTimeout(done, AGAIN_MS[Math.min(tries, AGAIN_MS.length - 1)]));
  }
  return { error: "", status: -1 };
}
