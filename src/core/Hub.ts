/**
 * The hub: who is connected, who is in which topic, and how everything starts and ends together.
 *
 * @since 1.0.0
 */
import type * as ConfigError from "effect/ConfigError"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import * as FiberSet from "effect/FiberSet"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CloseCode, type CloseReason, type CloseWith, reasons } from "./CloseReason.js"
import type { Connection } from "./Connection.js"
import * as Frame from "./Frame.js"
import * as Handler from "./Handler.js"
import * as HubConfig from "./HubConfig.js"
import { HubUnavailable, type InvalidOption, type TooManyConnections } from "./HubError.js"
import { HubEvent, HubEvents, type HubState } from "./HubEvent.js"
import * as HubMetrics from "./HubMetrics.js"
import { type Host, LiveConnection } from "./LiveConnection.js"
import { Turn } from "./Outbox.js"
import { Registry } from "./Registry.js"
import { Signal, within } from "./Signal.js"
import { Topics } from "./Topics.js"
import type { Transport } from "./Transport.js"
import { WakeScheduler } from "./Wake.js"

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

/**
 * Decides when the frames of one turn of the event loop are written. The default is `setImmediate`: after the sockets
 * that had something to read were read. Tests may want another.
 *
 * @since 1.0.0
 * @category tags
 */
