/** What the nodes of one hub ask each other: hubs of their own, one network, clients of the official SDK. */
import { assert, describe, it } from "@effect/vitest"
import { withChaos } from "effect-ws-hub/testing"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as TestClock from "effect/TestClock"
import { BrokerError } from "../../src/channels/Broker.js"
import * as BrokerMemory from "../../src/channels/BrokerMemory.js"
import type { Answered } from "../../src/channels/Channels.js"
import { type Ask, Cluster, type Member } from "../../src/channels/Cluster.js"
import * as PresenceMemory from "../../src/channels/PresenceMemory.js"
import { disconnects } from "../../src/channels/ProtocolCode.js"
import { Disconnect } from "../../src/core/HubError.js"
import { eventuallyEffect } from "../node/support.js"
import {
  connected,
  inSeconds,
  network,
  online,
  type Sdk,
  sdk,
  serve,
  type ServeOptions,
  type Server,
  user
} from "./support.js"

/** A clock that does not run would keep a real request from its timeout, a real one makes a test wait for it. */
const lease = 10_000
const timeout = 1000

const nodes = (names: ReadonlyArray<string>, options: ServeOptions = {}) =>
  Effect.gen(function*() {
    const { cluster, node } = yield* network({ lease, timeout })
    const servers = yield* Effect.forEach(names, (name) => serve({ name, shared: node(), ...options }))
    const uids = yield* Effect.forEach(servers, uidOf)
    return { cluster, servers, uids }
  })

const uidOf = (server: Server) =>
  Effect.map(server.channels.info, ({ nodes: [here] }) => here === undefined ? "" : here.uid)

/** Two nodes, and what most of these tests do something to: Ada on both, Bob on the second. */
const two = (options: ServeOptions = {}) =>
  Effect.gen(function*() {
    const { cluster, servers: [one, other], uids: [, uid = ""] } = yield* nodes(["one", "other"], options)
    if (one === undefined || other === undefined) return yield* Effect.dieMessage("two nodes were asked for")
    const here = yield* identified(one, "ada")
    const there = yield* identified(other, "ada")
    const bob = yield* user(other, "bob")
    return { cluster, one, other, uid, here, there, bob }
  })

const identified = (server: Server, name: string) =>
  Effect.gen(function*() {
    const client = yield* sdk(server, { claims: { user: name } })
    return { client, id: (yield* client.connect).client }
  })

const untouched = (client: Sdk) =>
  Effect.map(client.settled, () => assert.deepStrictEqual(client.names, ["connecting", "connected"]))

const all = (count: number) => ({ count, missing: [] })

