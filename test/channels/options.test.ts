/** Limits, rates, windows and policies: each by what a client sees of it. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as TestClock from "effect/TestClock"
import { BrokerError } from "../../src/channels/Broker.js"
import * as BrokerMemory from "../../src/channels/BrokerMemory.js"
import { mount } from "../../src/channels/Channels.js"
import { Presence } from "../../src/channels/Presence.js"
import * as PresenceMemory from "../../src/channels/PresenceMemory.js"
import { unsubscribes } from "../../src/channels/ProtocolCode.js"
import * as TestTransport from "../../src/testing/TestTransport.js"
import { eventuallyEffect } from "../node/support.js"
import {
  call,
  connected,
  type Document,
  inSeconds,
  namespaces,
  online,
  open,
  type Sdk,
  sdk,
  serve,
  type Server,
  token,
  user,
  wire
} from "./support.js"

const stays = (client: Sdk) =>
  Effect.map(client.settled, () => assert.deepStrictEqual(client.heard("disconnected").length, 0))

const withNamespaces = (more: Record<string, object>) => ({ namespaces: { ...namespaces.namespaces, ...more } })

describe("connections of one user", () => {
  const refused = (server: Server, name: string) =>
    Effect.gen(function*() {
      const client = yield* sdk(server, { claims: { user: name } })
      client.client.connect()
      assert.deepStrictEqual(yield* client.next("disconnected"), { code: 3504, reason: "connection limit" })
    })

  it.scopedLive("a single one: the next closes the one before with 3504, and nobody else's", () =>
    Effect.gen(function*() {
      const server = yield* serve({ personalChannel: { namespace: "limited", singleConnection: true } })
      const others = [yield* user(server, "bob"), yield* connected(server), yield* connected(server)]
      const one = yield* user(server, "ada")
      const two = yield* user(server, "ada")
      assert.deepStrictEqual(yield* one.next("disconnected"), { code: 3504, reason: "connection limit" })
      yield* server.channels.publish("limited:#ada", "for the second")
      assert.deepInclude(yield* two.next("publication"), { data: "for the second" })
      for (const client of [two, ...others]) yield* stays(client)
    }))

  it.scopedLive("a single one: a connect that fails closes nobody", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        personalChannel: { namespace: "limited", singleConnection: true },
        channelLimit: 2
      })
      const one = yield* user(server, "ada")
      for (
        const [outcome, channels, broken] of [
          [100, ["kept:x"], "subscribe"],
          [100, ["positioned:x"], "history"],
          [102, ["no:x"]],
          [3505, ["a", "b"]]
        ] as const
      ) {
        const subs = Object.fromEntries(channels.map((channel) => [channel, {}]))
        if (broken !== undefined) server.faults.broken.add(broken)
        const client = yield* wire(server)
        yield* client.send({ id: 1, connect: { token: token({ user: "ada", subs }) } })
        if (outcome > 3000) assert.deepInclude(yield* client.closed, { code: outcome })
        else assert.deepInclude((yield* client.next)["error"], { code: outcome })
        server.faults.broken.clear()
      }
      yield* server.channels.publish("limited:#ada", "still there")
      assert.deepInclude(yield* one.next("publication"), { data: "still there" })
      yield* stays(one)
    }))

  for (const first of ["earlier", "later"] as const) {
    it.scopedLive(`a single one: of two that connect together the later one stays, if the ${first} is answered first`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ personalChannel: { namespace: "limited", singleConnection: true } })
        const begun = yield* Queue.unbounded<string>()
        const gates = { earlier: yield* Deferred.make<void>(), later: yield* Deferred.make<void>() }
        server.faults.before = (operation, channel) =>
          operation === "subscribe" && (channel === "earlier" || channel === "later")
            ? Effect.zipRight(begun.offer(channel), Deferred.await(gates[channel]))
            : Effect.void
        const begin = (name: string) =>
          Effect.gen(function*() {
            const client = yield* wire(server)
            yield* client.send({ id: 1, connect: { token: token({ user: "ada", subs: { [name]: {} } }) } })
            assert.strictEqual(yield* Queue.take(begun), name)
            return client
          })
        const earlier = yield* begin("earlier")
        const later = yield* begin("later")
        yield* Deferred.succeed(gates[first], undefined)
        assert.property(yield* (first === "later" ? later : earlier).next, "connect")
        yield* Deferred.succeed(gates[first === "later" ? "earlier" : "later"], undefined)
        assert.deepStrictEqual(yield* earlier.closed, { code: 3504, reason: "connection limit" })
        if (first === "earlier") assert.property(yield* later.next, "connect")
        assert.deepInclude((yield* later.ask({ id: 2, ping: {} }))[0], { id: 2 })
      }))
  }

  it.scopedLive("without singleConnection the personal channel reaches all of them", () =>
    Effect.gen(function*() {
      const server = yield* serve({ personalChannel: { namespace: "limited" } })
      const clients = [yield* user(server, "ada"), yield* user(server, "ada")]
      yield* server.channels.publish("limited:#ada", "for both")
      for (const client of clients) assert.deepInclude(yield* client.next("publication"), { data: "for both" })
    }))

  it.scopedLive("so many, and then 3504, until one goes; anonymous clients are not counted", () =>
    Effect.gen(function*() {
      const server = yield* serve({ userConnections: 2 })
      const others = [
        yield* connected(server),
        yield* connected(server),
        yield* connected(server),
        yield* user(server, "bob")
      ]
      const [one, two] = [yield* user(server, "ada"), yield* user(server, "ada")]
      yield* refused(server, "ada")
      one.client.disconnect()
      yield* eventuallyEffect(Effect.map(server.hub.size, (size) => size === 5))
      const three = yield* user(server, "ada")
      yield* refused(server, "ada")
      for (const client of [two, three, ...others]) yield* stays(client)
    }))

  it.scopedLive("one whose connect was refused is not among them", () =>
    Effect.gen(function*() {
      const server = yield* serve({ userConnections: 1 })
      const odd = yield* wire(server)
      const [reply] = yield* odd.ask({ id: 1, connect: { token: token({ user: "ada", subs: { "no:x": {} } }) } })
      assert.deepInclude(reply, { error: { code: 102, message: "unknown channel" } })
      assert.strictEqual((yield* server.channels.disconnect("ada")).count, 0)
      yield* stays(yield* user(server, "ada"))
    }))
})

describe("channels of one client", () => {
  it.scopedLive("the personal one counts: 3505", () =>
    Effect.gen(function*() {
      const server = yield* serve({ channelLimit: 1, personalChannel: { namespace: "limited" } })
      const client = yield* sdk(server, { claims: { user: "ada", subs: { x: {} } } })
      client.client.connect()
      assert.deepStrictEqual(yield* client.next("disconnected"), { code: 3505, reason: "channel limit" })
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
      yield* stays(yield* user(server, "ada"))
    }))

  it.scopedLive("one more that the server adds closes with 3505; one that it has already does not", () =>
    Effect.gen(function*() {
      const server = yield* serve({ channelLimit: 2 })
      const client = yield* user(server, "ada", { subs: { a: {} } })
      const other = yield* user(server, "bob")
      yield* client.subscribe("b")
      assert.deepInclude(yield* client.sub("c").next("unsubscribed"), { code: 106 })
      yield* server.channels.subscribeUser("ada", "a")
      yield* stays(client)
      yield* server.channels.subscribeUser("ada", "c")
      assert.deepStrictEqual(yield* client.next("disconnected"), { code: 3505, reason: "channel limit" })
      yield* stays(other)
      yield* eventuallyEffect(Effect.map(server.channels.channels(), ({ channels }) => channels.size === 0))
    }))
})

describe("messages of one client", () => {
  it.scoped("faster than the hub allows: 3013, and the client comes back", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub: { messagesPerSecond: 5 } })
      const [client, other] = [yield* connected(server), yield* connected(server)]
      const sub = yield* client.subscribe("x")
      for (let n = 0; n < 20; n++) yield* Effect.forkScoped(Effect.exit(call(() => client.client.publish("x", n))))
      yield* client.next("connecting")
      assert.deepStrictEqual(yield* client.next("connecting"), { code: 3013, reason: "too many requests" })
      yield* sub.next("subscribed")
      yield* stays(other)
    }))

  it.scoped("as fast as it allows, and again after a while", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve({ hub: { messagesPerSecond: 5 } }))
      for (let n = 0; n < 9; n++) yield* client.ask({ id: n + 2, unsubscribe: { channel: "x" } })
      yield* TestClock.adjust("1 second")
      for (let n = 0; n < 5; n++) yield* client.ask({ id: n + 20, unsubscribe: { channel: "x" } })
      yield* client.send({ id: 30, unsubscribe: { channel: "x" } })
      assert.deepStrictEqual(yield* client.closed, { code: 3013, reason: "too many requests" })
    }))

  it.scopedLive("larger than the hub allows: 1009, and not before", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub: { messageBytes: 1000 } })
      const client = yield* online(server)
      const other = yield* connected(server)
      const of = (bytes: number) => {
        const empty = JSON.stringify({ id: 2, publish: { channel: "x", data: "" } })
        return JSON.stringify({ id: 2, publish: { channel: "x", data: "x".repeat(bytes - empty.length) } })
      }
      yield* client.text(of(1000))
      assert.deepStrictEqual(yield* client.next, { id: 2, publish: {} })
      yield* client.text(of(1001))
      assert.strictEqual((yield* client.closed).code, 1009)
      yield* stays(other)
    }))
})

describe("rates", () => {
  const rates = withNamespaces({
    subscribed: { ...open, subscribeRate: 2 },
    published: { ...open, publishRate: 2 },
    read: { ...open, presence: true, historySize: 5, historyTtl: "1 minute", historyRate: 2 }
  })
  const document = {
    subscribe: (id: number) => ({ id, subscribe: { channel: `subscribed:${id}` } }),
    publish: (id: number) => ({ id, publish: { channel: `published:${id}`, data: id } }),
    history: (id: number) => ({ id, history: { channel: "read:x" } }),
    presence: (id: number) => ({ id, presence: { channel: "read:x" } }),
    presence_stats: (id: number) => ({ id, presence_stats: { channel: "read:x" } })
  }
  const codeOf = (reply: Document): unknown => (reply["error"] as { readonly code: number } | undefined)?.code ?? 0

  for (const method of ["subscribe", "publish", "history", "presence", "presence_stats"] as const) {
    it.scoped(`${method}: 111 beyond the rate, again after its time, and for each client`, () =>
      Effect.gen(function*() {
        const server = yield* serve(rates)
        const [client, other] = [yield* online(server), yield* online(server)]
        let id = 1
        const ask = (from = client) =>
          Effect.map(from.ask(document[method](++id)), ([reply]) => reply === undefined ? undefined : codeOf(reply))
        assert.deepStrictEqual([yield* ask(), yield* ask(), yield* ask()], [0, 0, 111])
        assert.strictEqual(yield* ask(other), 0)
        yield* TestClock.adjust("499 millis")
        assert.strictEqual(yield* ask(), 111)
        yield* TestClock.adjust("1 millis")
        assert.deepStrictEqual([yield* ask(), yield* ask()], [0, 111])
        yield* TestClock.adjust("5 seconds")
        assert.deepStrictEqual([yield* ask(), yield* ask(), yield* ask()], [0, 0, 111])
        const [elsewhere] = yield* client.ask({ id: 99, publish: { channel: "x", data: 1 } })
        assert.deepStrictEqual(elsewhere, { id: 99, publish: {} })
      }))
  }

  it.scoped("history and presence share one", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve(rates))
      const replies = yield* client.ask(document.history(2), document.presence(3), document.presence_stats(4))
      assert.deepStrictEqual(replies.map(codeOf), [0, 0, 111])
    }))

  it.scoped("the SDK subscribes once the rate allows it, and publications of the server are not counted", () =>
    Effect.gen(function*() {
      const server = yield* serve(rates)
      const client = yield* connected(server)
      yield* client.subscribe("subscribed:1")
      yield* client.subscribe("subscribed:2")
      const third = client.sub("subscribed:3")
      assert.strictEqual((yield* third.next("error")).error.code, 111)
      yield* TestClock.adjust("1 second")
      yield* third.next("subscribed")
      const published = yield* client.subscribe("published:x")
      for (let n = 0; n < 10; n++) yield* server.channels.publish("published:x", n)
      assert.deepStrictEqual(yield* published.data(10), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    }))
})

describe("a window in which publications are joined", () => {
  const merged = withNamespaces({
    merged: { ...namespaces.namespaces.kept, coalesceWindow: "100 millis" }
  })

  it.scoped("the newest of a window is published, once, when it ends", () =>
    Effect.gen(function*() {
      const server = yield* serve(merged)
      const client = yield* user(server, "ada")
      const [one, two] = [yield* client.subscribe("merged:1"), yield* client.subscribe("merged:2")]
      assert.deepStrictEqual(yield* server.channels.publish("merged:1", "a"), Option.none())
      yield* call(() => client.client.publish("merged:1", "b"))
      yield* TestClock.adjust("60 millis")
      yield* server.channels.publish("merged:2", "x")
      yield* call(() => client.client.publish("merged:1", "c"))
      yield* TestClock.adjust("39 millis")
      yield* client.settled
      assert.deepStrictEqual(one.heard("publication"), [])
      yield* TestClock.adjust("1 millis")
      assert.deepInclude(yield* one.next("publication"), { data: "c", offset: 1 })
      yield* client.settled
      assert.deepStrictEqual(two.heard("publication"), [])
      yield* server.channels.publish("merged:1", "d")
      yield* TestClock.adjust("60 millis")
      assert.deepInclude(yield* two.next("publication"), { data: "x" })
      yield* TestClock.adjust("40 millis")
      assert.deepInclude(yield* one.next("publication"), { data: "d", offset: 2 })
      const { publications } = yield* server.channels.history("merged:1")
      assert.deepStrictEqual(publications.map(({ data, info }) => [data, info?.user]), [["c", "ada"], ["d", undefined]])
    }))

  it.scoped("what has an idempotency key is published once, and replaces nothing", () =>
    Effect.gen(function*() {
      const server = yield* serve(merged)
      const publish = (data: string, idempotencyKey?: string) =>
        server.channels.publish("merged:x", data, { idempotencyKey })
      const end = TestClock.adjust("100 millis")
      const published = Effect.map(
        server.channels.history("merged:x"),
        ({ publications }) => publications.map(({ data }) => data)
      )
      yield* publish("a", "of a")
      yield* end
      // Again, after what came since.
      yield* publish("b")
      yield* publish("a", "of a")
      yield* end
      assert.deepStrictEqual(yield* published, ["a", "b"])
      yield* publish("c", "of c")
      yield* publish("d", "of d")
      yield* publish("e")
      yield* publish("f")
      yield* end
      yield* publish("c", "of c")
      yield* end
      assert.deepStrictEqual(yield* published, ["a", "b", "c", "d", "f"])
    }))

  it.scoped("what skips the history takes nothing from it", () =>
    Effect.gen(function*() {
      const server = yield* serve(merged)
      const client = yield* connected(server)
      const sub = yield* client.subscribe("merged:x")
      for (const [data, skipHistory] of [["a", false], ["b", false], ["c", true], ["d", true], ["e", false]] as const) {
        yield* server.channels.publish("merged:x", data, { skipHistory })
      }
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(yield* sub.data(3), ["b", "d", "e"])
      const { publications } = yield* server.channels.history("merged:x")
      assert.deepStrictEqual(publications.map(({ data }) => data), ["b", "e"])
    }))

  it.scoped("however much is published in it", () =>
    Effect.gen(function*() {
      const server = yield* serve(merged)
      const client = yield* connected(server)
      const sub = yield* client.subscribe("merged:x")
      for (let n = 0; n < 100; n++) yield* server.channels.publish("merged:x", [n, "x".repeat(40_000)])
      yield* TestClock.adjust("100 millis")
      const { data } = yield* sub.next("publication")
      assert.strictEqual((data as ReadonlyArray<unknown>)[0], 99)
      yield* client.settled
      assert.strictEqual(sub.heard("publication").length, 1)
    }))

  it.scoped("what is pending when the hub drains reaches subscribers before they are told to go", () =>
    Effect.gen(function*() {
      const server = yield* serve(merged)
      const client = yield* connected(server)
      const sub = yield* client.subscribe("merged:x")
      yield* server.channels.publish("merged:x", "last")
      yield* Effect.forkScoped(server.hub.drain)
      assert.deepInclude(yield* sub.next("publication"), { data: "last" })
      yield* client.next("connecting")
      assert.deepInclude(yield* client.next("connecting"), { code: 3001 })
    }))

  it.scoped("what is pending when the service goes is published", () =>
    Effect.gen(function*() {
      const published: Array<string> = []
      yield* Effect.scoped(Effect.gen(function*() {
        const server = yield* serve(merged)
        server.faults.before = (operation, channel) =>
          Effect.sync(() => void (operation === "publish" && published.push(channel)))
        for (const channel of ["merged:1", "merged:2", "merged:1"]) yield* server.channels.publish(channel, 1)
        assert.deepStrictEqual(published, [])
      }))
      assert.deepStrictEqual(published, ["merged:1", "merged:2"])
    }))
})

describe("a client that does not read", () => {
  const policies = withNamespaces({
    oldest: { ...open, overflow: "drop-oldest" },
    newest: { ...open, overflow: "drop-newest" },
    latest: { ...open, overflow: "conflate" },
    strict: open
  })

  /** What the socket and the hub do of their own accord is done. */
  const turn = Effect.promise(() => new Promise(setImmediate))

  /** A client in memory, subscribed to these channels, that has stopped to read. */
  const stalled = (server: Server, channels: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const { peer, transport } = yield* TestTransport.make()
      yield* server.hub.accept(transport, server.channels.serve, { closeWith: mount.closeWith })
      yield* peer.send("{\"id\":1,\"connect\":{}}")
      yield* peer.next
      for (const channel of channels) {
        yield* peer.send(JSON.stringify({ id: 2, subscribe: { channel } }))
        yield* peer.next
      }
      yield* peer.pauseReading
      const before = (yield* peer.received).length
      /** What came of a channel, after it reads again. */
      const of = (channel: string) =>
        Effect.map(peer.received, (messages) =>
          messages.slice(before).flatMap((message) => {
            const { push } = JSON.parse(String(message)) as {
              readonly push: { readonly channel: string; readonly pub: { readonly data: readonly [number] } }
            }
            return push.channel === channel ? [push.pub.data[0]] : []
          }))
      /** Reads again, and waits for one last publication. */
      const caughtUp = Effect.gen(function*() {
        yield* Effect.zipRight(peer.resumeReading, turn)
        yield* server.channels.publish(channels[0] ?? "", [-1])
        yield* eventuallyEffect(Effect.map(peer.received, (all) => String(all.at(-1)).includes("[-1]")))
      })
      return { peer, of, caughtUp }
    })

  const kilobyte = "x".repeat(1000)
  const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => from + n)
  const flood = (server: Server, channel: string, from: number, to: number) =>
    Effect.forEach(numbers(from, to), (n) => server.channels.publish(channel, [n, kilobyte]), { discard: true })
  /** Each in a turn of its own, until the socket is behind: what comes then is under the policy. */
  const behind = (server: Server, channel: string) =>
    Effect.forEach(
      numbers(0, 20),
      (n) => Effect.zipRight(flood(server, channel, n, n + 1), turn),
      { discard: true }
    )

  const hub = { outboxBytes: 60_000 }

  it.scopedLive("conflate: gets the newest of that channel, and all of another", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub, ...policies })
      const { caughtUp, of } = yield* stalled(server, ["latest:x", "latest:y", "strict:x"])
      yield* behind(server, "latest:x")
      yield* server.channels.publish("latest:y", [1])
      yield* flood(server, "strict:x", 0, 5)
      yield* flood(server, "latest:x", 20, 200)
      yield* flood(server, "strict:x", 5, 10)
      yield* server.channels.publish("latest:y", [2])
      yield* caughtUp
      const got = yield* of("latest:x")
      assert.deepStrictEqual(got.slice(-2), [199, -1])
      assert.isBelow(got.length, 30)
      assert.deepStrictEqual(yield* of("strict:x"), numbers(0, 10))
      assert.deepStrictEqual(yield* of("latest:y"), [2])
    }))

  it.scopedLive("conflate: a join or a leave takes the place of no publication, nor of one another", () =>
    Effect.gen(function*() {
      const told = { ...open, presence: true, joinLeave: true, forcePushJoinLeave: true, overflow: "conflate" } as const
      const server = yield* serve({ hub, ...withNamespaces({ told }) })
      const { peer } = yield* stalled(server, ["told:x"])
      yield* behind(server, "told:x")
      yield* server.channels.publish("told:x", [1000])
      const others = yield* Effect.replicateEffect(online(server), 2)
      for (const other of others) yield* other.ask({ id: 2, subscribe: { channel: "told:x" } })
      yield* others[0]?.ask({ id: 3, unsubscribe: { channel: "told:x" } }) ?? Effect.void
      yield* peer.resumeReading
      yield* eventuallyEffect(Effect.map(peer.received, (all) => String(all.at(-1)).includes("leave")))
      const last = (yield* peer.received).slice(-4).map((message) =>
        Object.keys((JSON.parse(String(message)) as { readonly push: object }).push).at(-1)
      )
      assert.deepStrictEqual(last, ["pub", "join", "join", "leave"])
      assert.include(String((yield* peer.received).at(-4)), "1000")
    }))

  for (const overflow of ["drop-newest", "drop-oldest"] as const) {
    it.scopedLive(`a hub with ${overflow} drops nothing that a client is told about itself: it is closed with 3008`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ hub: { ...hub, overflow }, ...policies })
        const { peer } = yield* stalled(server, ["newest:x"])
        const [reply] = yield* peer.received
        const { connect } = JSON.parse(String(reply)) as { readonly connect: { readonly client: string } }
        yield* behind(server, "newest:x")
        yield* flood(server, "newest:x", 20, 200)
        yield* server.channels.send(connect.client, "x".repeat(2000))
        yield* peer.resumeReading
        assert.deepStrictEqual(yield* peer.closed, { code: 3008, reason: "slow" })
      }))
  }

  it.scopedLive("drop-oldest: gets the newest ones of that channel, and all of another", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub, ...policies })
      const { caughtUp, of } = yield* stalled(server, ["oldest:x", "strict:x"])
      yield* behind(server, "oldest:x")
      yield* flood(server, "strict:x", 0, 5)
      yield* flood(server, "oldest:x", 20, 200)
      yield* caughtUp
      const got = (yield* of("oldest:x")).filter((n) => n >= 20)
      assert.deepStrictEqual(got, numbers(200 - got.length, 200))
      assert.isBelow(got.length, 60)
      assert.deepStrictEqual(yield* of("strict:x"), numbers(0, 5))
    }))

  it.scopedLive("drop-newest: gets the oldest ones of that channel, and all of another", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub, ...policies })
      const { caughtUp, of } = yield* stalled(server, ["newest:x", "strict:x"])
      yield* behind(server, "newest:x")
      yield* flood(server, "strict:x", 0, 5)
      yield* flood(server, "newest:x", 20, 200)
      yield* caughtUp
      const got = (yield* of("newest:x")).filter((n) => n >= 0)
      assert.deepStrictEqual(got, numbers(0, got.length))
      assert.isBelow(got.length, 60)
      assert.deepStrictEqual(yield* of("strict:x"), numbers(0, 5))
    }))

  for (const hubOverflow of ["disconnect", "drop-newest"] as const) {
    it.scopedLive(`disconnect: is closed with 3008, though the hub's own policy is ${hubOverflow}`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ hub: { ...hub, overflow: hubOverflow }, ...policies })
        const other = yield* connected(server)
        const sub = yield* other.subscribe("strict:x")
        const { peer } = yield* stalled(server, ["strict:x"])
        yield* behind(server, "strict:x")
        assert.strictEqual((yield* server.channels.channels("strict:x")).channels.get("strict:x")?.clients, 2)
        yield* flood(server, "strict:x", 20, 200)
        yield* peer.resumeReading
        assert.deepStrictEqual(yield* peer.closed, { code: 3008, reason: "slow" })
        assert.strictEqual((yield* sub.data(200)).length, 200)
      }))
  }

  for (const wanted of ["forceRecovery", "allowRecovery", "forcePositioning", "allowPositioning"] as const) {
    it.scopedLive(`${wanted} goes with no other policy than disconnect`, () =>
      Effect.gen(function*() {
        const kept = { historySize: 1, historyTtl: "1 minute", [wanted]: true }
        for (const overflow of ["drop-oldest", "drop-newest", "conflate"] as const) {
          const { message } = yield* Effect.flip(
            Effect.asVoid(serve(withNamespaces({ lossy: { ...kept, overflow } })))
          )
          assert.strictEqual(
            message,
            `namespaces.lossy.overflow: expected disconnect, since ${wanted} must not lose anything, got "${overflow}".`
          )
        }
        yield* serve(withNamespaces({ lossless: { ...kept, overflow: "disconnect" } }))
      }))
  }

  it.scopedLive("disconnect: one more is too much, even where another channel has filled the outbox", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub, ...policies })
      const { peer } = yield* stalled(server, ["newest:x", "strict:x"])
      yield* behind(server, "newest:x")
      yield* flood(server, "newest:x", 20, 200)
      assert.strictEqual((yield* server.channels.channels("newest:x")).channels.size, 1)
      yield* flood(server, "strict:x", 0, 1)
      yield* peer.resumeReading
      assert.deepStrictEqual(yield* peer.closed, { code: 3008, reason: "slow" })
    }))
})

