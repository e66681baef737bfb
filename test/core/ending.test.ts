/** What an application may do wrong, or unusually, as its connection ends. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber, Logger, Scope, TestClock } from "effect"
import { type Connection, Hub } from "effect-ws-hub"
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

const kindOf = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.match(exit, {
    onSuccess: () => "success",
    onFailure: (cause) => Cause.isInterruptedOnly(cause) ? "interrupt" : Cause.isFailure(cause) ? "failure" : "defect"
  })

describe("L2: the scope of a connection closes with the exit of its handler", () => {
  const ends: ReadonlyArray<
    readonly [string, Effect.Effect<unknown, string>, (connection: Connection) => Effect.Effect<void>]
  > = [
    ["success", Effect.succeed("done"), () => Effect.void],
    ["failure", Effect.fail("no"), () => Effect.void],
    ["defect", Effect.die("a bug"), () => Effect.void],
    ["interrupt", Effect.interrupt, () => Effect.void],
    ["interrupt", Effect.never, (connection) => connection.close()]
  ]
  for (const [kind, handler, end] of ends) {
    it.scoped(`${kind}${handler === Effect.never ? " by the application" : ""}`, () =>
      Effect.gen(function*() {
        const exits: Array<string> = []
        const { connection } = yield* HubTest.connect({
          handler: (connection) =>
            Effect.addFinalizer((exit) => Effect.sync(() => exits.push(kindOf(exit)))).pipe(
              Effect.zipRight(Effect.acquireReleaseInterruptible(
                Effect.void,
                (exit) => Effect.sync(() => exits.push(kindOf(exit)))
              )),
              Effect.zipRight(Scope.addFinalizerExit(
                connection.scope,
                (exit) => Effect.sync(() => exits.push(kindOf(exit)))
              )),
              Effect.zipRight(handler)
            )
        })
        yield* HubTest.settle
        yield* end(connection)
        yield* connection.closed
        assert.deepStrictEqual(exits, [kind, kind, kind])
      }).pipe(Effect.provide([HubTest.layer(), Logger.remove(Logger.defaultLogger)])))
  }
})

describe("words of a protocol for ends that the hub decides", () => {
  it.scoped("are cut to what a close frame holds", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer, transport } = yield* TestTransport.make()
      const reason = yield* hub.serve(transport, () => Effect.void, {
        closeWith: { handlerEnd: { code: 4000, reason: "é".repeat(100) } }
      })
      assert.deepInclude(reason, { by: "handler", code: 4000, reason: "é".repeat(61) })
      assert.deepStrictEqual(yield* peer.closed, { code: 4000, reason: "é".repeat(61) })
    }).pipe(Effect.provide(HubTest.layer())))

  for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, NaN]) {
    it.scoped(`are the hub's own if they have a code that cannot be sent: ${code}`, () =>
      Effect.gen(function*() {
        const hub = yield* Hub.Hub
        const { peer, transport } = yield* TestTransport.make()
        const connection = yield* hub.accept(transport, (connection) => connection.discard, {
          closeWith: { drain: { code, reason: "mine" }, handlerEnd: { code: 4000 } }
        })
        yield* HubTest.settle
        yield* hub.drain
        const own = { code: 1001, reason: "server is going away" }
        assert.deepStrictEqual(yield* peer.closed, own)
        assert.deepInclude(yield* connection.closed, { by: "drain", ...own })
      }).pipe(Effect.provide(HubTest.layer())))
  }
})

describe("what runs before a drain", () => {
  it.scoped("is there for each who registered it, until that one leaves", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      let runs = 0
      const hook = Effect.sync(() => runs++)
      const [first, second] = yield* Effect.all([Scope.make(), Scope.make()])
      for (const scope of [first, second]) yield* Scope.extend(hub.beforeDrain(hook), scope)
      yield* hub.drainWhere(() => false)
      assert.strictEqual(runs, 2)
      yield* Scope.close(first, Exit.void)
      yield* hub.drainWhere(() => false)
      assert.strictEqual(runs, 3)
      yield* Scope.close(second, Exit.void)
      yield* hub.drainWhere(() => false)
      assert.strictEqual(runs, 3)
    }).pipe(Effect.provide(HubTest.layer())))
})
