import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpApp from "@effect/platform/HttpApp"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpMiddleware from "@effect/platform/HttpMiddleware"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import { assert, describe, it } from "@effect/vitest"
import {
  CloseReason,
  Frame,
  Hub,
  HubMetrics,
  InvalidOption,
  NodeGuard,
  NodeTransport,
  NodeUpgrade,
  type Transport
} from "effect-ws-hub"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Metric from "effect/Metric"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import type * as Http from "node:http"
import * as Net from "node:net"
import { networkInterfaces } from "node:os"
import type { Duplex } from "node:stream"
import { WebSocketServer } from "ws"
import {
  type Answer,
  connect,
  type ConnectOptions,
  echo,
  eventually,
  eventuallyEffect,
  everyone,
  frame,
  handshake,
  holds,
  idle,
  opcode,
  portOf,
  raw,
  refusals,
  refused,
  request,
  serve,
  serveGuard,
  serveLayer,
  type Server,
  serverOf
} from "./support.js"

/** For tests whose point is a bug in the application, which is logged. */
const quiet = Logger.minimumLogLevel(LogLevel.None)

/** A refusal is one sentence that a person can read. */
const assertSentence = (answer: Answer): void => {
  assert.match(answer.body, /^[A-Z][^\n]{10,120}[.]$/)
  assert.match(answer.headers["content-type"] ?? "", /^text\/plain/)
}

const assertRefused = (
  url: string,
  status: number,
  options: ConnectOptions & { readonly retryAfter?: string } = {}
): Effect.Effect<Answer> =>
  Effect.tap(refused(url, options), (answer) =>
    Effect.sync(() => {
      assert.strictEqual(answer.status, status)
      assert.strictEqual(answer.headers["retry-after"], options.retryAfter)
      assertSentence(answer)
    }))

/** Tells the peer what the hub knows of it. */
const facts = (path: HttpLayerRouter.PathInput, trustedProxies?: ReadonlyArray<string>) =>
  NodeUpgrade.layer(path, {
    trustedProxies,
    handler: (connection) => {
      const { headers, remoteAddress, subprotocol, url } = connection.handshake
      const told = { url, agent: headers["user-agent"], remoteAddress: Option.getOrNull(remoteAddress), subprotocol }
      return Effect.zipRight(connection.send(JSON.stringify(told)), idle(connection))
    }
  })

const layerOn = (server: Http.Server) => NodeHttpServer.layer(() => server, { host: "127.0.0.1", port: 0 })

/** The older router, with a route beside ours. */
const olderRouter = Layer.unwrapScoped(Effect.gen(function*() {
  const upgrade = yield* NodeUpgrade.make({
    handler: (connection) => connection.runForEach((message) => connection.send(message))
  })
  const router = HttpRouter.empty.pipe(
    HttpRouter.get("/echo", upgrade),
    HttpRouter.get("/hello", HttpServerResponse.text("hello"))
  )
  return HttpServer.serve(router)
}))

const mounts = [
  ["HttpLayerRouter", () => HttpLayerRouter.serve(echo, { disableLogger: true, disableListenLog: true })],
  ["HttpRouter", () => olderRouter]
] as const

const echoGuard = NodeUpgrade.layerGuard("/echo", {
  handler: (connection) => connection.runForEach((message) => connection.send(message))
})

const ways: ReadonlyArray<[string, Effect.Effect<Server, never, Scope.Scope>]> = [
  ...mounts.flatMap(([name, app]) =>
    [false, true].map((plain): [string, Effect.Effect<Server, never, Scope.Scope>] => [
      `${name} on ${plain ? "a server of Node" : "the guarded server"}`,
      Effect.orDie(Effect.suspend(() => serveLayer(app(), { plain })))
    ])
  ),
  ["straight at the guarded server", Effect.orDie(serveGuard(echoGuard))]
]

describe("mounting", () => {
  for (const [name, way] of ways) {
    it.scopedLive(`${name}: text and binary, in order`, () =>
      Effect.gen(function*() {
        const server = yield* way
        const peer = yield* connect(server.url("/echo"))
        assert.strictEqual(yield* peer.ask("text ✓ 𝄞"), "text ✓ 𝄞")
        assert.deepStrictEqual(yield* peer.ask(Uint8Array.of(0, 255, 128)), Uint8Array.of(0, 255, 128))
        assert.strictEqual(yield* peer.ask(""), "")
        const sent = Array.from({ length: 500 }, (_, n) => n % 3 === 0 ? Uint8Array.of(n & 0xff, n >> 8) : `m${n}`)
        for (const message of sent) yield* peer.send(message)
        assert.deepStrictEqual(yield* peer.take(sent.length), sent)
        assert.deepStrictEqual(yield* peer.close(4001), { code: 4001, reason: "" })
        yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 0))
      }))
  }

  it.scopedLive("a whole HttpApp", () =>
    Effect.gen(function*() {
      const app = Layer.unwrapScoped(Effect.map(
        NodeUpgrade.make({
          handler: (connection) => Effect.flatMap(connection.take, (message) => connection.send(message))
        }),
        (upgrade) => HttpServer.serve(upgrade)
      ))
      const server = yield* serveLayer(app)
      const peer = yield* connect(server.url("/any/path?at=all"))
      assert.strictEqual(yield* peer.ask("once"), "once")
      assert.deepStrictEqual(yield* peer.closed, { code: 1000, reason: "" })
    }))

  it.scopedLive("other routes answer as before, over the same server", () =>
    Effect.gen(function*() {
      const server = yield* serveLayer(olderRouter)
      const peer = yield* connect(server.url("/echo"))
      assert.strictEqual((yield* request(server.url("/hello"))).body, "hello")
      assert.strictEqual((yield* request(server.url("/nothing"))).status, 404)
      assert.strictEqual((yield* refused(server.url("/nothing"))).status, 404)
      assert.strictEqual(yield* peer.ask("still here"), "still here")
    }))

  it.scopedLive("middleware and cookies of the application apply", () =>
    Effect.gen(function*() {
      const app = Layer.unwrapScoped(Effect.gen(function*() {
        const upgrade = yield* NodeUpgrade.make({
          authorize: (request) =>
            request.cookies.session === "s3"
              ? Effect.succeed({ session: request.cookies.session })
              : new NodeUpgrade.Refused({ status: 401, message: "Log in first, please." }),
          handler: (connection) => connection.send(connection.handshake.principal.session)
        })
        const knock = HttpMiddleware.make((app) =>
          Effect.gen(function*() {
            const request = yield* HttpServerRequest.HttpServerRequest
            if (request.headers["x-door"] === "closed") {
              return HttpServerResponse.text("The door is closed.", { status: 403 })
            }
            yield* HttpApp.appendPreResponseHandler((_request, response) =>
              HttpServerResponse.setHeader(response, "x-door", "open")
            )
            return yield* app
          })
        )
        return HttpServer.serve(HttpRouter.get(HttpRouter.empty, "/door", upgrade), knock)
      }))
      const server = yield* serveLayer(app)
      const url = server.url("/door")
      const peer = yield* connect(url, { headers: { cookie: "other=1; session=s3" } })
      assert.strictEqual(yield* peer.next, "s3")
      const unknown = yield* assertRefused(url, 401)
      assert.strictEqual(unknown.headers["x-door"], "open")
      yield* assertRefused(url, 403, { headers: { "x-door": "closed" } })
    }))

  it.scopedLive("what the handler requires comes from the mount, what authorize requires from the request", () =>
    Effect.gen(function*() {
      class Name extends Context.Tag("Name")<Name, string>() {}
      const app = NodeUpgrade.layer("/", {
        authorize: () => Effect.map(HttpLayerRouter.params, (params) => Object.keys(params).length),
        handler: (connection) =>
          Effect.flatMap(Name, (name) => connection.send(`${name} ${connection.handshake.principal}`))
      })
      const server = yield* serve(Layer.provide(app, Layer.succeed(Name, "mount")))
      const peer = yield* connect(server.url("/"))
      assert.strictEqual(yield* peer.next, "mount 0")
    }))
})

