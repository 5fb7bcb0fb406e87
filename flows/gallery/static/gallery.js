// Copy buttons: data-copy names the element whose text is copied.
"use strict";

for (const button of document.querySelectorAll("[data-copy]")) {
  const words = button.textContent;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source); // no clipboard without https: Ctrl-C does it
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = words; }, 1500);
  });
}
