/** What goes over the wire as one frame, what is encoded once, and what commands must say. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { call, connected, type Document, online, open, refusal, serve, wire } from "./support.js"

const lines = (frame: string | Uint8Array): ReadonlyArray<Document> =>
  String(frame).split("\n").map((line): Document => JSON.parse(line))

describe("replies", () => {
  it.scopedLive("to the commands of one frame are one frame", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      yield* client.send(
        { id: 2, publish: { channel: "x", data: 1 } },
        { id: 3, history: { channel: "kept:x" } },
        { id: 4, presence_stats: { channel: "present:x" } },
        { id: 5, unsubscribe: { channel: "x" } }
      )
      assert.deepStrictEqual(lines(yield* client.peer.next).map(({ id }) => id), [2, 3, 4, 5])
    }))

  it.scopedLive("to the commands of two frames are two", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      yield* client.send({ id: 2, publish: { channel: "x", data: 1 } })
      yield* client.send({ id: 3, publish: { channel: "x", data: 1 } })
      assert.deepStrictEqual((yield* client.peer.take(2)).map(lines), [[{ id: 2, publish: {} }], [{
        id: 3,
        publish: {}
      }]])
    }))

  it.scopedLive("do not wait for code of the application that runs for a command behind theirs", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const gate = yield* Deferred.make<string>()
      yield* server.channels.rpc("wait", () => Deferred.await(gate))
      const client = yield* online(server)
      yield* client.send(
        { id: 2, publish: { channel: "x", data: 1 } },
        { id: 3, publish: { channel: "x", data: 1 } },
        { id: 4, rpc: { method: "wait" } },
        { id: 5, publish: { channel: "x", data: 1 } }
      )
      assert.deepStrictEqual(lines(yield* client.peer.next).map(({ id }) => id), [2, 3])
      yield* Deferred.succeed(gate, "now")
      assert.deepStrictEqual(lines(yield* client.peer.next), [{ id: 4, rpc: { data: "now" } }, { id: 5, publish: {} }])
    }))

  it.scopedLive("to what stands before a document that is broken are sent before the close", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      yield* client.text(
        "{\"id\":2,\"publish\":{\"channel\":\"x\",\"data\":1}}\n{\"id\":3,\"unsubscribe\":{\"channel\":\"x\"}}\n{"
      )
      assert.deepStrictEqual((yield* client.peer.rest).map(lines), [[{ id: 2, publish: {} }, {
        id: 3,
        unsubscribe: {}
      }]])
      assert.strictEqual((yield* client.closed).code, 3501)
    }))
})

describe("a publication", () => {
  for (const count of [1, 100]) {
    it.scopedLive(`is encoded once for ${count} subscribers`, () =>
      Effect.gen(function*() {
        const server = yield* serve()
        const clients = yield* Effect.replicateEffect(online(server), count)
        for (const client of clients) yield* client.ask({ id: 2, subscribe: { channel: "x" } })
        const encoded = { data: 0, tags: 0 }
        const counted = <A extends object>(what: keyof typeof encoded, value: A): A =>
          Object.defineProperty(value, "toJSON", {
            value: () => {
              encoded[what]++
              return { ...value }
            }
          })
        yield* server.channels.publish("x", counted("data", { a: 1 }), { tags: counted("tags", { b: "2" }) })
        for (const client of clients) {
          assert.deepStrictEqual(yield* client.next, {
            push: { channel: "x", pub: { data: { a: 1 }, tags: { b: "2" } } }
          })
        }
        assert.deepStrictEqual(encoded, { data: 1, tags: 1 })
      }))
  }

  it.scopedLive("of a client needs data: 107, and null is data", () =>
    Effect.gen(function*() {
      const client = yield* online(yield* serve())
      const replies = yield* client.ask(
        { id: 2, publish: { channel: "x" } },
        { id: 3, publish: { channel: "kept:x" } },
        { id: 4, publish: { channel: "x", data: null } },
        // It is not told whether it might, had it data.
        { id: 5, publish: { channel: "closed:x" } }
      )
      const refused = { code: 107, message: "bad request: a publication has data" }
      assert.deepStrictEqual(replies, [
        { id: 2, error: refused },
        { id: 3, error: refused },
        { id: 4, publish: {} },
        { id: 5, error: refused }
      ])
      const [kept] = yield* client.ask({ id: 6, history: { channel: "kept:x", limit: -1 } })
      assert.deepInclude(kept?.["history"], { publications: [] })
    }))

  it.scopedLive("of the SDK without data is 107", () =>
    Effect.gen(function*() {
      const client = yield* connected(yield* serve())
      assert.strictEqual(yield* refusal(() => client.client.publish("x", undefined)), 107)
    }))
})

describe("history in reverse", () => {
  it.scopedLive("from offset 0 is 107, from 1 there is nothing before, and without a position it begins with the newest", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      for (const n of [1, 2, 3]) yield* server.channels.publish("kept:x", n)
      const { epoch } = yield* server.channels.history("kept:x")
      const client = yield* connected(server)
      const history = (since?: { readonly offset: number; readonly epoch: string }) =>
        client.client.history("kept:x", { limit: 10, reverse: true, ...(since === undefined ? {} : { since }) })
      const read = (since?: { readonly offset: number; readonly epoch: string }) =>
        Effect.map(call(() => history(since)), ({ publications }) => publications.map(({ data }) => data as unknown))
      assert.strictEqual(yield* refusal(() => history({ offset: 0, epoch })), 107)
      assert.strictEqual(yield* refusal(() => history({ offset: 0, epoch: "" })), 107)
      assert.deepStrictEqual(yield* read({ offset: 1, epoch }), [])
      assert.deepStrictEqual(yield* read({ offset: 3, epoch }), [2, 1])
      assert.deepStrictEqual(yield* read(), [3, 2, 1])
    }))
})

describe("the version", () => {
  it.scopedLive("is told when connecting, if there is one", () =>
    Effect.gen(function*() {
      const versioned = yield* wire(yield* serve({ version: "1.2.3 \"x\"" }))
      const [reply] = yield* versioned.ask({ id: 1, connect: {} })
      assert.deepInclude(reply?.["connect"], { version: "1.2.3 \"x\"" })
      const plain = yield* wire(yield* serve())
      const [without] = yield* plain.ask({ id: 1, connect: {} })
      assert.notProperty(without?.["connect"], "version")
    }))
})

describe("deltas", () => {
  it.scopedLive("are not offered: who asks for fossil gets publications as they are", () =>
    Effect.gen(function*() {
      const server = yield* serve({
        namespaces: { news: { ...open, historySize: 9, historyTtl: "1 minute", forceRecovery: true } }
      })
      const raw = yield* online(server)
      const [reply] = yield* raw.ask({ id: 2, subscribe: { channel: "news:x", delta: "fossil" } })
      assert.deepInclude(reply?.["subscribe"], { recoverable: true, positioned: true })
      assert.notProperty(reply?.["subscribe"], "delta")
      const client = yield* connected(server)
      const sub = yield* client.subscribe("news:x", { delta: "fossil" })
      const data = [{ text: "one" }, { text: "one and more" }, "text", "", null]
      for (const [index, each] of data.entries()) {
        yield* server.channels.publish("news:x", each)
        assert.deepStrictEqual(yield* raw.next, { push: { channel: "news:x", pub: { data: each, offset: index + 1 } } })
      }
      assert.deepStrictEqual(yield* sub.data(data.length), data)
      client.client.disconnect()
      yield* server.channels.publish("news:x", "missed")
      yield* client.connect
      assert.deepStrictEqual(yield* sub.data(1), ["missed"])
    }))
})
