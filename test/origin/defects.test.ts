/** The defects left in the hub that this project comes from. `README.md` tells the mutation that each test catches. */
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Metric, Option, Ref, Scope, Stream, TestClock } from "effect"
import { type Connection, Hub, HubMetrics, NodeUpgrade } from "effect-ws-hub"
import { TestTransport } from "effect-ws-hub/testing"
import { connect, eventually, eventuallyEffect, rawOpen, refused, serve } from "../node/support.js"
import * as Terminals from "./terminals.js"

/** Reads until the peer leaves. */
const reads = (connection: Connection<unknown>) => connection.runForEach(() => Effect.void)

const output = (text: string, id: number, is: Terminals.Output["class"] = "normal"): Terminals.Output => ({
  window: "1",
  text,
  class: is,
  actions: is === "prompt" ? ["yes", "no"] : [],
  ids: [id]
})

const terminalRoutes = Layer.unwrapScoped(
  Effect.map(Terminals.make, ({ greeting, handler }) => NodeUpgrade.layer("/", { greeting, handler }))
)

describe("D1: an answer that races the end of its connection", () => {
  it.scoped("is refused or sent, and never written after the close frame", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const sockets = yield* Effect.replicateEffect(TestTransport.make(), 4)
      const sent = yield* Effect.forEach(sockets, ({ peer, transport }) =>
        Effect.gen(function*() {
          yield* peer.answerClose(false)
          const connection = yield* hub.accept(transport, reads)
          const accepted = yield* Ref.make<ReadonlyArray<boolean>>([])
          const answers = Effect.repeatN(
            Effect.zipRight(
              Effect.flatMap(connection.send("invalid message"), (ok) => Ref.update(accepted, (all) => [...all, ok])),
              Effect.yieldNow()
            ),
            200
          )
          return { accepted, fiber: yield* Effect.fork(answers) }
        }))
      const drained = yield* Effect.fork(hub.drain)
      for (const { accepted, fiber } of sent) {
        yield* Fiber.join(fiber)
        assert.includeMembers(Array.from(yield* accepted), [true, false])
      }
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(drained)
      for (const { peer } of sockets) {
        const { closeFrames, malformed, writesAfterClose } = yield* peer.counters
        assert.deepStrictEqual({ closeFrames, malformed, writesAfterClose }, {
          closeFrames: 1,
          malformed: 0,
          writesAfterClose: 0
        })
      }
    }).pipe(Effect.provide(Hub.layer())))

  it.scopedLive("over sockets, garbage during a shutdown does no harm", () =>
    Effect.gen(function*() {
      const clients = yield* Effect.scope
      for (let round = 0; round < 5; round++) {
        const scope = yield* Scope.make()
        const { hub, url } = yield* Scope.extend(serve(terminalRoutes), scope)
        const peers = yield* Scope.extend(Effect.replicateEffect(connect(url("/")), 4), clients)
        const garbage = yield* Effect.fork(Effect.forever(Effect.zipRight(
          Effect.forEach(peers, (peer) => peer.ws.readyState === peer.ws.OPEN ? peer.send("{") : Effect.void),
          eventually(() => true)
        )))
        yield* eventuallyEffect(Effect.map(hub.size, (size) => size === 4))
        yield* peers[0]?.take(3) ?? Effect.void
        yield* Scope.close(scope, Exit.void)
        yield* Fiber.interrupt(garbage)
        for (const peer of peers) assert.strictEqual((yield* peer.closed).code, 1001)
      }
    }), 20_000)
})

describe("D2: output that is pending at shutdown", () => {
  it.scoped("is delivered when the hub drains", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const terminals = yield* Terminals.make
      const sockets = yield* Effect.replicateEffect(TestTransport.make(), 20)
      for (const { transport } of sockets) yield* hub.accept(transport, terminals.handler, terminals)
      yield* terminals.output(output("$ ls", 1))
      yield* hub.drain
      for (const { peer } of sockets) {
        assert.deepStrictEqual(yield* peer.received, [
          Terminals.windowsMessage([]),
          Terminals.outputMessage(output("$ ls", 1))
        ])
      }
    }).pipe(Effect.provide(Hub.layer())))

  it.scoped("is delivered when what publishes is closed before the hub", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const scope = yield* Scope.make()
      const terminals = yield* Scope.extend(Terminals.make, scope)
      const { peer, transport } = yield* TestTransport.make()
      yield* hub.accept(transport, terminals.handler, terminals)
      assert.strictEqual(yield* peer.next, Terminals.windowsMessage([]))
      yield* terminals.output(output("$ ls", 1))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* peer.next, Terminals.outputMessage(output("$ ls", 1)))
    }).pipe(Effect.provide(Hub.layer())))
})

