import { assert, describe, it } from "@effect/vitest"
import { Disconnect } from "effect-ws-hub"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/TestClock"
import { disconnects, errors, ProtocolError, reconnects, unsubscribes } from "../../src/channels/ProtocolCode.js"
import {
  call,
  connected,
  inSeconds,
  online,
  refusal,
  type Sdk,
  sdk,
  serve,
  type ServeOptions,
  type Server,
  token,
  user,
  wire
} from "./support.js"

type Scoped<A> = Effect.Effect<A, unknown, Scope.Scope>

/** A server whose `closed:` channels are refused with what the rest of their name says, as often as it says. */
const refusing = (times: number, error: ProtocolError) =>
  Effect.gen(function*() {
    const server = yield* serve()
    let refused = 0
    yield* server.channels.register({
      matches: (channel) => channel === "closed:x",
      subscribe: () => refused++ < times ? Effect.fail(error) : Effect.succeed({}),
      publish: () => Effect.succeed(Option.none())
    })
    return server
  })

describe("every error as the answer to a subscribe: the SDK tries again, or gives up with that code", () => {
  const all = [...Object.values(errors), new ProtocolError({ code: 1999, reason: "mine", temporary: false })]
  for (const error of [...all, new ProtocolError({ code: 400, reason: "later", temporary: true })]) {
    const { code, reason, temporary } = error
    const again = temporary || code === 109
    it.scopedLive(`${code} ${reason}: ${again ? "tries again" : "gives up"}`, () =>
      Effect.gen(function*() {
        const client = yield* connected(yield* refusing(1, error))
        const sub = client.sub("closed:x")
        if (code === 109) {
          // Without a way to fetch a token it cannot try again.
          assert.deepInclude(yield* sub.next("unsubscribed"), { code: 1 })
        } else if (again) {
          yield* sub.next("subscribed")
          const [error] = sub.heard("error")
          assert.strictEqual(error?.error.code, code)
        } else assert.deepStrictEqual(yield* sub.next("unsubscribed"), { channel: "closed:x", code, reason })
        assert.strictEqual(client.client.state, "connected")
      }))
  }
})

