/** Every refusal: its status, its sentence, its count, and that nothing is left of its socket. */
import * as HttpServer from "@effect/platform/HttpServer"
import type { ServeError } from "@effect/platform/HttpServerError"
import { assert, describe, it } from "@effect/vitest"
import { type InvalidOption, NodeGuard, NodeUpgrade } from "effect-ws-hub"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Http from "node:http"
import type * as Net from "node:net"
import type { Duplex } from "node:stream"
import {
  echo,
  eventually,
  eventuallyEffect,
  handshake,
  holds,
  idle,
  portOf,
  raw,
  type RawPeer,
  refusals,
  refused,
  serve,
  serveGuard,
  serveLayer,
  type ServeOptions,
  type Server
} from "./support.js"

/** One whole response, of one sentence, and the end of the connection. */
const assertSentence = (peer: RawPeer, status: number): void => {
  assert.strictEqual(peer.status, status, peer.text)
  assert.match(peer.body, /^[A-Z][^\n]{10,120}[.]$/)
  assert.match(peer.text, /\r\nconnection: close\r\n/i)
  assert.match(peer.text, /\r\ncontent-type: text\/plain/i)
  assert.strictEqual(Number(/\r\ncontent-length: (\d+)\r\n/i.exec(peer.text)?.[1]), peer.body.length)
}

const echoes = { handler: idle, compression: true }

/** The same mount, the two ways that a guarded server has. */
const guarded: ReadonlyArray<
  readonly [string, (options: ServeOptions) => Effect.Effect<Server, ServeError | InvalidOption, Scope.Scope>]
> = [
  ["guard", (options) => serve(NodeUpgrade.layer("/", echoes), options)],
  ["straight at the guard", (options) => serveGuard(NodeUpgrade.layerGuard("/", echoes), options)]
]

/** And on a server that is not guarded. */
const mounted = [
  ...guarded,
  ["server of Node", (options: ServeOptions) => serve(NodeUpgrade.layer("/", echoes), { ...options, plain: true })]
] as const

/** What a peer gets that sends this, keeps its own side open, and waits for the end. */
const answerTo = (port: number, text: string) =>
  Effect.gen(function*() {
    const peer = yield* raw(port)
    yield* peer.send(text)
    yield* eventually(() => peer.socket.readableEnded)
    return peer
  })

/** A server of Node on a free port, until the scope closes. */
const listening = <S extends Http.Server>(http: S): Effect.Effect<S, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.async<S>((resume) => {
      http.listen(0, "127.0.0.1", () => resume(Effect.succeed(http)))
    }),
    () =>
      Effect.sync(() => {
        http.closeAllConnections()
        http.close()
      })
  )

const get = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"

