// What the page does without asking the server: themes, drawers, dialogs, copying, editing in
// place. Everything that changes a conversation goes to the server as one "act" event, which the
// gr.HTML component that holds the control hands on. Listeners are delegated from the document,
// so replacing a part of the page never loses one.
(() => {
  "use strict";

  const $ = (selector, root = document) => root.querySelector(selector);
  const closest = (event, selector) => event.target.closest?.(selector);
  const HELD_BACK_MS = 2000; // longer than an answer takes, shorter than anybody waits to try again
  const SETTLED_MS = 200; // Gradio may set a value again after its files have come
  const phone = matchMedia("(max-width: 860px)");
  // Gradio puts its own container in front of every selector of the style sheets, so whatever they
  // are to see has to live inside it: the state of the drawers, dialogs, fields.
  const frame = () => $("#tabs") ?? document.body;

  let typed = ""; // what the person left in the composer
  let sent = null; // what Enter took, until the server has it
  let stopSoon = false; // Esc came before there was a button for it

  /** Hand an action to the server through the component that contains `from`. */
  function act(from, detail) {
    stopSoon = false;
    from?.dispatchEvent(new CustomEvent("llava-act", { bubbles: true, detail }));
  }

  // ---- theme: the system's until somebody chooses -------------------------------------------
  function showTheme(name) {
    document.body.classList.toggle("dark", name === "dark");
    document.documentElement.style.colorScheme = name;
  }
  const chosenTheme = () => localStorage.getItem("llava-chat-theme");
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const currentTheme = () => chosenTheme() ?? (systemDark.matches ? "dark" : "light");
  systemDark.addEventListener("change", () => showTheme(currentTheme()));
  function switchTheme() {
    const next = currentTheme() === "dark" ? "light" : "dark";
    localStorage.setItem("llava-chat-theme", next);
    showTheme(next);
  }

  // ---- drawers: the list of conversations and the settings ----------------------------------
  const drawerOf = { sidebar: "#sidebar", panel: "#panel" };
  function setDrawer(name, open, focus = false) {
    frame().dataset[name] = open ? "open" : "closed";
    for (const button of document.querySelectorAll(`[data-toggle="${name}"]`)) {
      button.setAttribute("aria-expanded", String(open));
    }
    if (!focus) return;
    const target = open
      ? $(`${drawerOf[name]} :is(button, input, textarea)`)
      : $(`#topbar [data-toggle="${name}"]`);
    target?.focus();
  }
  const isOpen = (name) => frame().dataset[name] === "open";

  // ---- the composer -------------------------------------------------------------------------
  let held = false;
  const composerText = () => $("#composer textarea");
  const stopButton = () => $("#composer .stop-button");
  /** Name Gradio's bare icon buttons and say what the fields are for. */
  function labelComposer() {
    const names = {
      ".upload-button": "Add a picture",
      ".submit-button": "Send (Enter)",
      ".stop-button": "Stop writing (Esc)",
    };
    for (const [selector, name] of Object.entries(names)) {
      const button = $(`#composer ${selector}`);
      if (button && button.title !== name) {
        button.setAttribute("aria-label", name);
        button.title = name;
      }
    }
    composerText()?.setAttribute("aria-label", "Message");
    // A browser does not tell that the same file is chosen again while the field still holds it.
    const waiting = $("#composer .thumbnail-item") !== null;
    const input = $('#composer input[type="file"]');
    if (held && !waiting && input) input.value = "";
    held = waiting;
    for (const image of document.querySelectorAll("#composer .thumbnails img:not([alt]), #composer .thumbnails img[alt='']")) {
      image.alt = "Picture to be sent";
    }
  }

  // Gradio replaces the composer's whole text when a message was taken and when one comes back.
  document.addEventListener("input", (event) => { if (event.target === composerText()) typed = event.target.value; });
  function noteSending() {
    sent = composerText()?.value ?? null;
    stopSoon = false;
  }
  document.addEventListener("keydown", (event) => {
    if (event.target === composerText() && event.key === "Enter" && !event.shiftKey && !event.isComposing) noteSending();
  }, true);
  document.addEventListener("click", (event) => { if (closest(event, "#composer .submit-button")) noteSending(); }, true);
  /** Keep what was typed while the text was replaced, after the text that came instead. */
  function keepTyping() {
    const field = composerText();
    if (stopSoon && stopButton()) { stopSoon = false; stopButton().click(); }
    if (!field || field.value === typed) {
      if (stopButton()) sent = null;
      return;
    }
    const again = field.value && typed.startsWith(`${field.value}\n`); // Gradio set it once more
    const rest = sent !== null && typed.startsWith(sent) ? typed.slice(sent.length) : typed;
    sent = null;
    if (!again) typed = [field.value, rest].filter(Boolean).join("\n");
    if (field.value === typed) return;
    field.value = typed;
    setTimeout(keepTyping, SETTLED_MS);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // ---- pictures dropped anywhere on the page ------------------------------------------------
  let dragDepth = 0;
  const bringsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  function showDrop(on) {
    frame().toggleAttribute("data-dropping", on);
  }
  addEventListener("dragenter", (event) => {
    if (bringsFiles(event)) { dragDepth += 1; showDrop(true); }
  });
  addEventListener("dragleave", (event) => {
    if (bringsFiles(event) && --dragDepth <= 0) { dragDepth = 0; showDrop(false); }
  });
  addEventListener("dragover", (event) => { if (bringsFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    dragDepth = 0;
    showDrop(false);
    if (!bringsFiles(event) || closest(event, "#composer")) return;
    const input = $('#composer input[type="file"]');
    if (!input) return;
    event.preventDefault();
    const transfer = new DataTransfer();
    for (const file of event.dataTransfer.files) transfer.items.add(file);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // ---- dialogs: a picture at its full size, and "are you sure" ------------------------------
  function dialog(className, label) {
    const box = document.createElement("dialog");
    box.className = className;
    box.setAttribute("aria-label", label);
    box.addEventListener("close", () => box.remove());
    box.addEventListener("click", (event) => { if (event.target === box) box.close(); });
    frame().append(box);
    return box;
  }
  function element(tag, attributes, ...children) {
    const node = Object.assign(document.createElement(tag), attributes);
    node.append(...children);
    return node;
  }
  function enlarge(thumb) {
    const alt = $("img", thumb)?.alt ?? "Picture";
    const box = dialog("lightbox", alt);
    const close = element("button", { className: "icon-button", title: "Close (Esc)", textContent: "✕" });
    close.setAttribute("aria-label", "Close");
    close.addEventListener("click", () => box.close());
    const download = element("p", { className: "caption", textContent: alt });
    const shown = element("div", { className: "boxed" }, element("img", { src: thumb.dataset.full, alt }));
    const boxes = $("svg", thumb);
    if (boxes) shown.append(boxes.cloneNode(true));
    box.append(shown, download, close);
    box.showModal();
  }
  function confirmFirst(question, verb, then) {
    const box = dialog("confirm", question);
    const no = element("button", { className: "button", textContent: "Keep it" });
    const yes = element("button", { className: "button danger", textContent: verb });
    no.addEventListener("click", () => box.close());
    yes.addEventListener("click", () => { box.close(); then(); });
    box.append(element("p", { textContent: question }), element("div", { className: "choices" }, no, yes));
    box.showModal();
    no.focus();
  }

  // ---- copying and editing ------------------------------------------------------------------
  async function copy(button) {
    const text = button.closest(".message").querySelector("[data-raw]").dataset.raw;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const area = element("textarea", { value: text, className: "offscreen" });
      frame().append(area); // pages without https have no clipboard interface
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1400);
  }
  // What can be written anew in its place. A render takes the field away, whatever it was for, so
  // the words live in `drafts` until the new version is there or the person cancels.
  const editable = {
    message: {
      find: (id) => $(`#thread .message[data-id="${id}"]`),
      shown: ".text", tag: "textarea", label: "Edit the message", verb: "Send",
      value: (item) => $(".text", item).dataset.raw,
      save: (item, id, text) => act(item, { action: "edit", message: id, text }),
    },
    conversation: {
      find: (id) => $(`#conversations li[data-conversation="${id}"]`),
      shown: ".row", tag: "input", label: "New name", verb: "Save",
      value: (item) => item.dataset.title,
      save: (item, id, text) => act(item, { action: "rename", conversation: id, text }),
    },
  };
  const drafts = new Map(); // by id: kind, conversation, was, text, caret, sent
  function edit(kind, id) {
    const item = editable[kind].find(id);
    if (drafts.has(id) || !item) return;
    const was = editable[kind].value(item);
    drafts.set(id, { kind, conversation: shownConversation, was, text: was, sent: false });
    const field = showField(id, item);
    field.focus();
    field.select();
  }
  /** A field in place of what is shown; Enter keeps, Esc leaves it as it was. */
  function showField(id, item) {
    const draft = drafts.get(id);
    const { shown, tag, label, verb, save: keep } = editable[draft.kind];
    const field = element(tag, { className: "edit-field", value: draft.text });
    field.setAttribute("aria-label", label);
    const save = element("button", { className: "button primary", textContent: verb });
    const leave = element("button", { className: "button", textContent: "Cancel" });
    const form = element("div", { className: "edit-form" }, field, element("div", { className: "choices" }, leave, save));
    const end = () => { drafts.delete(id); form.remove(); $(shown, item).hidden = false; };
    save.addEventListener("click", () => {
      const text = field.value.trim();
      if (!text || (draft.kind === "conversation" && text === draft.was)) { end(); return; }
      draft.sent = true;
      holdBack(save);
      keep(item, id, text);
    });
    leave.addEventListener("click", end);
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); save.click(); }
      if (event.key === "Escape") { event.stopPropagation(); end(); }
    });
    const grow = () => {
      if (tag !== "textarea") return;
      field.style.height = "auto";
      field.style.height = `${field.scrollHeight + 2}px`;
    };
    field.addEventListener("input", () => {
      Object.assign(draft, { text: field.value, caret: field.selectionStart });
      grow();
    });
    $(shown, item).hidden = true;
    $(shown, item).after(form);
    grow();
    return field;
  }
  /** Bring back the fields that a render took away; let go of what the server has taken. */
  function restoreFields() {
    for (const [id, draft] of drafts) {
      const { find, value } = editable[draft.kind];
      const item = find(id);
      const gone = !item && draft.kind === "message" && draft.conversation === shownConversation;
      if (draft.sent && (gone || (item && value(item) !== draft.was))) { drafts.delete(id); continue; }
      if (!item || $(".edit-form", item)) continue;
      const field = showField(id, item);
      if (document.activeElement !== document.body) continue;
      field.focus();
      field.setSelectionRange(draft.caret ?? draft.text.length, draft.caret ?? draft.text.length);
    }
  }

  // ---- what a click means -------------------------------------------------------------------
  /** A control acts once: what it changes brings a new one, what is refused leaves this one. */
  function holdBack(button) {
    button.disabled = true;
    setTimeout(() => { button.disabled = false; }, HELD_BACK_MS);
  }
  const clicks = {
    theme: switchTheme,
    toggle: (button) => setDrawer(button.dataset.toggle, !isOpen(button.dataset.toggle), true),
    copy,
    enlarge,
    dismiss: (button) => { button.closest(".notice").hidden = true; },
    latest: () => { const s = scroller(); s?.scrollTo({ top: s.scrollHeight, behavior: "smooth" }); },
    edit: (button) => edit("message", button.closest(".message").dataset.id),
    rename: (button) => edit("conversation", button.closest("[data-conversation]").dataset.conversation),
    delete: (button) => {
      const item = button.closest("[data-conversation]");
      confirmFirst(`Delete “${item.dataset.title}” for good?`, "Delete", () =>
        act(item, { action: "delete", conversation: item.dataset.conversation }));
    },
    act: (button) => {
      const { action, message, conversation, value } = button.dataset;
      if (phone.matches && (action === "open" || action === "new")) setDrawer("sidebar", false);
      const waiting = action === "undo" && held ? "pictures" : undefined;
      act(button, { action, message, conversation, value, waiting });
      if (button.closest("#thread")) holdBack(button);
      if (!phone.matches && (action === "new" || action === "open")) composerText()?.focus();
    },
  };
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
  function closeMenus() {
    for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
  }

  let searchTimer;
  document.addEventListener("input", (event) => {
    const field = closest(event, "#search");
    if (!field) return;
    clearTimeout(searchTimer);
    searchTimer = setTimeout(() => act(field, { action: "search", text: field.value }), 200);
  });

  // ---- keys ---------------------------------------------------------------------------------
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      if ($("dialog[open]") || event.defaultPrevented) return;
      const menu = $("details.menu[open]");
      if (menu) { menu.open = false; $("summary", menu)?.focus(); return; }
      if (stopButton()) { event.preventDefault(); stopButton().click(); return; }
      stopSoon = sent !== null;
      if (isOpen("panel")) setDrawer("panel", false, true);
      else if (phone.matches && isOpen("sidebar")) setDrawer("sidebar", false, true);
    }
    if ((event.ctrlKey || event.metaKey) && event.shiftKey && event.key.toLowerCase() === "o") {
      event.preventDefault();
      $('#sidebar [data-action="new"]')?.click();
    }
  });

  // ---- staying at the newest words, unless somebody scrolled up -----------------------------
  const scroller = () => $("#scroller");
  let following = true;
  const atEnd = (s) => s.scrollHeight - s.scrollTop - s.clientHeight < 80;
  document.addEventListener("scroll", (event) => {
    if (event.target.id !== "scroller") return;
    following = atEnd(event.target);
    frame().toggleAttribute("data-behind", !following);
  }, true);

  let shownConversation = null;
  let lastUserMessage = null;
  function afterChange() {
    labelComposer();
    keepTyping();
    const thread = $("#thread .thread");
    const id = thread?.dataset.conversation ?? "";
    if (thread && id !== shownConversation) {
      const first = shownConversation === null;
      shownConversation = id;
      following = true;
      const url = new URL(location.href);
      if (id) url.searchParams.set("c", id); else url.searchParams.delete("c");
      if (!first || id) history.replaceState(null, "", url);
    }
    const newest = [...document.querySelectorAll("#thread .message.user")].at(-1)?.dataset.id;
    if (newest !== lastUserMessage) { lastUserMessage = newest; following = true; }
    restoreFields();
    const s = scroller();
    if (s && following) s.scrollTop = s.scrollHeight;
  }
  let scheduled = false;
  function watch() {
    new MutationObserver(() => {
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(() => { scheduled = false; afterChange(); });
    }).observe(document.body, { childList: true, subtree: true, characterData: true });
  }

  function start() {
    document.documentElement.style.overflow = "hidden"; // the thread scrolls, never the page
    showTheme(currentTheme());
    setDrawer("sidebar", !phone.matches);
    setDrawer("panel", false);
    phone.addEventListener("change", () => setDrawer("sidebar", !phone.matches));
    watch();
    afterChange();
  }
  // Gradio sets its own theme class when it mounts; ours comes after it.
  const mounted = setInterval(() => {
    if (!$("#composer textarea")) return;
    clearInterval(mounted);
    start();
  }, 30);
})();
