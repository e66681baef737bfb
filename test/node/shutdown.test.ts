import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { type Child, connect, eventually, handshake, type Peer, raw, rawOpen, spawnServer } from "./support.js"

const deadline = 8000
const closeGrace = 500
const hub = { drainDeadline: deadline, closeGrace }

const orders = [false, true].flatMap((httpOutside) => [false, true].map((plain) => ({ httpOutside, plain })))
const straight = [false, true].map((httpOutside) => ({ httpOutside, plain: false, straight: true }))

const nameOf = (
  { httpOutside, plain, straight }: {
    readonly httpOutside: boolean
    readonly plain: boolean
    readonly straight?: boolean
  }
) =>
  `${plain ? "server of Node" : straight === true ? "straight at the guard" : "guard"} ${
    httpOutside ? "outside" : "inside"
  } of the hub`

/** Signals, and expects that the process ends as it should and when it should. */
const stops = (child: Child, signal: "SIGTERM" | "SIGINT", within = deadline + closeGrace) =>
  Effect.gen(function*() {
    const begin = performance.now()
    yield* child.kill(signal)
    assert.deepStrictEqual(yield* child.exit, { code: 0, signal: null }, child.output)
    assert.isBelow(performance.now() - begin, within)
  })

/** One command of the protocol of channels, and its reply. */
const asks = (peer: Peer, command: object): Effect.Effect<unknown> =>
  Effect.map(peer.ask(JSON.stringify(command)), (reply): unknown => JSON.parse(reply.toString()))

const messages = Array.from({ length: 30 }, (_, n) => `${n} ${"x".repeat(n * 50)}`)

describe("SIGTERM with a thousand connections", () => {
  for (const options of orders) {
    it.scopedLive(nameOf(options), () =>
      Effect.gen(function*() {
        const child = yield* spawnServer({ ...options, hub })
        const url = child.url("/all")
        const peers = yield* Effect.forEach(Array.from({ length: 999 }), () => connect(url), { concurrency: 50 })
        const publisher = yield* connect(url)
        for (const peer of [...peers, publisher]) assert.strictEqual(yield* peer.next, "joined")
        for (const message of messages) yield* publisher.send(message)
        yield* publisher.take(messages.length)
        yield* stops(child, "SIGTERM")
        for (const peer of peers) {
          assert.deepStrictEqual(yield* peer.rest, messages)
          assert.strictEqual((yield* peer.closed).code, 1001)
        }
        assert.strictEqual((yield* publisher.closed).code, 1001)
      }))
  }
})

describe("SIGTERM", () => {
  for (const options of [...orders, ...straight]) {
    it.scopedLive(`with peers that ignore the close frame, and handshakes under way: ${nameOf(options)}`, () =>
      Effect.gen(function*() {
        const child = yield* spawnServer({ ...options, hub })
        const mute = yield* Effect.replicateEffect(rawOpen(child, "/all"), 20)
        for (const peer of mute) yield* eventually(() => peer.frames.length === 1)
        const polite = yield* connect(child.url("/echo"))
        assert.strictEqual(yield* polite.ask("here"), "here")
        const authorising = yield* raw(child.port)
        yield* authorising.send(handshake("/slow"))
        yield* child.says("slow")
        if (!options.plain) {
          // Still in front of our route: only the guard lets go of a peer that is refused there and stays half-open.
          const hesitating = yield* raw(child.port)
          yield* hesitating.send(handshake("/mind"))
          yield* child.says("mind")
        }
        yield* stops(child, "SIGTERM")
        assert.strictEqual((yield* polite.closed).code, 1001)
        for (const peer of mute) {
          yield* eventually(() => peer.socket.readableEnded || peer.gone)
          assert.strictEqual(peer.closeCode, 1001)
        }
        assert.strictEqual(authorising.status, 503, authorising.text)
        assert.match(authorising.text, /\r\nretry-after: 1\r\n/i)
        assert.strictEqual(authorising.body, "The server is going away. Try again later.")
      }))
  }

  it.scopedLive("does not wait for a request that is half sent, nor for one that is idle (guard)", () =>
    Effect.gen(function*() {
      const child = yield* spawnServer({ hub })
      const half = yield* raw(child.port)
      yield* half.send(handshake("/echo").slice(0, 40))
      const idle = yield* raw(child.port)
      yield* idle.send("GET /facts HTTP/1.1\r\nHost: x\r\n\r\n")
      yield* idle.answered
      const silent = yield* raw(child.port)
      yield* stops(child, "SIGTERM")
      yield* eventually(() => [half, idle, silent].every((peer) => peer.socket.readableEnded || peer.gone))
    }))

  it.scopedLive("paces the end of many, within the deadline", () =>
    Effect.gen(function*() {
      const child = yield* spawnServer({ hub: { ...hub, drainDeadline: 4000, drainPace: 100 } })
      const peers = yield* Effect.replicateEffect(connect(child.url("/echo")), 60)
      yield* stops(child, "SIGTERM")
      for (const peer of peers) assert.strictEqual((yield* peer.closed).code, 1001)
    }))

  it.scopedLive("a second one ends the process at once", () =>
    Effect.gen(function*() {
      const child = yield* spawnServer({ hub: { drainDeadline: 600_000, closeGrace: 600_000 } })
      const mute = yield* rawOpen(child, "/all")
      yield* child.kill("SIGTERM")
      yield* eventually(() => mute.closeCode === 1001)
      yield* child.kill("SIGTERM")
      const { code, signal } = yield* child.exit
      assert.isTrue(signal === "SIGTERM" || code === 143, `${code} ${signal}`)
    }))

  it.scopedLive("while peers come and go", () =>
    Effect.gen(function*() {
      const child = yield* spawnServer({ hub })
      const coming = yield* Effect.fork(Effect.forever(Effect.scoped(Effect.gen(function*() {
        const peer = yield* raw(child.port)
        yield* peer.send(handshake("/echo"))
        yield* eventually(() => peer.text.length > 0 || peer.gone)
      }))))
      const steady = yield* connect(child.url("/echo"))
      yield* steady.ask("under way")
      yield* stops(child, "SIGTERM")
      yield* Fiber.interrupt(coming)
    }))
})

