import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Option, Scope, Stream, Supervisor } from "effect"
import { Disconnect, Hub } from "effect-ws-hub"
import { HubTest, TestTransport, withChaos } from "effect-ws-hub/testing"

/** `TEST_LONG=1` tries ten times the seeds; `SEED=…` tries that one alone. */
const long = process.env["TEST_LONG"] === undefined ? 1 : 10
const only = process.env["SEED"]
const seeds = (count: number) =>
  only === undefined ? Array.from({ length: count * long }, (_, i) => i + 1) : [Number(only)]

/** The choices of one seed: whole numbers below `n`. */
const choices = (seed: number) => {
  let state = Math.imul(seed, 2654435761) >>> 0
  return (n: number) => {
    state = Math.imul(state ^ state >>> 15, 2246822519) + 0x9e3779b9 >>> 0
    return (state >>> 8) % n
  }
}

const yields = (n: number) => Effect.repeatN(Effect.yieldNow(), n)

const options = { closeGrace: 20, drainDeadline: 200, connections: 6, heartbeatInterval: "off" } as const

/** One life of a hub under chaos: peers come, speak and leave, their fibers are interrupted, the hub drains and closes. */
const life = (seed: number) =>
  Effect.gen(function*() {
    const pick = choices(seed)
    const supervisor = yield* Supervisor.track
    const held = { acquired: 0, released: 0, started: 0, ended: 0, finalized: 0 }
    const sockets: Array<TestTransport.TestTransport> = []
    const events: Array<Hub.HubEvent> = []
    const scope = yield* Scope.make()
    const hub = yield* Effect.gen(function*() {
      const hub = yield* Scope.extend(Hub.make(options), scope)
      const watching = yield* Effect.fork(
        Stream.runForEach(hub.events, (event) => Effect.sync(() => events.push(event)))
      )
      yield* yields(20)
      const serving = yield* Effect.forEach(Array.from({ length: 8 }, (_, i) => i), (i) =>
        Effect.gen(function*() {
          const socket = yield* TestTransport.make({ highWaterMark: 16 })
          sockets.push(socket)
          if (i === 7) yield* socket.peer.answerClose(false)
          const fate = pick(8)
          const fiber = yield* Effect.fork(hub.serve(
            socket.transport,
            (connection) =>
              Effect.acquireRelease(
                Effect.sync(() => held.acquired++),
                () => Effect.zipRight(yields(pick(3)), Effect.sync(() => held.released++))
              ).pipe(
                Effect.zipRight(Effect.sync(() => held.started++)),
                Effect.zipRight(connection.runForEach((message) =>
                  message === "go"
                    ? fate === 0
                      ? Effect.fail(new Disconnect({ code: 4000 }))
                      : fate === 1
                      ? connection.close()
                      : Effect.void
                    : hub.publish("room", message)
                )),
                Effect.onExit(() => Effect.sync(() => held.ended += held.started > held.ended ? 1 : 0))
              ),
            {
              greeting: (connection) =>
                connection.join("room").pipe(
                  Effect.zipRight(Effect.addFinalizer(() => Effect.sync(() => held.finalized++))),
                  Effect.zipRight(yields(pick(10))),
                  Effect.zipRight(connection.send("welcome"))
                )
            }
          ))
          yield* yields(pick(6))
          return { fiber, peer: socket.peer }
        }))
      for (let i = 0; i < 12; i++) {
        const one = serving[pick(serving.length)]
        if (one === undefined) continue
        yield* [
          one.peer.send("hello"),
          one.peer.send("go"),
          one.peer.close(4001),
          one.peer.reset,
          Fiber.interruptFork(one.fiber),
          hub.publish("room", "news"),
          one.peer.pauseReading,
          one.peer.resumeReading
        ][pick(8)] ?? Effect.void
        yield* yields(pick(8))
      }
      // A drain that is interrupted does not stop, and the hub closes at some point of it.
      const draining = yield* Effect.fork(hub.drain)
      yield* yields(pick(20))
      if (pick(2) === 0) yield* Fiber.interruptFork(draining)
      yield* Effect.uninterruptible(Scope.close(scope, Exit.void))
      yield* Effect.forEach(serving, ({ fiber }) => Fiber.await(fiber))
      yield* Fiber.await(draining)
      yield* Fiber.await(watching)
      return hub
    }).pipe(withChaos(seed), Effect.supervised(supervisor))
    yield* HubTest.settle
    assert.strictEqual(yield* hub.size, 0)
    assert.deepStrictEqual(yield* hub.topics, [])
    assert.strictEqual(yield* hub.state, "Closed")
    for (const { peer } of sockets) {
      const counters = yield* peer.counters
      // Of a serve that was interrupted before it began, the socket is the caller's.
      assert.isTrue(counters.opened === 0 || (yield* peer.isGone), "a socket is left")
      assert.isAtMost(counters.opened, 1)
      assert.isAtMost(counters.closed, 1)
      assert.strictEqual(counters.writesAfterClose, 0)
      assert.strictEqual(counters.listeners, 0)
      const received = yield* peer.received
      assert.isTrue(received.length === 0 || received[0] === "welcome", "a message before the greeting")
    }
    assert.strictEqual(held.acquired, held.released)
    const opened = events.flatMap((event) => event._tag === "Opened" ? [event.connection.id] : [])
    const closed = events.flatMap((event) => event._tag === "Closed" ? [event.connection.id] : [])
    assert.strictEqual(new Set(opened).size, opened.length)
    assert.deepStrictEqual(closed.sort(), opened.sort())
    assert.isAtMost(held.finalized, opened.length)
    assert.deepStrictEqual((yield* supervisor.value).length, 0, "fibers are left")
    return opened.length
  })

