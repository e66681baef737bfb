/**
 * One node: its clients, its channels, and what they need.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Either from "effect/Either"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import { Hub } from "../core/Hub.js"
import type { Disconnect, InvalidOption } from "../core/HubError.js"
import { Authenticator } from "./Authenticator.js"
import { Broker, type History, type HistoryRequest } from "./Broker.js"
import type { Caller, ChannelHandler, HistoryOptions } from "./Channels.js"
import * as ChannelsConfig from "./ChannelsConfig.js"
import { Cluster } from "./Cluster.js"
import { Others } from "./Everywhere.js"
import { Faults, isFault } from "./Faults.js"
import { Locks } from "./Lock.js"
import { Members } from "./Members.js"
import * as Namespace from "./Namespace.js"
import * as NodeControl from "./NodeControl.js"
import { PositionCheck } from "./PositionCheck.js"
import { Presence, type PresenceStats } from "./Presence.js"
import { badRequest, disconnects, errors, internalError, notJson, type ProtocolError } from "./ProtocolCode.js"
import { isWithin } from "./ProtocolReply.js"
import type { ClientInfo, Publication } from "./Publication.js"
import { Publisher } from "./Publisher.js"
import { Registered } from "./Registered.js"
import { Roster } from "./Roster.js"

/** Code of the application, its requirements provided. */
type Rpc = (data: unknown, caller: Caller) => Effect.Effect<unknown, ProtocolError | Disconnect>

/** How often the clock looks for what is due: four times in the shortest of the times, and at least every second. */
const tickOf = ({ pingInterval, pongTimeout, presenceInterval, staleTimeout }: ChannelsConfig.ChannelsConfig): number =>
  Math.max(10, Math.min(1000, pongTimeout / 4, staleTimeout / 4, presenceInterval / 4, pingInterval / 4 || Infinity))

/** @internal */
export class Node {
  readonly uid: string = globalThis.crypto.randomUUID()
  readonly config: ChannelsConfig.ChannelsConfig
  readonly hub: Hub["Type"]
  readonly broker: Broker["Type"]
  readonly presence: Presence["Type"]
  readonly authenticator: Authenticator["Type"]
  readonly roster = new Roster()
  readonly faults = new Faults()
  readonly publisher: Publisher
  readonly members: Members
  /** What changes one client's subscription to one channel happens one after the other. */
  readonly changes = new Locks()
  readonly handlers = new Registered<ChannelHandler>()
  readonly rpcs = new Registered<{ readonly method: string; readonly run: Rpc }>()
  readonly receivers = new Registered<Rpc>()
  readonly namespaceOf: (channel: string) => Either.Either<Namespace.Namespace, ProtocolError>
  readonly fork: (effect: Effect.Effect<void>) => void
  /** The other nodes. Set once, as soon as they may ask this one. */
  others = new Others(() => Effect.succeed({ answers: [], missing: [] }))
  /** Set once, when the layer's scope closes: no more clients. */
  isClosed = false
  private readonly clock: Clock.Clock
  private readonly startedAt: number

  constructor(
    config: ChannelsConfig.ChannelsConfig,
    namespaceOf: Node["namespaceOf"],
    hub: Hub["Type"],
    broker: Broker["Type"],
    presence: Presence["Type"],
    authenticator: Authenticator["Type"],
    clock: Clock.Clock,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.config = config
    this.namespaceOf = namespaceOf
    this.hub = hub
    this.broker = broker
    this.presence = presence
    this.authenticator = authenticator
    this.clock = clock
    this.fork = fork
    this.startedAt = this.now()
    this.publisher = new Publisher(broker, this.faults, hub.config.outboxBytes)
    this.members = new Members(hub, broker, (subscription) => subscription.session.onGap(subscription), fork)
  }

  /** Milliseconds, of a clock that is never set back. */
  readonly now = (): number => Number(this.clock.unsafeCurrentTimeNanos()) / 1e6

  /** Seconds. */
  unixTime(): number {
    return this.clock.unsafeCurrentTimeMillis() / 1000
  }

  /** Seconds since the node started. */
  get uptime(): number {
    return Math.floor((this.now() - this.startedAt) / 1000)
  }

  handlerOf(channel: string): ChannelHandler | undefined {
    return this.handlers.find(({ matches }) => matches(channel))
  }

  /** Reads a stream; of a channel without one, an empty one. */
  read(
    channel: string,
    { stream }: Namespace.Namespace,
    request: Omit<HistoryRequest, "stream">
  ): Effect.Effect<History, ProtocolError> {
    return stream === undefined
      ? Effect.fail(errors.notAvailable)
      : Effect.mapError(this.broker.history(channel, { ...request, stream }), internalError)
  }

