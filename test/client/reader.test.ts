import { assert, describe, it } from "@effect/vitest"
import { Gap, type Overflow, SlowReader } from "effect-ws-hub/client"
import * as Effect from "effect/Effect"
import * as FastCheck from "effect/FastCheck"
import * as Fiber from "effect/Fiber"
import { onFull, Reader } from "../../src/client/Reader.js"
import { failure, next, take } from "./support.js"

const bounded = (bufferSize: number, overflow: Overflow) =>
  new Reader<number | Gap | { readonly offset: number }, SlowReader>(bufferSize, onFull(overflow, bufferSize))

const lost = (count: number) => new Gap({ reason: "overflow", lost: count, position: undefined })

const offerAll = (reader: { readonly offer: (event: number) => void }, from: number, to: number) => {
  for (let n = from; n <= to; n++) reader.offer(n)
}

describe("a reader", () => {
  it.effect("gets what waits, and what comes, in order, over several runs", () =>
    Effect.gen(function*() {
      const reader = bounded(3, "fail")
      offerAll(reader, 1, 3)
      assert.strictEqual(yield* next(reader.stream), 1)
      reader.offer(4)
      assert.deepStrictEqual(yield* take(reader.stream, 3), [2, 3, 4])
      const waiting = yield* Effect.fork(next(reader.stream))
      yield* Effect.yieldNow()
      reader.offer(5)
      assert.strictEqual(yield* Fiber.join(waiting), 5)
    }))

  it.effect("that is interrupted while it waits leaves what comes to the next one", () =>
    Effect.gen(function*() {
      const reader = bounded(3, "fail")
      const waiting = yield* Effect.fork(next(reader.stream))
      yield* Effect.yieldNow()
      yield* Fiber.interrupt(waiting)
      reader.offer(1)
      assert.strictEqual(yield* next(reader.stream), 1)
    }))

  it.effect("sees the end after what waits, and the first end alone", () =>
    Effect.gen(function*() {
      const reader = bounded(3, "fail")
      reader.offer(1)
      reader.done()
      reader.fail(new SlowReader({ bufferSize: 3 }))
      reader.offer(2)
      assert.deepStrictEqual(yield* take(reader.stream, 9), [1])
    }))
})

describe("a full buffer", () => {
  it.effect("fail: holds so many and not one more", () =>
    Effect.gen(function*() {
      const reader = bounded(3, "fail")
      offerAll(reader, 1, 3)
      assert.deepStrictEqual(yield* take(reader.stream, 3), [1, 2, 3])
      offerAll(reader, 4, 7)
      assert.deepStrictEqual(yield* take(reader.stream, 3), [4, 5, 6])
      assert.deepStrictEqual(yield* failure(reader.stream), new SlowReader({ bufferSize: 3 }))
    }))

  it.effect("drop-newest: a gap behind what was kept, at once, and once", () =>
    Effect.gen(function*() {
      const reader = bounded(3, "drop-newest")
      offerAll(reader, 1, 9)
      assert.deepStrictEqual(yield* take(reader.stream, 4), [1, 2, 3, lost(6)])
      reader.offer(10)
      assert.strictEqual(yield* next(reader.stream), 10)
    }))

  it.effect("drop-oldest: a gap before what was kept", () =>
    Effect.gen(function*() {
      const reader = bounded(3, "drop-oldest")
      offerAll(reader, 1, 9)
      assert.deepStrictEqual(yield* take(reader.stream, 4), [lost(6), 7, 8, 9])
      reader.offer(10)
      assert.strictEqual(yield* next(reader.stream), 10)
    }))

  it.effect("a gap of the channel stays one when it is joined with another, up to the last that is missing", () =>
    Effect.gen(function*() {
      const away = (offset: number | undefined, epoch = "e") =>
        new Gap({
          reason: "not-recovered",
          lost: undefined,
          position: offset === undefined ? undefined : { offset, epoch }
        })
      const [one, two, three] = [{ offset: 1 }, { offset: 2 }, { offset: 3 }]
      const [eight, nine, ten] = [{ offset: 8 }, { offset: 9 }, { offset: 10 }]
      const unkept = { offset: 0 }
      for (
        const [overflow, events, expected] of [
          ["drop-newest", [one, two, three, away(7), eight, nine, unkept], [one, two, away(9)]],
          ["drop-oldest", [one, two, three, away(7), eight, nine, ten], [away(8), nine, ten]],
          ["drop-oldest", [one, two, three, away(7), unkept, nine, ten], [away(7), nine, ten]],
          // Where the first position is of a stream that is no more, or the stream's is not known any longer.
          ["drop-newest", [one, two, away(7), away(3, "f")], [one, two, away(3, "f")]],
          ["drop-newest", [one, two, away(7), away(undefined), eight], [one, two, away(undefined)]]
        ] as const
      ) {
        const reader = bounded(2, overflow)
        for (const event of events) reader.offer(event)
        // Of errors as such it would compare the message alone.
        const fields = (event: object) => Object.fromEntries(Object.entries(event))
        assert.deepStrictEqual((yield* take(reader.stream, 3)).map(Object).map(fields), expected.map(fields))
      }
    }))

  const step = FastCheck.oneof(
    { weight: 3, arbitrary: FastCheck.constant("offer" as const) },
    { weight: 2, arbitrary: FastCheck.constant("take" as const) }
  )
  const bufferSize = FastCheck.integer({ min: 1, max: 4 })
  const overflow = FastCheck.constantFrom("drop-newest" as const, "drop-oldest" as const)

  it.effect.prop(
    "whatever the order: each event is read or counted in a gap in its place, and no more waits than fits",
    [FastCheck.array(step, { maxLength: 40 }), bufferSize, overflow],
    ([steps, size, policy]) =>
      Effect.gen(function*() {
        const reader = bounded(size, policy)
        let [offered, accounted, waiting] = [0, 0, 0]
        const read = Effect.map(next(reader.stream), (event) => {
          if (event instanceof Gap) accounted += event.lost ?? Number.NaN
          else assert.strictEqual(event, ++accounted)
        })
        for (const step of steps) {
          if (step === "offer") reader.offer(++offered)
          else if (reader.size > 0) yield* read
          waiting = Math.max(waiting, reader.size)
        }
        while (reader.size > 0) yield* read
        assert.strictEqual(accounted, offered)
        assert.isAtMost(waiting, size + 1)
      })
  )
})
