/**
 * How the messages of typed channels become JSON, and come from it.
 *
 * @since 1.0.0
 */
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { badRequest, errors, type ProtocolError } from "./ProtocolCode.js"
import type { Publication } from "./Publication.js"

/**
 * How messages become JSON, and come from it. What is left is error 107, with a sentence that says what is wrong.
 *
 * @since 1.0.0
 * @category models
 */
export interface Codec<in out A> {
  readonly encode: (message: A) => Either.Either<unknown, ProtocolError>
  readonly decode: (data: unknown) => Either.Either<A, ProtocolError>
}

/**
 * A publication whose data was decoded.
 *
 * @since 1.0.0
 * @category models
 */
export interface Received<out A> extends Publication {
  readonly data: A
}

/** The longest sentence about wrong data that is sent back. */
const longestReason = 400

/**
 * The first thing that is wrong, in one line.
 *
 * @internal
 */
export const explain = (error: ParseResult.ParseError): string => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  if (issue === undefined) return "the data is not as expected"
  const text = issue.path.length === 0 ? issue.message : `${issue.path.map(String).join(".")}: ${issue.message}`
  const line = text.replace(/\s+/g, " ")
  return line.length > longestReason ? `${line.slice(0, longestReason)}…` : line
}

const refuse = (error: ParseResult.ParseError): ProtocolError => badRequest(explain(error))

/** @internal */
export const codecOf = <A, I>(schema: Schema.Schema<A, I>): Codec<A> => {
  const encode = Schema.encodeEither(schema)
  const decode = Schema.decodeUnknownEither(schema)
  return {
    encode: (message) => Either.mapLeft(encode(message), refuse),
    decode: (data) => Either.mapLeft(decode(data), refuse)
  }
}

/**
 * Anything, as it is.
 *
 * @internal
 */
export const unchecked: Codec<unknown> = codecOf(Schema.Unknown)

/**
 * Nothing at all.
 *
 * @internal
 */
export const closed = {
  encode: () => Either.left(errors.permissionDenied),
  decode: () => Either.left(errors.permissionDenied)
}

/**
 * A publication whose data has the type that it should have.
 *
 * @internal
 */
export const received =
  <A>(channel: { readonly receive: Codec<A> }) =>
  (publication: Publication): Either.Either<Received<A>, ProtocolError> =>
    Either.map(channel.receive.decode(publication.data), (data) => ({ ...publication, data }))
