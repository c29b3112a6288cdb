// How long somebody has had an item before them: only while the page is in sight, and this tab.

import { shownTab } from "../tabs.js";

let before_s = 0;
let since = null; // performance.now() of when it began to count
const seen = () => !document.hidden && shownTab() === "annotate";

/** Begin with what was counted before, for a draft that goes on. */
export function startClock(counted_s = 0) {
  before_s = counted_s;
  since = seen() ? performance.now() : null;
}

export function leadTime_s() {
  return Math.round((before_s + (since === null ? 0 : (performance.now() - since) / 1000)) * 10) / 10;
}

function follow() {
  before_s = leadTime_s();
  since = seen() ? performance.now() : null;
}
document.addEventListener("visibilitychange", follow);
document.addEventListener("llava-tab", follow);