describe("messages", () => {
  it.scopedLive("sizes around the steps of the header, both ways", () =>
    Effect.gen(function*() {
      const server = yield* serve(echo, { hub: { messageBytes: 65_537 } })
      const peer = yield* connect(server.url("/echo"))
      for (const size of [0, 1, 125, 126, 127, 65_535, 65_536, 65_537]) {
        const text = "x".repeat(size)
        assert.strictEqual(yield* peer.ask(text), text)
        const bytes = new Uint8Array(size).fill(size & 0xff)
        assert.deepStrictEqual(yield* peer.ask(bytes), bytes)
      }
    }))

  it.scopedLive("65,536 bytes are taken by default, and one more closes with 1009", () =>
    Effect.gen(function*() {
      const server = yield* serve(echo)
      const peer = yield* connect(server.url("/echo"))
      const largest = new Uint8Array(65_536)
      assert.deepStrictEqual(yield* peer.ask(largest), largest)
      yield* peer.send(new Uint8Array(65_537))
      assert.strictEqual((yield* peer.closed).code, 1009)
    }))

  it.scopedLive("what was sent before the end is delivered, then the close frame with its reason", () =>
    Effect.gen(function*() {
      const server = yield* serve(NodeUpgrade.layer("/", {
        handler: (connection) =>
          Effect.gen(function*() {
            for (let n = 0; n < 200; n++) yield* connection.send(`${n} ${"x".repeat(1000)}`)
            yield* connection.close({ code: 4000, reason: "that was all" })
            return yield* Effect.never
          })
      }))
      const peer = yield* connect(server.url("/"))
      const all = yield* peer.rest
      assert.deepStrictEqual(all.map((message) => Number.parseInt(message.toString())), Array.from(all.keys()))
      assert.strictEqual(all.length, 200)
      assert.deepStrictEqual(yield* peer.closed, { code: 4000, reason: "that was all" })
    }))

  it.scopedLive("a handler that dies closes its own connection with 1011", () =>
    Effect.gen(function*() {
      const server = yield* serve(Layer.merge(
        echo,
        NodeUpgrade.layer("/dies", { handler: (connection) => Effect.zipRight(connection.take, Effect.die("a bug")) })
      ))
      const [bystander, victim] = [yield* connect(server.url("/echo")), yield* connect(server.url("/dies"))]
      yield* victim.send("now")
      assert.strictEqual((yield* victim.closed).code, 1011)
      assert.strictEqual(yield* bystander.ask("unharmed"), "unharmed")
    }).pipe(Effect.provide(quiet)))

  for (const plain of [false, true]) {
    it.scopedLive(`what comes with the handshake is not lost (${plain ? "server of Node" : "guard"})`, () =>
      Effect.gen(function*() {
        const server = yield* serve(echo, { plain })
        const peer = yield* raw(server.port)
        const early = frame(opcode.text, "early")
        yield* peer.send(Buffer.concat([Buffer.from(handshake("/echo")), early, frame(opcode.text, "second")]))
        // Without the guard nobody keeps what Node has read already; what follows must still be served or closed.
        if (plain) {
          yield* peer.answered
          yield* peer.send(frame(opcode.text, "later"))
          yield* eventually(() => peer.frames.length >= 1)
          assert.strictEqual(peer.frames.at(-1)?.payload.toString(), "later")
        } else {
          yield* eventually(() => peer.frames.length >= 2)
          assert.deepStrictEqual(peer.frames.map((one) => one.payload.toString()), ["early", "second"])
        }
      }))
  }
})

describe("facts of the handshake", () => {
  it.scopedLive("url, headers, address", () =>
    Effect.gen(function*() {
      const server = yield* serve(facts("/room/:name"))
      const peer = yield* connect(server.url("/room/blue?q=1"), { headers: { "User-Agent": "tester" } })
      assert.deepStrictEqual(JSON.parse(String(yield* peer.next)), {
        url: "/room/blue?q=1",
        agent: "tester",
        remoteAddress: "127.0.0.1",
        subprotocol: { _id: "Option", _tag: "None" }
      })
    }))

  const addressSeen = (trusted: ReadonlyArray<string> | undefined, forwarded: string, host = "127.0.0.1") =>
    Effect.scoped(Effect.gen(function*() {
      const server = yield* serve(facts("/", trusted), { host })
      const peer = yield* connect(server.url("/"), { headers: { "X-Forwarded-For": forwarded } })
      const told: { readonly remoteAddress: string } = JSON.parse(String(yield* peer.next))
      return told.remoteAddress
    }))

  it.live("X-Forwarded-For is believed from the proxies that are named, and only as far", () =>
    Effect.gen(function*() {
      // Nobody is trusted by default, and nobody but the ones that are named.
      assert.strictEqual(yield* addressSeen(undefined, "203.0.113.7"), "127.0.0.1")
      assert.strictEqual(yield* addressSeen(["10.0.0.0/8"], "203.0.113.7"), "127.0.0.1")
      assert.strictEqual(yield* addressSeen(["127.0.0.1"], "203.0.113.7"), "203.0.113.7")
      assert.strictEqual(yield* addressSeen(["127.0.0.0/8"], "203.0.113.7"), "203.0.113.7")
      assert.strictEqual(yield* addressSeen(["127.0.0.1/32"], "2001:db8::7"), "2001:db8::7")
      // What the peer itself wrote stands further left, and does not count.
      assert.strictEqual(yield* addressSeen(["127.0.0.1"], "1.1.1.1, 203.0.113.7"), "203.0.113.7")
      const two = ["127.0.0.1", "10.0.0.0/8"]
      assert.strictEqual(yield* addressSeen(two, "1.1.1.1, 203.0.113.7, 10.2.3.4"), "203.0.113.7")
      assert.strictEqual(yield* addressSeen(two, "203.0.113.7, ::ffff:10.2.3.4"), "203.0.113.7")
      assert.strictEqual(yield* addressSeen(["127.0.0.1", "2001:db8::/32"], "203.0.113.7, 2001:db8::1"), "203.0.113.7")
      // What is no address stops there.
      assert.strictEqual(yield* addressSeen(["127.0.0.1"], "203.0.113.7, unknown"), "127.0.0.1")
      assert.strictEqual(yield* addressSeen(["127.0.0.1"], ""), "127.0.0.1")
    }))

  const hasIPv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === "::1"))

  // A container may have none, and nothing that could be installed changes that.
  if (hasIPv6) {
    it.live("proxies over IPv6", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* addressSeen(["::1"], "203.0.113.7", "::1"), "203.0.113.7")
        assert.strictEqual(yield* addressSeen(["::/96"], "203.0.113.7", "::1"), "203.0.113.7")
        assert.strictEqual(yield* addressSeen(["127.0.0.1", "2001:db8::/32"], "203.0.113.7", "::1"), "::1")
      }))
  }
})

