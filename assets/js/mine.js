// "Your feedback and data": the decision, a download of all that is kept, and its deletion.

import { confirmFirst, dialog } from "./dialogs.js";
import { $, act, element } from "./dom.js";
import { forgetFeedback } from "./feedback.js";
import { post } from "./saying.js";

const DECISIONS = new Map([
  [true, "Your feedback is kept, and whoever runs this page may use it."],
  [false, "Your feedback is not kept. What you said earlier is given to nobody."],
  [null, "You have not been asked yet: nothing you say of replies is kept."],
]);
const NAMES = [
  ["conversations", "conversation"], ["comparisons", "comparison"], ["pictures", "picture"], ["ratings", "rating"],
  ["corrections", "correction"], ["rankings", "ranking"],
];

const button = (text, className = "") =>
  element("button", { type: "button", className: `button ${className}`, textContent: text });

async function decision() {
  try {
    const answer = await fetch("feedback/consent");
    const told = await answer.json();
    return answer.ok ? told : { error: told.error };
  } catch {
    return { error: "The server cannot be reached." };
  }
}

/** Open the dialog. */
export async function showMine() {
  const box = dialog("mine", "Your feedback and data");
  const state = element("p", { className: "state-of" });
  state.setAttribute("role", "status");
  const change = button("");
  const close = button("Close");
  const download = element("a", { className: "button", href: "feedback/mine.json", textContent: "Download it as JSON" });
  download.setAttribute("download", "");
  const remove = button("Delete all of it", "danger");
  let keep = null;

  const loss = element("p", { className: "loss", hidden: true });

  function show(told) {
    if (told.loss) loss.textContent = told.loss;
    loss.hidden = !loss.textContent;
    change.hidden = told.keep === undefined;
    if (told.keep !== undefined) keep = told.keep;
    state.textContent = told.error ?? DECISIONS.get(keep);
    state.classList.toggle("failed", told.error !== undefined);
    change.textContent = keep ? "Do not keep it any more" : "Keep my feedback";
  }

  change.addEventListener("click", async () => {
    const told = await post("consent", { keep: !keep });
    show(told.error ? { keep, error: told.error } : told);
  });
  remove.addEventListener("click", () => {
    const question = "Delete all that is kept of you for good? Every conversation of yours goes, with its pictures and what you said of replies.";
    confirmFirst(question, { verb: "Delete", keep: "Keep it", danger: true }, async () => {
      const told = await post("delete", { everything: true });
      if (told.error) { show({ error: told.error.replace(/^Not saved/, "Not deleted") }); return; }
      forgetFeedback();
      act($("#conversations nav"), { action: "new" });
      state.textContent = `Deleted: ${counted(told.deleted)}.`;
      change.hidden = download.hidden = remove.hidden = true;
      $("h3", box).hidden = $(".all", box).hidden = true;
      close.focus();
    });
  });
  close.addEventListener("click", () => box.close());
  box.append(
    element("h2", { textContent: "Your feedback and data" }), state, change,
    element("h3", { textContent: "All that is kept of you" }),
    element("p", { className: "all", textContent: "Conversations with their pictures, what you said of replies, and your decision above." }),
    loss,
    element("div", { className: "choices spread" }, download, remove),
    element("div", { className: "choices" }, close),
  );
  show({});
  state.textContent = "…";
  box.showModal();
  close.focus();
  show(await decision());
}

function counted(deleted) {
  const parts = NAMES.filter(([many]) => deleted[many])
    .map(([many, one]) => `${deleted[many]} ${deleted[many] === 1 ? one : many}`);
  return parts.length ? parts.join(", ") : "there was nothing";
}
