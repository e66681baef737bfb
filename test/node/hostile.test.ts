import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import { assert, describe, it } from "@effect/vitest"
import { type Connection, Hub, HubMetrics, NodeUpgrade } from "effect-ws-hub"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import { deflateRawSync } from "node:zlib"
import {
  type Answer,
  closePayload,
  connect,
  echo,
  eventually,
  eventuallyEffect,
  everyone,
  frame,
  handshake,
  holds,
  opcode,
  openSockets,
  type Peer,
  raw,
  rawOpen,
  type RawPeer,
  refusals,
  serve,
  serveGuard,
  type ServeOptions,
  type Server,
  spawnServer
} from "./support.js"

// --- what every attack leaves behind: nothing

const deflate = NodeUpgrade.layer("/deflate", {
  compression: true,
  handler: (connection) => connection.runForEach((message) => connection.send(message))
})

/** Authorisations under way at `/slow`, which takes for ever. */
let authorising = 0
const slow = {
  authorize: () =>
    Effect.acquireUseRelease(
      Effect.sync(() => authorising++),
      () => Effect.never,
      () => Effect.sync(() => authorising--)
    ),
  handler: () => Effect.void
}
const slowly = NodeUpgrade.layer("/slow", slow)

const stuck = NodeUpgrade.layer("/stuck", {
  handler: (connection) => Effect.zipRight(connection.take, Effect.never)
})

/** Requests under way at `/waits`, which is not answered. */
let waiting = 0
const waits = HttpLayerRouter.add(
  "GET",
  "/waits",
  Effect.acquireUseRelease(
    Effect.sync(() => waiting++),
    () => Effect.never,
    () => Effect.sync(() => waiting--)
  )
)

/** Says something all the time, compressed. */
const chatty = NodeUpgrade.layer("/chatty", {
  compression: true,
  handler: (connection) => Effect.forever(Effect.zipRight(connection.send("tick"), Effect.sleep(5)))
})

const straight = Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) => {
  const echoes = (connection: Connection) => connection.runForEach((message) => connection.send(message))
  return Layer.mergeAll(
    NodeUpgrade.layerGuard("/echo", { handler: echoes }),
    NodeUpgrade.layerGuard("/deflate", { compression: true, handler: echoes }),
    NodeUpgrade.layerGuard("/all", {
      handler: (connection) => connection.runForEach((message) => hub.broadcast(message))
    }),
    NodeUpgrade.layerGuard("/slow", slow),
    HttpLayerRouter.serve(waits, { disableLogger: true, disableListenLog: true })
  )
}))

const routes = Layer.mergeAll(echo, everyone, deflate, slowly, stuck, waits, chatty)

type Attack = (server: Server, bystander: Peer) => Effect.Effect<void, Answer, Scope.Scope>

/**
 * Serves somebody, lets the attack run beside, and finds everything as it was: the registry, the sockets, and the same
 * peer and a new one served. An uncaught exception or an unhandled rejection fails the run of vitest.
 */
const survives = (attack: Attack, options: ServeOptions & { readonly straight?: boolean } = {}) =>
  Effect.gen(function*() {
    const server = yield* options.straight === true ? serveGuard(straight, options) : serve(routes, options)
    const bystander = yield* connect(server.url("/echo"))
    assert.strictEqual(yield* bystander.ask("before"), "before")
    const sockets = openSockets()
    yield* Effect.scoped(attack(server, bystander))
    yield* letGo(server)
    yield* eventually(() => openSockets() === sockets)
    assert.strictEqual(yield* bystander.ask("after"), "after")
    yield* Effect.scoped(Effect.gen(function*() {
      const newcomer = yield* connect(server.url("/echo"))
      assert.strictEqual(yield* newcomer.ask("hello"), "hello")
      yield* newcomer.close()
    }))
    assert.deepStrictEqual(yield* bystander.close(), { code: 1000, reason: "" })
    yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 0))
    yield* eventuallyEffect(holds(server, 0))
  })

/** The server has nobody but the bystander, whether or not the hostile peer lets go of its own side. */
const letGo = (server: Server) =>
  Effect.zipRight(
    eventuallyEffect(Effect.map(server.hub.size, (size) => size === 1)),
    eventuallyEffect(holds(server, 1))
  )

