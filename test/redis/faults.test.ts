import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Metric, Queue } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { StreamOptions } from "../../src/channels/Broker.js"
import * as RedisMetrics from "../../src/redis/RedisMetrics.js"
import { makeNode, persist, until } from "./support/Nodes.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const stream: StreamOptions = { size: 10, ttl: 60_000, metaTtl: 600_000 }

const fast = { retryInterval: 50, commandTimeout: 1000, pingInterval: 1000 }

const count = (metric: Metric.Metric.Counter<number>) => Effect.map(Metric.value(metric), ({ count }) => count)

describe.skipIf(!isRedisInstalled)("faults of Redis", () => {
  it.scopedLive("cannot write to its disk: what changes nothing there goes on, and the rest says why it does not", () =>
    Effect.gen(function*() {
      const folder = mkdtempSync(join(tmpdir(), "redis-test-"))
      const server = yield* makeRedisServer({ args: ["--dir", folder, "--save", "3600 1"] })
      const options = { url: server.url, ...fast, pingInterval: 20 }
      const { broker, events, redis } = yield* makeNode(options)
      yield* redis.connected
      yield* broker.subscribe("a")
      yield* broker.publish("a", { data: "1", stream })
      yield* Queue.take(events)

      rmSync(folder, { recursive: true })
      yield* server.cli("BGSAVE")
      yield* until(Effect.map(server.cli("INFO", "persistence"), (info) => info.includes("bgsave_status:err")))
      assert.match((yield* Effect.flip(broker.publish("a", { data: "2", stream }))).message, /MISCONF/)
      const signs = Effect.map(
        server.cli("INFO", "commandstats"),
        (info) => Number(/cmdstat_ping:.*rejected_calls=(\d+)/.exec(info)?.[1] ?? 0)
      )
      const before = yield* signs
      yield* until(Effect.map(signs, (now) => now > before + 4))
      assert.isTrue(yield* redis.isConnected)
      // Wanted again: it asks whether all has come that was published meanwhile.
      yield* broker.unsubscribe("a")
      yield* broker.subscribe("a")
      const another = yield* makeNode(options)
      yield* another.redis.connected
      yield* another.broker.publish("a", { data: "3" })
      const heard = yield* Queue.take(events)
      assert.strictEqual(heard._tag === "Published" && heard.publication.data, "3")
    }))

  it.scopedLive("unreachable at first: nothing waits for it, and all goes on when it is there", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer({ stopped: true })
      const { broker, redis } = yield* makeNode({ url: server.url, ...fast })
      assert.isFalse(yield* redis.isConnected)
      for (
        const attempt of [
          broker.publish("a", { data: "1", stream }),
          broker.publish("a", { data: "1" }),
          broker.publish("a", { data: "1", idempotencyKey: "k" }),
          broker.publishJoin("a", { user: "u", client: "c" }),
          broker.history("a", { stream }),
          broker.removeHistory("a"),
          broker.subscribe("a")
        ]
      ) {
        const error = yield* Effect.flip(attempt)
        assert.strictEqual(error._tag, "BrokerError")
        assert.match(error.message, /not connected/)
      }
      yield* server.start
      yield* redis.connected
      assert.isTrue(yield* redis.isConnected)
      yield* broker.subscribe("a")
      assert.strictEqual((yield* broker.publish("a", { data: "1", stream }))?.offset, 1)
    }))

  it.scopedLive("restarted empty: a gap, another epoch, and all goes on", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const [one, two] = [yield* makeNode({ url: server.url, ...fast }), yield* makeNode({ url: server.url, ...fast })]
      yield* one.redis.connected
      yield* two.redis.connected
      yield* one.broker.subscribe("a")
      const before = yield* two.broker.publish("a", { data: "1", stream })
      assert.strictEqual((yield* Queue.take(one.events))._tag, "Published")

      yield* server.kill
      const error = yield* Effect.flip(two.broker.publish("a", { data: "2", stream }))
      assert.strictEqual(error._tag, "BrokerError")
      yield* until(Effect.map(one.redis.isConnected, (is) => !is))
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(one.broker.subscribe("a"))), "it is subscribed already")
      assert.isTrue(Exit.isFailure(yield* Effect.exit(one.broker.subscribe("b"))), "another is not")

      yield* server.start
      assert.deepStrictEqual(yield* Queue.take(one.events), { _tag: "Gap", channel: "a" })
      const after = yield* persist(two.broker.publish("a", { data: "3", stream }))
      assert.strictEqual(after?.offset, 1)
      assert.notStrictEqual(after?.epoch, before?.epoch)
      const event = yield* Queue.take(one.events)
      assert.strictEqual(event._tag === "Published" ? event.publication.data : event._tag, "3")
    }))

  it.scopedLive("restarted with what it had saved: another epoch, since offsets may have been given after that", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, redis } = yield* makeNode({ url: server.url, ...fast })
      yield* redis.connected
      const saved = yield* broker.publish("a", { data: "1", stream })
      assert.strictEqual(yield* server.cli("SAVE"), "OK")
      yield* broker.publish("a", { data: "2", stream })
      yield* server.kill
      yield* server.start
      const { position, publications } = yield* persist(broker.history("a", { stream }))
      assert.strictEqual(yield* server.cli("EXISTS", redis.key("a", "m")), "1")
      assert.deepStrictEqual(publications, [])
      assert.strictEqual(position.offset, 0)
      assert.notStrictEqual(position.epoch, saved?.epoch)
      assert.deepStrictEqual(yield* broker.publish("a", { data: "3", stream }), { ...position, offset: 1 })
    }))

  it.scopedLive("stopped: commands end in time, and what waits for an answer is bounded", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, redis } = yield* makeNode({
        url: server.url,
        commandTimeout: 200,
        maxPending: 5,
        pingInterval: 60_000
      })
      yield* redis.connected
      yield* broker.publish("0", { data: "0", stream })
      yield* server.signal("SIGSTOP")
      const publish = (channel: string) => Effect.flip(broker.publish(channel, { data: "1", stream }))
      const errors = yield* Effect.forEach(["1", "2", "3", "4", "5", "6"], publish, { concurrency: "unbounded" })
      assert.deepStrictEqual(
        errors.map(({ message }) => message),
        [
          ...Array.from(
            { length: 5 },
            () => "The broker failed to publish: Redis did not answer within 200 ms"
          ),
          "The broker failed to publish: Redis is too slow: it has not answered 5 commands"
        ]
      )
      assert.match((yield* publish("7")).message, /too slow/, "nobody waits any more, but Redis still has them")
      yield* server.signal("SIGCONT")
      const { offset } = (yield* persist(broker.publish("1", { data: "2", stream }))) ?? { offset: 0 }
      assert.strictEqual(offset, 2, "what timed out was made after all")
    }))

  it.scopedLive("stopped: subscribing ends in time, and leaves nothing behind; who waits longer is told of it", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, events, redis } = yield* makeNode({
        url: server.url,
        commandTimeout: 300,
        pingInterval: 60_000,
        linger: 0
      })
      yield* redis.connected
      yield* server.signal("SIGSTOP")
      const subscribe = (channel: string) => Effect.flip(broker.subscribe(channel))
      const errors = yield* Effect.forEach(["a", "b", "b"], subscribe, { concurrency: "unbounded" })
      assert.deepStrictEqual(
        errors.map(({ message }) => message),
        errors.map(() => "The broker failed to subscribe: Redis did not answer within 300 ms")
      )
      // Redis still has the command of the first attempt, and answers both with it.
      const again = yield* Effect.fork(broker.subscribe("a"))
      yield* server.signal("SIGCONT")
      yield* Fiber.join(again)
      yield* broker.publish("a", { data: "1" })
      assert.strictEqual((yield* Queue.take(events))._tag, "Published")
      const names = [redis.key("a"), redis.key("b")]
      yield* until(
        Effect.map(
          server.cli("PUBSUB", "NUMSUB", ...names),
          (text) => text === [redis.key("a"), "1", redis.key("b"), "0"].join("\n")
        )
      )
      yield* broker.subscribe("b")
      yield* broker.publish("b", { data: "2" })
      const event = yield* Queue.take(events)
      assert.strictEqual(event._tag === "Published" && event.channel, "b")
    }))

  it.scopedLive("stopped: who gives up does not take the name from another who waits for it", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, events, redis } = yield* makeNode({
        url: server.url,
        commandTimeout: 1000,
        pingInterval: 60_000,
        linger: 0
      })
      yield* redis.connected
      yield* server.signal("SIGSTOP")
      const first = yield* Effect.fork(Effect.flip(broker.subscribe("a")))
      yield* Effect.sleep(500)
      const second = yield* Effect.fork(broker.subscribe("a"))
      yield* Fiber.join(first)
      yield* server.signal("SIGCONT")
      yield* Fiber.join(second)
      yield* broker.publish("a", { data: "1" })
      assert.strictEqual((yield* Queue.take(events))._tag, "Published")
    }))

  it.scopedLive("the bound is also one of size", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, redis } = yield* makeNode({
        url: server.url,
        commandTimeout: 200,
        maxPendingUnits: 1000,
        pingInterval: 60_000
      })
      yield* redis.connected
      yield* server.signal("SIGSTOP")
      const big = JSON.stringify("x".repeat(1000))
      assert.match((yield* Effect.flip(broker.publish("a", { data: big }))).message, /did not answer/)
      assert.match((yield* Effect.flip(broker.publish("b", { data: "1" }))).message, /too slow/)
      yield* server.signal("SIGCONT")
    }))

  it.scopedLive("takes no writes for a while, as at a planned failover: they end in time, and no offset is given twice", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, events, redis } = yield* makeNode({
        url: server.url,
        commandTimeout: 200,
        pingInterval: 60_000
      })
      yield* redis.connected
      yield* broker.subscribe("a")
      yield* broker.publish("a", { data: "1", stream, idempotencyKey: "1" })
      yield* server.cli("CLIENT", "PAUSE", "600000", "WRITE")
      const late = broker.publish("a", { data: "2", stream, idempotencyKey: "2" })
      assert.match((yield* Effect.flip(late)).message, /did not answer within 200 ms/)
      yield* server.cli("CLIENT", "UNPAUSE")
      assert.strictEqual((yield* persist(late))?.offset, 2, "what timed out was made after all, once")
      assert.strictEqual((yield* broker.publish("a", { data: "3", stream }))?.offset, 3)
      const heard = yield* Queue.takeN(events, 3)
      assert.deepStrictEqual(
        Array.from(heard, (event) => event._tag === "Published" && event.publication.data),
        ["1", "2", "3"]
      )
    }))

  it.scopedLive("somebody else has taken a stream's name: that channel says so, and others go on", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, redis } = yield* makeNode({ url: server.url, ...fast })
      yield* redis.connected
      const before = yield* broker.publish("a", { data: "1", stream })
      for (const part of ["s", "m"]) {
        const name = redis.key("a", part)
        yield* server.cli("DEL", name)
        yield* part === "s" ? server.cli("SET", name, "not ours") : server.cli("RPUSH", name, "not ours")
        assert.match((yield* Effect.flip(broker.publish("a", { data: "2", stream }))).message, /WRONGTYPE/, part)
        assert.match((yield* Effect.flip(broker.history("a", { stream }))).message, /WRONGTYPE/, part)
        assert.strictEqual((yield* broker.publish(part, { data: "1", stream }))?.offset, 1)
        yield* server.cli("DEL", name)
      }
      const after = yield* broker.publish("a", { data: "2", stream })
      assert.deepStrictEqual([after?.offset, after?.epoch === before?.epoch], [1, false])
    }))

  it.scopedLive("mute: the connections are given up, and made again", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, events, redis } = yield* makeNode({
        url: server.url,
        commandTimeout: 100,
        pingInterval: 20,
        connectTimeout: 200,
        retryInterval: 50
      })
      yield* redis.connected
      yield* broker.subscribe("a")
      yield* server.signal("SIGSTOP")
      // Each notices by itself: one that has not would be there still when the server goes on.
      yield* until(Effect.map(Metric.value(RedisMetrics.connections), ({ value }) => value === 0))
      assert.isFalse(yield* redis.isConnected)
      yield* server.signal("SIGCONT")
      assert.deepStrictEqual(yield* Queue.take(events), { _tag: "Gap", channel: "a" })
      yield* persist(broker.publish("a", { data: "1" }))
      assert.strictEqual((yield* Queue.take(events))._tag, "Published")
    }))

  it.scopedLive("the connection that hears is cut: everything is subscribed again, and then a gap is told", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, events, redis } = yield* makeNode({ url: server.url, retryInterval: 50, commandTimeout: 30_000 })
      yield* redis.connected
      const channels = Array.from({ length: 12_000 }, (_, index) => `${index}`)
      yield* Effect.forEach(channels, (channel) => broker.subscribe(channel), { concurrency: "unbounded" })
      const [reconnects, resubscribes] = [
        yield* count(RedisMetrics.reconnects),
        yield* count(RedisMetrics.resubscribes)
      ]
      yield* broker.unsubscribe("7")
      assert.strictEqual(yield* server.cli("CLIENT", "KILL", "TYPE", "pubsub"), "1")
      const gaps = yield* Queue.takeN(events, channels.length - 1)
      assert.deepStrictEqual(
        Array.from(gaps, ({ _tag, channel }) => `${_tag} ${channel}`).sort(),
        channels.filter((channel) => channel !== "7").map((channel) => `Gap ${channel}`).sort()
      )
      const subscribed = (yield* server.cli("PUBSUB", "NUMSUB", redis.key("7"), redis.key("8"))).split("\n")
      assert.deepStrictEqual(subscribed, [redis.key("7"), "0", redis.key("8"), "1"])
      yield* broker.publish("7", { data: "1" })
      yield* broker.publish("8", { data: "2" })
      const event = yield* Queue.take(events)
      assert.strictEqual(event._tag === "Published" && event.channel, "8")
      assert.strictEqual((yield* count(RedisMetrics.reconnects)) - reconnects, 1)
      assert.strictEqual((yield* count(RedisMetrics.resubscribes)) - resubscribes, channels.length - 1)
    }))

  it.scopedLive("it has forgotten the scripts: they are sent again", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const { broker, redis } = yield* makeNode({ url: server.url, ...fast })
      yield* redis.connected
      for (const offset of [1, 2]) {
        yield* server.cli("SCRIPT", "FLUSH")
        assert.strictEqual((yield* broker.publish("a", { data: "1", stream }))?.offset, offset)
      }
    }))
})
