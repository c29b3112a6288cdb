// Dark or light: the system's choice until somebody makes one.

const KEY = "llava-chat-theme";
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const current = () => localStorage.getItem(KEY) ?? (systemDark.matches ? "dark" : "light");
systemDark.addEventListener("change", showTheme);

/** Put the theme on the page; again once Gradio, which sets its own, is there. */
export function showTheme() {
  document.body.classList.toggle("dark", current() === "dark");
  document.documentElement.style.colorScheme = current();
}

export function switchTheme() {
  localStorage.setItem(KEY, current() === "dark" ? "light" : "dark");
  showTheme();
}
