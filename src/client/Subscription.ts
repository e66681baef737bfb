/**
 * What a client has of a channel that it is subscribed to.
 *
 * @since 1.0.0
 */
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { HistoryOptions, HistoryResult } from "../channels/Channels.js"
import type { PresenceStats } from "../channels/Presence.js"
import type { ProtocolError } from "../channels/ProtocolCode.js"
import type { ClientInfo, Publication, StreamPosition } from "../channels/Publication.js"
import type { ConnectionError, Gap, SlowReader, Unanswered, Unsubscribed } from "./ClientError.js"
import type { Token } from "./ClientOptions.js"
import type { Overflow } from "./Reader.js"

/**
 * A publication.
 *
 * @since 1.0.0
 * @category models
 */
export interface Published<out A = unknown> extends Publication<A> {
  readonly _tag: "Published"
}

/**
 * The client was away, and missed nothing: what it missed follows. In cache mode it is the newest publication alone.
 *
 * @since 1.0.0
 * @category models
 */
export interface Recovered {
  readonly _tag: "Recovered"
  /** Where it goes on from. */
  readonly position: StreamPosition | undefined
}

/**
 * What happens in a channel, in order.
 *
 * @since 1.0.0
 * @category models
 */
export type Event<A = unknown> = Published<A> | Recovered | Gap

/**
 * Who came, and who went.
 *
 * @since 1.0.0
 * @category models
 */
export interface Member {
  readonly _tag: "Joined" | "Left"
  readonly info: ClientInfo
}

/**
 * Why there is no subscription, or no longer. A `ProtocolError` is the server's answer to subscribing.
 *
 * @since 1.0.0
 * @category errors
 */
export type SubscribeError = ProtocolError | Unsubscribed | ConnectionError

/**
 * What a request may fail with.
 *
 * @since 1.0.0
 * @category errors
 */
export type RequestError = ProtocolError | Unanswered | ConnectionError

/**
 * What the publications in a history were decoded to.
 *
 * @since 1.0.0
 * @category models
 */
export interface History<out A = unknown> extends HistoryResult {
  readonly publications: ReadonlyArray<Publication<A>>
}

/**
 * A subscription, as one subscriber has it. What comes waits in buffers of its own, from when it was subscribed: one
 * for `events` and `publications` together, and one for `members`. So run one of the first two, and once at a time; a
 * run goes on where the last one stopped.
 *
 * The streams end with the subscriber's scope.
 *
 * @since 1.0.0
 * @category models
 */
export interface Subscription<out A = unknown, in S = unknown, out E = never> {
  readonly channel: string
  /** What the server said when it granted the subscription. */
  readonly data: unknown
  /** Where the channel's stream stood when it was subscribed to, if the channel has positions. */
  readonly position: StreamPosition | undefined
  /** Publications, and what interrupts them. */
  readonly events: Stream.Stream<Event<A>, SubscribeError | SlowReader | E>
  /** The publications alone. Fails where one is missing; a run after that goes on behind the gap. */
  readonly publications: Stream.Stream<Published<A>, SubscribeError | SlowReader | Gap | E>
  /** Who comes and goes, with the option `joinLeave`. There is a `Gap` wherever the client was away. */
  readonly members: Stream.Stream<Member | Gap, SubscribeError | SlowReader>
  /** Publishes, once subscribed. */
  readonly publish: (message: S) => Effect.Effect<void, RequestError | Unsubscribed>
  /** Without `limit` there are no publications, but the position alone. */
  readonly history: (options?: HistoryOptions) => Effect.Effect<History<A>, RequestError | Unsubscribed | E>
  /** Who is subscribed, by client. */
  readonly presence: Effect.Effect<ReadonlyMap<string, ClientInfo>, RequestError | Unsubscribed>
  readonly presenceStats: Effect.Effect<PresenceStats, RequestError | Unsubscribed>
}

/**
 * How one subscriber reads.
 *
 * @since 1.0.0
 * @category models
 */
export interface ReadOptions {
  /** How many events may wait to be read, at least 1. Defaults to that of the client, 1024. */
  readonly bufferSize?: number | undefined
  /** What becomes of an event when as many wait. Defaults to `fail`. */
  readonly overflow?: Overflow | undefined
  /** Whether to hear who joins and leaves; the channel must have it. Defaults to `false`. */
  readonly joinLeave?: boolean | undefined
}

/**
 * How a channel is subscribed to.
 *
 * Subscribers of one channel share one subscription on the wire. What the first of them asked for holds; another that
 * asks for what the first did not is refused with 105. Of `token` and `getToken` those of the first are used: who has a
 * `getToken` is refused only where the first has a `token` alone, which nobody could renew.
 *
 * @since 1.0.0
 * @category models
 */
export interface SubscribeOptions<E = never, R = never> extends ReadOptions {
  /** The first token for the channel. */
  readonly token?: Token | undefined
  /**
   * A new token for the channel, as `getToken` of the client. It is interrupted when the last subscriber has left.
   */
  readonly getToken?: Effect.Effect<Token, E, R> | undefined
  /** Any JSON for the server, but `null`, `false`, `0` and `""`, which the SDK leaves out: 107. */
  readonly data?: unknown
  /** Subscribes from here: what came after it follows `Recovered`, or there is a `Gap`. */
  readonly since?: StreamPosition | undefined
  /** Asks for recovery, where the channel has it for those who ask. Defaults to `false`. */
  readonly recoverable?: boolean | undefined
  /** Asks to be told of a missing publication, where the channel has it for those who ask. Defaults to `false`. */
  readonly positioned?: boolean | undefined
  /** The shortest pause between attempts to subscribe; it grows. Defaults to 500 milliseconds. */
  readonly minResubscribeDelay?: Duration.DurationInput | undefined
  /** The longest one. Defaults to 20 seconds. */
  readonly maxResubscribeDelay?: Duration.DurationInput | undefined
}
