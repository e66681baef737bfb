/**
 * Carries publications between nodes, and keeps the streams of channels.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import type { ClientInfo, Publication, StreamPosition } from "./Publication.js"

/**
 * The broker could not do it now. The same call may succeed later.
 *
 * @since 1.0.0
 * @category errors
 */
export class BrokerError extends Data.TaggedError("BrokerError")<{
  readonly operation: string
  readonly cause: unknown
}> {
  override get message() {
    return `The broker failed to ${this.operation}: ${
      this.cause instanceof Error ? this.cause.message : String(this.cause)
    }`
  }
}

/**
 * How much of a channel's stream is kept. `size` 0, or `ttl` 0: the channel has no history. Times are in milliseconds.
 *
 * @since 1.0.0
 * @category models
 */
export interface StreamOptions {
  /** Newest publications that are kept. */
  readonly size: number
  /** Time that publications are kept after the last one. */
  readonly ttl: number
  /** Time that epoch and offset are kept after the last use of the stream; at least `ttl`. */
  readonly metaTtl: number
}

/**
 * One publication for a channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface BrokerPublish {
  /** JSON text. */
  readonly data: string
  readonly info?: ClientInfo | undefined
  readonly tags?: Readonly<Record<string, string>> | undefined
  /** Absent: the channel has no history, or the publication skips it. */
  readonly stream?: StreamOptions | undefined
  /** A second publication with the same key within `idempotencyWindow` is not made; it gets the first one's result. */
  readonly idempotencyKey?: string | undefined
  /** In milliseconds. Defaults to 300000. */
  readonly idempotencyWindow?: number | undefined
  /** Only with a stream: of a state that the publication is the whole of. One that is not newer is not made. */
  readonly version?: Version | undefined
}

/**
 * Which of two states of the same thing is the newer one. Versions are compared within an epoch, which ends when they
 * begin again; without one (empty), with whatever was last.
 *
 * @since 1.0.0
 * @category models
 */
export interface Version {
  /** A whole number above 0. */
  readonly number: number
  readonly epoch: string
}

/**
 * Which part of a stream to read. Without `since` from its oldest publication (its newest if `reverse`); with it, what
 * comes after that offset (before it if `reverse`), whatever its epoch: compare the epoch of the answer.
 *
 * @since 1.0.0
 * @category models
 */
export interface HistoryRequest {
  readonly stream: StreamOptions
  /** Most publications in the answer. 0: none, only the position. Absent: all. */
  readonly limit?: number | undefined
  readonly since?: StreamPosition | undefined
  readonly reverse?: boolean | undefined
}

/**
 * Publications of a stream, and the position of its newest one (offset 0 if there was none yet).
 *
 * @since 1.0.0
 * @category models
 */
export interface History {
  readonly publications: ReadonlyArray<Publication<string>>
  readonly position: StreamPosition
}

/**
 * What a node hears of a channel that it is subscribed to. `epoch` is empty for a publication without an offset.
 *
 * @since 1.0.0
 * @category models
 */
export type BrokerEvent =
  | {
    readonly _tag: "Published"
    readonly channel: string
    readonly publication: Publication<string>
    readonly epoch: string
  }
  | { readonly _tag: "Joined" | "Left"; readonly channel: string; readonly info: ClientInfo }
  /** What was published for a while may not have been heard: positions are to be compared with the stream. */
  | { readonly _tag: "Gap"; readonly channel: string }

/**
 * Carries publications between nodes, and keeps the streams of channels. Its laws, which
 * `BrokerLaws` in `effect-ws-hub/testing` checks for any implementation:
 *
 * 1. All listeners hear the publications of a channel in one order, that of their offsets.
 * 2. Offsets count from 1 without holes; a publication without a stream, or one that was not made, takes none.
 * 3. A stream that was lost (restart, meta TTL, `reset`) has another epoch. Reading a stream that does not exist creates
 *    it, with offset 0.
 * 4. History holds at most `size` publications, none older than `ttl` after the last one; epoch and offset outlive them
 *    by `metaTtl`; where nothing was ever published, for an hour at least, if that is less. Removing history keeps both.
 * 5. A publication with the idempotency key of an earlier one in the same channel, within the window, is not made and
 *    gets the earlier result.
 * 6. From when `subscribe` has completed until `unsubscribe`, and only then, the listener hears of a channel; what is
 *    published after `subscribe` completed is heard, or a `Gap` is.
 * 7. What `publish` returned a position for is in the history that is read afterwards.
 * 8. A publication whose version is not above the last one of its stream, in the same version epoch or none, is not made
 *    and gets the position of the newest. The last version is known for `metaTtl` after it was published, or published in
 *    vain, as long as the stream is not lost, and though its history is removed. An idempotency key is looked at first
 *    (law 5), also one whose publication was not made for its version.
 *
 * @since 1.0.0
 * @category tags
 */
export class Broker extends Context.Tag("effect-ws-hub/Broker")<Broker, {
  /** Publishes; returns the position in the stream, if the publication has one. */
  readonly publish: (
    channel: string,
    publication: BrokerPublish
  ) => Effect.Effect<StreamPosition | undefined, BrokerError>
  /**
   * The same for brokers that are done at once, or wait for another machine: publishes in the order of the calls, without
   * waiting for the answer to the one before, and calls `done` once, now or later. A client's publications are then under
   * way together. Absent: they are made by `publish`, one after the other.
   */
  readonly unsafePublish?:
    | ((
      channel: string,
      publication: BrokerPublish,
      done: (exit: Exit.Exit<StreamPosition | undefined, BrokerError>) => void
    ) => void)
    | undefined
  readonly publishJoin: (channel: string, info: ClientInfo) => Effect.Effect<void, BrokerError>
  readonly publishLeave: (channel: string, info: ClientInfo) => Effect.Effect<void, BrokerError>
  /** Begins to hear of a channel. A node calls it for its first subscriber. */
  readonly subscribe: (channel: string) => Effect.Effect<void, BrokerError>
  /** No longer hears of a channel. A node calls it after its last subscriber. */
  readonly unsubscribe: (channel: string) => Effect.Effect<void, BrokerError>
  readonly history: (channel: string, request: HistoryRequest) => Effect.Effect<History, BrokerError>
  /** Removes the publications; epoch and offset stay. */
  readonly removeHistory: (channel: string) => Effect.Effect<void, BrokerError>
  /**
   * Tells the node's listener of everything in subscribed channels, for as long as the scope lives. The listener returns
   * at once and never throws.
   */
  readonly listen: (listener: (event: BrokerEvent) => void) => Effect.Effect<void, never, Scope.Scope>
}>() {}