describe("subprotocols", () => {
  const mount = NodeUpgrade.layer("/", {
    subprotocols: ["v2.json", "v1.json"],
    handler: (connection) =>
      Effect.zipRight(
        connection.send(Option.getOrElse(connection.handshake.subprotocol, () => "none")),
        idle(connection)
      )
  })

  it.scopedLive("the first of the peer's that is spoken", () =>
    Effect.gen(function*() {
      const server = yield* serve(mount)
      const peer = yield* connect(server.url("/"), { protocols: ["v3.json", "v1.json", "v2.json"] })
      assert.strictEqual(peer.ws.protocol, "v1.json")
      assert.strictEqual(yield* peer.next, "v1.json")
    }))

  it.scopedLive("none is fine, none of ours is 400 and says which", () =>
    Effect.gen(function*() {
      const server = yield* serve(mount)
      const peer = yield* connect(server.url("/"))
      assert.strictEqual(peer.ws.protocol, "")
      assert.strictEqual(yield* peer.next, "none")
      const answer = yield* assertRefused(server.url("/"), 400, { protocols: ["v3.json"] })
      assert.include(answer.body, "v2.json, v1.json")
    }))

  it.scopedLive("a malformed list is 400, with an answer", () =>
    Effect.gen(function*() {
      const server = yield* serve(mount)
      for (const list of ["v1.json, v1.json", "v1.json,", ",v1.json", "v1.json v2.json", "v1.json, b@d"]) {
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/", { "Sec-WebSocket-Protocol": list }))
        yield* peer.answered
        assert.strictEqual(peer.status, 400, list)
        yield* peer.reset
      }
      assert.strictEqual(yield* server.hub.size, 0)
    }))
})

describe("origins", () => {
  const mount = (origins?: "same" | "loopback" | "any" | ReadonlyArray<string>) =>
    NodeUpgrade.layer("/", { origins, handler: idle })

  it.scopedLive("the same host by default, and peers without an origin", () =>
    Effect.gen(function*() {
      const server = yield* serve(mount())
      yield* connect(server.url("/"))
      yield* connect(server.url("/"), { origin: `http://127.0.0.1:${server.port}` })
      for (
        const origin of [
          "http://127.0.0.1:1",
          `http://localhost:${server.port}`,
          "https://evil.example",
          "null",
          "nonsense"
        ]
      ) {
        yield* assertRefused(server.url("/"), 403, { origin })
      }
    }))

  /** What a browser sends of a page that was loaded from this host. */
  const pageOf = (host: string) => ({ origin: `http://${host}`, headers: { host } })

  it.scopedLive("the same host may be any name that leads here, unless it must be this machine", () =>
    Effect.gen(function*() {
      const [same, loopback] = [yield* serve(mount("same")), yield* serve(mount("loopback"))]
      yield* connect(loopback.url("/"))
      for (
        const host of ["localhost", "app.localhost", "LOCALHOST:8000", "127.0.0.1:8000", "127.255.0.9", "[::1]:8000"]
      ) {
        yield* connect(same.url("/"), pageOf(host))
        yield* connect(loopback.url("/"), pageOf(host))
      }
      const names = [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "notlocalhost",
        "10.0.0.1",
        "[::2]"
      ]
      for (const host of names) {
        yield* connect(same.url("/"), pageOf(host))
        yield* assertRefused(loopback.url("/"), 403, pageOf(host))
      }
      yield* assertRefused(loopback.url("/"), 403, { origin: "http://localhost", headers: { host: "127.0.0.1" } })
      yield* assertRefused(loopback.url("/"), 403, { origin: "null" })
    }))

  it.scopedLive("a list, in any case of letters", () =>
    Effect.gen(function*() {
      const server = yield* serve(mount(["https://App.example", "null"]))
      yield* connect(server.url("/"))
      yield* connect(server.url("/"), { origin: "https://app.example" })
      yield* connect(server.url("/"), { origin: "null" })
      yield* assertRefused(server.url("/"), 403, { origin: "http://app.example" })
      yield* assertRefused(server.url("/"), 403, { origin: "https://app.example.evil.example" })
      yield* assertRefused(server.url("/"), 403, { origin: `http://127.0.0.1:${server.port}` })
    }))

  it.scopedLive("any", () =>
    Effect.gen(function*() {
      const server = yield* serve(mount("any"))
      yield* connect(server.url("/"), { origin: "https://anyone.example" })
    }))
})

