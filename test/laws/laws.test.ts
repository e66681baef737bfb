import { assert, describe, it } from "@effect/vitest"
import {
  Cause,
  Clock,
  ConfigProvider,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Scope,
  Stream,
  TestClock
} from "effect"
import {
  CloseReason,
  Coalesce,
  type Connection,
  ConnectionClosed,
  Disconnect,
  Frame,
  Hub,
  HubConfig
} from "effect-ws-hub"
import { HubTest, TestTransport } from "effect-ws-hub/testing"

const { settle } = HubTest

/** A payload whose frame has this many bytes. */
const frameOf = (bytes: number, letter = "x") => letter.repeat(bytes - (bytes < 128 ? 2 : 4))

/** All events from here on, as they come. */
const record = Effect.gen(function*() {
  const hub = yield* Hub.Hub
  const events: Array<Hub.HubEvent> = []
  yield* Effect.forkScoped(Stream.runForEach(hub.events, (event) => Effect.sync(() => events.push(event))))
  yield* settle
  return events
})

/** A hub in a scope of its own, to close when the test wants it. */
const makeHub = (options?: HubConfig.HubOptions, ready?: Effect.Effect<unknown>) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const hub = yield* Scope.extend(Hub.make(options, ready), scope)
    return { close: Scope.close(scope, Exit.void), hub }
  })

/** A hub whose wall clock can be set, beside the time that passes. */
const withWallClock = (options?: HubConfig.HubOptions) =>
  Effect.gen(function*() {
    const clock = yield* Effect.clock
    let ahead = 0
    const wall: Clock.Clock = {
      [Clock.ClockTypeId]: Clock.ClockTypeId,
      unsafeCurrentTimeMillis: () => clock.unsafeCurrentTimeMillis() + ahead,
      unsafeCurrentTimeNanos: () => clock.unsafeCurrentTimeNanos(),
      currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + ahead),
      currentTimeNanos: clock.currentTimeNanos,
      sleep: (duration) => clock.sleep(duration)
    }
    const context = yield* Effect.withClock(Layer.build(HubTest.layer(options)), wall)
    return { context, step: (millis: number) => Effect.sync(() => void (ahead += millis)) }
  })

const hour = 3_600_000

const isDone = <A, E>(fiber: Fiber.RuntimeFiber<A, E>) => Effect.map(Fiber.poll(fiber), Option.isSome)

describe("L1: whatever a connection needs exists before it starts", () => {
  it.scoped("the handler takes its first step when its connection is registered and open", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const seen: Array<readonly [number, number]> = []
      const { peer, transport } = yield* TestTransport.make()
      const look = Effect.flatMap(
        hub.size,
        (size) => Effect.map(peer.counters, ({ opened }) => void seen.push([size, opened]))
      )
      const connection = yield* hub.accept(transport, () => look, { greeting: () => look })
      assert.deepStrictEqual(seen, [])
      yield* connection.closed
      assert.deepStrictEqual(seen, [[1, 1], [1, 1]])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("the handler's first step can use everything", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect({
        principal: { name: "ada" },
        url: "/rooms/1",
        headers: { "user-agent": "test" },
        remoteAddress: "10.0.0.1",
        subprotocol: "chat",
        handler: (connection) =>
          Effect.gen(function*() {
            const hub = yield* Hub.Hub
            yield* connection.join("room")
            yield* connection.send(`${connection.handshake.principal.name} ${connection.handshake.url}`)
            yield* hub.publish("room", "to all")
            yield* connection.leave("room")
            yield* connection.close({ code: 4000, reason: "done" })
            return yield* Effect.never
          })
      })
      assert.strictEqual(connection.handshake.headers["user-agent"], "test")
      assert.deepStrictEqual(connection.handshake.remoteAddress, Option.some("10.0.0.1"))
      assert.deepStrictEqual(connection.handshake.subprotocol, Option.some("chat"))
      assert.deepStrictEqual(yield* peer.closed, { code: 4000, reason: "done" })
      assert.deepStrictEqual(yield* peer.received, ["ada /rooms/1", "to all"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("a socket that broke before it was handed over is closed like any other", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer, transport } = yield* TestTransport.make()
      yield* peer.send("lost")
      yield* peer.reset
      const reason = yield* hub.serve(transport, (connection) => connection.runForEach(() => Effect.void))
      assert.strictEqual(reason.by, "transport")
      assert.strictEqual(yield* hub.size, 0)
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("messages that came before the hub took the socket are received", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer, transport } = yield* TestTransport.make()
      yield* peer.send("early")
      yield* hub.accept(transport, (connection) => connection.runForEach(connection.send.bind(connection)))
      assert.strictEqual(yield* peer.next, "early")
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("L2: one connection is one scope", () => {
  it.scoped("its end releases all that the handler holds, and gives the hub everything back", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const log: Array<string> = []
      const { connection, peer } = yield* HubTest.connect({
        handler: (connection) =>
          Effect.gen(function*() {
            yield* Effect.acquireRelease(Effect.void, () => Effect.sync(() => log.push("released")))
            yield* Effect.forkScoped(Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("child"))))
            yield* connection.join("room")
            return yield* Effect.never
          })
      })
      yield* settle
      assert.deepStrictEqual(yield* hub.topics, ["room"])
      yield* hub.close(connection.id)
      yield* connection.closed
      assert.deepStrictEqual(log.sort(), ["child", "released"])
      assert.deepStrictEqual(yield* hub.topics, [])
      assert.deepStrictEqual(yield* hub.connections, [])
      assert.isTrue(yield* peer.isGone)
    }).pipe(Effect.provide(HubTest.layer())))

  for (
    const [how, end] of [
      ["ends", (peer: TestTransport.Peer) => peer.send("go")],
      ["loses its peer", (peer: TestTransport.Peer) => peer.close()]
    ] as const
  ) {
    it.scoped(`what it forked ends with a handler that ${how}, before the scope closes`, () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const forever = (name: string) =>
          Effect.never.pipe(
            Effect.onInterrupt(() => Effect.zipRight(Effect.yieldNow(), Effect.sync(() => log.push(name)))),
            Effect.fork
          )
        const { connection, peer } = yield* HubTest.connect({
          greeting: () => forever("of the greeting"),
          handler: (connection) =>
            Effect.gen(function*() {
              yield* Effect.addFinalizer(() => Effect.sync(() => log.push("scope")))
              yield* forever("of the handler")
              yield* connection.take
            })
        })
        yield* settle
        yield* end(peer)
        yield* connection.closed
        assert.deepStrictEqual(log.slice(0, 2).sort(), ["of the greeting", "of the handler"])
        assert.deepStrictEqual(log.slice(2), ["scope"])
      }).pipe(Effect.provide(HubTest.layer())))
  }

  for (const [how, who] of [["is closed", "hub"], ["stalls behind a peer that left", "peer"]] as const) {
    it.scoped(`the finalizers of one that ${how} may wait, and may be interrupted`, () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const { connection, peer } = yield* HubTest.connect({
          handler: () =>
            Effect.gen(function*() {
              yield* Effect.addFinalizer(() =>
                Effect.interruptible(Effect.zipRight(Effect.yieldNow(), Effect.sync(() => log.push("released"))))
              )
              return yield* Effect.never
            })
        })
        yield* settle
        yield* who === "hub" ? connection.close() : peer.reset
        yield* settle
        yield* TestClock.adjust("1 second")
        yield* connection.closed
        assert.deepStrictEqual(log, ["released"])
      }).pipe(Effect.provide(HubTest.layer({ closeGrace: "1 second" }))))
  }

  it.scoped("one that is closed before its handler's first step leaves as any other", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const log: Array<string> = []
      const { connection, peer } = yield* HubTest.connect({ handler: () => Effect.sync(() => log.push("handler")) })
      connection.unsafeClose()
      yield* connection.closed
      assert.deepStrictEqual(log, [])
      assert.strictEqual(yield* hub.size, 0)
      assert.isTrue(yield* peer.isGone)
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("the end of the fiber that serves it closes it", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer, transport } = yield* TestTransport.make()
      const ended = yield* Deferred.make<void>()
      const fiber = yield* Effect.fork(
        hub.serve(transport, () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(ended, undefined)))
      )
      yield* settle
      assert.strictEqual(yield* hub.size, 1)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(yield* Deferred.isDone(ended))
      assert.strictEqual(yield* hub.size, 0)
      assert.deepStrictEqual(yield* peer.closed, { code: 1001, reason: "interrupted" })
      assert.isTrue(yield* peer.isGone)
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("after the end sending does nothing, and joining leaves no trace", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { connection } = yield* HubTest.connect()
      yield* settle
      yield* connection.close()
      yield* connection.join("late")
      assert.deepStrictEqual(yield* hub.topics, [])
      assert.isFalse(yield* hub.join(connection.id, "late"))
      yield* connection.closed
      yield* connection.join("later")
      assert.isFalse(yield* connection.send("late"))
      assert.isFalse(yield* hub.send(connection.id, "late"))
      assert.deepStrictEqual(yield* hub.topics, [])
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("L3: registered exactly while the scope is open", () => {
  it.scoped("leaving waits for nobody: a thousand at once, while nobody reads the events", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      yield* Effect.forkScoped(Stream.runForEach(hub.events, () => Effect.never))
      const all = yield* Effect.replicateEffect(HubTest.connect(), 1000)
      assert.strictEqual(yield* hub.size, 1000)
      yield* Effect.forEach(all, ({ peer }) => peer.reset)
      yield* settle
      assert.strictEqual(yield* hub.size, 0)
    }).pipe(Effect.provide(HubTest.layer({ connections: "off" }))))

  it.scoped("while its finalizers run it is still registered, and then no longer", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const sizes: Array<number> = []
      const look = Effect.map(hub.size, (size) => void sizes.push(size))
      const { connection } = yield* HubTest.connect({
        handler: () => Effect.zipRight(Effect.addFinalizer(() => look), Effect.onInterrupt(Effect.never, () => look))
      })
      yield* settle
      yield* connection.close()
      yield* connection.closed
      yield* look
      assert.deepStrictEqual(sizes, [1, 1, 0])
    }).pipe(Effect.provide(HubTest.layer())))
})

