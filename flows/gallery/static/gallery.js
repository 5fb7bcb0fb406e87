"use strict";

// Cards of restored scans show one cut of a sheet of three by three: the middle one of the first
// row, whose height differs from head to head. What is below it is hidden, and it is centered.
const TITLES = 0.05, SCAN = 99, DARK = 40, GAP = 3, WIDE = 3.3; // WIDE: as in style.css

function firstRow(image) {
  const across = SCAN, down = Math.min(2000, image.naturalHeight);
  const canvas = new OffscreenCanvas(across, down);
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const third = image.naturalWidth / 3;
  pen.drawImage(image, third, 0, third, image.naturalHeight, 0, 0, across, down);
  const { data } = pen.getImageData(0, 0, across, down);
  let begin = -1, end = -1;
  for (let y = Math.ceil(TITLES * down); y < down; y++) {
    const row = data.subarray(4 * across * y, 4 * across * (y + 1));
    if (row.some((value, place) => place % 4 < 3 && value > DARK)) {
      if (begin < 0) begin = y;
      end = y + 1;
    } else if (begin >= 0 && y - end >= GAP) break;
  }
  return begin < 0 ? null : [begin / down, end / down];
}

function center(image) {
  const band = firstRow(image);
  if (!band) return;
  const [begin, end] = band;
  const height = WIDE * image.naturalHeight / image.naturalWidth; // in widths of the card
  image.style.clipPath = `inset(${100 * begin}% 0 ${100 * (1 - end)}% 0)`;
  image.style.marginTop = `${100 * (0.5 - height * (begin + end) / 2)}%`;
}

for (const image of document.querySelectorAll(".medical .picture img, .picture.medical img")) {
  if (image.complete && image.naturalWidth) center(image);
  else image.addEventListener("load", () => center(image));
}

// Copy buttons: data-copy names the element whose text is copied.
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
