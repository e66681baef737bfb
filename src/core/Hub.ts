/**
 * The hub: who is connected, who is in which topic, and how everything starts and ends together.
 *
 * @since 1.0.0
 */
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type * as Runtime from "effect/Runtime"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { CloseReason, CloseWith } from "./CloseReason.js"
import type { Connection } from "./Connection.js"
import type * as Frame from "./Frame.js"
import type * as Handler from "./Handler.js"
import * as HubConfig from "./HubConfig.js"
import type { HubUnavailable, InvalidOption, TooManyConnections } from "./HubError.js"
import type { HubEvent, HubState } from "./HubEvent.js"
import * as HubLive from "./HubLive.js"
import type { Transport } from "./Transport.js"

export {
  /**
   * Constructors and matchers of what happens in a hub.
   *
   * @since 1.0.0
   * @category constructors
   */
  HubEvent,
  /**
   * Where a hub stands.
   *
   * @since 1.0.0
   * @category models
   */
  type HubState
} from "./HubEvent.js"

export {
  /**
   * Decides when the frames of one turn of the event loop are written.
   *
   * @since 1.0.0
   * @category tags
   */
  TurnScheduler
} from "./Turn.js"

/**
 * What `publish` and `broadcast` take besides the message.
 *
 * @since 1.0.0
 * @category models
 */
export interface PublishOptions {
  /** A connection that does not get it: the sender, as a rule. */
  readonly except?: Connection | undefined
  /** What the message is about: under the `conflate` policy a later one with the same key replaces it. */
  readonly key?: string | undefined
  /** What becomes of this message where an outbox is full, if not what the hub's options say. */
  readonly overflow?: HubConfig.OverflowPolicy | undefined
  /** Asked for each receiver, within the one synchronous loop that delivers: whether it gets the message. */
  readonly where?: ((connection: Connection) => boolean) | undefined
}

type Accepted<A, R> = Effect.Effect<A, HubUnavailable | TooManyConnections, Exclude<R, Scope.Scope>>

/**
 * The hub. It exists, and takes connections, from the moment its layer is built until its scope closes; then every
 * connection is drained.
 *
 * @since 1.0.0
 * @category tags
 */