describe("every error as the answer to a connect: the SDK tries again, or gives up with that code", () => {
  for (const { code, temporary } of Object.values(errors)) {
    const again = temporary || code === 109
    it.scopedLive(`${code}: ${again ? "tries again" : "gives up"}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const client = yield* sdk(server, {
          claims: { fail: { code, temporary } },
          getToken: () => Promise.resolve(token({ user: "ada" }))
        })
        client.client.connect()
        if (again) {
          const { error } = yield* client.next("error")
          assert.strictEqual(error.code, code)
          client.client.setToken(code === 109 ? "" : token({ user: "ada" }))
          yield* client.next("connected")
        } else assert.deepInclude(yield* client.next("disconnected"), { code })
      }))
  }
})

describe("errors that the server finds itself", () => {
  const table: Record<number, (server: Server) => Scoped<number>> = {
    100: (server) =>
      Effect.flatMap(connected(server), (client) => {
        server.faults.broken.add("publish")
        return refusal(() => client.client.publish("x", 1))
      }),
    102: (server) => Effect.flatMap(connected(server), (client) => refusal(() => client.client.history("no:x"))),
    103: (server) => Effect.flatMap(connected(server), (client) => refusal(() => client.client.publish("closed:x", 1))),
    104: (server) =>
      Effect.zipRight(
        server.channels.rpc("a", () => Effect.void),
        Effect.flatMap(connected(server), (client) => refusal(() => client.client.rpc("b", 1)))
      ),
    105: (server) =>
      Effect.gen(function*() {
        const client = yield* user(server, "ada", { subs: { x: {} } })
        return (yield* client.sub("x").next("unsubscribed")).code
      }),
    106: (server) =>
      Effect.gen(function*() {
        const client = yield* connected(server)
        for (let n = 0; n < 128; n++) yield* client.subscribe(`x${n}`)
        return (yield* client.sub("x").next("unsubscribed")).code
      }),
    107: (server) => Effect.flatMap(connected(server), (client) => refusal(() => client.client.publish("ü", 1))),
    108: (server) => Effect.flatMap(connected(server), (client) => refusal(() => client.client.presence("x"))),
    109: (server) =>
      Effect.gen(function*() {
        const client = yield* online(server)
        const expired = token({ channel: "closed:x", expireAt: 1 })
        const [reply] = yield* client.ask({ id: 2, subscribe: { channel: "closed:x", token: expired } })
        return (reply as { readonly error: { readonly code: number } }).error.code
      }),
    111: (server) =>
      Effect.gen(function*() {
        const client = yield* connected(server)
        for (;;) {
          const result = yield* Effect.either(call(() => client.client.publish("slowly:x", 1)))
          if (result._tag === "Left") return result.left.code
        }
      }),
    112: (server) =>
      Effect.flatMap(
        connected(server),
        (client) => refusal(() => client.client.history("kept:x", { limit: 1, since: { offset: 1, epoch: "other" } }))
      )
  }
  for (const [code, produce] of Object.entries(table)) {
    it.scopedLive(code, () =>
      // @effect-diagnostics-next-line anyUnknownInErrorContext:off
      Effect.gen(function*() {
        const server = yield* serve()
        const bystander = yield* connected(server)
        assert.strictEqual(yield* produce(server), Number(code))
        yield* bystander.settled
        assert.deepStrictEqual(bystander.names, ["connecting", "connected"])
      }))
  }

  for (
    const operation of ["publish", "publishJoin", "subscribe", "history"] as const
  ) {
    it.scopedLive(`a broker that fails to ${operation} leaves a client that tries again, and no half a subscription`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        server.faults.broken.add(operation)
        const client = yield* connected(server)
        if (operation === "publish") {
          assert.strictEqual(yield* refusal(() => client.client.publish("recovered:x", 1)), 100)
          return
        }
        const sub = client.sub(operation === "history" ? "recovered:x" : "pushed:x")
        if (operation === "publishJoin") {
          // Nobody hears of the join, but the client is subscribed.
          yield* sub.next("subscribed")
          return
        }
        assert.strictEqual((yield* sub.next("error")).error.code, 100)
        sub.sub.unsubscribe()
        yield* client.settled
        assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
        server.faults.broken.clear()
        sub.sub.subscribe()
        yield* sub.next("subscribed")
        yield* server.channels.publish(sub.sub.channel, "heard")
        assert.deepInclude(yield* sub.next("publication"), { data: "heard" })
      }))
  }
})

describe("unsubscribe codes", () => {
  for (
    const unsubscribe of [...Object.values(unsubscribes), { code: 2499, reason: "mine" }, {
      code: 2999,
      reason: "mine"
    }]
  ) {
    const { code, reason } = unsubscribe
    const again = code >= 2500
    it.scopedLive(`${code} ${reason}: the SDK ${again ? "subscribes again" : "stays unsubscribed"}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const client = yield* user(server, "ada")
        const sub = yield* client.subscribe("recovered:x")
        yield* server.channels.publish("recovered:x", 1)
        yield* sub.next("publication")
        assert.strictEqual((yield* server.channels.unsubscribe("ada", "recovered:x", { unsubscribe })).count, 1)
        if (again) {
          yield* sub.next("subscribing")
          assert.deepInclude(yield* sub.next("subscribing"), { code, reason })
          // Whose state is invalid gives up its position, and is told that it lost it.
          assert.deepInclude(yield* sub.next("subscribed"), { wasRecovering: true, recovered: code !== 2502 })
        } else {
          assert.deepInclude(yield* sub.next("unsubscribed"), { code, reason })
          assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
        }
        assert.strictEqual(client.client.state, "connected")
      }))
  }

  it.scopedLive("2500 comes by itself when a publication was missed, 2501 when the subscription expired", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 20 })
      const client = yield* user(server, "ada")
      const one = yield* client.subscribe("positioned:x")
      server.faults.lose = (event) => event._tag === "Published" && event.publication.data === "\"lost\""
      yield* server.channels.publish("positioned:x", "lost")
      yield* server.channels.publish("positioned:x", "heard")
      yield* one.next("subscribing")
      assert.deepInclude(yield* one.next("subscribing"), unsubscribes.insufficientState)
      let tokens = 0
      const two = yield* client.subscribe("closed:x", {
        getToken: () =>
          tokens++ === 0
            ? Promise.resolve(token({ user: "ada", channel: "closed:x", expireAt: inSeconds(2) }))
            : Promise.reject(new Error("no"))
      })
      yield* two.next("subscribing")
      assert.deepInclude(yield* two.next("subscribing"), unsubscribes.expired)
    }))

  it.scopedLive("a push for a subscription that is gone does no harm", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* user(server, "ada")
      const sub = yield* client.subscribe("x")
      sub.sub.unsubscribe()
      yield* client.settled
      assert.strictEqual((yield* server.channels.unsubscribe("ada", "x")).count, 0)
      sub.sub.subscribe()
      yield* sub.next("subscribed")
      yield* client.settled
      assert.strictEqual(sub.sub.state, "subscribed")
    }))
})

