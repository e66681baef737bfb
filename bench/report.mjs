/**
 * Medians, ratios, the printed tables, and the comparison with the numbers to reach.
 */
import { flatness, scenarios } from "./scenarios.mjs"
import { servers } from "./servers.mjs"

export const median = (values) => {
  const sorted = values.filter(Number.isFinite).sort((a, b) => a - b)
  if (sorted.length === 0) return undefined
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

const significant = (value, digits = 3) => (value === undefined ? undefined : Number(value.toPrecision(digits)))

/**
 * One entry for each server: medians over the rounds, and for costs the efficiency against raw ws, or against the best
 * of the scenario's own references: the ratio inside each round first, then the median of the ratios.
 */
export const summarize = (name, samples) => {
  const ratio = !scenarios.get(name).kind
  const { references = ["raw-ws"] } = scenarios.get(name)
  const best = (round) =>
    Math.min(...references.map((reference) => samples[reference]?.[round]?.cost).filter(Number.isFinite))
  return Object.fromEntries(
    Object.entries(samples).map(([server, taken]) => {
      const fields = [...new Set(taken.flatMap((sample) => Object.keys(sample ?? {})))]
      const entry = {}
      for (const field of fields) entry[field] = significant(median(taken.map((sample) => sample?.[field])))
      if (ratio) {
        const ratios = taken.map((sample, round) => best(round) / sample.cost)
        entry.efficiency = significant(median(ratios))
        entry.efficiencies = ratios.filter(Number.isFinite).map((value) => significant(value))
      }
      entry.rounds = taken.filter(Boolean).length
      return [server, entry]
    })
  )
}

const grid = (rows) => {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)))
  const line = (row) =>
    row.map((cell, column) => (column ? cell.padStart(widths[column]) : cell.padEnd(widths[column]))).join("  ")
  return rows.map((row) => `  ${line(row).trimEnd()}`).join("\n")
}

const show = (value, digits = 3) => {
  if (value === undefined) return "-"
  return value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(digits)))
}

export const table = (name, entries) => {
  const { kind, title, unit } = scenarios.get(name)
  const head = { undefined: [unit, "efficiency", "rate/s", "load core"], absolute: [unit] }
  head.share = [unit, "per CPU-s", "rate/s", "stalled closed", "extra peak MB"]
  const cells = {
    undefined: (entry) => [
      show(entry.cost),
      show(entry.efficiency),
      show(entry.rate),
      `${Math.round(entry.loadShare * 100)} %`
    ],
    absolute: (entry) => [show(entry.cost)],
    share: (entry) => [entry.cost, entry.perCpu, entry.rate, entry.closed, entry.extraPeakMegabytes].map((v) => show(v))
  }
  const rows = Object.entries(entries).map(([server, entry]) => [servers.get(server).label, ...cells[kind](entry)])
  return `\n${title}  [${name}]\n${grid([["server", ...head[kind]], ...rows])}`
}

const reached = (value, { atMost, goal, must }) => {
  const meets = (limit) => (atMost ? value <= limit : value >= limit)
  return meets(goal) ? "goal" : meets(must) ? "must" : "MISSED"
}

const growth = (summary, server) => {
  const cost = (name) => summary[name]?.[server]?.cost
  const base = cost(flatness.from)
  const others = flatness.to.map(cost)
  return base && others.every(Boolean) ? Math.max(...others) / base : undefined
}

/** How the cost of a delivery grows with the subscribers, for every server that ran at all sizes. */
export const growths = (summary) => {
  const names = Object.keys(summary[flatness.from] ?? {})
  const found = names.map((name) => [name, growth(summary, name)]).filter(([, value]) => value !== undefined)
  const rows = found.map(([name, value]) => [servers.get(name).label, show(value)])
  const text = rows.length ? `\n${flatness.title}\n${grid([["server", "times"], ...rows])}` : ""
  return { values: Object.fromEntries(found.map(([name, value]) => [name, significant(value)])), text }
}

/** The library against the must and goal columns. */
export const judge = (summary) => {
  const goals = []
  const add = (title, value, limits, note) => {
    if (value === undefined) return
    const { goal, must } = limits
    goals.push({ title, value: significant(value), must, goal, reached: reached(value, limits), ...note })
  }
  for (const [name, entries] of Object.entries(summary)) {
    const { aboveBun, goal, kind, must, title } = scenarios.get(name)
    const mine = entries["effect-ws-hub"]
    if (!mine || must === undefined) continue
    if (kind === "absolute") add(`${title}, KB`, mine.cost, { must, goal, atMost: true })
    else if (kind === "share") add(title, mine.cost, { must, goal })
    else {
      const bun = aboveBun ? entries.bun?.efficiency : undefined
      add(title, mine.efficiency, { must, goal }, bun === undefined ? {} : { bun, aboveBun: mine.efficiency > bun })
    }
  }
  add(flatness.title, growth(summary, "effect-ws-hub"), { ...flatness, atMost: true })
  if (goals.length === 0) return { goals, text: "" }
  const rows = goals.map(({ aboveBun, bun, goal, must, reached, title, value }) => [
    title,
    show(value),
    show(must),
    show(goal),
    reached + (bun === undefined ? "" : aboveBun ? `, above Bun (${show(bun)})` : `, BELOW Bun (${show(bun)})`)
  ])
  return { goals, text: `\neffect-ws-hub\n${grid([["scenario", "value", "must", "goal", "reached"], ...rows])}\n` }
}
