import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Metric, Queue } from "effect"
import { vi } from "vitest"
import type { BrokerEvent, StreamOptions } from "../../src/channels/Broker.js"
import { Cluster } from "../../src/channels/Cluster.js"
import { Presence } from "../../src/channels/Presence.js"
import * as BrokerWire from "../../src/redis/BrokerWire.js"
import * as Redis from "../../src/redis/Redis.js"
import { RedisConnection } from "../../src/redis/RedisConnection.js"
import * as RedisMetrics from "../../src/redis/RedisMetrics.js"
import { sdk, serve } from "../channels/support.js"
import { makeNode, persist, until } from "./support/Nodes.js"
import { isRedisInstalled, makeRedisServer, type RedisServer } from "./support/RedisServer.js"

vi.mock("../../src/redis/BrokerWire.js", async (original) => {
  const real = await original<typeof BrokerWire>()
  return { ...real, decodeMessage: vi.fn(real.decodeMessage) }
})

const stream: StreamOptions = { size: 10_000, ttl: 60_000, metaTtl: 600_000 }

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

/** How often the server has done a command. */
const calls = (server: RedisServer, command: string) =>
  Effect.map(
    server.cli("INFO", "commandstats"),
    (text) => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(text)?.[1] ?? 0)
  )

const together = { concurrency: "unbounded", discard: true } as const