describe("a user's connections, on whatever node", () => {
  it.scopedLive("are closed, with the code and the reason", () =>
    Effect.gen(function*() {
      const { bob, here, one, there } = yield* two()
      const bye = new Disconnect({ code: 4501, reason: "bye" })
      assert.deepStrictEqual(yield* one.channels.disconnect("ada", { disconnect: bye }), all(2))
      for (const { client } of [here, there]) {
        assert.deepStrictEqual(yield* client.next("disconnected"), { code: 4501, reason: "bye" })
      }
      yield* untouched(bob)
    }))

  it.scopedLive("but for some", () =>
    Effect.gen(function*() {
      const { here, one, there } = yield* two()
      assert.deepStrictEqual(yield* one.channels.disconnect("ada", { except: [there.id] }), all(1))
      assert.deepStrictEqual(yield* here.client.next("disconnected"), { code: 3503, reason: "force disconnect" })
      yield* untouched(there.client)
    }))

  it.scopedLive("or just one", () =>
    Effect.gen(function*() {
      const { bob, here, one, there } = yield* two()
      assert.deepStrictEqual(yield* one.channels.disconnect("bob", { client: there.id }), all(0))
      assert.deepStrictEqual(yield* one.channels.disconnect("ada", { client: there.id }), all(1))
      yield* there.client.next("disconnected")
      for (const client of [here.client, bob]) yield* untouched(client)
    }))

  it.scopedLive("are subscribed, and hear what is published on any node; and are unsubscribed", () =>
    Effect.gen(function*() {
      const { bob, here, one, other, there } = yield* two()
      assert.deepStrictEqual(
        yield* one.channels.subscribeUser("ada", "present:x", { data: { a: 1 }, info: [2] }),
        all(2)
      )
      for (const { client } of [here, there]) {
        assert.deepInclude(yield* client.next("subscribed"), { channel: "present:x", data: { a: 1 } })
      }
      assert.deepStrictEqual(
        (yield* one.channels.presence("present:x")).get(there.id),
        { user: "ada", client: there.id, connInfo: undefined, chanInfo: [2] }
      )
      yield* other.channels.publish("present:x", "to both")
      for (const { client } of [here, there]) {
        assert.deepInclude(yield* client.next("publication"), { data: "to both" })
      }
      assert.deepStrictEqual(yield* other.channels.unsubscribe("ada", "present:x", { client: here.id }), all(1))
      assert.deepStrictEqual(yield* here.client.next("unsubscribed"), { channel: "present:x" })
      const reason = { code: 2100, reason: "enough" }
      assert.deepStrictEqual(yield* one.channels.unsubscribe("ada", "present:x", { unsubscribe: reason }), all(1))
      assert.deepStrictEqual(yield* there.client.next("unsubscribed"), { channel: "present:x" })
      assert.strictEqual((yield* one.channels.presence("present:x")).size, 0)
      yield* untouched(bob)
    }))

  it.scopedLive("are subscribed from a position, and with options of its own", () =>
    Effect.gen(function*() {
      const { one, there } = yield* two()
      for (const data of [1, 2, 3]) yield* one.channels.publish("recovered:x", data)
      const { epoch } = yield* one.channels.history("recovered:x", { limit: 0 })
      const since = { offset: 1, epoch }
      yield* one.channels.subscribeUser("ada", "recovered:x", { client: there.id, recoverSince: since })
      assert.deepInclude(yield* there.client.next("subscribed"), { channel: "recovered:x", recoverable: true })
      assert.deepStrictEqual((yield* there.client.take("publication", 2)).map(({ data }) => data), [2, 3])
      yield* one.channels.subscribeUser("ada", "x", { client: there.id, override: { presence: true } })
      yield* there.client.next("subscribed")
      const grants = yield* Effect.either(one.channels.presence("x"))
      assert.strictEqual(grants._tag, "Left", "the namespace has none, whatever a grant says")
    }))

  it.scopedLive("a channel that there cannot be is refused, and nobody is asked", () =>
    Effect.gen(function*() {
      const asked: Array<string> = []
      const one = yield* serve({ shared: scripted((request) => Effect.sync(() => (asked.push(request), nobody))) })
      const refused = yield* Effect.flip(one.channels.subscribeUser("ada", "no:such"))
      assert.strictEqual(refused.code, 102)
      assert.strictEqual((yield* Effect.flip(one.channels.unsubscribe("ada", "no:such"))).code, 102)
      assert.deepStrictEqual(asked, [])
    }))

  it.scopedLive("expire as the server says", () =>
    Effect.gen(function*() {
      const { bob, here, one, there } = yield* two()
      assert.deepStrictEqual(yield* one.channels.refresh("ada", { expireAt: inSeconds(60) }), all(2))
      assert.deepStrictEqual(yield* one.channels.refresh("ada", { expired: true }), all(2))
      for (const { client } of [here, there]) {
        yield* client.next("connecting")
        assert.deepStrictEqual(yield* client.next("connecting"), { code: 3005, reason: "connection expired" })
      }
      yield* untouched(bob)
    }))

  it.scopedLive("get a message, wherever the client is", () =>
    Effect.gen(function*() {
      const { bob, here, one, there } = yield* two()
      assert.deepStrictEqual(yield* one.channels.send(there.id, { n: null }), { sent: true, missing: [] })
      assert.deepStrictEqual(yield* there.client.next("message"), { data: { n: null } })
      assert.deepStrictEqual(yield* one.channels.send("nobody", 1), { sent: false, missing: [] })
      for (const client of [here.client, bob]) yield* untouched(client)
    }))
})

