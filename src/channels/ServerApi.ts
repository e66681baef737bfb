/**
 * The server API: what a backend calls over HTTP, defined once. Its routes, its OpenAPI description and its clients
 * (`HttpApiClient.make(ServerApi.api)`) all come from this definition.
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

const text = Schema.String.annotations({ message: () => "must be a string" })
const flag = Schema.Boolean.annotations({ message: () => "must be true or false" })
const json = Schema.Unknown.annotations({ description: "Any JSON value.", jsonSchema: {} })

const integer = (from: number, to: number = Number.MAX_SAFE_INTEGER) =>
  Schema.Number.pipe(Schema.filter((n) => Number.isSafeInteger(n) && n >= from && n <= to)).annotations({
    message: () => ({
      message: `must be an integer${to === Number.MAX_SAFE_INTEGER ? `, ${from} or more` : ` from ${from} to ${to}`}`,
      override: true
    }),
    jsonSchema: { type: "integer", minimum: from, maximum: to }
  })

/** `null` is absent, as in other JSON mappings of this API. */
const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optionalWith(schema, { nullable: true })

/** Not `Schema.Record`, which assigns its keys: a key `__proto__` would be lost. */
const tags = Schema.declare((input): input is Readonly<Record<string, string>> =>
  Predicate.isRecord(input) && Object.values(input).every(Predicate.isString)
).annotations({
  message: () => "must be an object whose values are strings",
  jsonSchema: { type: "object", additionalProperties: { type: "string" } }
})

const position = Schema.Struct({ offset: optional(integer(0)), epoch: optional(text) })

const override = Schema.Struct({ value: flag })

/** Of a user's connections. */
const target = {
  user: text.annotations({ description: "Empty for anonymous users." }),
  client: optional(text.annotations({ description: "Only this connection." })),
  session: optional(text)
}

const content = {
  data: Schema.optional(json),
  b64data: optional(text.annotations({ description: "The JSON text of the data in base64, instead of `data`." }))
}

const publishing = {
  ...content,
  tags: optional(tags),
  skip_history: optional(flag),
  idempotency_key: optional(text),
  delta: optional(flag),
  version: optional(integer(0)),
  version_epoch: optional(text)
}

/** Of the methods that all nodes have a part in. */
const missing = Schema.optional(
  Schema.Array(Schema.String).annotations({
    description:
      "Nodes (`uid` of `info`) whose part is not in the result, since they did not answer in time or could " +
      "not; `[\"*\"]`: all but the one that was asked. Absent if none is missing."
  })
)

const reached = Schema.Struct({ missing })

const empty = Schema.Struct({}).annotations({ jsonSchema: { type: "object" } })

/**
 * Why something was refused.
 *
 * @since 1.0.0
 * @category schemas
 */
export const ErrorObject = Schema.Struct({ code: Schema.Int, message: Schema.String }).annotations({
  identifier: "Error"
})

const published = Schema.Struct({ offset: Schema.optional(Schema.Int), epoch: Schema.optional(Schema.String) })
  .annotations({ description: "Empty if the channel has no history." })

const clientInfo = Schema.Struct({
  user: Schema.String,
  client: Schema.String,
  conn_info: Schema.optional(json),
  chan_info: Schema.optional(json)
}).annotations({ identifier: "ClientInfo" })

const publication = Schema.Struct({
  data: json,
  info: Schema.optional(clientInfo),
  offset: Schema.optional(Schema.Int),
  tags: Schema.optional(Schema.Record({ key: Schema.String, value: Schema.String }))
}).annotations({ identifier: "Publication" })

const node = Schema.Struct({
  uid: Schema.String,
  name: Schema.String,
  version: Schema.String,
  num_clients: Schema.Int,
  num_users: Schema.Int,
  num_channels: Schema.Int,
  num_subs: Schema.Int,
  uptime: Schema.Int
}).annotations({ identifier: "Node" })

