// The volume viewer of a result's page, by NiiVue: the result, the scan beside it, maps over it.
// What is not shown at first is fetched when it is first wanted.
"use strict";

const frame = document.getElementById("viewer");
const controls = document.getElementById("controls");
const wait = frame.querySelector(".wait");
const before = { canvas: document.getElementById("before"), viewer: null };
const maps = {};
const CONVENTIONS = {
  neurological: "The patient's left is on the left.",
  radiological: "The patient's left is on the right.",
};
const DIFFERENCE = { // blue below 0, clear at 0, red above
  R: [30, 120, 0, 255, 255], G: [90, 200, 0, 190, 50], B: [255, 255, 0, 90, 40],
  A: [255, 190, 0, 190, 255], I: [0, 64, 128, 192, 255],
};

const SPREAD = { // as inferno, but clear where there is none
  R: [0, 87, 188, 249, 252], G: [0, 16, 55, 142, 255], B: [4, 110, 84, 9, 164],
  A: [0, 110, 190, 230, 255], I: [0, 64, 128, 192, 255],
};

function opened(place) {
  const viewer = new niivue.Niivue({
    backColor: [0, 0, 0, 1],
    crosshairColor: [0.43, 0.36, 0.96, 0.9],
    crosshairWidth: 0.25,
    crosshairWidthUnit: "percent",
    isCornerOrientationText: true, // at the middle of an edge the cross would hide them
    fontColor: [0.98, 0.75, 0.2, 1],
    show3Dcrosshair: true,
    isColorbar: false,
    loadingText: "",
    dragAndDropEnabled: false,
    renderOverlayBlend: 0, // the surface stays what it is under a map
    onLocationChange: place,
  });
  viewer.addColormap("difference", DIFFERENCE);
  viewer.addColormap("spread", SPREAD);
  return viewer;
}

async function start() {
  const viewer = opened((place) => {
    document.getElementById("where").textContent = place.string;
    follow(viewer);
  });
  await viewer.attachToCanvas(document.getElementById("volume"));
  viewer.setMultiplanarPadPixels(6);
  await viewer.loadVolumes([{ url: frame.dataset.result, colormap: "gray" }]);
  wait.hidden = true;
  controls.hidden = false;
  listen(viewer);
  frame.dataset.drawn = "yes";
}

function listen(viewer) {
  const kept = localStorage.getItem("convention");
  if (kept in CONVENTIONS) {
    controls.querySelector(`[name=convention][value=${kept}]`).checked = true;
  }
  convene(viewer);
  controls.addEventListener("change", (event) => {
    const { id, name, value } = event.target;
    if (id === "layout") lay(viewer, value);
    if (name === "convention") convene(viewer);
    if (name === "overlay") overlay(viewer, event.target).catch(failed);
    if (name === "image") choose(viewer, value).catch(failed);
  });
  controls.addEventListener("input", ({ target }) => {
    if (target.id === "opacity") fade(viewer);
    if (target.id === "wipe") wipe(Number(target.value));
  });
  const canvas = document.getElementById("volume");
  for (const kind of ["pointermove", "pointerup", "wheel"]) {
    canvas.addEventListener(kind, () => requestAnimationFrame(() => follow(viewer)));
  }
}

// The scan's picture looks where the result's does.
function follow(viewer) {
  if (!before.viewer || before.canvas.hidden) return;
  viewer.doSync2d(before.viewer);
  viewer.doSync3d(before.viewer);
  before.viewer.drawScene();
}

function lay(viewer, layout) {
  for (const each of [viewer, before.viewer]) {
    if (each) each.setSliceType(each[`sliceType${layout[0].toUpperCase()}${layout.slice(1)}`]);
  }
  follow(viewer);
}

function convene(viewer) {
  const chosen = controls.querySelector("[name=convention]:checked").value;
  for (const each of [viewer, before.viewer]) {
    if (each) each.setRadiologicalConvention(chosen === "radiological");
  }
  document.getElementById("convention").textContent = CONVENTIONS[chosen];
  frame.dataset.convention = chosen;
  localStorage.setItem("convention", chosen);
  follow(viewer);
}

