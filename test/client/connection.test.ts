import { assert, describe, it, vi } from "@effect/vitest"
import { Centrifuge, Subscription } from "centrifuge"
import { Client, ConnectionError, type RequestError, Unauthorized, type Unsubscribed } from "effect-ws-hub/client"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Redacted from "effect/Redacted"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { disconnects, ProtocolError } from "../../src/channels/ProtocolCode.js"
import { inSeconds, serve, token } from "../channels/support.js"
import { connect, failure, hasty, Network, next, open, refusal, take, until } from "./support.js"

const clientEvents = ["connecting", "connected", "disconnected", "message", "error"] as const
const subscriptionEvents = [
  "subscribing",
  "subscribed",
  "unsubscribed",
  "publication",
  "join",
  "leave",
  "error"
] as const

class Offline extends Data.TaggedError("Offline")<{}> {}
class Session extends Context.Tag("Session")<Session, { readonly token: string }>() {}

describe("connecting", () => {
  it.scopedLive("gives an id and what the server says, and the state tells of it", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* open(server, { claims: { user: "ada", data: { hello: 1 } } })
      const changes = yield* Effect.fork(take(client.state.changes, 2))
      const connected = yield* client.connected
      assert.deepStrictEqual(connected.data, { hello: 1 })
      assert.deepStrictEqual(yield* client.state.get, connected)
      assert.deepStrictEqual((yield* Fiber.join(changes)).map(({ _tag }) => _tag), ["Connecting", "Connected"])
    }))

  it.scopedLive("is a layer, that says who the client is", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const layer = Client.layer({
        url: server.url,
        websocket: new Network().websocket,
        token: Redacted.make(token({ user: "ada" })),
        data: { hello: 1 },
        name: "test",
        version: "7"
      })
      yield* Effect.flatMap(Client.Client, (client) => client.connected).pipe(Effect.provide(layer))
      assert.deepInclude(server.asked.connect[0], {
        token: token({ user: "ada" }),
        data: { hello: 1 },
        name: "test",
        version: "7"
      })
    }))

  it.scopedLive("fails with the server's code when it is refused for good", () =>
    Effect.gen(function*() {
      const server = yield* serve({ anonymous: false })
      const client = yield* open(server)
      const error = yield* Effect.flip(client.connected)
      assert.deepInclude(error, { _tag: "ConnectionError", code: 3501, reason: "bad request" })
      assert.deepStrictEqual(yield* client.state.get, { _tag: "Disconnected", error })
      assert.deepStrictEqual(yield* refusal(client.rpc("x")), error)
      assert.deepStrictEqual(yield* Effect.flip(client.subscribe("x")), error)
      assert.deepStrictEqual(yield* failure(client.messages), error)
      // It ends after this.
      assert.deepStrictEqual(yield* take(client.state.changes, 2), [{ _tag: "Disconnected", error }])
    }))

  it.scopedLive("fails at once without anything to open sockets with", () =>
    Effect.gen(function*() {
      const had = globalThis.WebSocket
      Reflect.deleteProperty(globalThis, "WebSocket")
      yield* Effect.addFinalizer(() => Effect.sync(() => Object.assign(globalThis, had && { WebSocket: had })))
      const error = yield* Effect.flip(Client.make({ url: "ws://127.0.0.1:1" }))
      assert.instanceOf(error, ConnectionError)
      assert.strictEqual(error.code, 12)
    }))

  it.scopedLive("fails at once with what no attempt can succeed with", () =>
    Effect.gen(function*() {
      const url = "ws://127.0.0.1:1"
      for (
        const options of [{ url: "" }, { url: "nonsense" }, { url: "localhost:1/x" }, { url, data: 0 }, {
          url,
          data: { n: 1n }
        }]
      ) {
        const error = yield* Effect.flip(Client.make({ websocket: new Network().websocket, ...options }))
        assert.deepInclude(error, { _tag: "ConnectionError", code: 12 })
      }
    }))

  it.scopedLive("lets what may take for ever take for ever", () =>
    Effect.gen(function*() {
      const server = yield* serve({ pingInterval: 1000, pongTimeout: 500 })
      const network = new Network()
      const durations = ["timeout", "minReconnectDelay", "maxReconnectDelay", "maxServerPingDelay"] as const
      const client = yield* connect(server, {
        network,
        ...Object.fromEntries(durations.map((name) => [name, Duration.infinity]))
      })
      const { client: id } = yield* client.connected
      // A timer of too many milliseconds fires in the first.
      yield* Effect.sleep("50 millis")
      assert.strictEqual((yield* client.connected).client, id)
      assert.lengthOf(network.sockets, 1)
    }))

  it.scopedLive("goes on trying while nobody is reached, and says why", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const network = new Network()
      network.down = true
      const client = yield* open(server, { network })
      const failed = yield* next(Stream.filter(
        client.state.changes,
        (state) => state._tag === "Connecting" && state.error !== undefined
      ))
      assert.deepInclude(failed, {
        _tag: "Connecting",
        error: { type: "transport", code: 2, message: "transport closed" }
      })
      network.down = false
      yield* client.connected
    }))

  it.scopedLive("comes back after a cut", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const network = new Network()
      const client = yield* connect(server, { network })
      const back = yield* Effect.fork(take(Stream.filter(client.state.changes, ({ _tag }) => _tag === "Connecting"), 1))
      const first = yield* client.connected
      yield* Effect.yieldNow()
      yield* network.cut
      const [away] = yield* Fiber.join(back)
      assert.deepInclude(away, { code: 1, reason: "transport closed" })
      assert.notStrictEqual((yield* client.connected).client, first.client)
    }))
})

