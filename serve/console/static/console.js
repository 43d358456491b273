// The console: keeps filters, list, map and panel in step. The server renders; this wires and draws the map.
import * as maplibregl from "/static/vendor/maplibre-gl/maplibre-gl.mjs";
import { baseLayers, caseLayers, circle, theme } from "/static/map-style.js";

const MOST_ON_MAP = 5000;
// Near enough for a circle of a metre to be seen around its point.
const CLOSE_ZOOM = 20.4;
const dark = matchMedia("(prefers-color-scheme: dark)");
const element = document.getElementById("map");
const colours = JSON.parse(element.dataset.colours);
const filters = document.getElementById("filters");
const panel = document.getElementById("panel");
const empty = () => ({ type: "FeatureCollection", features: [] });

const map = new maplibregl.Map({
  container: element,
  style: { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": theme(dark.matches).ground } }] },
  center: [120.3, 31.57],
  zoom: 15,
  maxZoom: 23,
  attributionControl: false,
  dragRotate: false,
});
map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "bottom-right");
map.addControl(new maplibregl.ScaleControl({ maxWidth: 140 }), "bottom-left");
map.touchZoomRotate.disableRotation();

let cases = empty();
let opened = null;
const ready = new Promise((done) => map.on("load", done)).then(draw);

async function json(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}

async function draw() {
  const [ground, tracks] = await Promise.all([json("/console/base-map.geojson"), json("/console/tracks.geojson")]);
  map.addSource("ground", { type: "geojson", data: ground });
  map.addSource("tracks", { type: "geojson", data: tracks });
  map.addSource("radii", { type: "geojson", data: empty() });
  map.addSource("cases", { type: "geojson", data: empty() });
  map.addSource("spot", { type: "geojson", data: empty() });
  for (const layer of [...baseLayers(dark.matches), ...caseLayers(dark.matches, colours)]) map.addLayer(layer);
  map.on("click", "cases", (event) => openCase(event.features[0].properties.id));
  map.on("click", (event) => {
    if (!map.queryRenderedFeatures(event.point, { layers: ["cases"] }).length) close();
  });
  for (const kind of ["mouseenter", "mouseleave"]) {
    map.on(kind, "cases", () => (map.getCanvas().style.cursor = kind === "mouseenter" ? "pointer" : ""));
  }
  return { ground, tracks };
}

function query() {
  const wanted = new URLSearchParams();
  for (const [name, value] of new FormData(filters)) {
    if (value === "" || (name === "min_score" && Number(value) === 0)) continue;
    wanted.append(name, name === "since" ? new Date(`${value}T00:00`).toISOString() : value);
  }
  return wanted;
}

async function load() {
  const wanted = query();
  document.getElementById("score-shown").textContent = Number(filters.elements.min_score.value).toFixed(2);
  window.htmx.ajax("GET", `/console/cases?${wanted}`, { target: "#case-list", swap: "innerHTML" });
  const found = [];
  wanted.set("limit", "1000");
  let url = `/v1/cases?${wanted}`;
  while (url && found.length < MOST_ON_MAP) {
    const page = await json(url);
    found.push(...page.features);
    url = page.links.find((link) => link.rel === "next")?.href;
  }
  cases = { type: "FeatureCollection", features: found };
  document.getElementById("case-count").textContent = found.length + (url ? "+" : "");
  await ready;
  map.getSource("cases").setData(cases);
  map.getSource("radii").setData({ type: "FeatureCollection", features: found.map(circle) });
  mark();
}

function fit({ ground, tracks }) {
  const bounds = new maplibregl.LngLatBounds();
  for (const feature of cases.features) bounds.extend(feature.geometry.coordinates);
  for (const feature of tracks.features) feature.geometry.coordinates.forEach((place) => bounds.extend(place));
  if (bounds.isEmpty()) {
    const extend = (part) => (typeof part[0] === "number" ? bounds.extend(part) : part.forEach(extend));
    ground.features.forEach((feature) => extend(feature.geometry.coordinates));
  }
  if (!bounds.isEmpty()) map.fitBounds(bounds, { padding: 70, maxZoom: 19, duration: 0 });
}

async function show(url) {
  await window.htmx.ajax("GET", url, { target: "#panel", swap: "innerHTML" });
  panel.hidden = false;
  panel.scrollTop = 0;
  localise(panel);
  map.resize();
}

async function openCase(id) {
  opened = id;
  history.replaceState(null, "", `#case=${id}`);
  mark();
  await show(`/console/cases/${id}`);
  const feature = cases.features.find((one) => one.id === id);
  if (feature) map.easeTo({ center: feature.geometry.coordinates, zoom: Math.max(map.getZoom(), CLOSE_ZOOM), duration: 500 });
}

