/**
 * The chart for the README: efficiency against the raw ws loop, on a log scale, bars that start at 1.
 */
import { scenarios } from "./scenarios.mjs"
import { servers } from "./servers.mjs"

const width = 860
const left = 214
const right = 64
const row = 19
const order = ["effect-ws-hub", "bun", "socket-io", "naive-effect", "platform-upgrade"]

const style = `
    text { font: 12px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #59636e }
    .title { font-size: 16px; font-weight: 600; fill: #1f2328 }
    .group { font-weight: 600; fill: #1f2328 }
    .tick { font-size: 11px }
    .grid { stroke: #818b98; stroke-opacity: 0.25 }
    .one { stroke: #59636e; stroke-width: 1.5 }
    .bar { fill: #818b98; fill-opacity: 0.55 }
    .ours { fill: #2f81f7; fill-opacity: 1 }
    .strong { font-weight: 600; fill: #1f2328 }
    @media (prefers-color-scheme: dark) {
      text { fill: #9198a1 }
      .title, .group, .strong { fill: #f0f6fc }
      .one { stroke: #9198a1 }
    }
  `

const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;")

const number = (value) => `${value >= 10 ? Math.round(value) : Number(value.toPrecision(2))}×`

const ticksFor = (low, high) => {
  const ticks = []
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const digit of [1, 2, 5]) ticks.push(digit * 10 ** power)
  }
  const from = ticks.findLastIndex((tick) => tick <= low)
  const to = ticks.findIndex((tick) => tick >= high)
  return ticks.slice(Math.max(from, 0), to + 1)
}

/** Draws the scenarios that have a place in the chart; a server without a figure has no bar. */
export const chart = ({ machine, scenarios: summary, settings, versions }) => {
  const groups = Object.entries(summary)
    .filter(([name]) => scenarios.get(name).chart)
    .map(([name, entries]) => ({
      title: scenarios.get(name).title,
      bars: order
        .filter((server) => entries[server]?.efficiency)
        .map((server) => ({ server, value: entries[server].efficiency }))
    }))
    .filter(({ bars }) => bars.length > 0)
  const values = groups.flatMap(({ bars }) => bars.map(({ value }) => value))
  const ticks = ticksFor(Math.min(...values, 0.5), Math.max(...values, 2))
  const [low, high] = [ticks[0], ticks.at(-1)]
  const x = (value) => left + ((width - left - right) * Math.log(value / low)) / Math.log(high / low)
  const at = (value) => x(value).toFixed(1)

  const body = []
  const top = 84
  let y = top + 10
  for (const { bars, title } of groups) {
    body.push(`<text class="group" x="16" y="${y + 13}">${escape(title)}</text>`)
    y += row + 2
    for (const { server, value } of bars) {
      const ours = server === "effect-ws-hub"
      const from = Math.min(x(1), x(value))
      const length = Math.max(Math.abs(x(value) - x(1)), 1)
      const strong = ours ? ` class="strong"` : ""
      body.push(
        `<text${strong} x="${left - 10}" y="${y + 12}" text-anchor="end">${escape(servers.get(server).label)}</text>`,
        `<rect class="bar${ours ? " ours" : ""}" x="${from.toFixed(1)}" y="${y + 1}" width="${length.toFixed(1)}" ` +
          `height="${row - 5}" rx="2"/>`,
        `<text${strong} x="${(Math.max(x(value), x(1)) + 6).toFixed(1)}" y="${y + 12}">${number(value)}</text>`
      )
      y += row
    }
    y += 10
  }
  const bottom = y
  const grid = ticks.map(
    (tick) =>
      `<line class="${tick === 1 ? "one" : "grid"}" x1="${at(tick)}" x2="${at(tick)}" y1="${top}" y2="${bottom}"/>` +
      `<text class="tick" x="${at(tick)}" y="${top - 6}" text-anchor="middle">${number(tick)}</text>`
  )
  const made = [
    `Median of ${settings.rounds} interleaved rounds, server on one core`,
    machine.cpu,
    `Node ${machine.node}`,
    ...Object.entries(versions)
      .filter(([name]) => name !== "effect-ws-hub")
      .map(([, version]) => version)
  ]
  const height = bottom + 34
  const label = "Efficiency of WebSocket servers against a raw ws loop"
  const box = `viewBox="0 0 ${width} ${height}" width="${width}" height="${height}"`
  const lead = "Log scale; bars to the right do more with the same CPU."
  return `<svg xmlns="http://www.w3.org/2000/svg" ${box} role="img" aria-label="${label}">
  <style>${style}</style>
  <text class="title" x="16" y="28">Work per CPU-second of the server, raw ws loop = 1×</text>
  <text x="16" y="48">${lead} ${settings.messageBytes}-byte text messages.</text>
  ${grid.join("\n  ")}
  ${body.join("\n  ")}
  <text class="tick" x="16" y="${bottom + 20}">${escape(made.join(" · "))}</text>
</svg>
`
}