describe("tokens of the connection", () => {
  it.scopedLive("come from an effect with services, which runs in a scope of its own", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      let released = false
      const getToken = Effect.gen(function*() {
        yield* Effect.addFinalizer(() => Effect.sync(() => released = true))
        return (yield* Session).token
      })
      const layer: Layer.Layer<Client.Client, ConnectionError, Session> = Client.layer({
        url: server.url,
        websocket: new Network().websocket,
        getToken
      })
      yield* Effect.flatMap(Client.Client, (client) => client.connected).pipe(
        Effect.provide(layer),
        Effect.provideService(Session, { token: token({ user: "ada" }) })
      )
      assert.strictEqual(server.asked.connect[0]?.token, token({ user: "ada" }))
      assert.isTrue(released)
    }))

  it.scopedLive("are renewed before they expire", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 1500 })
      let fetched = 0
      const renewed = { user: "ada" }
      const client = yield* connect(server, {
        claims: { user: "ada", expireAt: inSeconds(2) },
        getToken: Effect.sync(() => {
          fetched++
          return token(renewed)
        })
      })
      const first = yield* client.connected
      yield* until(() => server.asked.refresh.length === 1)
      assert.deepStrictEqual(server.asked.refresh, [token(renewed)])
      assert.strictEqual(fetched, 1)
      // The same connection goes on.
      assert.instanceOf(yield* refusal(client.rpc("nobody answers")), ProtocolError)
      assert.strictEqual((yield* client.connected).client, first.client)
    }))

  it.scopedLive("a failure is tried again, and is in the state", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const offline = yield* Deferred.make<void>()
      let fetched = 0
      const client = yield* open(server, {
        getToken: Effect.suspend(() => {
          fetched++
          return fetched === 1
            ? Effect.fail(new Offline())
            : Effect.as(Deferred.await(offline), token({ user: "ada" }))
        })
      })
      const failed = yield* next(Stream.filter(
        client.state.changes,
        (state) => state._tag === "Connecting" && state.error !== undefined
      ))
      assert.deepInclude(failed, { _tag: "Connecting" })
      assert.deepInclude("error" in failed ? failed.error : {}, { type: "connectToken", cause: new Offline() })
      yield* Deferred.succeed(offline, undefined)
      yield* client.connected
      assert.strictEqual(fetched, 2)
    }))

  it.scopedLive("leave nothing behind, however often they are fetched", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const warnings: Array<string> = []
      const listener = ({ name }: Error) => warnings.push(name)
      process.on("warning", listener)
      yield* Effect.addFinalizer(() => Effect.sync(() => process.off("warning", listener)))
      let fetched = 0
      const client = yield* open(server, {
        minReconnectDelay: 1,
        maxReconnectDelay: 1,
        getToken: Effect.suspend(() => ++fetched < 15 ? Effect.fail(new Offline()) : Effect.succeed(token({})))
      }).pipe(Logger.withMinimumLogLevel(LogLevel.Error))
      yield* client.connected
      // Node warns of the eleventh listener, when the turn is over.
      yield* Effect.async<void>((resume) => void setImmediate(() => resume(Effect.void)))
      assert.deepStrictEqual(warnings, [])
    }))

  it.scopedLive("Unauthorized gives up", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const unauthorized = new Unauthorized({ cause: "signed out" })
      let fetched = 0
      const client = yield* open(server, {
        getToken: Effect.suspend(() => {
          fetched++
          return Effect.fail(unauthorized)
        })
      })
      const error = yield* Effect.flip(client.connected)
      assert.deepInclude(error, { _tag: "ConnectionError", code: 1, reason: "unauthorized", cause: unauthorized })
      assert.strictEqual(fetched, 1)
    }))

  it.scopedLive("one that is being fetched is interrupted when the client's scope closes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [asked, interrupted] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const scope = yield* Scope.make()
      yield* open(server, {
        getToken: Deferred.succeed(asked, undefined).pipe(
          Effect.zipRight(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      }).pipe(Scope.extend(scope))
      yield* Deferred.await(asked)
      yield* Scope.close(scope, Exit.void)
      yield* Deferred.await(interrupted)
    }))
})

