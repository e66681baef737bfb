/** What no outbox holds, and what a client asks for faster than it reads. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
import { mount } from "../../src/channels/Channels.js"
import * as HubTest from "../../src/testing/HubTest.js"
import * as TestTransport from "../../src/testing/TestTransport.js"
import {
  connected,
  type Document,
  namespaces,
  online,
  open,
  refusal,
  serve,
  type Server,
  token,
  wire
} from "./support.js"

const hub = { outboxBytes: 60_000 }

const publish = (server: Server, channel: string, count: number, units: number) =>
  Effect.replicateEffect(server.channels.publish(channel, "x".repeat(units)), count, { discard: true })

const part = (document: Document | undefined, key: string) => document?.[key] as Document | undefined

/** A client in memory that is connected, and whose socket is full as soon as something is in it. */
const narrow = (server: Server) =>
  Effect.gen(function*() {
    const { peer, transport } = yield* TestTransport.make({ highWaterMark: 1 })
    yield* server.hub.accept(transport, server.channels.serve, { closeWith: mount.closeWith })
    yield* peer.send("{\"id\":1,\"connect\":{}}")
    yield* peer.next
    const documents: Array<Document> = []
    const next = Effect.gen(function*() {
      while (documents.length === 0) {
        documents.push(...String(yield* peer.next).split("\n").map((line): Document => JSON.parse(line)))
      }
      return documents.shift()
    })
    const send = (all: ReadonlyArray<unknown>) => peer.send(all.map((document) => JSON.stringify(document)).join("\n"))
    /** Asks for all of it, in so many messages, reads nothing for a while, and then everything. */
    const ask = (...messages: ReadonlyArray<ReadonlyArray<unknown>>) =>
      Effect.gen(function*() {
        yield* peer.pauseReading
        yield* Effect.forEach(messages, send)
        yield* HubTest.settle
        yield* peer.resumeReading
        return yield* Effect.replicateEffect(next, messages.flat().length)
      })
    return { ask }
  })

describe("what a client missed is more than an outbox holds", () => {
  it.scopedLive("it is not recovered, and is told so, once", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      const client = yield* connected(server)
      const sub = yield* client.subscribe("recovered:x")
      for (const [units, recovered] of [[5000, false], [2000, true]] as const) {
        client.client.disconnect()
        yield* client.next("disconnected")
        yield* publish(server, "recovered:x", 20, units)
        yield* client.connect
        assert.deepInclude(yield* sub.next("subscribed"), { wasRecovering: true, recovered })
        if (recovered) assert.lengthOf(yield* sub.data(20), 20)
        yield* server.channels.publish("recovered:x", "live")
        assert.deepStrictEqual(yield* sub.data(1), ["live"])
        assert.lengthOf(client.heard("disconnected"), recovered ? 2 : 1)
      }
    }))

  it.scopedLive("with 112, if it wants that", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      const client = yield* online(server)
      yield* publish(server, "recovered:x", 20, 5000)
      const { epoch } = yield* server.channels.history("recovered:x", { limit: 0 })
      const [reply] = yield* client.ask({
        id: 2,
        subscribe: { channel: "recovered:x", recover: true, offset: 0, epoch, flag: 2 }
      })
      assert.strictEqual(part(reply, "error")?.["code"], 112)
    }))

  it.scopedLive("what the server subscribes it to has its share of one reply", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      const channels = ["recovered:a", "recovered:b", "recovered:c"]
      yield* publish(server, "recovered:a", 4, 4000)
      yield* publish(server, "recovered:b", 4, 8000)
      yield* publish(server, "recovered:c", 4, 4000)
      const subs = Object.fromEntries(
        yield* Effect.forEach(channels, (channel) =>
          Effect.map(
            server.channels.history(channel, { limit: 0 }),
            ({ epoch }) => [channel, { recover: true, offset: 0, epoch }]
          ))
      )
      const grants = Object.fromEntries(channels.map((channel) => [channel, {}]))
      const client = yield* wire(server)
      const [reply] = yield* client.ask({ id: 1, connect: { token: token({ subs: grants }), subs } })
      const told = part(part(reply, "connect"), "subs")
      const recovered = channels.map((channel) => part(told, channel)?.["recovered"] ?? false)
      assert.deepStrictEqual(recovered, [true, false, true])
    }))
})