describe("a request that Node cannot read", () => {
  const unreadable: ReadonlyArray<readonly [string, number, string]> = [
    ["no HTTP", 400, "HELLO\r\n\r\n"],
    ["the beginning of TLS", 400, "\x16\x03\x01\x02\x00\x01\x00"],
    ["another version of HTTP", 400, "GET / HTTP/9.9\r\n\r\n"],
    ["a header without a colon", 400, `${get}Upgrade websocket\r\n\r\n`],
    ["a header with a control character", 400, `${get}X-Name: a\x00b\r\n\r\n`],
    ["two lengths", 400, `${get}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`],
    ["headers over the limit", 431, `${get}X-Long: ${"x".repeat(Http.maxHeaderSize)}\r\n\r\n`],
    ["a path over the limit", 431, handshake(`/${"x".repeat(Http.maxHeaderSize)}`)]
  ]
  for (const [way, make] of guarded) {
    for (const [name, status, text] of unreadable) {
      it.scopedLive(`${name} is ${status} with a sentence, and is counted (${way})`, () =>
        Effect.gen(function*() {
          const server = yield* make({})
          const counts = yield* refusals(Effect.gen(function*() {
            const peer = yield* answerTo(server.port, text)
            assertSentence(peer, status)
            yield* eventuallyEffect(holds(server, 0))
          }))
          assert.deepStrictEqual(counts, { malformed: 1 })
        }))
    }

    it.scopedLive(`one that ends within its headers is 400 with a sentence (${way})`, () =>
      Effect.gen(function*() {
        const server = yield* make({})
        const counts = yield* refusals(Effect.gen(function*() {
          const peer = yield* raw(server.port)
          peer.socket.end(handshake("/").slice(0, 60))
          yield* peer.closed
          assertSentence(peer, 400)
          yield* eventuallyEffect(holds(server, 0))
        }))
        assert.deepStrictEqual(counts, { malformed: 1 })
      }))

    for (const [name, text] of [["a part of its headers", handshake("/").slice(0, 60)], ["nothing", ""]] as const) {
      it.scopedLive(`a peer that sends ${name} is 408 with a sentence, and is counted (${way})`, () =>
        Effect.gen(function*() {
          const server = yield* make({ guard: { headersTimeout: 100 } })
          const counts = yield* refusals(Effect.gen(function*() {
            const peer = yield* answerTo(server.port, text)
            assertSentence(peer, 408)
            yield* eventuallyEffect(holds(server, 0))
          }))
          assert.deepStrictEqual(counts, { timeout: 1 })
        }))
    }
  }

  it.scopedLive("behind one that was answered is answered too", () =>
    Effect.gen(function*() {
      const server = yield* serve(echo)
      const peer = yield* raw(server.port)
      yield* peer.send("GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
      yield* peer.answered
      assert.strictEqual(peer.status, 404)
      peer.received = Buffer.alloc(0)
      yield* peer.send("HELLO\r\n\r\n")
      yield* eventually(() => peer.socket.readableEnded)
      assertSentence(peer, 400)
    }))

  it.scopedLive("that comes while another is answered is let go of, and the answer is not touched", () =>
    Effect.gen(function*() {
      const http = yield* listening(NodeGuard.createServer())
      http.on("request", (_request: Http.IncomingMessage, response: Http.ServerResponse) => {
        response.writeHead(200, { "content-length": 100 })
        response.write("half")
      })
      const counts = yield* refusals(Effect.gen(function*() {
        const peer = yield* raw(portOf(http))
        yield* peer.send(`${get}\r\n`)
        yield* peer.until(() => peer.body === "half")
        yield* peer.send("HELLO\r\n\r\n")
        yield* eventually(() => peer.socket.readableEnded)
        assert.strictEqual(peer.body, "half")
      }))
      assert.deepStrictEqual(counts, {})
    }))

  it.scopedLive("is no handshake if only its body is wrong: a sentence, and no count", () =>
    Effect.gen(function*() {
      const http = yield* listening(NodeGuard.createServer())
      http.on("request", () => {})
      const counts = yield* refusals(Effect.gen(function*() {
        const peer = yield* answerTo(
          portOf(http),
          "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nno length\r\n"
        )
        assertSentence(peer, 400)
      }))
      assert.deepStrictEqual(counts, {})
    }))

  it.scopedLive("is the application's, if that listens for it", () =>
    Effect.gen(function*() {
      const http = yield* listening(NodeGuard.createServer())
      http.on("clientError", (_error: Error, socket: Duplex) => socket.end("HTTP/1.1 418 I'm a teapot\r\n\r\n"))
      const counts = yield* refusals(Effect.gen(function*() {
        const peer = yield* answerTo(portOf(http), "HELLO\r\n\r\n")
        assert.strictEqual(peer.text, "HTTP/1.1 418 I'm a teapot\r\n\r\n")
      }))
      assert.deepStrictEqual(counts, {})
    }))

  it.scopedLive("is nobody's if the peer resets: no count", () =>
    Effect.gen(function*() {
      const server = yield* serve(echo)
      const sockets: Array<Net.Socket> = []
      server.http?.on("connection", (socket) => sockets.push(socket))
      const counts = yield* refusals(Effect.gen(function*() {
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/echo").slice(0, 60))
        yield* eventually(() => sockets[0]?.bytesRead === 60)
        yield* peer.reset
        yield* eventuallyEffect(holds(server, 0))
      }))
      assert.deepStrictEqual(counts, {})
    }))
})

describe("a handshake that ws cannot read", () => {
  const unreadable = [
    ["subprotocols that are named twice", { "Sec-WebSocket-Protocol": "v1, v1" }],
    ["a subprotocol that is no name", { "Sec-WebSocket-Protocol": "b@d" }],
    ["an extension with a wrong value", {
      "Sec-WebSocket-Extensions": "permessage-deflate; server_max_window_bits=99"
    }],
    ["an extension without a name", { "Sec-WebSocket-Extensions": "=" }]
  ] as const
  for (const [way, make] of mounted) {
    for (const [name, headers] of unreadable) {
      it.scopedLive(`${name}: 400 with a sentence that names the header, counted (${way})`, () =>
        Effect.gen(function*() {
          const server = yield* make({})
          const counts = yield* refusals(Effect.gen(function*() {
            const peer = yield* answerTo(server.port, handshake("/", headers))
            assertSentence(peer, 400)
            assert.include(peer.body, Object.keys(headers).join())
            yield* eventuallyEffect(holds(server, 0))
          }))
          assert.deepStrictEqual(counts, { malformed: 1 })
          assert.strictEqual(yield* server.hub.size, 0)
        }))
    }

    it.scopedLive(`without a Host it is 400, counted (${way})`, () =>
      Effect.gen(function*() {
        const server = yield* make({})
        const counts = yield* refusals(Effect.gen(function*() {
          const peer = yield* answerTo(server.port, handshake("/", { Host: undefined }))
          assertSentence(peer, 400)
        }))
        assert.deepStrictEqual(counts, { malformed: 1 })
      }))
  }
})

describe("a count by reason", () => {
  it.scopedLive("timeout: an authorisation that takes too long", () =>
    Effect.gen(function*() {
      const never = { authorize: () => Effect.never, handler: idle }
      const hub = { handshakeTimeout: 20 }
      for (
        const server of [
          yield* serve(NodeUpgrade.layer("/", never), { hub }),
          yield* serveGuard(NodeUpgrade.layerGuard("/", never), { hub })
        ]
      ) {
        assert.deepStrictEqual(yield* refusals(refused(server.url("/"))), { timeout: 1 })
      }
    }))

  it.scopedLive("not-mounted: at a path that nobody has, straight at the guard, and before there is an application", () =>
    Effect.gen(function*() {
      const server = yield* serveGuard(NodeUpgrade.layerGuard("/", { handler: idle }))
      assert.deepStrictEqual(yield* refusals(refused(server.url("/elsewhere"))), { "not-mounted": 1 })
      const http = yield* listening(NodeGuard.createServer())
      assert.deepStrictEqual(yield* refusals(refused(`ws://127.0.0.1:${portOf(http)}/`)), { "not-mounted": 1 })
    }))

  it.scopedLive("none for a peer that leaves during its authorisation", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const server = yield* serveGuard(NodeUpgrade.layerGuard("/", {
        authorize: () =>
          Deferred.succeed(started, undefined).pipe(
            Effect.zipRight(Effect.never),
            Effect.ensuring(Deferred.succeed(ended, undefined))
          ),
        handler: idle
      }))
      const counts = yield* refusals(Effect.gen(function*() {
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/"))
        yield* Deferred.await(started)
        yield* peer.reset
        yield* Deferred.await(ended)
        // Whatever would be counted, is by now.
        yield* Effect.replicateEffect(eventually(() => true), 3)
      }))
      assert.deepStrictEqual(counts, {})
    }))
})

