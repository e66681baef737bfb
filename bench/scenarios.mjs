/**
 * What is measured, and the numbers to reach. Each scenario measures one server once; `cost` is what efficiency is the
 * inverse ratio of, `unit` names it.
 */
import { launch, load } from "./load.mjs"
import { start, startNodes } from "./servers.mjs"

const clientOptions = (server, path) =>
  server.socketIo ? { path: "/socket.io/?EIO=4&transport=websocket", "socket-io": true } : { path }

/** For a server with channels; the others are the reference: the same load without the protocol. */
const channelOptions = (server, channel) => (server.channels ? { path: server.channels, channel } : {})

const withServer = async (server, how, use) => {
  const process = await start(server, how)
  try {
    return await use(process)
  } finally {
    await process.stop()
  }
}

/** Where the name of a channel says whether it has history, as it does for `effect-ws-hub` alone. */
const overRedis = (title, { channel, count, must, per, ...options }) => ({
  must,
  title: `two nodes on one Redis: ${title}`,
  unit: `CPU-s of nodes and Redis per million ${per}`,
  servers: ["socket-io-redis", "socket-io-streams", "effect-ws-hub"],
  references: ["socket-io-redis", "socket-io-streams"],
  measure: async (server, how) => {
    const nodes = await startNodes(server, { pin: how.serverPin })
    try {
      const spoken = server.channels ? { path: server.channels, channel } : clientOptions(server, "/")
      const { pid, port } = nodes
      const all = { ...spoken, port, pid, size: 128, warmup: how.warmup, duration: how.duration, ...options }
      const { cost, loadShare, rate } = perDelivery(verified(await load("fanout", all, { pin: how.loadPin })))
      return { cost: cost * count, rate: rate / count, loadShare }
    } finally {
      await nodes.stop()
    }
  }
})

const verified = (result) => {
  if (result.violations || result.foreign) {
    throw new Error(`INCORRECT: ${result.violations} violations, ${result.foreign} foreign messages; ${result.problem}`)
  }
  return result
}

const run = (mode, path, options) => (server, how) =>
  withServer(server, { pin: how.serverPin }, async ({ peak, pid, port }) => {
    const timing = { warmup: how.warmup, duration: how.duration }
    const { channel, ...rest } = options
    const inChannel = channel === undefined ? {} : channelOptions(server, channel)
    if (!server.channels) delete rest.unsubscribed
    const all = { ...clientOptions(server, path), ...inChannel, port, pid, ...timing, ...rest }
    const result = verified(await load(mode, all, { pin: how.loadPin }))
    return { ...result, peak: peak() }
  })

const perDelivery = (result) => {
  if (result.frozen) throw new Error(`frozen: no delivery for 5 s; ${result.problem}`)
  const { cpu, deliveries, loadCpu, seconds } = result
  return { cost: (cpu / deliveries) * 1e6, rate: deliveries / seconds, loadShare: loadCpu / seconds }
}

const fanOut = (conns, { channel, publishers = 1, window = 64, ...rest } = {}) => ({
  title: `fan-out ${conns.toLocaleString("en")}, window ${window}, ${publishers} publisher${publishers > 1 ? "s" : ""}`,
  unit: "CPU-s per million deliveries",
  measure: async (server, how) =>
    perDelivery(await run("fanout", "/", { channel, conns, publishers, window, size: 128 })(server, how)),
  ...rest
})

const withChannels = ["raw-ws", "effect-ws-hub"]

const channelFanOut = (title, options) => ({
  ...fanOut(1000, { channel: "bench", servers: withChannels, ...options }),
  title: `channel, 1,000 subscribers, ${title}`
})

const roundTrip = (title, options, rest) => ({
  title,
  unit: "CPU-s per million round trips",
  servers: withChannels,
  measure: async (server, how) =>
    perDelivery(
      await run("echo", "/echo", { channel: "bench", conns: 200, size: 128, ...options })(server, how)
    ),
  ...rest
})

const handshakes = (options) => async (server, how) => {
  // A server lives for days: what its compiler does in the first seconds is not what a handshake costs.
  const all = { conns: 50, warmup: 5 * how.warmup, ...options }
  const { cpu, handshakes, loadCpu, seconds } = await run("handshake", "/", all)(server, how)
  return { cost: (cpu / handshakes) * 1e3, rate: handshakes / seconds, loadShare: loadCpu / seconds }
}

/** What a stalled client does to the others: the same load with and without two in a hundred that never read. */
const stalledPair = async (server, how) => {
  const options = { conns: 100, publishers: 1, window: 64, size: 128 }
  const measure = (stalled) => run("fanout", "/", { ...options, stalled })(server, how)
  const order = how.round % 2 ? [0, 2] : [2, 0]
  const pair = {}
  for (const stalled of order) pair[stalled] = await measure(stalled)
  const rate = ({ deliveries, frozen, seconds }) => (frozen ? 0 : deliveries / seconds)
  const perCpu = ({ cpu, deliveries, frozen }) => (frozen ? 0 : deliveries / cpu)
  return {
    cost: rate(pair[2]) / rate(pair[0]),
    perCpu: perCpu(pair[2]) / perCpu(pair[0]),
    rate: rate(pair[2]),
    closed: pair[2].stalledClosed,
    extraPeakMegabytes: (pair[2].peak - pair[0].peak) / 1024
  }
}