describe("what is more than an outbox holds", () => {
  it.scopedLive("is refused by 107 as a publication, and the most that is taken arrives", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      const client = yield* connected(server)
      const sub = yield* client.subscribe("present:x")
      const most = "x".repeat(60_000 - 1024 - 2)
      assert.strictEqual(yield* refusal(() => client.client.publish("present:x", `${most}x`)), 107)
      const refused = yield* Effect.flip(server.channels.publish("present:x", `${most}x`))
      assert.deepInclude(refused, {
        code: 107,
        reason:
          "bad request: a publication, its tags and info included, has at most 58976 bytes, since outboxBytes is 60000"
      })
      const tagged = yield* Effect.flip(server.channels.publish("present:x", most, { tags: { a: "b" } }))
      assert.strictEqual(tagged.code, 107)
      // Two bytes each.
      const wide = yield* Effect.flip(server.channels.publish("present:x", "é".repeat(30_000)))
      assert.strictEqual(wide.code, 107)
      yield* Effect.promise(() => client.client.publish("present:x", most))
      yield* server.channels.publish("present:x", most)
      assert.deepStrictEqual(yield* sub.data(2), [most, most])
      assert.lengthOf(client.heard("disconnected"), 0)
    }))

  it.scopedLive("is refused by 107 with what its publisher is said to be, and those who listen stay", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      const reader = yield* online(server, { user: "bob" })
      yield* reader.ask({ id: 2, subscribe: { channel: "x" } })
      for (const info of ["i".repeat(3000), { text: "i".repeat(3000) }]) {
        const writer = yield* online(server, { user: "ada", info })
        const publish = (units: number) =>
          Effect.map(
            writer.ask({ id: 2, publish: { channel: "x", data: "x".repeat(units) } }),
            ([reply]) => part(reply, "error")?.["code"]
          )
        assert.strictEqual(yield* publish(58_000), 107)
        assert.strictEqual(yield* publish(60_000 - 1024 - 3000 * 6 - 20), undefined)
        assert.deepInclude(part(part(yield* reader.next, "push"), "pub")?.["info"], { user: "ada", conn_info: info })
      }
    }))

  it.scopedLive("is refused by 107 as a message to a client, and the most that is taken arrives", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      const client = yield* connected(server)
      const { client: id } = client.heard("connected")[0] ?? assert.fail("not connected")
      const most = "x".repeat(60_000 - 1024 - 2)
      assert.strictEqual((yield* Effect.flip(server.channels.send(id, `${most}x`))).code, 107)
      assert.isTrue((yield* server.channels.send(id, most)).sent)
      assert.strictEqual((yield* client.next("message")).data, most)
      assert.lengthOf(client.heard("disconnected"), 0)
    }))

  it.scopedLive("is refused by 106 as an answer, and the connection stays", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      yield* server.channels.rpc("repeat", (count) => Effect.succeed("x".repeat(Number(count))))
      yield* publish(server, "kept:x", 20, 5000)
      const client = yield* connected(server)
      assert.strictEqual(yield* refusal(() => client.client.history("kept:x", { limit: 20 })), 106)
      assert.strictEqual(yield* refusal(() => client.client.rpc("repeat", 60_000)), 106)
      const { publications } = yield* Effect.promise(() => client.client.history("kept:x", { limit: 10 }))
      assert.lengthOf(publications, 10)
      const { data } = yield* Effect.promise(() => client.client.rpc("repeat", 59_000))
      assert.lengthOf(data, 59_000)
      assert.lengthOf(client.heard("disconnected"), 0)
    }))

  it.scopedLive("is refused by 106 as presence", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      const crowd = yield* Effect.replicateEffect(online(server, { user: "ada", info: "x".repeat(12_000) }), 6)
      const ask = { id: 2, subscribe: { channel: "present:x" } }
      for (const client of crowd) yield* client.ask(ask)
      const client = yield* connected(server)
      assert.strictEqual(yield* refusal(() => client.client.presence("present:x")), 106)
      const { numClients } = yield* Effect.promise(() => client.client.presenceStats("present:x"))
      assert.strictEqual(numClients, 6)
    }))
})

describe("a client that asks for more than its outbox holds, and reads as it can", () => {
  const channels = Array.from({ length: 6 }, (_, n) => `recovered:${n}`)

  it.scopedLive("recovers all of many channels", () =>
    Effect.gen(function*() {
      const server = yield* serve({ hub })
      for (const channel of channels) yield* publish(server, channel, 10, 4000)
      const asked = yield* Effect.forEach(channels, (channel, n) =>
        Effect.map(server.channels.history(channel, { limit: 0 }), ({ epoch }) => ({
          id: n + 2,
          subscribe: { channel, recover: true, offset: 0, epoch }
        })))
      const { ask } = yield* narrow(server)
      const replies = yield* ask(asked)
      assert.deepStrictEqual(
        replies.map((reply) =>
          part(reply, "subscribe")?.["recovered"]
        ),
        channels.map(() => true)
      )
    }))

  const calls = (sizes: ReadonlyArray<number>) =>
    sizes.map((data, n) => ({ id: n + 2, rpc: { method: "repeat", data } }))

  for (
    const [name, sizes, messages] of [
      ["all answers to the many calls of one message", Array.from({ length: 60 }, () => 5000), 1],
      ["large answers to calls that come one by one", Array.from({ length: 12 }, () => 20_000), 12]
    ] as const
  ) {
    it.scopedLive(`gets ${name}`, () =>
      Effect.gen(function*() {
        const server = yield* serve({ hub })
        yield* server.channels.rpc("repeat", (count) => Effect.succeed("x".repeat(Number(count))))
        const { ask } = yield* narrow(server)
        const all = calls(sizes)
        const replies = yield* messages === 1 ? ask(all) : ask(...all.map((call) => [call]))
        assert.deepStrictEqual(replies.map((reply) => String(part(reply, "rpc")?.["data"]).length), sizes)
        assert.deepStrictEqual(replies.map((reply) => reply?.["id"]), sizes.map((_, n) => n + 2))
      }))
  }
})

describe("a coalesceWindow", () => {
  it.scoped("does not end early, however much is published", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        namespaces: { ...namespaces.namespaces, joined: { ...open, coalesceWindow: "1 minute" } }
      })
      const client = yield* connected(server)
      const sub = yield* client.subscribe("joined:x")
      const large = "x".repeat(1_000_000)
      for (let n = 0; n < 20; n++) yield* server.channels.publish("joined:x", large)
      yield* server.channels.publish("joined:x", "the newest")
      yield* client.settled
      assert.lengthOf(sub.heard("publication"), 0)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* sub.data(1), ["the newest"])
    }))
})
