/** What one channel, or one client, need not wait for, because another does. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/TestClock"
import * as BrokerMemory from "../../src/channels/BrokerMemory.js"
import type { ChannelHandler } from "../../src/channels/Channels.js"
import { Presence } from "../../src/channels/Presence.js"
import * as PresenceMemory from "../../src/channels/PresenceMemory.js"
import { errors } from "../../src/channels/ProtocolCode.js"
import { eventuallyEffect } from "../node/support.js"
import { inSeconds, online, open, serve, type Server, token, wire } from "./support.js"

/** Decides on `closed:` channels. */
const decides = (server: Server, subscribe: ChannelHandler["subscribe"]) =>
  server.channels.register({
    matches: (channel) => channel.startsWith("closed:"),
    subscribe,
    publish: () => Effect.succeed(Option.none())
  })

const empty = (id: number) => ({ id, subscribe: {} })

/** A handler that does not decide before the test ends. Gives what completes when it is asked. */
const deciding = (server: Server) =>
  Effect.gen(function*() {
    const [asked, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    yield* decides(
      server,
      () => Effect.as(Effect.zipRight(Deferred.succeed(asked, undefined), Deferred.await(gate)), {})
    )
    // A test that fails must not wait for it.
    yield* Effect.addFinalizer(() => Deferred.succeed(gate, undefined))
    return Deferred.await(asked)
  })

describe("while it is decided whether a client may subscribe", () => {
  it.scoped("the handler can change what else it is subscribed to", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* decides(server, ({ caller: { client, user } }) =>
        Effect.as(
          Effect.zipRight(
            server.channels.unsubscribe(user, "lobby", { client }),
            server.channels.subscribeUser(user, "room", { client })
          ),
          {}
        ))
      const client = yield* online(server, { user: "ada" })
      yield* client.ask({ id: 2, subscribe: { channel: "lobby" } })
      assert.deepStrictEqual(yield* client.ask({ id: 3, subscribe: { channel: "closed:room" } }), [
        { push: { channel: "lobby", unsubscribe: { code: 2000, reason: "server unsubscribe" } } }
      ])
      assert.deepStrictEqual(yield* client.take(2), [{ push: { channel: "room", subscribe: {} } }, empty(3)])
      assert.deepStrictEqual(
        [...(yield* server.channels.channels()).channels.keys()].sort(),
        ["closed:room", "room"]
      )
    }))

  it.scoped("another channel's gap is told, its end comes, and its presence is renewed", () =>
    Effect.gen(function*() {
      const server = yield* serve({ presenceInterval: "2 seconds", presenceTtl: "3 seconds", expiredDelay: "1 second" })
      const isAsked = yield* deciding(server)
      const client = yield* online(server, { user: "ada" })
      const own = token({ user: "ada", channel: "x", expireAt: inSeconds(100), grant: { expireAt: 5 } })
      yield* client.ask(
        { id: 2, subscribe: { channel: "recovered:x" } },
        { id: 3, subscribe: { channel: "present:x" } },
        { id: 4, subscribe: { channel: "x", token: own } }
      )
      yield* client.send({ id: 5, subscribe: { channel: "closed:room" } })
      yield* isAsked

      server.faults.lose = () => true
      yield* server.channels.publish("recovered:x", "lost")
      server.faults.lose = () => false
      yield* server.channels.publish("recovered:x", "heard")
      assert.deepInclude(yield* client.next, {
        push: { channel: "recovered:x", unsubscribe: { code: 2500, reason: "insufficient state" } }
      })

      let reads = 0
      const present = Effect.map(server.channels.presenceStats("present:x"), ({ clients }) =>
        ++reads > 0 && clients === 1)
      for (let second = 0; second < 8; second++) {
        yield* TestClock.adjust("1 second")
        yield* eventuallyEffect(Effect.orDie(present))
      }
      assert.isAtLeast(reads, 8)
      assert.deepInclude(yield* client.next, {
        push: { channel: "x", unsubscribe: { code: 2501, reason: "subscription expired" } }
      })
    }))

  it.scoped("a change of the same channel waits, and what the server gives follows a refusal", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [asked, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      yield* decides(server, () =>
        Deferred.succeed(asked, undefined).pipe(
          Effect.zipRight(Deferred.await(gate)),
          Effect.zipRight(errors.permissionDenied)
        ))
      const client = yield* online(server, { user: "ada" })
      yield* client.send({ id: 2, subscribe: { channel: "closed:room" } })
      yield* Deferred.await(asked)
      const given = yield* Effect.fork(server.channels.subscribeUser("ada", "closed:room"))
      const taken = yield* Effect.fork(server.channels.unsubscribe("ada", "closed:room"))
      yield* TestClock.adjust("4 seconds")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(Fiber.zip(given, taken))
      assert.deepStrictEqual(yield* client.take(2), [
        { id: 2, error: { code: 103, message: "permission denied" } },
        { push: { channel: "closed:room", subscribe: {} } }
      ])
    }))

  it.scoped("a client that asks again while the server subscribes it waits for that", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [begun, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      server.faults.before = (operation) =>
        operation === "subscribe"
          ? Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate))
          : Effect.void
      const client = yield* online(server, { user: "ada" })
      const given = yield* Effect.fork(server.channels.subscribeUser("ada", "x"))
      yield* Deferred.await(begun)
      yield* client.send({ id: 2, subscribe: { channel: "x" } }, { id: 3, unsubscribe: { channel: "x" } })
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(given)
      assert.deepStrictEqual(yield* client.take(3), [
        { push: { channel: "x", subscribe: {} } },
        { id: 2, error: { code: 105, message: "already subscribed" } },
        { id: 3, unsubscribe: {} }
      ])
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    }))
})

