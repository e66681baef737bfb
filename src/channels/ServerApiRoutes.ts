/**
 * The server API over HTTP: bodies, both error modes, batches.
 *
 * @since 1.0.0
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder"
import * as HttpApiSwagger from "@effect/platform/HttpApiSwagger"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Predicate from "effect/Predicate"
import * as Stream from "effect/Stream"
import { Channels } from "./Channels.js"
import { Faults } from "./Faults.js"
import { badRequest, errors, internalError, ProtocolError } from "./ProtocolCode.js"
import { api, type ApiKey } from "./ServerApiDefinition.js"
import { methods } from "./ServerApiMethods.js"
import { decode } from "./ServerApiParams.js"
import { errorObject } from "./ServerApiResults.js"
import { BatchRequest } from "./ServerApiSchema.js"
import { Slices } from "./Slices.js"

type Service = typeof Channels.Service

/**
 * @since 1.0.0
 * @category models
 */
export interface RoutesOptions {
  /** Bytes of a request's body; a larger one is 413. Defaults to 1048576. */
  readonly maxBodySize?: number | undefined
}

/** A request that is refused before its method is asked, with this status in both modes. */
interface Refusal {
  readonly status: number
  readonly error: ProtocolError
}

const refuse = (status: number, reason: string): Effect.Effect<never, Refusal> =>
  Effect.fail({ status, error: badRequest(reason) })

const respond = (body: string, status = 200): HttpServerResponse.HttpServerResponse =>
  HttpServerResponse.text(body, { status, contentType: "application/json" })

/** The status of an error in transport mode. What the application made up is its refusal of the request. */
const statusOf = ({ code, temporary }: ProtocolError): number => {
  switch (code) {
    case 100:
      return 500
    case 101:
      return 401
    case 102:
    case 104:
      return 404
    case 103:
      return 403
    case 111:
      return 429
    case 112:
      return 416
    case 113:
      return 409
    default:
      return temporary ? 503 : 400
  }
}

/**
 * A body that turns out to be too large is still read to its end, and thrown away: a peer that is cut off while it
 * writes does not see the answer.
 */
const readBody = (
  request: HttpServerRequest.HttpServerRequest,
  limit: number
): Effect.Effect<Uint8Array, Refusal> => {
  const tooLarge = refuse(413, `the body is larger than ${limit} bytes`)
  if (Number(request.headers["content-length"] ?? 0) > limit) return tooLarge
  return Effect.suspend(() => {
    const chunks: Array<Uint8Array> = []
    let size = 0
    const read = Stream.runForEach(request.stream, (chunk) =>
      Effect.sync(() => {
        size += chunk.length
        if (size <= limit) chunks.push(chunk)
        else chunks.length = 0
      }))
    return Effect.matchEffect(read, {
      onFailure: () => refuse(400, "the body could not be read"),
      onSuccess: () => size > limit ? tooLarge : Effect.sync(() => join(chunks, size))
    })
  })
}

const join = (chunks: ReadonlyArray<Uint8Array>, size: number): Uint8Array => {
  const whole = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.length
  }
  return whole
}

const readJson = (request: HttpServerRequest.HttpServerRequest, limit: number): Effect.Effect<unknown, Refusal> =>
  Effect.flatMap(readBody(request, limit), (bytes) =>
    Effect.orElse(
      Effect.try(() => JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown),
      () => refuse(400, bytes.length === 0 ? "the body is empty: send {}" : "the body is no JSON")
    ))

type Run = (name: string, params: unknown) => Effect.Effect<string, ProtocolError>

/** Runs a method; its result is JSON text. Whatever goes wrong inside is error 100 for the caller, and logged. */
const runner = (channels: Service): Run => {
  const all = new Map([...methods].map(([name, method]) => [name, { method, faults: new Faults() }]))
  return (name, params) => {
    const found = all.get(name)
    if (found === undefined) return errors.methodNotFound
    const { faults, method } = found
    return Effect.suspend(() => method(channels, params)).pipe(
      Effect.catchTag("Disconnect", ({ code, reason }) => new ProtocolError({ code, reason, temporary: false })),
      Effect.flatMap((result) => Effect.try({ try: () => JSON.stringify(result), catch: internalError })),
      Effect.catchAllDefect((defect) => internalError(defect)),
      Effect.tap(() => faults.worked()),
      Effect.tapError((error) => faults.failed(`The server API failed to ${name}`, error)),
      Effect.annotateLogs({ module: "ServerApi" })
    )
  }
}