describe("what there is, on all nodes", () => {
  it.scopedLive("channels with subscribers are counted together; the glob is that of each node", () =>
    Effect.gen(function*() {
      const { servers: [one, other, third] } = yield* nodes(["one", "other", "third"])
      if (one === undefined || other === undefined || third === undefined) return yield* Effect.dieMessage("three")
      const subscribed = [[one, "a"], [other, "a"], [other, "b"], [third, "kept:a"]] as const
      for (const [server, channel] of subscribed) yield* (yield* connected(server)).subscribe(channel)
      // The SDK cannot have one of this name.
      yield* (yield* online(third)).ask({ id: 2, subscribe: { channel: "__proto__" } })
      const counts = (pattern?: string) =>
        Effect.map(one.channels.channels(pattern), ({ channels, missing }) => {
          assert.deepStrictEqual(missing, [])
          return Object.fromEntries(Array.from(channels, ([name, { clients }]) => [name, clients]))
        })
      assert.deepStrictEqual(
        yield* counts(),
        Object.fromEntries([["a", 2], ["b", 1], ["kept:a", 1], ["__proto__", 1]])
      )
      assert.deepStrictEqual(yield* counts("*a"), { a: 2, "kept:a": 1 })
    }))

  it.scopedLive("each node says what is on it, the one that was asked first", () =>
    Effect.gen(function*() {
      const { bob, one, other, uid } = yield* two()
      yield* bob.subscribe("a")
      const { missing, nodes } = yield* one.channels.info
      assert.deepStrictEqual(missing, [])
      assert.deepStrictEqual(nodes.map(({ name }) => name), ["one", "other"])
      assert.deepInclude(nodes[0], { clients: 1, users: 1, channels: 0, subscriptions: 0 })
      assert.deepInclude(nodes[1], { uid, clients: 2, users: 2, channels: 1, subscriptions: 1 })
      assert.deepStrictEqual((yield* other.channels.info).nodes.map(({ name }) => name), ["other", "one"])
    }))

  it.scopedLive("a node that ends is not asked any more", () =>
    Effect.gen(function*() {
      const { node } = yield* network()
      const one = yield* serve({ name: "one", shared: node() })
      yield* Effect.scoped(serve({ name: "other", shared: node() }))
      const { missing, nodes } = yield* one.channels.info
      assert.deepStrictEqual([nodes.length, missing], [1, []])
    }))
})

describe("a node that does not answer", () => {
  it.scoped("is named once the time is over, and the rest is done", () =>
    Effect.gen(function*() {
      const { cluster, here, one, there, uid } = yield* two()
      cluster.kill(uid)
      const kick = yield* Effect.fork(one.channels.disconnect("ada"))
      yield* here.client.next("disconnected")
      yield* TestClock.adjust(timeout - 1)
      assert.isTrue((yield* Fiber.poll(kick))._tag === "None")
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(kick), { count: 1, missing: [uid] })
      yield* untouched(there.client)
      const { channels, info, send } = one.channels
      const missing = <E>(ask: Effect.Effect<Answered, E>) => Effect.map(ask, ({ missing }) => missing)
      for (const ask of [missing(info), missing(channels()), missing(send(there.id, 1))]) {
        const asking = yield* Effect.fork(Effect.orDie(ask))
        yield* eventuallyAdjusted(asking)
        assert.deepStrictEqual(yield* Fiber.join(asking), [uid])
      }
    }))

  it.scoped("is gone once its lease is over, and a living one is not", () =>
    Effect.gen(function*() {
      const { cluster, servers: [one], uids: [, dead = "", alive = ""] } = yield* nodes(["one", "dead", "alive"])
      if (one === undefined) return yield* Effect.dieMessage("one")
      const missing = Effect.gen(function*() {
        const info = yield* Effect.fork(one.channels.info)
        yield* eventuallyAdjusted(info)
        const { missing, nodes } = yield* Fiber.join(info)
        return { missing, nodes: nodes.map(({ uid }) => uid).slice(1) }
      })
      yield* TestClock.adjust(lease * 3)
      cluster.kill(dead)
      assert.deepStrictEqual(yield* missing, { missing: [dead], nodes: [alive] })
      yield* TestClock.adjust(lease)
      assert.deepStrictEqual(yield* missing, { missing: [], nodes: [alive] })
    }))

  it.scoped("is not waited for where another one has the client", () =>
    Effect.gen(function*() {
      const { cluster, servers: [one, other], uids: [, , dead = ""] } = yield* nodes(["one", "other", "dead"])
      if (one === undefined || other === undefined) return yield* Effect.dieMessage("two")
      const [here, there] = [yield* identified(one, "ada"), yield* identified(other, "ada")]
      cluster.kill(dead)
      // The clock stands still: waiting for the third would not end.
      for (const { client, id } of [here, there]) {
        assert.deepStrictEqual(yield* one.channels.send(id, "hello"), { sent: true, missing: [] })
        assert.deepStrictEqual(yield* client.next("message"), { data: "hello" })
        assert.deepStrictEqual(yield* one.channels.disconnect("ada", { client: id }), all(1))
        yield* client.next("disconnected")
      }
    }))

  it.scoped("does it all the same, if it is only late", () =>
    Effect.gen(function*() {
      const { bob, one, other, uid } = yield* two()
      const held = yield* Deferred.make<void>()
      other.faults.before = (operation) => operation === "unsubscribe" ? Deferred.await(held) : Effect.void
      const sub = yield* bob.subscribe("a")
      const taking = yield* Effect.fork(one.channels.unsubscribe("bob", "a"))
      yield* eventuallyAdjusted(taking)
      assert.deepStrictEqual(yield* Fiber.join(taking), { count: 0, missing: [uid] })
      yield* Deferred.succeed(held, undefined)
      assert.deepInclude(yield* sub.next("unsubscribed"), { code: 2000 })
    }))
})