describe("authorisation", () => {
  it.scopedLive("yields a typed principal, or refuses with a status", () =>
    Effect.gen(function*() {
      const refusals: Record<string, NodeUpgrade.Refused> = {
        unknown: new NodeUpgrade.Refused({ status: 401, message: "Tell me who you are." }),
        forbidden: new NodeUpgrade.Refused({ status: 403, message: "This room is not for you." }),
        often: new NodeUpgrade.Refused({ status: 429, message: "You come too often.", retryAfter: "90 seconds" }),
        later: new NodeUpgrade.Refused({ status: 503, message: "Come back later, please.", retryAfter: 1500 }),
        soon: new NodeUpgrade.Refused({ status: 503, message: "Come back soon, please." })
      }
      const server = yield* serve(NodeUpgrade.layer("/", {
        authorize: (request) =>
          Effect.suspend(() => {
            const who = request.headers["x-who"] ?? "unknown"
            return refusals[who] ?? Effect.succeed({ name: who, level: who.length })
          }),
        handler: (connection) => {
          const { level, name } = connection.handshake.principal
          return connection.send(`${name.toUpperCase()} ${level + 1}`)
        }
      }))
      const url = server.url("/")
      const peer = yield* connect(url, { headers: { "X-Who": "ada" } })
      assert.strictEqual(yield* peer.next, "ADA 4")
      yield* assertRefused(url, 401)
      yield* assertRefused(url, 403, { headers: { "X-Who": "forbidden" } })
      yield* assertRefused(url, 429, { headers: { "X-Who": "often" }, retryAfter: "90" })
      yield* assertRefused(url, 503, { headers: { "X-Who": "later" }, retryAfter: "2" })
      yield* assertRefused(url, 503, { headers: { "X-Who": "soon" }, retryAfter: "1" })
    }))

  for (const [name, app] of [["HttpLayerRouter", serve], ["HttpApp", undefined]] as const) {
    it.scopedLive(`that takes too long is 503 after the handshake timeout, and is interrupted (${name})`, () =>
      Effect.gen(function*() {
        const interrupted = yield* Deferred.make<void>()
        const options = {
          authorize: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
          handler: () => Effect.void
        }
        const hub = { hub: { handshakeTimeout: 50 } }
        const server = app === undefined
          ? yield* serveLayer(
            Layer.unwrapScoped(Effect.map(NodeUpgrade.make(options), (upgrade) => HttpServer.serve(upgrade))),
            hub
          )
          : yield* app(NodeUpgrade.layer("/", options), hub)
        yield* assertRefused(server.url("/"), 503, { retryAfter: "1" })
        yield* Deferred.await(interrupted)
      }))
  }

  for (
    const [how, leave] of [["resets", "resetAndDestroy"], ["closes", "destroy"], ["ends its side", "end"]] as const
  ) {
    it.scopedLive(`is interrupted when the peer ${how}`, () =>
      Effect.gen(function*() {
        const started = yield* Deferred.make<void>()
        const interrupted = yield* Deferred.make<void>()
        const server = yield* serve(
          NodeUpgrade.layer("/", {
            authorize: () =>
              Effect.zipRight(Deferred.succeed(started, undefined), Effect.never).pipe(
                Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
              ),
            handler: () => Effect.void
          }),
          { hub: { handshakeTimeout: "off" } }
        )
        const peer = yield* raw(server.port)
        yield* peer.send(handshake("/"))
        yield* Deferred.await(started)
        peer.socket[leave]()
        yield* Deferred.await(interrupted)
        yield* eventuallyEffect(holds(server, 0))
      }))
  }

  it.scopedLive("that takes its time does not lose what the peer sends meanwhile", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const server = yield* serve(NodeUpgrade.layer("/", {
        authorize: () => Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(go)),
        handler: (connection) => connection.runForEach((message) => connection.send(message))
      }))
      const peer = yield* raw(server.port)
      yield* peer.send(Buffer.concat([Buffer.from(handshake("/")), frame(opcode.text, "1")]))
      yield* Deferred.await(started)
      yield* peer.send(frame(opcode.text, "2"))
      // Read by the server, although nobody has asked for it yet.
      yield* eventually(() => peer.socket.writableLength === 0)
      yield* Deferred.succeed(go, undefined)
      yield* peer.answered
      yield* peer.send(frame(opcode.text, "3"))
      yield* eventually(() => peer.frames.length === 3)
      assert.deepStrictEqual(peer.frames.map((one) => one.payload.toString()), ["1", "2", "3"])
    }))

  it.scopedLive("that dies is 500, and nothing else happens", () =>
    Effect.gen(function*() {
      const server = yield* serve(Layer.merge(
        echo,
        NodeUpgrade.layer("/dies", { authorize: () => Effect.die("a bug"), handler: () => Effect.void })
      ))
      const before = yield* Metric.value(HubMetrics.refusals("failed"))
      const answer = yield* refused(server.url("/dies"))
      assert.deepStrictEqual([answer.status, answer.body], [500, "The handshake failed."])
      assert.strictEqual((yield* Metric.value(HubMetrics.refusals("failed"))).count, before.count + 1)
      const peer = yield* connect(server.url("/echo"))
      assert.strictEqual(yield* peer.ask("fine"), "fine")
    }).pipe(Effect.provide(quiet)))
})

describe("limits", () => {
  it.scopedLive("a full hub is 503, and has room again when someone leaves", () =>
    Effect.gen(function*() {
      const server = yield* serve(echo, { hub: { connections: 2 } })
      const url = server.url("/echo")
      const first = yield* connect(url)
      yield* connect(url)
      const answer = yield* assertRefused(url, 503, { retryAfter: "5" })
      assert.include(answer.body, "2 connections")
      yield* first.close()
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size < 2))
      const next = yield* connect(url)
      assert.strictEqual(yield* next.ask("room"), "room")
    }))

  it.scopedLive("handshakes under way count, and give their place back however they end", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const server = yield* serve(
        Layer.merge(
          echo,
          NodeUpgrade.layer("/slow", {
            authorize: (request) =>
              request.headers["x-slow"] === undefined
                ? Effect.void
                : Effect.zipRight(Deferred.succeed(started, undefined), Effect.never),
            handler: idle
          })
        ),
        { hub: { connections: 1 } }
      )
      const slow = yield* raw(server.port)
      yield* slow.send(handshake("/slow", { "X-Slow": "1" }))
      yield* Deferred.await(started)
      yield* assertRefused(server.url("/slow"), 503, { retryAfter: "5" })
      yield* slow.reset
      yield* eventuallyEffect(Effect.isSuccess(Effect.scoped(connect(server.url("/slow")))))
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 0))
      for (let n = 0; n < 3; n++) yield* refused(server.url("/slow"), { origin: "https://evil.example" })
      yield* connect(server.url("/slow"))
    }))

  it.scopedLive("per address it is 429, by the address that a trusted proxy tells", () =>
    Effect.gen(function*() {
      const mount = NodeUpgrade.layer("/", { trustedProxies: ["127.0.0.1"], handler: idle })
      const server = yield* serve(mount, { hub: { connectionsPerAddress: 2 } })
      const url = server.url("/")
      const from = (address: string) => ({ headers: { "X-Forwarded-For": address } })
      yield* connect(url, from("203.0.113.7"))
      const second = yield* connect(url, from("203.0.113.7"))
      const answer = yield* assertRefused(url, 429, { ...from("203.0.113.7"), retryAfter: "5" })
      assert.include(answer.body, "2 at most")
      yield* connect(url, from("203.0.113.8"))
      yield* second.close()
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 2))
      yield* connect(url, from("203.0.113.7"))
    }))
})