// They wait for most of their time: beside each other.
describe.concurrent("SIGTERM, with a handler, a peer, an authorisation and something before the drain that never end", () => {
  const hub = { drainDeadline: 6000, closeGrace: 500 }

  for (const options of [...orders.filter(({ plain }) => !plain), ...straight]) {
    it.scopedLive(nameOf(options), () =>
      Effect.gen(function*() {
        const child = yield* spawnServer({ ...options, hub, stuck: true })
        const mute = yield* Effect.replicateEffect(rawOpen(child, "/never"), 5)
        for (const peer of mute) yield* eventually(() => peer.frames.length === 1)
        const polite = yield* connect(child.url("/never"))
        assert.strictEqual(yield* polite.next, "never")
        const authorising = yield* raw(child.port)
        yield* authorising.send(handshake("/slow"))
        yield* child.says("slow")
        // A mount and the hub drain one after the other, and what is cut off has some time.
        yield* stops(child, "SIGTERM", 2 * hub.drainDeadline + hub.closeGrace)
        assert.strictEqual((yield* polite.closed).code, 1001)
        for (const peer of mute) {
          yield* eventually(() => peer.socket.readableEnded || peer.gone)
          assert.strictEqual(peer.closeCode, 1001)
        }
      }))
  }
})

describe("SIGTERM delivers what was published before, and waits to be joined with more", () => {
  for (const options of [...orders, ...straight]) {
    it.scopedLive(nameOf(options), () =>
      Effect.gen(function*() {
        const child = yield* spawnServer({ ...options, hub })
        const join = Effect.tap(connect(child.url("/joining")), (peer) => peer.next)
        const peers = yield* Effect.replicateEffect(join, 20)
        const subscribe = Effect.gen(function*() {
          const peer = yield* connect(child.url("/channels"))
          yield* asks(peer, { id: 1, connect: {} })
          assert.deepStrictEqual(yield* asks(peer, { id: 2, subscribe: { channel: "news" } }), { id: 2, subscribe: {} })
          return peer
        })
        const subscribers = yield* Effect.replicateEffect(subscribe, 20)
        const publisher = yield* join
        for (const message of ["1", "2", "3"]) assert.strictEqual(yield* publisher.ask(message), "offered")
        const client = yield* subscribe
        for (const data of ["old", "new"]) {
          const reply = yield* asks(client, { id: 3, publish: { channel: "news", data } })
          assert.deepStrictEqual(reply, { id: 3, publish: {} })
        }
        yield* stops(child, "SIGTERM")
        for (const peer of [...peers, publisher]) {
          assert.deepStrictEqual(yield* peer.rest, ["1 2 3"])
          assert.strictEqual((yield* peer.closed).code, 1001)
        }
        for (const peer of [...subscribers, client]) {
          const pushes = (yield* peer.rest).map((frame) => JSON.parse(frame.toString()))
          assert.deepStrictEqual(pushes.map(({ push }) => [push.channel, push.pub.data]), [["news", "new"]])
          assert.strictEqual((yield* peer.closed).code, 3001)
        }
      }))
  }
})

describe("SIGINT", () => {
  it.scopedLive("is like SIGTERM", () =>
    Effect.gen(function*() {
      const child = yield* spawnServer({ hub })
      const peers = yield* Effect.replicateEffect(connect(child.url("/echo")), 20)
      yield* stops(child, "SIGINT")
      for (const peer of peers) assert.strictEqual((yield* peer.closed).code, 1001)
    }))
})
