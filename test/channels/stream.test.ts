import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Queue, Scope, Stream } from "effect"
import type { ProtocolError } from "../../src/channels/ProtocolCode.js"
import type { Publication, StreamPosition } from "../../src/channels/Publication.js"
import { network, serve, type Server } from "./support.js"

const channel = "recovered:x"

/** A server, and what its broker was told of channels, in order. */
const setup = Effect.gen(function*() {
  const { lose, node } = yield* network()
  const server = yield* serve({ shared: node() })
  const told: Array<string> = []
  const isHeard = yield* Deferred.make<void>()
  server.faults.after = (operation, name) => {
    if (operation !== "subscribe" && operation !== "unsubscribe") return Effect.void
    told.push(`${operation} ${name}`)
    return operation === "subscribe" ? Deferred.succeed(isHeard, undefined) : Effect.void
  }
  return { server, told, heard: Deferred.await(isHeard), lose: lose(channel) }
})

const publish = (server: Server, ...all: ReadonlyArray<unknown>) =>
  Effect.forEach(all, (data) => server.channels.publish(channel, data), { discard: true })

/** Reads until the stream fails, in a fiber: what came, and the error in the end. */
const read = (
  server: Server,
  options?: { readonly since?: StreamPosition | undefined },
  onEach: (publication: Publication) => Effect.Effect<void> = () => Effect.void
) =>
  Effect.gen(function*() {
    const came = yield* Queue.unbounded<Publication>()
    const fiber = yield* Effect.forkScoped(
      Stream.runForEach(
        server.channels.subscribe(channel, options),
        (publication) => Effect.zipRight(came.offer(publication), onEach(publication))
      )
    )
    return {
      fiber,
      data: (count: number) =>
        Effect.replicateEffect(Effect.map(came.take, ({ data, offset }) => [data, offset] as const), count),
      /** All that came before the error, and that. */
      failed: Effect.gen(function*() {
        const error: ProtocolError = yield* Effect.flip(Effect.asVoid(Fiber.join(fiber)))
        return { code: error.code, unread: [...(yield* came.takeAll)].map(({ data }) => data) }
      })
    }
  })

describe("the history, in this process", () => {
  it.scoped("is read up to a whole number of publications, or not at all", () =>
    Effect.gen(function*() {
      const { server } = yield* setup
      yield* publish(server, 1, 2, 3)
      for (const limit of [-1, 1.5, NaN, Infinity]) {
        assert.strictEqual((yield* Effect.flip(server.channels.history(channel, { limit }))).code, 107)
      }
      for (const limit of [0, 2]) {
        assert.lengthOf((yield* server.channels.history(channel, { limit })).publications, limit)
      }
    }))
})

