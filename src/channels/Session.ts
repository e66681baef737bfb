/**
 * One client's side of the protocol. Its states are in `SessionState`; commands are handled one after the other. Whatever
 * happens, the end of the connection's scope undoes what the session did: see `Session.end`.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import type { Connection } from "../core/Connection.js"
import type { Message } from "../core/Frame.js"
import type { Disconnect } from "../core/HubError.js"
import * as Access from "./Access.js"
import type { Credentials } from "./Authenticator.js"
import * as ChannelMetrics from "./ChannelMetrics.js"
import type { Caller } from "./Channels.js"
import * as Commands from "./Commands.js"
import * as Connecting from "./Connecting.js"
import { Heartbeat } from "./Heartbeat.js"
import { beginWithin, Lock } from "./Lock.js"
import type { Namespace } from "./Namespace.js"
import type { Node } from "./Node.js"
import { Outgoing } from "./Outgoing.js"
import { PresenceLease } from "./PresenceLease.js"
import { disconnects, errors, type ProtocolError, spoken, unsubscribes } from "./ProtocolCode.js"
import * as ProtocolCommand from "./ProtocolCommand.js"
import { pushes, replies } from "./ProtocolReply.js"
import type { ClientInfo } from "./Publication.js"
import { RateLimits } from "./RateLimit.js"
import * as SessionState from "./SessionState.js"
import * as Subscribing from "./Subscribing.js"
import type { Subscription } from "./Subscription.js"
import { UnderWay } from "./UnderWay.js"

const decoder = new TextDecoder()

type Asked = Exclude<ProtocolCommand.Command, { _tag: "pong" }>

/** Time that a change by the server waits for the subscribe command of the same channel. */
const patience = 5000

/** @internal */
export class Session extends Outgoing {
  readonly client: string = globalThis.crypto.randomUUID()
  readonly node: Node
  /** Who the client is, once that is known. */
  credentials: Credentials = { user: "", clientRefresh: false, subscriptions: new Map() }
  private state: SessionState.State = "Waiting"
  readonly subscriptions = new Map<string, Subscription>()
  /** When a client that has not connected is closed, on the node's clock. */
  private readonly staleAt: number
  private readonly heartbeat = new Heartbeat()
  readonly presence: PresenceLease
  private rates: RateLimits | undefined = undefined
  /** Held while the client connects. */
  private readonly gate = new Lock()
  private underWay: UnderWay | undefined = undefined
  /** What others were told of it last, and by which credentials. */
  private said: { readonly info: ClientInfo; readonly by: Credentials } | undefined = undefined
  /** A message is being handled: what the client sent behind it is not read yet, a pong included. */
  private isBusy = false

  constructor(node: Node, connection: Connection) {
    super(connection, node.hub.config.outboxBytes)
    this.node = node
    this.staleAt = node.now() + node.config.staleTimeout
    this.presence = new PresenceLease(this)
  }

  get caller(): Caller {
    const { client, connection, credentials: { info, meta, user } } = this
    return { client, user, info, meta, connection }
  }

  get user(): string {
    return this.credentials.user
  }

  get isConnected(): boolean {
    return this.state === "Connected"
  }

  /** The client's publications, with a broker that need not be waited for. */
  get publications(): UnderWay | undefined {
    const { unsafePublish } = this.node.broker
    return this.underWay ??= unsafePublish && new UnderWay(unsafePublish, this)
  }

  /** How others in a channel see it. */
  infoIn(subscription: Subscription | undefined): ClientInfo {
    const { client, credentials, said } = this
    const chanInfo = subscription?.info
    if (said?.by === credentials && said.info.chanInfo === chanInfo) return said.info
    const info = { user: credentials.user, client, connInfo: credentials.info, chanInfo }
    this.said = { info, by: credentials }
    return info
  }

  /** From here on it does not count among its user's. */
  close(reason: Disconnect): void {
    this.flush()
    this.node.roster.leave(this)
    this.connection.unsafeClose(spoken(reason))
  }

