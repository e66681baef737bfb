import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { History } from "../../src/channels/Broker.js"
import { disconnects, unsubscribes } from "../../src/channels/ProtocolCode.js"
import type { Publication, StreamPosition } from "../../src/channels/Publication.js"
import * as Recovery from "../../src/channels/Recovery.js"
import { connected, network, online, serve, type Server, token, user, wire } from "./support.js"

/** Streams are named by a letter, and each publication by its place in one. */
const publication = (epoch: string, offset: number): Publication<string> => ({ data: `"${epoch}${offset}"`, offset })

const range = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)

const most = 4
const epochs = ["a", "b"]

/** All that a broker may answer about a small stream: its top, and how many publications before it are kept. */
const streams = epochs.flatMap((epoch) =>
  range(0, most).flatMap((top) => range(0, top).map((kept) => ({ epoch, top, oldest: top - kept + 1 })))
)

const positions: ReadonlyArray<StreamPosition> = ["", ...epochs].flatMap((epoch) =>
  range(0, most + 1).map((offset) => ({ offset, epoch }))
)

const offsets = ({ publications }: { readonly publications: ReadonlyArray<Publication<string>> }) =>
  publications.map(({ offset }) => offset)

describe("recovery, of every small stream", () => {
  it("in stream mode brings exactly what was missed, or nothing", () => {
    for (const { epoch, oldest, top } of streams) {
      for (const since of positions) {
        for (const limit of [1, 2, Infinity]) {
          const kept = range(Math.max(oldest, since.offset + 1), top).slice(0, limit)
          const history: History = {
            position: { offset: top, epoch },
            publications: kept.map((offset) => publication(epoch, offset))
          }
          // What was missed, if there is one stream and all of it is there.
          const missed = range(since.offset + 1, top)
          const recovered = (since.epoch === "" || since.epoch === epoch) && since.offset <= top &&
            missed.every((offset) => kept.includes(offset))
          const start = Recovery.stream(since, history)
          const details = JSON.stringify({ history, since, limit })
          assert.strictEqual(start.recovered, recovered, details)
          assert.deepStrictEqual(offsets(start), recovered ? missed : [], details)
          assert.deepStrictEqual(start.position, history.position)
        }
      }
    }
  })

  it("in cache mode brings the newest, unless the client has it", () => {
    for (const { epoch, oldest, top } of streams) {
      for (const since of positions) {
        const newest = oldest <= top ? [publication(epoch, top)] : []
        const has = since.offset === top && since.epoch === epoch
        const start = Recovery.cache(since, { position: { offset: top, epoch }, publications: newest })
        const details = JSON.stringify({ epoch, oldest, top, since })
        assert.strictEqual(start.recovered, has || newest.length > 0, details)
        assert.deepStrictEqual(start.publications, has ? [] : newest, details)
      }
    }
  })

  it("joins every sequence of live publications with what was read, or says that something is missing", () => {
    const pool: ReadonlyArray<Recovery.Live> = epochs.flatMap((epoch) =>
      range(0, most).map((offset) => ({ epoch, publication: publication(epoch, offset) }))
    )
    const sequences = range(0, 3).reduce<ReadonlyArray<ReadonlyArray<Recovery.Live>>>(
      (all, length) => length === 0 ? [[]] : [...all, ...all.flatMap((lives) => pool.map((live) => [...lives, live]))],
      []
    )
    for (const top of range(0, most)) {
      for (const missed of range(0, top)) {
        const start: Recovery.Start = {
          position: { offset: top, epoch: "a" },
          publications: range(top - missed + 1, top).map((offset) => publication("a", offset)),
          recovered: true
        }
        for (const live of sequences) {
          const merged = Recovery.merge(start, live)
          // Brute force: one publication after the other, as a subscriber that stands there sees them.
          let at: number | undefined = top
          for (const { epoch, publication: { offset } } of live) {
            if (offset === 0 || at === undefined) continue
            if (epoch !== "a" || offset > at + 1) at = undefined
            else at = Math.max(at, offset)
          }
          const details = JSON.stringify({ start, live })
          assert.strictEqual(merged === undefined, at === undefined, details)
          if (merged === undefined || at === undefined) continue
          assert.deepStrictEqual(merged.position, { offset: at, epoch: "a" }, details)
          assert.deepStrictEqual(offsets(merged), range(top - missed + 1, at), details)
          assert.isTrue(merged.publications.every(({ data, offset }) => data === `"a${offset}"`), details)
        }
      }
    }
  })
})

const channel = "recovered:x"

const publish = (server: Server, ...all: ReadonlyArray<unknown>) =>
  Effect.forEach(all, (data) => server.channels.publish(channel, data), { discard: true })

describe("a recovery that must succeed", () => {
  it.scopedLive("is none of what the server subscribes to, nor where none was asked for", () =>
    Effect.gen(function*() {
      const server = yield* serve()
      const client = yield* wire(server)
      const was = {
        recover: true,
        offset: 7,
        epoch: "gone",
        flag: 2,
        positioned: true,
        recoverable: true,
        join_leave: true
      }
      const [connected] = yield* client.ask({
        id: 1,
        connect: {
          token: token({ user: "ada", subs: { "recovered:x": {}, "asking:x": {}, "joined:x": {} } }),
          subs: { "recovered:x": was, "asking:x": was, "joined:x": was }
        }
      })
      const { subs } = connected?.["connect"] as { readonly subs: Readonly<Record<string, object>> }
      assert.deepInclude(subs["recovered:x"], { was_recovering: true, recoverable: true })
      assert.doesNotHaveAnyKeys(subs["recovered:x"], ["recovered"])
      assert.deepStrictEqual([subs["asking:x"], subs["joined:x"]], [{}, {}])
      const [greeted] = yield* client.ask({ id: 2, subscribe: { channel: "greeted:x", flag: 3 } })
      assert.deepInclude(greeted?.["subscribe"], { was_recovering: true })
      const [refused] = yield* client.ask({
        id: 3,
        subscribe: { channel: "greeted:y", recover: true, offset: 9, epoch: "z", flag: 3 }
      })
      assert.deepInclude(refused?.["error"], { code: 112 })
    }))
})

