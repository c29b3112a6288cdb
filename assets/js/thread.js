// Which conversation is shown, and staying at its newest words unless somebody scrolled up.

import { $, frame } from "./dom.js";

const END_PX = 80; // so near to the end counts as at the end
let conversation = null; // null until the first one is shown, "" for a new one

export const shownConversation = () => conversation;
const scroller = () => $("#scroller");
const chat = placeIn("#scroller", "#thread", (following) => frame().toggleAttribute("data-behind", !following));
const comparison = placeIn("#compare-scroller", "#compare-thread");
const atEnd = (s) => s.scrollHeight - s.scrollTop - s.clientHeight < END_PX;

export function toLatest() {
  scroller()?.scrollTo({ top: scroller().scrollHeight, behavior: "smooth" });
}

/** After every change of the page: the address names what is shown. */
export function keepAddress() {
  const thread = $("#thread .thread");
  const id = thread?.dataset.conversation ?? "";
  if (!thread || id === conversation) return;
  const first = conversation === null;
  conversation = id;
  chat.follow();
  const url = new URL(location.href);
  // A chat that is not kept is gone by the time that anybody comes back to an address.
  const kept = id && !("unkept" in thread.dataset);
  if (kept) url.searchParams.set("c", id); else url.searchParams.delete("c");
  if (!first || kept) history.replaceState(null, "", url);
}

/** Keep the newest words of a list of messages in sight, unless somebody scrolled up. */
function placeIn(scrolls, messages, told = () => {}) {
  let newest = null; // the last message of the person
  let following = true;
  let last = { top: 0, height: 0 }; // where it was scrolled to, and how long it was

  function note(s) {
    last = { top: s.scrollTop, height: s.scrollHeight };
    told(following);
  }

  return {
    follow() { following = true; },
    keep() {
      const said = [...document.querySelectorAll(`${messages} .message.user`)].at(-1)?.dataset.id;
      if (said !== newest) { newest = said; following = said !== undefined || messages === "#thread"; }
      const s = $(scrolls);
      if (!s) return;
      if (following) s.scrollTop = s.scrollHeight;
      note(s);
    },
    scrolled(s) {
      // One that grew or shrank was scrolled by the browser; a person scrolls up in one that stays.
      const up = s.scrollTop < last.top && s.scrollHeight === last.height;
      following = atEnd(s) || (following && !up);
      note(s);
    },
  };
}

/** After every change of the page: the newest words are in sight. */
export function keepPlace() {
  chat.keep();
  comparison.keep();
}

document.addEventListener("scroll", ({ target }) => {
  if (target.id === "scroller") chat.scrolled(target);
  if (target.id === "compare-scroller") comparison.scrolled(target);
}, true);

/** A picture that comes in, and a drawer that opens, move the end without changing a node. */
export function followSize() {
  const observer = new ResizeObserver(keepPlace);
  const parts = ["#thread", "#live", "#scroller", "#compare-thread", "#compare-live", "#compare-scroller"];
  for (const part of parts) if ($(part)) observer.observe($(part));
}
