// How the map looks: the ground in quiet tones, the cases in the colours of their classes.

export function theme(dark) {
  return dark
    ? { ground: "#10161c", road: "#26323c", pavement: "#1c262e", building: "#2b3641", edge: "#3a4854", green: "#1b3327", water: "#14303f", text: "#93a3b1", halo: "#10161c", track: "#5eead4", ring: "#ffffff" }
    : { ground: "#f1efe9", road: "#ffffff", pavement: "#e4e1da", building: "#d5cfc6", edge: "#bdb6ab", green: "#cfe3c8", water: "#b9d7e6", text: "#5c6b78", halo: "#ffffff", track: "#0f766e", ring: "#17212b" };
}

const KIND = ["downcase", ["to-string", ["coalesce", ["get", "kind"], ["get", "class"], ["get", "type"], ""]]];
const FONT = ["Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", "sans-serif"];

export function baseLayers(dark) {
  const t = theme(dark);
  const kinds = ["match", KIND,
    ["building", "house", "facade", "wall"], t.building,
    ["road", "carriageway", "street", "lane", "crossing"], t.road,
    ["pavement", "sidewalk", "footway", "path", "kerb"], t.pavement,
    ["green", "grass", "park", "verge", "planting", "tree"], t.green,
    ["water", "river"], t.water,
    t.pavement];
  return [
    { id: "ground-fill", type: "fill", source: "ground", filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": kinds } },
    { id: "ground-edge", type: "line", source: "ground", filter: ["==", ["geometry-type"], "Polygon"], paint: { "line-color": t.edge, "line-width": 0.8 } },
    { id: "ground-line", type: "line", source: "ground", filter: ["==", ["geometry-type"], "LineString"], layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": ["match", KIND, ["marking"], t.ground, t.edge], "line-width": ["match", KIND, ["road", "carriageway", "street"], 6, 1.2] } },
    { id: "ground-name", type: "symbol", source: "ground", filter: ["has", "name"],
      layout: { "text-field": ["get", "name"], "text-font": FONT, "text-size": 12 },
      paint: { "text-color": t.text, "text-halo-color": t.halo, "text-halo-width": 1.2 } },
  ];
}

export function caseLayers(dark, colours) {
  const t = theme(dark);
  const colour = ["match", ["get", "class"], ...Object.entries(colours).flat(), "#7b8794"];
  return [
    { id: "tracks", type: "line", source: "tracks", layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": t.track, "line-width": 2.5, "line-opacity": 0.55, "line-dasharray": [1.5, 1.5] } },
    { id: "radii-fill", type: "fill", source: "radii", paint: { "fill-color": colour, "fill-opacity": 0.16 } },
    { id: "radii-edge", type: "line", source: "radii", paint: { "line-color": colour, "line-width": 1.2, "line-opacity": 0.75 } },
    { id: "case-names", type: "symbol", source: "cases", minzoom: 18,
      layout: { "text-field": ["get", "matter_name"], "text-font": FONT, "text-size": 12.5, "text-offset": [0, 1.1], "text-anchor": "top", "text-optional": true },
      paint: { "text-color": dark ? "#e6edf2" : "#17212b", "text-halo-color": t.halo, "text-halo-width": 1.6 } },
    { id: "cases-open", type: "circle", source: "cases", filter: ["==", ["get", "id"], ""],
      paint: { "circle-radius": ["interpolate", ["linear"], ["zoom"], 19, 13, 20.5, 9], "circle-color": "transparent", "circle-stroke-color": t.ring, "circle-stroke-width": 2.5 } },
    { id: "cases", type: "circle", source: "cases",
      paint: { "circle-radius": ["interpolate", ["linear"], ["zoom"], 12, 3.5, 17, 7.5, 19, 7, 20.5, 4.5], "circle-color": colour, "circle-stroke-color": "#ffffff", "circle-stroke-width": 2 } },
    { id: "spot", type: "circle", source: "spot", paint: { "circle-radius": 9, "circle-color": "transparent", "circle-stroke-color": t.ring, "circle-stroke-width": 2.5 } },
  ];
}

// The error circle of a case as a polygon on the ground: metres, whatever the zoom.
export function circle(feature) {
  const [lon, lat] = feature.geometry.coordinates;
  const north = feature.properties.error_radius_m / 111320;
  const east = north / Math.cos((lat * Math.PI) / 180);
  const ring = Array.from({ length: 65 }, (_, i) => {
    const angle = (i * 2 * Math.PI) / 64;
    return [lon + east * Math.cos(angle), lat + north * Math.sin(angle)];
  });
  return { type: "Feature", geometry: { type: "Polygon", coordinates: [ring] }, properties: { class: feature.properties.class, id: feature.id } };
}