describe("D3: at shutdown", () => {
  it.scoped("every client gets a close frame with 1001", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const sockets = yield* Effect.replicateEffect(TestTransport.make(), 20)
      for (const { transport } of sockets) yield* hub.accept(transport, reads)
      yield* hub.drain
      for (const { peer } of sockets) {
        assert.deepStrictEqual(yield* peer.closed, { code: 1001, reason: "server is going away" })
      }
    }).pipe(Effect.provide(Hub.layer())))
})

describe("D4: a mass disconnect", () => {
  it.scopedLive("over sockets, leaves no entry behind", () =>
    Effect.gen(function*() {
      const { hub, url } = yield* serve(terminalRoutes)
      const peers = yield* Effect.all(Array.from({ length: 400 }, () => connect(url("/"))), { concurrency: 50 })
      yield* eventuallyEffect(Effect.map(hub.size, (size) => size === 400))
      for (const { ws } of peers) ws.terminate()
      yield* eventuallyEffect(Effect.map(hub.size, (size) => size === 0))
      assert.strictEqual(yield* hub.broadcast("anyone?"), 0)
    }), 20_000)
})

describe("D5: a burst", () => {
  it.scopedLive("over a socket, arrives whole and in order at a reader that keeps up", () =>
    Effect.gen(function*() {
      const { hub, url } = yield* serve(NodeUpgrade.layer("/", { handler: reads }))
      const peer = yield* connect(url("/"))
      yield* eventuallyEffect(Effect.map(hub.size, (size) => size === 1))
      const chunks = Array.from({ length: 5000 }, (_, i) => `${i} ${"x".repeat(120)}`)
      for (const chunk of chunks) assert.strictEqual(yield* hub.broadcast(chunk), 1)
      assert.deepStrictEqual(Array.from(yield* peer.take(5000)), chunks)
    }), 20_000)

  it.scoped("that does not fit ends the connection of the slow reader, with a notice and a count", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const events = yield* Effect.fork(
        Stream.runCollect(Stream.takeUntil(hub.events, ({ _tag }) => _tag === "Closed"))
      )
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      const { peer, transport } = yield* TestTransport.make()
      yield* peer.pauseReading
      const connection = yield* hub.accept(transport, reads)
      const lost = yield* Metric.value(HubMetrics.overflow("disconnected"))
      for (let i = 0; i < 5000; i++) {
        yield* hub.broadcast("x".repeat(1000))
        yield* Effect.yieldNow()
      }
      yield* peer.resumeReading
      assert.deepStrictEqual(yield* peer.closed, { code: 1008, reason: "slow consumer" })
      assert.strictEqual((yield* connection.closed).by, "slow-consumer")
      assert.strictEqual((yield* Metric.value(HubMetrics.overflow("disconnected"))).count, lost.count + 1)
      assert.deepStrictEqual(
        Array.from(yield* Fiber.join(events), ({ _tag }) => _tag).filter((tag) => tag !== "StateChanged"),
        ["Opened", "Overflow", "Closed"]
      )
    }).pipe(Effect.provide(Hub.layer())))
})

describe("D7: joining output", () => {
  it.scoped("keeps a prompt with its actions apart from what is around it, and every id", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const terminals = yield* Terminals.make
      const { peer, transport } = yield* TestTransport.make()
      yield* hub.accept(transport, terminals.handler, terminals)
      assert.strictEqual(yield* peer.next, Terminals.windowsMessage([]))
      yield* terminals.output(output("a", 1))
      yield* terminals.output(output("b", 2))
      yield* terminals.output(output("Go on?", 3, "prompt"))
      yield* terminals.output(output("c", 4))
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(yield* peer.next, Terminals.outputMessage({ ...output("ab", 1), ids: [1, 2] }))
      assert.strictEqual(yield* peer.next, Terminals.outputMessage(output("Go on?", 3, "prompt")))
      assert.strictEqual(yield* peer.next, Terminals.outputMessage(output("c", 4)))
    }).pipe(Effect.provide(Hub.layer())))
})