const kinds: ReadonlyArray<[string, ServeOptions & { readonly straight?: boolean }]> = [
  ["guard", {}],
  ["server of Node", { plain: true }],
  ["straight at the guard", { straight: true }]
]

describe("a reset", () => {
  const phases: Record<string, (server: Server) => Effect.Effect<RawPeer, never, Scope.Scope>> = {
    "before the headers": (server) => raw(server.port),
    "within the headers": (server) =>
      Effect.tap(raw(server.port), (peer) => peer.send(handshake("/echo").slice(0, 60))),
    "together with the handshake": (server) => Effect.tap(raw(server.port), (peer) => peer.send(handshake("/echo"))),
    "during authorisation": (server) =>
      Effect.gen(function*() {
        const before = authorising
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/slow"))
        yield* eventually(() => authorising > before)
        return peer
      }),
    "right after 101": (server) => rawOpen(server, "/echo"),
    "within a frame": (server) =>
      Effect.tap(rawOpen(server, "/echo"), (peer) => peer.send(frame(opcode.text, "half", { length: 4000 }))),
    "between fragments": (server) =>
      Effect.tap(rawOpen(server, "/echo"), (peer) => peer.send(frame(opcode.text, "half", { fin: false }))),
    "after messages that are being answered": (server) =>
      Effect.tap(
        rawOpen(server, "/echo"),
        (peer) => peer.send(Buffer.concat(Array.from({ length: 500 }, () => frame(opcode.text, "x".repeat(500)))))
      ),
    "within compressed messages": (server) =>
      Effect.gen(function*() {
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/deflate", { "Sec-WebSocket-Extensions": "permessage-deflate" }))
        yield* peer.answered
        const message = frame(opcode.binary, deflateRawSync(randomBytes(50_000)), { rsv: 4 })
        for (let n = 0; n < 20; n++) yield* peer.send(message)
        return peer
      }),
    "after its close frame": (server) =>
      Effect.tap(rawOpen(server, "/echo"), (peer) => peer.send(frame(opcode.close, closePayload(1000))))
  }

  for (const [phase, reach] of Object.entries(phases)) {
    for (const [kind, options] of kinds) {
      it.scopedLive(`${phase} (${kind})`, () =>
        survives((server) =>
          Effect.gen(function*() {
            const peers = yield* Effect.replicateEffect(reach(server), 10)
            for (const peer of peers) yield* peer.reset
            yield* letGo(server)
            yield* eventually(() => authorising === 0)
          }), options))
    }
  }

  it.scopedLive("of a thousand at once", () =>
    survives((server, bystander) =>
      Effect.gen(function*() {
        const peers = yield* Effect.forEach(Array.from({ length: 1000 }), () => rawOpen(server, "/all"), {
          concurrency: 50
        })
        assert.strictEqual(yield* server.hub.size, 1001)
        yield* Effect.sync(() => {
          for (const peer of peers) peer.socket.resetAndDestroy()
        })
        yield* server.hub.broadcast("to whoever is left")
        assert.strictEqual(yield* bystander.next, "to whoever is left")
        yield* letGo(server)
      })
    ))

  it.scopedLive("that comes while the inbox is full and the handler is stuck", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* rawOpen(server, "/stuck")
        const received = Effect.map(Metric.value(HubMetrics.messagesIn), ({ count }) => count)
        const before = yield* received
        for (let n = 0; n < 100; n++) yield* peer.send(frame(opcode.binary, new Uint8Array(60_000)))
        // The first is with the handler, and the second is more than the inbox holds.
        yield* eventuallyEffect(Effect.map(received, (count) => count >= before + 2))
        yield* peer.reset
        yield* letGo(server)
      }), { hub: { inboxBytes: 1024, heartbeatInterval: 50, heartbeatTimeout: 50, closeGrace: 50 } }))
})

