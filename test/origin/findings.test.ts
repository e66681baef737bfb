/** The four findings in the hub that this project comes from. `README.md` tells the mutation that each test catches. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Scope, TestClock } from "effect"
import { Hub, NodeGuard, NodeUpgrade } from "effect-ws-hub"
import { TestTransport } from "effect-ws-hub/testing"
import type * as Http from "node:http"
import { connect, eventually, portOf, refused, serve } from "../node/support.js"
import * as Terminals from "./terminals.js"

const connectMany = (count: number, options?: Parameters<typeof TestTransport.make>[0]) =>
  Effect.replicateEffect(TestTransport.make(options), count)

describe("finding 1: a connection that comes before the hub runs", () => {
  it.scoped("is refused, and the pumps of the first one after that have all they need", () =>
    Effect.gen(function*() {
      const ready = yield* Deferred.make<void>()
      const hub = yield* Hub.make({}, Deferred.await(ready))
      const terminals = yield* Effect.provideService(Terminals.make, Hub.Hub, hub)
      const early = yield* TestTransport.make()
      const error = yield* Effect.flip(hub.accept(early.transport, terminals.handler, terminals))
      assert.strictEqual(error._tag, "HubUnavailable")
      assert.strictEqual((yield* early.peer.closed).code, 1001)
      assert.strictEqual(yield* hub.size, 0)

      yield* Deferred.succeed(ready, undefined)
      yield* Effect.repeat(hub.state, { until: (state) => state === "Open" })
      const late = yield* TestTransport.make()
      yield* hub.accept(late.transport, terminals.handler, terminals)
      yield* late.peer.send("garbage")
      assert.strictEqual(yield* late.peer.next, Terminals.windowsMessage([]))
      assert.include(String(yield* late.peer.next), "invalid message format")
    }))

  it.scoped("in the very turn in which the hub was made it is served, also when it speaks first", () =>
    Effect.gen(function*() {
      const { peer, transport } = yield* TestTransport.make()
      yield* peer.send(JSON.stringify({ type: "input", window: "1", keys: "ls" }))
      yield* peer.send("garbage")
      const hub = yield* Hub.make()
      const terminals = yield* Effect.provideService(Terminals.make, Hub.Hub, hub)
      yield* hub.accept(transport, terminals.handler, terminals)
      assert.strictEqual(yield* peer.next, Terminals.windowsMessage([]))
      assert.include(String(yield* peer.next), "invalid message format")
      assert.deepStrictEqual(terminals.inputs, ["1:ls"])
    }))

  it.scoped("the first step of a handler finds its connection registered and its scope open", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer, transport } = yield* TestTransport.make()
      const released = yield* Deferred.make<void>()
      const connection = yield* hub.accept(transport, (connection) =>
        Effect.gen(function*() {
          yield* Effect.addFinalizer(() => Deferred.succeed(released, undefined))
          yield* hub.send(connection.id, `one of ${yield* hub.size}`)
        }))
      assert.strictEqual(yield* peer.next, "one of 1")
      yield* connection.closed
      yield* Deferred.await(released)
    }).pipe(Effect.provide(Hub.layer())))

  it.scopedLive(
    "over a socket: before an application is mounted it is answered 503, and the process lives",
    () =>
      Effect.gen(function*() {
        const server = yield* Effect.acquireRelease(
          Effect.async<Http.Server>((resume) => {
            const server = NodeGuard.createServer()
            server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
          }),
          (server) => Effect.async<void>((resume) => void server.close(() => resume(Effect.void)))
        )
        const answer = yield* refused(`ws://127.0.0.1:${portOf(server)}/`)
        assert.strictEqual(answer.status, 503)
        assert.strictEqual(answer.headers["retry-after"], "1")
      }),
    10_000
  )

  it.scopedLive(
    "over a socket: while the hub starts it is answered 503, and then it is served",
    () =>
      Effect.gen(function*() {
        const ready = yield* Deferred.make<void>()
        const routes = NodeUpgrade.layer("/", {
          handler: (connection) => connection.runForEach((message) => connection.send(message))
        })
        const { url } = yield* serve(routes.pipe(
          Layer.provide(Layer.scoped(Hub.Hub, Hub.make({}, Deferred.await(ready))))
        ))
        const answer = yield* refused(url("/"))
        assert.strictEqual(answer.status, 503)
        assert.match(answer.body, /starting/)
        yield* Deferred.succeed(ready, undefined)
        const peer = yield* Effect.retry(connect(url("/")), { while: (answer) => answer.status === 503 })
        assert.strictEqual(yield* peer.ask("hello"), "hello")
      }),
    10_000
  )
})

describe("finding 2 (and D6): the first message", () => {
  it.scoped("is the snapshot, also when it is empty, and then it says []", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const terminals = yield* Terminals.make
      const { peer, transport } = yield* TestTransport.make()
      yield* hub.accept(transport, terminals.handler, terminals)
      yield* hub.broadcast("something else")
      assert.strictEqual(yield* peer.next, "{\"type\":\"windows\",\"list\":[]}")
      assert.strictEqual(yield* peer.next, "something else")
    }).pipe(Effect.provide(Hub.layer())))
})

describe("finding 3: teardown", () => {
  it.scoped(
    "does not block, whatever the number of connections and however their peers behave",
    () =>
      Effect.gen(function*() {
        const hub = yield* Hub.Hub
        const terminals = yield* Terminals.make
        const sockets = yield* connectMany(300)
        for (const [i, { peer, transport }] of sockets.entries()) {
          yield* hub.accept(transport, terminals.handler, terminals)
          if (i % 3 === 0) yield* peer.answerClose(false)
          if (i % 3 === 1) yield* peer.pauseReading
        }
        yield* hub.broadcast("x".repeat(100_000))
        const drained = yield* Effect.fork(hub.drain)
        yield* TestClock.adjust("15 seconds")
        yield* Fiber.join(drained)
        assert.strictEqual(yield* hub.size, 0)
        for (const { peer } of sockets) {
          assert.isTrue(yield* peer.isGone)
          assert.strictEqual((yield* peer.counters).listeners, 0)
        }
      }).pipe(Effect.provide(Hub.layer())),
    10_000
  )

  it.scoped("of one connection waits for no other", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const sockets = yield* connectMany(40)
      for (const { peer, transport } of sockets) {
        yield* peer.answerClose(false)
        yield* hub.accept(transport, (connection) => connection.runForEach(() => Effect.void))
      }
      assert.strictEqual(yield* hub.closeAll(), 40)
      const { peer, transport } = yield* TestTransport.make()
      const connection = yield* hub.accept(transport, (connection) => connection.runForEach(() => Effect.void))
      yield* peer.close(1000)
      assert.strictEqual((yield* connection.closed).by, "peer")
      assert.strictEqual(yield* hub.size, 40)
      yield* TestClock.adjust("10 seconds")
      yield* hub.drain
      assert.strictEqual(yield* hub.size, 0)
    }).pipe(Effect.provide(Hub.layer())), 10_000)
})

describe("finding 4: the edges of the lifecycle", () => {
  it.scopedLive("connect, speak and shut down over sockets with many clients", () =>
    Effect.gen(function*() {
      const clients = yield* Effect.scope
      const peers = yield* Effect.scoped(Effect.gen(function*() {
        const Routes = Layer.unwrapScoped(
          Effect.map(Terminals.make, ({ greeting, handler }) => NodeUpgrade.layer("/", { greeting, handler }))
        )
        const { hub, url } = yield* serve(Routes)
        const peers = yield* Scope.extend(Effect.replicateEffect(connect(url("/")), 40), clients)
        for (const peer of peers) assert.strictEqual(yield* peer.next, Terminals.windowsMessage([]))
        assert.strictEqual(yield* hub.size, 40)
        return peers
      }))
      for (const peer of peers) assert.strictEqual((yield* peer.closed).code, 1001)
      yield* eventually(() => peers.every(({ ws }) => ws.readyState === ws.CLOSED))
    }), 15_000)
})