describe("D8: a peer that is dead or stalled", () => {
  it.scoped("is closed when it does not answer a ping in time", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer, transport } = yield* TestTransport.make()
      yield* peer.answerPings(false)
      yield* peer.answerClose(false)
      const connection = yield* hub.accept(transport, reads)
      yield* TestClock.adjust("1 minute")
      const reason = yield* connection.closed
      assert.deepStrictEqual([reason.by, reason.code], ["heartbeat", 3008])
      assert.isTrue(yield* peer.isGone)
    }).pipe(Effect.provide(Hub.layer())), 10_000)

  it.scoped("does not keep its socket by not reading and not answering the close frame", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer, transport } = yield* TestTransport.make()
      yield* peer.pauseReading
      const connection = yield* hub.accept(transport, reads)
      yield* Effect.repeatN(Effect.zipRight(hub.broadcast("x".repeat(1000)), Effect.yieldNow()), 200)
      yield* connection.close()
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual((yield* connection.closed).by, "server")
      assert.isTrue(yield* peer.isGone)
    }).pipe(Effect.provide(Hub.layer())), 10_000)

  it.scopedLive("over a socket, is cut off too", () =>
    Effect.gen(function*() {
      const server = yield* serve(NodeUpgrade.layer("/", { handler: reads }), {
        hub: { heartbeatInterval: "40 millis", heartbeatTimeout: "40 millis", closeGrace: "40 millis" }
      })
      const peer = yield* rawOpen(server, "/")
      yield* eventually(() => peer.socket.readableEnded)
      assert.strictEqual(peer.closeCode, 3008)
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 0))
    }), 10_000)
})

describe("D9: a snapshot that is taken while things change", () => {
  it.scoped("comes before the change, and the change is not missed", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const terminals = yield* Terminals.make
      const gate = yield* Deferred.make<void>()
      const { peer, transport } = yield* TestTransport.make()
      yield* terminals.setWindows(["old"])
      yield* hub.accept(transport, terminals.handler, {
        greeting: (connection) => {
          const snapshot = Terminals.windowsMessage(["old"])
          return Effect.zipRight(Deferred.await(gate), connection.send(snapshot))
        }
      })
      yield* Effect.repeatN(Effect.yieldNow(), 10)
      assert.strictEqual(yield* terminals.setWindows(["new"]), 1)
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual(yield* peer.next, Terminals.windowsMessage(["old"]))
      assert.strictEqual(yield* peer.next, Terminals.windowsMessage(["new"]))
    }).pipe(Effect.provide(Hub.layer())))
})

describe("D11: who may connect, and to what", () => {
  const Routes = Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) =>
    NodeUpgrade.layer("/", {
      authorize: (request) =>
        Option.match(HttpServerRequest.toURL(request), {
          onNone: () => new NodeUpgrade.Refused({ status: 400, message: "No URL." }),
          onSome: (url) =>
            url.searchParams.get("token") === "right"
              ? Effect.succeed({ session: url.searchParams.get("session") ?? "" })
              : new NodeUpgrade.Refused({ status: 401, message: "Unknown token." })
        }),
      greeting: (connection) => connection.join(connection.handshake.principal.session),
      handler: (connection) =>
        connection.runForEach((message) => hub.publish(connection.handshake.principal.session, message))
    })))

  it.scopedLive(
    "a wrong or missing token is 401 before the upgrade; a right one yields a principal of its own",
    () =>
      Effect.gen(function*() {
        const { hub, url } = yield* serve(Routes)
        assert.strictEqual((yield* refused(url("/"))).status, 401)
        assert.strictEqual((yield* refused(url("/?token=wrong"))).status, 401)
        const [ada, bob] = yield* Effect.all([
          connect(url("/?token=right&session=1")),
          connect(url("/?token=right&session=2"))
        ])
        assert.strictEqual(yield* ada.ask("for session 1"), "for session 1")
        assert.strictEqual(yield* bob.ask("for session 2"), "for session 2")
        assert.strictEqual(yield* hub.size, 2)
      }),
    10_000
  )

  it.scopedLive("a browser of another origin is 403", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(Routes)
      const answer = yield* refused(url("/?token=right"), { origin: "https://elsewhere.example" })
      assert.strictEqual(answer.status, 403)
    }), 10_000)
})

