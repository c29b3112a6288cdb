// Which conversation is shown, and staying at its newest words unless somebody scrolled up.

import { $, frame } from "./dom.js";

const END_PX = 80; // so near to the end counts as at the end
let conversation = null; // null until the first one is shown, "" for a new one
let newest = null; // the last message of the person
let following = true;

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
  if (id) url.searchParams.set("c", id); else url.searchParams.delete("c");
  if (!first || id) history.replaceState(null, "", url);
}

/** After every change of the page: the newest words are in sight. */
export function keepPlace() {
  const last = [...document.querySelectorAll("#thread .message.user")].at(-1)?.dataset.id;
  if (last !== newest) { newest = last; following = true; }
  const s = scroller();
  if (s && following) s.scrollTop = s.scrollHeight;
}

document.addEventListener("scroll", (event) => {
  if (event.target.id !== "scroller") return;
  following = atEnd(event.target);
  frame().toggleAttribute("data-behind", !following);
}, true);
