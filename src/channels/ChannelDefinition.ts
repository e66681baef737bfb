/**
 * The definition of typed channels: what is published, what clients send, and the names of the channels.
 *
 * It needs no server, and nothing here imports one: a client uses it too.
 *
 * @since 1.0.0
 */
import * as Data from "effect/Data"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Option from "effect/Option"
import type * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { closed, type Codec, codecOf, explain, unchecked } from "./ChannelCodec.js"
import * as ChannelPattern from "./ChannelPattern.js"
import type { NamespaceOptions, NamespacesOptions } from "./Namespace.js"
import { badRequest, type ProtocolError } from "./ProtocolCode.js"

export type {
  /**
   * How messages become JSON, and come from it.
   *
   * @since 1.0.0
   * @category models
   */
  Codec,
  /**
   * A publication whose data was decoded.
   *
   * @since 1.0.0
   * @category models
   */
  Received
} from "./ChannelCodec.js"

/**
 * A kind of channels: their names, and what goes over them.
 *
 * @since 1.0.0
 * @category models
 */
export interface Channel<in out Params, in out Receive, in out Send = never, in out Join = unknown> {
  readonly pattern: string
  /** The options of its namespace; see {@link namespaces}. */
  readonly options: NamespaceOptions | undefined
  /** The name of a channel. Throws a `RangeError` where {@link Channel.encodeName} is left. */
  readonly name: (params: Params) => string
  /**
   * The name of a channel. Left, with error 107, for what could not be read back from it as it was: a parameter that
   * holds `:`, `#`, `,` or more than ASCII, that holds the text that ends it, or that its schema refuses.
   */
  readonly encodeName: (params: Params) => Either.Either<string, ProtocolError>
  /** Whether a name has the form of the pattern. Its parameters may still be wrong. */
  readonly matches: (name: string) => boolean
  /** The parameters in a name; none if it is not the name of such a channel. */
  readonly match: (name: string) => Option.Option<Params>
  /** As `match`; left, with error 107, for what is not the name that `name` would give. */
  readonly decodeName: (name: string) => Either.Either<Params, ProtocolError>
  /** What subscribers get. */
  readonly receive: Codec<Receive>
  /** What clients publish. */
  readonly send: Codec<Send>
  /** What clients send along when they subscribe. */
  readonly join: Codec<Join>
}

/**
 * What subscribers of a channel get.
 *
 * @since 1.0.0
 * @category models
 */
export type Receive<C> = C extends Channel<infer _Params, infer A, infer _Send, infer _Join> ? A : never

/**
 * What clients publish in a channel.
 *
 * @since 1.0.0
 * @category models
 */
export type Send<C> = C extends Channel<infer _Params, infer _Receive, infer A, infer _Join> ? A : never

/**
 * The parameters of a channel's name.
 *
 * @since 1.0.0
 * @category models
 */
export type Params<C> = C extends Channel<infer A, infer _Receive, infer _Send, infer _Join> ? A : never

/**
 * The schemas of a pattern's parameters: one for each, that encodes to a string.
 *
 * @since 1.0.0
 * @category models
 */
export type ParamSchemas<Pattern extends string> = {
  readonly [Name in ChannelPattern.Names<Pattern>]: Schema.Schema.AnyNoContext
}

/**
 * Holds the schemas of parameters to what they must be, with a type that says what is wrong.
 *
 * @since 1.0.0
 * @category models
 */
export type CheckParams<Pattern extends string, P> = {
  readonly [Name in keyof P]: Name extends ChannelPattern.Names<Pattern>
    ? P[Name] extends Schema.Schema<infer _A, infer I, never>
      ? [I] extends [string] ? P[Name] : "the schema of a parameter encodes to a string"
    : never
    : "the pattern has no such parameter"
}

/**
 * What a channel is defined by, besides its pattern and the schemas of its parameters. Schemas encode to JSON.
 *
 * @since 1.0.0
 * @category models
 */
export interface Options<A, AI, S, SI, J, JI> {
  /** What subscribers get. */
  readonly receive: Schema.Schema<A, AI>
  /** What clients publish. Absent: they publish nothing. */
  readonly send?: Schema.Schema<S, SI> | undefined
  /** What clients send along when they subscribe. Absent: anything. */
  readonly join?: Schema.Schema<J, JI> | undefined
  /** The options of its namespace; see {@link namespaces}. */
  readonly options?: NamespaceOptions | undefined
}