describe("comparing positions with the stream", () => {
  const options = { positionCheckInterval: "5 seconds" } as const
  const losing = (server: Server, ...lost: ReadonlyArray<string>) => {
    server.faults.lose = (event) => event._tag === "Published" && lost.includes(event.publication.data)
  }

  /** Channels whose position is asked for, from now on. */
  const looksOf = (server: Server): Array<string> => {
    const looks: Array<string> = []
    server.faults.before = (operation, channel) =>
      Effect.sync(() => {
        if (operation === "history") looks.push(channel)
      })
    return looks
  }

  it.scoped("a subscriber that missed the last publication is told with 2500, and gets it", () =>
    Effect.gen(function*() {
      const server = yield* serve(options)
      const client = yield* connected(server)
      const [sub, other] = [yield* client.subscribe("recovered:x"), yield* client.subscribe("recovered:y")]
      losing(server, "\"lost\"")
      for (const data of ["heard", "lost"]) yield* server.channels.publish("recovered:x", data)
      assert.deepStrictEqual(yield* sub.data(1), ["heard"])
      const looks = looksOf(server)
      while (!looks.includes("recovered:x")) yield* TestClock.adjust("1 second")
      // Once is no proof: it may be on its way.
      yield* client.settled
      assert.deepStrictEqual(sub.names, ["subscribing", "subscribed", "publication"])
      yield* TestClock.adjust("1 second")
      yield* sub.next("subscribing")
      assert.deepInclude(yield* sub.next("subscribing"), unsubscribes.insufficientState)
      assert.deepStrictEqual(yield* sub.data(1), ["lost"])
      assert.deepInclude(sub.heard("subscribed")[1], { wasRecovering: true, recovered: true })
      yield* TestClock.adjust("20 seconds")
      yield* client.settled
      assert.strictEqual(sub.names.length, 6)
      assert.deepStrictEqual(other.names, ["subscribing", "subscribed"])
      assert.deepStrictEqual(client.names, ["connecting", "connected"])
    }))

  it.scoped("one that the server subscribed is closed with 3010, comes back and gets it", () =>
    Effect.gen(function*() {
      const server = yield* serve(options)
      const client = yield* user(server, "ada", { subs: { "recovered:x": {} } })
      const other = yield* user(server, "bob", { subs: { "recovered:y": {} } })
      losing(server, "\"lost\"")
      yield* server.channels.publish("recovered:x", "lost")
      yield* TestClock.adjust("10 seconds")
      yield* client.next("connecting")
      assert.deepStrictEqual(yield* client.next("connecting"), { code: 3010, reason: "insufficient state" })
      assert.deepInclude(yield* client.next("publication"), { data: "lost" })
      yield* other.settled
      assert.deepStrictEqual(other.names, ["connecting", "connected", "subscribed"])
    }))

  it.scoped("whoever missed nothing is left in peace, and so is who has no position", () =>
    Effect.gen(function*() {
      const server = yield* serve(options)
      const client = yield* connected(server)
      const [sub, plain] = [yield* client.subscribe("positioned:x"), yield* client.subscribe("kept:x")]
      const asking = yield* client.subscribe("asking:x", { positioned: true })
      const beside = yield* (yield* connected(server)).subscribe("asking:x")
      losing(server, "\"lost\"")
      yield* server.channels.publish("kept:x", "lost")
      for (let n = 0; n < 10; n++) {
        for (const channel of ["positioned:x", "asking:x"]) yield* server.channels.publish(channel, n)
        yield* TestClock.adjust("2 seconds")
      }
      for (const each of [sub, asking, beside]) {
        assert.strictEqual((yield* each.data(10)).length, 10)
        assert.strictEqual(each.heard("subscribing").length, 1)
      }
      assert.deepStrictEqual(plain.names, ["subscribing", "subscribed"])
    }))

  it.scoped("a broker that cannot say where the stream is disturbs nobody, and is asked again", () =>
    Effect.gen(function*() {
      const server = yield* serve(options)
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x")
      losing(server, "\"lost\"")
      yield* server.channels.publish("recovered:x", "lost")
      server.faults.broken.add("history")
      yield* TestClock.adjust("12 seconds")
      yield* client.settled
      assert.deepStrictEqual(sub.names, ["subscribing", "subscribed"])
      server.faults.broken.clear()
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* sub.data(1), ["lost"])
    }))

  it.scoped("each channel has its own turn, though all came together, or had a gap together", () =>
    Effect.gen(function*() {
      const server = yield* serve(options)
      const client = yield* connected(server)
      const channels = Array.from({ length: 100 }, (_, n) => `recovered:${n}`)
      yield* Effect.forEach(channels, (channel) => client.subscribe(channel), { concurrency: "unbounded" })
      yield* TestClock.adjust("1 second")
      const looks = looksOf(server)
      const spread = Effect.gen(function*() {
        const all = new Set<string>()
        for (let second = 0; second < 5; second++) {
          yield* TestClock.adjust("1 second")
          yield* client.settled
          assert.isAbove(looks.length, 5)
          assert.isBelow(looks.length, 40)
          for (const channel of looks.splice(0)) all.add(channel)
        }
        assert.strictEqual(all.size, 100)
      })
      yield* spread
      for (const channel of channels) server.faults.tell({ _tag: "Gap", channel })
      yield* TestClock.adjust("1 second")
      yield* client.settled
      assert.strictEqual(looks.splice(0).length, 100)
      yield* spread
    }))

  it.scoped("so many are asked for at the same time at most, and the others later", () =>
    Effect.gen(function*() {
      const most = 5000
      const server = yield* serve({ ...options, channelLimit: 0 })
      const channels = Array.from({ length: most + 100 }, (_, n) => `recovered:${n}`)
      const client = yield* user(server, "ada")
      yield* Effect.forEach(channels, (channel) => server.channels.subscribeUser("ada", channel), { discard: true })
      yield* TestClock.adjust("1 second")
      const looks = looksOf(server)
      const answer = yield* Effect.makeLatch()
      const look = server.faults.before
      server.faults.before = (...asked) => Effect.zipRight(look(...asked), answer.await)
      for (const channel of channels) server.faults.tell({ _tag: "Gap", channel })
      for (let second = 0; second < 3; second++) yield* TestClock.adjust("1 second")
      assert.strictEqual(looks.length, most)
      yield* answer.open
      yield* TestClock.adjust("1 second")
      yield* client.settled
      assert.strictEqual(new Set(looks).size, most + 100)
    }))

  it.scoped("after a gap it is asked again soon, though it cannot say at first", () =>
    Effect.gen(function*() {
      const server = yield* serve({ positionCheckInterval: "1 hour" })
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x")
      losing(server, "\"lost\"")
      yield* server.channels.publish("recovered:x", "lost")
      server.faults.broken.add("history")
      server.faults.tell({ _tag: "Gap", channel: "recovered:x" })
      yield* TestClock.adjust("5 seconds")
      server.faults.broken.clear()
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* sub.data(1), ["lost"])
    }))
})