describe("a client with much to do", () => {
  it.scoped("is unsubscribed between two of its commands", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* decides(server, () => Effect.as(Effect.sleep("1 second"), {}))
      const client = yield* online(server, { user: "ada" })
      yield* client.ask({ id: 2, subscribe: { channel: "a" } })
      yield* client.send(
        ...Array.from({ length: 20 }, (_, n) => ({ id: n + 3, subscribe: { channel: `closed:${n}` } }))
      )
      const { count } = yield* server.channels.unsubscribe("ada", "a")
      assert.strictEqual(count, 1)
      assert.deepInclude(yield* client.next, {
        push: { channel: "a", unsubscribe: { code: 2000, reason: "server unsubscribe" } }
      })
    }))

  it.scoped("is answered while its presence is renewed elsewhere", () =>
    Effect.gen(function*() {
      const [renewing, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      let isSlow = false
      const slow = Effect.map(PresenceMemory.make, (real) => ({
        ...real,
        add: (...added: Parameters<typeof real.add>) =>
          isSlow
            ? Effect.zipRight(Deferred.succeed(renewing, undefined), Deferred.await(gate))
            : real.add(...added)
      }))
      const shared = Layer.merge(BrokerMemory.layer, Layer.scoped(Presence, slow))
      const server = yield* serve({ shared, presenceInterval: "1 second", presenceTtl: "1 hour" })
      const client = yield* online(server, { user: "ada" })
      yield* client.ask(
        ...Array.from({ length: 5 }, (_, n) => ({ id: n + 2, subscribe: { channel: `present:${n}` } })),
        { id: 9, subscribe: { channel: "x" } }
      )
      isSlow = true
      yield* TestClock.adjust("2 seconds")
      yield* Deferred.await(renewing)
      isSlow = false
      const left = yield* client.ask({ id: 10, unsubscribe: { channel: "x" } }, {
        id: 11,
        unsubscribe: { channel: "present:4" }
      })
      assert.deepStrictEqual(left, [{ id: 10, unsubscribe: {} }, { id: 11, unsubscribe: {} }])
      yield* Deferred.succeed(gate, undefined)
    }))

  it.scoped("loses no pong behind a command, whoever that waits for", () =>
    Effect.gen(function*() {
      const server = yield* serve({ pingInterval: "10 seconds", pongTimeout: "8 seconds" })
      const [called, reading] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const after = (begun: Deferred.Deferred<void>) =>
        Effect.zipRight(Deferred.succeed(begun, undefined), Effect.sleep("5 seconds"))
      yield* server.channels.rpc("slow", () => Effect.as(after(called), 1))
      server.faults.before = (operation) => operation === "history" ? after(reading) : Effect.void
      const client = yield* online(server)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* client.next, {})
      yield* client.send({ id: 2, rpc: { method: "slow" } }, { id: 3, history: { channel: "kept:x" } })
      yield* client.send({})
      for (const begun of [called, reading]) {
        yield* Deferred.await(begun)
        yield* TestClock.adjust("5 seconds")
      }
      const answers = yield* Effect.replicateEffect(
        Effect.repeat(client.next, { until: (document) => "id" in document }),
        2
      )
      assert.deepStrictEqual(answers.map(({ id }) => id), [2, 3])
    }))
})

