/** `connection.runForEach`: what needs no effect is handled in the socket's event, and nobody can tell. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, FiberRef, Runtime, type Scheduler } from "effect"
import type { Connection } from "effect-ws-hub"
import { HubTest } from "effect-ws-hub/testing"

const send = ({ peer }: HubTest.Connected, ...messages: ReadonlyArray<string>) =>
  Effect.forEach(messages, peer.send, { discard: true })

/** Writes messages down at once, or those that begin with an `e` in an effect. */
const into = (log: Array<unknown>) => (message: unknown): Effect.Effect<void> => {
  if (!String(message).startsWith("e")) {
    log.push(message)
    return Effect.void
  }
  return Effect.zipRight(Effect.yieldNow(), Effect.sync(() => log.push(message)))
}

describe("connection.runForEach", () => {
  it.scoped("handles in order what is done at once and what is not, for each way the peer may leave", () =>
    Effect.forEach(["close", "reset"] as const, (how) =>
      Effect.gen(function*() {
        const log: Array<unknown> = []
        const connected = yield* HubTest.connect({
          handler: (connection) =>
            Effect.flatMap(Effect.exit(connection.runForEach(into(log))), (exit) => Effect.sync(() => log.push(exit)))
        })
        yield* HubTest.settle
        yield* send(connected, "1", "2", "e3", "4", "e5", "e6", "7")
        yield* HubTest.settle
        assert.deepStrictEqual(log, ["1", "2", "e3", "4", "e5", "e6", "7"])
        yield* send(connected, "8", "e9", "10")
        yield* how === "close" ? connected.peer.close(4000) : connected.peer.reset
        assert.strictEqual((yield* connected.connection.closed).by, how === "close" ? "peer" : "transport")
        assert.deepStrictEqual(log.slice(7), ["8", "e9", "10", Exit.void])
      })).pipe(Effect.provide(HubTest.layer())))

  it.scoped("that is interrupted while it waits leaves what comes to the next reader, though nobody waits yet", () =>
    Effect.gen(function*() {
      const log: Array<unknown> = []
      const [interrupt, go] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const connected = yield* HubTest.connect({
        handler: (connection) =>
          Effect.gen(function*() {
            yield* Effect.raceFirst(connection.runForEach(into(log)), Deferred.await(interrupt))
            yield* Deferred.await(go)
            log.push("then", yield* connection.take, yield* connection.take)
          })
      })
      yield* HubTest.settle
      yield* send(connected, "1")
      yield* Deferred.succeed(interrupt, undefined)
      yield* HubTest.settle
      yield* send(connected, "2", "3")
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual((yield* connected.connection.closed).code, 1000)
      assert.deepStrictEqual(log, ["1", "then", "2", "3"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("shares what comes with others that read", () =>
    Effect.gen(function*() {
      const log: Array<unknown> = []
      const connected = yield* HubTest.connect({
        handler: (connection) =>
          Effect.all([connection.runForEach(into(log)), connection.runForEach(into(log))], {
            concurrency: "unbounded",
            discard: true
          })
      })
      yield* HubTest.settle
      yield* send(connected, "1", "e2", "3", "e4", "e5", "6")
      yield* HubTest.settle
      assert.sameMembers(log, ["1", "e2", "3", "e4", "e5", "6"])
      yield* connected.peer.close(4000)
      assert.strictEqual((yield* connected.connection.closed).by, "peer")
      assert.strictEqual(log.length, 6)
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("ends the connection with 1011 if what handles a message throws, though no effect runs", () =>
    Effect.gen(function*() {
      const handled: Array<unknown> = []
      const connected = yield* HubTest.connect({
        handler: (connection) =>
          connection.runForEach((message) => {
            handled.push(message)
            if (message === "throw") throw new Error("on purpose")
            return Effect.void
          })
      })
      yield* HubTest.settle
      yield* send(connected, "1", "throw", "never")
      assert.strictEqual((yield* connected.connection.closed).code, 1011)
      assert.deepStrictEqual(handled, ["1", "throw"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("does what is left of a message that closes the connection, and ends", () =>
    Effect.gen(function*() {
      const log: Array<unknown> = []
      const handler = (connection: Connection) =>
        Effect.uninterruptible(connection.runForEach((message) => {
          connection.unsafeClose({ code: 4000, reason: "enough" })
          return Effect.sync(() => log.push(message))
        }))
      const connected = yield* HubTest.connect({ handler })
      yield* HubTest.settle
      yield* send(connected, "1", "2")
      assert.strictEqual((yield* connected.connection.closed).code, 4000)
      assert.deepStrictEqual(log, ["1"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("ends with a connection that is closed by a message of which nothing is left", () =>
    Effect.gen(function*() {
      const ended = yield* Deferred.make<void>()
      const handler = (connection: Connection) =>
        Effect.uninterruptible(
          Effect.zipRight(
            connection.runForEach(() => {
              connection.unsafeClose({ code: 4000, reason: "enough" })
              return Effect.void
            }),
            Deferred.succeed(ended, undefined)
          )
        )
      const connected = yield* HubTest.connect({ handler })
      yield* HubTest.settle
      const waiting = yield* Effect.fork(Deferred.await(ended))
      yield* send(connected, "1")
      yield* Fiber.join(waiting)
      assert.strictEqual((yield* connected.connection.closed).code, 4000)
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("handles no more once a message has closed the connection", () =>
    Effect.gen(function*() {
      const log: Array<unknown> = []
      const runSync = Runtime.runSync(yield* Effect.runtime<never>())
      let more: Effect.Effect<unknown> = Effect.void
      const connected = yield* HubTest.connect({
        handler: (connection) =>
          connection.runForEach((message) => {
            log.push(message)
            if (message === "1") runSync(more)
            if (message === "2") connection.unsafeClose({ code: 4000, reason: "enough" })
            return Effect.void
          })
      })
      more = Effect.zipRight(connected.peer.send("2"), connected.peer.send("3"))
      yield* HubTest.settle
      yield* send(connected, "1")
      assert.strictEqual((yield* connected.connection.closed).code, 4000)
      assert.deepStrictEqual(log, ["1", "2"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("leaves a message to who waits for one, whoever waited first", () =>
    Effect.forEach(["take first", "reader first"], (who) =>
      Effect.gen(function*() {
        const log: Array<unknown> = []
        const connected = yield* HubTest.connect({
          handler: (connection) =>
            Effect.gen(function*() {
              const take = Effect.flatMap(connection.take, (message) =>
                Effect.sync(() => void log.push(`took ${message}`)))
              const read = connection.runForEach(into(log))
              const first = yield* Effect.fork(who === "take first" ? take : read)
              yield* Effect.yieldNow()
              yield* who === "take first" ? read : take
              yield* Fiber.join(first)
            })
        })
        yield* HubTest.settle
        yield* send(connected, "1", "2", "3")
        yield* HubTest.settle
        assert.sameMembers(log, ["took 1", "2", "3"])
        yield* connected.peer.close(4000)
        yield* connected.connection.closed
      })).pipe(Effect.provide(HubTest.layer())))

  it.scoped("wakes no fiber for what is done at once", () =>
    Effect.gen(function*() {
      const log: Array<unknown> = []
      let tasks = 0
      const runSync = Runtime.runSync(yield* Effect.runtime<never>())
      const inner = yield* FiberRef.get(FiberRef.currentScheduler)
      const counting: Scheduler.Scheduler = {
        scheduleTask: (task, priority, fiber) => {
          tasks++
          inner.scheduleTask(task, priority, fiber)
        },
        shouldYield: (fiber) => inner.shouldYield(fiber)
      }
      const connected = yield* HubTest.connect({
        handler: (connection) => Effect.withScheduler(connection.runForEach(into(log)), counting)
      })
      yield* HubTest.settle
      const before = tasks
      runSync(send(connected, "1", "2"))
      assert.deepStrictEqual([log, tasks - before], [["1", "2"], 0])
      runSync(send(connected, "e3", "4"))
      assert.deepStrictEqual([log, tasks - before], [["1", "2"], 1])
      yield* HubTest.settle
      assert.deepStrictEqual(log, ["1", "2", "e3", "4"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("handles what comes while it handles a message after that one", () =>
    Effect.gen(function*() {
      const log: Array<unknown> = []
      const runSync = Runtime.runSync(yield* Effect.runtime<never>())
      let more: Effect.Effect<unknown> = Effect.void
      const connected = yield* HubTest.connect({
        handler: (connection) =>
          connection.runForEach((message) => {
            log.push(`begins ${message}`)
            if (message === "1") runSync(more)
            log.push(`ends ${message}`)
            return into(log)(message)
          })
      })
      more = Effect.zipRight(connected.peer.send("e2"), connected.peer.send("3"))
      yield* HubTest.settle
      yield* send(connected, "1")
      yield* HubTest.settle
      const all = ["1", "e2", "3"].flatMap((message) => [`begins ${message}`, `ends ${message}`, message])
      assert.deepStrictEqual(log, all)
    }).pipe(Effect.provide(HubTest.layer())))
})