async function choose(viewer, image) {
  const shown = image !== "result";
  before.canvas.hidden = !shown;
  if (shown && !before.viewer) await loadScan(viewer);
  const compared = image === "compare";
  for (const part of document.querySelectorAll(".wipe, .divider, .corner.after")) {
    part.hidden = !compared;
  }
  frame.querySelector(".corner.before").hidden = !shown;
  wipe(compared ? Number(document.getElementById("wipe").value) : 100);
  follow(viewer);
  frame.dataset.image = image;
}

async function loadScan(viewer) {
  say("Loading the scan…");
  const scan = opened(() => {});
  await scan.attachToCanvas(before.canvas);
  scan.setMultiplanarPadPixels(6);
  const { cal_min, cal_max } = viewer.volumes[0];
  await scan.loadVolumes([{ url: frame.dataset.scan, colormap: "gray", cal_min, cal_max }]);
  before.viewer = scan;
  lay(viewer, document.getElementById("layout").value);
  convene(viewer);
  wait.hidden = true;
}

function wipe(percent) {
  before.canvas.style.clipPath = `inset(0 ${100 - percent}% 0 0)`;
  frame.querySelector(".divider").style.left = `${percent}%`;
}

async function overlay(viewer, { value, dataset }) {
  if (value && !maps[value]) {
    say("Loading the map…");
    const signed = "signed" in dataset;
    const colormap = "mask" in dataset ? "red" : signed ? "difference" : "spread";
    const map = await viewer.addVolumeFromUrl({ url: dataset.map, colormap, opacity: 0 });
    const most = Math.max(Math.abs(map.cal_min), Math.abs(map.cal_max));
    if (signed) [map.cal_min, map.cal_max] = [-most, most];
    else if (map.cal_min > 0 && !("mask" in dataset)) map.cal_min = 0; // below it all is clear
    viewer.updateGLVolume();
    maps[value] = map;
    wait.hidden = true;
  }
  fade(viewer);
  document.getElementById("strength").hidden = !value;
  measure(viewer, maps[value], dataset.unit);
  frame.dataset.overlay = value;
}

function fade(viewer) {
  const chosen = controls.querySelector("[name=overlay]:checked").value;
  for (const [name, map] of Object.entries(maps)) {
    const index = viewer.volumes.findIndex((volume) => volume.id === map.id);
    const opacity = Number(document.getElementById("opacity").value);
    viewer.setOpacity(index, name === chosen ? opacity : 0);
  }
}

// The color bar: the map's colors, its least, middle and most, and what it measures.
function measure(viewer, map, unit) {
  const scale = document.getElementById("scale");
  scale.hidden = !map || !unit;
  if (scale.hidden) return;
  const context = scale.querySelector("canvas").getContext("2d");
  const colors = viewer.colormap(map.colormap).slice(0, 1024);
  context.clearRect(0, 0, 256, 1);
  context.putImageData(new ImageData(new Uint8ClampedArray(colors), 256, 1), 0, 0);
  const ends = [map.cal_min, (map.cal_min + map.cal_max) / 2, map.cal_max];
  scale.querySelectorAll(".ticks span").forEach((tick, n) => { tick.textContent = short(ends[n]); });
  scale.querySelector("figcaption").textContent = unit;
}

function short(number) {
  const least = Math.abs(number) < 1e-9 ? 0 : number;
  return String(Number(least.toPrecision(3))).replace("-", "−");
}

function say(words) {
  wait.textContent = words;
  wait.hidden = false;
}

function failed(error) {
  say(`That cannot be shown here (${error.message}). The picture below and the files are as good.`);
}

start().catch((error) => {
  say(`The viewer cannot start here (${error.message}): it needs WebGL 2. The picture below and the files are as good.`);
});
