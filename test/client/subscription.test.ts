import { assert, describe, it } from "@effect/vitest"
import { Gap, SlowReader, Unauthorized } from "effect-ws-hub/client"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { inSeconds, serve, type Server, token } from "../channels/support.js"
import { connect, data, failure, Network, next, open, take, until } from "./support.js"

const publishAll = (server: Server, channel: string, all: ReadonlyArray<unknown>) =>
  Effect.forEach(all, (data) => server.channels.publish(channel, data))

const clientsOf = (server: Server, channel: string): number =>
  Effect.runSync(server.channels.channels()).channels.get(channel)?.clients ?? 0

/** Away, until the effect is done. */
const away = <A, E, R>(network: Network, effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    network.down = true
    yield* network.cut
    yield* effect
    network.down = false
  })

describe("a subscription", () => {
  it.scopedLive("gets what is published from when it is subscribed, in order, read or not", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* open(server)
      const subscription = yield* client.subscribe("kept:x")
      yield* server.channels.publish("kept:x", 1, { tags: { kind: "odd" } })
      yield* subscription.publish(2)
      yield* publishAll(server, "kept:x", [3, 4])
      const [first, second] = yield* take(subscription.events, 2)
      assert.deepStrictEqual(first, { _tag: "Published", data: 1, offset: 1, tags: { kind: "odd" } })
      assert.deepInclude(second, { _tag: "Published", data: 2, offset: 2 })
      assert.strictEqual(subscription.channel, "kept:x")
      // Another run, and the other stream, go on where it stopped.
      assert.deepStrictEqual(yield* data(subscription, 2), [3, 4])
    }))

  it.scopedLive("has a name: with none, or one that the SDK takes for its own, it fails, and the client goes on", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* open(server)
      for (const name of ["", "__proto__", "constructor", "toString"]) {
        const error = yield* Effect.flip(client.subscribe(name))
        assert.deepInclude(error, { _tag: "ProtocolError", code: 107 })
        assert.include(error.message, JSON.stringify(name))
      }
      yield* client.subscribe("kept:x")
    }))

  it.scopedLive("reads history and presence, and hears who comes and goes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const [ada, bob] = [
        yield* connect(server, { claims: { user: "ada" } }),
        yield* connect(server, { claims: { user: "bob" } })
      ]
      const subscription = yield* ada.subscribe("joined:x", { joinLeave: true })
      const { client: id } = yield* bob.connected
      const scope = yield* Scope.make()
      yield* Scope.extend(bob.subscribe("joined:x"), scope)
      assert.deepStrictEqual(yield* subscription.presenceStats, { clients: 2, users: 2 })
      assert.deepStrictEqual((yield* subscription.presence).get(id), { client: id, user: "bob" })
      yield* Scope.close(scope, Exit.void)
      // Its own coming is the first.
      assert.deepStrictEqual((yield* take(subscription.members, 3)).slice(1), [
        { _tag: "Joined", info: { client: id, user: "bob" } },
        { _tag: "Left", info: { client: id, user: "bob" } }
      ])
      const kept = yield* ada.subscribe("kept:x")
      yield* kept.publish("a")
      assert.deepInclude((yield* kept.history({ limit: 1 })).publications[0], { data: "a", offset: 1 })
    }))

  it.scopedLive("is refused with the server's code, and leaves nothing", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server)
      const error = yield* Effect.flip(client.subscribe("closed:x"))
      assert.deepInclude(error, { _tag: "ProtocolError", code: 103, reason: "permission denied" })
      // So the next attempt asks anew.
      assert.deepInclude(yield* Effect.flip(client.subscribe("closed:x", { data: { other: 1 } })), { code: 103 })
    }))

  it.scopedLive("is refused data that the SDK leaves out or breaks at, the first and a later one", () =>
    Effect.gen(function*() {
      const client = yield* connect(yield* serve())
      const cycle: Array<unknown> = []
      cycle.push(cycle)
      for (let round = 0; round < 2; round++) {
        for (const data of [null, false, 0, "", Number.NaN, { n: 1n }, cycle, () => {}]) {
          assert.deepInclude(yield* Effect.flip(client.subscribe("x", { data })), { _tag: "ProtocolError", code: 107 })
        }
        yield* client.subscribe("x", { data: { n: 1 } })
      }
    }))

  it.scopedLive("that the server takes fails with its code, after what came before", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server, { claims: { user: "ada" } })
      const subscription = yield* client.subscribe("x")
      yield* server.channels.publish("x", 1)
      yield* server.channels.unsubscribe("ada", "x")
      assert.deepStrictEqual(yield* data(subscription, 1), [1])
      const error = yield* failure(subscription.publications)
      assert.deepInclude(error, { _tag: "Unsubscribed", channel: "x", code: 2000, reason: "server unsubscribe" })
      assert.deepStrictEqual(yield* failure(subscription.members), error)
      assert.deepInclude(yield* Effect.flip(subscription.publish(1)), { _tag: "Unsubscribed", code: 2000 })
      // It may come back.
      const again = yield* client.subscribe("x")
      yield* server.channels.publish("x", 2)
      assert.deepStrictEqual(yield* data(again, 1), [2])
    }))

  it.scopedLive("ends with its scope, for the server too", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server)
      const scope = yield* Scope.make()
      const subscription = yield* Scope.extend(client.subscribe("x"), scope)
      const reading = yield* Effect.fork(Stream.runCount(subscription.publications))
      yield* Effect.yieldNow()
      assert.strictEqual(clientsOf(server, "x"), 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* Fiber.join(reading), 0)
      assert.deepInclude(yield* Effect.flip(subscription.publish(1)), { _tag: "Unsubscribed", code: 0 })
      yield* until(() => clientsOf(server, "x") === 0)
    }))
})

