/**
 * What the channels count, as Effect metrics.
 *
 * @since 1.0.0
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"

const counter = (name: string, description: string) =>
  Metric.counter(`ws_hub_channel_${name}`, { description, incremental: true })

/**
 * Subscriptions of clients on this node.
 *
 * @since 1.0.0
 * @category metrics
 */
export const subscriptions = Metric.gauge("ws_hub_channel_subscriptions", {
  description: "Subscriptions of clients"
})

/**
 * Publications that this node heard of, and passed on.
 *
 * @since 1.0.0
 * @category metrics
 */
export const publications = counter("publications_total", "Publications passed on to subscribers of this node")

const recoveries = counter("recoveries_total", "Clients that asked for what they missed")
const recovered = Metric.tagged(recoveries, "recovered", "true")
const unrecovered = Metric.tagged(recoveries, "recovered", "false")

/**
 * Clients that asked for what they missed, by whether it was still there.
 *
 * @since 1.0.0
 * @category metrics
 */
export const recovery = (success: boolean): Metric.Metric.Counter<number> => success ? recovered : unrecovered

const allErrors = counter("errors_total", "Commands that were answered with an error")
const byCode = new Map<number, Metric.Metric.Counter<number>>()

/**
 * Commands that were answered with an error, by its code; codes of the application count as one.
 *
 * @since 1.0.0
 * @category metrics
 */
export const errors = (code: number): Metric.Metric.Counter<number> => {
  const label = code < 400 ? code : 400
  let found = byCode.get(label)
  if (found === undefined) {
    found = Metric.tagged(allErrors, "code", label < 400 ? String(label) : "application")
    byCode.set(label, found)
  }
  return found
}

/**
 * Subscriptions in which a publication was missing.
 *
 * @since 1.0.0
 * @category metrics
 */
export const gaps = counter("gaps_total", "Subscriptions in which a publication was missing")

/**
 * Seconds from a ping to its pong; of a client that owes more than one, the newest.
 *
 * @since 1.0.0
 * @category metrics
 */
export const pongLatency = Metric.histogram(
  "ws_hub_channel_pong_latency_seconds",
  MetricBoundaries.exponential({ start: 0.001, factor: 2, count: 14 }),
  "Time from a ping to its pong"
)
