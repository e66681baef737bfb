/**
 * Laws 2, 3, 4 and 7 of a broker: the streams that it keeps.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import { type BrokerLaw, Heard, type OnStage, upTo } from "./BrokerStage.js"

/** @internal */
export const streamLaws = <R>(on: OnStage<R>): ReadonlyArray<BrokerLaw<R>> => [
  on(
    "2: offsets count from 1, each channel by itself; a publication without a stream takes none",
    ({ channel, node, same, stream, subscribe, until }) =>
      Effect.gen(function*() {
        const heard = yield* Heard.listen(node, channel)
        yield* subscribe
        const without = [undefined, { ...stream, size: 0 }, { ...stream, ttl: 0 }]
        const published = yield* Effect.forEach(
          [stream, ...without, stream],
          (options, data) => node.publish(channel, { data, stream: options })
        )
        const elsewhere = yield* node.publish(`${channel}-2`, { data: 0, stream })
        const { position, publications } = yield* node.history(channel, { stream })
        yield* same("positions", published.map((at) => at?.offset ?? 0), [1, 0, 0, 0, 2])
        yield* same("position elsewhere", elsewhere?.offset, 1)
        yield* same(
          "epochs",
          published.map((at) => at?.epoch ?? ""),
          [position.epoch, "", "", "", position.epoch]
        )
        yield* same("position", position.offset, 2)
        yield* same("history", publications.map((publication) => publication.data), [0, 4])
        yield* until(heard, 5)
        yield* same("offsets that were heard", heard.offsets, [1, 0, 0, 0, 2])
        yield* same(
          "epochs that were heard",
          heard.epochs,
          [position.epoch, "", "", "", position.epoch]
        )
      })
  ),

  on(
    "3: reading a stream creates it, with offset 0",
    ({ channel, node, other, same, stream }) =>
      Effect.gen(function*() {
        const { position, publications } = yield* node.history(channel, { stream, limit: 0 })
        yield* same("publications", publications, [])
        yield* same("offset", position.offset, 0)
        yield* same("epoch is not empty", position.epoch !== "", true)
        yield* same("read again", (yield* other.history(channel, { stream })).position, position)
        yield* same("published", yield* other.publish(channel, { data: 1, stream }), { ...position, offset: 1 })
      })
  ),

  on(
    "3: a stream that was lost has another epoch, and begins again",
    ({ channel, lose, node, other, same, tick, wait }) =>
      Effect.gen(function*() {
        const short = { size: 10, ttl: tick, metaTtl: 2 * tick }
        const ways = lose === undefined ? [wait(2.5)] : [wait(2.5), lose(channel)]
        for (const loseIt of ways) {
          const before = yield* node.publish(channel, { data: "before", stream: short })
          yield* loseIt
          const { position, publications } = yield* other.history(channel, { stream: short })
          yield* same("publications", publications, [])
          yield* same("offset", position.offset, 0)
          yield* same("has another epoch", position.epoch !== before?.epoch, true)
          yield* same("published", yield* node.publish(channel, { data: "after", stream: short }), {
            ...position,
            offset: 1
          })
          yield* wait(2.5)
        }
      })
  ),

  on(
    "4: epoch and offset stay for metaTtl after the last use, and reading is one",
    ({ channel, node, same, tick, wait }) =>
      Effect.gen(function*() {
        const short = { size: 10, ttl: tick, metaTtl: 2 * tick }
        const at = yield* node.publish(channel, { data: 1, stream: short })
        for (const _ of upTo(3)) {
          yield* wait(1.5)
          const { position, publications } = yield* node.history(channel, { stream: short, limit: 0 })
          yield* same("publications", publications, [])
          yield* same("position", position, at)
        }
      })
  ),

  on(
    "4: history holds the newest publications, size of them",
    ({ channel, node, same, stream }) =>
      Effect.gen(function*() {
        const small = { ...stream, size: 3 }
        yield* Effect.forEach(upTo(200), (data) => node.publish(channel, { data, stream: small }))
        const { position, publications } = yield* node.history(channel, { stream: small })
        yield* same("offset", position.offset, 200)
        yield* same("history", publications.map(({ data, offset }) => [offset, data]), [[198, 198], [199, 199], [
          200,
          200
        ]])
      })
  ),

  on(
    "4: publications stay for ttl after the last one, and not longer",
    ({ channel, node, same, tick, wait }) =>
      Effect.gen(function*() {
        const short = { size: 10, ttl: 2 * tick, metaTtl: 100 * tick }
        yield* node.publish(channel, { data: 1, stream: short })
        yield* wait(1.5)
        const at = yield* node.publish(channel, { data: 2, stream: short })
        yield* wait(1.5)
        const kept = yield* node.history(channel, { stream: short })
        yield* same("before its end", kept.publications.map((publication) => publication.data), [1, 2])
        yield* wait(1)
        const ended = yield* node.history(channel, { stream: short })
        yield* same("after its end", ended.publications, [])
        yield* same("position", ended.position, at)
        yield* same("next", yield* node.publish(channel, { data: 3, stream: short }), { ...at, offset: 3 })
        const { publications } = yield* node.history(channel, { stream: short })
        yield* same("later", publications.map((publication) => publication.data), [3])
      })
  ),

  on("4: removing history keeps epoch and offset", ({ channel, node, other, same, stream }) =>
    Effect.gen(function*() {
      yield* node.removeHistory(channel)
      yield* Effect.forEach(upTo(3), (data) => node.publish(channel, { data, stream }))
      const before = yield* node.history(channel, { stream })
      yield* other.removeHistory(channel)
      const after = yield* node.history(channel, { stream })
      yield* same("publications", after.publications, [])
      yield* same("position", after.position, before.position)
      yield* same("next", (yield* other.publish(channel, { data: 4, stream }))?.offset, 4)
      const { publications } = yield* node.history(channel, { stream })
      yield* same("later", publications.map((publication) => publication.data), [4])
    })),

  on(
    "history is read from either end, from any offset, up to the limit",
    ({ channel, node, same, stream }) =>
      Effect.gen(function*() {
        const small = { ...stream, size: 4 }
        yield* Effect.forEach(upTo(6), (data) => node.publish(channel, { data, stream: small }))
        const { position } = yield* node.history(channel, { stream: small })
        const cases = [false, true]
          .flatMap((reverse) =>
            [undefined, 0, 1, 2, 3, 4, 5, 6, 7, 100].flatMap((since) =>
              [undefined, 0, 1, 3, 10].map((limit) => [reverse, since, limit] as const)
            )
          )
        for (const [reverse, since, limit] of cases) {
          const kept = reverse ? [6, 5, 4, 3] : [3, 4, 5, 6]
          const expected = kept
            .filter((offset) => since === undefined || (reverse ? offset < since : offset > since))
            .slice(0, limit)
          const read = yield* node.history(channel, {
            stream: small,
            limit,
            reverse,
            since: since === undefined ? undefined : { offset: since, epoch: "another" }
          })
          const what = `reverse ${reverse}, since ${since}, limit ${limit}`
          yield* same(what, read.publications.map((publication) => publication.offset), expected)
          yield* same(`position, ${what}`, read.position, position)
        }
      })
  ),

  on(
    "7: what publish returned a position for is in the history that is read afterwards",
    ({ channel, node, other, same, stream }) =>
      Effect.gen(function*() {
        yield* Effect.forEach(upTo(20), (data) =>
          Effect.gen(function*() {
            const at = yield* (data % 2 === 0 ? node : other).publish(channel, {
              data,
              stream
            })
            for (const reader of [node, other]) {
              const { publications } = yield* reader.history(channel, { stream })
              const found = publications.find((publication) => publication.offset === at?.offset)
              yield* same(`publication ${at?.offset}`, found?.data, data)
            }
          }), { concurrency: 5 })
      })
  )
]
