// The volume viewer of a result's page, by NiiVue. Overlays are fetched when first wanted.
"use strict";

const frame = document.getElementById("viewer");
const controls = document.getElementById("controls");
const wait = frame.querySelector(".wait");
const colors = { std: "inferno", consistency: "blue2red" };
const layers = {};

async function start() {
  const viewer = new niivue.Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.43, 0.36, 0.96, 0.9],
    crosshairWidth: 0.6,
    show3Dcrosshair: true,
    isColorbar: false,
    loadingText: "",
    dragAndDropEnabled: false,
    onLocationChange: (place) => {
      document.getElementById("where").textContent = place.string;
    },
  });
  await viewer.attachToCanvas(document.getElementById("volume"));
  viewer.setMultiplanarPadPixels(6);
  await viewer.loadVolumes([{ url: frame.dataset.result, colormap: "gray" }]);
  wait.hidden = true;
  controls.hidden = false;
  frame.dataset.drawn = "yes";
  listen(viewer);
}

function listen(viewer) {
  const opacity = document.getElementById("opacity");
  let chosen = "";
  const show = () => {
    for (const [name, layer] of Object.entries(layers)) {
      const index = viewer.volumes.findIndex((volume) => volume.id === layer.id);
      viewer.setOpacity(index, name === chosen ? Number(opacity.value) : 0);
    }
  };
  controls.addEventListener("change", async (event) => {
    if (event.target.id === "layout") {
      viewer.setSliceType(viewer[`sliceType${capital(event.target.value)}`]);
    }
    if (event.target.name !== "overlay") return;
    chosen = event.target.value;
    if (chosen && !layers[chosen]) {
      wait.textContent = "Loading the overlay…";
      wait.hidden = false;
      layers[chosen] = await viewer.addVolumeFromUrl({
        url: frame.dataset[chosen], colormap: colors[chosen], opacity: 0,
      });
      wait.hidden = true;
    }
    show();
    frame.dataset.overlay = chosen;
  });
  opacity.addEventListener("input", show);
}

function capital(word) {
  return word[0].toUpperCase() + word.slice(1);
}

start().catch((error) => {
  wait.hidden = false;
  wait.textContent = `The viewer cannot start here (${error.message}): it needs WebGL 2. The picture below and the files are as good.`;
});
