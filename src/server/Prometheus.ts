/**
 * Effect's metrics as metrics of `prom-client`, which writes them in the Prometheus text format.
 */
import type * as MetricKey from "effect/MetricKey"
import type * as MetricKeyType from "effect/MetricKeyType"
import type * as MetricPair from "effect/MetricPair"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import { type MetricObjectWithValues, type MetricType, type MetricValueWithName, Registry, Summary } from "prom-client"

type Labels = Readonly<Record<string, string>>

/** One line: a value, its labels, and what is added to the name of its family (`_bucket`, `_sum`, `_count`). */
interface Sample {
  readonly suffix: string
  readonly labels: Labels
  readonly value: number
}

const sample = (suffix: string, labels: Labels, value: number | bigint): Sample => ({
  suffix,
  labels,
  value: Number(value)
})

type Kind = "counter" | "gauge" | "histogram" | "summary"

/** All samples of one name. `prom-client` asks a registered metric for its values: this one has them already. */
class Family extends Summary {
  readonly kind: Kind
  readonly samples: Array<Sample> = []
  private readonly config: { readonly name: string; readonly help: string }

  constructor(name: string, help: string, kind: Kind) {
    super({ name, help, registers: [] })
    this.config = { name, help }
    this.kind = kind
  }

  override get(): Promise<MetricObjectWithValues<MetricValueWithName<string>>> {
    return Promise.resolve({
      ...this.config,
      // The library's types have numbers for the kinds, its code has their names.
      type: this.kind as unknown as MetricType,
      aggregator: "sum",
      collect: () => {},
      values: this.samples.map(({ labels, suffix, value }) => ({
        value,
        labels,
        metricName: this.config.name + suffix
      }))
    })
  }
}

/** Characters that a name may not have become underscores; a name does not begin with a digit. */
const metricName = (name: string) => name.replace(/[^a-zA-Z0-9_:]/g, "_").replace(/^(?=\d|$)/, "_")
const labelName = (name: string) => name.replace(/[^a-zA-Z0-9_]/g, "_").replace(/^(?=\d|$)/, "_")

const number = (value: number) => value === Infinity ? "+Inf" : value === -Infinity ? "-Inf" : String(value)

const isIncremental = (type: MetricKeyType.MetricKeyType.Untyped) => "incremental" in type && type.incremental === true

/** The kind of a metric, and its samples. A counter that may go down is a gauge; a frequency counts per word. */
const read = (
  key: MetricKey.MetricKey.Untyped,
  state: MetricState.MetricState.Untyped,
  labels: Labels
): readonly [Kind, ReadonlyArray<Sample>] | undefined => {
  if (MetricState.isCounterState(state)) {
    return [isIncremental(key.keyType) ? "counter" : "gauge", [sample("", labels, state.count)]]
  }
  if (MetricState.isGaugeState(state)) return ["gauge", [sample("", labels, state.value)]]
  if (MetricState.isFrequencyState(state)) {
    return [
      "counter",
      Array.from(state.occurrences, ([word, count]) => sample("", { ...labels, key: word }, count))
    ]
  }
  if (MetricState.isHistogramState(state)) {
    const below = state.buckets.filter(([boundary]) => boundary !== Infinity)
    return ["histogram", [
      ...below.map(([boundary, count]) => sample("_bucket", { ...labels, le: number(boundary) }, count)),
      sample("_bucket", { ...labels, le: "+Inf" }, state.count),
      sample("_sum", labels, state.sum),
      sample("_count", labels, state.count)
    ]]
  }
  if (MetricState.isSummaryState(state)) {
    return ["summary", [
      ...state.quantiles.map(([quantile, value]) =>
        sample("", { ...labels, quantile: number(quantile) }, value._tag === "Some" ? value.value : NaN)
      ),
      sample("_sum", labels, state.sum),
      sample("_count", labels, state.count)
    ]]
  }
  return undefined
}

/**
 * A registry with the metrics of a snapshot. Two kinds of metric under one name, which the format forbids, get names of
 * their own: the later one is followed by its kind.
 */
export const registry = (snapshot: Iterable<MetricPair.MetricPair.Untyped>): Registry => {
  const registry = new Registry()
  const families = new Map<string, Family>()
  for (const { metricKey, metricState } of snapshot) {
    const labels = Object.fromEntries(metricKey.tags.map(({ key, value }) => [labelName(key), value]))
    const found = read(metricKey, metricState, labels)
    if (found === undefined) continue
    const [kind, samples] = found
    const plain = metricName(metricKey.name)
    const name = (families.get(plain)?.kind ?? kind) === kind ? plain : `${plain}_${kind}`
    let family = families.get(name)
    if (family === undefined) {
      family = new Family(name, Option.getOrElse(metricKey.description, () => "") || name, kind)
      families.set(name, family)
      registry.registerMetric(family)
    }
    family.samples.push(...samples)
  }
  return registry
}