describe("wrong handshakes", () => {
  const answerTo = (port: number, text: string) =>
    Effect.scoped(Effect.gen(function*() {
      const peer = yield* raw(port)
      yield* peer.send(text)
      yield* peer.answered
      // Refused, and let go of although this side stays open.
      yield* eventually(() => peer.socket.readableEnded)
      return peer
    }))

  for (const [name, way] of ways) {
    it.scopedLive(`are refused with a sentence: ${name}`, () =>
      Effect.gen(function*() {
        const server = yield* way
        const get = yield* request(server.url("/echo"))
        // Straight at the guarded server there is no application that could answer.
        assert.strictEqual(get.status, server.http === undefined ? 503 : 426)
        assert.strictEqual(get.headers.upgrade, server.http === undefined ? undefined : "websocket")
        assertSentence(get)
        const cases = [
          [426, { "Sec-WebSocket-Version": "8" }],
          [426, { "Sec-WebSocket-Version": "99" }],
          [426, { "Sec-WebSocket-Version": undefined }],
          [426, { Upgrade: "h2c" }],
          [400, { "Sec-WebSocket-Key": undefined }],
          [400, { "Sec-WebSocket-Key": "" }],
          [400, { "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ" }],
          [400, { "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==x" }]
        ] as const
        for (const [status, headers] of cases) {
          const peer = yield* answerTo(server.port, handshake("/echo", headers))
          assert.strictEqual(peer.status, status, JSON.stringify(headers))
          assert.match(peer.text, /\r\n\r\n[A-Z][^\n]{10,120}[.]$/)
          if (status === 426 && !("Upgrade" in headers)) {
            assert.match(peer.text, /sec-websocket-version: 13\r\n/i)
          }
        }
        assert.strictEqual(yield* server.hub.size, 0)
        yield* Effect.scoped(Effect.flatMap(connect(server.url("/echo")), (peer) => peer.ask("healthy")))
      }))
  }

  it.scopedLive("another method than GET is 405, or 404 of a router", () =>
    Effect.gen(function*() {
      const app = Layer.unwrapScoped(Effect.map(
        NodeUpgrade.make({ handler: idle }),
        (upgrade) => HttpServer.serve(upgrade)
      ))
      const server = yield* serveLayer(app)
      const peer = yield* answerTo(server.port, handshake("/").replace("GET", "POST"))
      assert.strictEqual(peer.status, 405)
      assert.match(peer.text, /allow: GET\r\n/i)
      const router = yield* serve(echo)
      assert.strictEqual((yield* answerTo(router.port, handshake("/echo").replace("GET", "PUT"))).status, 404)
    }))

  it.scopedLive("extensions that are malformed are refused and leave nothing behind", () =>
    Effect.gen(function*() {
      const server = yield* serve(NodeUpgrade.layer("/", { compression: true, handler: idle }))
      const extensions = [
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate;;",
        "=",
        "permessage-deflate; x=1"
      ]
      for (const extension of extensions) {
        const peer = yield* answerTo(server.port, handshake("/", { "Sec-WebSocket-Extensions": extension }))
        assert.strictEqual(peer.status, 400, extension)
      }
      yield* eventuallyEffect(holds(server, 0))
      assert.strictEqual(yield* server.hub.size, 0)
    }))
})

describe("metrics", () => {
  it.scopedLive("count what is refused, by reason", () =>
    Effect.gen(function*() {
      const server = yield* serve(
        NodeUpgrade.layer("/", {
          subprotocols: ["v1"],
          authorize: (request) =>
            request.headers["x-who"] === undefined
              ? new NodeUpgrade.Refused({ status: 401, message: "Tell me who you are." })
              : Effect.void,
          handler: idle
        }),
        { hub: { connections: 1 } }
      )
      const url = server.url("/")
      const ada = { headers: { "X-Who": "ada" } }
      assert.deepStrictEqual(yield* refusals(request(url)), { malformed: 1 })
      assert.deepStrictEqual(yield* refusals(refused(url, { origin: "https://evil.example" })), { origin: 1 })
      assert.deepStrictEqual(yield* refusals(refused(url, { ...ada, protocols: ["v2"] })), { subprotocol: 1 })
      assert.deepStrictEqual(yield* refusals(refused(url)), { unauthorized: 1 })
      const scope = yield* Effect.scope
      assert.deepStrictEqual(yield* refusals(Scope.extend(connect(url, ada), scope)), {})
      assert.deepStrictEqual(yield* refusals(refused(url, ada)), { full: 1 })
      yield* server.hub.drain
      assert.deepStrictEqual(yield* refusals(refused(url, ada)), { unavailable: 1 })
    }))
})

describe("any time", () => {
  it.scopedLive("a hub that is starting answers 503, then takes connections, and drains", () =>
    Effect.gen(function*() {
      const ready = yield* Deferred.make<void>()
      const http = NodeGuard.createServer()
      const hubScope = yield* Scope.make()
      const hub = yield* Hub.make({}, Deferred.await(ready)).pipe(Scope.extend(hubScope))
      yield* Layer.build(
        HttpLayerRouter.serve(echo, { disableLogger: true, disableListenLog: true }).pipe(
          Layer.provide(Layer.succeed(Hub.Hub, hub)),
          Layer.provide(layerOn(http))
        )
      )
      const url = serverOf(hub, http).url("/echo")
      assert.include((yield* assertRefused(url, 503, { retryAfter: "1" })).body, "starting")
      yield* Deferred.succeed(ready, undefined)
      yield* eventuallyEffect(Effect.map(hub.state, (state) => state === "Open"))
      const peer = yield* connect(url)
      assert.strictEqual(yield* peer.ask("open"), "open")
      yield* hub.drain
      assert.strictEqual((yield* peer.closed).code, CloseReason.CloseCode.goingAway)
      assert.include((yield* assertRefused(url, 503, { retryAfter: "1" })).body, "draining")
      yield* Scope.close(hubScope, Exit.void)
      assert.include((yield* assertRefused(url, 503, { retryAfter: "1" })).body, "closed")
    }))

  it.scopedLive("a handshake that is authorised when the hub has begun to drain is 503", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const server = yield* serve(NodeUpgrade.layer("/", {
        authorize: () => Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(go)),
        handler: idle
      }))
      const answer = yield* Effect.fork(refused(server.url("/")))
      yield* Deferred.await(started)
      yield* server.hub.drain
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual((yield* answer).status, 503)
    }))

  it.scopedLive("a handshake that is authorised when its mount has closed is 503", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const scope = yield* Scope.make()
      const app = Layer.unwrapScoped(Effect.gen(function*() {
        const upgrade = yield* NodeUpgrade.make({
          authorize: () => Effect.zipRight(Deferred.succeed(started, undefined), Deferred.await(go)),
          handler: idle
        }).pipe(Scope.extend(scope))
        return HttpServer.serve(upgrade)
      }))
      const server = yield* serveLayer(app)
      const answer = yield* Effect.fork(refused(server.url("/")))
      yield* Deferred.await(started)
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.succeed(go, undefined)
      assert.strictEqual((yield* answer).status, 503)
      assert.strictEqual(yield* server.hub.size, 0)
    }))

  it.scopedLive("the guard answers before an application is mounted and after it was unmounted", () =>
    Effect.gen(function*() {
      const http = NodeGuard.createServer()
      const httpContext = yield* Layer.build(layerOn(http))
      const url = `ws://127.0.0.1:${portOf(http)}/echo`
      const notReady = Effect.gen(function*() {
        yield* assertRefused(url, 503, { retryAfter: "1" })
        const answer = yield* request(url)
        assert.strictEqual(answer.status, 503)
        assert.strictEqual(answer.headers["retry-after"], "1")
        assertSentence(answer)
      })
      yield* notReady
      const scope = yield* Scope.make()
      const app = HttpLayerRouter.serve(echo, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provide(Hub.layer()),
        Layer.provide(Layer.succeedContext(httpContext))
      )
      yield* Layer.buildWithScope(app, scope)
      const peer = yield* connect(url)
      assert.strictEqual(yield* peer.ask("mounted"), "mounted")
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* peer.closed).code, CloseReason.CloseCode.goingAway)
      yield* notReady
    }))

  it.scopedLive("a mount whose scope has closed drains its own connections and takes no more", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const app = Layer.unwrapScoped(Effect.gen(function*() {
        const first = yield* NodeUpgrade.make({ handler: idle }).pipe(Scope.extend(scope))
        const second = yield* NodeUpgrade.make({
          handler: (connection) => connection.runForEach((message) => connection.send(message))
        })
        return HttpServer.serve(
          HttpRouter.empty.pipe(HttpRouter.get("/first", first), HttpRouter.get("/second", second))
        )
      }))
      const server = yield* serveLayer(app)
      const mine = yield* connect(server.url("/first"))
      const other = yield* connect(server.url("/second"))
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* mine.closed).code, CloseReason.CloseCode.goingAway)
      assert.strictEqual(yield* other.ask("open"), "open")
      assert.strictEqual(yield* server.hub.size, 1)
      yield* assertRefused(server.url("/first"), 503, { retryAfter: "1" })
    }))
})