describe("every disconnect code: the SDK comes back or not, as the ranges say", () => {
  const own = [4000, 4499, 4500, 4999].map((code) => new Disconnect({ code, reason: "mine" }))
  for (const disconnect of [...Object.values(disconnects), ...own]) {
    const { code, reason } = disconnect
    const back = reconnects(code)
    it.scopedLive(`${code} ${reason}: ${back ? "comes back" : "stays away"}`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const client = yield* connected(server, {
          claims: { user: "ada" },
          getToken: () => Promise.resolve(token({ user: "ada" }))
        })
        const sub = yield* client.subscribe("recovered:x")
        assert.strictEqual((yield* server.channels.disconnect("ada", { disconnect })).count, 1)
        if (back) {
          yield* client.next("connecting")
          assert.deepStrictEqual(yield* client.next("connecting"), { code, reason })
          assert.deepInclude(yield* sub.next("subscribed"), { wasRecovering: true, recovered: code !== 3014 })
        } else {
          assert.deepStrictEqual(yield* client.next("disconnected"), { code, reason })
          assert.strictEqual(client.client.state, "disconnected")
        }
      }))
  }
})

const until = (holds: () => boolean) =>
  Effect.repeat(Effect.zipRight(Effect.promise(() => new Promise(setImmediate)), Effect.sync(holds)), {
    until: (done) => done
  })

