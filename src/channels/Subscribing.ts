/**
 * How a subscription begins and ends. The order is law: keep what comes, join, be present, read what was missed, join
 * the two, reply, go live, tell others; and at the end: leave, be absent, tell others.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import type { Disconnect } from "../core/HubError.js"
import { within } from "../core/Signal.js"
import type { Grant } from "./Authenticator.js"
import type { BrokerError } from "./Broker.js"
import * as ChannelMetrics from "./ChannelMetrics.js"
import * as Expiry from "./Expiry.js"
import type { Namespace } from "./Namespace.js"
import { disconnects, errors, internalError, type ProtocolError, type Unsubscribe } from "./ProtocolCode.js"
import type { SubscribeParams } from "./ProtocolCommand.js"
import { pushes, type SubscribeResult } from "./ProtocolReply.js"
import type { StreamPosition } from "./Publication.js"
import * as Recovery from "./Recovery.js"
import type { Session } from "./Session.js"
import { Subscription } from "./Subscription.js"

/** What a client, or the server in its stead, asks for. */
export type Asked = Pick<
  SubscribeParams,
  "recover" | "since" | "positioned" | "recoverable" | "joinLeave" | "rejectUnrecovered"
>

/**
 * A subscription that may go live.
 *
 * @internal
 */
export interface Prepared {
  readonly subscription: Subscription
  readonly grant: Grant
  readonly start: Recovery.Start | undefined
  readonly recovering: boolean
  /** Where a client that recovers goes on counting from: where it was. */
  readonly from: number | undefined
}

const settle = (subscription: Subscription, grant: Grant, params: Asked | undefined): void => {
  const { namespace, session } = subscription
  const { override } = grant
  const mayAsk = session.may("readHistory", namespace, true)
  // Where publications may be dropped on purpose, a position would only tell of it as a fault.
  const hasStream = namespace.stream !== undefined && namespace.overflow === "disconnect"
  subscription.recoverable = hasStream && (
    subscription.option("forceRecovery", override) ||
    params?.recoverable === true && (namespace.allowRecovery || mayAsk)
  )
  subscription.positioned = subscription.recoverable || hasStream && (
        subscription.option("forcePositioning", override) ||
        params?.positioned === true && (namespace.allowPositioning || mayAsk)
      )
  subscription.announced = subscription.option("joinLeave", override)
  // Joins and leaves tell what presence does. Who is not announced may hear of others.
  subscription.hearsJoins = subscription.option("forcePushJoinLeave", override) ||
    params?.joinLeave === true && session.may("readPresence", namespace, true)
  subscription.info = grant.info
  subscription.expireAt = grant.expireAt
}

const failed = (error: BrokerError): ProtocolError => internalError(error)

// `fnUntraced` where many clients come by: a generator that is made anew for each costs V8 a hidden class.
const readStart = Effect.fnUntraced(function*(subscription: Subscription, params: Asked | undefined, room: number) {
  const { channel, namespace, recoverable } = subscription
  const { node } = subscription.session
  const isCache = namespace.recoveryMode === "cache"
  const recovering = recoverable && (params?.recover === true || isCache && namespace.autoCacheRecover)
  const since = params?.recover === true ? params.since : { offset: 0, epoch: "" }
  if (!recovering) {
    const top = yield* node.read(channel, namespace, { limit: 0 })
    return { start: { ...top, publications: [], recovered: false }, recovering, from: undefined }
  }
  if (isCache) {
    const history = yield* node.read(channel, namespace, { limit: 1, reverse: true })
    return { start: Recovery.within(room, Recovery.cache(since, history)), recovering, from: undefined }
  }
  const limit = node.config.recoveryLimit
  const history = yield* node.read(channel, namespace, { since, limit: limit === Infinity ? undefined : limit })
  return { start: Recovery.within(room, Recovery.stream(since, history)), recovering, from: since.offset }
})

/**
 * Everything up to the reply. Of what the client missed it has `room` bytes, or nothing: then the client is told so.
 * Whatever its outcome, `release` undoes it.
 *
 * @internal
 */
export const prepare: (
  subscription: Subscription,
  grant: Grant,
  params: Asked | undefined,
  room: number
) => Effect.Effect<Prepared, ProtocolError | Disconnect> = Effect.fnUntraced(function*(
  subscription,
  grant,
  params,
  room
) {
  const { node } = subscription.session
  settle(subscription, grant, params)
  yield* Effect.mapError(node.members.join(subscription), failed)
  if (subscription.option("presence", grant.override)) yield* addPresence(subscription)
  const found = subscription.positioned
    ? yield* readStart(subscription, params, room)
    : { start: undefined, recovering: false, from: undefined }
  if (params?.recover === true && params.rejectUnrecovered && found.recovering && found.start?.recovered === false) {
    return yield* errors.unrecoverablePosition
  }
  return { ...found, subscription, grant }
})

/**
 * Within one step: joins what was kept with what was read, lets `reply` tell the client, and goes live. What was kept
 * and is not part of the reply follows it. Then others are told.
 *
 * @internal
 */
