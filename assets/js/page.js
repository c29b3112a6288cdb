// What the page does without asking the server: themes, drawers, dialogs, copying, editing in
// place. Everything that changes a conversation goes to the server as one "llava-act" event, which
// the gr.HTML component that holds the control hands on. Listeners are delegated from the document,
// so replacing a part of the page never loses one.

import { keepComposer } from "./composer.js";
import { keepComparison, openComparison } from "./compare.js";
import "./controls.js";
import { $ } from "./dom.js";
import { startDrawers } from "./drawers.js";
import "./drop.js";
import { restoreFields } from "./editing.js";
import { restoreRanking } from "./ranking.js";
import { restoreFeedback } from "./feedback.js";
import { startTabs } from "./tabs.js";
import { showTheme } from "./theme.js";
import { followSize, keepAddress, keepPlace } from "./thread.js";

const MOUNTED_EVERY_MS = 30;
const PARTS = ["#composer textarea", "#thread", "#live", "#scroller"]; // a busy machine mounts them one by one

function afterChange() {
  keepComposer();
  restoreFields();
  restoreFeedback();
  restoreRanking();
  keepComparison();
  keepPlace();
}

function watch() {
  let scheduled = false;
  new MutationObserver(() => {
    keepAddress(); // before anybody can see it: whoever loads the page again gets what they saw
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => { scheduled = false; afterChange(); });
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
}

showTheme(); // at once, and again below: Gradio sets its own when it mounts
const mounted = setInterval(() => {
  if (!PARTS.every((part) => $(part))) return;
  clearInterval(mounted);
  document.documentElement.style.overflow = "hidden"; // the thread scrolls, never the page
  showTheme();
  startDrawers();
  startTabs();
  watch();
  followSize();
  keepAddress();
  afterChange();
  openComparison();
}, MOUNTED_EVERY_MS);