describe.skipIf(!isRedisInstalled)("what it costs", () => {
  it.scopedLive("publications of one turn for one channel go in one command, in their order", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, events, redis } = yield* makeNode({ url: server.url })
      yield* redis.connected
      yield* broker.subscribe("a")
      yield* broker.publish("a", { data: "0", stream })
      const info = { user: "u", client: "\u{1F600}" }
      const before = yield* calls(server, "evalsha")
      const positions = yield* Effect.forEach(
        upTo(200),
        (n) => broker.publish("a", { data: JSON.stringify(`\u{1F600}${n}\ud800`), info, tags: { n: `${n}` }, stream }),
        { concurrency: "unbounded" }
      )
      assert.strictEqual((yield* calls(server, "evalsha")) - before, 1)
      assert.deepStrictEqual(positions.map((at) => at?.offset), upTo(200).map((n) => n + 1))
      const heard = yield* Queue.takeN(events, 201)
      const { publications } = yield* broker.history("a", { stream })
      assert.deepStrictEqual(
        Array.from(heard).flatMap((event) => event._tag === "Published" ? [event.publication] : []),
        Array.from(publications)
      )
      assert.deepStrictEqual(publications.map(({ tags }) => tags?.["n"]), [undefined, ...upTo(200).map(String)])

      const published = yield* calls(server, "publish")
      yield* Effect.forEach(upTo(200), (n) => broker.publish("a", { data: `${n}` }), together)
      assert.strictEqual((yield* calls(server, "publish")) - published, 1)
      const passed = yield* Queue.takeN(events, 200)
      assert.deepStrictEqual(
        Array.from(passed, (event) => event._tag === "Published" && [event.publication.data, event.publication.offset]),
        upTo(200).map((n) => [`${n}`, 0])
      )
    }))

  it.scopedLive("publications of one turn for many channels go out in one write", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, redis } = yield* makeNode({ url: server.url, pingInterval: 60_000 })
      yield* redis.connected
      const reads = Effect.map(
        server.cli("INFO", "stats"),
        (text) => Number(/total_reads_processed:(\d+)/.exec(text)?.[1])
      )
      const first = yield* reads
      const second = yield* reads
      // What the question costs is not counted.
      const own = second - first
      for (const given of [{}, { stream }]) {
        const before = yield* reads
        yield* Effect.forEach(upTo(50), (n) => broker.publish(`${n}`, { data: `${n}`, ...given }), together)
        assert.strictEqual((yield* reads) - before - own, 1)
      }
    }))

  it.scopedLive("what one node does in a channel at once is heard in that order", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, events, redis } = yield* makeNode({ url: server.url })
      yield* redis.connected
      yield* broker.subscribe("a")
      yield* Effect.all([
        broker.publish("a", { data: "1", stream }),
        broker.publish("a", { data: "2" }),
        broker.publishJoin("a", { user: "", client: "3" }),
        broker.publish("a", { data: "4", stream }),
        broker.publish("a", { data: "5", stream: { ...stream, size: 5 } }),
        broker.publish("a", { data: "6", stream, idempotencyKey: "k" }),
        broker.publish("a", { data: "7", stream: { ...stream, size: 5 } })
      ], together)
      const heard = yield* Queue.takeN(events, 7)
      assert.deepStrictEqual(
        Array.from(heard, (event) => event._tag === "Published" ? event.publication.data : event._tag),
        ["1", "2", "Joined", "4", "5", "6", "7"]
      )
      const short = { ...stream, size: 2 }
      yield* Effect.all([
        broker.publish("a", { data: "8", stream }),
        broker.publish("a", { data: "9", stream: short })
      ], together)
      const { publications } = yield* broker.history("a", { stream })
      assert.deepStrictEqual(publications.map(({ data }) => data), ["8", "9"], "each with its own options")
    }))

  it.scopedLive("channels of one turn are subscribed with one command, and one that is left for a moment with none", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, events, redis } = yield* makeNode({ url: server.url, linger: 5000 })
      yield* redis.connected
      const channels = upTo(1000).map(String)
      const subscribed = Effect.map(Metric.value(RedisMetrics.commands("subscribe")), ({ count }) => count)
      const before = yield* subscribed
      yield* Effect.forEach(channels, broker.subscribe, together)
      assert.strictEqual(yield* calls(server, "subscribe"), 1)
      assert.strictEqual((yield* subscribed) - before, 1000)
      for (let round = 0; round < 20; round++) {
        yield* Effect.forEach(channels, broker.unsubscribe, together)
        yield* broker.publish("7", { data: "nobody hears it" })
        yield* Effect.forEach(channels, broker.subscribe, together)
      }
      assert.strictEqual(yield* calls(server, "subscribe"), 1)
      yield* broker.publish("7", { data: "1" })
      const event = yield* Queue.take(events)
      assert.strictEqual(event._tag === "Published" && event.publication.data, "1")
      yield* Effect.forEach(channels.slice(1), broker.unsubscribe, together)
      yield* until(Effect.map(server.cli("PUBSUB", "CHANNELS"), (names) => names === redis.key("1")))
      assert.strictEqual(yield* calls(server, "unsubscribe"), 1)
    }))

  it.scopedLive("what is cut at any time: everything is heard once and in order, or a gap is told", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const fast = { url: server.url, retryInterval: 50, pingInterval: 20 }
      const [one, two] = [yield* makeNode(fast), yield* makeNode(fast)]
      yield* one.redis.connected
      yield* two.redis.connected
      const counted = Effect.all({
        lag: Metric.value(RedisMetrics.lag),
        published: Metric.value(RedisMetrics.published),
        answered: Metric.value(RedisMetrics.commands("publish")),
        failed: Metric.value(RedisMetrics.errors("publish"))
      })
      const before = yield* counted
      yield* one.broker.subscribe("a")
      let made = 0
      const publishing = yield* Effect.forkScoped(Effect.forever(
        Effect.forEach(upTo(5), () =>
          Effect.match(two.broker.publish("a", { data: "1", stream }), {
            onFailure: () => {},
            onSuccess: () => void made++
          }), together)
      ))
      for (let round = 1; round <= 10; round++) {
        yield* server.cli("CLIENT", "KILL", "TYPE", round % 3 === 0 ? "normal" : "pubsub")
        const goal = made + 200
        yield* until(Effect.sync(() => made >= goal))
      }
      yield* Fiber.interrupt(publishing)
      yield* until(one.redis.isConnected)
      const last = yield* persist(two.broker.publish("a", { data: "\"last\"", stream }))
      const heard: Array<BrokerEvent> = []
      yield* Effect.repeat(
        Effect.tap(Queue.take(one.events), (event) => Effect.sync(() => void heard.push(event))),
        { until: (event) => event._tag === "Published" && event.publication.data === "\"last\"" }
      )
      let at = 0
      let gaps = 0
      let isGap = false
      for (const event of heard) {
        if (event._tag === "Gap") gaps++
        if (event._tag === "Published") {
          const { offset } = event.publication
          if (isGap) assert.isAbove(offset, at)
          else assert.strictEqual(offset, at + 1)
          at = offset
        }
        isGap = event._tag === "Gap"
      }
      assert.strictEqual(at, last?.offset)
      assert.isAtLeast(gaps, 1)
      yield* until(Effect.map(Metric.value(RedisMetrics.lag), ({ count }) => count > before.lag.count))
      const now = yield* counted
      assert.isAtLeast(now.published.count - before.published.count, made + 1)
      // Five that are published together are one command.
      assert.isAtLeast(now.answered.count - before.answered.count, made / 5)
      assert.isAtMost(now.answered.count - before.answered.count, made)
      assert.isAbove(now.failed.count, before.failed.count)
    }))

  it.scopedLive("a message is decoded once on a node, however many hear it there", () =>
    Effect.gen(function*() {
      const { cli, url } = yield* makeRedisServer()
      const { broker, redis } = yield* makeNode({ url })
      const node = yield* serve({ shared: Redis.layer({ url }) })
      yield* persist(node.channels.publish("before", 0))
      const subs = yield* Effect.forEach(upTo(20), () =>
        Effect.gen(function*() {
          const client = yield* sdk(node)
          yield* client.connect
          return yield* client.subscribe("a")
        }), { concurrency: "unbounded" })
      assert.strictEqual(yield* cli("PUBSUB", "NUMSUB", redis.key("a")), `${redis.key("a")}\n1`)
      yield* broker.subscribe("a")
      const heard = yield* Queue.unbounded<BrokerEvent>()
      for (const listener of [heard, heard, heard]) yield* broker.listen((event) => listener.unsafeOffer(event))
      vi.mocked(BrokerWire.decodeMessage).mockClear()
      yield* broker.publish("a", { data: "{\"n\":1}", tags: { a: "b" } })
      for (const sub of subs) assert.deepStrictEqual((yield* sub.next("publication")).data, { n: 1 })
      yield* Queue.takeN(heard, 3)
      assert.strictEqual(vi.mocked(BrokerWire.decodeMessage).mock.calls.length, 2, "once on each of the two nodes")
    }))

  it.scopedLive("no server is asked for a script that it does not know, so that nothing overtakes what is asked first", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const context = yield* Layer.build(Redis.layer({ url: server.url }))
      const presence = Context.get(context, Presence)
      yield* Context.get(context, RedisConnection).connected
      const ada = { client: "1", user: "ada" }
      yield* Effect.all([presence.add("a", ada, 60_000), presence.remove("a", ada)], together)
      assert.deepStrictEqual(yield* presence.stats("a"), { clients: 0, users: 0 })
      yield* presence.get("a")
      yield* Effect.scoped(Effect.gen(function*() {
        const ask = yield* Context.get(context, Cluster).join({ uid: "1", answer: Effect.succeed })
        yield* persist(ask("?"))
      }))
      assert.notMatch(yield* server.cli("INFO", "errorstats"), /NOSCRIPT/)
    }))
})