/** A hub whose construction or use is interrupted at some point leaves no fiber. */
const birth = (seed: number) =>
  Effect.gen(function*() {
    const supervisor = yield* Supervisor.track
    const built = yield* Effect.fork(
      Effect.scoped(Effect.zipRight(Layer.build(Hub.layer(options)), yields(3))).pipe(withChaos(seed, 0.1))
    ).pipe(Effect.supervised(supervisor))
    yield* yields(seed % 23)
    yield* Fiber.interrupt(built)
    yield* HubTest.settle
    assert.strictEqual((yield* supervisor.value).length, 0)
  })

/** An accept that is interrupted either took the connection, and then the hub has it, or did not. */
const takeOver = (seed: number) =>
  Effect.gen(function*() {
    const hub = yield* Hub.Hub
    const { peer, transport } = yield* TestTransport.make()
    const accepting = yield* Effect.fork(
      hub.accept(transport, (connection) => connection.runForEach(() => Effect.void))
    )
    yield* yields(seed % 5)
    yield* Fiber.interrupt(accepting)
    const { opened } = yield* peer.counters
    assert.strictEqual(yield* hub.size, opened)
    yield* peer.reset
    yield* HubTest.settle
    assert.strictEqual(yield* hub.size, 0)
    return opened
  }).pipe(withChaos(seed, 0.1))

/** When an interrupted serve has returned, nothing is left of its connection. */
const serving = (seed: number) =>
  Effect.gen(function*() {
    const hub = yield* Hub.Hub
    const { peer, transport } = yield* TestTransport.make()
    const fiber = yield* Effect.fork(hub.serve(transport, (connection) => connection.runForEach(() => Effect.void)))
    yield* yields(seed % 9)
    yield* Fiber.interrupt(fiber)
    assert.strictEqual(yield* hub.size, 0)
    const { opened } = yield* peer.counters
    assert.strictEqual(yield* peer.isGone, opened === 1)
    return opened
  }).pipe(withChaos(seed, 0.1))

/** A drain goes on when whoever asked for it is interrupted, at any point. */
const draining = (seed: number) =>
  Effect.gen(function*() {
    const hub = yield* Hub.Hub
    const { connection } = yield* HubTest.connect()
    const fiber = yield* Effect.fork(hub.drain)
    yield* yields(seed % 15)
    yield* Fiber.interrupt(fiber)
    if ((yield* hub.state) === "Open") return 0
    assert.strictEqual((yield* connection.closed).by, "drain")
    yield* hub.drain
    assert.strictEqual(yield* hub.size, 0)
    return 1
  }).pipe(withChaos(seed, 0.1))

/** Waiting for a message, or for the end of a connection, leaves nothing behind when it is given up. */
const waiting = (seed: number) =>
  Effect.gen(function*() {
    const pick = choices(seed)
    const taken: Array<string | Uint8Array> = []
    const { connection, peer } = yield* HubTest.connect({ handler: () => Effect.never })
    for (let i = 0; i < 10; i++) {
      const waiters = yield* Effect.replicateEffect(
        Effect.fork(Effect.tap(connection.take, (message) => Effect.sync(() => taken.push(message)))),
        1
      )
      yield* yields(pick(6))
      yield* peer.send(`${i}`)
      yield* yields(pick(4))
      yield* Fiber.interruptAll(waiters)
      yield* HubTest.settle
    }
    // What an interrupted reader did not take is still there, in order, but for the one it had in its hand.
    const left: Array<string | Uint8Array> = []
    for (;;) {
      const next = yield* Effect.timeoutOption(connection.take, 5)
      if (Option.isNone(next)) break
      left.push(next.value)
    }
    const all = [...taken, ...left].map(Number)
    assert.deepStrictEqual(all, [...all].sort((a, b) => a - b))
    yield* connection.close()
    yield* connection.closed
  }).pipe(Effect.provide(HubTest.layer(options)), withChaos(seed))

describe("L12: an interrupt anywhere leaves every law true", () => {
  const each = <E>(count: number, run: (seed: number) => Effect.Effect<unknown, E>) =>
    Effect.forEach(
      seeds(count),
      (seed) =>
        run(seed).pipe(
          Effect.timeout("20 seconds"),
          Effect.catchAllCause((cause) => Effect.die(new Error(`SEED=${seed}: ${String(cause)}`)))
        )
    )

  it.live("while peers come and go and the hub drains and closes", () =>
    Effect.gen(function*() {
      const opened = yield* each(400, life)
      assert.isTrue(opened.some((count) => Number(count) > 4))
    }))

  it.live("while the hub is built", () => each(300, birth))

  it.live("while a connection is handed over", () =>
    Effect.gen(function*() {
      const opened = yield* each(300, (seed) => Effect.provide(takeOver(seed), HubTest.layer(options)))
      if (only === undefined) assert.sameMembers([...new Set(opened)], [0, 1])
    }))

  it.live("while a connection is served", () =>
    Effect.gen(function*() {
      const opened = yield* each(300, (seed) => Effect.provide(serving(seed), HubTest.layer(options)))
      if (only === undefined) assert.sameMembers([...new Set(opened)], [0, 1])
    }))

  it.live("while the hub drains", () =>
    Effect.gen(function*() {
      const drained = yield* each(200, (seed) => Effect.provide(draining(seed), HubTest.layer(options)))
      if (only === undefined) assert.include(drained, 1)
    }))

  it.live("while something is waited for", () => each(40, waiting))
})
