/** What is counted of Redis. The metrics are those of the process: each test looks at what it adds. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Either, Fiber, Metric, Queue } from "effect"
import type { StreamOptions } from "../../src/channels/Broker.js"
import { Echo } from "../../src/redis/BrokerEcho.js"
import * as RedisMetrics from "../../src/redis/RedisMetrics.js"
import * as RedisOptions from "../../src/redis/RedisOptions.js"
import { makeNode, until } from "./support/Nodes.js"
import { isRedisInstalled, makeRedisServer } from "./support/RedisServer.js"

const stream: StreamOptions = { size: 10, ttl: 60_000, metaTtl: 600_000 }

const counts = Effect.all({
  published: Metric.value(RedisMetrics.published),
  answered: Metric.value(RedisMetrics.commands("publish")),
  failed: Metric.value(RedisMetrics.errors("publish")),
  messages: Metric.value(RedisMetrics.messages),
  unreadable: Metric.value(RedisMetrics.unreadable)
})

/** What an effect adds to the metrics. */
const added = <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.gen(function*() {
    const before = yield* counts
    yield* effect
    const now = yield* counts
    return {
      published: now.published.count - before.published.count,
      answered: now.answered.count - before.answered.count,
      failed: now.failed.count - before.failed.count,
      messages: now.messages.count - before.messages.count,
      unreadable: now.unreadable.count - before.unreadable.count
    }
  })

const nothing = { published: 0, answered: 0, failed: 0, messages: 0, unreadable: 0 }

const received = Metric.value(RedisMetrics.receive)

/** Longer than from one measurement of what is received to the next. */
const pause = Effect.sleep(150)

/** A node that listens to `a`, and another. */
const nodes = Effect.gen(function*() {
  const server = yield* makeRedisServer()
  const [one, two] = [yield* makeNode({ url: server.url }), yield* makeNode({ url: server.url })]
  yield* one.redis.connected
  yield* two.redis.connected
  yield* one.broker.subscribe("a")
  return { server, one, two }
})

/** What waits for the end of this turn is done after it. */
const turn = Effect.async<void>((resume) => void setImmediate(() => setImmediate(() => resume(Effect.void))))

const together = { concurrency: "unbounded", discard: true } as const

