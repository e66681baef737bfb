/**
 * Typed channels: one definition for what is published, what clients send, and the names of the channels.
 *
 * The definition needs no server: a client uses it too. What is published through it, or goes through its handler, is
 * checked; `Channels.publish` by name is not.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import * as Chunk from "effect/Chunk"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import { Disconnect } from "../core/HubError.js"
import type { Grant } from "./Authenticator.js"
import * as ChannelPattern from "./ChannelPattern.js"
import type { Caller, HistoryOptions, HistoryResult, PublishOptions } from "./Channels.js"
import { Channels } from "./Channels.js"
import type { NamespaceOptions, NamespacesOptions } from "./Namespace.js"
import { badRequest, errors, ProtocolError } from "./ProtocolCode.js"
import type { Publication, StreamPosition } from "./Publication.js"

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
 * A publication whose data was decoded.
 *
 * @since 1.0.0
 * @category models
 */
export interface Received<out A> extends Publication {
  readonly data: A
}

/**
 * Publications whose data was decoded, and the position of the newest one in the channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface History<out A> extends HistoryResult {
  readonly publications: ReadonlyArray<Received<A>>
}

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

/** The longest sentence about wrong data that is sent back. */
const longestReason = 400

/** The first thing that is wrong, in one line. */
const explain = (error: ParseResult.ParseError): string => {
  const [issue] = ParseResult.ArrayFormatter.formatErrorSync(error)
  if (issue === undefined) return "the data is not as expected"
  const text = issue.path.length === 0 ? issue.message : `${issue.path.map(String).join(".")}: ${issue.message}`
  const line = text.replace(/\s+/g, " ")
  return line.length > longestReason ? `${line.slice(0, longestReason)}…` : line
}

const refuse = (error: ParseResult.ParseError): ProtocolError => badRequest(explain(error))

const codecOf = <A, I>(schema: Schema.Schema<A, I>): Codec<A> => {
  const encode = Schema.encodeEither(schema)
  const decode = Schema.decodeUnknownEither(schema)
  return {
    encode: (message) => Either.mapLeft(encode(message), refuse),
    decode: (data) => Either.mapLeft(decode(data), refuse)
  }
}

/** Anything, as it is. */
const unchecked = codecOf(Schema.Unknown)

/** Nothing at all. */
const closed = {
  encode: () => Either.left(errors.permissionDenied),
  decode: () => Either.left(errors.permissionDenied)
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
): Channel<{ readonly [Name in keyof P]: Schema.Schema.Type<P[Name]> }, A, S, J> => {
  type Params = { readonly [Name in keyof P]: Schema.Schema.Type<P[Name]> }
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
      for (const { decode, encode, name, same } of params) {
        const value: unknown = values[name]
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
      for (const [at, { decode, encode, name }] of params.entries()) {
        const text = texts[at]
        const value: unknown = yield* Either.mapLeft(decode(text), refused(name))
        // Of "7" and "07" one is the name: else there would be two channels of the same parameters.
        const canonical: unknown = yield* Either.mapLeft(encode(value), refused(name))
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
    join: options.join === undefined ? unchecked as Codec<unknown> as Codec<J> : codecOf(options.join)
  }
}

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

/**
 * Publishes a message. Returns its position, if the channel has history. Fails with 107 for a message that its schema
 * refuses, and for parameters that make no name.
 *
 * @since 1.0.0
 * @category combinators
 */
export const publish = <P, A, S, J>(
  channel: Channel<P, A, S, J>,
  params: NoInfer<P>,
  message: NoInfer<A>,
  options?: PublishOptions
): Effect.Effect<Option.Option<StreamPosition>, ProtocolError, Channels> =>
  Effect.gen(function*() {
    const name = yield* channel.encodeName(params)
    const data = yield* channel.receive.encode(message)
    const channels = yield* Channels
    return yield* channels.publish(name, data, options)
  })

const received =
  <A>(channel: { readonly receive: Codec<A> }) =>
  (publication: Publication): Either.Either<Received<A>, ProtocolError> =>
    Either.map(channel.receive.decode(publication.data), (data) => ({ ...publication, data }))

/**
 * The publications of a channel from when the stream runs, or all after `since`. Fails with 107 at one that is not as
 * the definition says: someone published it by name.
 *
 * @since 1.0.0
 * @category combinators
 */
export const subscribe = <P, A, S, J>(
  channel: Channel<P, A, S, J>,
  params: NoInfer<P>,
  options?: { readonly since?: StreamPosition | undefined }
): Stream.Stream<Received<A>, ProtocolError, Channels> =>
  Stream.unwrap(Effect.gen(function*() {
    const name = yield* channel.encodeName(params)
    const channels = yield* Channels
    return Stream.mapEffect(channels.subscribe(name, options), received(channel))
  }))

/**
 * The history of a channel. Fails as {@link subscribe} does.
 *
 * @since 1.0.0
 * @category combinators
 */
export const history = <P, A, S, J>(
  channel: Channel<P, A, S, J>,
  params: NoInfer<P>,
  options?: HistoryOptions
): Effect.Effect<History<A>, ProtocolError, Channels> =>
  Effect.gen(function*() {
    const name = yield* channel.encodeName(params)
    const channels = yield* Channels
    const result = yield* channels.history(name, options)
    return { ...result, publications: yield* Either.all(result.publications.map(received(channel))) }
  })

/**
 * What a client asks of a channel: who it is, and which channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface Request<out P> {
  /** The channel's name. */
  readonly channel: string
  readonly params: P
  readonly caller: Caller
}