/**
 * Defines channels: a name with parameters in braces, and schemas.
 *
 * A parameter is one or more ASCII characters other than `:`, `#` and `,`; it ends where the text after it first occurs.
 * Throws a `RangeError` for a pattern that cannot be.
 *
 * @example
 * import { Schema } from "effect"
 * import { Channel } from "effect-ws-hub"
 *
 * const Room = Channel.make("chat:room-{id}", {
 *   params: { id: Schema.NumberFromString },
 *   send: Schema.Struct({ text: Schema.NonEmptyString }),
 *   receive: Schema.TaggedStruct("Said", { by: Schema.String, text: Schema.String })
 * })
 *
 * Room.name({ id: 7 }) // "chat:room-7"
 * Room.match("chat:room-7") // Option.some({ id: 7 })
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = <
  const Pattern extends string,
  A,
  AI,
  P extends Readonly<Record<string, Schema.Schema.AnyNoContext>> = {},
  S = never,
  SI = never,
  J = unknown,
  JI = unknown
>(
  pattern: Pattern,
  options: Options<A, AI, S, SI, J, JI> & WithParams<Pattern, P>
): Channel<ParamsOf<Pattern, P>, A, S, J> => {
  type Params = ParamsOf<Pattern, P>
  const shape = ChannelPattern.make(pattern)
  const schemas = (options.params ?? {}) as Readonly<Record<string, Schema.Schema.AnyNoContext>>
  const undeclared = Object.keys(schemas).find((name) => !shape.names.includes(name))
  if (undeclared !== undefined) {
    throw new RangeError(`The channel pattern ${JSON.stringify(pattern)} has no parameter ${undeclared}.`)
  }
  const params = shape.names.map((name) => {
    const schema = schemas[name]
    if (schema === undefined) {
      throw new RangeError(`The channel pattern ${JSON.stringify(pattern)} has no schema for its parameter ${name}.`)
    }
    return {
      name,
      encode: Schema.encodeUnknownEither(schema),
      decode: Schema.decodeUnknownEither(schema),
      same: Schema.equivalence(schema)
    }
  })
  const refused = (name: string) => (error: ParseResult.ParseError) => badRequest(`${name}: ${explain(error)}`)

  const encodeName = (values: Params): Either.Either<string, ProtocolError> =>
    Either.gen(function*() {
      const texts: Array<string> = []
      const given: Readonly<Record<string, unknown>> = values
      for (const { decode, encode, name, same } of params) {
        const value = given[name]
        const text: unknown = yield* Either.mapLeft(encode(value), refused(name))
        if (typeof text !== "string") return yield* Either.left(badRequest(`${name}: it encodes to no string`))
        const again = decode(text)
        if (Either.isLeft(again) || !same(again.right, value)) {
          return yield* Either.left(
            badRequest(`${name}: what is written as ${JSON.stringify(text)} is read as another`)
          )
        }
        texts.push(text)
      }
      return yield* Either.mapLeft(ChannelPattern.write(shape, texts), badRequest)
    })

  const decodeName = (name: string): Either.Either<Params, ProtocolError> =>
    Either.gen(function*() {
      const texts = ChannelPattern.read(shape, name)
      if (texts === undefined) return yield* Either.left(badRequest(`the channel's name is not of the form ${pattern}`))
      const values: Record<string, unknown> = {}
      for (const [at, { decode, encode, name, same }] of params.entries()) {
        const text = texts[at]
        const value: unknown = yield* Either.mapLeft(decode(text), refused(name))
        // Of "7" and "07" one is the name: else there would be two channels of the same parameters. And "NaN" is none.
        const canonical: unknown = yield* Either.mapLeft(encode(value), refused(name))
        if (!same(value, yield* Either.mapLeft(decode(text), refused(name)))) {
          return yield* Either.left(badRequest(`${name}: ${JSON.stringify(text)} is not equal to itself`))
        }
        if (canonical !== text) {
          return yield* Either.left(
            badRequest(`${name}: expected ${JSON.stringify(canonical)}, actual ${JSON.stringify(text)}`)
          )
        }
        values[name] = value
      }
      return values as Params
    })

  return {
    pattern,
    options: options.options,
    name: (values) =>
      Either.getOrThrowWith(encodeName(values), (error) => new RangeError(`${pattern}: ${error.reason}`)),
    encodeName,
    matches: (name) => ChannelPattern.read(shape, name) !== undefined,
    match: (name) => Option.getRight(decodeName(name)),
    decodeName,
    receive: codecOf(options.receive),
    send: options.send === undefined ? closed : codecOf(options.send),
    // Without a schema nothing says what J is, and so it is `unknown`.
    join: options.join === undefined ? unchecked as Codec<J> : codecOf(options.join)
  }
}

/**
 * What a name is made of: nothing, if the pattern has no parameters.
 *
 * @since 1.0.0
 * @category models
 */
export type ParamsOf<Pattern extends string, P> = [ChannelPattern.Names<Pattern>] extends [never]
  ? Readonly<Record<string, never>>
  : { readonly [Name in keyof P]: P[Name] extends Schema.Schema.AnyNoContext ? Schema.Schema.Type<P[Name]> : never }

/**
 * The schemas of the parameters, if the pattern has any.
 *
 * @since 1.0.0
 * @category models
 */
export type WithParams<Pattern extends string, P> = [ChannelPattern.Names<Pattern>] extends [never]
  ? { readonly params?: Readonly<Record<string, "the pattern has no such parameter">> | undefined }
  : { readonly params: P & ParamSchemas<Pattern> & CheckParams<Pattern, P> }

/**
 * The options of namespaces, as the definitions of their channels give them. Throws a `RangeError` if two definitions of
 * one namespace disagree, or if the namespace is itself a parameter.
 *
 * @since 1.0.0
 * @category constructors
 */
export const namespaces = (
  ...channels: ReadonlyArray<{ readonly pattern: string; readonly options: NamespaceOptions | undefined }>
): NamespacesOptions => {
  const found = new Map<string | undefined, NamespaceOptions>()
  for (const { options, pattern } of channels) {
    if (options === undefined) continue
    const [namespace, ...rest] = pattern.replace(/^\$/, "").split(":")
    const key = rest.length === 0 ? undefined : namespace
    if (key?.includes("{")) throw new RangeError(`${pattern}: options are for a namespace, and this one is a parameter`)
    if (!Equal.equals(Data.struct(found.get(key) ?? options), Data.struct(options))) {
      throw new RangeError(`${pattern}: another channel of this namespace has other options`)
    }
    found.set(key, options)
  }
  const withoutNamespace = found.get(undefined)
  found.delete(undefined)
  return { withoutNamespace, namespaces: Object.fromEntries(found) }
}