describe("a channel as a stream in this process", () => {
  it.scoped("ends when the service does, with what came before", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { heard, server } = yield* Scope.extend(setup, scope)
      const reader = yield* Effect.fork(Stream.runCollect(server.channels.subscribe(channel)))
      yield* heard
      yield* publish(server, "a", "b")
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual([...yield* Fiber.join(reader)].map(({ data }) => data), ["a", "b"])
      assert.deepStrictEqual([...yield* Stream.runCollect(server.channels.subscribe(channel))], [])
    }))

  it.scoped("without `since`: what is published from then on, in order, once, and nothing from before", () =>
    Effect.gen(function*() {
      const { heard, server, told } = yield* setup
      yield* publish(server, "before")
      const reader = yield* read(server)
      yield* heard
      yield* publish(server, "a", { b: [1] }, null)
      assert.deepStrictEqual(yield* reader.data(3), [["a", 2], [{ b: [1] }, 3], [null, 4]])
      yield* publish(server, "last")
      assert.deepStrictEqual(yield* reader.data(1), [["last", 5]])
      assert.deepStrictEqual(told, [`subscribe ${channel}`])
    }))

  it.scoped("with `since`: what was missed, then what is published, in order and once", () =>
    Effect.gen(function*() {
      const { server } = yield* setup
      yield* publish(server, "had", "missed", "missed too")
      const { epoch } = yield* server.channels.history(channel)
      // The broker tells of it already: the first is in the history and in what is live, the second only in that.
      const { after } = server.faults
      const during = (data: string) => Effect.orDie(publish(server, data))
      server.faults.before = (operation) => operation === "history" ? during("before it is read") : Effect.void
      server.faults.after = (operation, name) =>
        operation === "history" ? during("after it was read") : after(operation, name)
      const reader = yield* read(server, { since: { offset: 1, epoch } })
      assert.deepStrictEqual(yield* reader.data(4), [
        ["missed", 2],
        ["missed too", 3],
        ["before it is read", 4],
        ["after it was read", 5]
      ])
      yield* publish(server, "live")
      assert.deepStrictEqual(yield* reader.data(1), [["live", 6]])
    }))

  it.scoped("with `since` at the newest nothing was missed", () =>
    Effect.gen(function*() {
      const { heard, server } = yield* setup
      yield* publish(server, "had")
      const { epoch, offset } = yield* server.channels.history(channel)
      const reader = yield* read(server, { since: { epoch, offset } })
      yield* heard
      yield* publish(server, "live")
      assert.deepStrictEqual(yield* reader.data(1), [["live", 2]])
    }))

  for (
    const [what, since] of [
      ["of another stream", { offset: 1, epoch: "another" }],
      ["of what is not kept any more", { offset: 0, epoch: "" }],
      ["of what has not been", { offset: 2002, epoch: "" }]
    ] as const
  ) {
    it.scoped(`fails with 112 from a position ${what}, and the broker is left`, () =>
      Effect.gen(function*() {
        const { server, told } = yield* setup
        yield* publish(server, ...Array.from({ length: 2001 }, (_, n) => n))
        const { failed } = yield* read(server, { since })
        assert.deepStrictEqual(yield* failed, { code: 112, unread: [] })
        assert.deepStrictEqual(told, [`subscribe ${channel}`, `unsubscribe ${channel}`])
      }))
  }

  it.scoped("fails with 112 after one that was missed, and the broker is left", () =>
    Effect.gen(function*() {
      const { heard, server, told } = yield* setup
      const reader = yield* read(server)
      yield* heard
      server.faults.lose = (event) => event._tag === "Published" && event.publication.data === "\"lost\""
      yield* publish(server, "a", "lost", "b")
      assert.deepStrictEqual(yield* reader.failed, { code: 112, unread: ["a"] })
      assert.deepStrictEqual(told, [`subscribe ${channel}`, `unsubscribe ${channel}`])
    }))

  it.scoped("fails with 112 when the stream is lost, and the broker is left", () =>
    Effect.gen(function*() {
      const { heard, lose, server, told } = yield* setup
      const reader = yield* read(server)
      yield* heard
      yield* publish(server, "a")
      yield* lose
      yield* publish(server, "new")
      assert.deepStrictEqual(yield* reader.failed, { code: 112, unread: ["a"] })
      assert.deepStrictEqual(told, [`subscribe ${channel}`, `unsubscribe ${channel}`])
    }))

  it.scoped("fails with 112 when the broker may have missed something, and the broker is left", () =>
    Effect.gen(function*() {
      const { heard, server, told } = yield* setup
      const reader = yield* read(server)
      yield* heard
      yield* publish(server, "a")
      server.faults.tell({ _tag: "Gap", channel })
      assert.deepStrictEqual(yield* reader.failed, { code: 112, unread: ["a"] })
      assert.deepStrictEqual(told, [`subscribe ${channel}`, `unsubscribe ${channel}`])
    }))

  /** A reader that does not go on after the first, when so many follow. */
  const slow = (unread: number) =>
    Effect.gen(function*() {
      const { heard, server, told } = yield* setup
      const first = yield* Deferred.make<void>()
      const goOn = yield* Effect.makeLatch()
      const reader = yield* read(server, {}, () => Effect.zipRight(Deferred.succeed(first, undefined), goOn.await))
      yield* heard
      yield* publish(server, "first")
      yield* Deferred.await(first)
      yield* publish(server, ...Array.from({ length: unread }, (_, n) => n))
      yield* goOn.open
      return { reader, server, told }
    })

  it.scoped("may be 4096 behind", () =>
    Effect.gen(function*() {
      const { reader, server } = yield* slow(4096)
      assert.strictEqual((yield* reader.data(4097))[4096]?.[0], 4095)
      yield* publish(server, "live")
      assert.deepStrictEqual(yield* reader.data(1), [["live", 4098]])
    }))

  it.scoped("fails with 112 once it is more behind, after those 4096, and the broker is left", () =>
    Effect.gen(function*() {
      const { reader, told } = yield* slow(4100)
      const { code, unread } = yield* reader.failed
      assert.strictEqual(code, 112)
      assert.deepStrictEqual([unread.length, unread[4096]], [4097, 4095])
      assert.deepStrictEqual(told, [`subscribe ${channel}`, `unsubscribe ${channel}`])
    }))

  it.scoped("the broker is left when the reader has enough, and when it is interrupted", () =>
    Effect.gen(function*() {
      const { heard, server, told } = yield* setup
      const reader = yield* read(server)
      yield* heard
      // While there is a second one, it is not.
      const { epoch } = yield* server.channels.history(channel)
      yield* publish(server, "a")
      yield* Stream.runDrain(Stream.take(server.channels.subscribe(channel, { since: { offset: 0, epoch } }), 1))
      assert.deepStrictEqual(told, [`subscribe ${channel}`])
      yield* Fiber.interrupt(reader.fiber)
      const all = [`subscribe ${channel}`, `unsubscribe ${channel}`]
      assert.deepStrictEqual(told, all)
      yield* Stream.runDrain(Stream.take(server.channels.subscribe(channel, { since: { offset: 0, epoch } }), 1))
      assert.deepStrictEqual(told, [...all, ...all])
      assert.strictEqual((yield* server.channels.channels()).channels.size, 0)
    }))
})
