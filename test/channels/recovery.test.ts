import { assert, describe, it } from "@effect/vitest"
import type { History } from "../../src/channels/Broker.js"
import type { Publication, StreamPosition } from "../../src/channels/Publication.js"
import * as Recovery from "../../src/channels/Recovery.js"

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