describe("what a client may read at once", () => {
  it.scoped("with more missed than recoveryLimit nothing is recovered, though all of it is kept (PROTOCOL 10.3)", () =>
    Effect.gen(function*() {
      const server = yield* serve({ recoveryLimit: 2 })
      yield* publish(server, 1, 2, 3)
      const { epoch } = yield* server.channels.history(channel)
      const recover = (id: number, offset: number) => ({ id, subscribe: { channel, recover: true, epoch, offset } })
      const client = yield* online(server)
      const [more, , asMany] = yield* client.ask(recover(2, 0), { id: 3, unsubscribe: { channel } }, recover(4, 1))
      const expected = { recoverable: true, positioned: true, was_recovering: true, epoch }
      assert.deepStrictEqual(more, { id: 2, subscribe: { ...expected, offset: 3 } })
      assert.deepStrictEqual(asMany, {
        id: 4,
        subscribe: {
          ...expected,
          recovered: true,
          offset: 1,
          publications: [{ data: 2, offset: 2 }, { data: 3, offset: 3 }]
        }
      })
    }))

  it.scoped("historyLimit holds whoever asks for more, or for all", () =>
    Effect.gen(function*() {
      const server = yield* serve({ historyLimit: 2 })
      yield* publish(server, 1, 2, 3)
      const { epoch } = yield* server.channels.history(channel)
      const client = yield* online(server)
      const read = (limit: number, reverse: boolean) =>
        Effect.map(
          client.ask({ id: 2, history: { channel, limit, reverse } }),
          ([reply]) => reply
        )
      const answer = (...publications: ReadonlyArray<number>) => ({
        id: 2,
        history: { publications: publications.map((data) => ({ data, offset: data })), offset: 3, epoch }
      })
      for (const limit of [-1, 2, 3, 1000]) {
        assert.deepStrictEqual(yield* read(limit, false), answer(1, 2), String(limit))
        assert.deepStrictEqual(yield* read(limit, true), answer(3, 2), String(limit))
      }
      assert.deepStrictEqual(yield* read(1, false), answer(1))
    }))
})

/** The clock of these tests stands: positions are not compared by the node, but with each publication. */
describe("a stream that is lost while it is heard (PROTOCOL 10.4)", () => {
  /** The first publication of the new stream is not the next one, or is as if it were. */
  for (const before of [[1], []]) {
    const after = before.length === 0 ? "nothing" : "something"

    const setup = Effect.gen(function*() {
      const { lose, node } = yield* network()
      const server = yield* serve({ shared: node() })
      return {
        server,
        publish: publish(server, ...before),
        lose: Effect.zipRight(lose(channel), publish(server, "new"))
      }
    })

    it.scoped(`after ${after} was published, a subscriber is told with 2500, and nothing else`, () =>
      Effect.gen(function*() {
        const { lose, publish, server } = yield* setup
        const client = yield* online(server)
        yield* client.ask({ id: 2, subscribe: { channel } })
        yield* publish
        yield* client.take(before.length)
        yield* lose
        assert.deepStrictEqual(yield* client.next, { push: { channel, unsubscribe: unsubscribes.insufficientState } })
        const { epoch } = yield* server.channels.history(channel)
        const [reply] = yield* client.ask({ id: 3, subscribe: { channel } })
        assert.deepInclude(reply?.["subscribe"], { epoch, offset: 1 })
      }))

    it.scoped(`after ${after} was published, the SDK comes back and knows that it has missed something`, () =>
      Effect.gen(function*() {
        const { lose, publish, server } = yield* setup
        const client = yield* connected(server)
        const sub = yield* client.subscribe(channel)
        yield* publish
        yield* sub.data(before.length)
        yield* lose
        yield* sub.next("subscribing")
        assert.deepInclude(yield* sub.next("subscribing"), unsubscribes.insufficientState)
        assert.deepInclude(yield* sub.next("subscribed"), { wasRecovering: true, recovered: false })
        yield* server.channels.publish(channel, "live")
        assert.deepStrictEqual(yield* sub.data(1), ["live"])
      }))

    it.scoped(`after ${after} was published, a client that the server subscribed is closed with 3010`, () =>
      Effect.gen(function*() {
        const { lose, publish, server } = yield* setup
        const client = yield* user(server, "ada", { subs: { [channel]: {} } })
        yield* client.next("subscribed")
        yield* publish
        yield* client.take("publication", before.length)
        yield* lose
        yield* client.next("connecting")
        const { code, reason } = disconnects.insufficientState
        assert.deepStrictEqual(yield* client.next("connecting"), { code, reason })
        assert.deepInclude(yield* client.next("subscribed"), { channel, wasRecovering: true, recovered: false })
        yield* server.channels.publish(channel, "live")
        assert.deepInclude(yield* client.next("publication"), { data: "live" })
      }))
  }
})