describe("compression", () => {
  const compressed = Layer.unwrapEffect(Effect.map(Hub.Hub, (hub) =>
    NodeUpgrade.layer("/deflate", {
      compression: { threshold: 64 },
      handler: (connection) => connection.runForEach((message) => hub.broadcast(message))
    })))

  it.scopedLive("is off by default, and negotiated where it is on", () =>
    Effect.gen(function*() {
      const server = yield* serve(Layer.merge(echo, compressed))
      const off = yield* connect(server.url("/echo"), { perMessageDeflate: true })
      assert.strictEqual(off.ws.extensions, "")
      const on = yield* connect(server.url("/deflate"), { perMessageDeflate: true })
      assert.include(on.ws.extensions, "permessage-deflate")
      const text = "abc".repeat(10_000)
      assert.strictEqual(yield* on.ask(text), text)
      yield* on.send("x".repeat(70_000))
      assert.strictEqual((yield* on.closed).code, 1009)
    }))

  it.scopedLive("fan-out to compressed and uncompressed peers: all of it, in order", () =>
    Effect.gen(function*() {
      const server = yield* serve(Layer.merge(everyone, compressed))
      const deflates = [false, true, false, true]
      const peers = yield* Effect.forEach(deflates, (perMessageDeflate) =>
        connect(server.url("/deflate"), { perMessageDeflate }))
      const messages = Array.from(
        { length: 400 },
        (_, n) =>
          n % 2 === 0 ? `${n}:${"text ".repeat(n)}` : new Uint8Array(n).fill(n & 0xff)
      )
      for (const message of messages) {
        assert.strictEqual(yield* server.hub.broadcast(message), 4)
        if (typeof message === "string" && message.length % 7 === 0) yield* Effect.yieldNow()
      }
      const closing = yield* Effect.fork(server.hub.closeAll({ code: 4002, reason: "done" }))
      for (const peer of peers) {
        assert.deepStrictEqual(yield* peer.rest, messages)
        assert.deepStrictEqual(yield* peer.closed, { code: 4002, reason: "done" })
      }
      assert.strictEqual(yield* closing, 4)
    }))

  const listening = Effect.acquireRelease(
    Effect.async<WebSocketServer>((resume) => {
      const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: { threshold: 0 } })
      server.once("listening", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.sync(() => server.close())
  )

  for (const [size, told] of [[10, true], [60_000, false]] as const) {
    it.scopedLive(`the drain is told once all that was written has left, if it was too much: ${size} bytes each`, () =>
      Effect.gen(function*() {
        const server = yield* listening
        const opened = yield* Deferred.make<Transport>()
        /** What had not left whenever the drain was told. */
        const drains: Array<number> = []
        server.once("connection", (ws, { socket }) => {
          const transport = NodeTransport.make(ws, socket, {
            url: "/",
            headers: {},
            remoteAddress: Option.none(),
            subprotocol: Option.none(),
            principal: undefined
          })
          transport.open({
            onMessage: () => {},
            onPong: () => {},
            onDrain: () => drains.push(transport.bufferedBytes()),
            onEnd: () => {},
            onGone: () => {}
          })
          Deferred.unsafeDone(opened, Effect.succeed(transport))
        })
        const address = server.address()
        if (address === null || typeof address === "string") return assert.fail("The server does not listen on a port.")
        const peer = yield* connect(`ws://127.0.0.1:${address.port}/`, { perMessageDeflate: true })
        const transport = yield* Deferred.await(opened)
        const messages = Array.from({ length: 20 }, () => new Uint8Array(randomBytes(size)))
        const batch = messages.reduce((batch, message) => batch.append(Frame.make(message)), Frame.Batch.empty())
        assert.strictEqual(transport.write(batch), told)
        assert.deepStrictEqual(yield* peer.take(messages.length), messages)
        yield* eventually(() => (told || drains.length > 0) && transport.bufferedBytes() === 0)
        // Whatever else would be told, is told by now.
        yield* Effect.replicateEffect(eventually(() => true), 3)
        assert.deepStrictEqual(drains, told ? [] : [0])
      }))
  }

  it.scopedLive("a slow peer gets all of it in order once it reads", () =>
    Effect.gen(function*() {
      const server = yield* serve(compressed, { hub: { outboxBytes: 64 * 1024 * 1024 } })
      const slow = yield* connect(server.url("/deflate"), { perMessageDeflate: true })
      const fast = yield* connect(server.url("/deflate"))
      slow.ws.pause()
      const messages = Array.from({ length: 300 }, () => new Uint8Array(randomBytes(64 * 1024)))
      for (const message of messages) {
        yield* server.hub.broadcast(message)
        assert.deepStrictEqual(yield* fast.next, message)
      }
      slow.ws.resume()
      for (const message of messages) assert.deepStrictEqual(yield* slow.next, message)
      assert.strictEqual(yield* server.hub.broadcast("after"), 2)
      assert.strictEqual(yield* slow.next, "after")
    }))

  it.scopedLive("is of what was agreed on, though a turn gathers it for all", () =>
    Effect.gen(function*() {
      const server = yield* serve(compressed)
      const sockets: Array<Duplex> = []
      const finishRequest = (request: Http.ClientRequest) => {
        request.on("upgrade", (_response, socket) => sockets.push(socket))
        request.end()
      }
      const on = yield* connect(server.url("/deflate"), { perMessageDeflate: true, finishRequest })
      const off = yield* connect(server.url("/deflate"), { finishRequest })
      const message = "again and ".repeat(1000)
      yield* server.hub.broadcast(message)
      for (const peer of [on, off]) assert.strictEqual(yield* peer.next, message)
      const [small, whole] = sockets.map((socket) => socket instanceof Net.Socket ? socket.bytesRead : NaN)
      assert.isBelow(small ?? NaN, message.length / 2)
      assert.isAbove(whole ?? NaN, message.length)
    }))

  it.scopedLive("a peer that does not read is ended by the policy", () =>
    Effect.gen(function*() {
      const server = yield* serve(compressed, { hub: { outboxBytes: 256 * 1024, closeGrace: 50 } })
      const slow = yield* connect(server.url("/deflate"), { perMessageDeflate: true })
      slow.ws.pause()
      const [connection] = yield* server.hub.connections
      while ((yield* server.hub.broadcast(randomBytes(64 * 1024))) === 1) yield* eventually(() => true)
      assert.strictEqual((yield* connection?.closed ?? Effect.dieMessage("nobody")).by, "slow-consumer")
      assert.strictEqual(yield* server.hub.size, 0)
    }))
})

describe("construction", () => {
  it.scopedLive("a proxy that is no address is an error that names the option", () =>
    Effect.gen(function*() {
      const wrong = [
        "",
        "localhost",
        "10.0.0.0/33",
        "::/129",
        "10.0.0.0/",
        "10.0.0.0/-1",
        "10.0.0.0/8/8",
        "1.2.3",
        "10.0.0.0/1e1"
      ]
      for (const proxy of wrong) {
        const options = { trustedProxies: ["127.0.0.1", proxy], handler: () => Effect.void }
        const error = yield* NodeUpgrade.make(options).pipe(Effect.asVoid, Effect.flip, Effect.provide(Hub.layer()))
        assert.instanceOf(error, InvalidOption)
        assert.include(error.message, "trustedProxies")
        assert.include(error.message, JSON.stringify(proxy))
      }
    }))

  it.scopedLive("an origin that no browser would send is an error that names the option", () =>
    Effect.gen(function*() {
      const wrong = ["https://a.example/x", "https://a.example/", "https://a.example:443", "a.example", "*", "same", ""]
      for (const origin of wrong) {
        const options = { origins: ["https://app.example:8443", "null", origin], handler: () => Effect.void }
        const error = yield* NodeUpgrade.make(options).pipe(Effect.asVoid, Effect.flip, Effect.provide(Hub.layer()))
        assert.instanceOf(error, InvalidOption)
        assert.include(error.message, "origins")
        assert.include(error.message, JSON.stringify(origin))
      }
    }))

  const wrong: ReadonlyArray<
    readonly [key: string, actual: string, options: Omit<NodeUpgrade.Options<undefined, never, never>, "handler">]
  > = [
    ["subprotocols", "\"v 2\"", { subprotocols: ["v1", "v 2"] }],
    ["subprotocols", "\"\"", { subprotocols: [""] }],
    ["closeWith.drain", "1005", { closeWith: { heartbeat: { code: 4000 }, drain: { code: 1005 } } }],
    ["compression.serverMaxWindowBits", "99", { compression: { serverMaxWindowBits: 99 } }],
    ["compression.clientMaxWindowBits", "7", { compression: { clientMaxWindowBits: 7 } }],
    ["compression.threshold", "-1", { compression: { threshold: -1 } }],
    ["compression.concurrencyLimit", "0", { compression: { concurrencyLimit: 0 } }],
    ["compression.zlibDeflateOptions", "level", { compression: { zlibDeflateOptions: { level: 99 } } }],
    ["compression.zlibInflateOptions", "chunkSize", { compression: { zlibInflateOptions: { chunkSize: 1 } } }]
  ]
  for (const [key, actual, options] of wrong) {
    it.scopedLive(`an error names ${key} if it is ${actual}`, () =>
      Effect.gen(function*() {
        const error = yield* NodeUpgrade.make({ ...options, handler: () => Effect.void }).pipe(
          Effect.asVoid,
          Effect.flip,
          Effect.provide(Hub.layer())
        )
        assert.instanceOf(error, InvalidOption)
        assert.include(error.message, key)
        assert.include(error.message, actual)
      }))
  }

  it.scopedLive("an error names an option that there is not, and those that there are", () =>
    Effect.gen(function*() {
      const options = { trustedProxy: ["10.0.0.1"], handler: () => Effect.void }
      for (
        const mounted of [
          Effect.asVoid(NodeUpgrade.make(options)),
          Effect.asVoid(Layer.build(NodeUpgrade.layerGuard("/", options))).pipe(
            Effect.provide(NodeGuard.layer({ host: "127.0.0.1", port: 0 }))
          )
        ]
      ) {
        const error = yield* mounted.pipe(Effect.flip, Effect.provide(Hub.layer()))
        assert.instanceOf(error, InvalidOption)
        assert.match(error.message, /^trustedProxy: expected one of .*authorize.*trustedProxies/)
      }
    }))

  it.scopedLive("an error names an end that there is not, and those that there are", () =>
    Effect.gen(function*() {
      const closeWith = { drain: { code: 3001 }, heartbeats: { code: 4000 } }
      const error = yield* NodeUpgrade.make({ closeWith, handler: () => Effect.void }).pipe(
        Effect.asVoid,
        Effect.flip,
        Effect.provide(Hub.layer())
      )
      assert.instanceOf(error, InvalidOption)
      assert.match(error.message, /^closeWith\.heartbeats: expected one of .*heartbeat,.*drain.*"heartbeats"/)
    }))

  it.scopedLive("what is right is taken", () =>
    NodeUpgrade.make({
      subprotocols: ["v1.json", "a+b"],
      origins: "any",
      closeWith: { drain: { code: 3001 } },
      compression: { serverMaxWindowBits: 10, threshold: 0, zlibDeflateOptions: { level: 1, memLevel: 4 } },
      handler: () => Effect.void
    }).pipe(Effect.provide(Hub.layer())))

  it("a refusal has a status that refuses", () => {
    for (const status of [200, 101, 0, -1, 399, 600, 404.5, NaN, Infinity]) {
      assert.throws(
        () => new NodeUpgrade.Refused({ status, message: "No." }),
        RangeError,
        `A handshake cannot be refused with status ${status}`
      )
    }
    for (const status of [400, 451, 599]) {
      assert.strictEqual(new NodeUpgrade.Refused({ status, message: "No." }).status, status)
    }
  })

  it.scopedLive("and one that has not is a bug of the application, and lets nobody in", () =>
    Effect.gen(function*() {
      const server = yield* serve(NodeUpgrade.layer("/", {
        authorize: () => Effect.suspend(() => new NodeUpgrade.Refused({ status: 101, message: "Come in." })),
        handler: idle
      }))
      assert.strictEqual((yield* refused(server.url("/"))).status, 500)
      assert.strictEqual(yield* server.hub.size, 0)
    }).pipe(Effect.provide(quiet)))

  it.scopedLive("so it is for a route, when its layer is built", () =>
    Effect.gen(function*() {
      const routes = NodeUpgrade.layer("/", { trustedProxies: ["nonsense"], handler: () => Effect.void })
      const exit = yield* Effect.exit(serve(routes))
      assert.include(String(exit), "trustedProxies")
    }))
})

describe("straight at the guarded server", () => {
  const mount = NodeUpgrade.layerGuard("/door", {
    trustedProxies: ["127.0.0.1"],
    subprotocols: ["v1"],
    authorize: (request) =>
      request.headers["x-who"] === "slow"
        ? Effect.never
        : request.headers["x-who"] === "bug"
        ? Effect.die("a bug")
        : request.headers["x-who"] === "ada"
        ? Effect.succeed({ name: "ada" })
        : new NodeUpgrade.Refused({ status: 401, message: "Tell me who you are." }),
    handler: (connection) =>
      Effect.zipRight(
        connection.send(
          `${connection.handshake.principal.name} ${Option.getOrNull(connection.handshake.remoteAddress)}`
        ),
        idle(connection)
      )
  })
  const who = (name: string) => ({ headers: { "X-Who": name, "X-Forwarded-For": "203.0.113.7" } })

  it.scopedLive("authorises, refuses, and knows the peer", () =>
    Effect.gen(function*() {
      const server = yield* serveGuard(mount, { hub: { handshakeTimeout: 50, connectionsPerAddress: 1 } })
      const url = server.url("/door?query=1")
      const peer = yield* connect(url, who("ada"))
      assert.strictEqual(yield* peer.next, "ada 203.0.113.7")
      yield* assertRefused(url, 429, { ...who("ada"), retryAfter: "5" })
      yield* peer.close()
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 0))
      yield* assertRefused(url, 401)
      yield* assertRefused(url, 503, { ...who("slow"), retryAfter: "1" })
      yield* assertRefused(url, 500, who("bug"))
      yield* assertRefused(url, 400, { ...who("ada"), protocols: ["v2"] })
      yield* assertRefused(url, 403, { ...who("ada"), origin: "https://evil.example" })
      yield* assertRefused(server.url("/elsewhere"), 503, { retryAfter: "1" })
      const next = yield* connect(url, { ...who("ada"), protocols: ["v1"] })
      assert.strictEqual(next.ws.protocol, "v1")
    }).pipe(Effect.provide(quiet)))

  it.scopedLive("lets a peer go that leaves during its authorisation, or has it when the server closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      let authorising = 0
      const slow = NodeUpgrade.layerGuard("/slow", {
        authorize: () =>
          Effect.acquireUseRelease(
            Effect.sync(() => authorising++),
            () => Effect.never,
            () => Effect.sync(() => authorising--)
          ),
        handler: idle
      })
      const server = yield* serveGuard(slow).pipe(Scope.extend(scope))
      const peers = yield* Effect.replicateEffect(raw(server.port), 4)
      for (const peer of peers) yield* peer.send(handshake("/slow"))
      yield* eventually(() => authorising === 4)
      peers[0]?.socket.resetAndDestroy()
      peers[1]?.socket.destroy()
      peers[2]?.socket.end()
      yield* eventually(() => authorising === 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(authorising, 0)
      yield* eventually(() => peers[3]?.socket.readableEnded === true)
      assert.strictEqual(peers[3]?.status, 503)
    }))

  /** A guarded server with a hub, to mount on. */
  const guarded = Effect.gen(function*() {
    const context = yield* Layer.build(
      Layer.merge(NodeGuard.layer({ host: "127.0.0.1", port: 0 }), Hub.layer({ closeGrace: 50 }))
    )
    const { address } = Context.get(context, HttpServer.HttpServer)
    if (address._tag !== "TcpAddress") return yield* Effect.dieMessage("The server does not listen on a port.")
    return { context, port: address.port, url: (path: string) => `ws://127.0.0.1:${address.port}${path}` }
  })

  it.scopedLive("the latest mount of a path has it, and when it goes the one before has it again", () =>
    Effect.gen(function*() {
      const { context, url } = yield* guarded
      const mounted = (name: string) =>
        Effect.gen(function*() {
          const scope = yield* Scope.make()
          const layer = NodeUpgrade.layerGuard("/name", {
            handler: (connection) => Effect.zipRight(connection.send(name), idle(connection))
          })
          yield* Layer.buildWithScope(Layer.provide(layer, Layer.succeedContext(context)), scope)
          return Scope.close(scope, Exit.void)
        })
      const whose = Effect.scoped(Effect.flatMap(connect(url("/name")), (peer) => peer.next))
      const closeFirst = yield* mounted("first")
      assert.strictEqual(yield* whose, "first")
      const closeSecond = yield* mounted("second")
      assert.strictEqual(yield* whose, "second")
      const closeThird = yield* mounted("third")
      assert.strictEqual(yield* whose, "third")
      yield* closeSecond
      assert.strictEqual(yield* whose, "third")
      yield* closeThird
      assert.strictEqual(yield* whose, "first")
      yield* closeFirst
      yield* assertRefused(url("/name"), 503, { retryAfter: "1" })
    }))

  it.scopedLive("nothing but frames follows 101, even if the mount closes in the same step", () =>
    Effect.gen(function*() {
      const { context, port } = yield* guarded
      const hub = Context.get(context, Hub.Hub)
      const scope = yield* Scope.make()
      const closes: Hub.Hub["Type"] = {
        ...hub,
        unsafeAccept: (runtime, transport, run, options) => {
          const accepted = hub.unsafeAccept(runtime, transport, run, options)
          Effect.runFork(Scope.close(scope, Exit.void))
          return accepted
        }
      }
      const layer = NodeUpgrade.layerGuard("/", { authorize: () => Effect.yieldNow(), handler: idle })
      yield* Layer.buildWithScope(
        layer.pipe(Layer.provide(Layer.succeed(Hub.Hub, closes)), Layer.provide(Layer.succeedContext(context))),
        scope
      )
      const peer = yield* raw(port)
      yield* peer.send(handshake("/"))
      yield* eventually(() => peer.socket.readableEnded)
      assert.strictEqual(peer.status, 101)
      assert.deepStrictEqual(peer.text.match(/HTTP\/1.1/g), ["HTTP/1.1"])
      assert.deepStrictEqual(peer.frames.map((one) => one.opcode), [opcode.close])
      assert.strictEqual(peer.closeCode, 1001)
    }))

  it.scopedLive("a mount of one's own may take its time: a peer that resets meanwhile ends nothing", () =>
    Effect.gen(function*() {
      const { context, port } = yield* guarded
      const sockets: Array<Duplex> = []
      yield* Context.get(context, NodeGuard.Guard).mount("/own", (_request, socket) => sockets.push(socket))
      const peer = yield* raw(port)
      yield* peer.send(handshake("/own"))
      yield* eventually(() => sockets.length === 1)
      peer.socket.resetAndDestroy()
      yield* eventually(() => sockets[0]?.destroyed === true)
      assert.strictEqual(sockets[0]?.listenerCount("error"), 1)
    }))

  it.scopedLive("an application beside it answers everything else", () =>
    Effect.gen(function*() {
      const app = HttpLayerRouter.serve(
        Layer.merge(echo, HttpLayerRouter.add("GET", "/hello", HttpServerResponse.text("hello"))),
        { disableLogger: true, disableListenLog: true }
      )
      const server = yield* serveGuard(Layer.merge(app, mount))
      const peer = yield* connect(server.url("/door"), who("ada"))
      assert.strictEqual(yield* peer.next, "ada 203.0.113.7")
      const other = yield* connect(server.url("/echo"))
      assert.strictEqual(yield* other.ask("routed"), "routed")
      assert.strictEqual((yield* request(server.url("/hello"))).body, "hello")
      assert.strictEqual((yield* request(server.url("/door"))).status, 404)
      assert.strictEqual((yield* refused(server.url("/elsewhere"))).status, 404)
    }))
})
