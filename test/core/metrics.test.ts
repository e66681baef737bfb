/** What operators see: the values of the metrics, and the one log line of a handler that fails. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Data, Effect, Layer, Logger, Metric } from "effect"
import { Hub, HubMetrics } from "effect-ws-hub"
import { HubTest } from "effect-ws-hub/testing"

const { settle } = HubTest

const counters = {
  opens: HubMetrics.opens,
  "closes peer": HubMetrics.closes("peer"),
  "closes server": HubMetrics.closes("server"),
  "closes slow-consumer": HubMetrics.closes("slow-consumer"),
  "closes rate-limit": HubMetrics.closes("rate-limit"),
  messagesIn: HubMetrics.messagesIn,
  bytesIn: HubMetrics.bytesIn,
  messagesOut: HubMetrics.messagesOut,
  bytesOut: HubMetrics.bytesOut,
  "overflow dropped": HubMetrics.overflow("dropped"),
  "overflow conflated": HubMetrics.overflow("conflated"),
  "overflow disconnected": HubMetrics.overflow("disconnected"),
  "undelivered in": HubMetrics.undelivered("in"),
  "undelivered out": HubMetrics.undelivered("out"),
  rateLimited: HubMetrics.rateLimited
}

type Values = Record<string, number>

/** All of them by name. They belong to the process, so only what changes means anything. */
const values: Effect.Effect<Values> = Effect.gen(function*() {
  const all: Values = { connections: (yield* Metric.value(HubMetrics.connections)).value }
  for (const [name, metric] of Object.entries(counters)) all[name] = (yield* Metric.value(metric)).count
  for (const name of ["fanOut", "flushBatch"] as const) {
    const { count, sum } = yield* Metric.value(HubMetrics[name])
    all[name] = count
    all[`${name} sum`] = sum
  }
  return all
})

/** What an effect changes, without what it leaves as it was. */
const changes = <E, R>(effect: Effect.Effect<unknown, E, R>): Effect.Effect<Values, E, R> =>
  Effect.gen(function*() {
    const before = yield* values
    yield* effect
    const after = yield* values
    return Object.fromEntries(
      Object.keys(after).flatMap((name) => {
        // A sum is of averages, which are no whole numbers.
        const change = Math.round(((after[name] ?? 0) - (before[name] ?? 0)) * 1e6) / 1e6
        return change === 0 ? [] : [[name, change]]
      })
    )
  })

/** A payload whose frame has this many bytes. */
const frameOf = (bytes: number) => "x".repeat(bytes - 4)

describe("metrics", () => {
  it.scoped("count what happens, once", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const connect = Effect.zipLeft(HubTest.connect({ highWaterMark: 1 }), settle)
      let [ada, bob, slow] = [yield* connect, yield* connect, yield* connect]
      yield* Effect.all([ada.peer.reset, bob.peer.reset, slow.peer.reset, settle])
      assert.deepStrictEqual(
        yield* changes(Effect.gen(function*() {
          ada = yield* connect
          bob = yield* connect
          slow = yield* connect
        })),
        { connections: 3, opens: 3 }
      )
      yield* slow.peer.pauseReading
      assert.deepStrictEqual(
        yield* changes(Effect.all([ada.peer.send("häh?"), bob.peer.send(Uint8Array.of(1, 2, 3)), settle])),
        { messagesIn: 2, bytesIn: 7 }
      )
      // Three of four bytes, and one of three: four frames for three connections.
      assert.deepStrictEqual(
        yield* changes(Effect.all([hub.broadcast("hi"), hub.send(ada.connection.id, "x"), settle])),
        { messagesOut: 4, bytesOut: 15, fanOut: 1, "fanOut sum": 3, flushBatch: 1, "flushBatch sum": 1.333333 }
      )
      assert.deepStrictEqual(
        yield* changes(Effect.all([bob.connection.send("alone"), settle])),
        { messagesOut: 1, bytesOut: 7, flushBatch: 1, "flushBatch sum": 1 }
      )
      assert.deepStrictEqual(
        yield* changes(Effect.all([ada.peer.close(4001), bob.connection.close(), settle])),
        { connections: -2, "closes peer": 1, "closes server": 1 }
      )
      assert.deepStrictEqual(
        yield* changes(Effect.forEach([400, 400], (size) => hub.broadcast(frameOf(size), { key: "x" }))),
        { messagesOut: 2, bytesOut: 800, fanOut: 2, "fanOut sum": 2, "overflow conflated": 1 }
      )
      assert.deepStrictEqual(
        yield* changes(Effect.all([hub.broadcast(frameOf(1600)), settle, slow.peer.resumeReading, settle])),
        {
          connections: -1,
          fanOut: 1,
          "overflow disconnected": 1,
          "undelivered out": 1,
          "closes slow-consumer": 1
        }
      )
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, overflow: "conflate" }))))

  it.scoped("count what is dropped, refused and never taken", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect({ highWaterMark: 1, handler: () => Effect.never })
      yield* peer.pauseReading
      yield* Effect.all([connection.send(frameOf(1200)), settle])
      assert.deepStrictEqual(
        yield* changes(Effect.all([connection.send(frameOf(1000)), connection.send(frameOf(1001))])),
        { "overflow dropped": 2 }
      )
      assert.deepStrictEqual(
        yield* changes(Effect.all([
          Effect.forEach(["a", "b", "c"], peer.send),
          peer.resumeReading,
          settle
        ])),
        {
          connections: -1,
          messagesIn: 3,
          bytesIn: 3,
          rateLimited: 1,
          "undelivered in": 2,
          "closes rate-limit": 1
        }
      )
    }).pipe(Effect.provide(HubTest.layer({
      outboxBytes: 2000,
      overflow: "drop-newest",
      messagesPerSecond: 1,
      messageBurst: 2
    }))))
})

