/**
 * Law 8 of a broker: of a state that is published whole, an old one does not come back.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import { type BrokerLaw, Heard, type OnStage, upTo } from "./BrokerStage.js"

const version = (number: number, epoch = "") => ({ number, epoch })

/** @internal */
export const versionLaws = <R>(on: OnStage<R>): ReadonlyArray<BrokerLaw<R>> => [
  on(
    "8: a publication whose version is not above the last one is not made, and gets the newest position",
    ({ channel, node, other, same, stream, subscribe, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(node, channel)
        yield* subscribe
        const numbers = [2, 9, 3, 9, undefined, 10, 1]
        const offsets = yield* Effect.forEach(numbers, (number, data) =>
          Effect.map(
            (data % 2 === 0 ? node : other).publish(channel, {
              data,
              stream,
              version: number === undefined ? undefined : version(number)
            }),
            (at) => at?.offset
          ))
        yield* same("offsets", offsets, [1, 2, 2, 2, 3, 4, 4])
        const elsewhere = yield* node.publish(`${channel}-2`, { data: 0, stream, version: version(1) })
        yield* same("another channel", elsewhere?.offset, 1)
        const { position, publications } = yield* node.history(channel, { stream })
        yield* same("history", publications.map((publication) => publication.data), [0, 1, 4, 5])
        yield* same("position", yield* node.publish(channel, { data: 7, stream, version: version(10) }), position)
        yield* until(heard, 4)
        yield* same("heard", heard.data, [0, 1, 4, 5])
      })
  ),

  on(
    "8: versions are compared within their epoch, and without one with any",
    ({ channel, node, same, stream }) =>
      Effect.gen(function*() {
        const versions = [
          version(5, "a"),
          version(1, "b and more"),
          version(1, "b and more"),
          version(5, "a"),
          version(5),
          version(6),
          version(1, "a")
        ]
        const offsets = yield* Effect.forEach(
          versions,
          (version, data) => Effect.map(node.publish(channel, { data, stream, version }), (at) => at?.offset)
        )
        yield* same("offsets", offsets, [1, 2, 2, 3, 3, 4, 5])
      })
  ),

  on(
    "8: the last version outlives the history, and not the stream",
    ({ channel, lose, node, same, tick, wait }) =>
      Effect.gen(function*() {
        const short = { size: 10, ttl: tick, metaTtl: 2 * tick }
        const publish = (number: number) =>
          Effect.map(
            node.publish(channel, { data: number, stream: short, version: version(number) }),
            (at) => at?.offset
          )
        const ways = lose === undefined ? [wait(2.5)] : [wait(2.5), lose(channel)]
        for (const loseIt of ways) {
          yield* same("first", yield* publish(5), 1)
          yield* node.removeHistory(channel)
          yield* same("its history is removed", yield* publish(5), 1)
          yield* wait(1.5)
          yield* same("its history is over", yield* publish(5), 1)
          const { position: before } = yield* node.history(channel, { stream: short })
          yield* loseIt
          // It is there again, by somebody who knows of no versions.
          const { position: after } = yield* node.history(channel, { stream: short })
          yield* same("has another epoch", after.epoch !== before.epoch, true)
          yield* same("the stream is lost", yield* publish(1), 1)
          yield* wait(2.5)
        }
      })
  ),

  on(
    "8: a key is looked at first, and what was said of it is said again",
    ({ channel, node, same, stream, tick }) =>
      Effect.gen(function*() {
        const publish = (key: string, number: number) =>
          Effect.map(
            node.publish(channel, {
              data: number,
              stream,
              version: version(number),
              idempotencyKey: key,
              idempotencyWindow: 100 * tick
            }),
            (at) => at?.offset
          )
        yield* same("first", yield* publish("a", 1), 1)
        yield* same("another key, newer", yield* publish("b", 2), 2)
        yield* same("the first key, newer", yield* publish("a", 3), 1)
        yield* same("another key, not newer", yield* publish("c", 2), 2)
        yield* same("its key, newer", yield* publish("c", 9), 2)
      })
  ),

  on(
    "8: of many at the same time with one version, one is made",
    ({ channel, node, other, same, stream }) =>
      Effect.gen(function*() {
        const results = yield* Effect.forEach(upTo(20), (data) =>
          (data % 2 === 0 ? node : other).publish(channel, { data, stream, version: version(1) }), {
          concurrency: "unbounded"
        })
        const { position, publications } = yield* node.history(channel, { stream })
        yield* same("results", results, results.map(() => ({ ...position, offset: 1 })))
        yield* same("number of publications", publications.length, 1)
      })
  )
]