describe("presence", () => {
  it.scoped("is renewed when a command that takes its time has ended: that closes nobody", () =>
    Effect.gen(function*() {
      const server = yield* serve({ presenceInterval: "20 seconds", presenceTtl: "2 minutes", pingInterval: 0 })
      const gate = yield* Effect.makeLatch()
      yield* server.channels.register({
        matches: (channel) => channel === "closed:x",
        subscribe: () => Effect.as(gate.await, {}),
        publish: () => Effect.succeed(Option.none())
      })
      const client = yield* online(server)
      yield* client.ask({ id: 2, subscribe: { channel: "present:x" } })
      yield* client.send({ id: 3, subscribe: { channel: "closed:x" } })
      const there = Effect.map(server.channels.presence("present:x"), ({ size }) => size)
      for (let seconds = 0; seconds < 100; seconds++) yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* there, 1)
      yield* gate.open
      assert.deepInclude(yield* client.next, { id: 3 })
      for (let seconds = 0; seconds < 100; seconds++) yield* TestClock.adjust("1 second")
      yield* client.ask({ id: 4, presence: { channel: "present:x" } })
      assert.strictEqual(yield* there, 1)
    }))
})

describe("presence that the store has lost", () => {
  /** Twenty clients in a channel, of which the store forgets all; renewing fails so many times. */
  const forgotten = (failures: number) =>
    Effect.gen(function*() {
      const store = yield* PresenceMemory.make
      let left = 0
      const presence = Presence.of({
        ...store,
        add: (...lease) =>
          left-- > 0
            ? Effect.fail(new BrokerError({ operation: "add presence", cause: "broken by the test" }))
            : store.add(...lease)
      })
      const server = yield* serve({
        shared: Layer.merge(BrokerMemory.layer, Layer.succeed(Presence, presence)),
        presenceInterval: "40 seconds",
        presenceTtl: "1 minute",
        positionCheckInterval: "1 hour"
      })
      const clients = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, n) => `user ${n}`),
        (name) => Effect.tap(user(server, name), (client) => client.subscribe("present:x"))
      )
      const there = Effect.map(presence.get("present:x"), ({ size }) => size)
      assert.strictEqual(yield* there, 20)
      for (const info of (yield* presence.get("present:x")).values()) yield* presence.remove("present:x", info)
      left = failures
      server.faults.tell({ _tag: "Gap", channel: "present:x" })
      /** How many are there after each of so many seconds. */
      return (seconds: number) =>
        Effect.forEach(Array.from({ length: seconds }), () =>
          Effect.gen(function*() {
            yield* TestClock.adjust("1 second")
            for (const client of clients) yield* client.settled
            return yield* there
          }))
    })

  it.scoped("is back within a quarter of the interval after a gap, and not all at once", () =>
    Effect.gen(function*() {
      const seen = yield* Effect.flatMap(forgotten(0), (look) => look(11))
      assert.isBelow(seen[1] ?? 20, 20)
      assert.strictEqual(seen.at(-1), 20)
    }))

  it.scoped("is tried again soon if it could not be renewed", () =>
    Effect.gen(function*() {
      const seen = yield* Effect.flatMap(forgotten(20), (look) => look(22))
      assert.isBelow(seen[10] ?? 20, 20)
      assert.strictEqual(seen.at(-1), 20)
    }))
})

