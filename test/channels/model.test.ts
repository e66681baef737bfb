import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { life } from "./support/Life.js"

/** `TEST_LONG=1` tries ten times the seeds; `SEED=…` tries that one alone, and `FROM=…` begins with that one. */
const long = process.env["TEST_LONG"] === undefined ? 1 : 10
const only = process.env["SEED"]
const from = Number(process.env["FROM"] ?? 1)
const count = Number(process.env["COUNT"] ?? 500) * long
const seeds = only === undefined ? Array.from({ length: count }, (_, i) => from + i) : [Number(only)]

describe("the laws of channels hold on a rough network", () => {
  it.live("for any order of events", () =>
    Effect.gen(function*() {
      const seen = { recovered: 0, unrecovered: 0, publications: 0, joins: 0, readers: 0, histories: 0 }
      const broken: Array<string> = []
      for (const seed of seeds) {
        if (process.env["TRACE"] !== undefined) process.stderr.write(`${seed} `)
        const { clients, log, read, violations } = yield* life(seed).pipe(
          Effect.disconnect, // one that hangs is named as well
          Effect.timeout("20 seconds"),
          Effect.catchAllCause((cause) => Effect.die(new Error(`SEED=${seed}: ${String(cause)}`)))
        )
        if (only !== undefined) console.log(log.join("\n"))
        if (violations.length > 0) {
          broken.push(`SEED=${seed}: ${violations.slice(0, 5).join("\n  ")}`)
          if (broken.length >= Number(process.env["MOST"] ?? 1)) break
        }
        seen.readers += read
        for (const { seen: { histories, joins, publications, recovered, unrecovered } } of clients) {
          seen.recovered += recovered
          seen.unrecovered += unrecovered
          seen.publications += publications
          seen.joins += joins
          seen.histories += histories
        }
      }
      assert.deepStrictEqual(broken, [])
      if (only === undefined && count >= 300) {
        for (const [what, times] of Object.entries(seen)) assert.isAbove(times, 10, what)
      }
    }), 300_000)
})