async function openPatrol(id) {
  opened = null;
  history.replaceState(null, "", `#patrol=${id}`);
  mark(id);
  await show(`/console/patrols/${id}`);
}

function close() {
  opened = null;
  panel.hidden = true;
  history.replaceState(null, "", location.pathname);
  mark();
  spot(null);
  map.resize();
}

function mark(patrol = null) {
  if (map.getLayer("cases-open")) map.setFilter("cases-open", ["==", ["get", "id"], opened ?? ""]);
  for (const item of document.querySelectorAll(".item")) {
    item.classList.toggle("open", item.dataset.case === opened || (patrol !== null && item.dataset.patrol === patrol));
  }
}

function spot(place) {
  const features = place ? [{ type: "Feature", geometry: { type: "Point", coordinates: place }, properties: {} }] : [];
  map.getSource("spot")?.setData({ type: "FeatureCollection", features });
  if (place) map.easeTo({ center: place, zoom: Math.max(map.getZoom(), CLOSE_ZOOM), duration: 500 });
}

function localise(root) {
  const format = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]:not([title])")) {
    time.title = time.dateTime;
    const whole = format.format(new Date(time.dateTime));
    time.textContent = time.closest(".item > .facts") ? whole.slice(5) : whole;
  }
}

// What an operator says about the open case; the server keeps it and hands it to training.
async function decide(section, verdict, name) {
  const controls = section.querySelectorAll("button, select");
  for (const control of controls) control.disabled = true;
  const said = { verdict, case: section.dataset.decide, by: section.dataset.by, ...(name ? { class: name } : {}) };
  let reason;
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("/v1/feedback", { method: "POST", headers, body: JSON.stringify(said) });
    if (answer.ok) return openCase(section.dataset.decide);
    reason = (await answer.json()).detail;
  } catch (error) {
    reason = String(error);
  }
  const refused = section.querySelector("[data-refused]");
  refused.textContent = reason;
  refused.hidden = false;
  for (const control of controls) control.disabled = false;
}

document.addEventListener("click", async (event) => {
  const found = (name) => event.target.closest(`[data-${name}]`);
  if (found("close")) close();
  else if (found("shot")) {
    const button = found("shot");
    for (const shot of panel.querySelectorAll(".shot")) shot.hidden = shot.id !== button.dataset.shot;
    for (const other of panel.querySelectorAll("[data-shot]")) other.setAttribute("aria-pressed", String(other === button));
  } else if (found("case")) openCase(found("case").dataset.case);
  else if (found("verdict")) decide(found("decide"), found("verdict").dataset.verdict);
  else if (found("place")) spot(found("place").dataset.place.split(",").map(Number));
  else if (found("reprocess")) {
    const id = found("reprocess").dataset.reprocess;
    await fetch(`/v1/patrols/${id}/reprocess`, { method: "POST" });
    openPatrol(id);
    window.htmx.trigger("#patrol-list", "refresh");
  } else if (found("patrol")) openPatrol(found("patrol").dataset.patrol);
  else if (found("tab")) {
    for (const tab of document.querySelectorAll("[data-tab]")) tab.setAttribute("aria-selected", String(tab === found("tab")));
    for (const pane of document.querySelectorAll("[data-pane]")) pane.hidden = pane.dataset.pane !== found("tab").dataset.tab;
    if (found("tab").dataset.tab === "patrols") window.htmx.trigger("#patrol-list", "refresh");
  }
});
document.addEventListener("change", (event) => {
  const choice = event.target.closest("[data-reclass]");
  if (choice?.value) decide(choice.closest("[data-decide]"), "reclass", choice.value);
});
document.addEventListener("keydown", (event) => event.key === "Escape" && close());
new MutationObserver(() => {
  for (const list of document.querySelectorAll(".list")) localise(list);
  mark();
}).observe(document.querySelector(".side"), { childList: true, subtree: true });
filters.addEventListener("input", () => {
  clearTimeout(filters.waiting);
  filters.waiting = setTimeout(load, 200);
});
dark.addEventListener("change", () => location.reload());

await load();
fit(await ready);
const asked = /^#(case|patrol)=([0-9a-z]+)$/.exec(location.hash);
if (asked) await (asked[1] === "case" ? openCase(asked[2]) : openPatrol(asked[2]));
map.once("idle", () => document.body.setAttribute("data-ready", "true"));
map.triggerRepaint();
