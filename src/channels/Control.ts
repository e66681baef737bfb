/**
 * What nodes ask each other, and how it is written: JSON, since they may be of different versions.
 *
 * @since 1.0.0
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

const optional = Schema.optional

/** Of a user's connections; without `client` all of them. */
const target = { user: Schema.String, client: optional(Schema.String) }

const reason = { code: Schema.Int, reason: Schema.String }

const flag = optional(Schema.Boolean)

const node = Schema.Struct({
  uid: Schema.String,
  name: Schema.String,
  version: Schema.String,
  clients: Schema.Number,
  users: Schema.Number,
  channels: Schema.Number,
  subscriptions: Schema.Number,
  uptime: Schema.Number
})

/** Pairs, since any string is the name of a channel and not every string is the key of an object. */
const counts = Schema.Array(Schema.Tuple(Schema.String, Schema.Number))

const never = { failure: Schema.Never }

/** @internal */
export class Info extends Schema.TaggedRequest<Info>()("info", { ...never, success: node, payload: {} }) {}

/** @internal */
export class FindChannels extends Schema.TaggedRequest<FindChannels>()("channels", {
  ...never,
  success: counts,
  payload: { pattern: Schema.String }
}) {}

/** @internal */
export class Disconnect extends Schema.TaggedRequest<Disconnect>()("disconnect", {
  ...never,
  success: Schema.Number,
  payload: { ...target, ...reason, except: Schema.Array(Schema.String) }
}) {}

/** @internal */
export class Unsubscribe extends Schema.TaggedRequest<Unsubscribe>()("unsubscribe", {
  ...never,
  success: Schema.Number,
  payload: { ...target, ...reason, channel: Schema.String }
}) {}

/** @internal */
export class SubscribeUser extends Schema.TaggedRequest<SubscribeUser>()("subscribe", {
  ...never,
  success: Schema.Number,
  payload: {
    ...target,
    channel: Schema.String,
    since: optional(Schema.Struct({ offset: Schema.Number, epoch: Schema.String })),
    info: optional(Schema.Unknown),
    data: optional(Schema.Unknown),
    expireAt: optional(Schema.Number),
    override: optional(Schema.Struct({
      presence: flag,
      joinLeave: flag,
      forcePushJoinLeave: flag,
      forceRecovery: flag,
      forcePositioning: flag
    }))
  }
}) {}

/** @internal */
export class Refresh extends Schema.TaggedRequest<Refresh>()("refresh", {
  ...never,
  success: Schema.Number,
  payload: { ...target, expired: flag, expireAt: optional(Schema.Number), info: optional(Schema.Unknown) }
}) {}

/**
 * `data` is JSON text. Answered with whether the client is there.
 *
 * @internal
 */
export class Send extends Schema.TaggedRequest<Send>()("send", {
  ...never,
  success: Schema.Boolean,
  payload: { client: Schema.String, data: Schema.String }
}) {}

const Request = Schema.Union(Info, FindChannels, Disconnect, Unsubscribe, SubscribeUser, Refresh, Send)

/** @internal */
export type Request = typeof Request.Type

/** One whose answer is an `A`. */
export type RequestOf<A, I> = Request & Schema.WithResult<A, I, never, never, never>

const sentence = (error: ParseResult.ParseError): string =>
  ParseResult.TreeFormatter.formatErrorSync(error).replace(/\s+/g, " ").slice(0, 300)

/** @internal */
export const encodeRequest = Schema.encodeEither(Schema.parseJson(Request))

const parseRequest = Schema.decodeUnknownEither(Schema.parseJson(Request), { onExcessProperty: "error" })

/**
 * A request with a field that this version does not know is not one it can do: leaving the field out could do more than
 * was asked for.
 *
 * @internal
 */
export const decodeRequest = (text: string): Either.Either<Request, string> =>
  Either.mapLeft(parseRequest(text), (error) => `this version does not know the request: ${sentence(error)}`)

/** @internal */
export const encodeAnswer = <A, I>(request: RequestOf<A, I>, answer: A): string =>
  JSON.stringify({ answer: Schema.encodeSync(Schema.successSchema(request))(answer) })

/** @internal */
export const encodeRefusal = (refusal: string): string => JSON.stringify({ refusal })

/**
 * What another node answered, or why it did not do it.
 *
 * @internal
 */
export const decodeAnswer = <A, I>(request: RequestOf<A, I>): (text: string) => Either.Either<A, string> => {
  const parse = Schema.decodeUnknownEither(Schema.parseJson(Schema.Union(
    Schema.Struct({ answer: Schema.successSchema(request) }),
    Schema.Struct({ refusal: Schema.String })
  )))
  return (text) =>
    Either.flatMap(
      Either.mapLeft(parse(text), (error) => `this version does not know the answer: ${sentence(error)}`),
      (found) => "answer" in found ? Either.right(found.answer) : Either.left(found.refusal)
    )
}