describe.skipIf(!isRedisInstalled)("the metrics of Redis", () => {
  it.scopedLive("count publications, commands, failures, messages, and those that are none of ours", () =>
    Effect.gen(function*() {
      const { one, server, two } = yield* nodes
      const kept = Effect.forEach([1, 2, 3], (n) => one.broker.publish("a", { data: `${n}`, stream }), together)
      assert.deepStrictEqual(
        yield* added(Effect.zipRight(kept, Queue.takeN(one.events, 3))),
        { ...nothing, published: 3, answered: 1, messages: 1 }
      )
      const passing = Effect.forEach([4, 5], (n) => two.broker.publish("a", { data: `${n}` }), together)
      assert.deepStrictEqual(
        yield* added(Effect.zipRight(passing, Queue.takeN(one.events, 2))),
        { ...nothing, published: 2, answered: 1, messages: 1 }
      )
      assert.deepStrictEqual(
        yield* added(
          two.broker.publish("a", { data: "6", idempotencyKey: "k" }).pipe(
            Effect.zipRight(two.broker.publish("a", { data: "6", idempotencyKey: "k" })),
            Effect.zipRight(Queue.take(one.events))
          )
        ),
        { ...nothing, published: 2, answered: 2, messages: 1 }
      )
      assert.deepStrictEqual(
        yield* added(two.broker.publish("b", { data: "nobody hears it" })),
        { ...nothing, published: 1, answered: 1 }
      )
      const foreign = ["", "what is this?", "p1:no epoch", "p0::no header", "jno JSON"]
      assert.deepStrictEqual(
        yield* added(Effect.gen(function*() {
          for (const text of foreign) yield* server.cli("PUBLISH", one.redis.key("a"), text)
          yield* two.broker.publish("a", { data: "7" })
          yield* Queue.take(one.events)
        })),
        { published: 1, answered: 1, failed: 0, messages: foreign.length + 1, unreadable: foreign.length }
      )
      yield* one.broker.publish("c", { data: "8", stream })
      yield* server.cli("SET", one.redis.key("c", "s"), "no list")
      assert.deepStrictEqual(
        yield* added(Effect.flip(one.broker.publish("c", { data: "8", stream }))),
        { ...nothing, failed: 1 }
      )
      const refused = ["4", "5", "6"].map((data) => ({ data, stream, idempotencyKey: data }))
      assert.deepStrictEqual(
        yield* added(Effect.forEach(refused, (publication) => Effect.flip(one.broker.publish("c", publication)))),
        { ...nothing, failed: 3 }
      )
      yield* server.kill
      assert.deepStrictEqual(yield* added(Effect.flip(one.broker.publish("a", { data: "9" }))), {
        ...nothing,
        failed: 1
      })
    }))

  it.scopedLive("tell how long it takes until what a node publishes is heard by it", () =>
    Effect.gen(function*() {
      const { one, server } = yield* nodes
      for (const publication of [{ data: "1", stream }, { data: "2" }]) {
        const before = yield* received
        yield* server.signal("SIGSTOP")
        const publishing = yield* Effect.fork(one.broker.publish("a", publication))
        yield* Effect.sleep(200)
        yield* server.signal("SIGCONT")
        yield* Fiber.join(publishing)
        yield* Queue.take(one.events)
        const { count, sum } = yield* received
        assert.strictEqual(count, before.count + 1)
        // Node's timers may fire a millisecond early.
        assert.isAtLeast(sum - before.sum, 0.198)
        yield* pause
      }
    }))

  it.scopedLive("tell it of one command at a time, and not too often", () =>
    Effect.gen(function*() {
      const { one } = yield* nodes
      const before = (yield* received).count
      const some = Effect.zipRight(
        Effect.forEach(["1", "2", "3"], (data) => one.broker.publish("a", { data, stream }), together),
        Queue.takeN(one.events, 3)
      )
      const started = performance.now()
      yield* Effect.repeatN(some, 9)
      const atMost = 1 + Math.floor((performance.now() - started) / 100)
      assert.isAtLeast((yield* received).count - before, 1)
      assert.isAtMost((yield* received).count - before, atMost)
      yield* pause
      const next = (yield* received).count
      yield* some
      assert.strictEqual((yield* received).count, next + 1)
    }))

  it.effect("know again what was sent by what it says", () =>
    Effect.gen(function*() {
      const echo = new Echo(Either.getOrThrow(RedisOptions.make()))
      const before = (yield* received).count
      echo.sent("a", "\n1")
      echo.heard("a", "p0::\n2")
      echo.heard("b", "p0::\n1")
      assert.strictEqual((yield* received).count, before)
      echo.heard("a", "p0::\n1")
      echo.heard("a", "p0::\n1")
      assert.strictEqual((yield* received).count, before + 1)
    }))

  it.scopedLive("do not tell it of what others publish, of what failed, and of what was left or may be lost meanwhile", () =>
    Effect.gen(function*() {
      const { one, server, two } = yield* nodes
      yield* two.broker.subscribe("b")
      const start = (yield* received).count
      yield* two.broker.publish("a", { data: "1" })
      yield* one.broker.publish("b", { data: "1" })
      yield* Queue.take(one.events)
      yield* Queue.take(two.events)
      assert.strictEqual((yield* received).count, start, "published by one, heard by the other")
      yield* one.broker.publish("a", { data: "1" })
      yield* Queue.take(one.events)
      const before = (yield* received).count
      assert.strictEqual(before, start + 1, "the next is published and heard by one")
      yield* pause

      const again = (data: string) => Effect.zipRight(two.broker.publish("a", { data, stream }), Queue.take(one.events))
      yield* again("1")
      yield* server.cli("SET", one.redis.key("a", "s"), "no list")
      yield* Effect.flip(one.broker.publish("a", { data: "2", stream }))
      yield* server.cli("DEL", one.redis.key("a", "s"))
      yield* again("2")
      assert.strictEqual((yield* received).count, before, "it failed, and the other published the same")

      yield* server.signal("SIGSTOP")
      const publishing = yield* Effect.fork(one.broker.publish("a", { data: "3", stream }))
      yield* turn
      yield* one.broker.unsubscribe("a")
      yield* server.signal("SIGCONT")
      yield* Fiber.join(publishing)
      yield* one.broker.subscribe("a")
      yield* again("3")
      assert.strictEqual((yield* received).count, before, "it was left")

      yield* server.cli("CLIENT", "KILL", "TYPE", "pubsub")
      yield* one.broker.publish("a", { data: "4", stream })
      assert.strictEqual((yield* Queue.take(one.events))._tag, "Gap")
      yield* again("4")
      assert.strictEqual((yield* received).count, before, "there was a gap")
    }))

  it.scopedLive("tell how far behind what is heard is, from signs of life", () =>
    Effect.gen(function*() {
      const server = yield* makeRedisServer()
      const before = yield* Metric.value(RedisMetrics.lag)
      const { redis } = yield* makeNode({ url: server.url, pingInterval: 20 })
      yield* redis.connected
      yield* server.signal("SIGSTOP")
      yield* Effect.sleep(220)
      yield* server.signal("SIGCONT")
      yield* until(Effect.map(Metric.value(RedisMetrics.lag), ({ sum }) => sum - before.sum >= 0.15))
    }))
})
