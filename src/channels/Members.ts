/**
 * Who on this node is in which channel, and how they are told.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Schedule from "effect/Schedule"
import type { Hub } from "../core/Hub.js"
import type { Broker, BrokerError, BrokerEvent } from "./Broker.js"
import * as ChannelMetrics from "./ChannelMetrics.js"
import { type Listener, LocalChannel } from "./LocalChannel.js"
import { Locks } from "./Lock.js"
import type { Namespace } from "./Namespace.js"
import { pushes } from "./ProtocolReply.js"
import type { Live } from "./Recovery.js"
import type { Subscription } from "./Subscription.js"

/** When the broker is told again of channels that it could not leave. */
const again = Schedule.union(Schedule.exponential("1 second"), Schedule.spaced("1 minute"))

/** @internal */
export class Members {
  private readonly channels = new Map<string, LocalChannel>()
  private subscribed = 0
  /** What the broker is told of one channel happens one after the other. */
  private readonly locks = new Locks()
  private readonly hub: Hub["Type"]
  private readonly broker: Broker["Type"]
  private readonly onGap: (subscription: Subscription) => void
  private readonly fork: (effect: Effect.Effect<void>) => void
  /** Names of channels without members that the broker may still tell of. */
  private readonly unleft = new Set<string>()
  private isLeaving = false

  constructor(
    hub: Hub["Type"],
    broker: Broker["Type"],
    onGap: (subscription: Subscription) => void,
    fork: (effect: Effect.Effect<void>) => void
  ) {
    this.hub = hub
    this.broker = broker
    this.onGap = onGap
    this.fork = fork
  }

  /** Channels with members. */
  [Symbol.iterator](): IterableIterator<LocalChannel> {
    return this.channels.values()
  }

  get size(): number {
    return this.channels.size
  }

  /** From here on it is the last of them. */
  putLast(channel: LocalChannel): void {
    this.channels.delete(channel.name)
    this.channels.set(channel.name, channel)
  }

  private of(name: string, namespace: Namespace): LocalChannel {
    const found = this.channels.get(name)
    if (found !== undefined) return found
    const channel = new LocalChannel(name, namespace)
    this.channels.set(name, channel)
    return channel
  }

  /** From when this completes, the subscription hears of its channel. Whatever its outcome, `leave` undoes it. */
  join(subscription: Subscription): Effect.Effect<void, BrokerError> {
    return Effect.suspend(() => {
      const { connection } = subscription.session
      const channel = this.of(subscription.channel, subscription.namespace)
      channel.subscriptions.set(connection.id, subscription)
      ChannelMetrics.subscriptions.unsafeUpdate(++this.subscribed, [])
      channel.careful++
      return Effect.zipRight(connection.join(channel.topic), this.hear(channel))
    })
  }

  /** The subscription has started: it needs no care, unless its position is checked. */
  started(subscription: Subscription): void {
    const channel = this.channels.get(subscription.channel)
    if (channel !== undefined && !subscription.positioned) channel.careful--
  }

  /** Nothing of the channel reaches the subscription from the first step on; then the broker is told. */
  leave(subscription: Subscription): Effect.Effect<void, BrokerError> {
    const { connection } = subscription.session
    const channel = this.channels.get(subscription.channel)
    if (channel === undefined || channel.subscriptions.get(connection.id) !== subscription) return Effect.void
    const careful = subscription.status === "Starting" || subscription.positioned
    // It leaves the topic first: without anyone who needs care, a publication goes to all in the topic.
    return Effect.zipRight(
      connection.leave(channel.topic),
      Effect.suspend(() => {
        channel.subscriptions.delete(connection.id)
        ChannelMetrics.subscriptions.unsafeUpdate(--this.subscribed, [])
        if (careful) channel.careful--
        return this.forget(channel)
      })
    )
  }