describe("after a cut", () => {
  it.scopedLive("what was missed follows Recovered, once and in order", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const network = new Network()
      const client = yield* connect(server, { network })
      const subscription = yield* client.subscribe("recovered:x", { joinLeave: true })
      yield* server.channels.publish("recovered:x", 1)
      assert.deepStrictEqual(yield* data(subscription, 1), [1])
      yield* away(network, publishAll(server, "recovered:x", [2, 3]))
      const [recovered, two] = yield* take(subscription.events, 2)
      assert.deepInclude(recovered, { _tag: "Recovered" })
      assert.deepInclude(two, { _tag: "Published", data: 2 })
      yield* server.channels.publish("recovered:x", 4)
      assert.deepStrictEqual(yield* data(subscription, 2), [3, 4])
      // Who came and went meanwhile is not known.
      assert.deepInclude(yield* next(subscription.members), { _tag: "Gap", reason: "not-recovered" })
    }))

  it.scopedLive("what cannot be recovered is a gap, and the publications fail there and go on behind it", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const channel of ["small:x", "x"]) {
        const network = new Network()
        const client = yield* connect(server, { network })
        const [one, other] = [yield* client.subscribe(channel), yield* client.subscribe(channel)]
        yield* away(network, publishAll(server, channel, [1, 2, 3, 4]))
        const gap = yield* next(one.events)
        assert.instanceOf(gap, Gap)
        assert.deepInclude(gap, { reason: "not-recovered", lost: undefined })
        assert.strictEqual(gap instanceof Gap ? gap.position?.offset : undefined, channel === "x" ? undefined : 4)
        assert.deepStrictEqual(yield* failure(other.publications), gap)
        yield* server.channels.publish(channel, 5)
        for (const subscription of [one, other]) assert.deepStrictEqual(yield* data(subscription, 1), [5])
      }
    }))

  it.scopedLive("subscribed from a position: what came after it, or a gap", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      yield* publishAll(server, "small:x", [1, 2, 3])
      const client = yield* connect(server)
      const { epoch } = yield* client.history("small:x")
      yield* Effect.scoped(Effect.gen(function*() {
        const subscription = yield* client.subscribe("small:x", { since: { offset: 1, epoch } })
        assert.deepInclude(yield* next(subscription.events), { _tag: "Recovered" })
        assert.deepStrictEqual(yield* data(subscription, 2), [2, 3])
      }))
      yield* publishAll(server, "small:x", [4, 5])
      const subscription = yield* client.subscribe("small:x", { since: { offset: 1, epoch } })
      assert.deepInclude(
        yield* next(subscription.events),
        { _tag: "Gap", reason: "not-recovered", lost: undefined, position: { offset: 5, epoch } }
      )
      // A channel without recovery cannot say.
      const plain = yield* client.subscribe("x", { since: { offset: 1, epoch } })
      assert.deepInclude(yield* next(plain.events), { _tag: "Gap" })
    }))
})

