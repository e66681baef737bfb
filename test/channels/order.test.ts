import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { type Document, online, serve, type Server } from "./support.js"

const channel = "recovered:x"

/** Publishes once, at this point of the broker's work. */
const publishAt = (server: Server, when: "before" | "after", operation: "subscribe" | "history", data: unknown) => {
  let done = false
  server.faults[when] = (found) => {
    if (done || found !== operation) return Effect.void
    done = true
    return Effect.asVoid(Effect.orDie(server.channels.publish(channel, data)))
  }
}

const subscribe = (more: Document = {}) => ({ id: 2, subscribe: { channel, ...more } })

/** A server with a publication in the channel, and a client. */
const setup = Effect.gen(function*() {
  const server = yield* serve()
  yield* server.channels.publish(channel, "old")
  const { epoch } = yield* server.channels.history(channel)
  return { server, epoch, client: yield* online(server) }
})

describe("the order in which a subscription is made (PROTOCOL 10.2)", () => {
  it.scopedLive("what is published while the history is read follows the reply", () =>
    Effect.gen(function*() {
      const { client, server } = yield* setup
      publishAt(server, "after", "history", "meanwhile")
      yield* client.send(subscribe())
      const [reply, push] = yield* client.take(2)
      assert.deepInclude(reply?.["subscribe"], { offset: 1, positioned: true })
      assert.deepStrictEqual(push, { push: { channel, pub: { data: "meanwhile", offset: 2 } } })
    }))

  it.scopedLive("what is published while the history is read is recovered with the rest", () =>
    Effect.gen(function*() {
      const { client, epoch, server } = yield* setup
      publishAt(server, "after", "history", "meanwhile")
      const [reply] = yield* client.ask(subscribe({ recover: true, epoch, offset: 0 }))
      assert.deepInclude(reply?.["subscribe"], {
        recovered: true,
        publications: [{ data: "old", offset: 1 }, { data: "meanwhile", offset: 2 }]
      })
    }))

  for (const when of ["before", "after"] as const) {
    it.scopedLive(`what is published just ${when} the broker was told is recovered with the rest`, () =>
      Effect.gen(function*() {
        const { client, epoch, server } = yield* setup
        publishAt(server, when, "subscribe", "meanwhile")
        const [reply] = yield* client.ask(subscribe({ recover: true, epoch, offset: 0 }))
        assert.deepInclude(reply?.["subscribe"], {
          recovered: true,
          publications: [{ data: "old", offset: 1 }, { data: "meanwhile", offset: 2 }]
        })
      }))
  }
})