/** Does what the peer tells it. */
const obey = (
  message: string | Uint8Array
): Effect.Effect<void, "told to" | "unknown" | Disconnect | ConnectionClosed> => {
  switch (message) {
    case "end":
      return Effect.fail(
        new ConnectionClosed({ reason: new CloseReason.CloseReason({ by: "peer", code: 1, reason: "" }) })
      )
    case "disconnect":
      return Effect.fail(new Disconnect({ code: 4003, reason: "é".repeat(100) }))
    case "fail":
      return Effect.fail("told to")
    case "unknown":
      return Effect.fail("unknown")
    case "die":
      return Effect.die("told to")
    case "throw":
      throw new Error("told to")
    case "interrupt":
      return Effect.interrupt
    default:
      return Effect.void
  }
}

const onFailure = (error: "told to" | "unknown" | Disconnect | ConnectionClosed) => {
  if (error === "told to") return new Disconnect({ code: 4004 })
  throw new Error("onFailure does not know it")
}

describe("L4: the first end wins, and everyone sees the same reason", () => {
  type Ends = (peer: TestTransport.Peer, hub: Hub.Hub["Type"], id: number) => Effect.Effect<unknown>
  const cases: ReadonlyArray<readonly [string, Ends, CloseReason.CloseBy, number]> = [
    ["the peer closes", (peer) => peer.close(4001, "bye"), "peer", 4001],
    ["the peer closes without a code", (peer) => peer.close(), "peer", 1005],
    ["the socket breaks", (peer) => peer.reset, "transport", 1006],
    ["the peer breaks the protocol", (peer) => peer.protocolError(1007), "protocol", 1007],
    ["the application closes", (_, hub, id) => hub.close(id, { code: 4002 }), "server", 4002],
    ["the application closes all", (_, hub) => hub.closeAll(), "server", 1000],
    ["the handler ends", (peer) => Effect.zipRight(peer.send("end"), settle), "handler", 1000],
    ["the handler disconnects", (peer) => Effect.zipRight(peer.send("disconnect"), settle), "handler", 4003],
    ["the handler fails with what is mapped", (peer) => Effect.zipRight(peer.send("fail"), settle), "handler", 4004],
    ["the handler fails with what is not", (peer) => Effect.zipRight(peer.send("unknown"), settle), "handler", 1011],
    ["the handler dies", (peer) => Effect.zipRight(peer.send("die"), settle), "handler", 1011],
    ["the handler throws", (peer) => Effect.zipRight(peer.send("throw"), settle), "handler", 1011],
    ["the handler is interrupted", (peer) => Effect.zipRight(peer.send("interrupt"), settle), "interrupt", 1001],
    ["the hub drains", (_, hub) => Effect.zipRight(Effect.fork(hub.drain), settle), "drain", 1001]
  ]

  for (const [name, end, by, code] of cases) {
    it.scoped(name, () =>
      Effect.gen(function*() {
        const hub = yield* Hub.Hub
        const events = yield* record
        const { peer, transport } = yield* TestTransport.make()
        const run = (connection: Connection) => connection.runForEach(obey)
        const serving = yield* Effect.fork(hub.serve(transport, run, { onFailure }))
        yield* settle
        const [connection] = yield* hub.connections
        if (connection === undefined) return assert.fail("not registered")
        const watching = yield* Effect.fork(connection.closed)
        yield* end(peer, hub, connection.id)
        // What comes after the first end changes nothing.
        assert.isFalse(yield* hub.close(connection.id, { code: 4998 }))
        yield* connection.close({ code: 4997 })
        yield* peer.close(4996)
        yield* peer.reset
        yield* settle
        const reason = yield* Fiber.join(watching)
        assert.deepStrictEqual([reason.by, reason.code], [by, code])
        assert.strictEqual(yield* Fiber.join(serving), reason)
        assert.strictEqual(yield* connection.closed, reason)
        assert.deepStrictEqual(
          events.flatMap((event) => event._tag === "Closed" ? [event.reason] : []),
          [reason]
        )
      }).pipe(Effect.provide(HubTest.layer())))
  }

  it.scoped("a reason that is too long is cut between characters", () =>
    Effect.gen(function*() {
      const { peer } = yield* HubTest.connect({ handler: (connection) => connection.runForEach(obey) })
      yield* peer.send("disconnect")
      assert.deepStrictEqual(yield* peer.closed, { code: 4003, reason: "é".repeat(61) })
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("a handler that is out of messages after the peer left is not the end", () =>
    Effect.gen(function*() {
      const taken: Array<unknown> = []
      const { connection, peer } = yield* HubTest.connect({
        handler: (connection) =>
          Effect.forever(Effect.flatMap(connection.take, (message) => Effect.sync(() => taken.push(message))))
      })
      yield* Effect.forEach(["1", "2", "3"], peer.send)
      yield* peer.close(4001)
      assert.strictEqual((yield* connection.closed).by, "peer")
      assert.deepStrictEqual(taken, ["1", "2", "3"])
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("L5: order at open", () => {
  it.scoped("Opened, then the greeting, then what others sent meanwhile, then the rest", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const events = yield* record
      const gate = yield* Effect.makeLatch()
      const handled: Array<unknown> = []
      const { connection, peer } = yield* HubTest.connect({
        greeting: (connection) =>
          connection.send("hello").pipe(
            Effect.zipRight(connection.join("room")),
            Effect.zipRight(gate.await),
            Effect.zipRight(connection.send("welcome"))
          ),
        handler: (connection) =>
          Effect.zipRight(
            connection.send("the handler"),
            connection.runForEach((message) => Effect.sync(() => handled.push(message)))
          )
      })
      assert.strictEqual(yield* hub.broadcast("before its first step"), 1)
      yield* peer.send("in")
      yield* settle
      assert.deepStrictEqual(events.map((event) => event._tag), ["Opened"])
      assert.strictEqual(yield* hub.publish("room", "to the room"), 1)
      assert.isTrue(yield* hub.send(connection.id, "to it alone"))
      yield* settle
      assert.deepStrictEqual(yield* peer.received, ["hello"])
      assert.deepStrictEqual(handled, [])
      yield* gate.open
      yield* settle
      yield* hub.publish("room", "after")
      yield* settle
      assert.deepStrictEqual(yield* peer.received, [
        "hello",
        "welcome",
        "before its first step",
        "to the room",
        "to it alone",
        "the handler",
        "after"
      ])
      assert.deepStrictEqual(handled, ["in"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("a greeting that fails or throws closes the connection", () =>
    Effect.gen(function*() {
      const failed = yield* HubTest.connect({ greeting: () => Effect.fail(new Disconnect({ code: 4401 })) })
      assert.strictEqual((yield* failed.peer.closed).code, 4401)
      const threw = yield* HubTest.connect({
        greeting: () => {
          throw new Error("told to")
        }
      })
      assert.strictEqual((yield* threw.peer.closed).code, 1011)
      assert.strictEqual((yield* threw.connection.closed).by, "handler")
      assert.strictEqual(yield* (yield* Hub.Hub).size, 0)
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("L6: order at close", () => {
  it.scoped("handler, outbox, close frame, socket, scope, registration, event: each once", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const log: Array<string> = []
      const { connection, peer } = yield* HubTest.connect({
        handler: (connection) =>
          Effect.onInterrupt(Effect.never, () => Effect.sync(() => log.push("handler"))).pipe(
            Effect.ensuring(connection.send("last words"))
          )
      })
      yield* Scope.addFinalizer(
        connection.scope,
        Effect.gen(function*() {
          log.push(`scope, gone: ${yield* peer.isGone}, registered: ${yield* hub.size}`)
        })
      )
      yield* Effect.forkScoped(Stream.runForEach(hub.events, (event) =>
        Effect.gen(function*() {
          if (event._tag === "Closed") log.push(`event, registered: ${yield* hub.size}`)
        })))
      yield* settle
      yield* Effect.forEach(["1", "2", "3"], (message) => connection.send(message))
      yield* connection.close({ code: 4000 })
      assert.deepStrictEqual(yield* peer.closed, { code: 4000, reason: "" })
      assert.deepStrictEqual(yield* peer.received, ["1", "2", "3", "last words"])
      yield* settle
      assert.deepStrictEqual(log, ["handler", "scope, gone: true, registered: 1", "event, registered: 0"])
      const counters = yield* peer.counters
      assert.deepStrictEqual(
        [counters.opened, counters.closed, counters.closeFrames, counters.writesAfterClose, counters.listeners],
        [1, 1, 1, 0, 0]
      )
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("a peer that does not answer the close frame is cut off after the grace", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { connection, peer } = yield* HubTest.connect()
      yield* peer.answerClose(false)
      yield* settle
      yield* connection.close()
      assert.strictEqual((yield* peer.closed).code, 1000)
      yield* TestClock.adjust("1999 millis")
      assert.isFalse(yield* peer.isGone)
      assert.strictEqual(yield* hub.size, 1)
      yield* TestClock.adjust("1 millis")
      yield* peer.gone
      yield* connection.closed
      assert.strictEqual(yield* hub.size, 0)
    }).pipe(Effect.provide(HubTest.layer({ closeGrace: "2 seconds" }))))

  it.scoped("what was sent is flushed within the grace, and what was not is given up", () =>
    Effect.gen(function*() {
      const reads = yield* HubTest.connect({ highWaterMark: 1 })
      const stays = yield* HubTest.connect({ highWaterMark: 1 })
      for (const { connection, peer } of [reads, stays]) {
        yield* peer.pauseReading
        for (const message of ["1", "2", "3"]) {
          yield* connection.send(message)
          yield* settle
        }
        yield* connection.close()
      }
      yield* settle
      yield* TestClock.adjust("900 millis")
      yield* reads.peer.resumeReading
      assert.strictEqual((yield* reads.peer.closed).code, 1000)
      assert.deepStrictEqual(yield* reads.peer.received, ["1", "2", "3"])
      yield* TestClock.adjust("100 millis")
      assert.strictEqual((yield* stays.peer.counters).closed, 1)
      yield* TestClock.adjust("1 seconds")
      yield* stays.connection.closed
      assert.strictEqual((yield* stays.peer.closed).code, 1006)
    }).pipe(Effect.provide(HubTest.layer({ closeGrace: "1 second" }))))

  it.scoped("what the handler holds is released when it has ended, however long that takes", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const log: Array<string> = []
      const { connection, peer } = yield* HubTest.connect({
        handler: () =>
          Effect.acquireRelease(Effect.void, () => Effect.sync(() => log.push("released"))).pipe(
            Effect.zipRight(Effect.onInterrupt(
              Effect.never,
              () => Effect.zipRight(Effect.sleep("10 seconds"), Effect.sync(() => log.push("ended")))
            ))
          )
      })
      yield* settle
      yield* connection.close()
      yield* TestClock.adjust("9 seconds")
      assert.isTrue(yield* peer.isGone)
      assert.deepStrictEqual(log, [])
      assert.strictEqual(yield* hub.size, 1)
      yield* TestClock.adjust("1 seconds")
      yield* connection.closed
      assert.deepStrictEqual(log, ["ended", "released"])
    }).pipe(Effect.provide(HubTest.layer({ closeGrace: "1 second" }))))

  it.scoped("its peer is told once, though the handler ends while it is told", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect({
        handler: () => Effect.onInterrupt(Effect.never, () => Effect.sleep("1500 millis"))
      })
      yield* peer.answerClose(false)
      yield* settle
      yield* connection.close()
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.strictEqual((yield* peer.counters).closed, 1)
      yield* TestClock.adjust("999 millis")
      assert.isFalse(yield* peer.isGone)
      yield* TestClock.adjust("1 millis")
      yield* connection.closed
      const { closed, terminated } = yield* peer.counters
      assert.deepStrictEqual([closed, terminated], [1, 1])
    }).pipe(Effect.provide(HubTest.layer({ closeGrace: "1 second" }))))

  it.scoped("a peer that leaves lets the handler finish, and one that stalls is interrupted after the grace", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const { connection, peer } = yield* HubTest.connect({
        handler: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      })
      yield* settle
      yield* peer.close(1000)
      yield* TestClock.adjust("999 millis")
      assert.isFalse(yield* Deferred.isDone(interrupted))
      yield* TestClock.adjust("1 millis")
      yield* Deferred.await(interrupted)
      assert.strictEqual((yield* connection.closed).by, "peer")
    }).pipe(Effect.provide(HubTest.layer({ closeGrace: "1 second" }))))
})

describe("L7: first in, first out", () => {
  it.scoped("across topics, broadcasts and sends to one, within a turn and over many", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const ada = yield* HubTest.connect()
      const bob = yield* HubTest.connect()
      yield* settle
      for (const { connection } of [ada, bob]) {
        yield* connection.join("a")
        yield* connection.join("b")
      }
      const expected: Array<string> = []
      for (let i = 0; i < 40; i++) {
        expected.push(`${i}`)
        if (i % 4 === 0) yield* hub.publish("a", `${i}`)
        else if (i % 4 === 1) yield* hub.publish("b", `${i}`)
        else if (i % 4 === 2) yield* hub.broadcast(`${i}`)
        else {
          yield* ada.connection.send(`${i}`)
          yield* hub.send(bob.connection.id, `${i}`)
        }
        if (i % 10 === 9) yield* settle
      }
      assert.deepStrictEqual(yield* ada.peer.received, expected)
      assert.deepStrictEqual(yield* bob.peer.received, expected)
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("joining and leaving take effect at once, among what is published in the same turn", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const ada = yield* HubTest.connect()
      const bob = yield* HubTest.connect()
      yield* settle
      yield* bob.connection.join("a")
      yield* hub.publish("a", "1")
      yield* ada.connection.join("a")
      yield* hub.publish("a", "2")
      yield* hub.publish("a", "not to bob", { except: bob.connection })
      yield* ada.connection.leave("a")
      yield* hub.publish("a", "3")
      yield* settle
      assert.deepStrictEqual(yield* ada.peer.received, ["2", "not to bob"])
      assert.deepStrictEqual(yield* bob.peer.received, ["1", "2", "3"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("while the peer does not read, and after it does", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect({ highWaterMark: 10 })
      yield* settle
      const expected: Array<string> = []
      for (let i = 0; i < 60; i++) {
        if (i % 20 === 5) yield* peer.pauseReading
        if (i % 20 === 15) yield* peer.resumeReading
        expected.push(`message ${i}`)
        assert.isTrue(yield* connection.send(`message ${i}`))
        if (i % 3 === 0) yield* settle
      }
      yield* settle
      assert.deepStrictEqual(yield* peer.received, expected)
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("large and small, text and binary, each as it was sent", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect()
      yield* settle
      const sizes = [0, 1, 125, 126, 127, 65535, 65536, 70000, 3, 200000, 5]
      const texts = sizes.map((size) => "é".repeat(size))
      const bytes = sizes.map((size) => new Uint8Array(size).fill(7))
      yield* Effect.forEach([...texts, ...bytes], (message) => connection.send(message))
      yield* settle
      const received = yield* peer.received
      assert.deepStrictEqual(received.slice(0, sizes.length), texts)
      assert.deepStrictEqual(received.slice(sizes.length), bytes)
      assert.strictEqual((yield* peer.counters).malformed, 0)
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 1048576 }))))

  it.scoped("messages are handled one after the other", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      const { peer } = yield* HubTest.connect({
        handler: (connection) =>
          connection.runForEach((message) =>
            Effect.zipRight(
              Effect.zipRight(Effect.sync(() => log.push(`${message} in`)), Effect.yieldNow()),
              Effect.sync(() => log.push(`${message} out`))
            )
          )
      })
      yield* Effect.forEach(["1", "2", "3"], peer.send)
      yield* settle
      assert.deepStrictEqual(log, ["1 in", "1 out", "2 in", "2 out", "3 in", "3 out"])
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("L8: bounded", () => {
  /** A peer that does not read, whose socket is behind as soon as it holds anything. */
  const stalled = (options?: { readonly greeting?: () => Effect.Effect<void> }) =>
    Effect.gen(function*() {
      const connected = yield* HubTest.connect({ highWaterMark: 1, ...options })
      yield* connected.peer.pauseReading
      yield* settle
      return connected
    })

  const inTurns = (connection: Connection, ...messages: ReadonlyArray<string>) =>
    Effect.forEach(messages, (message) => Effect.zipLeft(connection.send(message), settle))

  it.scoped("an outbox holds its bytes, the frame being added included, and not one more", () =>
    Effect.gen(function*() {
      const full = yield* stalled()
      assert.deepStrictEqual(yield* inTurns(full.connection, frameOf(1200), frameOf(800)), [true, true])
      assert.isTrue(yield* (yield* Hub.Hub).join(full.connection.id, "open"))
      assert.strictEqual(full.transport.bufferedBytes(), 1200)
      const over = yield* stalled()
      assert.deepStrictEqual(yield* inTurns(over.connection, frameOf(1200), frameOf(801)), [true, false])
      yield* over.peer.resumeReading
      assert.deepStrictEqual(yield* over.peer.closed, { code: 1008, reason: "slow consumer" })
      assert.deepStrictEqual(yield* over.peer.received, [frameOf(1200)])
      assert.strictEqual((yield* over.connection.closed).by, "slow-consumer")
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000 }))))

  it.scoped("a frame larger than the outbox is never accepted, even by a peer that reads", () =>
    Effect.gen(function*() {
      const { connection } = yield* HubTest.connect()
      assert.isTrue(yield* connection.send(frameOf(2000)))
      assert.isTrue(yield* connection.send(frameOf(2000)))
      assert.isFalse(yield* connection.send(frameOf(2001)))
      assert.strictEqual((yield* connection.closed).by, "slow-consumer")
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000 }))))

  it.scoped("a slow consumer delays neither the publisher nor the others", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const events = yield* record
      const slow = yield* stalled()
      const quick = yield* HubTest.connect()
      const counts: Array<number> = []
      for (const letter of ["a", "b", "c"]) {
        counts.push(yield* hub.broadcast(frameOf(1000, letter)))
        yield* settle
      }
      assert.deepStrictEqual(counts, [2, 2, 1])
      assert.strictEqual((yield* quick.peer.received).length, 3)
      assert.strictEqual(events.filter((event) => event._tag === "Overflow").length, 1)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* slow.connection.closed).code, 1008)
      assert.strictEqual(yield* hub.size, 1)
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, closeGrace: "1 second" }))))

  it.scoped("drop-newest drops what does not fit, tells once, and keeps the connection", () =>
    Effect.gen(function*() {
      const events = yield* record
      const { connection, peer } = yield* stalled()
      assert.deepStrictEqual(
        yield* inTurns(connection, frameOf(1000, "a"), frameOf(800, "b"), frameOf(201, "c"), frameOf(200, "d")),
        [true, true, false, true]
      )
      yield* inTurns(connection, frameOf(200, "e"))
      assert.strictEqual(events.filter((event) => event._tag === "Overflow").length, 1)
      yield* peer.resumeReading
      yield* settle
      assert.deepStrictEqual(yield* peer.received, [frameOf(1000, "a"), frameOf(800, "b"), frameOf(200, "d")])
      yield* peer.pauseReading
      yield* inTurns(connection, frameOf(2000, "f"), frameOf(2000, "g"))
      assert.strictEqual(events.filter((event) => event._tag === "Overflow").length, 2)
      yield* peer.resumeReading
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, overflow: "drop-newest" }))))

  it.scoped("an overflow is told once each time, whatever overflowed before", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const events = yield* record
      const told = () => events.filter((event) => event._tag === "Overflow").length
      const gate = yield* Effect.makeLatch()
      const { connection, peer } = yield* HubTest.connect({ highWaterMark: 1, greeting: () => gate.await })
      yield* settle
      const sends = (...sizes: ReadonlyArray<number>) =>
        Effect.forEach(sizes, (size) => Effect.zipLeft(hub.send(connection.id, frameOf(size)), settle))
      assert.deepStrictEqual(yield* sends(2000, 3, 3), [true, false, false])
      assert.strictEqual(told(), 1, "while it is greeted")
      yield* Effect.zipRight(gate.open, settle)
      assert.deepStrictEqual(yield* sends(2001, 2001), [false, false])
      assert.strictEqual(told(), 2, "too large")
      yield* peer.pauseReading
      assert.deepStrictEqual(yield* sends(2000, 3, 3), [true, false, false])
      assert.strictEqual(told(), 3, "behind")
      yield* Effect.zipRight(peer.resumeReading, settle)
      assert.deepStrictEqual(yield* sends(2001), [false])
      assert.strictEqual(told(), 4, "too large again")
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, overflow: "drop-newest" }))))

  it.scoped("drop-oldest drops as many of the oldest as it takes, but not what the socket has", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* stalled()
      assert.deepStrictEqual(
        yield* inTurns(
          connection,
          frameOf(800, "a"),
          frameOf(400, "b"),
          frameOf(400, "c"),
          frameOf(400, "d"),
          frameOf(600, "e")
        ),
        [true, true, true, true, true]
      )
      assert.deepStrictEqual(yield* inTurns(connection, frameOf(1201, "f")), [false])
      yield* peer.resumeReading
      yield* settle
      assert.deepStrictEqual(yield* peer.received, [frameOf(800, "a"), frameOf(400, "d"), frameOf(600, "e")])
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, overflow: "drop-oldest" }))))

  it.scoped("conflate keeps the last of each key while the peer is behind, and disconnects if that is too much", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { peer } = yield* stalled()
      const publish = (message: string, key?: string) => Effect.zipLeft(hub.broadcast(message, { key }), settle)
      assert.strictEqual(yield* publish(frameOf(800, "-"), "x"), 1)
      for (const letter of ["a", "b", "c"]) {
        assert.strictEqual(yield* publish(frameOf(400, letter), "x"), 1)
        assert.strictEqual(yield* publish(frameOf(400, letter.toUpperCase()), "y"), 1)
      }
      assert.strictEqual(yield* publish(frameOf(400, "n")), 1)
      yield* peer.resumeReading
      yield* settle
      const received = yield* peer.received
      assert.deepStrictEqual(received, [frameOf(800, "-"), frameOf(400, "c"), frameOf(400, "C"), frameOf(400, "n")])
      // A peer that keeps up gets all of them.
      yield* publish(frameOf(400, "d"), "x")
      yield* publish(frameOf(400, "e"), "x")
      assert.strictEqual((yield* peer.received).length, received.length + 2)
      yield* peer.pauseReading
      for (const key of ["1", "2", "3", "4", "5"]) yield* publish(frameOf(400, key), key)
      assert.strictEqual(yield* publish(frameOf(400), "6"), 0)
      yield* peer.resumeReading
      assert.strictEqual((yield* peer.closed).code, 1008)
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, overflow: "conflate" }))))

  it.scoped("what waits for the greeting is bounded too", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { connection } = yield* HubTest.connect({ greeting: () => Effect.never })
      yield* settle
      assert.strictEqual(yield* hub.broadcast(frameOf(1200)), 1)
      assert.strictEqual(yield* hub.broadcast(frameOf(800)), 1)
      assert.strictEqual(yield* hub.broadcast(frameOf(3)), 0)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* connection.closed).by, "slow-consumer")
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, closeGrace: "1 second" }))))

  it.scoped("drop-oldest, and what waits for the greeting: the newest follows it", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const gate = yield* Effect.makeLatch()
      const { peer } = yield* HubTest.connect({
        greeting: (connection) => Effect.zipRight(gate.await, connection.send("welcome"))
      })
      yield* settle
      for (const letter of ["a", "b", "c", "d"]) {
        assert.strictEqual(yield* hub.broadcast(frameOf(800, letter)), 1)
      }
      assert.strictEqual(yield* hub.broadcast(frameOf(2001)), 0)
      yield* gate.open
      yield* settle
      assert.deepStrictEqual(yield* peer.received, ["welcome", frameOf(800, "c"), frameOf(800, "d")])
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, overflow: "drop-oldest" }))))

  it.scoped("conflate, and what waits for the greeting: the last of each key follows it", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const gate = yield* Effect.makeLatch()
      const { peer } = yield* HubTest.connect({ greeting: () => gate.await })
      yield* settle
      for (const letter of ["a", "b", "c"]) {
        assert.strictEqual(yield* hub.broadcast(frameOf(800, letter), { key: "x" }), 1)
      }
      yield* gate.open
      yield* settle
      assert.deepStrictEqual(yield* peer.received, [frameOf(800, "c")])
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, overflow: "conflate" }))))

  it.scoped("tiny frames that wait are bounded in number, where their bytes would fit", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const behind = yield* stalled()
      yield* inTurns(behind.connection, "what the socket has")
      const greeting = yield* HubTest.connect({ greeting: () => Effect.never })
      yield* settle
      const accepted: Array<number> = []
      for (let i = 0; i < 257; i++) accepted.push(yield* hub.broadcast(""))
      assert.deepStrictEqual(accepted, [...Array.from({ length: 256 }, () => 2), 0])
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* behind.connection.closed).by, "slow-consumer")
      assert.strictEqual((yield* greeting.connection.closed).by, "slow-consumer")
    }).pipe(Effect.provide(HubTest.layer({ outboxBytes: 2000, closeGrace: "1 second" }))))

  it.scoped("a small frame that waits lets go of the memory that it shares with others", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const memory = (frame: Frame.Frame) => frame.bytes.buffer.byteLength
      const [passing, behind, held] = ["passing", "behind", "held"].map((text) => Frame.make(text))
      if (passing === undefined || behind === undefined || held === undefined) return assert.fail("no frames")
      assert.strictEqual(memory(behind), memory(passing))
      assert.isAbove(memory(behind), 1000)
      const slow = yield* stalled()
      yield* Effect.zipRight(hub.broadcast(passing), settle)
      yield* hub.broadcast(behind)
      const gate = yield* Effect.makeLatch()
      const newcomer = yield* HubTest.connect({ greeting: () => gate.await })
      yield* hub.broadcast(held)
      assert.deepStrictEqual([memory(behind), memory(held)], [behind.size, held.size])
      assert.isAbove(memory(passing), 1000)
      yield* gate.open
      yield* slow.peer.resumeReading
      yield* settle
      assert.deepStrictEqual(yield* slow.peer.received, ["passing", "behind", "held"])
      assert.deepStrictEqual(yield* newcomer.peer.received, ["held"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("a full inbox stops reading from that socket, until half of it is taken, and loses nothing", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeLatch()
      const taken: Array<string | Uint8Array> = []
      const { peer } = yield* HubTest.connect({
        overshoot: 1,
        handler: (connection) =>
          connection.runForEach((message) => Effect.zipRight(Effect.sync(() => taken.push(message)), gate.await))
      })
      const other = yield* HubTest.connect({
        handler: (connection) => connection.runForEach((m) => connection.send(m))
      })
      yield* settle
      // 18 characters and 32 of overhead each: two fill it. The handler has taken one.
      const messages = Array.from({ length: 10 }, (_, i) => `message number ${i}`.padEnd(18))
      for (const message of messages.slice(0, 2)) yield* Effect.zipRight(peer.send(message), settle)
      assert.strictEqual((yield* peer.counters).paused, 0)
      yield* Effect.forEach(messages.slice(2), peer.send)
      yield* settle
      assert.strictEqual((yield* peer.counters).paused, 1)
      assert.deepStrictEqual(taken, messages.slice(0, 1))
      yield* other.peer.send("still here")
      assert.strictEqual(yield* other.peer.next, "still here")
      assert.strictEqual((yield* peer.counters).resumed, 0)
      yield* gate.open
      yield* settle
      assert.deepStrictEqual(taken, messages)
      const counters = yield* peer.counters
      assert.isAbove(counters.resumed, 0)
      assert.strictEqual(counters.resumed, counters.paused)
    }).pipe(Effect.provide(HubTest.layer({ inboxBytes: 100 }))))

  it.scoped("and not before", () =>
    Effect.gen(function*() {
      const { connection, peer } = yield* HubTest.connect({ handler: () => Effect.never })
      yield* Effect.forEach(["1", "2", "3", "4", "5"], (n) => peer.send(n.padEnd(18)))
      const resumed = Effect.map(peer.counters, (counters) => counters.resumed)
      // Four of 50 bytes fill it; two are half.
      yield* connection.take
      assert.strictEqual(yield* resumed, 0)
      yield* connection.take
      assert.strictEqual(yield* resumed, 1)
    }).pipe(Effect.provide(HubTest.layer({ inboxBytes: 200 }))))

  it.scoped("a peer over its rate is closed", () =>
    Effect.gen(function*() {
      const taken: Array<unknown> = []
      const { connection, peer } = yield* HubTest.connect({
        handler: (connection) => connection.runForEach((message) => Effect.sync(() => taken.push(message)))
      })
      yield* Effect.forEach([1, 2, 3, 4, 5], (n) => peer.send(`${n}`))
      yield* settle
      assert.strictEqual(taken.length, 5)
      yield* peer.send("too many")
      assert.deepStrictEqual(yield* peer.closed, { code: 1008, reason: "too many messages" })
      assert.strictEqual((yield* connection.closed).by, "rate-limit")
      assert.strictEqual(taken.length, 5)
    }).pipe(Effect.provide(HubTest.layer({ messagesPerSecond: 10, messageBurst: 5 }))))

  it.scoped("or what is too much is dropped, and the bucket fills with time, no higher than the burst", () =>
    Effect.gen(function*() {
      const taken: Array<unknown> = []
      const { peer } = yield* HubTest.connect({
        handler: (connection) => connection.runForEach((message) => Effect.sync(() => taken.push(message)))
      })
      const flood = Effect.zipRight(Effect.forEach(Array.from({ length: 20 }, String), peer.send), settle)
      const passed = Effect.zipRight(flood, Effect.sync(() => taken.splice(0).length))
      assert.strictEqual(yield* passed, 5)
      yield* TestClock.adjust("99 millis")
      assert.strictEqual(yield* passed, 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(yield* passed, 1)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* passed, 5)
    }).pipe(
      Effect.provide(
        HubTest.layer({ messagesPerSecond: 10, messageBurst: 5, rateLimit: "drop", heartbeatInterval: "off" })
      )
    ))

  it.scoped("what a peer sends while the hub does not read is within its rate, though it arrives at once", () =>
    Effect.gen(function*() {
      const gate = yield* Effect.makeLatch()
      let handled = 0
      const { connection, peer } = yield* HubTest.connect({
        handler: (connection) => connection.runForEach(() => Effect.zipRight(gate.await, Effect.sync(() => handled++)))
      })
      const send = (count: number) => Effect.replicateEffect(peer.send("x"), count)
      for (let i = 0; i < 100; i++) yield* Effect.zipRight(send(10), TestClock.adjust("100 millis"))
      assert.strictEqual((yield* peer.counters).paused, 1)
      yield* gate.open
      yield* settle
      assert.strictEqual(handled, 1000)
      // What is left of that is the burst, and no more.
      yield* send(211)
      yield* settle
      assert.strictEqual((yield* connection.closed).by, "rate-limit")
      assert.isAtLeast(handled, 1200)
    }).pipe(
      Effect.provide(
        HubTest.layer({ messagesPerSecond: 100, messageBurst: 200, inboxBytes: 2048, heartbeatInterval: "off" })
      )
    ))

  it.scoped("a step of the wall clock takes nothing from the bucket, and adds nothing", () =>
    Effect.gen(function*() {
      const { context, step } = yield* withWallClock({ messagesPerSecond: 10, messageBurst: 5 })
      const { connection, peer } = yield* Effect.provide(HubTest.connect(), context)
      yield* Effect.forEach(["1", "2", "3"], peer.send)
      yield* step(-hour)
      yield* Effect.forEach(["4", "5"], peer.send)
      yield* settle
      assert.deepStrictEqual(yield* Effect.provide(Effect.flatMap(Hub.Hub, (hub) => hub.size), context), 1)
      yield* step(2 * hour)
      yield* peer.send("too many")
      assert.strictEqual((yield* connection.closed).by, "rate-limit")
    }))

  it.scoped("no more connections than the hub or an address may have", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const here = yield* HubTest.connect({ remoteAddress: "10.0.0.1" })
      yield* HubTest.connect({ remoteAddress: "10.0.0.1" })
      const third = yield* TestTransport.make({ remoteAddress: "10.0.0.1" })
      const refused = yield* Effect.flip(Effect.asVoid(hub.accept(third.transport, () => Effect.never)))
      assert.deepInclude(refused, { _tag: "TooManyConnections", scope: "address", limit: 2 })
      assert.deepStrictEqual(yield* third.peer.closed, { code: 1013, reason: refused.message })
      yield* third.peer.gone
      assert.strictEqual((yield* third.peer.counters).opened, 1)
      assert.deepInclude(yield* Effect.flip(hub.admit(Option.some("10.0.0.1"))), { scope: "address" })
      yield* hub.admit(Option.some("10.0.0.2"))
      yield* HubTest.connect()
      assert.deepInclude(yield* Effect.flip(Effect.asVoid(HubTest.connect())), { scope: "hub", limit: 3 })
      assert.deepInclude(yield* Effect.flip(hub.admit(Option.none())), { scope: "hub" })
      yield* here.peer.close()
      yield* here.connection.closed
      yield* HubTest.connect({ remoteAddress: "10.0.0.1" })
    }).pipe(Effect.provide(HubTest.layer({ connections: 3, connectionsPerAddress: 2 }))))

  describe("heartbeats: a ping after 1000 ms of silence, and 400 ms for the answer", () => {
    const options = { heartbeatInterval: "1 second", heartbeatTimeout: "400 millis", closeGrace: "100 millis" } as const

    it.scoped("a peer that does not answer is closed, not before and not after", () =>
      Effect.gen(function*() {
        const { connection, peer } = yield* HubTest.connect()
        yield* peer.answerPings(false)
        yield* TestClock.adjust("999 millis")
        assert.strictEqual((yield* peer.counters).pings, 0)
        yield* TestClock.adjust("1 millis")
        assert.strictEqual((yield* peer.counters).pings, 1)
        yield* TestClock.adjust("399 millis")
        assert.isFalse(yield* peer.isGone)
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual(yield* peer.closed, { code: 3008, reason: "no answer to ping" })
        assert.strictEqual((yield* connection.closed).by, "heartbeat")
      }).pipe(Effect.provide(HubTest.layer(options))))

    it.scoped("a peer that answers stays, and one that speaks is not asked", () =>
      Effect.gen(function*() {
        const hub = yield* Hub.Hub
        const answers = yield* HubTest.connect()
        const speaks = yield* HubTest.connect()
        yield* speaks.peer.answerPings(false)
        for (let i = 0; i < 20; i++) {
          yield* speaks.peer.send("here")
          yield* TestClock.adjust("500 millis")
        }
        assert.strictEqual(yield* hub.size, 2)
        assert.strictEqual((yield* speaks.peer.counters).pings, 0)
        assert.isAbove((yield* answers.peer.counters).pings, 5)
      }).pipe(Effect.provide(HubTest.layer(options))))

    it.scoped("while the hub does not read from a socket, silence proves nothing", () =>
      Effect.gen(function*() {
        const hub = yield* Hub.Hub
        const { peer } = yield* HubTest.connect({ handler: () => Effect.never })
        yield* Effect.forEach(["x".repeat(60), "x".repeat(60)], peer.send)
        yield* settle
        assert.strictEqual((yield* peer.counters).paused, 1)
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* hub.size, 1)
      }).pipe(Effect.provide(HubTest.layer({ ...options, inboxBytes: 100 }))))

    it.scoped("a peer that reads is there, though its pong is long in coming", () =>
      Effect.gen(function*() {
        const { connection, peer } = yield* HubTest.connect({ highWaterMark: 1 })
        yield* peer.answerPings(false)
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* peer.counters).pings, 1)
        yield* peer.pauseReading
        yield* Effect.zipRight(connection.send("what the pong waits behind"), settle)
        yield* TestClock.adjust("300 millis")
        yield* peer.resumeReading
        yield* settle
        yield* TestClock.adjust("300 millis")
        assert.isFalse(yield* peer.isGone)
        // That was a sign of life, and no more than that.
        yield* TestClock.adjust("2 seconds")
        assert.strictEqual((yield* connection.closed).by, "heartbeat")
        assert.strictEqual((yield* peer.counters).pings, 2)
      }).pipe(Effect.provide(HubTest.layer(options))))

    it.scoped("a step of the wall clock ends nobody, and keeps nobody", () =>
      Effect.gen(function*() {
        const { context, step } = yield* withWallClock(options)
        const { connection, peer } = yield* Effect.provide(HubTest.connect(), context)
        yield* peer.answerPings(false)
        yield* TestClock.adjust("1 second")
        yield* step(hour)
        yield* TestClock.adjust("300 millis")
        assert.isFalse(yield* peer.isGone)
        yield* peer.send("here")
        yield* TestClock.adjust("100 millis")
        assert.isFalse(yield* peer.isGone)
        yield* step(-2 * hour)
        yield* TestClock.adjust("1400 millis")
        assert.strictEqual((yield* connection.closed).by, "heartbeat")
        assert.strictEqual((yield* peer.counters).pings, 2)
      }))

    it.scoped("off: no pings", () =>
      Effect.gen(function*() {
        const { peer } = yield* HubTest.connect()
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* peer.counters).pings, 0)
      }).pipe(Effect.provide(HubTest.layer({ heartbeatInterval: "off" }))))
  })
})

