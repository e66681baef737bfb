/**
 * Typed channels: one definition for what is published, what clients send, and the names of the channels; what an
 * application does over it; and the layer that serves its clients.
 *
 * What is published through the definition, or goes through its handler, is checked; `Channels.publish` by name is not.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { type Received, received } from "./ChannelCodec.js"
import type { Channel } from "./ChannelDefinition.js"
import { Channels, type HistoryOptions, type HistoryResult, type PublishOptions } from "./Channels.js"
import type { ProtocolError } from "./ProtocolCode.js"
import type { StreamPosition } from "./Publication.js"

/**
 * The definition, which a client uses too.
 *
 * @since 1.0.0
 * @category models
 */
export * from "./ChannelDefinition.js"

/**
 * The layer that serves clients.
 *
 * @since 1.0.0
 * @category layers
 */
export * from "./ChannelHandler.js"

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