describe("a handshake that is refused leaves no descriptor and no connection", () => {
  const wrong: ReadonlyArray<readonly [string, number, string]> = [
    ["another version", 426, handshake("/echo", { "Sec-WebSocket-Version": "8" })],
    ["no version", 426, handshake("/echo", { "Sec-WebSocket-Version": undefined })],
    ["no key", 400, handshake("/echo", { "Sec-WebSocket-Key": undefined })],
    ["a key that is none", 400, handshake("/echo", { "Sec-WebSocket-Key": "short" })],
    ["no host", 400, handshake("/echo", { Host: undefined })],
    ["another origin", 403, handshake("/echo", { Origin: "https://evil.example" })],
    ["subprotocols that are none", 400, handshake("/echo", { "Sec-WebSocket-Protocol": "," })],
    ["extensions that are none", 400, handshake("/deflate", { "Sec-WebSocket-Extensions": "=" })],
    ["no HTTP", 400, "HELLO\r\n\r\n"]
  ]
  for (const [name, status, text] of wrong) {
    for (const [kind, options] of kinds) {
      it.scopedLive(`${name}: ${status} (${kind})`, () =>
        survives((server) =>
          Effect.gen(function*() {
            const ours = openSockets()
            for (let n = 0; n < 10; n++) {
              const peer = yield* raw(server.port)
              yield* peer.send(text)
              yield* eventually(() => peer.socket.readableEnded)
              assert.strictEqual(peer.status, status)
            }
            assert.strictEqual(yield* server.hub.size, 1)
            yield* letGo(server)
            // These ends are open still; the server's own are not.
            yield* eventually(() => openSockets() === ours + 10)
          }), options))
    }
  }
})

