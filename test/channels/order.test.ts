import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/TestClock"
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

describe("a broker that fails to leave a channel", () => {
  /** A channel that nobody is in, and that the broker could not leave. */
  const unleft = Effect.gen(function*() {
    const { client, server } = yield* setup
    const heard: Array<unknown> = []
    server.faults.lose = (event) => event._tag === "Published" && heard.push(event.publication.data) < 0
    server.faults.broken.add("unsubscribe")
    yield* client.ask(subscribe(), { id: 3, unsubscribe: { channel } })
    assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    /** Whether the broker tells the node of what is published. */
    const hears = Effect.gen(function*() {
      const before = heard.length
      yield* server.channels.publish(channel, "anything")
      return heard.length > before
    })
    return { client, hears, server }
  })

  it.scoped("is told again, later with each time, until it has", () =>
    Effect.gen(function*() {
      const { hears, server } = yield* unleft
      assert.isTrue(yield* hears)
      yield* TestClock.adjust("1 second")
      server.faults.broken.clear()
      yield* TestClock.adjust("1999 millis")
      assert.isTrue(yield* hears)
      yield* TestClock.adjust("1 millis")
      assert.isFalse(yield* hears)
    }))

  it.scoped("is not told of a channel that has members again", () =>
    Effect.gen(function*() {
      const { client, hears, server } = yield* unleft
      yield* client.ask(subscribe())
      server.faults.broken.clear()
      yield* TestClock.adjust("10 seconds")
      yield* server.channels.publish(channel, "heard")
      assert.deepInclude((yield* client.next)["push"], { channel, pub: { data: "heard", offset: 2 } })
      yield* client.ask({ id: 3, unsubscribe: { channel } })
      assert.isFalse(yield* hears)
      server.faults.broken.add("unsubscribe")
      yield* client.ask(subscribe(), { id: 3, unsubscribe: { channel } })
      assert.isTrue(yield* hears)
      server.faults.broken.clear()
      yield* TestClock.adjust("1 second")
      assert.isFalse(yield* hears)
    }))
})