const failed = (error: ProtocolError) => `{"error":${JSON.stringify(errorObject(error))}}`

/** How many commands of a parallel batch run at once. */
const parallel = 64

const parseBatch = decode(BatchRequest)

/** One command of a batch, and its reply. */
const command = (run: Run, input: unknown): Effect.Effect<string> => {
  const names = Predicate.isRecord(input) ? Object.keys(input) : []
  const [name] = names
  if (!Predicate.isRecord(input) || name === undefined || names.length > 1) {
    return Effect.succeed(failed(badRequest("a command is an object with one key, a method")))
  }
  return Effect.match(run(name, input[name]), {
    onFailure: failed,
    onSuccess: (result) => `{${JSON.stringify(name)}:${result}}`
  })
}

const batch = (run: Run, params: unknown): Effect.Effect<string, ProtocolError> =>
  Effect.flatMap(parseBatch(params), (request) => {
    const slices = new Slices()
    return Effect.map(
      Effect.forEach(request.commands, (input) => Effect.zipRight(slices.next, command(run, input)), {
        concurrency: request.parallel === true ? parallel : 1
      }),
      (replies) => `{"replies":[${replies.join(",")}]}`
    )
  })

const handlers = (options: RoutesOptions) =>
  HttpApiBuilder.group(api, "server", (handlers) =>
    Effect.map(Channels, (channels) => {
      const limit = options.maxBodySize ?? 1048576
      const run = runner(channels)
      const answer = (call: (params: unknown) => Effect.Effect<string, ProtocolError>) =>
      (
        { headers, request }: {
          readonly headers: { readonly "x-centrifugo-error-mode"?: string | undefined }
          readonly request: HttpServerRequest.HttpServerRequest
        }
      ) => {
        const transport = headers["x-centrifugo-error-mode"]?.toLowerCase() === "transport"
        return readJson(request, limit).pipe(
          Effect.matchEffect({
            onFailure: ({ error, status }) => Effect.succeed(respond(JSON.stringify(errorObject(error)), status)),
            onSuccess: (params) =>
              Effect.match(call(params), {
                onFailure: (error) =>
                  transport
                    ? respond(JSON.stringify(errorObject(error)), statusOf(error))
                    : respond(failed(error)),
                onSuccess: (body) => respond(body)
              })
          })
        )
      }
      const plain = (name: string) =>
        answer((params) => Effect.map(run(name, params), (result) => `{"result":${result}}`))
      return handlers
        .handleRaw("publish", plain("publish"))
        .handleRaw("broadcast", plain("broadcast"))
        .handleRaw("subscribe", plain("subscribe"))
        .handleRaw("unsubscribe", plain("unsubscribe"))
        .handleRaw("disconnect", plain("disconnect"))
        .handleRaw("refresh", plain("refresh"))
        .handleRaw("presence", plain("presence"))
        .handleRaw("presence_stats", plain("presence_stats"))
        .handleRaw("history", plain("history"))
        .handleRaw("history_remove", plain("history_remove"))
        .handleRaw("channels", plain("channels"))
        .handleRaw("info", plain("info"))
        .handleRaw("rpc", plain("rpc"))
        .handleRaw("batch", answer((params) => batch(run, params)))
    }))

const unknownMethod = HttpLayerRouter.add(
  "POST",
  "/api/*",
  respond(JSON.stringify(errorObject(errors.methodNotFound)), 404)
)

/**
 * The routes: `POST /api/<method>`, its OpenAPI description at `/api/openapi.json` and a page to read at `/api/docs`.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (
  options: RoutesOptions = {}
): Layer.Layer<never, never, HttpLayerRouter.HttpRouter | Channels | ApiKey> =>
  Layer.mergeAll(
    HttpLayerRouter.addHttpApi(api, { openapiPath: "/api/openapi.json" }).pipe(
      Layer.provide(handlers(options)),
      Layer.provide(HttpServer.layerContext)
    ),
    HttpApiSwagger.layerHttpLayerRouter({ api, path: "/api/docs" }),
    unknownMethod
  )