describe("L9: nothing is left", () => {
  const Worst = [
    "reads nothing",
    "does not answer the close frame",
    "has a handler that stalls",
    "has a greeting that stalls",
    "is well"
  ] as const

  it.scoped("the hub closes within deadline and grace, whatever its peers do", () =>
    Effect.gen(function*() {
      const { close, hub } = yield* makeHub({
        drainDeadline: "3 seconds",
        closeGrace: "1 second",
        heartbeatInterval: "off"
      })
      const released: Array<string> = []
      const peers = yield* Effect.forEach(Worst, (name) =>
        Effect.gen(function*() {
          const { peer, transport } = yield* TestTransport.make({ highWaterMark: 1 })
          if (name === "reads nothing") yield* peer.pauseReading
          if (name === "does not answer the close frame") yield* peer.answerClose(false)
          yield* hub.accept(
            transport,
            (connection) =>
              Effect.zipRight(
                Effect.addFinalizer(() => Effect.sync(() => released.push(name))),
                name === "has a handler that stalls" ? Effect.never : connection.runForEach(() => Effect.void)
              ),
            { greeting: () => name === "has a greeting that stalls" ? Effect.never : Effect.void }
          )
          yield* settle
          yield* hub.broadcast("hello")
          return peer
        }))
      const events = yield* Effect.fork(Stream.runCollect(hub.events))
      yield* settle
      yield* hub.broadcast("hello again")
      yield* settle
      const closing = yield* Effect.fork(close)
      yield* TestClock.adjust("4 seconds")
      assert.isTrue(yield* isDone(closing))
      assert.strictEqual(yield* hub.state, "Closed")
      assert.strictEqual(yield* hub.size, 0)
      assert.deepStrictEqual(released.sort(), [...Worst].filter((name) => name !== "has a greeting that stalls").sort())
      for (const peer of peers) {
        assert.isTrue(yield* peer.isGone)
        assert.strictEqual((yield* peer.counters).listeners, 0)
      }
      const states = Array.from(yield* Fiber.join(events)).flatMap((event) =>
        event._tag === "StateChanged" ? [event.state] : []
      )
      assert.deepStrictEqual(states, ["Draining", "Closed"])
      assert.strictEqual(Array.from(yield* Stream.runCollect(hub.events)).length, 0)
    }))

  it.scoped("a drain keeps its pace, tells how many are left, and returns when none is", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const events = yield* record
      const all = yield* Effect.replicateEffect(HubTest.connect(), 5)
      yield* settle
      const draining = yield* Effect.fork(hub.drain)
      const sizes: Array<number> = []
      for (let i = 0; i < 5; i++) {
        yield* settle
        sizes.push(yield* hub.size)
        assert.strictEqual(yield* isDone(draining), i === 4)
        yield* TestClock.adjust("100 millis")
      }
      assert.deepStrictEqual(sizes, [4, 3, 2, 1, 0])
      for (const { peer } of all) {
        assert.deepStrictEqual(yield* peer.closed, { code: 1001, reason: "server is going away" })
      }
      const remaining = events.flatMap((event) => event._tag === "Draining" ? [event.remaining] : [])
      assert.deepStrictEqual(remaining, [5, 4, 3, 2, 1])
    }).pipe(Effect.provide(HubTest.layer({ drainPace: 10, drainDeadline: "1 minute" }))))

  it.scoped("a drain cuts off at its deadline, and not before", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const { connection, peer } = yield* HubTest.connect()
      yield* peer.answerClose(false)
      yield* settle
      const draining = yield* Effect.fork(hub.drain)
      yield* TestClock.adjust("999 millis")
      assert.isFalse(yield* peer.isGone)
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(draining)
      assert.isTrue(yield* peer.isGone)
      assert.strictEqual((yield* connection.closed).by, "drain")
      // A second drain, and one from many fibers, return at once.
      yield* Effect.all([hub.drain, hub.drain], { concurrency: "unbounded" })
    }).pipe(Effect.provide(HubTest.layer({ drainDeadline: "1 second", closeGrace: "1 minute" }))))

  it.scoped("a handler that takes its time is interrupted when it is cut off, whatever its grace", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const over: Array<number> = []
      const handler = () =>
        Effect.onInterrupt(Effect.never, () => Effect.map(Clock.currentTimeMillis, (at) => over.push(at)))
      const { connection, peer } = yield* HubTest.connect({ handler })
      yield* peer.answerClose(false)
      yield* settle
      const drained = yield* Effect.fork(hub.drain)
      yield* settle
      yield* TestClock.adjust("1999 millis")
      assert.deepStrictEqual(over, [])
      yield* TestClock.adjust("1 millis")
      yield* connection.closed
      yield* Fiber.join(drained)
      assert.deepStrictEqual(over, [2000])
    }).pipe(Effect.provide(HubTest.layer({ drainDeadline: "2 seconds", closeGrace: "1 hour" }))))

  it.scoped("what runs before a drain runs before the first connection ends, and may not hold it up", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      yield* HubTest.connect()
      const sizes: Array<number> = []
      const open = Effect.map(hub.connections, (connections) => void sizes.push(connections.length))
      yield* hub.beforeDrain(Effect.zipRight(Effect.sleep("500 millis"), open))
      yield* hub.beforeDrain(Effect.die("told to"))
      yield* Effect.scoped(hub.beforeDrain(Effect.sync(() => sizes.push(-1))))
      const draining = yield* Effect.fork(hub.drain)
      yield* TestClock.adjust("500 millis")
      yield* Fiber.join(draining)
      assert.deepStrictEqual(sizes, [1])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("what is pending is published before some are drained, and joined again for those who stay", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const texts = yield* Coalesce.make<string>({
        window: "1 second",
        combine: (earlier, later) => earlier + later,
        publish: (topic, text) => hub.publish(topic, text)
      })
      const [stays, goes] = [yield* HubTest.connect({ url: "/stay" }), yield* HubTest.connect({ url: "/go" })]
      for (const { connection } of [stays, goes]) yield* connection.join("all")
      yield* settle
      yield* Effect.forEach(["a", "b"], (text) => texts.offer("all", text))
      yield* hub.drainWhere((connection) => connection.handshake.url === "/go")
      assert.deepStrictEqual(yield* goes.peer.received, ["ab"])
      yield* Effect.forEach(["c", "d"], (text) => texts.offer("all", text))
      yield* settle
      assert.deepStrictEqual(yield* stays.peer.received, ["ab"])
      yield* TestClock.adjust("1 second")
      yield* settle
      assert.deepStrictEqual(yield* stays.peer.received, ["ab", "cd"])
    }).pipe(Effect.provide(HubTest.layer())))

  it.scoped("some connections can be drained while the hub stays open", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const stays = yield* HubTest.connect({ url: "/stay" })
      const goes = yield* HubTest.connect({ url: "/go" })
      yield* settle
      yield* hub.drainWhere((connection) => connection.handshake.url === "/go")
      assert.strictEqual((yield* goes.peer.closed).code, 1001)
      assert.deepStrictEqual((yield* hub.connections).map((connection) => connection.id), [stays.connection.id])
      assert.strictEqual(yield* hub.state, "Open")
      yield* HubTest.connect()
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("L10: a newcomer at any time", () => {
  const arrive = (hub: Hub.Hub["Type"], state: "Starting" | "Draining" | "Closed") =>
    Effect.gen(function*() {
      const { peer, transport } = yield* TestTransport.make()
      // Once the hub is closed, nobody is left to wait for a peer that does not answer.
      yield* peer.answerClose(state !== "Closed")
      const error = yield* Effect.flip(Effect.asVoid(hub.accept(transport, () => Effect.die("must not run"))))
      assert.deepInclude(error, { _tag: "HubUnavailable", state })
      assert.deepInclude(yield* Effect.flip(hub.admit(Option.none())), { _tag: "HubUnavailable", state })
      yield* settle
      assert.isTrue(yield* peer.isGone)
      assert.strictEqual((yield* peer.counters).listeners, 0)
      return yield* peer.closed
    })

  it.scoped("is refused before the hub is ready, while it drains and after it closed, and let go of", () =>
    Effect.gen(function*() {
      const ready = yield* Deferred.make<void>()
      const { close, hub } = yield* makeHub({ drainDeadline: "1 second" }, Deferred.await(ready))
      assert.strictEqual((yield* arrive(hub, "Starting")).code, 1001)
      yield* Deferred.succeed(ready, undefined)
      yield* settle
      const { peer, transport } = yield* TestTransport.make()
      const connection = yield* hub.accept(transport, () => Effect.never)
      yield* peer.answerClose(false)
      yield* settle
      const closing = yield* Effect.fork(close)
      yield* settle
      assert.strictEqual((yield* arrive(hub, "Draining")).code, 1001)
      yield* TestClock.adjust("5 seconds")
      yield* Fiber.join(closing)
      assert.strictEqual((yield* connection.closed).by, "drain")
      yield* arrive(hub, "Closed")
      assert.strictEqual(yield* hub.size, 0)
    }))

  it.scoped("the rest of the hub does nothing after it closed, and fails nowhere", () =>
    Effect.gen(function*() {
      const { close, hub } = yield* makeHub()
      const { transport } = yield* TestTransport.make()
      const connection = yield* hub.accept(transport, (connection) => connection.runForEach(() => Effect.void))
      yield* close
      assert.strictEqual(yield* hub.broadcast("late"), 0)
      assert.strictEqual(yield* hub.publish("room", "late"), 0)
      assert.isFalse(yield* hub.send(connection.id, "late"))
      assert.isFalse(yield* hub.close(connection.id))
      assert.strictEqual(yield* hub.closeAll(), 0)
      yield* hub.drain
      yield* hub.drainWhere(() => true)
      assert.deepStrictEqual(yield* hub.topics, [])
    }))
})

describe("L11: one peer's trouble is its own", () => {
  it.scoped("whatever a peer or its handler does, the others are served", () =>
    Effect.gen(function*() {
      const hub = yield* Hub.Hub
      const well = yield* HubTest.connect({ handler: (connection) => connection.runForEach((m) => connection.send(m)) })
      for (const end of ["die", "throw", "unknown", "interrupt"]) {
        const { connection, peer } = yield* HubTest.connect({ handler: (connection) => connection.runForEach(obey) })
        yield* peer.send(end)
        yield* connection.closed
      }
      const hostile: ReadonlyArray<(peer: TestTransport.Peer) => Effect.Effect<void>> = [
        (peer) => peer.reset,
        (peer) => peer.protocolError(),
        (peer) => Effect.zipRight(peer.send("x".repeat(100000)), peer.reset),
        (peer) => Effect.zipRight(peer.close(1000), peer.reset),
        (peer) => Effect.zipRight(peer.pauseReading, peer.close(1000))
      ]
      for (const act of hostile) {
        const { connection, peer } = yield* HubTest.connect()
        yield* act(peer)
        yield* settle
        yield* TestClock.adjust("1 minute")
        yield* connection.closed
      }
      yield* well.peer.send("still here")
      assert.strictEqual(yield* well.peer.next, "still here")
      assert.strictEqual(yield* hub.size, 1)
    }).pipe(Effect.provide(HubTest.layer())))
})

describe("HubConfig: every wrong option is named, at construction", () => {
  const wrong: { readonly [K in keyof HubConfig.HubOptions]-?: ReadonlyArray<unknown> } = {
    messageBytes: [0, -1, 1.5, NaN, Infinity, "1", "off"],
    inboxBytes: [0, -1, 1.5],
    outboxBytes: [0, -1, 1.5],
    overflow: ["drop", "", 0],
    connections: [-1, 1.5, "none", Infinity],
    connectionsPerAddress: [-1, 0.5, "none"],
    handshakeTimeout: ["soon", -1, "100 days", NaN],
    messagesPerSecond: [-1, 0.5, "none"],
    messageBurst: [0, -1, 1.5, "off"],
    rateLimit: ["ignore", ""],
    heartbeatInterval: ["soon", -1, "100 days"],
    heartbeatTimeout: ["soon", -1, "off", 0],
    drainDeadline: ["soon", -1, "off", "100 days"],
    drainPace: [0, -1, 1.5],
    closeGrace: ["soon", -1, "off"]
  }
  const entries = Object.entries(wrong).flatMap(([key, values]) => values.map((value) => [key, value] as const))

  it.each(entries)("%s: %s", (key, value) => {
    const made = HubConfig.make({ [key]: value })
    assert.deepInclude(made._tag === "Left" ? made.left : made, { _tag: "InvalidOption", key, actual: value })
    assert.include(made._tag === "Left" ? made.left.message : "", `${key}: expected`)
  })

  it("an unknown option is named too", () => {
    const made = HubConfig.make(JSON.parse(`{ "messageByte": 1 }`))
    assert.deepInclude(made._tag === "Left" ? made.left : made, { _tag: "InvalidOption", key: "messageByte" })
  })

  it("every option may be undefined, and then takes its default", () => {
    const none = Object.fromEntries(Object.keys(wrong).map((key) => [key, undefined]))
    assert.deepStrictEqual(HubConfig.make(none), HubConfig.make())
  })

  it("0 and off switch off what may be off", () => {
    for (const off of [0, "off"] as const) {
      const made = HubConfig.make({
        connections: off,
        connectionsPerAddress: off,
        handshakeTimeout: off,
        messagesPerSecond: off,
        heartbeatInterval: off
      })
      assert.deepInclude(made._tag === "Right" ? made.right : made, {
        connections: Infinity,
        connectionsPerAddress: Infinity,
        handshakeTimeout: 0,
        messagesPerSecond: Infinity,
        heartbeatInterval: 0
      })
    }
  })

  it.effect("the layer fails with it", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.scoped(Layer.build(Hub.layer({ outboxBytes: 0 }))))
      assert.deepInclude(error, { _tag: "InvalidOption", key: "outboxBytes" })
    }))

  const build = (variables: ReadonlyArray<readonly [string, string]>, options?: HubConfig.HubOptions) =>
    Hub.Hub.pipe(
      Effect.map((hub) => hub.config),
      Effect.provide(Hub.layerConfig(options)),
      Effect.withConfigProvider(ConfigProvider.fromMap(new Map(variables), { pathDelim: "_" }))
    )

  it.effect("from the environment, before the options and the defaults", () =>
    Effect.gen(function*() {
      const config = yield* build(
        [
          ["HUB_OVERFLOW", "drop-oldest"],
          ["HUB_MESSAGE_BYTES", " 1024 "],
          ["HUB_HEARTBEAT_INTERVAL", "off"],
          [
            "HUB_DRAIN_DEADLINE",
            "3 seconds"
          ],
          ["HUB_CONNECTIONS", "0"],
          ["HUB_CLOSE_GRACE", "1500"]
        ],
        { overflow: "conflate", inboxBytes: 4096 }
      )
      assert.deepInclude(config, {
        overflow: "drop-oldest",
        messageBytes: 1024,
        heartbeatInterval: 0,
        drainDeadline: 3000,
        connections: Infinity,
        closeGrace: 1500,
        inboxBytes: 4096,
        outboxBytes: 1048576
      })
    }))

  it.each(Object.keys(wrong))(
    "a wrong value of %s in the environment is named by its variable",
    (key) =>
      Effect.runPromise(Effect.gen(function*() {
        const variable = `HUB_${key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()}`
        const exit = yield* Effect.exit(build([[variable, "wrong value"]]))
        assert.isTrue(Exit.isFailure(exit))
        const text = Exit.isFailure(exit) ? Cause.pretty(exit.cause) : ""
        assert.include(text, "wrong value")
        assert.include(text.replaceAll(/[^A-Z]+/g, ""), variable.replaceAll("_", ""))
      }))
  )
})
