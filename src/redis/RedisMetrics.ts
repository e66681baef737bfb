/**
 * What is counted of the connection to Redis, as Effect metrics.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import * as MetricKey from "effect/MetricKey"
import * as MetricLabel from "effect/MetricLabel"

const counter = (name: string, description: string) =>
  Metric.counter(`ws_hub_redis_${name}`, { description, incremental: true })

/** The label is part of the key: `Metric.tagged` looks its metric up with every update. */
const byKind = <Type extends MetricKey.MetricKey.Untyped, A>(key: Type, make: (key: Type) => A) => {
  const known = new Map<string, A>()
  return (kind: string): A => {
    let found = known.get(kind)
    if (found === undefined) {
      found = make(MetricKey.taggedWithLabels(key, [MetricLabel.make("kind", kind)]) as Type)
      known.set(kind, found)
    }
    return found
  }
}

const seconds = MetricBoundaries.exponential({ start: 0.0001, factor: 2, count: 18 })

/**
 * Time from the call to the answer, in seconds, by its kind: `publish`, `history`, `subscribe` … Its count is that of the
 * calls that were answered; several of one kind may go to Redis in one command.
 *
 * @since 1.0.0
 * @category metrics
 */
export const commands: (kind: string) => Metric.Metric.Histogram<number> = byKind(
  MetricKey.histogram("ws_hub_redis_command_seconds", seconds, "Time from a command to its answer"),
  Metric.fromMetricKey
)

/**
 * Commands that failed, by their kind: also those that nobody waits for, such as renewals of presence.
 *
 * @since 1.0.0
 * @category metrics
 */
export const errors: (kind: string) => Metric.Metric.Counter<number> = byKind(
  MetricKey.counter("ws_hub_redis_errors_total", { description: "Commands that failed", incremental: true }),
  Metric.fromMetricKey
)

/**
 * Publications that Redis took, as its answers say: also those that it had already, by their idempotency key or version.
 * Several of one channel may go in one command.
 *
 * @since 1.0.0
 * @category metrics
 */
export const published = counter("published_total", "Publications that Redis took")

/**
 * Messages heard, of all names.
 *
 * @since 1.0.0
 * @category metrics
 */
export const messages = counter("messages_total", "Messages heard")

/**
 * Messages in our channels that were none of ours.
 *
 * @since 1.0.0
 * @category metrics
 */
export const unreadable = counter("unreadable_total", "Messages that could not be read")

/**
 * Time from publishing to hearing it, in seconds, of publications that a node made and hears itself: ten a second at most.
 * If another publishes the very same in the channel meanwhile, that may be taken for it.
 *
 * @since 1.0.0
 * @category metrics
 */
export const receive = Metric.histogram(
  "ws_hub_redis_receive_seconds",
  seconds,
  "Time from publishing to hearing it, of what this node publishes and hears itself"
)

/**
 * How far what is heard is behind, in seconds: the time for a sign of life on a connection that hears, which waits for
 * all messages before it.
 *
 * @since 1.0.0
 * @category metrics
 */
export const lag = Metric.histogram(
  "ws_hub_redis_lag_seconds",
  seconds,
  "How far what is heard is behind"
)

/**
 * Open connections to Redis.
 *
 * @since 1.0.0
 * @category metrics
 */
export const connections = Metric.gauge("ws_hub_redis_connections", { description: "Open connections to Redis" })

/**
 * Connections that were lost and made again.
 *
 * @since 1.0.0
 * @category metrics
 */
export const reconnects = counter("reconnects_total", "Connections made again after they were lost")

/**
 * Names that were subscribed again after a connection was lost, or a name moved to another server.
 *
 * @since 1.0.0
 * @category metrics
 */
export const resubscribes = counter("resubscribes_total", "Names subscribed again")

/**
 * A metric exists from its first use: after this, whoever reads those without a label sees zeros from the start.
 *
 * @internal
 */
export const touch: Effect.Effect<void> = Effect.all([
  Metric.value(published),
  Metric.value(messages),
  Metric.value(unreadable),
  Metric.value(receive),
  Metric.value(lag),
  Metric.value(connections),
  Metric.value(reconnects),
  Metric.value(resubscribes)
], { discard: true })
