// The tabs: which one the address names, who uses the page, and the scripts of a tab that is opened.

import { $, element, frame } from "./dom.js";

// What a tab needs beside the server's markup comes when it is first opened.
const scripts = {
  annotate: () => import("./annotate/annotate.js"),
};
const opened = new Map(); // by the tab's name: its module's promise
const tabs = () => [...document.querySelectorAll('#tabs > .tab-wrapper [role="tab"]')];
const selected = () => tabs().find((tab) => tab.ariaSelected === "true")?.dataset.tabId;

export const shownTab = () => selected() ?? "chat";

/** The address says which tab is shown, the first one by saying nothing. */
function keepTab() {
  const name = selected();
  if (!name || name === frame().dataset.tab) return;
  const first = frame().dataset.tab === undefined;
  frame().dataset.tab = name;
  const url = new URL(location.href);
  if (name === tabs()[0].dataset.tabId) url.searchParams.delete("tab"); else url.searchParams.set("tab", name);
  if (!first) history.replaceState(null, "", url);
  document.dispatchEvent(new CustomEvent("llava-tab", { detail: name }));
  if (scripts[name] && !opened.has(name)) opened.set(name, scripts[name]());
  opened.get(name)?.then((module) => module.open());
}

/** Who uses this page: their name beside the tabs, their role for what is shown. */
async function knowWho() {
  const told = await fetch("who").then((answer) => answer.json(), () => null);
  if (!told) return;
  frame().dataset.role = told.role ?? "";
  const place = $("#account .account");
  if (!place || told.sign_in !== "people" || !told.name) return;
  place.replaceChildren(
    element("span", { className: "who", textContent: told.name, title: `Signed in as ${told.name}` }),
    element("a", { href: "logout?all_session=false", textContent: "Sign out" }),
  );
  place.hidden = false;
}

/** Once the page is there. */
export function startTabs() {
  const wanted = new URL(location.href).searchParams.get("tab");
  new MutationObserver(keepTab).observe($("#tabs > .tab-wrapper"), {
    subtree: true, childList: true, attributeFilter: ["aria-selected"],
  });
  tabs().find((tab) => tab.dataset.tabId === wanted)?.click();
  keepTab();
  knowWho();
}
