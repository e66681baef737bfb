/** What holds unless it is configured, and what happens when. */
import { assert, describe, it } from "@effect/vitest"
import { Hub } from "effect-ws-hub"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/TestClock"
import { Authenticator } from "../../src/channels/Authenticator.js"
import * as BrokerMemory from "../../src/channels/BrokerMemory.js"
import { Channels, mount } from "../../src/channels/Channels.js"
import * as ChannelsConfig from "../../src/channels/ChannelsConfig.js"
import * as ChannelsLive from "../../src/channels/ChannelsLive.js"
import * as Namespace from "../../src/channels/Namespace.js"
import { Presence } from "../../src/channels/Presence.js"
import * as PresenceMemory from "../../src/channels/PresenceMemory.js"
import * as TestTransport from "../../src/testing/TestTransport.js"
import { eventually } from "../node/support.js"
import { online, serve, type Wire } from "./support.js"

const hours = 3600 * 1000

describe("the defaults (PROTOCOL 15)", () => {
  it("of all channels, in milliseconds", () => {
    assert.deepStrictEqual(Either.getOrThrow(ChannelsConfig.make({})), {
      insecure: false,
      name: "node",
      version: "",
      pingInterval: 25_000,
      pongTimeout: 8_000,
      staleTimeout: 10_000,
      expiredDelay: 25_000,
      channelLimit: 128,
      userConnections: Infinity,
      presenceInterval: 27_000,
      presenceTtl: 60_000,
      positionCheckInterval: 40_000,
      recoveryLimit: 300,
      historyLimit: 300,
      personalChannel: undefined
    })
  })

  it("of a namespace: everything is off", () => {
    const nobody = { client: false, subscriber: false, anonymous: false }
    assert.deepStrictEqual(Namespace.make("news", {}), {
      name: "news",
      presence: false,
      joinLeave: false,
      forcePushJoinLeave: false,
      stream: undefined,
      forcePositioning: false,
      allowPositioning: false,
      forceRecovery: false,
      allowRecovery: false,
      recoveryMode: "stream",
      autoCacheRecover: false,
      subscribe: nobody,
      publish: nobody,
      readPresence: nobody,
      readHistory: nobody,
      allowUserLimitedChannels: false,
      pattern: undefined,
      overflow: "disconnect",
      coalesceWindow: 0,
      publishRate: Infinity,
      subscribeRate: Infinity,
      historyRate: Infinity
    })
  })

  it("of a history: its position is kept for 720 hours, and never for less than its publications", () => {
    const stream = (options: Namespace.NamespaceOptions) => Namespace.make("news", options).stream
    assert.deepStrictEqual(stream({ historySize: 10, historyTtl: "1 minute" }), {
      size: 10,
      ttl: 60_000,
      metaTtl: 720 * hours
    })
    assert.strictEqual(stream({ historySize: 10, historyTtl: "1000 hours" })?.metaTtl, 1000 * hours)
    assert.strictEqual(
      stream({ historySize: 10, historyTtl: "1 minute", historyMetaTtl: "1 hour" })?.metaTtl,
      hours
    )
    assert.strictEqual(
      stream({ historySize: 10, historyTtl: "1 minute", historyMetaTtl: "1 second" })?.metaTtl,
      60_000
    )
    for (const [historySize, historyTtl] of [[0, 1000], [10, 0], [0, 0]] as const) {
      assert.isUndefined(stream({ historySize, historyTtl }))
    }
  })
})