describe("disconnects that the server finds itself", () => {
  const refused = (server: Server, options: Parameters<typeof sdk>[1], code: number) =>
    Effect.gen(function*() {
      const client = yield* sdk(server, options)
      client.client.connect()
      assert.deepInclude(yield* client.next("disconnected"), { code })
    })

  const again = (client: Sdk, code: number) =>
    Effect.gen(function*() {
      yield* client.next("connecting")
      assert.deepInclude(yield* client.next("connecting"), { code })
    })

  const gives = (code: number, options: ServeOptions, produce: (server: Server) => Scoped<void>) =>
    it.scopedLive(`${code}`, () =>
      // @effect-diagnostics-next-line anyUnknownInErrorContext:off
      Effect.gen(function*() {
        const server = yield* serve(options)
        const bystander = yield* connected(server)
        yield* produce(server)
        yield* bystander.settled
        assert.strictEqual(bystander.client.state, "connected")
      }))

  it.scopedLive("3001 for who is there when the server goes", () =>
    Effect.gen(function*() {
      const outer = yield* Effect.scope
      const client = yield* Effect.scoped(
        Effect.flatMap(serve(), (server) => Scope.extend(connected(server), outer))
      )
      yield* again(client, 3001)
    }))

  gives(3004, {}, (server) =>
    Effect.gen(function*() {
      let isBroken = true
      yield* server.channels.register({
        matches: (channel) => channel === "closed:x",
        subscribe: () => Effect.suspend(() => isBroken ? Effect.die("on purpose") : Effect.succeed({})),
        publish: () => Effect.succeed(Option.none())
      })
      const client = yield* connected(server)
      const sub = client.sub("closed:x")
      yield* again(client, 3004)
      isBroken = false
      yield* sub.next("subscribed")
    }))

  /** A client that is subscribing to a channel again, which does not end before the gate opens, while the server takes it. */
  const stuck = Effect.gen(function*() {
    const server = yield* serve()
    const [begun, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    server.faults.before = (operation, channel) =>
      operation === "subscribe" && channel === "stuck"
        ? Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate))
        : Effect.void
    const bystander = yield* connected(server)
    const client = yield* user(server, "ada")
    const sub = yield* client.subscribe("recovered:x")
    const stuckSub = client.sub("stuck")
    yield* Deferred.await(begun)
    const unsubscribed = yield* Effect.forkScoped(server.channels.unsubscribe("ada", "stuck"))
    return { bystander, client, gate, server, sub, stuckSub, unsubscribed }
  })

  it.scoped("3004 for who cannot be unsubscribed within five seconds, since it is subscribing, and not before", () =>
    Effect.gen(function*() {
      const { bystander, client, gate, sub, unsubscribed } = yield* stuck
      yield* TestClock.adjust("4999 millis")
      yield* bystander.settled
      assert.strictEqual(client.client.state, "connected")
      yield* TestClock.adjust("1 millis")
      yield* again(client, 3004)
      assert.strictEqual((yield* Fiber.join(unsubscribed)).count, 1)
      yield* Deferred.succeed(gate, undefined)
      yield* client.take("connected", 1)
      // It was not told, so it is subscribed again.
      assert.deepInclude(yield* sub.next("subscribed"), { wasRecovering: true, recovered: true })
      yield* bystander.settled
      assert.deepStrictEqual(bystander.names, ["connecting", "connected"])
    }))

  it.scoped("and not 3004 once it is being unsubscribed, however long that takes", () =>
    Effect.gen(function*() {
      const { client, gate, server, stuckSub, unsubscribed } = yield* stuck
      const [leaving, left] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      server.faults.after = (operation) =>
        operation === "unsubscribe"
          ? Effect.zipRight(Deferred.succeed(leaving, undefined), Deferred.await(left))
          : Effect.void
      yield* TestClock.adjust("4 seconds")
      yield* Deferred.succeed(gate, undefined)
      yield* Deferred.await(leaving)
      yield* TestClock.adjust("6 seconds")
      yield* Deferred.succeed(left, undefined)
      assert.deepInclude(yield* stuckSub.next("unsubscribed"), unsubscribes.server)
      assert.strictEqual((yield* Fiber.join(unsubscribed)).count, 1)
      assert.deepStrictEqual(client.names, ["connecting", "connected"])
    }))

  gives(
    3005,
    { expiredDelay: 20 },
    (server) =>
      Effect.flatMap(
        user(server, "ada", { expireAt: inSeconds(2), serverRefresh: true }),
        (client) => again(client, 3005)
      )
  )

  gives(
    3006,
    { expiredDelay: 20 },
    (server) =>
      Effect.flatMap(user(server, "ada", { subs: { x: { expireAt: inSeconds(2) } } }), (client) => again(client, 3006))
  )

  gives(3008, { hub: { outboxBytes: 100_000 } }, (server) =>
    Effect.gen(function*() {
      const slow = yield* online(server)
      yield* slow.ask({ id: 2, subscribe: { channel: "x" } })
      slow.peer.ws.pause()
      const { size } = server.hub
      const before = yield* size
      const chunk = "x".repeat(60_000)
      while ((yield* size) === before && (yield* server.channels.channels()).channels.size > 0) {
        yield* server.channels.publish("x", chunk)
        yield* Effect.promise(() => new Promise(setImmediate))
      }
      slow.peer.ws.resume()
      const { code } = yield* slow.closed
      // The close frame may not have got through: the backlog is given up, and a peer that reads nothing is cut off.
      assert.oneOf(code, [3008, 1006])
    }))

  gives(3010, {}, (server) =>
    Effect.gen(function*() {
      const client = yield* user(server, "ada", { subs: { "recovered:x": {} } })
      server.faults.lose = (event) => event._tag === "Published" && event.publication.data === "\"lost\""
      for (const data of ["lost", "heard"]) yield* server.channels.publish("recovered:x", data)
      yield* again(client, 3010)
      // And it gets what it missed.
      assert.deepStrictEqual((yield* client.take("publication", 2)).map(({ data }) => data), ["lost", "heard"])
    }))

  it.scopedLive("3012", () =>
    Effect.gen(function*() {
      const mute = yield* online(yield* serve({ pingInterval: 1000, pongTimeout: 100 }))
      assert.deepStrictEqual(yield* mute.closed, { code: 3012, reason: "no pong" })
    }))

  it.scopedLive("and not 3012 for a client that answers", () =>
    Effect.gen(function*() {
      // Announced in whole seconds; the SDK must not be told 0.
      const server = yield* serve({ pingInterval: 1000, pongTimeout: 500 })
      const client = yield* connected(server)
      yield* Effect.sleep("2500 millis")
      yield* client.settled
      assert.deepStrictEqual(client.names, ["connecting", "connected"])
    }))

  gives(3500, {}, (server) => refused(server, { token: "no token" }, 3500))
  it.scopedLive("3501 for who has no token where one is needed", () =>
    Effect.flatMap(serve({ anonymous: false }), (server) => refused(server, {}, 3501)))

  it.scopedLive("3502", () =>
    Effect.gen(function*() {
      const server = yield* serve({ staleTimeout: 30 })
      const client = yield* wire(server)
      assert.deepStrictEqual(yield* client.closed, { code: 3502, reason: "stale" })
    }))

  gives(3503, {}, (server) =>
    Effect.gen(function*() {
      const client = yield* user(server, "ada")
      yield* server.channels.disconnect("ada")
      assert.deepInclude(yield* client.next("disconnected"), { code: 3503 })
    }))

  gives(
    3505,
    { channelLimit: 2 },
    (server) => refused(server, { claims: { user: "ada", subs: { a: {}, b: {}, c: {} } } }, 3505)
  )

  gives(3508, {}, (server) =>
    Effect.gen(function*() {
      const client = yield* connected(server)
      yield* call(() => client.client.send("hello"))
      assert.deepInclude(yield* client.next("disconnected"), { code: 3508 })
    }))

  for (const code of [3507, 4001, 4501]) {
    gives(code, {}, (server) =>
      Effect.gen(function*() {
        const client = yield* sdk(server, { claims: { fail: { code } } })
        client.client.connect()
        // It has never been connected, so its state does not change; it just asks again.
        if (reconnects(code)) yield* until(() => server.asked.connect.length > 3)
        else assert.deepInclude(yield* client.next("disconnected"), { code })
      }))
  }

  it.scopedLive("a message that dies leaves its sender and everybody else connected", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* server.channels.onMessage(() => Effect.die("on purpose"))
      const [client, bystander] = [yield* connected(server), yield* connected(server)]
      yield* call(() => client.client.send("hello"))
      yield* client.settled
      yield* client.settled
      yield* bystander.settled
      assert.deepStrictEqual(bystander.names, ["connecting", "connected"])
      assert.deepStrictEqual(client.names, ["connecting", "connected"])
    }))

  it.scopedLive("an unknown namespace among the server's own subscriptions is error 102", () =>
    Effect.flatMap(serve(), (server) => refused(server, { claims: { user: "ada", subs: { "no:x": {} } } }, 102)))
})
