/**
 * What a JSON Web Token says, as the protocol has it.
 *
 * @since 1.0.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"

/** JSON `null` counts as absent, as some issuers write it. */
const optional = <A, I, R>(schema: Schema.Schema<A, I, R>) => Schema.optionalWith(schema, { nullable: true })

/** Seconds of Unix time, as far as a `Date` reaches. */
const Seconds = Schema.Number.pipe(Schema.between(0, 8.64e12))

const Flag = Schema.transform(Schema.Struct({ value: optional(Schema.Boolean) }), Schema.Boolean, {
  strict: true,
  decode: ({ value }) => value ?? false,
  encode: (value) => ({ value })
})

const Override = Schema.Struct({
  presence: optional(Flag),
  joinLeave: optional(Flag).pipe(Schema.fromKey("join_leave")),
  forcePushJoinLeave: optional(Flag).pipe(Schema.fromKey("force_push_join_leave")),
  forceRecovery: optional(Flag).pipe(Schema.fromKey("force_recovery")),
  forcePositioning: optional(Flag).pipe(Schema.fromKey("force_positioning"))
})

const registered = {
  sub: Schema.optional(Schema.String),
  exp: Schema.optional(Seconds),
  nbf: Schema.optional(Schema.Number),
  iat: Schema.optional(Schema.Number),
  aud: Schema.optional(Schema.Union(Schema.String, Schema.Array(Schema.String))),
  iss: Schema.optional(Schema.String),
  jti: Schema.optional(Schema.String),
  expire_at: optional(Seconds)
}

/**
 * What a token grants of a channel.
 *
 * @internal
 */
export const granted = {
  info: Schema.optional(Schema.Unknown),
  b64info: optional(Schema.String),
  data: Schema.optional(Schema.Unknown),
  b64data: optional(Schema.String),
  override: optional(Override)
}

/** As entries: a record would make a prototype of the channel `__proto__`. */
const Subs = Schema.transform(
  Schema.declare(Predicate.isRecord),
  Schema.Array(Schema.Tuple(Schema.String, Schema.Struct(granted))),
  { strict: false, decode: (subs) => Object.entries(subs), encode: (entries) => Object.fromEntries(entries) }
)

/**
 * Who connects.
 *
 * @internal
 */
export const ConnectionClaims = Schema.Struct({
  ...registered,
  info: Schema.optional(Schema.Unknown),
  b64info: optional(Schema.String),
  meta: Schema.optional(Schema.Unknown),
  channels: optional(Schema.Array(Schema.String)),
  subs: optional(Subs),
  channel: Schema.optionalWith(Schema.Never, { exact: true })
})

/**
 * Who may subscribe, and to what.
 *
 * @internal
 */
export const SubscriptionClaims = Schema.Struct({
  ...registered,
  ...granted,
  channel: Schema.NonEmptyString,
  client: Schema.optional(Schema.String)
})