  history(
    channel: string,
    namespace: Namespace.Namespace,
    options: HistoryOptions
  ): Effect.Effect<History, ProtocolError> {
    const { reverse, since } = options
    if (reverse === true && since?.offset === 0) {
      return Effect.fail(badRequest("there is nothing before offset 0: leave `since` out to read from the newest"))
    }
    return Effect.flatMap(
      this.read(channel, namespace, options),
      (history) =>
        since !== undefined && since.epoch !== "" && since.epoch !== history.position.epoch
          ? Effect.fail(errors.unrecoverablePosition)
          : Effect.succeed(history)
    )
  }

  presenceOf(channel: string): Effect.Effect<ReadonlyMap<string, ClientInfo>, ProtocolError> {
    return Effect.mapError(this.presence.get(channel), internalError)
  }

  statsOf(channel: string): Effect.Effect<PresenceStats, ProtocolError> {
    return Effect.mapError(this.presence.stats(channel), internalError)
  }

  /** Whether there are methods to call. */
  get answersCalls(): boolean {
    return this.rpcs.find(() => true) !== undefined
  }

  call(method: string, data: unknown, caller: Caller): Effect.Effect<unknown, ProtocolError | Disconnect> {
    const found = this.rpcs.find((entry) => entry.method === method)
    if (found === undefined) return Effect.fail(this.answersCalls ? errors.methodNotFound : errors.notAvailable)
    return guarded(Effect.suspend(() => found.run(data, caller)))
  }

  receive(data: unknown, caller: Caller): Effect.Effect<void, ProtocolError | Disconnect> {
    const found = this.receivers.find(() => true)
    if (found === undefined) return Effect.fail(disconnects.notAvailable)
    return Effect.asVoid(guarded(Effect.suspend(() => found(data, caller))))
  }

  /** The error, if data for one client is no JSON, or more than an outbox holds. */
  sizeProblem(text: string | undefined): ProtocolError | undefined {
    const most = this.hub.config.outboxBytes - 1024
    return text === undefined
      ? notJson
      : isWithin(most, text)
      ? undefined
      : badRequest(`data for a client has at most ${most} bytes, since outboxBytes is ${most + 1024}`)
  }

  /** Everything that is due, for as long as the scope lives. */
  get ticking(): Effect.Effect<never> {
    const positions = new PositionCheck(this)
    return Effect.forever(Effect.zipRight(
      Effect.sleep(tickOf(this.config)),
      Effect.sync(() => {
        const now = this.now()
        const unixTime = this.unixTime()
        for (const session of [...this.roster.sessions.values()]) session.look(now, unixTime)
        positions.look(now)
      })
    ))
  }
}

/** A fault of the application's code is its own: error 100, and the log says why. */
const guarded = <A>(
  effect: Effect.Effect<A, ProtocolError | Disconnect>
): Effect.Effect<A, ProtocolError | Disconnect> =>
  Effect.catchAllCause(
    effect,
    (cause) => Effect.failCause(isFault(cause) ? Cause.fail(internalError(Cause.squash(cause))) : cause)
  )

/**
 * The publications as an application reads them.
 *
 * @internal
 */
export const parsed = ({ data, info, offset, tags }: Publication<string>): Publication => ({
  data: JSON.parse(data),
  info,
  offset,
  tags
})

/**
 * Builds a node in the current scope.
 *
 * @internal
 */
export const make = (
  options: ChannelsConfig.ChannelsOptions
): Effect.Effect<Node, InvalidOption, Hub | Broker | Presence | Authenticator | Scope.Scope> =>
  Effect.gen(function*() {
    const config = yield* ChannelsConfig.make(options)
    const hub = yield* Hub
    const broker = yield* Broker
    const presence = yield* Presence
    const authenticator = yield* Authenticator
    const clock = yield* Effect.clock
    const fork = yield* FiberSet.makeRuntime<never>().pipe(Effect.interruptible)
    const node: Node = new Node(
      config,
      Namespace.resolver(options),
      hub,
      broker,
      presence,
      authenticator,
      clock,
      fork
    )
    for (const [name, found] of Object.entries(options.namespaces ?? {})) {
      yield* node.publisher.coalesce(Namespace.make(name, found))
    }
    if (options.withoutNamespace !== undefined) {
      yield* node.publisher.coalesce(Namespace.make("", options.withoutNamespace))
    }
    yield* broker.listen(node.members.onEvent)
    const cluster = yield* Cluster
    node.others = new Others(yield* cluster.join({ uid: node.uid, answer: NodeControl.answer(node) }))
    yield* Effect.forkScoped(Effect.interruptible(node.ticking))
    // Added last, so it runs first: the clients leave while everything that they need is there.
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        node.isClosed = true
        for (const { listeners } of node.members) for (const { onEnd } of listeners) onEnd()
        return hub.drainWhere(({ id }) => node.roster.sessions.has(id))
      })
    )
    return node
  })