describe("an upgrade that does not wait for the answer to an earlier request is let go of", () => {
  for (const [kind, options] of kinds) {
    // What a server of Node has no mount for, nobody sees in time.
    for (const path of options.plain === true ? ["/echo", "/slow"] : ["/echo", "/slow", "/nothing"]) {
      it.scopedLive(`at ${path} (${kind})`, () =>
        Effect.gen(function*() {
          const counts = yield* refusals(survives((server) =>
            Effect.gen(function*() {
              const peer = yield* raw(server.port)
              yield* peer.send(`GET /waits HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n${handshake(path)}`)
              yield* eventually(() => peer.socket.readableEnded)
              assert.strictEqual(peer.text, "")
              yield* eventually(() => waiting === 0)
              assert.strictEqual(authorising, 0)
              yield* letGo(server)
            }), options))
          assert.deepStrictEqual(counts, { malformed: 1 })
        }))
    }

    it.scopedLive(`and one that does wait is served (${kind})`, () =>
      survives((server) =>
        Effect.gen(function*() {
          const peer = yield* raw(server.port)
          yield* peer.send("GET /elsewhere HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
          yield* peer.answered
          assert.strictEqual(peer.status, 404)
          peer.received = Buffer.alloc(0)
          yield* peer.send(handshake("/echo"))
          yield* peer.answered
          assert.strictEqual(peer.status, 101)
        }), options))
  }
})

describe("frames that break the protocol", () => {
  const text = (payload: string, fin = true) => frame(opcode.text, payload, { fin })
  const more = (payload: string | Uint8Array, fin: boolean) => frame(opcode.continuation, payload, { fin })
  const broken: ReadonlyArray<readonly [string, number, Uint8Array | ReadonlyArray<Uint8Array>]> = [
    ["not masked", 1002, frame(opcode.text, "plain", { masked: false })],
    ...[1, 2, 4].map((rsv) => [`reserved bit ${rsv}`, 1002, frame(opcode.text, "x", { rsv })] as const),
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((code) => [`reserved opcode ${code}`, 1002, frame(code, "x")] as const),
    ["a ping in fragments", 1002, frame(opcode.ping, "x", { fin: false })],
    ["a close frame in fragments", 1002, frame(opcode.close, closePayload(1000), { fin: false })],
    ["a ping of 126 bytes", 1002, frame(opcode.ping, "x".repeat(126))],
    ["a close frame of 126 bytes", 1002, frame(opcode.close, closePayload(1000, "x".repeat(124)))],
    ["a continuation of nothing", 1002, more("x", true)],
    ["a message within a message", 1002, [text("a", false), text("b")]],
    ["text that is not UTF-8", 1007, frame(opcode.text, Uint8Array.of(0x61, 0xff))],
    ["text that ends within a character", 1007, [
      frame(opcode.text, Uint8Array.of(0xe2), { fin: false }),
      more("x", true)
    ]],
    ["a close reason that is not UTF-8", 1007, frame(opcode.close, closePayload(1000, Uint8Array.of(0xff)))],
    ["a close code of one byte", 1002, frame(opcode.close, Uint8Array.of(3))],
    ...[0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535].map(
      (code) => [`close code ${code}`, 1002, frame(opcode.close, closePayload(code))] as const
    ),
    ["a length over the limit, and nothing more", 1009, frame(opcode.binary, "", { length: 65_537 })],
    ["a length of 2^53", 1009, frame(opcode.binary, "", { length: 2 ** 53 })],
    ["fragments over the limit together", 1009, [text("x".repeat(65_000), false), more("x".repeat(537), false)]],
    ["fragments without end", 1008, [text("", false), ...Array.from({ length: 17_000 }, () => more("", false))]]
  ]

  for (const [name, code, bytes] of broken) {
    it.scopedLive(`${name}: ${code}`, () =>
      survives((server) =>
        Effect.gen(function*() {
          const peer = yield* rawOpen(server, "/echo")
          const connection = (yield* server.hub.connections).at(-1)
          yield* peer.send(bytes instanceof Uint8Array ? bytes : Buffer.concat(bytes))
          yield* eventually(() => peer.closeCode !== undefined)
          assert.strictEqual(peer.closeCode, code)
          // Refused, and let go of although this side neither answers nor ends.
          yield* letGo(server)
          const reason = yield* connection?.closed ?? Effect.dieMessage("was not registered")
          assert.strictEqual(reason.code, code)
          assert.strictEqual(reason.by, "protocol")
        }), { hub: { closeGrace: 50 } }))
  }

  const compressed = (payload: Uint8Array, code: number) =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/deflate", { "Sec-WebSocket-Extensions": "permessage-deflate" }))
        yield* peer.answered
        const connection = (yield* server.hub.connections).at(-1)
        yield* peer.send(frame(opcode.binary, payload, { rsv: 4 }))
        yield* eventually(() => peer.closeCode !== undefined)
        assert.strictEqual(peer.closeCode, code)
        yield* letGo(server)
        const reason = yield* connection?.closed ?? Effect.dieMessage("was not registered")
        assert.strictEqual(reason.code, code)
        assert.strictEqual(reason.by, "protocol")
      }), { hub: { closeGrace: 50 } })

  it.scopedLive("a small frame that inflates to 20 MB: 1009", () =>
    compressed(deflateRawSync(Buffer.alloc(20_000_000)), 1009))

  it.scopedLive("a compressed message of a byte over the limit: 1009; one of the limit is taken", () =>
    Effect.zipRight(
      survives((server) =>
        Effect.gen(function*() {
          const peer = yield* raw(server.port)
          yield* peer.send(handshake("/deflate", { "Sec-WebSocket-Extensions": "permessage-deflate" }))
          yield* peer.answered
          yield* peer.send(frame(opcode.binary, deflateRawSync(Buffer.alloc(65536)), { rsv: 4 }))
          yield* eventually(() => peer.frames.length === 1)
          assert.strictEqual(peer.frames[0]?.opcode, opcode.binary)
          assert.isUndefined(peer.closeCode)
        })
      ),
      compressed(deflateRawSync(Buffer.alloc(65537)), 1009)
    ))

  it.scopedLive("a compressed message that is none: 1007", () => compressed(Buffer.alloc(100, 0xff), 1007))
})