/**
 * What an application does for the clients of a channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface Handlers<P, A, S, J, E, R, E1, R1> {
  /**
   * Grants a subscription, or fails to refuse it. A `Scope` that it requires is the connection's, so what it acquires is
   * released when the client is gone; unsubscribing releases nothing.
   */
  readonly join: (request: Request<P> & { readonly data: J }) => Effect.Effect<Grant | void, E, R>
  /**
   * Takes a client's message, and says what to publish for it, if anything. A `Scope` that it requires closes when it is
   * done. Absent: clients publish nothing, error 103.
   */
  readonly handle?:
    | ((request: Request<P> & { readonly message: S }) => Effect.Effect<A | void, E1, R1>)
    | undefined
  /** What a failure is for the client. `ProtocolError` and `Disconnect` need none. */
  readonly onError?:
    | ((error: Exclude<E | E1, ProtocolError | Disconnect>) => ProtocolError | Disconnect)
    | undefined
}

/**
 * Asks for `onError` where there is something to map.
 *
 * @since 1.0.0
 * @category models
 */
export type NeedsOnError<E> = [Exclude<E, ProtocolError | Disconnect>] extends [never] ? unknown
  : { readonly onError: {} }

/**
 * Serves the clients of a channel, for as long as the layer lives.
 *
 * While it does, it decides about every channel whose name has the form of the pattern, instead of the namespace's
 * `allow…` options. Parameters, the data of a subscription and messages are decoded before; what is wrong is error 107.
 * The handlers run in the fiber that serves the connection, and are interrupted with it. Their services come from the
 * layer. A defect is logged, and is error 100.
 *
 * @since 1.0.0
 * @category layers
 */
export const handler = <P, A, S, J, E = never, R = never, E1 = never, R1 = never>(
  channel: Channel<P, A, S, J>,
  handlers: Handlers<P, NoInfer<A>, S, J, E, R, E1, R1> & NeedsOnError<E | E1>
): Layer.Layer<never, never, Channels | Exclude<R | R1, Scope.Scope>> =>
  Layer.scopedDiscard(Effect.gen(function*() {
    const channels = yield* Channels
    const { handle, join, onError }: Handlers<P, A, S, J, E, R, E1, R1> = handlers
    // What runs for a client is no part of the span that the layer was built in.
    const context = Context.omit(Tracer.ParentSpan)(
      (yield* Effect.context<Exclude<R | R1, Scope.Scope>>()) as Context.Context<Tracer.ParentSpan>
    )

    const onFailure = (error: E | E1): Effect.Effect<never, ProtocolError | Disconnect> =>
      error instanceof ProtocolError || error instanceof Disconnect
        ? Effect.fail(error)
        : onError === undefined
        ? Effect.die(error)
        : Effect.suspend(() => Effect.fail(onError(error as Exclude<E | E1, ProtocolError | Disconnect>)))

    const run = <B>(
      name: string,
      scope: Scope.Scope | undefined,
      effect: () => Effect.Effect<B, E | E1, R | R1>
    ): Effect.Effect<B, ProtocolError | Disconnect> =>
      Effect.scopedWith((own) =>
        effect().pipe(
          Effect.catchAll(onFailure),
          Effect.provide(Context.add(context, Scope.Scope, scope ?? own) as Context.Context<R | R1>)
        )
      ).pipe(Effect.catchAllCause((cause) =>
        Chunk.isEmpty(Cause.defects(cause))
          ? Effect.failCause(cause)
          : Effect.logError("The handler of a channel failed; the client gets error 100", cause).pipe(
            Effect.annotateLogs({ package: "effect-ws-hub", channel: name }),
            Effect.zipRight(Effect.fail(errors.internal))
          )
      ))

    yield* channels.register({
      matches: channel.matches,
      subscribe: ({ caller, channel: name, data: raw }) =>
        Effect.gen(function*() {
          const params = yield* channel.decodeName(name)
          const data = yield* channel.join.decode(raw)
          const grant = yield* run(
            name,
            caller.connection?.scope,
            () => join({ channel: name, params, caller, data })
          )
          return grant ?? {}
        }),
      publish: ({ caller, channel: name, data }) =>
        Effect.gen(function*() {
          if (handle === undefined) return yield* errors.permissionDenied
          const params = yield* channel.decodeName(name)
          const message = yield* channel.send.decode(data)
          return yield* run(name, undefined, () =>
            Effect.flatMap(handle({ channel: name, params, caller, message }), (answer) =>
              answer === undefined
                ? Effect.succeedNone
                // What the handler yields is its own affair: the client did nothing wrong.
                : Effect.map(Effect.orDie(channel.receive.encode(answer)), Option.some)))
        })
    })
  }))
