/**
 * What the methods of the server API take and answer, as it stands in JSON.
 *
 * @since 1.0.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

const text = Schema.String.annotations({ message: () => "must be a string" })
const flag = Schema.Boolean.annotations({ message: () => "must be true or false" })
/** @internal */
export const json = Schema.Unknown.annotations({ description: "Any JSON value.", jsonSchema: {} })

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

const strings = Schema.Array(text).annotations({
  message: () => ({ message: "must be an array of strings", override: false })
})

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

/**
 * A result, or why there is none.
 *
 * @internal
 */
export const either = <A, I>(result: Schema.Schema<A, I>) =>
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
    channels: strings,
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
    whitelist: optional(strings.annotations({ description: "Connections that stay." })),
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