describe("a peer that stays silent", () => {
  it.scopedLive("headers that trickle are refused with 408 by the guard", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/echo").slice(0, -2) + "X-More: ")
        while (!peer.socket.readableEnded) {
          const answer = peer.received.length
          yield* peer.send("x")
          yield* Effect.raceFirst(eventually(() => peer.received.length > answer), Effect.sleep(10))
        }
        assert.strictEqual(peer.status, 408)
        yield* letGo(server)
      }), { guard: { headersTimeout: 150 } }))

  it.scopedLive("a connection that says nothing is closed by the guard", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* raw(server.port)
        yield* eventually(() => peer.socket.readableEnded)
        yield* letGo(server)
      }), { guard: { headersTimeout: 150 } }))

  it.scopedLive("a refused peer that stays half-open is let go of", () =>
    survives((server) =>
      Effect.gen(function*() {
        for (const text of [handshake("/echo", { Origin: "https://evil.example" }), handshake("/nothing")]) {
          const peer = yield* raw(server.port)
          yield* peer.send(text)
          yield* peer.answered
          yield* letGo(server)
        }
      })
    ))

  it.scopedLive("a peer that leaves without a close frame", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* rawOpen(server, "/echo")
        peer.socket.end(frame(opcode.text, "last words"))
        yield* peer.closed
        assert.strictEqual(peer.frames[0]?.payload.toString(), "last words")
        yield* letGo(server)
      })
    ))

  it.scopedLive("a peer that does not answer pings is closed with 3008, and one that does is not", () =>
    survives((server) =>
      Effect.gen(function*() {
        const lively = yield* connect(server.url("/echo"))
        let pings = 0
        lively.ws.on("ping", () => pings++)
        const peer = yield* rawOpen(server, "/echo")
        yield* eventually(() => peer.closeCode !== undefined)
        assert.strictEqual(peer.closeCode, 3008)
        assert.strictEqual(peer.frames[0]?.opcode, opcode.ping)
        yield* eventually(() => pings >= 5)
        assert.strictEqual(yield* lively.ask("alive"), "alive")
        yield* lively.close()
        yield* letGo(server)
      }), { hub: { heartbeatInterval: 100, heartbeatTimeout: 400, closeGrace: 50 } }))

  it.scopedLive("nor one that is told something all the time, if that is compressed", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/chatty", { "Sec-WebSocket-Extensions": "permessage-deflate" }))
        yield* peer.answered
        const connection = (yield* server.hub.connections).at(-1)
        yield* eventually(() => peer.closeCode !== undefined)
        assert.strictEqual(peer.closeCode, 3008)
        assert.isAbove(peer.frames.filter((one) => one.opcode === opcode.text).length, 10)
        assert.strictEqual((yield* connection?.closed ?? Effect.dieMessage("was not registered")).by, "heartbeat")
        yield* letGo(server)
      }), { hub: { heartbeatInterval: 50, heartbeatTimeout: 100, closeGrace: 50 } }))

  it.scopedLive("a peer that does not answer the close frame is cut off after the grace", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* rawOpen(server, "/echo")
        const connection = (yield* server.hub.connections).at(-1)
        yield* connection?.close({ code: 4000, reason: "go" }) ?? Effect.dieMessage("was not registered")
        yield* eventually(() => peer.closeCode === 4000)
        yield* letGo(server)
      }), { hub: { closeGrace: 50 } }))
})

describe("a peer that says something and closes at once", () => {
  it.scopedLive("is told nothing behind the close frame that answers its own, and that is counted", () =>
    survives((server, bystander) =>
      Effect.gen(function*() {
        const undelivered = Effect.map(Metric.value(HubMetrics.undelivered("out")), ({ count }) => count)
        const before = yield* undelivered
        const peer = yield* rawOpen(server, "/all")
        yield* peer.send(Buffer.concat([frame(opcode.text, "last"), frame(opcode.close, closePayload(1000))]))
        assert.strictEqual(yield* bystander.next, "last")
        yield* letGo(server)
        assert.strictEqual(peer.frames.length, 1)
        assert.strictEqual(peer.closeCode, 1000)
        assert.strictEqual((yield* undelivered) - before, 1)
      })
    ))
})

