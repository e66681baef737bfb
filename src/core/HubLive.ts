/**
 * The implementation of a hub: its connections, its fan-out and its drain, in one scope.
 *
 * @since 1.0.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as FiberRef from "effect/FiberRef"
import * as FiberSet from "effect/FiberSet"
import * as PubSub from "effect/PubSub"
import * as Runtime from "effect/Runtime"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CloseCode, reasons } from "./CloseReason.js"
import * as Frame from "./Frame.js"
import * as Handler from "./Handler.js"
import type { Host } from "./Host.js"
import type { Hub, PublishOptions } from "./Hub.js"
import * as HubConfig from "./HubConfig.js"
import { HubUnavailable, type InvalidOption, type TooManyConnections } from "./HubError.js"
import { HubEvent, HubEvents } from "./HubEvent.js"
import * as HubMetrics from "./HubMetrics.js"
import { LiveConnection } from "./LiveConnection.js"
import { Registry } from "./Registry.js"
import { Signal, within } from "./Signal.js"
import { Topics } from "./Topics.js"
import type { Transport } from "./Transport.js"
import { Turn, TurnScheduler } from "./Turn.js"
import { WakeScheduler } from "./Wake.js"

// Looked up once: each look makes a constructor anew.
const { Closed, Draining, Opened, Overflow } = HubEvent

type Accepted<A, R> = Effect.Effect<A, HubUnavailable | TooManyConnections, Exclude<R, Scope.Scope>>

/**
 * Builds a hub in the current scope. It takes connections at once, or from when `ready` completes if that is given;
 * until then it is `Starting`. The error names the option that is wrong.
 *
 * @internal
 */
