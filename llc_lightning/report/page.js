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

// Sorts the rows of a table by the column whose head is clicked: by its first number where all have one, else as text.
for (const head of document.querySelectorAll("th")) {
  head.addEventListener("click", () => {
    const body = head.closest("table").tBodies[0];
    const at = head.cellIndex;
    const down = head.dataset.sorted !== "down";
    const number = (row) => parseFloat(row.cells[at].textContent.replace("+", ""));
    const rows = [...body.rows];
    const numeric = rows.filter((row) => row.cells[at].textContent !== "-" && row.cells[at].textContent !== "no value").every((row) => !isNaN(number(row)));
    const value = (row) => (numeric ? (isNaN(number(row)) ? -Infinity : number(row)) : row.cells[at].textContent);
    rows.sort((a, b) => (value(a) < value(b) ? 1 : value(a) > value(b) ? -1 : 0) * (down ? 1 : -1));
    for (const other of head.parentNode.cells) delete other.dataset.sorted;
    head.dataset.sorted = down ? "down" : "up";
    body.append(...rows);
  });
}