export const commit = (
  session: Session,
  subscriptions: ReadonlyArray<Prepared>,
  reply: (results: ReadonlyMap<string, SubscribeResult>) => void
): Effect.Effect<void, Disconnect> =>
  Effect.suspend(() => {
    const results = new Map<string, SubscribeResult>()
    const begun: Array<() => void> = []
    for (const { from, grant, recovering, start, subscription } of subscriptions) {
      const { channel, positioned, recoverable } = subscription
      const whole = start === undefined ? undefined : Recovery.merge(start, subscription.kept)
      if (start !== undefined && whole === undefined) return Effect.fail(disconnects.insufficientState)
      const recovered = start?.recovered === true
      const offset = recovered && from !== undefined ? from : start?.position.offset ?? 0
      const missed = whole?.publications ?? []
      if (recovering) ChannelMetrics.recovery(recovered).unsafeUpdate(1, [])
      results.set(channel, {
        position: positioned && start !== undefined ? { offset, epoch: start.position.epoch } : undefined,
        recoverable,
        wasRecovering: recovering,
        recovered,
        publications: recovered ? missed : [],
        data: grant.data,
        // An SDK that is told of it, and has no token to renew, takes it for a mistake and does not come back.
        ttl: subscription.refreshable ? Expiry.ttlOf(grant.expireAt, session.node.unixTime()) : undefined
      })
      begun.push(() => {
        subscription.start(whole?.position ?? { offset: 0, epoch: "" })
        session.node.members.started(subscription)
        if (!recovered) { for (const publication of missed) session.push(pushes.publication(channel, publication)) }
      })
    }
    reply(results)
    session.flush()
    for (const begin of begun) begin()
    return Effect.forEach(subscriptions, ({ subscription }) => announce(subscription), { discard: true })
  })

/** Others are told of the join, before anything that could tell them of the leave. */
const announce = (subscription: Subscription): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { announced, channel, session, status } = subscription
    if (!announced || status !== "Live") return Effect.void
    subscription.joined = true
    return session.node.faults.attempt(
      "publish a join",
      session.node.broker.publishJoin(channel, session.infoIn(subscription))
    )
  }).pipe(Effect.uninterruptible)

/** @internal */
export const addPresence = (subscription: Subscription): Effect.Effect<void, ProtocolError> =>
  Effect.suspend(() => {
    const { channel, session } = subscription
    subscription.present = true
    return Effect.mapError(
      session.node.presence.add(channel, session.infoIn(subscription), session.node.config.presenceTtl),
      failed
    )
  })

/** What a handler acquired is released. The session waits for it no longer than the hub waits for a peer. */
const close = ({ channel, scope, session }: Subscription): Effect.Effect<void> =>
  scope === undefined ? Effect.void : within(
    Effect.catchAllCause(
      // What was interrupted would be released in part.
      Effect.uninterruptible(Scope.close(scope, Exit.void)),
      (cause) =>
        Effect.logError("A finalizer of a subscription failed", cause).pipe(
          Effect.annotateLogs({ package: "effect-ws-hub", channel })
        )
    ),
    session.node.hub.config.closeGrace
  )

/**
 * Undoes a subscription, however far it came; a second time it does nothing. From the first step on nothing of the
 * channel reaches the client.
 *
 * @internal
 */
export const release = (subscription: Subscription): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { channel, session } = subscription
    const { broker, faults: { attempt }, members, presence } = session.node
    if (session.subscriptions.get(channel) !== subscription) return Effect.void
    const left = attempt("leave a channel", members.leave(subscription))
    subscription.status = "Over"
    session.subscriptions.delete(channel)
    const info = session.infoIn(subscription)
    const absent = subscription.present ? attempt("remove presence", presence.remove(channel, info)) : Effect.void
    const told = subscription.joined ? attempt("publish a leave", broker.publishLeave(channel, info)) : Effect.void
    return left.pipe(Effect.ensuring(absent), Effect.ensuring(told), Effect.ensuring(close(subscription)))
  }).pipe(Effect.uninterruptible)

/**
 * The server takes a subscription from a client, and says why.
 *
 * @internal
 */
export const take = (subscription: Subscription, reason: Unsubscribe): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { channel, session } = subscription
    if (session.subscriptions.get(channel) !== subscription) return Effect.void
    // A subscribe command that was interrupted, since the connection ends, has not been answered.
    const isKnown = subscription.status !== "Starting"
    return Effect.map(release(subscription), () => {
      if (isKnown) session.push(pushes.unsubscribe(channel, reason))
    })
  })

/**
 * Of what the server subscribes it to, a client can say where it was, and no more.
 *
 * @internal
 */
export const returning = (since: StreamPosition): Asked => ({
  recover: true,
  since,
  positioned: false,
  recoverable: false,
  joinLeave: false,
  rejectUnrecovered: false
})

/**
 * The server subscribes a client. Does nothing if it is subscribed, or if the grant has expired.
 *
 * @internal
 */
export const give = (
  session: Session,
  channel: string,
  namespace: Namespace,
  grant: Grant,
  since: StreamPosition | undefined
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { node, subscriptions } = session
    // Over by the clock of this node, or since the client's own command took its time.
    if (subscriptions.has(channel) || !session.isConnected || Expiry.isOver(grant, node.unixTime())) return Effect.void
    if (subscriptions.size >= node.config.channelLimit) {
      return Effect.sync(() => session.close(disconnects.channelLimit))
    }
    const subscription = new Subscription(session, channel, namespace, true)
    subscriptions.set(channel, subscription)
    const asked = since && { ...returning(since), recoverable: true }
    const room = session.roomFor([grant])
    const tell = (results: ReadonlyMap<string, SubscribeResult>) => {
      const result = results.get(channel)
      if (result === undefined) return
      session.push(pushes.subscribe(channel, result))
      for (const missed of result.publications) session.push(pushes.publication(channel, missed))
    }
    return prepare(subscription, grant, asked, room).pipe(
      Effect.flatMap((prepared) => commit(session, [prepared], tell)),
      Effect.tapErrorCause(() => release(subscription)),
      Effect.catchAll((error) =>
        error._tag === "Disconnect"
          ? Effect.sync(() => session.close(error))
          : node.faults.complain("subscribe", error)
      )
    )
  })