describe("what many clients that come together do later", () => {
  const count = 50

  /** At how many different seconds of these. */
  const spread = (seconds: ReadonlyArray<number>) => new Set(seconds).size

  /** The pings that came, after all that the server sent before; each is answered. */
  const pings = (client: Wire, id: number) =>
    Effect.gen(function*() {
      yield* client.send({ id, rpc: { method: "nobody answers" } })
      let found = 0
      while ((yield* client.next)["id"] !== id) {
        found++
        yield* client.send({})
      }
      return found
    })

  it.scoped("is spread: the first ping comes after 50 to 100 % of the interval", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const clients = yield* Effect.replicateEffect(online(server), count)
      const came: ReadonlyArray<Array<number>> = clients.map(() => [])
      for (let second = 1; second <= 25; second++) {
        yield* TestClock.adjust("1 second")
        yield* Effect.forEach(clients, (client, index) =>
          Effect.map(pings(client, second + 1), (found) => {
            for (let n = 0; n < found; n++) came[index]?.push(second)
          }), { concurrency: "unbounded", discard: true })
      }
      assert.deepStrictEqual(came.map(({ length }) => length), clients.map(() => 1))
      const first = came.flat()
      for (const second of first) {
        // The node's clock looks once a second.
        assert.isAtLeast(second, 13)
        assert.isAtMost(second, 25)
      }
      assert.isAbove(spread(first), 5)
    }))

  it.scoped("is spread: presence is renewed first after 50 to 100 % of the interval", () =>
    Effect.gen(function*() {
      const store = yield* PresenceMemory.make
      const added = new Map<string, Array<number>>()
      const presence = Presence.of({
        ...store,
        add: (channel, info, ttl) =>
          Effect.tap(store.add(channel, info, ttl), () =>
            Effect.map(Clock.currentTimeMillis, (now) => {
              added.set(info.client, [...added.get(info.client) ?? [], now / 1000])
            }))
      })
      const server = yield* serve({
        shared: Layer.merge(BrokerMemory.layer, Layer.succeed(Presence, presence)),
        pingInterval: 0
      })
      const clients = yield* Effect.replicateEffect(online(server), count)
      for (const client of clients) yield* client.ask({ id: 2, subscribe: { channel: "present:x" } })
      const renewed = () => [...added.values()].flatMap(([, second]) => second === undefined ? [] : [second])
      for (let second = 1; second <= 27; second++) yield* TestClock.adjust("1 second")
      yield* eventually(() => renewed().length === count)
      for (const second of renewed()) {
        assert.isAtLeast(second, 14)
        assert.isAtMost(second, 27)
      }
      assert.isAbove(spread(renewed()), 5)
      assert.strictEqual((yield* presence.get("present:x")).size, count)
    }))
})

describe("a client that is still being identified", () => {
  const identified = { user: "ada", clientRefresh: false, subscriptions: new Map() }

  /** A node whose authenticator thinks for so long, and a client that has sent its connect. */
  const thinking = (until: Effect.Effect<void>) =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const interrupted = yield* Deferred.make<void>()
      const context = yield* Layer.build(Layer.provideMerge(
        ChannelsLive.layer(),
        Layer.mergeAll(
          Hub.layer(),
          BrokerMemory.layer,
          PresenceMemory.layer,
          Layer.succeed(Authenticator, {
            connect: () =>
              Effect.zipRight(Deferred.succeed(asked, undefined), until).pipe(
                Effect.as(identified),
                Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))
              ),
            refresh: () => Effect.succeed(identified),
            subscribe: () => Effect.succeed({})
          })
        )
      ))
      const { channels, hub } = yield* Effect.provide(Effect.all({ channels: Channels, hub: Hub.Hub }), context)
      const { peer, transport } = yield* TestTransport.make()
      yield* hub.accept(transport, channels.serve, { closeWith: mount.closeWith })
      yield* TestClock.adjust("9 seconds")
      yield* peer.send("{\"id\":1,\"connect\":{\"token\":\"x\"}}")
      yield* Deferred.await(asked)
      return { channels, hub, interrupted, peer }
    })

  it.scoped("is closed with 3502 ten seconds after it came, and nobody thinks about it any more", () =>
    Effect.gen(function*() {
      const { channels, hub, interrupted, peer } = yield* thinking(Effect.never)
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(yield* hub.size, 1)
      assert.isFalse(yield* Deferred.isDone(interrupted))
      yield* TestClock.adjust("1 millis")
      assert.deepInclude(yield* peer.closed, { code: 3502, reason: "stale" })
      yield* Deferred.await(interrupted)
      yield* peer.gone
      assert.strictEqual(yield* hub.size, 0)
      assert.deepStrictEqual(yield* peer.received, [])
      assert.strictEqual((yield* channels.disconnect("ada")).count, 0)
    }))

  it.scoped("and is not, if that ends in time", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { channels, hub, peer } = yield* thinking(Deferred.await(gate))
      yield* TestClock.adjust("999 millis")
      yield* Deferred.succeed(gate, undefined)
      assert.include(String(yield* peer.next), "\"connect\":")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* hub.size, 1)
      assert.strictEqual((yield* channels.disconnect("ada")).count, 1)
    }))
})