const either = <A, I>(result: Schema.Schema<A, I>) =>
  Schema.Union(Schema.Struct({ result }), Schema.Struct({ error: ErrorObject }))

/**
 * What each method takes, but for `batch`.
 *
 * @since 1.0.0
 * @category schemas
 */
export const requests = {
  publish: Schema.Struct({ channel: text, ...publishing }),
  broadcast: Schema.Struct({
    channels: Schema.Array(text).annotations({
      message: () => ({ message: "must be an array of strings", override: false })
    }),
    ...publishing
  }),
  subscribe: Schema.Struct({
    ...target,
    channel: text,
    ...content,
    info: Schema.optional(json),
    b64info: optional(text),
    recover_since: optional(position),
    expire_at: optional(integer(0).annotations({ description: "Seconds of Unix time. 0: never." })),
    override: optional(Schema.Struct({
      presence: optional(override),
      join_leave: optional(override),
      force_push_join_leave: optional(override),
      force_recovery: optional(override),
      force_positioning: optional(override)
    }))
  }),
  unsubscribe: Schema.Struct({ ...target, channel: text }),
  disconnect: Schema.Struct({
    ...target,
    whitelist: optional(Schema.Array(text).annotations({ description: "Connections that stay." })),
    disconnect: optional(Schema.Struct({ code: integer(3000, 4999), reason: optional(text) }))
  }),
  refresh: Schema.Struct({
    ...target,
    expired: optional(flag),
    expire_at: optional(integer(0).annotations({ description: "Seconds of Unix time. 0: never." })),
    info: Schema.optional(json)
  }),
  presence: Schema.Struct({ channel: text }),
  presence_stats: Schema.Struct({ channel: text }),
  history: Schema.Struct({
    channel: text,
    limit: optional(integer(-1).annotations({ description: "Most publications. 0: the position only. -1: all." })),
    since: optional(position),
    reverse: optional(flag)
  }),
  history_remove: Schema.Struct({ channel: text }),
  channels: Schema.Struct({ pattern: optional(text.annotations({ description: "A glob of `*` and `?`." })) }),
  info: empty,
  rpc: Schema.Struct({ method: text, params: Schema.optional(json) })
}

/**
 * What each method answers, but for `batch`.
 *
 * @since 1.0.0
 * @category schemas
 */
export const results = {
  publish: published,
  broadcast: Schema.Struct({ responses: Schema.Array(either(published)) }),
  subscribe: reached,
  unsubscribe: reached,
  disconnect: reached,
  refresh: reached,
  presence: Schema.Struct({ presence: Schema.Record({ key: Schema.String, value: clientInfo }) }),
  presence_stats: Schema.Struct({ num_clients: Schema.Int, num_users: Schema.Int }),
  history: Schema.Struct({
    publications: Schema.Array(publication),
    offset: Schema.Int,
    epoch: Schema.String
  }),
  history_remove: empty,
  channels: Schema.Struct({
    channels: Schema.Record({ key: Schema.String, value: Schema.Struct({ num_clients: Schema.Int }) }),
    missing
  }),
  info: Schema.Struct({ nodes: Schema.Array(node), missing }),
  rpc: Schema.Struct({ data: Schema.optional(json) })
}

/**
 * The methods, but for `batch`.
 *
 * @since 1.0.0
 * @category models
 */
export type MethodName = keyof typeof requests

const commands = Schema.Array(Schema.Record({ key: Schema.String, value: json })).annotations({
  description: "Each has one key, a method, whose value is the method's parameters."
})

const replies = Schema.Array(Schema.Record({ key: Schema.String, value: json })).annotations({
  description: "In the order of the commands: `{method: result}` or `{\"error\": …}`."
})

/**
 * What `batch` takes.
 *
 * @since 1.0.0
 * @category schemas
 */
export const BatchRequest = Schema.Struct({
  commands: Schema.Array(json).annotations({ message: () => "must be an array" }),
  parallel: optional(flag.annotations({ description: "Not one after the other." }))
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