export class Hub extends Context.Tag("effect-ws-hub/Hub")<Hub, {
  /** The limits in force. */
  readonly config: HubConfig.HubConfig
  /**
   * Takes over an established transport and runs the handler for it, in the hub's care: the effect returns as soon as
   * the connection is registered. When the handler ends, the connection closes with 1000; a failure closes it with its
   * `Disconnect`, or 1011; a defect is logged and closes it with 1011. `Scope` in the handler's requirements is the
   * connection's own. A transport that is refused is closed.
   */
  readonly accept: <P, E, R, E1 = never, R1 = never>(
    transport: Transport<P>,
    run: Handler.Handler<P, E, R>,
    options?: Handler.HandlerOptions<P, E, E1, R1>
  ) => Accepted<Connection<P>, R | R1>
  /** As `accept`, for synchronous code such as callbacks: the runtime is the handler's. */
  readonly unsafeAccept: <P, E, R, E1 = never, R1 = never>(
    runtime: Runtime.Runtime<Exclude<R | R1, Scope.Scope>>,
    transport: Transport<P>,
    run: Handler.Handler<P, E, R>,
    options?: Handler.HandlerOptions<P, E, E1, R1>
  ) => Either.Either<Connection<P>, HubUnavailable | TooManyConnections>
  /** As `accept`, and waits for the end. Interrupting it closes the connection. */
  readonly serve: <P, E, R, E1 = never, R1 = never>(
    transport: Transport<P>,
    run: Handler.Handler<P, E, R>,
    options?: Handler.HandlerOptions<P, E, E1, R1>
  ) => Accepted<CloseReason, R | R1>
  /** Fails as `accept` would now, for a peer of this address. */
  readonly admit: (remoteAddress: Option.Option<string>) => Effect.Effect<void, HubUnavailable | TooManyConnections>
  /**
   * What `admit` would fail with, as a plain function for those who must decide within one step. `others`: newcomers that
   * count already, as handshakes under way do.
   */
  readonly unsafeRefusal: (
    remoteAddress: Option.Option<string>,
    others?: number
  ) => HubUnavailable | TooManyConnections | undefined
  /** Sends to one connection. Returns whether it was accepted. */
  readonly send: (id: number, message: Frame.Message | Frame.Frame) => Effect.Effect<boolean>
  /** Sends to all in a topic. Returns how many connections accepted it. Never waits for a peer. */
  readonly publish: (
    topic: string,
    message: Frame.Message | Frame.Frame,
    options?: PublishOptions
  ) => Effect.Effect<number>
  /** As `publish`, for synchronous code such as callbacks. */
  readonly unsafePublish: (
    topic: string,
    message: Frame.Message | Frame.Frame,
    options?: PublishOptions
  ) => number
  /** Sends to all connections. Returns how many accepted it. Never waits for a peer. */
  readonly broadcast: (message: Frame.Message | Frame.Frame, options?: PublishOptions) => Effect.Effect<number>
  /** Lets a connection join a topic; a topic exists while it has members. Returns whether the connection is open. */
  readonly join: (id: number, topic: string) => Effect.Effect<boolean>
  /** Lets a connection leave a topic. Returns whether the connection is open. */
  readonly leave: (id: number, topic: string) => Effect.Effect<boolean>
  /** All connections, those that are closing included. */
  readonly connections: Effect.Effect<ReadonlyArray<Connection>>
  /** Number of connections, those that are closing included. */
  readonly size: Effect.Effect<number>
  /** The topics that have members. */
  readonly topics: Effect.Effect<ReadonlyArray<string>>
  /** The members of a topic. */
  readonly members: (topic: string) => Effect.Effect<ReadonlyArray<Connection>>
  /** Ends one connection, with 1000 unless told otherwise. Returns whether it was open. */
  readonly close: (id: number, reason?: CloseWith) => Effect.Effect<boolean>
  /** Ends all connections. Returns how many were open. */
  readonly closeAll: (reason?: CloseWith) => Effect.Effect<number>
  /**
   * Refuses newcomers and ends all connections with 1001, paced; cuts off what is left at the deadline. Returns when no
   * connection is left. There is no way back.
   */
  readonly drain: Effect.Effect<void>
  /** Ends some connections as a drain does, paced and within the deadline, while the hub stays open. */
  readonly drainWhere: (filter: (connection: Connection) => boolean) => Effect.Effect<void>
  /**
   * Registers an effect that runs before connections are drained, all of them or some: each time, with the hub `Open` if it
   * stays, as when a route is unmounted. It has half of the drain's deadline.
   */
  readonly beforeDrain: (effect: Effect.Effect<unknown>) => Effect.Effect<void, never, Scope.Scope>
  readonly state: Effect.Effect<HubState>
  /**
   * What happens from when the stream runs; ends when the hub has closed. A reader 4096 events behind loses the oldest.
   */
  readonly events: Stream.Stream<HubEvent>
  /** The events from when this effect completes, for as long as its scope lives: nothing in between is missed. */
  readonly subscribe: Effect.Effect<Stream.Stream<HubEvent>, never, Scope.Scope>
}>() {}

/**
 * Builds a hub in the current scope. It takes connections at once, or from when `ready` completes if that is given;
 * until then it is `Starting`. The error names the option that is wrong.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make: (
  options?: HubConfig.HubOptions,
  ready?: Effect.Effect<unknown>
) => Effect.Effect<Hub["Type"], InvalidOption, Scope.Scope> = HubLive.make

/**
 * A hub with these options, for as long as the layer lives. Bind it to a constant: two calls are two hubs.
 *
 * @since 1.0.0
 * @category layers
 */
export const layer = (options?: HubConfig.HubOptions): Layer.Layer<Hub, InvalidOption> =>
  Layer.scoped(Hub, make(options))

/**
 * A hub with the options that `Config` gives (see `HubConfig.config`), and these where it gives none.
 *
 * @since 1.0.0
 * @category layers
 */
export const layerConfig = (
  options?: HubConfig.HubOptions
): Layer.Layer<Hub, InvalidOption | ConfigError.ConfigError> =>
  Layer.scoped(Hub, Effect.flatMap(HubConfig.config, (config) => make({ ...options, ...config })))
