// What a click on a control means, what is searched for, and the keys.

import { choose, toggleWhy } from "./compare.js";
import { composerText, picturesWait, stopReply } from "./composer.js";
import { confirmFirst, enlarge } from "./dialogs.js";
import { $, act, closest, comparing, composer, phone } from "./dom.js";
import { isOpen, setDrawer } from "./drawers.js";
import { copy, edit, holdBack } from "./editing.js";
import { showMine } from "./mine.js";
import { toggleFeedback, vote, withdraw } from "./feedback.js";
import { toggleRanking } from "./ranking.js";
import { talking } from "./tabs.js";
import { switchTheme } from "./theme.js";
import { toLatest } from "./thread.js";

const SEARCH_AFTER_MS = 200; // of no more typing

function remove(button) {
  const item = button.closest("[data-conversation]");
  const { conversation, title } = item.dataset;
  const choices = { verb: "Delete", keep: "Keep it", danger: true };
  confirmFirst(`Delete “${title}” for good?`, choices, () => act(item, { action: "delete", conversation }));
}

/** Another model answers everybody: not by a slip. */
function switchModel(button) {
  const { value } = button.dataset;
  if (button.ariaCurrent) return;
  const question = `Switch to ${value}? It will answer everybody who uses this server; replies that are being written end first.`;
  confirmFirst(question, { verb: "Switch", keep: "Stay" }, () => {
    act($("#model .model"), { action: "switch", value }); // the button may be gone by now
    composerText()?.focus();
  });
}

function actOnServer(button) {
  const { action, message, conversation, value } = button.dataset;
  const leaves = action === "open" || action === "new";
  if (comparing()) {
    act(button, { action });
    holdBack(button);
    if (!phone.matches && leaves) $(`${composer()} textarea`)?.focus();
    return;
  }
  if (phone.matches && leaves) setDrawer("sidebar", false);
  const waiting = action === "undo" && picturesWait() ? "pictures" : undefined;
  act(button, { action, message, conversation, value, waiting });
  if (button.closest("#thread")) holdBack(button);
  if (!phone.matches && leaves) composerText()?.focus();
}

const clicks = {
  act: actOnServer,
  choose: (button) => choose(button.dataset.value),
  copy,
  delete: remove,
  discard: (button) => {
    const choices = { verb: "Delete", keep: "Keep it", danger: true };
    confirmFirst("Delete this comparison for good? Both replies go, with the pictures and your votes.", choices,
      () => act(button, { action: "delete" }));
  },
  dismiss: (button) => { button.closest(".notice").hidden = true; },
  edit: (button) => edit("message", button.closest(".message").dataset.id),
  enlarge,
  feedback: toggleFeedback,
  latest: toLatest,
  mine: showMine,
  rank: toggleRanking,
  rename: (button) => edit("conversation", button.closest("[data-conversation]").dataset.conversation),
  switch: switchModel,
  theme: switchTheme,
  toggle: (button) => {
    const { toggle } = button.dataset;
    setDrawer(toggle, !isOpen(toggle), true);
    if (toggle === "panel" && isOpen(toggle)) act($("#model .model"), { action: "look" }); // at new adapters, too
  },
  vote,
  why: toggleWhy,
  withdraw,
};

function closeMenus() {
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
}

document.addEventListener("click", (event) => {
  const button = closest(event, "[data-click]");
  if (button && event.detail > 1 && button.dataset.click === "act") return; // a double click's second
  if (button && !button.disabled) {
    clicks[button.dataset.click]?.(button);
    if (button.dataset.click !== "toggle") closeMenus();
    return;
  }
  if (!closest(event, "details.menu") || closest(event, "a")) closeMenus();
  if (phone.matches && event.target.id === "scrim") { setDrawer("sidebar", false); setDrawer("panel", false); }
});

// A page that was out of sight may show a model that is gone: somebody else chose another one.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && $("details.models")) act($("#model .model"), { action: "look" });
});

let searchTimer;
document.addEventListener("input", (event) => {
  const field = closest(event, "#search");
  if (!field) return;
  clearTimeout(searchTimer);
  searchTimer = setTimeout(() => act(field, { action: "search", text: field.value }), SEARCH_AFTER_MS);
});

function leave(event) {
  if ($("dialog[open]") || event.defaultPrevented) return;
  const menu = $("details.menu[open]");
  if (menu) { menu.open = false; $("summary", menu)?.focus(); return; }
  if (stopReply()) { event.preventDefault(); return; }
  if (isOpen("panel")) setDrawer("panel", false, true);
  else if (phone.matches && isOpen("sidebar")) setDrawer("sidebar", false, true);
}

addEventListener("keydown", (event) => {
  if (!talking()) return;
  if (event.key === "Escape") leave(event);
  if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "o") {
    event.preventDefault();
    $('#sidebar [data-action="new"]')?.click();
  }
});
