/**
 * The client of a hub, over the official SDK: connected for as long as its scope is open.
 *
 * @since 1.0.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import * as Subscribable from "effect/Subscribable"
import type { HistoryOptions } from "../channels/Channels.js"
import type { PresenceStats } from "../channels/Presence.js"
import type { ClientInfo } from "../channels/Publication.js"
import { ConnectionError, type SlowReader } from "./ClientError.js"
import type { ClientOptions } from "./ClientOptions.js"
import { type ClientState, type Connected, Connection } from "./Connection.js"
import { tokens } from "./Sdk.js"
import { requests, Subscriptions } from "./Subscribing.js"
import type { History, RequestError, SubscribeError, SubscribeOptions, Subscription } from "./Subscription.js"

/**
 * A client. Requests wait until it is connected, for as long as requests may take.
 *
 * @since 1.0.0
 * @category tags
 */
export class Client extends Context.Tag("effect-ws-hub/Client")<Client, {
  /** Its state, and the changes of it: the present one first, and none after `Disconnected`. */
  readonly state: Subscribable.Subscribable<ClientState>
  /** Waits until it is connected. Fails once it is disconnected for good. */
  readonly connected: Effect.Effect<Connected, ConnectionError>
  /**
   * Subscribes, and waits until it is done. The subscription lasts as long as the scope, and on the wire as long as the
   * last subscriber of the channel.
   */
  readonly subscribe: <E = never, R = never>(
    channel: string,
    options?: SubscribeOptions<E, R>
  ) => Effect.Effect<Subscription, SubscribeError, Scope.Scope | Exclude<R, Scope.Scope>>
  readonly publish: (channel: string, data: unknown) => Effect.Effect<void, RequestError>
  /** Without `limit` there are no publications, but the position alone. */
  readonly history: (channel: string, options?: HistoryOptions) => Effect.Effect<History, RequestError>
  /** Who is subscribed, by client. */
  readonly presence: (channel: string) => Effect.Effect<ReadonlyMap<string, ClientInfo>, RequestError>
  readonly presenceStats: (channel: string) => Effect.Effect<PresenceStats, RequestError>
  /** Calls a method of the server. */
  readonly rpc: (method: string, data?: unknown) => Effect.Effect<unknown, RequestError>
  /** Sends something that has no answer. */
  readonly send: (data: unknown) => Effect.Effect<void, RequestError>
  /** What the server sends to this client outside of channels, from when the stream runs. */
  readonly messages: Stream.Stream<unknown, SlowReader | ConnectionError>
}>() {}

/**
 * A client that begins to connect, and goes on trying, until its scope closes. Closing it disconnects, and waits for
 * nothing. Fails with code 12 for options that no attempt can succeed with: a malformed `url`, `data` that is not sent.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = <E = never, R = never>(
  options: ClientOptions<E, R>
): Effect.Effect<Client["Type"], ConnectionError, Scope.Scope | Exclude<R, Scope.Scope>> =>
  Effect.gen(function*() {
    const { getToken, ...rest } = options
    const fetch = yield* tokens(getToken)
    const runtime = yield* Effect.interruptible(Effect.runtime())
    const connection = yield* Effect.acquireRelease(
      Effect.try({
        try: () => new Connection(runtime, rest, fetch),
        catch: (cause) => new ConnectionError({ code: 12, reason: String(cause), cause })
      }),
      (connection) => Effect.sync(() => connection.close())
    )
    const subscriptions = new Subscriptions(connection)
    return Client.of({
      state: Subscribable.make({ get: Effect.sync(() => connection.state), changes: connection.changes }),
      connected: connection.connected,
      subscribe: (channel, options) => subscriptions.subscribe(channel, options),
      ...requests(connection),
      rpc: (method, data) =>
        Effect.map(connection.request((sdk) => sdk.rpc(method, data)), (reply): unknown => reply.data),
      send: (data) => connection.request((sdk) => sdk.send(data)),
      messages: connection.messages
    })
  })

/**
 * A client for as long as the layer lives; see {@link make}.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = <E = never, R = never>(
  options: ClientOptions<E, R>
): Layer.Layer<Client, ConnectionError, Exclude<R, Scope.Scope>> => Layer.scoped(Client, make(options))
