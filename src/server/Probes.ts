/**
 * What an orchestrator and a monitor ask: does it live, does it take connections, and its metrics.
 */
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import { collectDefaultMetrics, Registry } from "prom-client"
import * as ChannelMetrics from "../channels/ChannelMetrics.js"
import { errors } from "../channels/ProtocolCode.js"
import { Hub } from "../core/Hub.js"
import * as HubMetrics from "../core/HubMetrics.js"
import { Readiness } from "./Backend.js"
import * as Prometheus from "./Prometheus.js"

const fresh = { "cache-control": "no-store" }

const health = HttpLayerRouter.add("GET", "/health", HttpServerResponse.text("alive\n", { headers: fresh }))

const notReady = (why: string) =>
  HttpServerResponse.text(`not ready: ${why}\n`, { status: 503, headers: { ...fresh, "retry-after": "1" } })

const ready = HttpLayerRouter.use((router) =>
  Effect.gen(function*() {
    const hub = yield* Hub
    const readiness = yield* Readiness
    yield* router.add(
      "GET",
      "/ready",
      Effect.zipWith(hub.state, readiness.trouble, (state, trouble) =>
        state === "Draining" || state === "Closed" || (trouble === undefined && state === "Starting")
          ? notReady(`the hub is ${state.toLowerCase()}`)
          : trouble === undefined
          ? HttpServerResponse.text("ready\n", { headers: fresh })
          : notReady(trouble))
    )
  })
)

/** A metric exists from its first use: with this, a scraper sees zeros from the start. */
const touch = Effect.all([
  Metric.value(HubMetrics.connections),
  Metric.value(HubMetrics.opens),
  Metric.value(HubMetrics.messagesIn),
  Metric.value(HubMetrics.bytesIn),
  Metric.value(HubMetrics.messagesOut),
  Metric.value(HubMetrics.bytesOut),
  Metric.value(HubMetrics.rateLimited),
  Metric.value(HubMetrics.fanOut),
  Metric.value(HubMetrics.flushBatch),
  ...(["dropped", "conflated", "disconnected"] as const).map((outcome) => Metric.value(HubMetrics.overflow(outcome))),
  ...(["in", "out"] as const).map((direction) => Metric.value(HubMetrics.undelivered(direction))),
  Metric.value(ChannelMetrics.subscriptions),
  Metric.value(ChannelMetrics.publications),
  Metric.value(ChannelMetrics.gaps),
  Metric.value(ChannelMetrics.pongLatency),
  Metric.value(ChannelMetrics.errors(errors.internal.code)),
  ...[true, false].map((success) => Metric.value(ChannelMetrics.recovery(success)))
])

const metrics = HttpLayerRouter.use((router) =>
  Effect.gen(function*() {
    yield* touch
    const processMetrics = new Registry()
    collectDefaultMetrics({ register: processMetrics })
    yield* router.add(
      "GET",
      "/metrics",
      Effect.gen(function*() {
        const registry = Registry.merge([Prometheus.registry(yield* Metric.snapshot), processMetrics])
        const text = yield* Effect.promise(() => registry.metrics())
        return HttpServerResponse.text(text, { contentType: registry.contentType, headers: fresh })
      })
    )
  })
)

/**
 * What is asked so often that it would fill traces.
 */
export const paths = ["/health", "/ready", "/metrics"]

/**
 * `/health`, `/ready` and `/metrics`.
 */
export const routes = Layer.mergeAll(health, ready, metrics)