describe("a request of all nodes that is interrupted", () => {
  it.scopedLive("ends, wherever the interrupt finds it", () =>
    Effect.gen(function*() {
      const { servers: [one] } = yield* nodes(["one", "other"])
      if (one === undefined) return yield* Effect.dieMessage("one")
      for (let seed = 1; seed <= 250; seed++) {
        const ended = Effect.gen(function*() {
          const asking = yield* Effect.fork(one.channels.disconnect("nobody"))
          yield* Effect.repeatN(Effect.yieldNow(), seed % 40)
          yield* Fiber.interrupt(asking)
        }).pipe(withChaos(seed, 0.1), Effect.disconnect, Effect.timeoutOption("5 seconds"))
        assert.strictEqual((yield* ended)._tag, "Some", `seed ${seed}`)
      }
    }))
})

/** Lets the carrier's patience end, and not before it has begun. */
const eventuallyAdjusted = <A, E>(fiber: Fiber.RuntimeFiber<A, E>) =>
  Effect.repeat(
    Effect.zipRight(
      Effect.promise(() => new Promise(setImmediate)),
      Effect.zipRight(TestClock.adjust(timeout), Fiber.poll(fiber))
    ),
    { until: (exit) => exit._tag === "Some" }
  )

const nobody = { answers: [], missing: [] }

/** One node at a carrier that the test makes up. */
const scripted = (ask: Ask, joined: (member: Member) => void = () => {}) =>
  Layer.mergeAll(
    BrokerMemory.layer,
    PresenceMemory.layer,
    Layer.succeed(Cluster, { join: (member) => Effect.sync(() => (joined(member), ask)) })
  )

const logged = () => {
  const logs: Array<string> = []
  const logger = Logger.make(({ message }) => void logs.push(String(message)))
  return { logs, layer: Logger.replace(Logger.defaultLogger, logger) }
}

