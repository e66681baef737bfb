/**
 * Traces, as OpenTelemetry has them, on their way to a collector.
 */
import * as OtlpSerialization from "@effect/opentelemetry/OtlpSerialization"
import * as OtlpTracer from "@effect/opentelemetry/OtlpTracer"
import * as FetchHttpClient from "@effect/platform/FetchHttpClient"
import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientError from "@effect/platform/HttpClientError"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Tracer from "effect/Tracer"
import type { TelemetryConfig } from "./Telemetry.js"

/** Tokens and keys come in headers and in queries: no span tells them. */
const hidden = /^(url\.(full|query)$|http\.(request|response)\.header\.)/

const discreet = (tracer: Tracer.Tracer): Tracer.Tracer =>
  Tracer.make({
    context: tracer.context,
    span: (...args) => {
      const span = tracer.span(...args)
      const attribute = span.attribute.bind(span)
      return Object.assign(span, {
        attribute: (key: string, value: unknown) => {
          if (!hidden.test(key)) attribute(key, value)
        }
      })
    }
  })

/** The innermost error that says something. */
const reason = (error: Error): string =>
  (error.cause instanceof Error ? reason(error.cause) : "") || error.message.replace(/\.$/, "")

/** As long as OpenTelemetry gives a collector by default. */
const longestExport = "10 seconds"

/** Tells once that the collector does not take spans, and once that it does again. */
const watched = (url: string) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.map(HttpClient.HttpClient, (client) => {
      let taken = true
      const turns = (now: boolean) =>
        Effect.sync(() => {
          const before = taken
          taken = now
          return before !== now
        })
      return HttpClient.transform(HttpClient.filterStatusOk(client), (response, request) =>
        response.pipe(
          Effect.timeoutFail({
            duration: longestExport,
            onTimeout: () =>
              new HttpClientError.RequestError({
                request,
                reason: "Transport",
                description: `no answer within ${longestExport}`
              })
          }),
          Effect.tapError((error) =>
            Effect.whenEffect(
              Effect.logWarning(`traces cannot be sent to ${url}: ${reason(error)}. Until they can, they are lost.`),
              turns(false)
            )
          ),
          Effect.tap(() => Effect.whenEffect(Effect.logInfo(`traces are sent to ${url} again`), turns(true)))
        ))
    })
  ).pipe(Layer.provide(FetchHttpClient.layer))

/**
 * The tracer of everything in whose layer it is provided. When its scope closes it sends what is left, for 3 seconds at
 * most.
 */
export const layer = (
  { headers, otlpUrl, serviceName }: TelemetryConfig,
  node: string,
  version: string
): Layer.Layer<never> => {
  const url = `${otlpUrl.replace(/\/+$/, "")}/v1/traces`
  return OtlpTracer.make({
    url,
    headers: headers.map(([name, value]) => [name, Redacted.value(value)] as const),
    resource: { serviceName, serviceVersion: version, attributes: { "service.instance.id": node } },
    shutdownTimeout: "3 seconds"
  }).pipe(
    Effect.map((tracer) => Layer.setTracer(discreet(tracer))),
    Layer.unwrapScoped,
    Layer.provide([watched(url), OtlpSerialization.layerJson])
  )
}