describe("requests", () => {
  it.scopedLive("call methods, send, and hear messages", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.rpc("double", (data) => Effect.succeed(Number(data) * 2))
      const heard = yield* Deferred.make<unknown>()
      yield* server.channels.onMessage((data) => Deferred.succeed(heard, data))
      const client = yield* open(server)
      // It waits until it is connected.
      assert.strictEqual(yield* client.rpc("double", 21), 42)
      yield* client.send({ hello: 1 })
      assert.deepStrictEqual(yield* Deferred.await(heard), { hello: 1 })
      const { client: id } = yield* client.connected
      const messages = yield* Effect.fork(take(client.messages, 2))
      yield* Effect.yieldNow()
      yield* server.channels.send(id, null)
      yield* server.channels.send(id, { hello: 2 })
      assert.deepStrictEqual(yield* Fiber.join(messages), [null, { hello: 2 }])
    }))

  it.scopedLive("publish, and read history and presence, by name", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server, { claims: { user: "ada", info: { name: "Ada" } } })
      yield* client.publish("kept:x", { n: 1 })
      yield* client.publish("kept:x", { n: 2 })
      const { offset, publications } = yield* client.history("kept:x", { limit: 1, reverse: true })
      assert.strictEqual(offset, 2)
      assert.deepInclude(publications[0], { data: { n: 2 }, offset: 2 })
      assert.deepInclude(publications[0]?.info, { user: "ada", connInfo: { name: "Ada" } })
      const { client: id } = yield* client.connected
      yield* client.subscribe("present:x")
      assert.deepStrictEqual(
        yield* client.presence("present:x"),
        new Map([[id, { client: id, user: "ada", connInfo: { name: "Ada" } }]])
      )
      assert.deepStrictEqual(yield* client.presenceStats("present:x"), { clients: 1, users: 1 })
    }))

  it.scopedLive("fail with the server's code", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.rpc("somebody answers", () => Effect.void)
      const client = yield* connect(server)
      const error = yield* refusal(client.rpc("nobody answers"))
      assert.deepInclude(error, { _tag: "ProtocolError", code: 104, reason: "method not found", temporary: false })
      assert.deepInclude(yield* Effect.flip(client.publish("closed:x", 1)), { _tag: "ProtocolError", code: 103 })
    }))

  it.scopedLive("have no answer when the connection goes first, or too late", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const network = new Network()
      const called = yield* Deferred.make<void>()
      yield* server.channels.rpc("never", () => Effect.zipRight(Deferred.succeed(called, undefined), Effect.never))
      const client = yield* connect(server, { network, timeout: "200 millis" })
      const call = yield* Effect.fork(refusal(client.rpc("never")))
      yield* Deferred.await(called)
      yield* network.cut
      assert.deepInclude(yield* Fiber.join(call), { _tag: "Unanswered", code: 11 })
      assert.deepInclude(yield* refusal(client.rpc("never")), { _tag: "Unanswered", code: 1 })
    }))

  it.scopedLive("wait for a connection no longer than requests may take, and are not sent after that", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const network = new Network()
      network.down = true
      const client = yield* open(server, { network, timeout: "50 millis" })
      assert.deepInclude(yield* Effect.flip(client.publish("kept:x", "late")), { _tag: "Unanswered", code: 1 })
      // Nor is one that is interrupted while it waits.
      const waiting = yield* Effect.fork(client.publish("kept:x", "interrupted"))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(waiting)
      network.down = false
      yield* client.connected
      yield* client.publish("kept:x", "in time")
      const { publications } = yield* client.history("kept:x", { limit: 10 })
      assert.deepStrictEqual(publications.map(({ data }) => data), ["in time"])
    }))

  it.scopedLive("of a finalizer wait no longer either", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const network = new Network()
      const client = yield* connect(server, { network, timeout: "50 millis" })
      const subscription = yield* client.subscribe("x")
      network.down = true
      yield* network.cut
      yield* until(() => client.state.get.pipe(Effect.runSync)._tag === "Connecting")
      const codes: Array<string | number> = []
      const note = (request: Effect.Effect<void, RequestError | Unsubscribed>) =>
        Effect.addFinalizer(() =>
          Effect.map(Effect.flip(request), (error) => codes.push(error._tag, error.code)).pipe(Effect.orDie)
        )
      yield* Effect.scoped(Effect.zipRight(note(client.publish("x", 1)), note(subscription.publish(1))))
      assert.deepStrictEqual(codes, ["Unanswered", 1, "Unanswered", 1])
    }))
})

