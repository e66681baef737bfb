/** What `HubTest` does at the end of a test. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Hub, type HubUnavailable, type TooManyConnections } from "effect-ws-hub"
import { HubTest } from "effect-ws-hub/testing"

/** What a test may leave behind. The handler says so when it is over. */
const left: Record<
  string,
  (over: Effect.Effect<void>) => Effect.Effect<unknown, HubUnavailable | TooManyConnections, Hub.Hub>
> = {
  "a handler that is asleep": (over) => HubTest.connect({ handler: () => Effect.ensuring(Effect.never, over) }),
  "a handler that is asleep, though its peer has left": (over) =>
    Effect.gen(function*() {
      const { peer } = yield* HubTest.connect({ handler: () => Effect.ensuring(Effect.never, over) })
      yield* HubTest.settle
      yield* peer.close()
      yield* HubTest.settle
    }),
  "a handler whose end waits for its peer": (over) =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect({ handler: () => Effect.ensuring(Effect.never, over) })
      yield* peer.answerClose(false)
      yield* HubTest.settle
      yield* connection.close()
      yield* HubTest.settle
    }),
  "a peer that does not read what was sent to it": (over) =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect({
        highWaterMark: 1,
        handler: (connection) => Effect.ensuring(connection.discard, over)
      })
      yield* peer.pauseReading
      yield* HubTest.settle
      for (let count = 0; count < 3; count++) yield* connection.send("to nobody")
      yield* HubTest.settle
    }),
  "a drain that has begun": (over) =>
    Effect.gen(function*() {
      const { peer } = yield* HubTest.connect({ handler: () => Effect.ensuring(Effect.never, over) })
      yield* peer.answerClose(false)
      yield* HubTest.settle
      yield* Effect.forkDaemon(Effect.flatMap(Hub.Hub, (hub) => hub.drain))
      yield* HubTest.settle
    })
}

describe("the end of a test waits for no time", () => {
  for (const [name, leave] of Object.entries(left)) {
    it.effect(`with ${name}`, () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const hub = yield* Layer.buildWithScope(HubTest.layer(), scope)
        let isOver = false
        yield* Effect.provide(leave(Effect.sync(() => isOver = true)), hub)
        const end = yield* Effect.fork(Scope.close(scope, Exit.void))
        // A test clock that stands still: what waits for it would never end.
        for (let count = 0; count < 20; count++) yield* HubTest.settle
        assert.isTrue(Exit.isExit(yield* Effect.fromNullable(end.unsafePoll())))
        yield* Fiber.join(end)
        assert.isTrue(isOver)
        assert.strictEqual(yield* Context.get(hub, Hub.Hub).size, 0)
        assert.strictEqual(yield* Clock.currentTimeMillis, 0)
      }))
  }
})
