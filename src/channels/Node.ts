/**
 * One node: its clients, its channels, and what they need.
 *
 * @since 1.0.0
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as LogLevel from "effect/LogLevel"
import type * as Scope from "effect/Scope"
import * as Coalesce from "../core/Coalesce.js"
import { Hub } from "../core/Hub.js"
import type { Disconnect, InvalidOption } from "../core/HubError.js"
import { Authenticator } from "./Authenticator.js"
import { Broker, BrokerError, type BrokerPublish, type History, type HistoryRequest } from "./Broker.js"
import type { Caller, ChannelHandler, HistoryOptions, PublishOptions } from "./Channels.js"
import * as ChannelsConfig from "./ChannelsConfig.js"
import { Cluster } from "./Cluster.js"
import { Others } from "./Everywhere.js"
import { Members } from "./Members.js"
import * as Namespace from "./Namespace.js"
import * as NodeControl from "./NodeControl.js"
import { Presence, type PresenceStats } from "./Presence.js"
import { badRequest, disconnects, errors, internalError, notAvailable, type ProtocolError } from "./ProtocolCode.js"
import { stringify } from "./ProtocolReply.js"
import type { ClientInfo, Publication, StreamPosition } from "./Publication.js"
import { Registered } from "./Registered.js"
import { Roster } from "./Roster.js"
import type { Subscription } from "./Subscription.js"
import type { UnderWay } from "./UnderWay.js"

/** Code of the application, its requirements provided. */
type Rpc = (data: unknown, caller: Caller) => Effect.Effect<unknown, ProtocolError | Disconnect>

/** How often the clock looks for what is due: four times in the shortest of the times, and at least every second. */
const tickOf = ({ pingInterval, pongTimeout, presenceInterval, staleTimeout }: ChannelsConfig.ChannelsConfig): number =>
  Math.max(10, Math.min(1000, pongTimeout / 4, staleTimeout / 4, presenceInterval / 4, pingInterval / 4 || Infinity))

/** Positions that are asked for at the same time: a broker has a bound for all that it is asked, publications included. */
const mostComparisons = 5000

/** @internal */
export class Node {
  readonly uid: string = globalThis.crypto.randomUUID()
  readonly config: ChannelsConfig.ChannelsConfig
  readonly hub: Hub["Type"]
  readonly broker: Broker["Type"]
  readonly presence: Presence["Type"]
  readonly authenticator: Authenticator["Type"]
  readonly roster = new Roster()
  readonly members: Members
  readonly handlers = new Registered<ChannelHandler>()
  readonly rpcs = new Registered<{ readonly method: string; readonly run: Rpc }>()
  readonly receivers = new Registered<Rpc>()
  readonly namespaceOf: (channel: string) => Either.Either<Namespace.Namespace, ProtocolError>
  readonly fork: (effect: Effect.Effect<void>) => void
  /** The other nodes. Set once, as soon as they may ask this one. */
  others = new Others(() => Effect.succeed({ answers: [], missing: [] }))
  /** Set once, when the layer's scope closes: no more clients. */
  isClosed = false
  /** The broker failed, and has done nothing since. */
  private isAway = false
  /** Positions that are being asked for. */
  private comparing = 0
  private readonly clock: Clock.Clock
  private readonly startedAt: number
  private readonly coalescers = new Map<string, Coalesce.Coalesce<BrokerPublish>>()

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

  /** An operation failed: the client reads the error, the log its cause. */
  complain(operation: string, { cause }: ProtocolError): Effect.Effect<void> {
    const message = `The operation ${operation} of a client failed`
    return cause === undefined
      ? Effect.void
      : cause instanceof BrokerError
      ? this.brokerFailed(LogLevel.Error, message, cause)
      : logged(LogLevel.Error, message, cause)
  }

  /** For what must go on although the broker fails. */
  readonly attempt = (what: string, effect: Effect.Effect<void, BrokerError>): Effect.Effect<void> =>
    Effect.catchAll(effect, (error) => this.brokerFailed(LogLevel.Warning, `Could not ${what}`, error))

  /** A broker that is away fails for every client: the log says it once, and again only after it was there. */
  private brokerFailed(level: LogLevel.LogLevel, message: string, error: BrokerError): Effect.Effect<void> {
    return Effect.suspend(() => {
      const isKnown = this.isAway
      this.isAway = true
      return logged(isKnown ? LogLevel.Debug : level, message, error)
    })
  }

  /** Encodes the data when it is called, not when the effect runs; `done` makes the result of the position. */
  publish<A>(
    channel: string,
    namespace: Namespace.Namespace,
    data: unknown,
    options: PublishOptions,
    info: ClientInfo | undefined,
    done: (position: StreamPosition | undefined) => A
  ): Effect.Effect<A, ProtocolError> {
    const publication = publicationOf(namespace, data, options, info)
    if (publication === undefined) return Effect.fail(notJson())
    const refused = versionProblem(namespace, options, publication)
    if (refused !== undefined) return Effect.fail(refused)
    const coalescer = namespace.coalesceWindow > 0 ? this.coalescers.get(namespace.name) : undefined
    return coalescer === undefined
      ? Effect.mapBoth(this.broker.publish(channel, publication), {
        onFailure: internalError,
        onSuccess: (position) => {
          this.isAway = false
          return done(position)
        }
      })
      : Effect.map(coalescer.offer(channel, publication), () => done(undefined))
  }

