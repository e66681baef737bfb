/**
 * Channels: what an application uses, and what clients of the protocol are served by.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { CloseWords } from "../core/CloseReason.js"
import type { Connection } from "../core/Connection.js"
import type { Disconnect } from "../core/HubError.js"
import type { ChannelsResult, Counted, InfoResult, SendResult } from "./Answered.js"
import type { Grant } from "./Authenticator.js"
import type { PresenceStats } from "./Presence.js"
import { disconnects, type ProtocolError, type Unsubscribe } from "./ProtocolCode.js"
import type { ClientInfo, Publication, StreamPosition } from "./Publication.js"

/**
 * What `publish` takes besides the data.
 *
 * @since 1.0.0
 * @category models
 */
export interface PublishOptions {
  readonly tags?: Readonly<Record<string, string>> | undefined
  /**
   * The same key again within five minutes publishes nothing, and gets the first one's position. In a `coalesceWindow`
   * such a publication is not joined with others, and has no position.
   */
  readonly idempotencyKey?: string | undefined
  /** Not kept, and without an offset. In a `coalesceWindow` it replaces only others that skip the history. */
  readonly skipHistory?: boolean | undefined
  /**
   * A whole number above 0, of a state that the data are the whole of: if the channel's last version is not older,
   * nothing is published, and the position is that of the newest publication. Only with history and without a
   * `coalesceWindow`; else 108.
   */
  readonly version?: number | undefined
  /** Versions are compared with others of the same epoch only, so that they may begin again. Absent: with any. */
  readonly versionEpoch?: string | undefined
}

/**
 * Which part of a channel's history to read; see `HistoryRequest` of the broker. `limit` absent: all, up to the
 * server's own limit; for a client, none.
 *
 * @since 1.0.0
 * @category models
 */
export interface HistoryOptions {
  readonly limit?: number | undefined
  readonly since?: StreamPosition | undefined
  readonly reverse?: boolean | undefined
}

/**
 * Publications, and the position of the newest one in the channel.
 *
 * @since 1.0.0
 * @category models
 */
export interface HistoryResult extends StreamPosition {
  readonly publications: ReadonlyArray<Publication>
}

/**
 * Who calls: a connected client.
 *
 * @since 1.0.0
 * @category models
 */
export interface Caller {
  /** Its connection's id in the protocol. */
  readonly client: string
  /** Empty for an anonymous user. */
  readonly user: string
  readonly info: unknown
  readonly meta: unknown
  /** Absent for a call by the server API. */
  readonly connection: Connection | undefined
}

/** What a client asks of a channel. */
interface Asked {
  readonly channel: string
  readonly data: unknown
  readonly caller: Caller
}

/**
 * Code of the application for some channels. While it is registered, it decides about them instead of the namespace's
 * `allow…` options.
 *
 * @since 1.0.0
 * @category models
 */
export interface ChannelHandler {
  /** Whether it is for this channel. */
  readonly matches: (channel: string) => boolean
  /**
   * Grants or refuses a subscription that came without a token. The scope closes when that ends, or is refused. What else
   * the client is subscribed to may be changed meanwhile; a change of the same channel waits until this is decided.
   */
  readonly subscribe: (
    request: Asked & { readonly scope: Scope.Scope }
  ) => Effect.Effect<Grant, ProtocolError | Disconnect>
  /** Says what to publish for a client's publication, be it subscribed or not; none: nothing, it has been dealt with. */
  readonly publish: (
    request: Asked & { readonly isSubscriber: boolean }
  ) => Effect.Effect<Option.Option<unknown>, ProtocolError | Disconnect>
}

/**
 * Which of a user's connections are meant. Absent: all.
 *
 * @since 1.0.0
 * @category models
 */
export interface Target {
  readonly client?: string | undefined
}

/**
 * How a user's connections are subscribed by the server.
 *
 * @since 1.0.0
 * @category models
 */
export interface SubscribeUserOptions extends Target, Grant {
  readonly recoverSince?: StreamPosition | undefined
}

/**
 * What all nodes together answer.
 *
 * @since 1.0.0
 * @category models
 */
export * from "./Answered.js"

/**
 * Channels. Every operation on a channel fails with 102 if its namespace is not configured, 107 if its name cannot be,
 * and 100 if the broker fails.
 *
 * What concerns connections (`disconnect`, `unsubscribe`, `subscribeUser`, `refresh`, `channels`, `info`, `send`) is done
 * on this node and asked of the others that the `Cluster` knows. This node's part is always done; the answer says
 * whose is missing. With `client` the others are asked only if it is not a client of this node.
 *
 * @since 1.0.0
 * @category tags
 */