describe("what a handler grants for a time", () => {
  const granting = (server: Server, expireAt: number) => {
    const asked: Array<string> = []
    return Effect.as(
      server.channels.register({
        matches: (channel) => channel === "closed:x",
        subscribe: ({ channel }) => {
          asked.push(channel)
          return Effect.succeed({ expireAt })
        },
        publish: () => Effect.succeed(Option.none())
      }),
      asked
    )
  }

  it.scopedLive("ends with 2501, and the client, which has no token to renew, asks again", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: "1 hour", pingInterval: "1 second", pongTimeout: 40 })
      let asked = 0
      yield* server.channels.register({
        matches: (channel) => channel === "closed:x",
        subscribe: () => Effect.sync(() => ++asked <= 2 ? { expireAt: inSeconds(2) } : {}),
        publish: () => Effect.succeed(Option.none())
      })
      const [reply] = yield* (yield* online(server)).ask({ id: 2, subscribe: { channel: "closed:x" } })
      assert.notProperty(reply?.["subscribe"], "expires")
      const client = yield* connected(server)
      const sub = yield* client.subscribe("closed:x")
      yield* sub.next("subscribing")
      assert.deepInclude(yield* sub.next("subscribing"), unsubscribes.expired)
      yield* sub.next("subscribed")
      assert.deepStrictEqual(sub.names, ["subscribing", "subscribed", "subscribing", "subscribed"])
      yield* stays(client)
    }))

  it.scoped("ends with 2501 after that time, and the client asks again: 110", () =>
    Effect.gen(function*() {
      const server = yield* serve({ expiredDelay: "5 seconds" })
      const asked = yield* granting(server, 10)
      const client = yield* connected(server)
      const sub = yield* client.subscribe("closed:x")
      yield* TestClock.adjust("9 seconds")
      yield* client.settled
      assert.deepStrictEqual(sub.names, ["subscribing", "subscribed"])
      yield* TestClock.adjust("2 seconds")
      yield* sub.next("subscribing")
      assert.deepInclude(yield* sub.next("subscribing"), unsubscribes.expired)
      assert.deepStrictEqual(yield* sub.next("unsubscribed"), { channel: "closed:x", code: 110, reason: "expired" })
      assert.strictEqual(asked.length, 2)
      yield* stays(client)
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    }))
})