describe("a reader that is slow", () => {
  it.scopedLive("gets what its buffer holds, and then SlowReader; others get everything", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server)
      const slow = yield* client.subscribe("x", { bufferSize: 2 })
      const dropping = yield* client.subscribe("x", { bufferSize: 2, overflow: "drop-oldest" })
      const all = yield* client.subscribe("x")
      yield* publishAll(server, "x", [1, 2, 3, 4, 5])
      assert.deepStrictEqual(yield* data(all, 5), [1, 2, 3, 4, 5])
      assert.deepStrictEqual(yield* data(slow, 2), [1, 2])
      assert.deepStrictEqual(yield* failure(slow.publications), new SlowReader({ bufferSize: 2 }))
      assert.deepInclude(yield* failure(dropping.publications), { _tag: "Gap", reason: "overflow", lost: 3 })
      assert.deepStrictEqual(yield* data(dropping, 2), [4, 5])
    }))

  it.scopedLive("is told its buffer's size, and nothing else of the client", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server, { claims: { user: "ada" }, bufferSize: 1 })
      const { client: id } = yield* client.connected
      const [begun, gate] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const reading = yield* Effect.fork(
        failure(Stream.tap(
          client.messages,
          () => Effect.zipRight(Deferred.succeed(begun, undefined), Deferred.await(gate))
        ))
      )
      yield* Effect.yieldNow()
      yield* server.channels.send(id, 1)
      yield* Deferred.await(begun)
      for (const message of [2, 3]) yield* server.channels.send(id, message)
      // Behind them on the same socket.
      yield* client.subscribe("x")
      yield* Deferred.succeed(gate, undefined)
      assert.deepStrictEqual(Object.entries(yield* Fiber.join(reading)), [["bufferSize", 1], ["_tag", "SlowReader"]])
    }))
})

describe("subscribers of one channel", () => {
  it.scopedLive("share a subscription until the last has left", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server)
      const [first, second] = [yield* Scope.make(), yield* Scope.make()]
      const sooner = yield* Scope.extend(client.subscribe("recovered:x"), first)
      yield* server.channels.publish("recovered:x", 1)
      yield* data(sooner, 1)
      const later = yield* Scope.extend(client.subscribe("recovered:x"), second)
      assert.strictEqual(clientsOf(server, "recovered:x"), 1)
      yield* Scope.close(first, Exit.void)
      yield* server.channels.publish("recovered:x", 2)
      // It hears nothing from before it came.
      assert.deepStrictEqual(yield* data(later, 1), [2])
      assert.strictEqual(clientsOf(server, "recovered:x"), 1)
      yield* Scope.close(second, Exit.void)
      yield* until(() => clientsOf(server, "recovered:x") === 0)
      // And it begins anew.
      const again = yield* client.subscribe("recovered:x")
      yield* server.channels.publish("recovered:x", 3)
      assert.deepStrictEqual(yield* data(again, 1), [3])
    }))

  it.scopedLive("a later one knows the position as it is when it comes", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server)
      const first = yield* client.subscribe("recovered:x")
      assert.strictEqual(first.position?.offset, 0)
      yield* publishAll(server, "recovered:x", [1, 2])
      yield* data(first, 2)
      assert.strictEqual((yield* client.subscribe("recovered:x")).position?.offset, 2)
    }))

  it.scopedLive("cannot ask for what the first did not", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server)
      const since = { offset: 0, epoch: "" }
      yield* client.subscribe("joined:x", { data: { a: 1 }, recoverable: true })
      for (const asked of [{ since }, { data: { a: 2 } }, { joinLeave: true }, { positioned: true }]) {
        const error = yield* Effect.flip(client.subscribe("joined:x", asked))
        assert.deepInclude(error, { _tag: "ProtocolError", code: 105 })
        assert.include(error.message, Object.keys(asked).join())
      }
      yield* client.subscribe("joined:x", { data: { a: 1 }, recoverable: true, overflow: "drop-oldest" })
    }))
})

