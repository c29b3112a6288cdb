// The Annotate tab: which of its views is shown. Comes, with its styles, when the tab is opened.

import { $, element } from "../dom.js";
import { showCreate } from "./create.js";
import { showLead } from "./lead.js";
import { showList } from "./list.js";
import { showWork } from "./work.js";

const views = { list: showList, work: showWork, lead: showLead, create: showCreate };
let leave = null; // what the shown view wants done when it goes
let styled = null;

/** The styles are there before anything is shown. */
function styles() {
  styled ??= new Promise((done) => {
    const link = element("link", { rel: "stylesheet", href: "css/annotate.css" });
    link.addEventListener("load", done);
    link.addEventListener("error", done);
    document.head.append(link);
  });
  return styled;
}

/** Show a view of a project, or the list; the address names it. */
export async function go(name, project = null, more = {}) {
  leave?.();
  leave = null;
  const url = new URL(location.href);
  if (project) url.searchParams.set("project", project); else url.searchParams.delete("project");
  if (name === "lead") url.searchParams.set("view", "lead"); else url.searchParams.delete("view");
  history.replaceState(null, "", url);
  const root = element("div", { className: `view ${name}` });
  $("#annotate").replaceChildren(root);
  leave = await views[name](root, project, more) ?? null;
}

/** The tab is shown: the first time, what the address names. */
export async function open() {
  if ($("#annotate").childElementCount) return;
  await styles();
  const { searchParams } = new URL(location.href);
  const project = searchParams.get("project");
  await go(project ? (searchParams.get("view") === "lead" ? "lead" : "work") : "list", project);
}
