// Narrows the page of wrong answers to a kind and to words. Without it everything is shown.
const chips = [...document.querySelectorAll("nav button")];
const words = document.querySelector("nav input");
const cards = [...document.querySelectorAll("article")];
const none = document.querySelector(".none");
let kind = "";

function narrow() {
  const sought = words.value.trim().toLowerCase();
  let shown = 0;
  for (const card of cards) {
    const fits = (!kind || card.dataset.kind === kind)
      && (!sought || card.textContent.toLowerCase().includes(sought));
    card.hidden = !fits;
    shown += fits;
  }
  none.hidden = shown > 0;
}

for (const chip of chips) {
  chip.addEventListener("click", () => {
    kind = chip.dataset.kind;
    for (const other of chips) other.setAttribute("aria-pressed", String(other === chip));
    narrow();
  });
}
words?.addEventListener("input", narrow);
