/** A strict reader of the Prometheus text format, version 0.0.4, which throws at the first line that breaks its rules. */

export interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly type: string
  readonly help: string
  readonly series: Array<Series>
}

const name = "[a-zA-Z_:][a-zA-Z0-9_:]*"
/** A value is what Go's ParseFloat reads, to which `Nan`, as prom-client writes it, is NaN. */
const number = "[Nn]a[Nn]|[+-]Inf|-?[0-9.]+(?:e[+-]?[0-9]+)?"
const label = "[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\\\\n]|\\\\[\\\\n\"])*\""
const sample = new RegExp(`^(${name})(?:\\{(${label}(?:,${label})*)\\})? (${number})$`)

const suffixes: Readonly<Record<string, ReadonlyArray<string>>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"]
}

const numberOf = (text: string) => text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text)

const labelsOf = (text: string) =>
  Object.fromEntries(
    Array.from(
      text.matchAll(/([a-zA-Z0-9_]+)="((?:[^"\\]|\\.)*)"/g),
      ([, key = "", value = ""]) => [key, value.replace(/\\(.)/g, (_, char: string) => char === "n" ? "\n" : char)]
    )
  )

export const parse = (text: string): ReadonlyMap<string, Family> => {
  if (!text.endsWith("\n")) throw new Error("the last line has no end")
  const families = new Map<string, Family>()
  const seen = new Set<string>()
  let current: { readonly name: string; help?: string; family?: Family } | undefined
  for (const line of text.split("\n")) {
    if (line === "") continue
    const bad = (why: string) => new Error(`${why}: ${line}`)
    const help = new RegExp(`^# HELP (${name}) (.+)$`).exec(line)
    const type = new RegExp(`^# TYPE (${name}) (counter|gauge|histogram|summary)$`).exec(line)
    const value = sample.exec(line)
    if (help !== null) {
      current = { name: help[1] ?? "", help: help[2] ?? "" }
    } else if (type !== null) {
      const [, of = "", kind = ""] = type
      if (current?.name !== of || current.family !== undefined) throw bad("a type without its help before it")
      if (families.has(of)) throw bad("a family in two pieces")
      current.family = { type: kind, help: current.help ?? "", series: [] }
      families.set(of, current.family)
    } else if (value !== null) {
      const [, of = "", labels = "", number = ""] = value
      if (current?.family === undefined || !of.startsWith(current.name)) throw bad("a sample outside of its family")
      if (!suffixes[current.family.type]?.includes(of.slice(current.name.length))) throw bad("a wrong suffix")
      if (seen.has(`${of}{${labels}}`)) throw bad("a series twice")
      seen.add(`${of}{${labels}}`)
      current.family.series.push({ name: of, labels: labelsOf(labels), value: numberOf(number) })
    } else throw bad("not a line of the format")
  }
  for (const [of, family] of families) if (family.type === "histogram") checkHistogram(of, family)
  return families
}

/** Buckets go up in `le` and in count, and the last is everything. */
const checkHistogram = (of: string, { series }: Family): void => {
  const groups = new Map<string, { le: number; count: number }>()
  for (const { labels: { le, ...labels }, name, value } of series) {
    const key = JSON.stringify(labels)
    const last = groups.get(key)
    if (name === `${of}_bucket`) {
      const bound = numberOf(le ?? "")
      if (Number.isNaN(bound)) throw new Error(`${of}: a bucket without a bound`)
      if (last !== undefined && (bound <= last.le || value < last.count)) throw new Error(`${of}: not cumulative`)
      groups.set(key, { le: bound, count: value })
    } else if (name === `${of}_count` && (last?.le !== Infinity || last.count !== value)) {
      throw new Error(`${of}: the last bucket is not the count`)
    }
  }
}

/** The value of one series. */
export const value = (
  families: ReadonlyMap<string, Family>,
  series: string,
  labels: Readonly<Record<string, string>> = {}
): number | undefined => {
  for (const family of families.values()) {
    const found = family.series.find((one) =>
      one.name === series && Object.entries(labels).every(([key, value]) => one.labels[key] === value)
    )
    if (found !== undefined) return found.value
  }
  return undefined
}