describe("a peer that does not read", () => {
  const megabyte = 1024 * 1024
  /** Broadcasts until `enough`, at the pace of a peer that reads. Returns how many messages that were. */
  const load = (
    server: Server,
    healthy: Peer,
    enough: (count: number) => Effect.Effect<boolean>,
    { bytes = 64 * 1024, key }: { readonly bytes?: number; readonly key?: string | undefined } = {}
  ) =>
    Effect.gen(function*() {
      for (let count = 0;; count++) {
        if (yield* enough(count)) return count
        const message = Buffer.alloc(bytes)
        message.writeUInt32BE(count)
        yield* server.hub.broadcast(new Uint8Array(message), { key })
        const received = yield* healthy.next
        assert.strictEqual(typeof received === "string" ? received : Buffer.from(received).readUInt32BE(), count)
      }
    })

  // The smaller ones are written at the end of a turn, the others at once.
  for (const bytes of [8 * 1024, 64 * 1024]) {
    it.scopedLive(`is ended as a slow consumer; others get everything, and memory stays bounded (${bytes} bytes)`, () =>
      survives((server, bystander) =>
        Effect.gen(function*() {
          const mute = yield* Effect.replicateEffect(rawOpen(server, "/all"), 20)
          for (const peer of mute) peer.socket.pause()
          const ends = (yield* server.hub.connections).slice(1).map((connection) => connection.closed)
          yield* load(server, bystander, () => Effect.map(server.hub.size, (size) => size === 1), { bytes })
          for (const end of ends) assert.strictEqual((yield* end).by, "slow-consumer")
          yield* letGo(server)
        }), { hub: { closeGrace: 50 } }))
  }

  for (const overflow of ["drop-newest", "drop-oldest", "conflate"] as const) {
    it.scopedLive(`${overflow}: gets what the policy keeps, in order, once it reads again`, () =>
      survives((server, bystander) =>
        Effect.gen(function*() {
          const peer = yield* rawOpen(server, "/all")
          peer.socket.pause()
          const key = overflow === "conflate" ? "state" : undefined
          const fell = HubMetrics.overflow(overflow === "conflate" ? "conflated" : "dropped")
          const before = (yield* Metric.value(fell)).count
          const dropped = Effect.map(Metric.value(fell), ({ count }) => count - before)
          const sent = yield* load(server, bystander, () => Effect.map(dropped, (count) => count >= 50), { key })
          peer.socket.resume()
          const kept = sent - (yield* dropped)
          yield* eventually(() => peer.received.length >= kept * 64 * 1024 && peer.frames.length === kept)
          const numbers = peer.frames.map((one) => one.payload.readUInt32BE())
          assert.deepStrictEqual(numbers, Array.from(new Set(numbers)).sort((a, b) => a - b))
          // The newest, or those before it, are the ones that are missing.
          if (overflow === "drop-newest") assert.deepStrictEqual(numbers, Array.from(numbers.keys()))
          else assert.strictEqual(numbers.at(-1), sent - 1)
          yield* server.hub.broadcast("caught up")
          assert.strictEqual(yield* bystander.next, "caught up")
          yield* eventually(() => peer.frames.at(-1)?.payload.toString() === "caught up")
          yield* peer.reset
          yield* letGo(server)
        }), { hub: { overflow, closeGrace: 50 } }))
  }

  it.scopedLive("holds at most its outbox: 400 MB broadcast past ten of them", () =>
    survives((server, bystander) =>
      Effect.gen(function*() {
        const mute = yield* Effect.replicateEffect(rawOpen(server, "/all"), 10)
        for (const peer of mute) peer.socket.pause()
        yield* load(server, bystander, (count) => Effect.succeed(count * 64 * 1024 >= 400 * megabyte))
        assert.strictEqual(yield* server.hub.size, 11)
        assert.isBelow(process.memoryUsage().arrayBuffers, 200 * megabyte)
        for (const peer of mute) yield* peer.reset
        yield* letGo(server)
      }), { hub: { overflow: "drop-newest", closeGrace: 50 } }))
})