  // --- what comes in

  /** Handles one message. */
  readonly onMessage = (message: Message): Effect.Effect<void, Disconnect> => {
    const handled = this.onText(typeof message === "string" ? message : decoder.decode(message))
    if (handled === Effect.void) return handled
    return Effect.suspend(() => {
      this.isBusy = true
      return Effect.ensuring(
        handled,
        Effect.sync(() => {
          this.isBusy = false
        })
      )
    })
  }

  /** Documents, separated by line feeds. */
  private onText(text: string): Effect.Effect<void, Disconnect> {
    const documents = text.indexOf("\n") < 0 ? undefined : text.split("\n")
    if (documents?.[documents.length - 1] === "") documents.pop()
    if (documents === undefined || documents.length === 1) return this.onDocument(documents?.[0] ?? text)
    const wasRefused = this.state === "Refused"
    // What a client sent behind a connect command that failed was meant for a connection that is not.
    return this.together(
      documents,
      (document) => this.state === "Refused" && !wasRefused ? Effect.void : this.onDocument(document)
    )
  }

  private onDocument(document: string): Effect.Effect<void, Disconnect> {
    const command = ProtocolCommand.decode(document)
    if (!("_tag" in command) || command._tag === "Disconnect") return Effect.fail(disconnects.badRequest)
    if (!SessionState.takes(this.state, command._tag)) return Effect.fail(disconnects.badRequest)
    if (command._tag === "pong") {
      return this.heartbeat.take(this.node.now(), this.node.config) ? Effect.void : Effect.fail(disconnects.badRequest)
    }
    const handled = this.run(command)
    // Done already, as a publication is: to catch its errors costs as much again.
    if (handled === Effect.void) return Effect.void
    return Effect.catchAll(
      handled,
      (error) => error._tag === "Disconnect" ? Effect.fail(error) : this.refuse(command, error)
    )
  }

  /** The reply to a publication, when the broker is done with it. Others were begun meanwhile. */
  published(id: number, error: ProtocolError | undefined): string {
    const { faults } = this.node
    if (error === undefined) {
      faults.worked()
      return replies.empty(id, "publish")
    }
    ChannelMetrics.errors(error.code).unsafeUpdate(1, [])
    this.node.fork(faults.complain("publish", error))
    return replies.error(id, error)
  }