export class TurnScheduler extends Context.Reference<TurnScheduler>()("effect-ws-hub/TurnScheduler", {
  defaultValue: () => (task: () => void): void => {
    setImmediate(task)
  }
}) {}

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
  /** Registers an effect that runs when the hub begins to drain, before it ends the first connection. */
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
export const make = (
  options?: HubConfig.HubOptions,
  ready?: Effect.Effect<unknown>
): Effect.Effect<Hub["Type"], InvalidOption, Scope.Scope> =>
  Effect.gen(function*() {
    const config = yield* HubConfig.make(options)
    const clock = yield* Effect.clock
    const schedule = yield* TurnScheduler
    const wake = new WakeScheduler(yield* FiberRef.get(FiberRef.currentScheduler))
    // Acquired first, so released last: the fibers that end connections outlive the connections.
    const fork = yield* FiberSet.makeRuntime<never>().pipe(Effect.interruptible)
    const events = new HubEvents(yield* PubSub.sliding<HubEvent>(4096), fork)
    const registry = new Registry(config)
    const topics = new Topics<LiveConnection>()
    const hooks = new Set<Effect.Effect<unknown>>()
    let nextId = 1

    const host: Host = {
      config,
      turn: new Turn(schedule),
      wake,
      // Of the monotonic clock: a step of the wall clock must not end anybody.
      now: () => Number(clock.unsafeCurrentTimeNanos()) / 1e6,
      fork,
      join: (connection, topic) => topics.join(connection, topic),
      leave: (connection, topic) => topics.leave(connection, topic),
      onEnded: (connection) => topics.leaveAll(connection),
      onOverflow: (connection) => events.emit(HubEvent.Overflow({ connection })),
      onClosed: (connection, reason) => {
        registry.remove(connection)
        HubMetrics.closes(reason.by).unsafeUpdate(1, [])
        events.emit(HubEvent.Closed({ connection, reason }))
      }
    }

    const refusal: Hub["Type"]["unsafeRefusal"] = (remoteAddress, others = 0) =>
      events.state === "Open" ? registry.full(remoteAddress, others) : new HubUnavailable({ state: events.state })

    /** Tells a peer that is not let in, and lets go of its socket: at once if the hub is no longer there to wait. */
    const refuse = (transport: Transport, error: HubUnavailable | TooManyConnections): void => {
      let gone = false
      const left = new Signal()
      const ignore = () => {}
      const onGone = () => {
        gone = true
        left.notify()
      }
      transport.open({ onMessage: ignore, onPong: ignore, onDrain: ignore, onEnd: ignore, onGone })
      transport.close(error._tag === "HubUnavailable" ? CloseCode.goingAway : CloseCode.tryAgainLater, error.message)
      if (events.state === "Closed") transport.terminate()
      else {
        fork(
          Effect.ensuring(
            within(left.until(() => gone), config.closeGrace),
            Effect.sync(() => transport.terminate())
          )
        )
      }
    }

    const accept = <P, E, R, E1 = never, R1 = never>(
      transport: Transport<P>,
      run: Handler.Handler<P, E, R>,
      options: Handler.HandlerOptions<P, E, E1, R1> = {}
    ): Accepted<LiveConnection<P>, R | R1> =>
      Effect.flatMap(Scope.make(), (scope) =>
        Effect.withFiberRuntime<LiveConnection<P>, HubUnavailable | TooManyConnections, Exclude<R | R1, Scope.Scope>>(
          (parent) => {
            const refused = refusal(transport.handshake.remoteAddress)
            if (refused !== undefined) {
              refuse(transport, refused)
              return Effect.fail(refused)
            }
            const context = parent.currentContext as Context.Context<Exclude<R | R1, Scope.Scope>>
            const refs = parent.getFiberRefs()
            const outer = FiberRefs.getOrDefault(refs, FiberRef.currentScheduler)
            const scheduler = outer === wake.inner ? wake : outer
            const start = Handler.start(host, scheduler, refs, context, run, options)
            const connection = new LiveConnection<P>(host, nextId++, transport, scope, start)
            registry.add(connection)
            HubMetrics.opens.unsafeUpdate(1, [])
            events.emit(HubEvent.Opened({ connection }))
            transport.open(connection)
            return Effect.succeed(connection)
          }
        ))

    const serve: Hub["Type"]["serve"] = (transport, run, options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(accept(transport, run, options), (connection) =>
          Effect.onInterrupt(restore(connection.closed), () => {
            connection.end(reasons.interrupt)
            return connection.closed
          }))
      )

    const fanOut = (
      to: Iterable<LiveConnection>,
      message: Frame.Message | Frame.Frame,
      options: PublishOptions | undefined
    ): number => {
      const frame = Frame.make(message, options)
      const except = options?.except
      let reached = 0
      for (const connection of to) {
        if (connection !== except && connection.deliver(frame)) {
          reached++
        }
      }
      HubMetrics.messagesOut.unsafeUpdate(reached, [])
      HubMetrics.bytesOut.unsafeUpdate(reached * frame.size, [])
      HubMetrics.fanOut.unsafeUpdate(reached, [])
      return reached
    }

    const onBatch = () =>
      events.emit(HubEvent.Draining({ remaining: registry.connections.size }))

    // Runs once, in the hub's own care: whoever asks for it, and is interrupted, does not stop it.
    const drained = yield* Deferred.make<void>()
    const runHooks = Effect.forEach(hooks, Effect.exit, { concurrency: "unbounded", discard: true })
    const drain = Effect.suspend(() => {
      if (events.state === "Starting" || events.state === "Open") {
        events.enter("Draining")
        fork(
          registry.drain(
            () =>
              true,
            onBatch,
            within(runHooks, config.drainDeadline / 2)
          ).pipe(
            Effect.withSpan("Hub.drain", { attributes: { connections: registry.connections.size } }),
            Effect.intoDeferred(drained),
            Effect.uninterruptible
          )
        )
      }
      return Deferred.await(drained)
    })

    const heartbeats = Effect.forever(Effect.zipRight(
      Effect.sleep(Math.max(1, Math.min(config.heartbeatInterval, config.heartbeatTimeout) / 4)),
      Effect.sync(() => {
        const now = host.now()
        for (const connection of registry.connections.values()) {
          connection.heartbeat(now)
        }
      })
    ))

    if (ready === undefined) {
      events.enter("Open")
    } else {
      yield* Effect.forkScoped(Effect.interruptible(Effect.zipRight(
        ready,
        Effect.sync(() =>
          events.state === "Starting" && events.enter("Open")
        )
      )))
    }
    if (config.heartbeatInterval > 0) {
      yield* Effect.forkScoped(Effect.interruptible(heartbeats))
    }
    yield* Effect.addFinalizer(() =>
      Effect.zipRight(drain, Effect.sync(() => events.enter("Closed")))
    )

    const using = <A>(id: number, use: (connection: LiveConnection) => A, otherwise: A): Effect.Effect<A> =>
      Effect.sync(() => {
        const connection = registry.connections.get(id)
        return connection !== undefined && connection.isOpen ? use(connection) : otherwise
      })

    return Hub.of({
      config,
      accept,
      serve,
      admit: (remoteAddress) =>
        Effect.suspend(() => {
          const refused = refusal(remoteAddress)
          return refused === undefined ? Effect.void : Effect.fail(refused)
        }),
      unsafeRefusal: refusal,
      send: (id, message) => using(id, (connection) => fanOut([connection], message, undefined) === 1, false),
      publish: (topic, message, options) => Effect.sync(() => fanOut(topics.of(topic), message, options)),
      broadcast: (message, options) => Effect.sync(() => fanOut(registry.connections.values(), message, options)),
      join: (id, topic) => using(id, (connection) => (topics.join(connection, topic), true), false),
      leave: (id, topic) => using(id, (connection) => (topics.leave(connection, topic), true), false),
      connections: Effect.sync(() => Array.from(registry.connections.values())),
      size: Effect.sync(() => registry.connections.size),
      topics: Effect.sync(() => topics.names()),
      members: (topic) => Effect.sync(() => Array.from(topics.of(topic))),
      close: (id, reason) =>
        Effect.flatten(using(id, (connection) => Effect.as(connection.close(reason), true), Effect.succeed(false))),
      closeAll: (reason) =>
        Effect.suspend(() => {
          const open = Array.from(registry.connections.values()).filter((connection) => connection.isOpen)
          return Effect.as(
            Effect.forEach(open, (connection) => connection.close(reason), { discard: true }),
            open.length
          )
        }),
      drain,
      drainWhere: (filter) => registry.drain(filter, onBatch, Effect.void),
      beforeDrain: (effect) =>
        Effect.acquireRelease(Effect.sync(() => hooks.add(effect)), () => Effect.sync(() => hooks.delete(effect))),
      state: Effect.sync(() => events.state),
      events: Stream.unwrapScoped(events.subscribe),
      subscribe: events.subscribe
    })
  })

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