export class Channels extends Context.Tag("effect-ws-hub/Channels")<Channels, {
  /** Publishes JSON data. Returns its position, if the channel has history. Fails with 107 if it is not JSON. */
  readonly publish: (
    channel: string,
    data: unknown,
    options?: PublishOptions
  ) => Effect.Effect<Option.Option<StreamPosition>, ProtocolError>
  /** Publishes the same data to many channels. Results are in the order of the channels. */
  readonly broadcast: (
    channels: ReadonlyArray<string>,
    data: unknown,
    options?: PublishOptions
  ) => Effect.Effect<ReadonlyArray<Either.Either<Option.Option<StreamPosition>, ProtocolError>>, ProtocolError>
  /**
   * The publications of a channel from when the stream runs, or all after `since`, until the service ends. Fails with 112
   * if what came after `since` is no longer known, if the reader falls more than 4096 publications behind, or if the
   * broker lost some on the way, whether the channel has a history or not.
   */
  readonly subscribe: (
    channel: string,
    options?: { readonly since?: StreamPosition | undefined }
  ) => Stream.Stream<Publication, ProtocolError>
  /** Fails with 108 if the channel has no history, and with 112 if `since` names another epoch. */
  readonly history: (channel: string, options?: HistoryOptions) => Effect.Effect<HistoryResult, ProtocolError>
  readonly removeHistory: (channel: string) => Effect.Effect<void, ProtocolError>
  /** Who is subscribed, by client. Fails with 108 if the channel has no presence. */
  readonly presence: (channel: string) => Effect.Effect<ReadonlyMap<string, ClientInfo>, ProtocolError>
  readonly presenceStats: (channel: string) => Effect.Effect<PresenceStats, ProtocolError>
  /** Closes a user's connections, with 3503 unless told otherwise. Counts those that were open. */
  readonly disconnect: (
    user: string,
    options?: Target & {
      /** Clients that stay. */
      readonly except?: ReadonlyArray<string> | undefined
      readonly disconnect?: Disconnect | undefined
    }
  ) => Effect.Effect<Counted>
  /** Takes a subscription from a user's connections. Counts those that had it. */
  readonly unsubscribe: (
    user: string,
    channel: string,
    options?: Target & { readonly unsubscribe?: Unsubscribe | undefined }
  ) => Effect.Effect<Counted, ProtocolError>
  /** Subscribes a user's connections to a channel. Counts those that there were. Fails with 110 if it has expired. */
  readonly subscribeUser: (
    user: string,
    channel: string,
    options?: SubscribeUserOptions
  ) => Effect.Effect<Counted, ProtocolError>
  /** Changes when a user's connections expire (seconds of Unix time; absent: never), or closes them as expired. */
  readonly refresh: (
    user: string,
    options?: Target & {
      readonly expired?: boolean | undefined
      readonly expireAt?: number | undefined
      readonly info?: unknown
    }
  ) => Effect.Effect<Counted>
  /** Channels with subscribers, and how many; `pattern` is a glob (`*`, `?`). The answer is as long as there are. */
  readonly channels: (pattern?: string) => Effect.Effect<ChannelsResult>
  /** The nodes, and what is on each. */
  readonly info: Effect.Effect<InfoResult>
  /**
   * Answers calls of a method, for as long as the scope lives. The newest registration of a name answers. Interrupted
   * when the caller's socket is gone. A `Scope` that the handler requires closes when it has answered; the scope of the
   * registration waits at its end, for two seconds, for calls that are under way.
   */
  readonly rpc: <R>(
    method: string,
    handler: (data: unknown, caller: Caller) => Effect.Effect<unknown, ProtocolError | Disconnect, R>
  ) => Effect.Effect<void, never, Exclude<R, Scope.Scope> | Scope.Scope>
  /** Calls a method as the server API does: error 104 if nobody answers it. */
  readonly call: (method: string, data: unknown, caller?: Caller) => Effect.Effect<unknown, ProtocolError | Disconnect>
  /**
   * Takes what clients `send`, for as long as the scope lives. Without one, a client that sends is closed with 3508.
   * Scopes are as for `rpc`.
   */
  readonly onMessage: <R>(
    handler: (data: unknown, caller: Caller) => Effect.Effect<void, ProtocolError | Disconnect, R>
  ) => Effect.Effect<void, never, Exclude<R, Scope.Scope> | Scope.Scope>
  /** Sends JSON data to one client, outside of channels. Fails with 107 if it is not JSON, or more than `outboxBytes` less 1 KiB. */
  readonly send: (client: string, data: unknown) => Effect.Effect<SendResult, ProtocolError>
  /**
   * Registers code for some channels, for as long as the scope lives. The newest one that matches decides. After the last
   * its channels are not open to all: clients are told to try again (100), until the same `matches` is registered anew.
   * Each `matches` is remembered for as long as the channels live: define channels once, not for each registration.
   */
  readonly register: (handler: ChannelHandler) => Effect.Effect<void, never, Scope.Scope>
  /** Serves one connection of the hub: the handler to mount. */
  readonly serve: (connection: Connection) => Effect.Effect<void, Disconnect>
}>() {}

/**
 * What a mount serves channels with: `NodeUpgrade.layer("/connection/websocket", Channels.mount)`. Ends that the hub decides
 * have the protocol's codes. Who asks for Protobuf is refused with 400, or closed with 3506 if its URL does.
 *
 * @since 1.0.0
 * @category constructors
 */
export const mount: {
  readonly handler: (connection: Connection) => Effect.Effect<void, Disconnect, Channels>
  readonly closeWith: CloseWords
  readonly subprotocols: ReadonlyArray<string>
} = {
  handler: (connection) => Effect.flatMap(Channels, (channels) => channels.serve(connection)),
  closeWith: {
    handlerFailure: disconnects.internal,
    heartbeat: disconnects.noPong,
    slowConsumer: disconnects.slow,
    rateLimit: disconnects.tooManyRequests,
    drain: disconnects.shutdown
  },
  subprotocols: ["centrifuge-json"]
}