  private refuse(command: Asked, error: ProtocolError): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (command._tag === "connect") this.become("refused")
      ChannelMetrics.errors(error.code).unsafeUpdate(1, [])
      // Nobody waits for an answer to `send`.
      if (command._tag !== "send") this.reply(replies.error(command.id, error))
      return this.node.faults.complain(command._tag, error)
    })
  }

  private run(command: Asked): Commands.Handled {
    if (command._tag === "connect") {
      this.become("connect")
      return Commands.traced(command, this.gate.with(Connecting.connect(this, command, () => this.connected())))
    }
    const handled = Commands.traced(command, Commands.handle(this, command))
    return this.underWay === undefined || command._tag === "publish" ? handled : this.underWay.after(handled)
  }

  private lockOf(channel: string): string {
    return `${this.connection.id} ${channel}`
  }

  /** One at a time of what changes the subscription to one channel: the client's commands, and the server's. */
  exclusively<A, E, R>(channel: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.node.changes.with(this.lockOf(channel), effect)
  }

  /** The same, or `otherwise` if it is being changed: for what has time. */
  ifFree(channel: string, effect: Effect.Effect<void>, otherwise: Effect.Effect<void>): Effect.Effect<void> {
    return this.node.changes.ifFree(this.lockOf(channel), effect, otherwise)
  }

  /**
   * A change by the server, which waits until the client has connected, and for its command in the same channel. If that
   * takes too long, the client is closed with 3004. Once begun it is not interrupted: who asked for it may go, and the
   * client must not be left half subscribed.
   */
  change(channel: string, effect: Effect.Effect<void>): Effect.Effect<void> {
    const locked = (change: Effect.Effect<void>) => {
      const alone = this.exclusively(channel, change)
      return this.gate.isFree ? alone : this.gate.with(alone)
    }
    const whenFree = beginWithin(locked, effect, patience, Effect.sync(() => this.close(disconnects.internal)))
    return Effect.suspend(() => this.gate.isFree ? this.ifFree(channel, effect, whenFree) : whenFree)
  }

  /** The error, if the client does this too often. */
  limit(operation: "publish" | "subscribe" | "history", namespace: Namespace): ProtocolError | undefined {
    const perSecond = namespace[`${operation}Rate`]
    if (perSecond === Infinity) return undefined
    this.rates ??= new RateLimits()
    const isWithin = this.rates.take(`${operation} ${namespace.name}`, perSecond, this.node.now())
    return isWithin ? undefined : errors.tooManyRequests
  }

  isSubscriber(channel: string): boolean {
    return this.subscriptions.get(channel)?.status === "Live"
  }

  /** Whether an option lets the client do this. */
  may(operation: "publish" | "readHistory" | "readPresence", namespace: Namespace, isSubscriber: boolean): boolean {
    return this.node.config.insecure || Access.allows(namespace[operation], this.user, isSubscriber)
  }

  /** An event leads from one state to the next. */
  private become(event: SessionState.Event): void {
    this.state = SessionState.after(this.state, event)
  }

  // --- time

  /** The client has connected: its clock starts. */
  private connected(): void {
    const now = this.node.now()
    this.become("replied")
    this.heartbeat.start(now, this.node.config)
    this.presence.start(now)
  }

  /** One look of the node's clock: what is due is done. */
  look(now: number, unixTime: number): void {
    switch (this.state) {
      case "Waiting":
      case "Connecting":
      case "Refused":
        return now < this.staleAt ? undefined : this.close(disconnects.stale)
      case "Connected":
        if (this.heartbeat.isLost(now) && !this.isBusy) return this.close(disconnects.noPong)
        if (this.heartbeat.beat(now, this.node.config)) this.push(pushes.ping)
        if (this.isExpired(unixTime)) return this.close(disconnects.expired)
        this.presence.look(now)
        this.endExpired(unixTime)
    }
  }

  /** A client that refreshes what it was granted has some time to do so. */
  private isExpired(unixTime: number): boolean {
    const { clientRefresh, expireAt = Infinity } = this.credentials
    return unixTime >= expireAt + (clientRefresh ? this.node.config.expiredDelay / 1000 : 0)
  }

  private endExpired(unixTime: number): void {
    for (const subscription of this.subscriptions.values()) {
      const { expireAt = Infinity, refreshable, serverSide } = subscription
      const delay = refreshable || serverSide ? this.node.config.expiredDelay / 1000 : 0
      if (unixTime < expireAt + delay) continue
      subscription.expireAt = undefined
      if (serverSide) return this.close(disconnects.subscriptionExpired)
      this.node.fork(this.change(subscription.channel, Subscribing.take(subscription, unsubscribes.expired)))
    }
  }

  /** A publication is missing: the client subscribes again from its position, or connects again. */
  onGap(subscription: Subscription): void {
    if (subscription.status !== "Live") return
    ChannelMetrics.gaps.unsafeUpdate(1, [])
    if (subscription.serverSide) return this.close(disconnects.insufficientState)
    subscription.status = "Over"
    const taken = Subscribing.take(subscription, unsubscribes.insufficientState)
    this.node.fork(this.change(subscription.channel, taken))
  }

  // --- the end

  /** The connection has ended: the socket is gone. Nothing of the session is left when this completes. */
  get end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.become("ended")
      this.node.roster.remove(this)
      return this.gate.with(this.releaseAll)
    })
  }

  get releaseAll(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(
        [...this.subscriptions.values()],
        (subscription) => this.exclusively(subscription.channel, Subscribing.release(subscription)),
        { discard: true }
      )
    )
  }
}
