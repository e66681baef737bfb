import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Logger from "effect/Logger"
import * as Queue from "effect/Queue"
import { connected, online, serve, type Server } from "./support.js"

const channel = "kept:x"

const publish = (id: number, data: unknown = id) => ({ id, publish: { channel, data } })

/** Publications wait in the broker until they are let go; `begun` has one entry for each that arrived there. */
const held = (server: Server) =>
  Effect.gen(function*() {
    const begun = yield* Queue.unbounded<void>()
    const gate = yield* Effect.makeLatch()
    const asked: Array<string> = []
    server.faults.before = (operation) =>
      Effect.suspend(() => {
        asked.push(operation)
        return operation === "publish" ? Effect.zipRight(Queue.offer(begun, undefined), gate.await) : Effect.void
      })
    return { begun, gate, asked }
  })

describe("a broker that lives elsewhere", () => {
  it.scopedLive("has several publications of one client under way, in its order", () =>
    Effect.gen(function*() {
      const server = yield* serve({ elsewhere: true })
      const { begun, gate } = yield* held(server)
      const client = yield* online(server)
      const reader = yield* connected(server)
      const sub = yield* reader.subscribe(channel)
      yield* client.send(publish(2))
      yield* client.send(publish(3), publish(4))
      yield* Effect.replicateEffect(Queue.take(begun), 3)
      yield* gate.open
      const replies = yield* client.take(3)
      assert.deepStrictEqual(replies, [{ id: 2, publish: {} }, { id: 3, publish: {} }, { id: 4, publish: {} }])
      assert.deepStrictEqual(yield* sub.data(3), [2, 3, 4])
    }))

  it.scopedLive("has nothing else of the client before they are confirmed", () =>
    Effect.gen(function*() {
      const server = yield* serve({ elsewhere: true })
      const { asked, begun, gate } = yield* held(server)
      const client = yield* online(server)
      yield* client.send(publish(2))
      yield* client.send({ id: 3, history: { channel, limit: 10 } })
      yield* Queue.take(begun)
      // Another client is served meanwhile, so the command had its chance.
      const other = yield* online(server)
      yield* other.ask({ id: 2, history: { channel: "kept:other" } })
      assert.deepStrictEqual(asked, ["publish", "history"])
      yield* gate.open
      const [published, history] = yield* client.take(2)
      assert.deepStrictEqual(published, { id: 2, publish: {} })
      assert.deepInclude(history?.["history"], { offset: 1 })
    }))

  it.scopedLive("has at most 128 of a client under way, and then the rest", () =>
    Effect.gen(function*() {
      const server = yield* serve({ elsewhere: true })
      const { asked, begun, gate } = yield* held(server)
      const client = yield* online(server)
      const ids = Array.from({ length: 200 }, (_, index) => index + 2)
      yield* client.send(...ids.map((id) => publish(id)))
      yield* Effect.replicateEffect(Queue.take(begun), 128)
      const other = yield* online(server)
      yield* other.ask({ id: 2, history: { channel: "kept:other" } })
      assert.strictEqual(asked.filter((operation) => operation === "publish").length, 128)
      yield* gate.open
      const replies = yield* client.take(200)
      assert.deepStrictEqual(replies.map(({ id }) => id), ids)
    }))

  it.scopedLive("that fails refuses with a temporary 100, and the connection goes on", () =>
    Effect.gen(function*() {
      const server = yield* serve({ elsewhere: true })
      const client = yield* online(server)
      server.faults.broken.add("publish")
      const [refused] = yield* client.ask(publish(2))
      assert.deepInclude(refused?.["error"], { code: 100, temporary: true })
      server.faults.broken.clear()
      assert.deepStrictEqual(yield* client.ask(publish(3)), [{ id: 3, publish: {} }])
    }))

  it.scopedLive("gets what a client published that left at once", () =>
    Effect.gen(function*() {
      const server = yield* serve({ elsewhere: true })
      const { begun, gate } = yield* held(server)
      const reader = yield* connected(server)
      const sub = yield* reader.subscribe(channel)
      const client = yield* online(server)
      yield* client.send(publish(2, "the last"))
      yield* Queue.take(begun)
      client.peer.ws.terminate()
      yield* client.closed
      yield* gate.open
      assert.deepStrictEqual(yield* sub.data(1), ["the last"])
    }))
})

describe("a broker that is away", () => {
  for (const elsewhere of [false, true]) {
    it.scopedLive(`is in the log once, and again when it was there meanwhile${elsewhere ? " (elsewhere)" : ""}`, () =>
      Effect.gen(function*() {
        const lines: Array<string> = []
        const logger = Logger.make(({ logLevel, message }) => {
          if (logLevel.label === "ERROR") lines.push(String(message))
        })
        yield* Effect.gen(function*() {
          const server = yield* serve({ elsewhere })
          const client = yield* online(server)
          const outage = Effect.gen(function*() {
            server.faults.broken.add("publish")
            for (let id = 2; id < 12; id++) {
              const [reply] = yield* client.ask(publish(id))
              assert.deepInclude(reply, { id })
              assert.property(reply, "error")
            }
            server.faults.broken.clear()
          })
          yield* outage
          assert.deepStrictEqual(yield* client.ask(publish(20)), [{ id: 20, publish: {} }])
          yield* outage
        }).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, logger)))
        assert.strictEqual(lines.length, 2)
        for (const line of lines) assert.match(line, /The operation publish of a client failed/)
      }))
  }
})