export const make = (
  options?: HubConfig.HubOptions,
  ready?: Effect.Effect<unknown>
): Effect.Effect<Hub["Type"], InvalidOption, Scope.Scope> =>
  Effect.gen(function*() {
    const config = yield* HubConfig.make(options)
    const clock = yield* Effect.clock
    const schedule = yield* TurnScheduler
    // For the hub's own fibers too: the default scheduler keeps a queue for each fiber, which costs more than the fiber.
    const wake = new WakeScheduler(yield* FiberRef.get(FiberRef.currentScheduler))
    // Acquired first, so released last: the fibers that end connections outlive the connections.
    const fork = yield* FiberSet.makeRuntime<never>().pipe(Effect.withScheduler(wake), Effect.interruptible)
    const runFork = Runtime.runFork(yield* Effect.withScheduler(Effect.runtime<never>(), wake))
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
      run: (effect) => runFork(Effect.uninterruptible(effect)),
      fork,
      join: (connection, topic) => topics.join(connection, topic),
      leave: (connection, topic) => topics.leave(connection, topic),
      onEnded: (connection) => topics.leaveAll(connection),
      onOverflow: (connection) => events.emit(Overflow({ connection })),
      onClosed: (connection, reason) => {
        registry.remove(connection)
        HubMetrics.closes(reason.by).unsafeUpdate(1, [])
        events.emit(Closed({ connection, reason }))
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

    /** Made many at a time: a fiber to make each would cost more than the rest of a connection. */
    const scopes: Array<Scope.CloseableScope> = []
    const unsafeScope = (): Scope.CloseableScope => {
      const scope = scopes.pop()
      if (scope !== undefined) return scope
      scopes.push(...Effect.runSync(Effect.replicateEffect(Scope.make(), 64)))
      return unsafeScope()
    }

    const unsafeAccept = <P, E, R, E1 = never, R1 = never>(
      runtime: Runtime.Runtime<Exclude<R | R1, Scope.Scope>>,
      transport: Transport<P>,
      run: Handler.Handler<P, E, R>,
      options: Handler.HandlerOptions<P, E, E1, R1> = {}
    ): Either.Either<LiveConnection<P>, HubUnavailable | TooManyConnections> => {
      const refused = refusal(transport.handshake.remoteAddress)
      if (refused !== undefined) {
        refuse(transport, refused)
        return Either.left(refused)
      }
      const start = Handler.start(host, runtime, run, options)
      const connection = new LiveConnection<P>(host, nextId++, transport, unsafeScope(), start, options.closeWith)
      registry.add(connection)
      HubMetrics.opens.unsafeUpdate(1, [])
      events.emit(Opened({ connection }))
      transport.open(connection)
      return Either.right(connection)
    }

    const accept = <P, E, R, E1 = never, R1 = never>(
      transport: Transport<P>,
      run: Handler.Handler<P, E, R>,
      options?: Handler.HandlerOptions<P, E, E1, R1>
    ): Accepted<LiveConnection<P>, R | R1> =>
      Effect.flatMap(Effect.runtime<Exclude<R | R1, Scope.Scope>>(), (runtime) =>
        unsafeAccept(runtime, transport, run, options))

    const serve: Hub["Type"]["serve"] = (transport, run, options) =>
      Effect.uninterruptibleMask((restore) =>
        Effect.flatMap(accept(transport, run, options), (connection) =>
          Effect.onInterrupt(restore(connection.closed), () => {
            connection.end(reasons.interrupt)
            return connection.closed
          }))
      )

    const deliver = (
      to: Iterable<LiveConnection>,
      message: Frame.Message | Frame.Frame,
      options: PublishOptions | undefined
    ): number => {
      const frame = Frame.make(message, options)
      const { except, where } = options ?? {}
      let reached = 0
      for (const connection of to) {
        if (connection !== except && (where === undefined || where(connection)) && connection.deliver(frame)) {
          reached++
        }
      }
      HubMetrics.messagesOut.unsafeUpdate(reached, [])
      HubMetrics.bytesOut.unsafeUpdate(reached * frame.size, [])
      return reached
    }

    const fanOut: typeof deliver = (to, message, options) => {
      const reached = deliver(to, message, options)
      HubMetrics.fanOut.unsafeUpdate(reached, [])
      return reached
    }

    const onBatch = () =>
      events.emit(Draining({ remaining: registry.connections.size }))

    // Runs once, in the hub's own care: whoever asks for it, and is interrupted, does not stop it.
    const drained = yield* Deferred.make<void>()
    const runHooks = within(
      Effect.forEach(hooks, Effect.exit, { concurrency: "unbounded", discard: true }),
      config.drainDeadline / 2
    )
    const drain = Effect.suspend(() => {
      if (events.state === "Starting" || events.state === "Open") {
        events.enter("Draining")
        fork(
          registry.drain(
            () =>
              true,
            onBatch,
            runHooks
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

    const open = () =>
      events.state === "Starting" && events.enter("Open")
    if (ready === undefined) {
      open()
    } else yield* Effect.forkScoped(Effect.interruptible(Effect.zipRight(ready, Effect.sync(open))))
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

    return {
      config,
      accept,
      unsafeAccept,
      serve,
      admit: (remoteAddress) =>
        Effect.suspend(() => {
          const refused = refusal(remoteAddress)
          return refused === undefined ? Effect.void : Effect.fail(refused)
        }),
      unsafeRefusal: refusal,
      send: (id, message) => using(id, (connection) => deliver([connection], message, undefined) === 1, false),
      publish: (topic, message, options) => Effect.sync(() => fanOut(topics.of(topic), message, options)),
      unsafePublish: (topic, message, options) => fanOut(topics.of(topic), message, options),
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
      drainWhere: (filter) => registry.drain(filter, onBatch, runHooks),
      beforeDrain: (effect) =>
        Effect.suspend(() => {
          // One of its own for each call: two may register the same effect, and one of them leave.
          const hook = Effect.suspend(() => effect)
          return Effect.acquireRelease(
            Effect.sync(() => hooks.add(hook)),
            () => Effect.sync(() => hooks.delete(hook))
          )
        }),
      state: Effect.sync(() => events.state),
      events: Stream.unwrapScoped(events.subscribe),
      subscribe: events.subscribe
    }
  })