describe("the end", () => {
  it.scopedLive("of the scope disconnects, and leaves no socket, and every stream ends", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const network = new Network()
      const scope = yield* Scope.make()
      const client = yield* Scope.extend(connect(server, { network }), scope)
      const subscription = yield* client.subscribe("x")
      const ends = yield* Effect.fork(
        Effect.all([failure(client.messages), failure(subscription.events)], { concurrency: "unbounded" })
      )
      yield* Effect.yieldNow()
      assert.strictEqual(network.open, 1)
      yield* Scope.close(scope, Exit.void)
      for (const error of yield* Fiber.join(ends)) assert.deepInclude(error, { _tag: "ConnectionError", code: 0 })
      assert.deepInclude(yield* Effect.flip(client.connected), { code: 0 })
      yield* until(() => network.open === 0)
      assert.strictEqual(network.sockets.length, 1)
      yield* until(() => server.hub.size.pipe(Effect.runSync) === 0)
    }))

  it.scopedLive("of the scope leaves no listener", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [connects, subscribes] = [
        vi.spyOn(Centrifuge.prototype, "connect"),
        vi.spyOn(Subscription.prototype, "subscribe")
      ]
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.restoreAllMocks()))
      yield* Effect.scoped(Effect.gen(function*() {
        const client = yield* connect(server)
        yield* client.subscribe("x")
        yield* Effect.scoped(client.subscribe("y"))
      }))
      assert.lengthOf(connects.mock.contexts, 1)
      assert.lengthOf(subscribes.mock.contexts, 2)
      // The SDK's own listens for errors.
      for (const client of connects.mock.contexts as ReadonlyArray<Centrifuge>) {
        assert.deepStrictEqual(clientEvents.map((event) => client.listeners(event).length), [0, 0, 0, 0, 1])
      }
      for (const subscription of subscribes.mock.contexts as ReadonlyArray<Subscription>) {
        assert.deepStrictEqual(subscriptionEvents.map((event) => subscription.listeners(event).length), [
          0,
          0,
          0,
          0,
          0,
          0,
          1
        ])
      }
    }))

  it.scopedLive("of the scope ends a client that is not connected, too", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const network = new Network()
      const scope = yield* Scope.make()
      yield* Scope.extend(open(server, { network }), scope)
      assert.strictEqual(network.open, 1)
      yield* Scope.close(scope, Exit.void)
      yield* until(() => network.open === 0)
      // What would be tried again had time enough for it.
      yield* Effect.sleep(hasty.maxReconnectDelay * 2)
      assert.strictEqual(network.sockets.length, 1)
    }))

  it.scopedLive("by the server has its code", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server, { claims: { user: "ada" } })
      const subscription = yield* client.subscribe("x")
      yield* server.channels.disconnect("ada", { disconnect: disconnects.force })
      const error = yield* failure(subscription.events)
      assert.deepInclude(error, { _tag: "ConnectionError", code: 3503, reason: "force disconnect" })
      assert.deepStrictEqual(yield* Effect.flip(client.connected), error)
    }))
})
