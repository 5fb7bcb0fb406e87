// Sends the files that are chosen or dropped, one after the other, and says what came of each.
"use strict";

const form = document.getElementById("upload");
const drop = document.getElementById("drop");

async function send(files) {
  let kept = 0;
  for (const file of files) {
    const line = document.getElementById("sent").appendChild(document.createElement("li"));
    const said = line.appendChild(document.createElement("span"));
    said.textContent = `${file.name}: sending…`;
    try {
      const answer = await fetch(form.dataset.to + encodeURIComponent(file.name), {
        method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
      });
      const told = await answer.json();
      if (!answer.ok) throw new Error(told.error);
      said.textContent = `${file.name} is kept as ${told.scan}`;
      kept += 1;
    } catch (error) {
      line.className = "refused";
      said.textContent = error.message;
    }
  }
  if (kept === files.length) location.reload();
}

document.getElementById("file").addEventListener("change", ({ target }) => send([...target.files]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop") send([...event.dataTransfer.files]);
  });
}
