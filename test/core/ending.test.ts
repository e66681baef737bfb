/** What an application may do wrong, or unusually, as its connection ends. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope, TestClock } from "effect"
import { Hub } from "effect-ws-hub"
import { HubTest, TestTransport } from "effect-ws-hub/testing"

describe("L2, L9: an end is an end", () => {
  it.effect("when a finalizer of the connection dies", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const hub = yield* Scope.extend(Hub.make(), scope)
      const { peer, transport } = yield* TestTransport.make()
      const connection = yield* hub.accept(transport, (connection) =>
        Effect.zipRight(Effect.addFinalizer(() => Effect.die("boom")), connection.discard))
      yield* HubTest.settle
      yield* peer.close(1000)
      assert.strictEqual((yield* connection.closed).by, "peer")
      assert.strictEqual(yield* hub.size, 0)
      yield* Scope.close(scope, Exit.void)
    }))

  it.effect("when the handler takes a message where it cannot be interrupted", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const hub = yield* Scope.extend(Hub.make(), scope)
      const { peer, transport } = yield* TestTransport.make()
      const connection = yield* hub.accept(transport, (connection) =>
        Effect.acquireRelease(connection.take, () => Effect.void))
      yield* HubTest.settle
      yield* hub.close(connection.id, { code: 4000, reason: "enough" })
      assert.deepStrictEqual(yield* peer.closed, { code: 4000, reason: "enough" })
      assert.strictEqual((yield* connection.closed).code, 4000)
      yield* Scope.close(scope, Exit.void)
    }))

  it.effect("when what runs before a drain cannot be interrupted: half of the deadline, and every peer is told", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const hub = yield* Scope.extend(Hub.make(), scope)
      const { peer, transport } = yield* TestTransport.make()
      yield* hub.accept(transport, (connection) => connection.discard)
      yield* Scope.extend(hub.beforeDrain(Effect.uninterruptible(Effect.never)), yield* Scope.make())
      const closing = yield* Effect.fork(Scope.close(scope, Exit.void))
      yield* HubTest.settle
      yield* TestClock.adjust("5 seconds")
      yield* HubTest.settle
      assert.strictEqual((yield* peer.closed).code, 1001)
      yield* Fiber.join(closing)
    }))
})