describe("a flood", () => {
  const flood = Buffer.concat(Array.from({ length: 5000 }, () => frame(opcode.text, "x")))
  const rate = { messagesPerSecond: 100, messageBurst: 200, closeGrace: 50 }

  it.scopedLive("of messages closes with 1008, after what the rate allows was served", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* rawOpen(server, "/echo")
        yield* peer.send(flood)
        yield* eventually(() => peer.closeCode !== undefined)
        assert.strictEqual(peer.closeCode, 1008)
        const echoes = peer.frames.filter((one) => one.opcode === opcode.text).length
        assert.isAtMost(echoes, 1000)
        yield* letGo(server)
      }), { hub: rate }))

  it.scopedLive("of messages is thinned out where the rate drops, and the peer stays", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* rawOpen(server, "/echo")
        yield* peer.send(Buffer.concat([flood, frame(opcode.ping, "flood over")]))
        yield* eventually(() => peer.frames.some((one) => one.opcode === opcode.pong))
        const echoes = peer.frames.filter((one) => one.opcode === opcode.text).length
        assert.isBelow(echoes, 5000)
        while (!peer.frames.some((one) => one.payload.toString() === "and now?")) {
          yield* peer.send(frame(opcode.text, "and now?"))
          yield* eventually(() => true)
        }
        peer.socket.end()
        yield* letGo(server)
      }), { hub: { ...rate, rateLimit: "drop" } }))

  it.scopedLive("of messages over what the handler takes stops reading, and loses none", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* rawOpen(server, "/echo")
        const count = 20_000
        for (let n = 0; n < count; n++) peer.socket.write(frame(opcode.text, String(n)))
        yield* eventually(() => peer.received.length >= 100_000 && peer.frames.length === count)
        assert.deepStrictEqual(
          peer.frames.map((one) => Number(one.payload)),
          Array.from({ length: count }, (_, n) => n)
        )
        peer.socket.end()
        yield* letGo(server)
      }), { hub: { inboxBytes: 2048, messagesPerSecond: 0 } }))

  it.scopedLive("of pings from a peer that does not read the answers ends it", () =>
    survives((server) =>
      Effect.gen(function*() {
        const peer = yield* rawOpen(server, "/echo")
        peer.socket.pause()
        const pings = Buffer.concat(Array.from({ length: 500 }, () => frame(opcode.ping, "x".repeat(125))))
        while (!peer.gone) {
          peer.socket.write(pings)
          yield* eventually(() => peer.gone || !peer.socket.writableNeedDrain)
        }
        yield* letGo(server)
      })
    ))

  it.scopedLive("of handshakes that are refused", () =>
    survives((server) =>
      Effect.gen(function*() {
        const attempts = Array.from(
          { length: 500 },
          (_, n) => handshake(n % 2 === 0 ? "/echo" : "/nothing", { Origin: "x" })
        )
        yield* Effect.forEach(attempts, (attempt) =>
          Effect.scoped(Effect.gen(function*() {
            const peer = yield* raw(server.port)
            yield* peer.send(attempt)
            yield* peer.answered
            assert.include([403, 404], peer.status)
          })), { concurrency: 50 })
        yield* letGo(server)
      })
    ))
})

describe("a process of its own survives", () => {
  for (const [kind, { plain = false, straight }] of kinds) {
    it.scopedLive(`what ends one that is not protected (${kind})`, () =>
      Effect.gen(function*() {
        const child = yield* spawnServer({ plain, straight, hub: { closeGrace: 50 } })
        const steady = yield* connect(child.url("/echo"))
        assert.strictEqual(yield* steady.ask("before"), "before")
        const before = yield* child.facts
        const times = 10
        const attack = (reach: (peer: RawPeer) => Effect.Effect<void>) =>
          Effect.scoped(Effect.gen(function*() {
            const peers = yield* Effect.replicateEffect(Effect.tap(raw(child.port), reach), times)
            for (const peer of peers) yield* peer.reset
          }))
        const opened = (peer: RawPeer) => Effect.zipRight(peer.send(handshake("/all")), peer.answered)

        yield* attack(() => Effect.void)
        yield* attack((peer) => peer.send(handshake("/echo").slice(0, 50)))
        yield* attack((peer) => peer.send(handshake("/echo")))
        yield* attack((peer) => peer.send(randomBytes(500)))
        yield* attack(opened)
        yield* attack((peer) => Effect.zipRight(opened(peer), peer.send(frame(opcode.text, "half", { length: 900 }))))
        yield* attack((peer) => Effect.zipRight(opened(peer), peer.send(randomBytes(5000))))
        yield* attack((peer) => Effect.zipRight(opened(peer), peer.send(frame(opcode.text, "x".repeat(5000)))))

        const authorising = yield* Effect.replicateEffect(raw(child.port), times)
        for (const peer of authorising) yield* peer.send(handshake("/slow"))
        yield* child.saysTimes("slow", times)
        for (const peer of authorising) yield* peer.reset

        // In front of our route it is the guard alone that protects.
        const hesitating = yield* Effect.replicateEffect(raw(child.port), plain ? 0 : times)
        for (const peer of hesitating) yield* peer.send(handshake("/mind"))
        yield* child.saysTimes("mind", hesitating.length)
        for (const peer of hesitating) yield* peer.reset

        yield* eventuallyEffect(
          Effect.map(child.facts, ({ descriptors, size }) => size === 1 && descriptors === before.descriptors)
        )
        assert.strictEqual(yield* steady.ask("after"), "after")
        yield* child.kill("SIGTERM")
        assert.deepStrictEqual(yield* child.exit, { code: 0, signal: null }, child.output)
      }))
  }
})
