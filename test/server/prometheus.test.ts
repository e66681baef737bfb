import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as Prometheus from "../../src/server/Prometheus.js"
import { parse, value } from "./exposition.js"

/** Metrics live as long as the process: each test sees those that begin with its own prefix. */
const expose = (prefix: string) =>
  Effect.flatMap(
    Metric.snapshot,
    (pairs) =>
      Effect.promise(() =>
        Prometheus.registry(pairs.filter(({ metricKey }) => metricKey.name.startsWith(prefix))).metrics()
      )
  )

describe("Prometheus", () => {
  it.effect("a counter, with its help and its tags as labels", () =>
    Effect.gen(function*() {
      const counter = Metric.counter("t1_total", { description: "Things", incremental: true })
      yield* Metric.incrementBy(Metric.tagged(counter, "by", "peer"), 2)
      yield* Metric.increment(Metric.tagged(counter, "by", "server"))
      const text = yield* expose("t1")
      assert.deepStrictEqual(text.trim().split("\n").sort(), [
        "# HELP t1_total Things",
        "# TYPE t1_total counter",
        "t1_total{by=\"peer\"} 2",
        "t1_total{by=\"server\"} 1"
      ])
    }))

  it.effect("a counter that may go down, and bigints, are plain numbers", () =>
    Effect.gen(function*() {
      yield* Metric.incrementBy(Metric.counter("t2_level"), -3)
      yield* Metric.incrementBy(Metric.counter("t2_big_total", { bigint: true, incremental: true }), 5n)
      const families = parse(yield* expose("t2"))
      assert.strictEqual(families.get("t2_level")?.type, "gauge")
      assert.strictEqual(value(families, "t2_level"), -3)
      assert.strictEqual(families.get("t2_big_total")?.type, "counter")
      assert.strictEqual(value(families, "t2_big_total"), 5)
    }))

  it.effect("a gauge, also where it is not a finite number", () =>
    Effect.gen(function*() {
      yield* Metric.set(Metric.tagged(Metric.gauge("t3"), "a", "1"), Infinity)
      yield* Metric.set(Metric.tagged(Metric.gauge("t3"), "a", "2"), NaN)
      const families = parse(yield* expose("t3"))
      assert.strictEqual(value(families, "t3", { a: "1" }), Infinity)
      assert.isNaN(value(families, "t3", { a: "2" }))
    }))

  it.effect("a histogram: cumulative buckets up to +Inf, sum and count, per set of tags", () =>
    Effect.gen(function*() {
      const histogram = Metric.histogram("t4", MetricBoundaries.fromIterable([1, 10, 100]), "Sizes")
      for (const size of [0.5, 1, 2, 50, 1000]) yield* Metric.update(Metric.tagged(histogram, "at", "x"), size)
      yield* Metric.update(Metric.tagged(histogram, "at", "y"), 2)
      const families = parse(yield* expose("t4"))
      assert.deepInclude(families.get("t4"), { type: "histogram", help: "Sizes" })
      assert.deepStrictEqual(
        ["1", "10", "100", "+Inf"].map((le) => value(families, "t4_bucket", { at: "x", le })),
        [2, 3, 4, 5]
      )
      assert.strictEqual(value(families, "t4_sum", { at: "x" }), 1053.5)
      assert.strictEqual(value(families, "t4_count", { at: "x" }), 5)
      assert.strictEqual(value(families, "t4_count", { at: "y" }), 1)
    }))

  it.effect("a frequency: one counter per word", () =>
    Effect.gen(function*() {
      const frequency = Metric.frequency("t5", { preregisteredWords: ["never"] })
      for (const word of ["a", "b", "a"]) yield* Metric.update(frequency, word)
      const families = parse(yield* expose("t5"))
      assert.strictEqual(families.get("t5")?.type, "counter")
      assert.deepStrictEqual(["a", "b", "never"].map((key) => value(families, "t5", { key })), [2, 1, 0])
    }))

  it.effect("a summary: quantiles, NaN where there is nothing yet, sum and count", () =>
    Effect.gen(function*() {
      const summary = Metric.summary({ name: "t6", maxAge: "1 day", maxSize: 100, error: 0, quantiles: [0.5, 1] })
      const families = Effect.map(expose("t6"), parse)
      yield* Metric.value(summary)
      assert.isNaN(value(yield* families, "t6", { quantile: "0.5" }))
      const { unsafeUpdate } = Metric.mapInput(summary, (n: number) => n)
      for (const n of [1, 2, 3]) unsafeUpdate(n, [])
      assert.strictEqual(value(yield* families, "t6", { quantile: "1" }), 3)
      assert.strictEqual(value(yield* families, "t6_sum"), 6)
      assert.strictEqual(value(yield* families, "t6_count"), 3)
    }))

  it.effect("names and values that the format forbids are made to fit", () =>
    Effect.gen(function*() {
      yield* Metric.increment(Metric.tagged(
        Metric.counter("t7.öl-stand", { description: "one\ntwo \\", incremental: true }),
        "who is\"it",
        "a\"b\\c\nd"
      ))
      yield* Metric.set(Metric.gauge("t7 without help"), 1)
      const families = parse(yield* expose("t7"))
      assert.deepInclude(families.get("t7__l_stand"), { help: "one\\ntwo \\\\" })
      assert.deepStrictEqual(families.get("t7__l_stand")?.series[0]?.labels, { who_is_it: "a\"b\\c\nd" })
      assert.strictEqual(families.get("t7_without_help")?.help, "t7_without_help")
    }))

  it.effect("two kinds under one name do not end in one family", () =>
    Effect.gen(function*() {
      yield* Metric.increment(Metric.counter("t8", { incremental: true }))
      yield* Metric.set(Metric.gauge("t8"), 7)
      const families = parse(yield* expose("t8"))
      assert.deepStrictEqual([...families.values()].map(({ type }) => type).sort(), ["counter", "gauge"])
    }))
})
