/**
 * The server API as an `HttpApi`: its routes, its OpenAPI description and its clients all come from this definition.
 *
 * @since 1.0.0
 */
import * as HttpApi from "@effect/platform/HttpApi"
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint"
import * as HttpApiGroup from "@effect/platform/HttpApiGroup"
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware"
import * as HttpApiSchema from "@effect/platform/HttpApiSchema"
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity"
import * as OpenApi from "@effect/platform/OpenApi"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { BatchRequest, either, ErrorObject, json, type MethodName, requests, results } from "./ServerApiSchema.js"

const commands = Schema.Array(Schema.Record({ key: Schema.String, value: json })).annotations({
  description: "Each has one key, a method, whose value is the method's parameters."
})

const replies = Schema.Array(Schema.Record({ key: Schema.String, value: json })).annotations({
  description: "In the order of the commands: `{method: result}` or `{\"error\": …}`."
})

const headers = Schema.Struct({
  "x-centrifugo-error-mode": Schema.optional(Schema.String.annotations({
    description: "`transport`: an error is the HTTP status and the bare error object."
  }))
})

/**
 * The answer to a wrong key, or none.
 *
 * @since 1.0.0
 * @category schemas
 */
export const Unauthorized = Schema.Struct({ code: Schema.Literal(101), message: Schema.Literal("unauthorized") })
  .annotations(HttpApiSchema.annotations({ status: 401, description: "No key, or a wrong one." }))

/**
 * Asks for a key, in either of two headers.
 *
 * @since 1.0.0
 * @category tags
 */
// @effect-diagnostics-next-line leakingRequirements:off
export class ApiKey extends HttpApiMiddleware.Tag<ApiKey>()("effect-ws-hub/ServerApi/ApiKey", {
  failure: Unauthorized,
  security: {
    key: HttpApiSecurity.apiKey({ key: "X-API-Key" }),
    authorization: HttpApiSecurity.apiKey({ key: "Authorization" }).pipe(
      HttpApiSecurity.annotate(OpenApi.Description, "`apikey`, a space, and the key.")
    )
  }
}) {}

const method = <const Name extends MethodName, A, I, B, J>(
  name: Name,
  description: string,
  request: Schema.Schema<A, I>,
  result: Schema.Schema<B, J>
) =>
  HttpApiEndpoint.post(name, `/${name}`).annotate(OpenApi.Description, description)
    .setHeaders(headers).setPayload(request).addSuccess(either(result))

const refusal = <A extends number, I>(description: string, code: Schema.Schema<A, I>) =>
  Schema.Struct({ code, message: Schema.String }).annotations({ description })

const group = HttpApiGroup.make("server", { topLevel: true })
  .add(method("publish", "Publishes to a channel.", requests.publish, results.publish))
  .add(method("broadcast", "Publishes the same to many channels.", requests.broadcast, results.broadcast))
  .add(method("subscribe", "Subscribes a user's connections.", requests.subscribe, results.subscribe))
  .add(method("unsubscribe", "Takes a subscription away.", requests.unsubscribe, results.unsubscribe))
  .add(method("disconnect", "Closes a user's connections.", requests.disconnect, results.disconnect))
  .add(method("refresh", "Changes when a user's connections expire.", requests.refresh, results.refresh))
  .add(method("presence", "Who is in a channel.", requests.presence, results.presence))
  .add(method("presence_stats", "How many are in a channel.", requests.presence_stats, results.presence_stats))
  .add(method("history", "Reads a channel's history.", requests.history, results.history))
  .add(method("history_remove", "Removes a channel's history.", requests.history_remove, results.history_remove))
  .add(method("channels", "Channels with subscribers.", requests.channels, results.channels))
  .add(method("info", "The nodes.", requests.info, results.info))
  .add(method("rpc", "Calls a method of the application.", requests.rpc, results.rpc))
  .add(
    HttpApiEndpoint.post("batch", "/batch").annotate(OpenApi.Description, "Several commands in one request.")
      .setHeaders(headers)
      .setPayload(Schema.Struct({ ...BatchRequest.fields, commands }))
      .addSuccess(Schema.Union(Schema.Struct({ replies }), Schema.Struct({ error: ErrorObject })))
  )
  .addError(refusal("Wrong parameters, or JSON that cannot be read.", Schema.Int.pipe(Schema.between(105, 4999))), {
    status: 400
  })
  .addError(refusal("Not permitted.", Schema.Literal(103)), { status: 403 })
  .addError(refusal("There is no such channel, or no such method.", Schema.Literal(102, 104)), { status: 404 })
  .addError(refusal("A conflict.", Schema.Literal(113)), { status: 409 })
  .addError(refusal("The body is too large.", Schema.Literal(107)), { status: 413 })
  .addError(refusal("The position cannot be recovered.", Schema.Literal(112)), { status: 416 })
  .addError(refusal("Too many requests.", Schema.Literal(111)), { status: 429 })
  .addError(refusal("The server failed; try again.", Schema.Literal(100)), { status: 500 })
  .addError(
    refusal("The application failed for now; try again.", Schema.Int.pipe(Schema.between(105, 4999))),
    { status: 503 }
  )
  .middleware(ApiKey)

/** `HttpApi` adds an error of its own to every API. It does not happen here: bodies are decoded by the methods. */
const describe = (spec: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  JSON.parse(
    JSON.stringify(spec),
    (key, value: unknown) =>
      key === "HttpApiDecodeError" || key === "Issue" || key === "PropertyKey"
        ? undefined
        : Array.isArray(value)
        ? value.filter((item) => !Predicate.hasProperty(item, "$ref") || !/HttpApiDecodeError$/.test(String(item.$ref)))
        : value
  ) as Record<string, unknown>

/**
 * The definition.
 *
 * @since 1.0.0
 * @category models
 */
export const api = HttpApi.make("effect-ws-hub").add(group).prefix("/api")
  .annotate(OpenApi.Title, "effect-ws-hub server API")
  .annotate(OpenApi.Version, "1")
  .annotate(OpenApi.Transform, describe)
  .annotate(
    OpenApi.Description,
    "Every answer is 200 with a result or an error, unless the header `X-Centrifugo-Error-Mode: transport` is sent. " +
      "In both modes 400 means that the body is no JSON, 401 that the key is wrong, 413 that the body is too large."
  )