/** An authorisation under way at `/`, in each way that there is. */
const authorised: ReadonlyArray<
  readonly [
    string,
    (
      authorize: Effect.Effect<void>,
      options?: ServeOptions
    ) => Effect.Effect<Server, ServeError | InvalidOption, Scope.Scope>
  ]
> = [
  [
    "guard",
    (authorize, options) => serve(NodeUpgrade.layer("/", { authorize: () => authorize, handler: idle }), options)
  ],
  [
    "server of Node",
    (authorize, options) =>
      serve(NodeUpgrade.layer("/", { authorize: () => authorize, handler: idle }), { ...options, plain: true })
  ],
  [
    "straight at the guard",
    (authorize, options) =>
      serveGuard(NodeUpgrade.layerGuard("/", { authorize: () => authorize, handler: idle }), options)
  ],
  ["HttpApp", (authorize, options) =>
    serveLayer(
      Layer.unwrapScoped(
        Effect.map(NodeUpgrade.make({ authorize: () => authorize, handler: idle }), (app) => HttpServer.serve(app))
      ),
      options
    )]
]

describe("an authorisation under way", () => {
  for (const [way, make] of authorised) {
    it.scopedLive(`is 503 with a sentence when the server closes, and is counted (${way})`, () =>
      Effect.gen(function*() {
        const scope = yield* Scope.make()
        const started = yield* Deferred.make<void>()
        const server = yield* make(Effect.zipRight(Deferred.succeed(started, undefined), Effect.never)).pipe(
          Scope.extend(scope)
        )
        const peer = yield* raw(server.port)
        const counts = yield* refusals(Effect.gen(function*() {
          yield* peer.send(handshake("/"))
          yield* Deferred.await(started)
          yield* Scope.close(scope, Exit.void)
          yield* eventually(() => peer.socket.readableEnded)
        }))
        assert.deepStrictEqual(counts, { unavailable: 1 })
        assertSentence(peer, 503)
        assert.match(peer.text, /\r\nretry-after: 1\r\n/i)
      }))

    it.scopedLive(`that cannot be interrupted is 503 in time, and the end of its mount waits for it (${way})`, () =>
      Effect.gen(function*() {
        const log: Array<string> = []
        const scope = yield* Scope.make()
        const go = yield* Deferred.make<void>()
        const authorize = Effect.uninterruptible(
          Effect.zipRight(Deferred.await(go), Effect.sync(() => log.push("authorised")))
        )
        const server = yield* make(Effect.asVoid(authorize), { hub: { handshakeTimeout: 50 } }).pipe(
          Scope.extend(scope)
        )
        const counts = yield* refusals(Effect.gen(function*() {
          const peer = yield* raw(server.port)
          yield* peer.send(handshake("/"))
          yield* eventually(() => peer.socket.readableEnded)
          assertSentence(peer, 503)
          yield* eventuallyEffect(holds(server, 0))
        }))
        assert.deepStrictEqual(counts, { timeout: 1 })
        const closing = yield* Effect.fork(
          Effect.zipRight(Scope.close(scope, Exit.void), Effect.sync(() => log.push("closed")))
        )
        // Whatever would close without it, is closed by now.
        yield* Effect.replicateEffect(eventually(() => true), 50)
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(closing)
        assert.deepStrictEqual(log, ["authorised", "closed"])
      }))

    it.scopedLive(`is not counted for a peer that leaves (${way})`, () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const server = yield* make(
          Deferred.succeed(started, undefined).pipe(
            Effect.zipRight(Effect.never),
            Effect.ensuring(Deferred.succeed(ended, undefined))
          )
        )
        const counts = yield* refusals(Effect.gen(function*() {
          const peer = yield* raw(server.port)
          yield* peer.send(handshake("/"))
          yield* Deferred.await(started)
          yield* peer.reset
          yield* Deferred.await(ended)
          yield* eventuallyEffect(holds(server, 0))
          // Whatever would be counted, is by now.
          yield* Effect.replicateEffect(eventually(() => true), 10)
        }))
        assert.deepStrictEqual(counts, {})
      }))

    it.scopedLive(`that cannot be interrupted does not keep a peer that leaves (${way})`, () =>
      Effect.gen(function*() {
        let started = 0
        const go = yield* Deferred.make<void>()
        const server = yield* make(
          Effect.uninterruptible(Effect.zipRight(Effect.sync(() => started++), Deferred.await(go))),
          { hub: { connections: 1 } }
        )
        const attempt = Effect.scoped(Effect.gen(function*() {
          const other = yield* raw(server.port)
          yield* other.send(handshake("/"))
          yield* eventually(() => started === 2 || other.status === 503)
          return started === 2
        }))
        yield* Effect.gen(function*() {
          const peer = yield* raw(server.port)
          yield* peer.send(handshake("/"))
          yield* eventually(() => started === 1)
          assert.isFalse(yield* attempt)
          yield* peer.reset
          // Its place is another's.
          yield* eventuallyEffect(attempt)
          yield* eventuallyEffect(holds(server, 0))
        }).pipe(Effect.ensuring(Deferred.succeed(go, undefined)))
      }))
  }
})