  /** As `publish`, for a client whose publications are under way together. */
  publishTogether(
    channel: string,
    namespace: Namespace.Namespace,
    data: unknown,
    info: ClientInfo,
    underWay: UnderWay,
    onDone: (error: ProtocolError | undefined) => string | undefined
  ): Effect.Effect<void, ProtocolError> {
    const publication = publicationOf(namespace, data, {}, info)
    return publication === undefined
      ? Effect.fail(notJson())
      : underWay.start(
        channel,
        publication,
        (exit) => {
          if (Exit.isFailure(exit)) return onDone(internalError(Cause.squash(exit.cause)))
          this.isAway = false
          return onDone(undefined)
        }
      )
  }

  /** Makes what joins the publications of a namespace. */
  coalesce(namespace: Namespace.Namespace): Effect.Effect<void, InvalidOption, Hub | Scope.Scope> {
    if (namespace.coalesceWindow === 0) return Effect.void
    return Effect.map(
      Coalesce.make<BrokerPublish>({
        window: namespace.coalesceWindow,
        combine: (_, later) => later,
        // Only the newest is kept, so that a channel that is busy does not end its window early.
        keyBytes: Number.MAX_SAFE_INTEGER,
        size: ({ data }) => data.length,
        publish: (channel, publication) =>
          this.attempt("publish", Effect.asVoid(this.broker.publish(channel, publication)))
      }),
      (coalescer) => {
        this.coalescers.set(namespace.name, coalescer)
      }
    )
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

  /** Everything that is due, for as long as the scope lives. */
  get ticking(): Effect.Effect<never> {
    return Effect.forever(Effect.zipRight(
      Effect.sleep(tickOf(this.config)),
      Effect.sync(() => {
        const now = this.now()
        const unixTime = this.unixTime()
        for (const session of [...this.roster.sessions.values()]) session.look(now, unixTime)
        const { positionCheckInterval } = this.config
        const most = mostComparisons - this.comparing
        for (const { name, subscriptions } of this.members.due(now, positionCheckInterval, most)) {
          this.comparing++
          this.fork(Effect.ensuring(this.compare(name, subscriptions), Effect.sync(() => this.comparing--)))
        }
      })
    ))
  }

  /** Compares the positions of subscribers with the stream. Who is behind is looked at again soon. */
  private compare(channel: string, subscriptions: ReadonlyArray<Subscription>): Effect.Effect<void> {
    const namespace = Either.getOrUndefined(this.namespaceOf(channel))
    if (namespace === undefined) return Effect.void
    return Effect.match(this.read(channel, namespace, { limit: 0 }), {
      onFailure: () => this.members.notCompared(channel, this.now()),
      onSuccess: ({ position }) => {
        let again = false
        for (const subscription of subscriptions) {
          if (subscription.isBehind(position)) subscription.session.onGap(subscription)
          else if (subscription.isSuspected) again = true
        }
        this.members.compared(channel, this.now(), again)
      }
    })
  }
}

const logged = (level: LogLevel.LogLevel, message: string, cause: unknown): Effect.Effect<void> =>
  Effect.annotateLogs(Effect.logWithLevel(level, message, cause), { package: "effect-ws-hub" })

/** A defect of the application's code is its own: error 100, and the log says why. */
const guarded = <A>(
  effect: Effect.Effect<A, ProtocolError | Disconnect>
): Effect.Effect<A, ProtocolError | Disconnect> =>
  Effect.catchAllDefect(effect, (defect) => Effect.fail(internalError(defect)))

const notJson = () => badRequest("the data is not JSON")

const versionProblem = (
  { coalesceWindow }: Namespace.Namespace,
  { version, versionEpoch }: PublishOptions,
  { stream }: BrokerPublish
): ProtocolError | undefined =>
  version === undefined
    ? versionEpoch === undefined ? undefined : badRequest("an epoch of versions needs a version")
    : !Number.isSafeInteger(version) || version < 1
    ? badRequest(`a version must be a whole number from 1 to ${Number.MAX_SAFE_INTEGER}, not ${version}`)
    : stream === undefined
    ? notAvailable("a version needs history")
    : coalesceWindow > 0
    ? notAvailable("a channel with a coalesceWindow has no versions")
    : undefined

/** With the data as JSON text, if they are JSON. */
const publicationOf = (
  namespace: Namespace.Namespace,
  data: unknown,
  options: PublishOptions,
  info: ClientInfo | undefined
): BrokerPublish | undefined => {
  const text = stringify(data)
  return text === undefined ? undefined : {
    data: text,
    info,
    tags: options.tags,
    stream: options.skipHistory === true ? undefined : namespace.stream,
    idempotencyKey: options.idempotencyKey,
    version: options.version === undefined
      ? undefined
      : { number: options.version, epoch: options.versionEpoch ?? "" }
  }
}

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
      yield* node.coalesce(Namespace.make(name, found))
    }
    if (options.withoutNamespace !== undefined) yield* node.coalesce(Namespace.make("", options.withoutNamespace))
    yield* broker.listen(node.members.onEvent)
    const cluster = yield* Cluster
    node.others = new Others(yield* cluster.join({ uid: node.uid, answer: NodeControl.answer(node) }))
    yield* Effect.forkScoped(Effect.interruptible(node.ticking))
    // Added last, so it runs first: the clients leave while everything that they need is there.
    yield* Effect.addFinalizer(() =>
      Effect.suspend(() => {
        node.isClosed = true
        return hub.drainWhere(({ id }) => node.roster.sessions.has(id))
      })
    )
    return node
  })
