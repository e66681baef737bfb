/**
 * Laws 1, 5 and 6 of a broker: what is made, and who hears it.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { BrokerPublish } from "../channels/Broker.js"
import type { ClientInfo } from "../channels/Publication.js"
import { type BrokerLaw, Heard, type OnStage, upTo, type Valued } from "./BrokerStage.js"

const ada: ClientInfo = { user: "ada", client: "client-1", connInfo: { name: "Ada" }, chanInfo: null }

/** @internal */
export const hearingLaws = <R>(on: OnStage<R>): ReadonlyArray<BrokerLaw<R>> => [
  on(
    "1: all listeners hear the publications of a channel in one order, that of their offsets",
    ({ channel, node, other, same, stream, subscribe, until }) =>
      Effect.gen(function*() {
        const listeners = [
          yield* Heard.listen(node, channel),
          yield* Heard.listen(node, channel),
          yield* Heard.listen(other, channel)
        ]
        yield* subscribe
        yield* Effect.forEach(
          upTo(40),
          (data) => (data % 2 === 0 ? node : other).publish(channel, { data, stream }),
          { concurrency: "unbounded" }
        )
        yield* Effect.forEach(listeners, (heard) => until(heard, 40))
        const { publications } = yield* node.history(channel, { stream })
        for (const heard of listeners) {
          yield* same("offsets that were heard", heard.offsets, upTo(40))
          yield* same("data that was heard", heard.data, publications.map((publication) => publication.data))
        }
      })
  ),

  on(
    "1: what one node publishes without a stream is heard in that order",
    ({ channel, node, other, same, subscribe, until }) =>
      Effect.gen(function*() {
        const listeners = [yield* Heard.listen(node, channel), yield* Heard.listen(other, channel)]
        yield* subscribe
        yield* Effect.forEach(upTo(20), (data) => node.publish(channel, { data }), { discard: true })
        for (const heard of listeners) {
          yield* until(heard, 20)
          yield* same("data that was heard", heard.data, upTo(20))
        }
      })
  ),

  on(
    "1: what is published without waiting for the one before keeps its order, and each is done once",
    ({ channel, node, same, stream, subscribe, until }) =>
      Effect.gen(function*() {
        const { unsafePublish } = node
        if (unsafePublish === undefined) return
        const heard = yield* Heard.listen(node, channel)
        yield* subscribe
        const done: Array<number> = []
        for (const data of upTo(20)) {
          unsafePublish(channel, { data: `${data}`, stream }, (exit) => {
            done.push(Exit.isSuccess(exit) ? exit.value?.offset ?? 0 : -1)
          })
        }
        yield* until(heard, 20)
        // Publications are made in order: once this one is done, so are those before it.
        yield* node.publish(channel, { data: "last", stream })
        yield* same("data that was heard", heard.data.slice(0, 20), upTo(20))
        yield* same("offsets", done, upTo(20))
      })
  ),

  on(
    "publications arrive as they were published, also in history",
    ({ channel, node, other, same, stream, subscribe, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(other, channel)
        yield* subscribe
        const all: ReadonlyArray<Valued<BrokerPublish>> = [
          { data: null },
          { data: { text: "\u{1F600} \n\0", list: [1, 2.5, false, null, {}] }, info: ada, tags: { a: "1", "": "" } },
          { data: "", info: { user: "", client: "" } },
          { data: 0, tags: { b: "2" } }
        ]
        yield* Effect.forEach(all, (publication) => node.publish(channel, { ...publication, stream }))
        const expected = all.map(({ data, info, tags }, index) => ({ data, info, tags, offset: index + 1 }))
        yield* until(heard, all.length)
        const { publications, position } = yield* other.history(channel, { stream })
        yield* same("in history", publications, expected)
        yield* same(
          "heard",
          heard.events,
          expected.map((publication) => ({ _tag: "Published", channel, publication, epoch: position.epoch }))
        )
      })
  ),

  on(
    "joins and leaves are heard, and take no offset",
    ({ channel, node, other, same, stream, subscribe, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(other, channel)
        yield* subscribe
        yield* node.publishJoin(channel, ada)
        yield* node.publishLeave(channel, ada)
        yield* until(heard, 2)
        yield* same("heard", heard.events, [{ _tag: "Joined", channel, info: ada }, {
          _tag: "Left",
          channel,
          info: ada
        }])
        yield* same("position", (yield* node.publish(channel, { data: 1, stream }))?.offset, 1)
      })
  ),

  on(
    "5: a publication with the key of an earlier one is not made, and gets its result",
    ({ channel, node, other, same, stream, subscribe, tick, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(node, channel)
        yield* subscribe
        const keyed = { stream, idempotencyKey: "key", idempotencyWindow: 100 * tick }
        const first = yield* node.publish(channel, { ...keyed, data: 1 })
        const second = yield* other.publish(channel, { ...keyed, data: 2 })
        const third = yield* node.publish(channel, { ...keyed, data: 3, stream: undefined })
        yield* same("result of the second", second, first)
        yield* same("result of the third", third, first)
        yield* same(
          "another key",
          (yield* node.publish(channel, { ...keyed, data: 4, idempotencyKey: "key2" }))?.offset,
          2
        )
        yield* same("another channel", (yield* node.publish(`${channel}-2`, { ...keyed, data: 5 }))?.offset, 1)
        yield* same("no key", (yield* node.publish(channel, { stream, data: 6 }))?.offset, 3)
        const { publications } = yield* node.history(channel, { stream })
        yield* same("history", publications.map((publication) => publication.data), [1, 4, 6])
        yield* until(heard, 3)
        yield* same("heard", heard.data, [1, 4, 6])
      })
  ),

  on(
    "5: the same of a publication without a stream",
    ({ channel, node, other, same, subscribe, tick, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(node, channel)
        yield* subscribe
        const keyed = { idempotencyKey: "key", idempotencyWindow: 100 * tick }
        const results = [
          yield* node.publish(channel, { ...keyed, data: 1 }),
          yield* other.publish(channel, { ...keyed, data: 2 }),
          yield* node.publish(channel, { data: 3 })
        ]
        yield* same("results", results.map((result) => result ?? "none"), ["none", "none", "none"])
        yield* until(heard, 2)
        yield* same("heard", heard.data, [1, 3])
      })
  ),

  on(
    "5: of many at the same time with one key, one is made",
    ({ channel, node, other, same, stream, subscribe, tick, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(node, channel)
        yield* subscribe
        const results = yield* Effect.forEach(upTo(20), (data) =>
          (data % 2 === 0 ? node : other).publish(channel, {
            data,
            stream,
            idempotencyKey: "key",
            idempotencyWindow: 100 * tick
          }), { concurrency: "unbounded" })
        const { position, publications } = yield* node.history(channel, { stream })
        yield* same("results", results, results.map(() => ({ ...position, offset: 1 })))
        yield* same("number of publications", publications.length, 1)
        yield* node.publish(channel, { data: "last", stream })
        yield* until(heard, 2)
        yield* same("heard", heard.data, [publications[0]?.data, "last"])
      })
  ),

  on(
    "5: the window begins with the publication that was made",
    ({ channel, node, same, stream, tick, wait }) =>
      Effect.gen(function*() {
        const keyed = { stream, data: 0, idempotencyKey: "key", idempotencyWindow: 2 * tick }
        const publish = Effect.map(node.publish(channel, keyed), (at) => at?.offset)
        yield* same("first", yield* publish, 1)
        yield* wait(1.5)
        yield* same("within the window", yield* publish, 1)
        yield* wait(1)
        yield* same("after the window", yield* publish, 2)
        yield* wait(1.5)
        yield* same("within the next window", yield* publish, 2)
      })
  ),

  on(
    "6: a listener hears of a channel from subscribe until unsubscribe, and not else",
    ({ channel, node, other, same, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(node, channel)
        const publish = (data: string) => other.publish(channel, { data })
        yield* publish("before")
        yield* node.subscribe(`${channel}-2`)
        yield* publish("another is subscribed")
        yield* other.publishJoin(channel, { user: "", client: "another is subscribed" })
        yield* node.subscribe(channel)
        yield* publish("first")
        yield* until(heard, 1)
        yield* node.unsubscribe(`${channel}-2`)
        yield* publish("second")
        yield* until(heard, 2)
        yield* node.unsubscribe(channel)
        yield* publish("after")
        yield* other.publishJoin(channel, { user: "", client: "after" })
        yield* node.subscribe(channel)
        yield* publish("again")
        yield* until(heard, 3)
        const missed = ["first", "second", "again"].filter((data) => !heard.data.includes(data))
        const expected = ["first", "second", "again"].filter((data) => !heard.gap || !missed.includes(data))
        yield* same("heard", heard.data, expected)
        yield* same("number of events", heard.events.length, expected.length)
      })
  ),

  on(
    "6: the first publication after subscribe is heard, each time",
    ({ channel, node, other, same, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(node, channel)
        for (const data of upTo(20)) {
          yield* node.subscribe(channel)
          yield* other.publish(channel, { data })
          yield* until(heard, data)
          yield* node.unsubscribe(channel)
        }
        if (!heard.gap) yield* same("heard", heard.data, upTo(20))
      })
  ),

  on("6: a subscription is one node's own", ({ channel, node, other, same, until }) =>
    Effect.gen(function*() {
      const [here, there] = [yield* Heard.listen(node, channel), yield* Heard.listen(other, channel)]
      yield* node.subscribe(channel)
      yield* node.publish(channel, { data: 1 })
      yield* until(here, 1)
      if (other !== node) {
        yield* other.subscribe(channel)
        yield* node.unsubscribe(channel)
      }
      yield* node.publish(channel, { data: 2 })
      yield* until(there, other === node ? 2 : 1)
      yield* same("heard here", here.data, other === node ? [1, 2] : [1])
      yield* same("heard there", there.data, other === node ? [1, 2] : [2])
    })),

  on(
    "a listener hears for as long as its scope lives, and the others go on",
    ({ channel, node, same, subscribe, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(node, channel)
        yield* subscribe
        const gone = yield* Effect.scoped(Effect.gen(function*() {
          const inner = yield* Heard.listen(node, channel)
          yield* node.publish(channel, { data: 1 })
          yield* until(inner, 1)
          return inner
        }))
        yield* node.publish(channel, { data: 2 })
        yield* until(heard, 2)
        yield* same("heard by the one that left", gone.data, [1])
        yield* same("heard by the one that stayed", heard.data, [1, 2])
      })
  )
]