  listen(name: string, namespace: Namespace, listener: Listener): Effect.Effect<void, BrokerError> {
    return Effect.suspend(() => {
      const channel = this.of(name, namespace)
      channel.listeners.add(listener)
      return this.hear(channel)
    })
  }

  unlisten(name: string, listener: Listener): Effect.Effect<void, BrokerError> {
    return Effect.suspend(() => {
      const channel = this.channels.get(name)
      if (channel === undefined || !channel.listeners.delete(listener)) return Effect.void
      return this.forget(channel)
    })
  }

  private hear(channel: LocalChannel): Effect.Effect<void, BrokerError> {
    if (channel.heard) return Effect.void
    return this.locks.with(
      channel.name,
      Effect.suspend(() =>
        channel.heard
          ? Effect.void
          : Effect.map(this.broker.subscribe(channel.name), () => {
            channel.heard = true
          })
      )
    )
  }

  private forget(channel: LocalChannel): Effect.Effect<void, BrokerError> {
    if (!channel.isEmpty) return Effect.void
    return this.locks.with(
      channel.name,
      Effect.suspend(() => {
        if (!channel.isEmpty || this.channels.get(channel.name) !== channel) return Effect.void
        // Who joins from here on subscribes again, after this.
        channel.heard = false
        return Effect.onExit(this.broker.unsubscribe(channel.name), (exit) =>
          Effect.sync(() => {
            if (!channel.isEmpty) return
            this.channels.delete(channel.name)
            if (Exit.isFailure(exit)) this.leaveLater(channel.name)
          }))
      })
    )
  }

  private leaveLater(name: string): void {
    this.unleft.add(name)
    if (this.isLeaving) return
    this.isLeaving = true
    this.fork(this.leaving)
  }

  /** Tells the broker again, until it has heard of all. A channel that has members again is theirs to leave. */
  private get leaving(): Effect.Effect<void> {
    const leave = (name: string) =>
      this.locks.with(
        name,
        Effect.suspend(() =>
          Effect.map(this.channels.has(name) ? Effect.void : this.broker.unsubscribe(name), () => {
            this.unleft.delete(name)
          })
        )
      )
    const leaveAll = Effect.suspend(() =>
      Effect.forEach([...this.unleft], (name) => Effect.exit(leave(name)), { discard: true })
    )
    const attempt = Effect.map(leaveAll, () => {
      this.isLeaving = this.unleft.size > 0
    })
    return Effect.asVoid(Effect.schedule(attempt, Schedule.whileInput(again, () => this.isLeaving)))
  }

  /** What the broker tells. */
  readonly onEvent = (event: BrokerEvent): void => {
    const channel = this.channels.get(event.channel)
    if (channel === undefined) return
    switch (event._tag) {
      case "Published":
        return this.onPublished(channel, event)
      case "Joined":
        return this.announce(channel, pushes.join(channel.name, event.info))
      case "Left":
        return this.announce(channel, pushes.leave(channel.name, event.info))
      case "Gap": {
        for (const listener of channel.listeners) listener.onGap()
        // Compared at the next look.
        channel.checkAt = 1
        // What lost publications may have lost who is there.
        for (const { present, session } of channel.subscriptions.values()) if (present) session.presence.renewSoon()
      }
    }
  }

  private onPublished(channel: LocalChannel, live: Live): void {
    for (const listener of channel.listeners) listener.onLive(live)
    if (channel.subscriptions.size === 0) return
    ChannelMetrics.publications.unsafeUpdate(1, [])
    const gaps: Array<Subscription> = []
    const options = channel.options(live, (subscription) => gaps.push(subscription))
    this.hub.unsafePublish(channel.topic, pushes.publication(channel.name, live.publication), options)
    for (const subscription of gaps) this.onGap(subscription)
  }

  private announce(channel: LocalChannel, push: string): void {
    const hears = ({ hearsJoins, status }: Subscription) => status === "Live" && hearsJoins
    this.hub.unsafePublish(channel.topic, push, channel.to(hears))
  }
}