describe("the time of a handshake", () => {
  // The authorisation has the whole of 300 ms, or nothing: it takes 100 ms.
  const mount = { authorize: () => Effect.sleep(100), handler: idle }
  const hub = { handshakeTimeout: 300, closeGrace: 50 }
  const late = Effect.sleep(350)

  for (
    const [way, make] of [
      ["guard", serve(NodeUpgrade.layer("/", mount), { hub })],
      ["straight at the guard", serveGuard(NodeUpgrade.layerGuard("/", mount), { hub })]
    ] as const
  ) {
    it.scopedLive(`is one for its headers and its authorisation (${way})`, () =>
      Effect.gen(function*() {
        const server = yield* make
        const [start, end] = [handshake("/").slice(0, 60), handshake("/").slice(60)]
        const prompt = yield* raw(server.port)
        yield* prompt.send(start)
        yield* prompt.send(end)
        yield* prompt.answered
        assert.strictEqual(prompt.status, 101)
        const peer = yield* raw(server.port)
        yield* peer.send(start)
        yield* eventuallyEffect(holds(server, 2))
        yield* late
        assert.deepStrictEqual(
          yield* refusals(Effect.zipRight(peer.send(end), eventually(() => peer.socket.readableEnded))),
          { timeout: 1 }
        )
        assertSentence(peer, 503)
      }))
  }

  /** Authorisations that began. */
  let begun = 0
  const at = { authorize: () => Effect.sync(() => begun++), handler: idle }
  for (
    const [way, make] of [
      ["guard, not authorised", serve(NodeUpgrade.layer("/", { handler: idle }), { hub })],
      ["guard, authorised at once", serve(NodeUpgrade.layer("/", at), { hub })],
      ["straight at the guard, not authorised", serveGuard(NodeUpgrade.layerGuard("/", { handler: idle }), { hub })],
      ["straight at the guard, authorised at once", serveGuard(NodeUpgrade.layerGuard("/", at), { hub })]
    ] as const
  ) {
    it.scopedLive(`is over for one whose headers alone took as long (${way})`, () =>
      Effect.gen(function*() {
        const server = yield* make
        const before = begun
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/").slice(0, 60))
        yield* eventuallyEffect(holds(server, 1))
        yield* late
        assert.deepStrictEqual(
          yield* refusals(
            Effect.zipRight(peer.send(handshake("/").slice(60)), eventually(() => peer.socket.readableEnded))
          ),
          { timeout: 1 }
        )
        assertSentence(peer, 503)
        assert.strictEqual(begun, before)
      }))
  }

  it.scopedLive("does not count what its connection did before", () =>
    Effect.gen(function*() {
      const server = yield* serve(NodeUpgrade.layer("/", mount), { hub })
      const peer = yield* raw(server.port)
      yield* peer.send("GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
      yield* peer.answered
      assert.strictEqual(peer.status, 404)
      yield* late
      peer.received = Buffer.alloc(0)
      yield* peer.send(handshake("/"))
      yield* peer.answered
      assert.strictEqual(peer.status, 101)
    }))
})
