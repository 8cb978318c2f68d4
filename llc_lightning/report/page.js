const figures = JSON.parse(document.getElementById("figures").textContent);
const plots = [...document.querySelectorAll(".plot[data-figure]")];
const options = {
  responsive: true,
  displaylogo: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

for (const plot of plots) {
  const figure = figures[plot.dataset.figure];
  Plotly.newPlot(plot, figure.data, figure.layout, options);
}

// Draws the curves and points of one component in black, in every figure that has them.
function follow(address) {
  for (const plot of plots) {
    const data = figures[plot.dataset.figure].data;
    const picked = address ? data.filter((trace) => trace.type === "scatter" && trace.text).map((trace) => only(trace, address)) : [];
    const found = picked.filter((trace) => trace.x.length > 0);
    Plotly.react(plot, [...data, ...found], figures[plot.dataset.figure].layout, options);
  }
}

function only(trace, address) {
  const mine = trace.text.map((text) => text.startsWith(address + ",") || text.startsWith(address + ":"));
  const kept = (values) => values.filter((_, at) => mine[at]);
  const line = { color: "#000", width: 2.4, dash: trace.line?.dash ?? "solid" };
  const marker = { symbol: trace.marker?.symbol, size: 10, color: "rgba(0,0,0,0)", line: { color: "#000", width: 2 } };
  return { ...trace, x: kept(trace.x), y: kept(trace.y), text: kept(trace.text), opacity: 1, line, marker, error_y: {} };
}

document.getElementById("follow")?.addEventListener("change", (event) => follow(event.target.value));
