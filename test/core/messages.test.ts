/** `connection.messages`: what a peer sends, as a stream. */
import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Option, Stream } from "effect"
import { type Connection, Hub } from "effect-ws-hub"
import { HubTest } from "effect-ws-hub/testing"

const send = ({ peer }: HubTest.Connected, ...messages: ReadonlyArray<string>) =>
  Effect.forEach(messages, peer.send, { discard: true })

/** A handler that hands its connection out and does nothing until it is told to end. */
const idle = Effect.gen(function*() {
  const end = yield* Deferred.make<void>()
  const connected = yield* HubTest.connect({ handler: () => Deferred.await(end) })
  yield* HubTest.settle
  return { ...connected, end: Deferred.succeed(end, undefined) }
})

describe("connection.messages", () => {
  it.scoped("has what the peer sends in its order, and then ends without a failure, for each way the peer may leave", () =>
    Effect.forEach(["close", "reset"] as const, (how) =>
      Effect.gen(function*() {
        const log: Array<unknown> = []
        const handler = (connection: Connection) =>
          Effect.flatMap(
            Effect.exit(Stream.runForEach(connection.messages, (message) => Effect.sync(() => log.push(message)))),
            (exit) => Effect.sync(() => log.push(exit))
          )
        const connected = yield* HubTest.connect({ handler })
        yield* send(connected, "1", "2")
        yield* HubTest.settle
        assert.deepStrictEqual(log, ["1", "2"])
        yield* send(connected, "3", "4")
        yield* how === "close" ? connected.peer.close(4000) : connected.peer.reset
        assert.strictEqual((yield* connected.connection.closed).by, how === "close" ? "peer" : "transport")
        assert.deepStrictEqual(log, ["1", "2", "3", "4", Exit.void])
      })).pipe(Effect.provide(HubTest.layer())))

  it.scoped("ends when the hub drains, so that the handler goes on behind it", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer } = yield* HubTest.connect({
        handler: (connection) => Effect.zipRight(Stream.runDrain(connection.messages), connection.send("good bye"))
      })
      yield* HubTest.settle
      yield* hub.drain
      assert.deepStrictEqual(yield* peer.received, ["good bye"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("is read no further than it is taken: the socket stops at a full inbox, and goes on when half is taken", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeSemaphore(0)
      const handled: Array<unknown> = []
      const connected = yield* HubTest.connect({
        handler: (connection) =>
          Stream.runForEach(
            connection.messages,
            (message) => Effect.zipRight(gate.take(1), Effect.sync(() => handled.push(message)))
          )
      })
      const { counters } = connected.peer
      const messages = Array.from({ length: 20 }, (_, index) => String(index).padStart(8, "0"))
      yield* HubTest.settle
      yield* send(connected, ...messages)
      yield* HubTest.settle
      // Each is 40 bytes: one is in the handler's hands, ten are 400.
      assert.strictEqual((yield* counters).paused, 1)
      assert.strictEqual((yield* counters).resumed, 0)
      // Five more are taken: 200 bytes are left, which is half.
      yield* gate.release(4)
      yield* HubTest.settle
      assert.strictEqual((yield* counters).resumed, 0)
      yield* gate.release(1)
      yield* HubTest.settle
      assert.strictEqual((yield* counters).resumed, 1)
      yield* gate.release(20)
      yield* HubTest.settle
      assert.deepStrictEqual(handled, messages)
    }).pipe(Effect.provide(HubTest.layer({ inboxBytes: 400 }))))

  it.scoped("takes no more than it yields: what `take` leaves is the next reader's", () =>
    Effect.gen(function*() {
      const connected = yield* idle
      const { messages, take } = connected.connection
      yield* send(connected, "1", "2", "3", "4", "5")
      assert.deepStrictEqual(Chunk.toReadonlyArray(yield* Stream.runCollect(Stream.take(messages, 2))), ["1", "2"])
      assert.strictEqual(yield* take, "3")
      assert.deepStrictEqual(yield* Stream.runHead(messages), Option.some("4"))
      assert.strictEqual(yield* take, "5")
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("with `grouped`: what is left at the end is a group of its own", () =>
    Effect.gen(function*() {
      const connected = yield* idle
      yield* send(connected, "1", "2", "3", "4", "5")
      yield* connected.peer.close()
      const groups = yield* Stream.runCollect(Stream.grouped(connected.connection.messages, 2))
      assert.deepStrictEqual(Array.from(groups, Chunk.toReadonlyArray), [["1", "2"], ["3", "4"], ["5"]])
      assert.isTrue(Chunk.isEmpty(yield* Stream.runCollect(connected.connection.messages)))
      yield* connected.end
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("loses nothing to a reader that is interrupted while it waits", () =>
    Effect.gen(function*() {
      const connected = yield* idle
      const { messages, take } = connected.connection
      let released = 0
      const reading = yield* Effect.fork(
        Stream.runDrain(Stream.ensuring(messages, Effect.sync(() => released++)))
      )
      yield* HubTest.settle
      yield* Fiber.interrupt(reading)
      assert.strictEqual(released, 1)
      yield* send(connected, "1")
      assert.strictEqual(yield* take, "1")
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("is interrupted with its handler when the connection is closed: what waits is not handled", () =>
    Effect.gen(function*() {
      const handled: Array<unknown> = []
      const connected = yield* HubTest.connect({
        handler: (connection) =>
          Stream.runForEach(
            connection.messages,
            (message) => Effect.zipRight(Effect.sync(() => handled.push(message)), Effect.never)
          ).pipe(
            Effect.onInterrupt(() => Effect.sync(() => handled.push("interrupted")))
          )
      })
      yield* send(connected, "1", "2")
      yield* HubTest.settle
      yield* connected.connection.close()
      assert.strictEqual((yield* connected.connection.closed).by, "server")
      assert.deepStrictEqual(handled, ["1", "interrupted"])
    }).pipe(Effect.provide(HubTest.layer())))
})
