/**
 * Typed channels for a client: the definition that the server serves decodes what comes, and encodes what goes.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Channel, Codec } from "../channels/ChannelDefinition.js"
import type { HistoryOptions } from "../channels/Channels.js"
import type { Publication } from "../channels/Publication.js"
import { Client } from "./Client.js"
import { type Gap, Malformed, type SlowReader } from "./ClientError.js"
import { publicationsOf } from "./Subscribing.js"
import type {
  Event,
  History,
  Published,
  RequestError,
  SubscribeError,
  SubscribeOptions,
  Subscription
} from "./Subscription.js"

/**
 * What becomes of a publication that is not as the definition says: the stream fails with `Malformed`, or it is skipped
 * with a warning in the log.
 *
 * @since 1.0.0
 * @category models
 */
export interface DecodeOptions {
  /** Defaults to `fail`. */
  readonly malformed?: "fail" | "skip" | undefined
}

/**
 * How a typed channel is subscribed to: `data` is what its definition calls `join`.
 *
 * @since 1.0.0
 * @category models
 */
export type Options<J, E = never, R = never> =
  & Omit<SubscribeOptions<E, R>, "data">
  & DecodeOptions
  & (unknown extends J ? { readonly data?: J } : { readonly data: J })

/**
 * The options, which may be left out where the definition has no `join`.
 *
 * @since 1.0.0
 * @category models
 */
export type OptionsArgs<J, E, R> = unknown extends J ? [options?: Options<J, E, R>] : [options: Options<J, E, R>]

type Decode<A> = (publication: Publication) => Effect.Effect<Option.Option<Publication<A>>, Malformed>

const decoder = <A>(
  { receive }: { readonly receive: Codec<A> },
  name: string,
  { malformed = "fail" }: DecodeOptions
): Decode<A> =>
(publication) =>
  Either.match(receive.decode(publication.data), {
    onRight: (data) => Effect.succeedSome({ ...publication, data }),
    onLeft: ({ detail, reason }) => {
      const error = new Malformed({ channel: name, publication, reason: detail ?? reason })
      return malformed === "fail"
        ? Effect.fail(error)
        : Effect.as(
          Effect.annotateLogs(Effect.logWarning(error.message), { package: "effect-ws-hub" }),
          Option.none()
        )
    }
  })

const decodeEvent = <A>(decode: Decode<A>) => (event: Event): Effect.Effect<Option.Option<Event<A>>, Malformed> =>
  event._tag === "Published"
    ? Effect.map(decode(event), Option.map((publication) => ({ ...publication, _tag: "Published" as const })))
    : Effect.succeedSome(event)

const decodeHistory = <A>(decode: Decode<A>) => (history: History): Effect.Effect<History<A>, Malformed> =>
  Effect.map(
    Effect.forEach(history.publications, decode),
    (publications) => ({ ...history, publications: publications.flatMap(Option.toArray) })
  )

/**
 * Subscribes to a channel; see `subscribe` of the client. Fails with 107 for parameters that make no name, and for a
 * `join` that its schema refuses.
 *
 * @since 1.0.0
 * @category combinators
 */
export const subscribe = <P, A, S, J, E = never, R = never>(
  channel: Channel<P, A, S, J>,
  params: NoInfer<P>,
  ...[options]: OptionsArgs<NoInfer<J>, E, R>
): Effect.Effect<
  Subscription<A, S, Malformed>,
  SubscribeError,
  Client | Scope.Scope | Exclude<R, Scope.Scope>
> =>
  Effect.gen(function*() {
    const client = yield* Client
    const name = yield* channel.encodeName(params)
    const { data: join, malformed, ...rest }: Partial<Options<J, E, R>> = options ?? {}
    const data = join === undefined ? undefined : yield* channel.join.encode(join)
    const subscription = yield* client.subscribe<E, R>(name, { ...rest, data })
    const decode = decoder(channel, name, { malformed })
    const events = subscription.events.pipe(
      Stream.mapEffect(decodeEvent(decode)),
      Stream.filterMap((event) => event)
    )
    return {
      ...subscription,
      events,
      publications: publicationsOf(events),
      publish: (message) => Effect.flatMap(channel.send.encode(message), subscription.publish),
      history: (options) => Effect.flatMap(subscription.history(options), decodeHistory(decode))
    }
  })

/**
 * The publications of a channel, from when the stream is subscribed. Fails where one is missing.
 *
 * @since 1.0.0
 * @category combinators
 */
export const stream = <P, A, S, J, E = never, R = never>(
  channel: Channel<P, A, S, J>,
  params: NoInfer<P>,
  ...options: OptionsArgs<NoInfer<J>, E, R>
): Stream.Stream<
  Published<A>,
  SubscribeError | SlowReader | Gap | Malformed,
  Client | Exclude<R, Scope.Scope>
> =>
  Stream.unwrapScoped(
    Effect.map(subscribe<P, A, S, J, E, R>(channel, params, ...options), ({ publications }) => publications)
  )

/**
 * Publishes a message. Fails with 107 for a message that its schema refuses, and with 103 if the definition lets clients
 * publish nothing, or the server takes messages of subscribers only.
 *
 * @since 1.0.0
 * @category combinators
 */
export const publish = <P, A, S, J>(
  channel: Channel<P, A, S, J>,
  params: NoInfer<P>,
  message: NoInfer<S>
): Effect.Effect<void, RequestError, Client> =>
  Effect.gen(function*() {
    const client = yield* Client
    yield* client.publish(yield* channel.encodeName(params), yield* channel.send.encode(message))
  })

/**
 * The history of a channel. Without `limit` there are no publications, but the position alone.
 *
 * @since 1.0.0
 * @category combinators
 */
export const history = <P, A, S, J>(
  channel: Channel<P, A, S, J>,
  params: NoInfer<P>,
  options?: HistoryOptions & DecodeOptions
): Effect.Effect<History<A>, RequestError | Malformed, Client> =>
  Effect.gen(function*() {
    const client = yield* Client
    const name = yield* channel.encodeName(params)
    return yield* decodeHistory(decoder(channel, name, options ?? {}))(yield* client.history(name, options))
  })
