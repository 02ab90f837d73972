// Draws FIGURES in the page's own colours, again whenever the scheme changes or the page narrows.
const dark = matchMedia("(prefers-color-scheme: dark)");
const small = matchMedia("(max-width: 40rem)");

function colours() {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  return { text: of("text"), soft: of("soft"), line: of("line"), card: of("card"),
           accent: of("accent"), float: of("float"), veil: of("veil") };
}

function filled(value, palette) {
  if (typeof value === "string" && value.startsWith("@")) return palette[value.slice(1)] ?? value;
  if (Array.isArray(value)) return value.map((one) => filled(one, palette));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, filled(v, palette)]));
}

function layout(own, palette, narrow) {
  const axis = { gridcolor: palette.line, linecolor: palette.line, zeroline: false, automargin: true };
  const title = (side) => side?.title ? { title: { ...side.title, standoff: 12 } } : {};
  return {
    ...own,
    xaxis: { ...axis, ...own.xaxis, ...title(own.xaxis) },
    yaxis: { ...axis, ...own.yaxis, ...title(own.yaxis) },
    font: { color: palette.text, size: narrow ? 11 : 13, family: "system-ui, sans-serif" },
    paper_bgcolor: palette.card,
    plot_bgcolor: palette.card,
    hoverlabel: { align: "left", bgcolor: palette.card, font: { color: palette.text } },
    margin: { l: narrow ? 44 : 64, r: 16, t: 16, b: 44 },
    legend: { orientation: "h", y: -0.28, x: 0 },
    hovermode: "closest",
  };
}

function draw() {
  const palette = colours();
  for (const [name, figure] of Object.entries(FIGURES)) {
    const place = document.getElementById(name);
    const own = filled(figure.layout, palette);
    const traces = filled(figure.traces, palette);
    const narrow = small.matches;
    const shown = layout(own, palette, narrow);
    // A phone has no room for names beside the points; touching a point tells its name.
    if (narrow) shown.annotations = [];
    shown.showlegend = traces.length > 1;
    Plotly.react(place, traces, shown, { responsive: true, displayModeBar: false });
  }
}

draw();
dark.addEventListener("change", draw);
small.addEventListener("change", draw);
