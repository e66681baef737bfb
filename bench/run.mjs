/**
 * Runs the benchmark: interleaved rounds, each server pinned to one core and the load client to another. Prints
 * tables; a complete run also writes results.json and results.svg.
 */
import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { availableParallelism, cpus, release } from "node:os"
import { parseArgs } from "node:util"
import { chart } from "./chart.mjs"
import { compile } from "./load.mjs"
import { growths, judge, summarize, table } from "./report.mjs"
import { scenarios } from "./scenarios.mjs"
import { servers } from "./servers.mjs"

const usage = `usage: node run.mjs [options]
  --rounds N         rounds per scenario (5; at least 5 for figures to publish)
  --seconds S        measured part of a run (2.5)
  --warmup S         load before the measured part (1.5)
  --quick            2 rounds of 1 s
  --only A,B         scenarios: ${[...scenarios.keys()].join(", ")}
  --servers A,B      servers: ${[...servers.keys()].join(", ")} (raw-ws is always run)
  --write            write results.json and results.svg although the run is not complete
`

const options = () => {
  try {
    return parseArgs({
      options: {
        rounds: { type: "string" },
        seconds: { type: "string" },
        warmup: { type: "string" },
        quick: { type: "boolean", default: false },
        only: { type: "string" },
        servers: { type: "string" },
        write: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false }
      }
    }).values
  } catch (error) {
    return stop(`${error.message}\n${usage}`)
  }
}

const stop = (text, code = 2) => {
  process.stderr.write(`${text}\n`)
  process.exit(code)
}

const positive = (name, text, otherwise) => {
  const value = text === undefined ? otherwise : Number(text)
  return value > 0 ? value : stop(`--${name} must be a number above 0, not "${text}"`)
}

const pick = (what, text, known) => {
  const names = text === undefined ? [...known.keys()].filter((name) => !known.get(name).onlyIfNamed) : text.split(",")
  const wrong = names.filter((name) => !known.has(name))
  return wrong.length ? stop(`unknown ${what}: ${wrong.join(", ")} (known: ${[...known.keys()].join(", ")})`) : names
}

const progress = (text) => {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

const pins = () => {
  const works = (core) => {
    try {
      execFileSync("taskset", ["-c", String(core), "true"], { stdio: "ignore" })
      return true
    } catch {
      return false
    }
  }
  if (availableParallelism() >= 2 && works(0) && works(1)) {
    return { pinned: true, serverPin: ["taskset", "-c", "0"], loadPin: ["taskset", "-c", "1"] }
  }
  process.stderr.write("warning: no taskset or no second core: server and load share cores, the figures are rough\n")
  return { pinned: false, serverPin: [], loadPin: [] }
}

const args = options()
if (args.help) stop(usage, 0)
const rounds = Math.ceil(positive("rounds", args.rounds, args.quick ? 2 : 5))
const duration = positive("seconds", args.seconds, args.quick ? 1 : 2.5)
const warmup = positive("warmup", args.warmup, args.quick ? 0.7 : 1.5)
const chosen = pick("scenario", args.only, scenarios)
const named = new Set(["raw-ws", ...pick("server", args.servers, servers)])
const complete = !args.only && !args.servers && !args.quick && rounds >= 5

try {
  compile()
} catch (error) {
  stop(error.message, 1)
}
const { pinned, ...pin } = pins()

const skipped = {}
const present = [...servers.values()].filter((server) => {
  if (!named.has(server.name)) return false
  const reason = server.unavailable()
  if (reason) skipped[server.name] = reason
  return !reason
})
for (const [name, reason] of Object.entries(skipped)) console.log(`skipped: ${name}: ${reason}`)

const samples = {}
const failures = []
const began = Date.now()
for (const name of chosen) {
  const scenario = scenarios.get(name)
  samples[name] = {}
  const taking = present.filter((server) => scenario.servers?.includes(server.name) ?? !server.onlyWithRedis)
  const count = Math.min(rounds, scenario.rounds ?? rounds)
  for (let round = 0; round < count; round++) {
    const order = taking.map((_, index) => taking[(index + round) % taking.length])
    for (const server of order) {
      progress(`${name}, round ${round + 1} of ${count}: ${server.name}`)
      try {
        const sample = await scenario.measure(server, { ...pin, warmup, duration, round })
        ;(samples[name][server.name] ??= [])[round] = sample
      } catch (error) {
        failures.push({ scenario: name, server: server.name, round: round + 1, reason: error.message })
        progress("")
        console.log(`FAILED: ${name}, round ${round + 1}, ${server.name}: ${error.message}`)
      }
    }
  }
  progress("")
  console.log(table(name, summarize(name, samples[name])))
}

const summary = Object.fromEntries(chosen.map((name) => [name, summarize(name, samples[name])]))
const growth = growths(summary)
if (growth.text) console.log(growth.text)
const verdicts = judge(summary)
if (verdicts.text) console.log(verdicts.text)
for (const failure of failures) {
  console.log(`failed: ${failure.scenario}, round ${failure.round}, ${failure.server}: ${failure.reason}`)
}

const results = {
  date: new Date().toISOString().slice(0, 10),
  machine: {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    system: `${process.platform} ${release().split(/[-+]/)[0]} ${process.arch}`,
    node: process.versions.node,
    pinned
  },
  settings: { rounds, seconds: duration, warmup, messageBytes: 128 },
  versions: Object.fromEntries(present.map((server) => [server.name, server.version()])),
  skipped,
  failures: failures.map(({ reason: _, ...failure }) => failure),
  scenarios: summary,
  growth: growth.values,
  goals: verdicts.goals
}
if (complete || args.write) {
  const file = (name) => new URL(name, import.meta.url)
  writeFileSync(file("results.json"), `${JSON.stringify(results, null, 2)}\n`)
  writeFileSync(file("results.svg"), chart(results))
  console.log("written: results.json, results.svg")
}
console.log(`${((Date.now() - began) / 60_000).toFixed(1)} minutes`)
process.exit(failures.length ? 1 : 0)
