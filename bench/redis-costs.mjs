/**
 * What a publication costs each of the processes behind a hub of two nodes: the figures of docs/scaling.md.
 * `node bench/redis-costs.mjs` (after a build) prints microseconds of CPU time for each publication.
 */
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { Presence } from "../dist/index.js"
import { Redis, RedisConnection } from "../dist/redis/index.js"
import { compile, load } from "./load.mjs"
import { servers, startNodes } from "./servers.mjs"

const pins = { serverPin: ["taskset", "-c", "0"], loadPin: ["taskset", "-c", "1"] }
const warmup = 1.5
const duration = 4
const ticksPerSecond = 100

const cpu = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ")
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000))

const withNodes = async (use) => {
  const nodes = await startNodes(servers.get("effect-ws-hub"), { pin: pins.serverPin })
  try {
    return await use(nodes, nodes.pid.split(","))
  } finally {
    await nodes.stop()
  }
}

/** Microseconds of Redis, of the first node and of the second, for each publication. */
const publications = (options) =>
  withNodes(async ({ pid, port }, pids) => {
    const all = { path: "/connection/websocket", port, pid, size: 128, publishers: 1, warmup, duration, ...options }
    const running = load("fanout", all, { pin: pins.loadPin })
    await sleep(warmup + 0.5)
    const [from, before] = [performance.now(), pids.map(cpu)]
    await sleep(duration - 1)
    const [to, after] = [performance.now(), pids.map(cpu)]
    const { deliveries, seconds } = await running
    const rate = deliveries / options.conns / seconds
    const count = rate * ((to - from) / 1000)
    return { rate: Math.round(rate), each: after.map((used, i) => ((used - before[i]) / count) * 1e6) }
  })

/** Microseconds of Redis for each renewal of a lease, in channels of a hundred clients. */
const leases = () =>
  withNodes(({ redis }, [pid]) => {
    const [channels, clients, rounds] = [20, 100, 20]
    const renewAll = Effect.flatMap(Presence.Presence, (presence) =>
      Effect.forEach(
        Array.from({ length: channels * clients }, (_, i) => i),
        (i) => presence.add(`seen:${i % channels}`, { client: `client-${i}`, user: `user-${i}` }, 60_000),
        {
          concurrency: 64,
          discard: true
        }
      ))
    const connected = Effect.flatMap(RedisConnection.RedisConnection, ({ connected }) => connected)
    return connected.pipe(
      Effect.zipRight(renewAll),
      Effect.zipRight(Effect.suspend(() => {
        const before = cpu(pid)
        return Effect.map(Effect.repeatN(renewAll, rounds - 1), () =>
          ((cpu(pid) - before) / (channels * clients * rounds)) * 1e6)
      })),
      Effect.provide(Redis.layer({ url: redis })),
      Effect.runPromise
    )
  })

const print = (name, { each, rate }) =>
  console.log(name.padEnd(52), `${rate}/s`.padStart(9), each.map((us) => us.toFixed(1).padStart(8)).join(""))

compile()
console.log("".padEnd(52), "rate".padStart(9), "   Redis  node 1  node 2  µs for each publication")
for (const channel of ["bench", "kept:bench"]) {
  for (const window of [1, 256]) {
    for (const conns of [1, 2]) {
      const heard = conns === 1 ? "heard on its node" : "heard on both nodes"
      print(`${channel}, ${window} under way, ${heard}`, await publications({ channel, conns, window }))
    }
  }
}
console.log("renewal of a lease".padEnd(62), (await leases()).toFixed(1).padStart(7))
