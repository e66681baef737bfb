/**
 * What the hub counts, as Effect metrics.
 *
 * @since 1.0.0
 */
import * as Metric from "effect/Metric"
import * as MetricBoundaries from "effect/MetricBoundaries"
import type { CloseBy } from "./CloseReason.js"

const counter = (name: string, description: string) =>
  Metric.counter(`ws_hub_${name}`, { description, incremental: true })

const byTag = <A extends string>(metric: Metric.Metric.Counter<number>, tag: string) => {
  const tagged = new Map<A, Metric.Metric.Counter<number>>()
  return (value: A): Metric.Metric.Counter<number> => {
    let found = tagged.get(value)
    if (found === undefined) tagged.set(value, found = Metric.tagged(metric, tag, value))
    return found
  }
}

/**
 * Open connections of all hubs in the process.
 *
 * @since 1.0.0
 * @category metrics
 */
export const connections = Metric.gauge("ws_hub_connections", { description: "Open connections" })

/**
 * Connections opened.
 *
 * @since 1.0.0
 * @category metrics
 */
export const opens = counter("opens_total", "Connections opened")

/**
 * Connections closed, by who or what ended them.
 *
 * @since 1.0.0
 * @category metrics
 */
export const closes = byTag<CloseBy>(counter("closes_total", "Connections closed"), "by")

/**
 * Messages received.
 *
 * @since 1.0.0
 * @category metrics
 */
export const messagesIn = counter("messages_in_total", "Messages received")

/**
 * Payload received: bytes of binary messages, UTF-16 units of text.
 *
 * @since 1.0.0
 * @category metrics
 */
export const bytesIn = counter("bytes_in_total", "Payload received: bytes of binary messages, UTF-16 units of text")

/**
 * Frames accepted for delivery to a connection.
 *
 * @since 1.0.0
 * @category metrics
 */
export const messagesOut = counter("messages_out_total", "Frames accepted for delivery")

/**
 * Bytes of the frames accepted for delivery, on the wire before compression.
 *
 * @since 1.0.0
 * @category metrics
 */
export const bytesOut = counter("bytes_out_total", "Bytes of the frames accepted for delivery")

/**
 * Frames that were not delivered because an outbox was full, by what became of them: `dropped`, `conflated`, or
 * `disconnected` (the one that closed a slow consumer; the backlog that is given up with it is {@link undelivered}).
 *
 * @since 1.0.0
 * @category metrics
 */
export const overflow = byTag<"dropped" | "conflated" | "disconnected">(
  counter("outbox_overflow_total", "Frames not delivered because an outbox was full"),
  "outcome"
)

/**
 * Messages that were accepted and that the end of their connection left unsent (`out`) or untaken (`in`).
 *
 * @since 1.0.0
 * @category metrics
 */
export const undelivered = byTag<"in" | "out">(
  counter("undelivered_total", "Messages that the end of a connection left unsent or untaken"),
  "direction"
)

/**
 * Inbound messages refused because the peer exceeded its rate.
 *
 * @since 1.0.0
 * @category metrics
 */
export const rateLimited = counter("rate_limited_total", "Inbound messages refused because of the peer's rate")

/**
 * Handshakes refused, by reason: `malformed`, `origin`, `subprotocol`, `unauthorized`, `timeout`, `failed`, `full`,
 * `unavailable` or `not-mounted`.
 *
 * @since 1.0.0
 * @category metrics
 */
export const refusals = byTag<string>(counter("handshake_refusals_total", "Handshakes refused"), "reason")

/**
 * Connections that a publish or broadcast reached. A message to one connection is neither.
 *
 * @since 1.0.0
 * @category metrics
 */
export const fanOut = Metric.histogram(
  "ws_hub_fan_out_size",
  MetricBoundaries.exponential({ start: 1, factor: 4, count: 10 }),
  "Connections reached by a publish"
)

/**
 * Frames joined into one write, on average over the connections written to in a turn of the event loop.
 *
 * @since 1.0.0
 * @category metrics
 */
export const flushBatch = Metric.histogram(
  "ws_hub_flush_batch_frames",
  MetricBoundaries.exponential({ start: 1, factor: 2, count: 10 }),
  "Frames joined into one write"
)