describe("D12: limits", () => {
  it.scoped("on connections, in the hub and by address", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.make({ connections: 3, connectionsPerAddress: 2 })
      const accept = (remoteAddress: string) =>
        Effect.flatMap(TestTransport.make({ remoteAddress }), ({ transport }) => hub.accept(transport, reads))
      yield* accept("10.0.0.1")
      yield* accept("10.0.0.1")
      const third = yield* Effect.flip(accept("10.0.0.1"))
      assert.deepInclude(third, { _tag: "TooManyConnections", scope: "address" })
      yield* accept("10.0.0.2")
      assert.deepInclude(yield* Effect.flip(accept("10.0.0.3")), { _tag: "TooManyConnections", scope: "hub" })
    }))

  it.scoped("on the rate of messages", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer, transport } = yield* TestTransport.make()
      yield* hub.accept(transport, reads)
      yield* Effect.repeatN(peer.send("x"), 3000)
      assert.deepStrictEqual(yield* peer.closed, { code: 1008, reason: "too many messages" })
    }).pipe(Effect.provide(Hub.layer())))

  it.scopedLive("over a socket, on the size of a message", () =>
    Effect.gen(function*() {
      const { url } = yield* serve(NodeUpgrade.layer("/", { handler: reads }))
      const peer = yield* connect(url("/"))
      yield* peer.send("x".repeat(65_537))
      assert.strictEqual((yield* peer.closed).code, 1009)
    }), 10_000)

  it.scoped("on what is joined into one message", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const terminals = yield* Terminals.make
      const { peer, transport } = yield* TestTransport.make()
      yield* hub.accept(transport, terminals.handler, terminals)
      for (let i = 0; i < 100; i++) yield* terminals.output(output("x".repeat(10_000), i))
      yield* TestClock.adjust("100 millis")
      yield* hub.drain
      const received = (yield* peer.received).slice(1).map(String)
      for (const message of received) assert.isAtMost(message.length, 65_536 + 1000)
      assert.strictEqual(received.join("").split("xxxxxxxxxx").length - 1, 100_000)
    }).pipe(Effect.provide(Hub.layer())))
})

describe("D14: clients that would all return together", () => {
  it.scoped("are sent away in batches, in no order", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.make({ drainPace: 100 })
      const sockets = yield* Effect.replicateEffect(TestTransport.make(), 100)
      for (const { transport } of sockets) yield* hub.accept(transport, reads)
      const drained = yield* Effect.fork(hub.drain)
      yield* TestClock.adjust(50)
      const first = yield* Effect.filter(sockets, ({ peer }) => peer.isGone)
      assert.strictEqual(first.length, 10)
      assert.notDeepEqual(first, sockets.slice(0, 10))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(drained)
    }))
})

describe("D15: what an operator sees", () => {
  it.scoped("opens, closes by reason, and messages are counted", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const read = Effect.all({
        connections: Effect.map(Metric.value(HubMetrics.connections), ({ value }) => value),
        opens: Effect.map(Metric.value(HubMetrics.opens), ({ count }) => count),
        byPeer: Effect.map(Metric.value(HubMetrics.closes("peer")), ({ count }) => count),
        messagesOut: Effect.map(Metric.value(HubMetrics.messagesOut), ({ count }) => count)
      })
      const before = yield* read
      const { peer, transport } = yield* TestTransport.make()
      const connection = yield* hub.accept(transport, reads)
      yield* hub.broadcast("1")
      assert.strictEqual((yield* read).connections, before.connections + 1)
      yield* peer.close()
      yield* connection.closed
      assert.deepStrictEqual(yield* read, {
        connections: before.connections,
        opens: before.opens + 1,
        byPeer: before.byPeer + 1,
        messagesOut: before.messagesOut + 1
      })
    }).pipe(Effect.provide(Hub.layer())))
})

describe("D16: a connect storm", () => {
  it.scopedLive("over sockets: 300 at once are all served", () =>
    Effect.gen(function*() {
      const { hub, url } = yield* serve(terminalRoutes)
      const peers = yield* Effect.all(Array.from({ length: 300 }, () => connect(url("/"))), {
        concurrency: "unbounded"
      })
      for (const peer of peers) assert.strictEqual(yield* peer.next, Terminals.windowsMessage([]))
      assert.strictEqual(yield* hub.broadcast("all"), 300)
      for (const peer of peers) assert.strictEqual(yield* peer.next, "all")
    }), 20_000)
})
