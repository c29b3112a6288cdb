// Which conversation is shown, and staying at its newest words unless somebody scrolled up.

import { $, frame } from "./dom.js";

const END_PX = 80; // so near to the end counts as at the end
let conversation = null; // null until the first one is shown, "" for a new one
let newest = null; // the last message of the person
let following = true;
let last = { top: 0, height: 0 }; // where the thread was scrolled to, and how long it was

export const shownConversation = () => conversation;
const scroller = () => $("#scroller");
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
  following = true;
  const url = new URL(location.href);
  // A chat that is not kept is gone by the time that anybody comes back to an address.
  const kept = id && !("unkept" in thread.dataset);
  if (kept) url.searchParams.set("c", id); else url.searchParams.delete("c");
  if (!first || kept) history.replaceState(null, "", url);
}

/** After every change of the page: the newest words are in sight. */
export function keepPlace() {
  const said = [...document.querySelectorAll("#thread .message.user")].at(-1)?.dataset.id;
  if (said !== newest) { newest = said; following = true; }
  const s = scroller();
  if (!s) return;
  if (following) s.scrollTop = s.scrollHeight;
  note(s);
}

document.addEventListener("scroll", ({ target }) => {
  if (target.id !== "scroller") return;
  // A thread that grew or shrank was scrolled by the browser; a person scrolls up in one that stays.
  const up = target.scrollTop < last.top && target.scrollHeight === last.height;
  following = atEnd(target) || (following && !up);
  note(target);
}, true);

function note(s) {
  last = { top: s.scrollTop, height: s.scrollHeight };
  frame().toggleAttribute("data-behind", !following);
}

/** A picture that comes in, and a drawer that opens, move the end without changing a node. */
export function followSize() {
  const observer = new ResizeObserver(keepPlace);
  for (const part of ["#thread", "#live", "#scroller"]) observer.observe($(part));
}
