// The few things that every part of the page needs.

export const $ = (selector, root = document) => root.querySelector(selector);
export const closest = (event, selector) => event.target.closest?.(selector);
export const phone = matchMedia("(max-width: 860px)");

// Gradio puts its own container in front of every selector of the style sheets, so whatever they
// are to see has to live inside it: the state of the drawers, dialogs, fields.
export const frame = () => $("#tabs") ?? document.body;

/** The field for the next message of the tab that is in sight. */
export const comparing = () => Boolean($("#compare")?.checkVisibility());
export const composer = () => (comparing() ? "#compare-composer" : "#composer");

export function element(tag, attributes, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

/** Hand an action to the server through the gr.HTML component that contains `from`. */
export function act(from, detail) {
  from?.dispatchEvent(new CustomEvent("llava-act", { bubbles: true, detail }));
}