describe("tokens of subscriptions", () => {
  const claims = { user: "ada", channel: "closed:x" }

  it.scopedLive("are the first one's: who would renew one that nobody renews is refused", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server, { claims: { user: "ada" } })
      const getToken = Effect.sync(() => token(claims))
      yield* Effect.scoped(Effect.gen(function*() {
        yield* client.subscribe("closed:x", { token: token(claims) })
        const error = yield* Effect.flip(client.subscribe("closed:x", { getToken }))
        assert.deepInclude(error, { _tag: "ProtocolError", code: 105 })
        assert.include(error.message, "getToken")
        yield* client.subscribe("closed:x", { token: token(claims) })
      }))
      yield* client.subscribe("closed:x", { getToken })
      yield* client.subscribe("closed:x", { getToken })
      yield* client.subscribe("x")
      yield* client.subscribe("x", { getToken })
    }))

  it.scopedLive("an error that is tried again is told of", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const warnings: Array<string> = []
      const logger = Logger.make(({ logLevel, message }) => {
        if (LogLevel.greaterThanEqual(logLevel, LogLevel.Warning)) warnings.push(String(message))
      })
      const client = yield* connect(server, { claims: { user: "ada" } }).pipe(
        Effect.provide(Logger.replace(Logger.defaultLogger, logger))
      )
      const fail = { code: 100, temporary: true }
      yield* Effect.fork(client.subscribe("closed:x", { token: token({ ...claims, fail }) }))
      yield* until(() => warnings.length > 0)
      assert.deepStrictEqual(warnings, ["The client tries again after an error (subscribe): failed with 100"])
    }))

  it.scopedLive("are renewed before they expire", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: 1500 })
      const client = yield* connect(server, { claims: { user: "ada" } })
      let fetched = 0
      const subscription = yield* client.subscribe("closed:x", {
        getToken: Effect.sync(() => {
          fetched++
          return token(fetched === 1 ? { ...claims, expireAt: inSeconds(2) } : claims)
        })
      })
      yield* until(() => server.asked.subscribe.length === 2)
      yield* server.channels.publish("closed:x", 1)
      // It was not subscribed anew: that would be a gap here.
      assert.deepInclude(yield* next(subscription.events), { _tag: "Published", data: 1 })
      assert.strictEqual(fetched, 2)
    }))

  it.scopedLive("a failure is tried again, Unauthorized is not", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server, { claims: { user: "ada" } })
      let fetched = 0
      yield* client.subscribe("closed:x", {
        minResubscribeDelay: 5,
        maxResubscribeDelay: 20,
        getToken: Effect.suspend(() => ++fetched === 1 ? Effect.fail("offline") : Effect.succeed(token(claims)))
      })
      assert.strictEqual(fetched, 2)
      const cause = new Unauthorized({})
      const error = yield* Effect.flip(client.subscribe("closed:y", { getToken: Effect.fail(cause) }))
      assert.deepInclude(error, { _tag: "Unsubscribed", channel: "closed:y", code: 1, cause })
    }))

  it.scopedLive("one that is being fetched is interrupted when nobody waits for it any more", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* connect(server, { claims: { user: "ada" } })
      const [asked, interrupted] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      const subscribing = yield* Effect.fork(client.subscribe("closed:x", {
        getToken: Deferred.succeed(asked, undefined).pipe(
          Effect.zipRight(Effect.never),
          Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
        )
      }))
      yield* Deferred.await(asked)
      yield* Fiber.interrupt(subscribing)
      yield* Deferred.await(interrupted)
      // Nothing of it is left in the way.
      yield* client.subscribe("closed:x", { token: token(claims) })
    }))
})