describe("what connects the nodes", () => {
  it.scopedLive("fails: this node's part is done, all others are missing, and the log says so once an outage", () => {
    const { layer, logs } = logged()
    return Effect.gen(function*() {
      let isAway = true
      const one = yield* serve({
        shared: scripted(() =>
          isAway ? new BrokerError({ operation: "ask", cause: "broken by the test" }) : Effect.succeed(nobody)
        )
      })
      const ada = yield* user(one, "ada")
      assert.deepStrictEqual(yield* one.channels.subscribeUser("ada", "x"), { count: 1, missing: ["*"] })
      assert.deepStrictEqual(yield* one.channels.disconnect("ada"), { count: 1, missing: ["*"] })
      yield* ada.next("disconnected")
      const told = () => logs.filter((line) => line.includes("cannot be asked"))
      assert.strictEqual(told().length, 1)
      assert.include(told()[0], "broken by the test")
      isAway = false
      assert.deepStrictEqual((yield* one.channels.info).missing, [])
      isAway = true
      assert.deepStrictEqual((yield* one.channels.info).missing, ["*"])
      assert.strictEqual(told().length, 2)
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("brings an answer that nobody can read: its node is missing, and the log says why", () => {
    const { layer, logs } = logged()
    return Effect.gen(function*() {
      const answers = ["{\"answer\":\"many\"}", "no JSON", "{\"refusal\":\"not today\"}", "{\"answer\":2}"]
        .map((answer, node) => ({ node: `n${node}`, answer }))
      const one = yield* serve({ shared: scripted(() => Effect.succeed({ answers, missing: ["n9"] })) })
      assert.deepStrictEqual(yield* one.channels.disconnect("ada"), { count: 2, missing: ["n9", "n0", "n1", "n2"] })
      const told = logs.filter((line) => line.includes("disconnect"))
      assert.strictEqual(told.length, 3)
      assert.include(told[2], "not today")
    }).pipe(Effect.provide(layer))
  })

  it.scopedLive("brings a request that this version does not know: it is refused, and nothing is done", () => {
    const { layer } = logged()
    return Effect.gen(function*() {
      let answer: Member["answer"] = () => Effect.dieMessage("did not join")
      const one = yield* serve({
        shared: scripted(() => Effect.succeed(nobody), (member) => {
          answer = member.answer
        })
      })
      const ada = yield* user(one, "ada")
      const disconnect = { _tag: "disconnect", user: "ada", code: 3503, reason: "", except: [] }
      const refusals = [
        "",
        "no JSON",
        "null",
        "[]",
        "{}",
        { _tag: "explode" },
        { ...disconnect, user: 7 },
        { ...disconnect, code: "3503" },
        // A newer version means fewer connections than this one would close.
        { ...disconnect, session: "s" },
        // A code that no socket can be closed with.
        { ...disconnect, code: 17 },
        { _tag: "unsubscribe", user: "ada", channel: "no:such", code: 2000, reason: "" },
        `{"_tag":"info","__proto__":{}}`
      ]
      for (const request of refusals) {
        const text = yield* answer(typeof request === "string" ? request : JSON.stringify(request))
        assert.match(text, /^\{"refusal":"[^"]/, JSON.stringify(request))
      }
      yield* untouched(ada)
      assert.strictEqual(yield* answer(JSON.stringify(disconnect)), "{\"answer\":1}")
      assert.strictEqual((yield* ada.next("disconnected")).code, disconnects.force.code)
      assert.strictEqual((yield* answer("{\"_tag\":\"info\"}")).slice(0, 18), "{\"answer\":{\"uid\":\"")
    }).pipe(Effect.provide(layer))
  })
})

describe("the server API", () => {
  const post = (server: Server, method: string, params: unknown) =>
    Effect.promise(async () => {
      const response = await fetch(`http://127.0.0.1:${server.port}/api/${method}`, {
        method: "POST",
        headers: { "x-api-key": "k" },
        body: JSON.stringify(params)
      })
      return await response.json() as unknown
    })

  it.scopedLive("acts on all nodes, and names those that are missing", () =>
    Effect.gen(function*() {
      const { here, one, other, there } = yield* two({ apiKey: "k" })
      assert.deepInclude(yield* post(one, "disconnect", { user: "ada" }), { result: {} })
      for (const { client } of [here, there]) yield* client.next("disconnected")
      yield* eventuallyEffect(Effect.map(other.hub.size, (size) => size === 1))
      const { result } = yield* post(one, "info", {}) as Effect.Effect<{ result: { nodes: Array<{ name: string }> } }>
      assert.deepStrictEqual(Object.keys(result), ["nodes"])
      assert.deepStrictEqual(result.nodes.map(({ name }) => name), ["one", "other"])
    }))

  it.scopedLive("says who is missing", () =>
    Effect.gen(function*() {
      const one = yield* serve({
        apiKey: "k",
        shared: scripted(() => Effect.succeed({ answers: [], missing: ["n2"] }))
      })
      for (
        const [method, params] of Object.entries({
          disconnect: { user: "ada" },
          refresh: { user: "ada" },
          subscribe: { user: "ada", channel: "x" },
          unsubscribe: { user: "ada", channel: "x" },
          channels: {},
          info: {}
        })
      ) {
        const { result } = yield* post(one, method, params) as Effect.Effect<{ result: { missing: unknown } }>
        assert.deepStrictEqual(result.missing, ["n2"], method)
      }
    }))
})