describe("the metrics, when a peer has left", () => {
  it.scoped("count what waited for it, and nothing is sent any more", () =>
    Effect.gen(function*() {
      const sent: Array<boolean> = []
      const { connection, peer } = yield* HubTest.connect({
        highWaterMark: 1,
        handler: (connection) =>
          Effect.zipRight(
            Effect.addFinalizer(() => Effect.map(connection.send("late"), (accepted) => sent.push(accepted))),
            connection.take
          )
      })
      yield* peer.pauseReading
      yield* Effect.all([connection.send(frameOf(1200)), settle])
      yield* connection.send(frameOf(100))
      assert.deepStrictEqual(
        yield* changes(Effect.all([peer.reset, settle])),
        { connections: -1, "undelivered out": 1 }
      )
      assert.deepStrictEqual(sent, [false])
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("the log", () => {
  class OutOfTune extends Data.TaggedError("OutOfTune")<{ readonly string: number }> {}

  const secrets = ["a-bearer-token", "a-query-token", "a-message", "a-name"]

  for (
    const [name, failure, shown] of [
      ["fails", Effect.fail(new OutOfTune({ string: 3 })), "OutOfTune"],
      ["dies", Effect.die(new Error("a bug")), "a bug"]
    ] as const
  ) {
    it.scoped(`a handler that ${name} is told of once, by its connection's number and its cause alone`, () => {
      const lines: Array<string> = []
      const causes: Array<string> = []
      const capture = Logger.make((options) => {
        lines.push(Logger.logfmtLogger.log(options))
        causes.push(Cause.pretty(options.cause))
      })
      return Effect.gen(function*() {
        yield* HubTest.connect()
        const { connection, peer } = yield* HubTest.connect({
          headers: { authorization: "Bearer a-bearer-token" },
          url: "/rooms/1?token=a-query-token",
          principal: { name: "a-name" },
          handler: (connection) => Effect.zipRight(connection.take, failure)
        })
        yield* peer.send("a-message")
        assert.strictEqual((yield* connection.closed).code, 1011)
        yield* settle
        assert.strictEqual(lines.length, 1)
        const line = lines.join()
        assert.include(line, "level=ERROR")
        assert.match(line, new RegExp(`\\bconnection=${connection.id}\\b`))
        assert.match(line, /\bpackage=effect-ws-hub\b/)
        assert.include(causes.join(), shown)
        for (const secret of secrets) assert.notInclude(line, secret)
      }).pipe(Effect.provide(Layer.provideMerge(HubTest.layer(), Logger.replace(Logger.defaultLogger, capture))))
    })
  }

  it.scoped("a handler that ends, disconnects or loses its peer is not worth a line", () => {
    const lines: Array<unknown> = []
    const capture = Logger.make(({ message }) => {
      lines.push(message)
    })
    return Effect.gen(function*() {
      const ends = yield* HubTest.connect({ handler: (connection) => connection.take })
      yield* ends.peer.send("now")
      yield* ends.connection.closed
      const leaves = yield* HubTest.connect({ handler: (connection) => Effect.forever(connection.take) })
      yield* Effect.zipRight(settle, leaves.peer.reset)
      yield* leaves.connection.closed
      assert.deepStrictEqual(lines, [])
    }).pipe(Effect.provide(Layer.provideMerge(HubTest.layer(), Logger.replace(Logger.defaultLogger, capture))))
  })
})
