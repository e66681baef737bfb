/** A collector of OpenTelemetry: an HTTP server that keeps the spans it is sent. */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import { createServer, type IncomingHttpHeaders } from "node:http"
import type { AddressInfo } from "node:net"

interface KeyValue {
  readonly key: string
  readonly value: Readonly<Record<string, unknown>>
}

interface Body {
  readonly resourceSpans: ReadonlyArray<{
    readonly resource: { readonly attributes: ReadonlyArray<KeyValue> }
    readonly scopeSpans: ReadonlyArray<{
      readonly spans: ReadonlyArray<{ readonly name: string; readonly attributes: ReadonlyArray<KeyValue> }>
    }>
  }>
}

export interface Span {
  readonly name: string
  readonly attributes: Readonly<Record<string, unknown>>
}

/** One request. */
export interface Export {
  readonly line: string
  readonly headers: IncomingHttpHeaders
  readonly text: string
  readonly resource: Readonly<Record<string, unknown>>
  readonly spans: ReadonlyArray<Span>
}

export interface Collector {
  readonly url: string
  /** The next request. */
  readonly take: Effect.Effect<Export>
  /** All requests that were not taken. */
  readonly rest: Effect.Effect<ReadonlyArray<Export>>
}

const record = (attributes: ReadonlyArray<KeyValue>) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

/** Answers with this status, or with none at all. */
export const make = (answer: () => number | "nothing" = () => 200): Effect.Effect<Collector, never, Scope.Scope> =>
  Effect.gen(function*() {
    const exports = yield* Queue.unbounded<Export>()
    const server = createServer((request, response) => {
      let text = ""
      request.setEncoding("utf8").on("data", (part: string) => {
        text += part
      })
      request.on("end", () => {
        const { resourceSpans } = JSON.parse(text) as Body
        exports.unsafeOffer({
          line: `${request.method} ${request.url}`,
          headers: request.headers,
          text,
          resource: record(resourceSpans.flatMap(({ resource }) => resource.attributes)),
          spans: resourceSpans.flatMap(({ scopeSpans }) => scopeSpans).flatMap(({ spans }) => spans)
            .map(({ attributes, name }) => ({ name, attributes: record(attributes) }))
        })
        const status = answer()
        if (status !== "nothing") response.writeHead(status, { "content-type": "application/json" }).end("{}")
      })
    })
    yield* Effect.acquireRelease(
      Effect.async<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () =>
        Effect.async<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
        })
    )
    return {
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      take: Queue.take(exports),
      rest: Effect.map(Queue.takeAll(exports), (all) => [...all])
    }
  })