const memoryOf = (conns, channel) => (server, how) =>
  withServer(server, { pin: how.serverPin, hook: true }, async (process) => {
    const hold = async (count, use) => {
      const inChannel = channel === undefined ? {} : channelOptions(server, channel)
      const options = { ...clientOptions(server, "/"), ...inChannel, port: process.port, conns: count }
      const client = launch("idle", options, { pin: how.loadPin })
      await client.event
      try {
        return await use()
      } finally {
        client.release()
        const { lost } = await client.result
        if (lost) throw new Error(`${lost} idle connections were lost`)
      }
    }
    const settle = () => new Promise((resolve) => setTimeout(resolve, 500))
    await hold(100, settle)
    await settle()
    await process.collect()
    const before = process.resident()
    return hold(conns, async () => {
      await settle()
      await process.collect()
      return { cost: (process.resident() - before) / conns }
    })
  })

export const scenarios = new Map(
  Object.entries({
    "fan-out": { ...fanOut(1000), must: 40, goal: 70, aboveBun: true, chart: true },
    "fan-out-32": { ...fanOut(1000, { publishers: 32 }), must: 25, goal: 45, aboveBun: true, chart: true },
    "window-1": { ...fanOut(1000, { window: 1 }), must: 1.25, goal: 1.45, chart: true },
    "fan-out-5000": { ...fanOut(5000), must: 30, goal: 60, chart: true },
    "fan-out-100": fanOut(100),
    "fan-out-10000": fanOut(10000),
    echo: {
      title: "echo, 200 connections",
      unit: "CPU-s per million echoes",
      measure: async (server, how) => perDelivery(await run("echo", "/echo", { conns: 200, size: 128 })(server, how)),
      must: 0.8,
      goal: 1,
      chart: true
    },
    handshake: {
      title: "handshakes, 50 at a time",
      unit: "CPU-s per 1,000 handshakes",
      measure: handshakes({}),
      must: 0.5,
      goal: 0.75,
      chart: true
    },
    memory: {
      title: "memory per idle connection, 5,000 connections, after GC",
      unit: "KB per connection",
      kind: "absolute",
      rounds: 3,
      measure: memoryOf(5000),
      must: 18,
      goal: 14
    },
    stalled: {
      title: "2 of 100 clients never read: throughput of the others against none stalled",
      unit: "of unstalled",
      kind: "share",
      measure: stalledPair,
      must: 0.9,
      goal: 0.98 // 100 % within the noise of a rate
    },
    channel: channelFanOut("window 64", { must: 30, goal: 50, chart: true }),
    "channel-32": channelFanOut("window 64, 32 publishers", { publishers: 32, must: 18, goal: 30, chart: true }),
    "channel-window-1": channelFanOut("window 1", { window: 1, must: 1.1, goal: 1.3, chart: true }),
    "channel-history": channelFanOut("window 64, history", { channel: "kept:bench" }),
    "channel-presence": channelFanOut("window 64, history and presence", { channel: "seen:bench" }),
    "channel-publish": roundTrip(
      "publish and its reply, 200 connections, nobody subscribed",
      { unsubscribed: true },
      { must: 0.6, goal: 0.8, chart: true }
    ),
    "channel-echo": roundTrip("publish to a channel of its own, publication and reply, 200 connections", {}, {}),
    "channel-connect": {
      title: "handshake, connect and subscribe, 50 at a time",
      unit: "CPU-s per 1,000 connections",
      servers: withChannels,
      measure: handshakes({ channel: "bench" })
    },
    "channel-memory": {
      title: "memory per connection with one subscription, 5,000 connections, after GC",
      unit: "KB per connection",
      kind: "absolute",
      rounds: 3,
      servers: withChannels,
      measure: memoryOf(5000, "bench"),
      must: 26,
      goal: 20
    },
    "redis-fan-out": overRedis("1,000 subscribers, window 64, 1 publisher", {
      channel: "bench",
      conns: 1000,
      publishers: 1,
      window: 64,
      count: 1,
      per: "deliveries",
      must: 3
    }),
    "redis-publish": overRedis("publications, one subscriber on each", {
      channel: "bench",
      conns: 2,
      publishers: 2,
      window: 256,
      count: 2,
      per: "publications",
      must: 3
    }),
    "redis-publish-history": overRedis("publications with history, one subscriber on each", {
      channel: "kept:bench",
      conns: 2,
      publishers: 2,
      window: 256,
      count: 2,
      per: "publications",
      must: 3
    })
  })
)

/** Cost of a delivery at the larger sizes over the cost at 100 subscribers: computed, not measured. */
export const flatness = {
  title: "cost per delivery as subscribers grow 100 to 10,000",
  from: "fan-out-100",
  to: ["fan-out", "fan-out-5000", "fan-out-10000"],
  must: 1.5,
  goal: 1.1
}