describe("many channels", () => {
  it.scoped("are subscribed at the same time, with a broker elsewhere", () =>
    Effect.gen(function*() {
      const server = yield* serve({ withoutNamespace: open })
      const gate = yield* Deferred.make<void>()
      let begun = 0
      server.faults.before = (operation) =>
        operation === "subscribe" ? Effect.suspend(() => (begun++, Deferred.await(gate))) : Effect.void
      for (let n = 0; n < 500; n++) {
        yield* Effect.forkScoped(Stream.runDrain(server.channels.subscribe(`channel ${n}`)))
      }
      yield* eventuallyEffect(Effect.sync(() => begun === 500))
      yield* Deferred.succeed(gate, undefined)
    }))
})

describe("before a client has connected", () => {
  it.scoped("nothing is sent to it", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [begun, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      server.faults.before = (operation) =>
        operation === "history"
          ? Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate))
          : Effect.void
      const client = yield* wire(server)
      const subs = { "present:x": {}, "recovered:x": {} }
      yield* client.send({ id: 1, connect: { token: token({ user: "ada", subs }) } })
      yield* Deferred.await(begun)
      const [id = ""] = (yield* server.channels.presence("present:x")).keys()
      assert.isFalse((yield* server.channels.send(id, "early")).sent)
      yield* Deferred.succeed(gate, undefined)
      assert.containsAllKeys(yield* client.next, ["id", "connect"])
      assert.isTrue((yield* server.channels.send(id, "now")).sent)
      assert.deepStrictEqual(yield* client.next, { push: { message: { data: "now" } } })
    }))
})

describe("a client that is connecting", () => {
  it.scoped("is unsubscribed, and subscribed, once it has connected", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [begun, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      server.faults.before = (operation) =>
        operation === "history"
          ? Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate))
          : Effect.void
      const client = yield* wire(server)
      const subs = { x: {}, "recovered:x": {} }
      yield* client.send({ id: 1, connect: { token: token({ user: "ada", subs }) } })
      yield* Deferred.await(begun)
      const changes = yield* Effect.fork(Effect.all([
        server.channels.unsubscribe("ada", "x"),
        server.channels.subscribeUser("ada", "y")
      ], { concurrency: "unbounded" }))
      yield* TestClock.adjust("4 seconds")
      yield* Deferred.succeed(gate, undefined)
      const [taken, given] = yield* Fiber.join(changes)
      assert.deepStrictEqual([taken.count, given.count], [1, 1])
      const [connected, ...pushes] = yield* client.take(3)
      assert.hasAllKeys((connected?.["connect"] as { readonly subs: object }).subs, ["x", "recovered:x"])
      assert.sameDeepMembers(pushes, [
        { push: { channel: "x", unsubscribe: { code: 2000, reason: "server unsubscribe" } } },
        { push: { channel: "y", subscribe: {} } }
      ])
      assert.sameMembers([...(yield* server.channels.channels()).channels.keys()], ["recovered:x", "y"])
    }))
})

describe("a refresh", () => {
  it.scoped("by another user is refused, and nothing of either is left", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* online(server, { user: "ada", expireAt: inSeconds(1000) })
      yield* client.send({ id: 2, refresh: { token: token({ user: "eve", expireAt: inSeconds(1000) }) } })
      assert.deepInclude(yield* client.closed, { code: 3500 })
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 0))
      for (const user of ["ada", "eve"]) assert.strictEqual((yield* server.channels.disconnect(user)).count, 0)
    }))
})
