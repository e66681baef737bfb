/**
 * One client's side of the protocol.
 *
 * ```text
 *             connect                 replied
 *  Waiting ───────────▶ Connecting ───────────▶ Connected
 *     │                     │  error reply          │
 *     │ stale 3502          └──────────▶ Refused    │ pings and pongs, expiry, presence
 *     ▼                                     ▼       ▼
 *   Over ◀───────────────────── the connection has ended
 * ```
 *
 * Waiting: any other command is 3501. Refused: any command is 3501. Commands are handled one after the other. Whatever
 * happens, the end of the connection's scope undoes what the session did: see `Session.end`.
 *
 * @since 1.0.0
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import type { Connection } from "../core/Connection.js"
import type { Message } from "../core/Frame.js"
import type { Disconnect } from "../core/HubError.js"
import * as Access from "./Access.js"
import type { Credentials, Grant } from "./Authenticator.js"
import * as ChannelMetrics from "./ChannelMetrics.js"
import type { Caller } from "./Channels.js"
import type { Namespace } from "./Namespace.js"
import type { Node } from "./Node.js"
import * as Protocol from "./Protocol.js"
import {
  badRequest,
  disconnects,
  errors,
  internalError,
  type ProtocolError,
  spoken,
  type Unsubscribe,
  unsubscribes
} from "./ProtocolCode.js"
import type { ClientInfo, StreamPosition } from "./Publication.js"
import { RateLimit } from "./RateLimit.js"
import * as Subscribing from "./Subscribing.js"
import { Subscription, ttlOf } from "./Subscription.js"

type Handled = Effect.Effect<void, ProtocolError | Disconnect>

const decoder = new TextDecoder()

const nothing: Subscribing.Asked = {
  recover: false,
  since: { offset: 0, epoch: "" },
  positioned: false,
  recoverable: false,
  joinLeave: false,
  rejectUnrecovered: false
}

/** Time that a change from outside waits for the command that is being handled. */
const patience = 5000

/** @internal */
export class Session {
  readonly client: string = globalThis.crypto.randomUUID()
  readonly connection: Connection
  readonly node: Node
  user = ""
  info: unknown = undefined
  private meta: unknown = undefined
  private status: "Waiting" | "Connecting" | "Connected" | "Refused" | "Over" = "Waiting"
  readonly subscriptions = new Map<string, Subscription>()
  /** Seconds of Unix time. */
  expireAt: number | undefined = undefined
  private clientRefresh = false
  /** When `look` has something to do, on the node's clock. */
  private staleAt: number
  private pingAt = Infinity
  /** Pings that wait for their pong. */
  private pings = 0
  private pongAt = Infinity
  private presenceAt = Infinity
  private busy = false
  /** Replies to the commands of one message, which leave together; `undefined` while there is but one. */
  private batch: Array<string> | undefined = undefined
  private rates: Map<string, RateLimit> | undefined = undefined
  private readonly lock = Effect.unsafeMakeSemaphore(1)

  constructor(node: Node, connection: Connection) {
    this.node = node
    this.connection = connection
    this.staleAt = node.now() + node.config.staleTimeout
  }

  get caller(): Caller {
    const { client, connection, info, meta, user } = this
    return { client, user, info, meta, connection }
  }

  get isConnected(): boolean {
    return this.status === "Connected"
  }

  /** How others in a channel see it. */
  infoIn({ info }: Subscription): ClientInfo {
    return { user: this.user, client: this.client, connInfo: this.info, chanInfo: info }
  }

  // --- what goes out

  /** Sends a document of the protocol. What was said in one message's answer is sent first. */
  push(document: string): void {
    this.flush()
    this.connection.unsafeSend(document)
  }

  private reply(document: string): void {
    if (this.batch === undefined) this.connection.unsafeSend(document)
    else this.batch.push(document)
  }

  /** Sends the replies so far: before anything that must come after them, or that may take long. */
  flush(): void {
    if (this.batch === undefined || this.batch.length === 0) return
    this.connection.unsafeSend(this.batch.join("\n"))
    this.batch = []
  }

  /** From here on it does not count among its user's. */
  close(reason: Disconnect): void {
    this.flush()
    this.node.roster.leave(this)
    this.connection.unsafeClose(spoken(reason))
  }

  // --- what comes in

  /** Handles one message: documents, separated by line feeds. */
  readonly onMessage = (message: Message): Effect.Effect<void, Disconnect> => {
    const text = typeof message === "string" ? message : decoder.decode(message)
    const documents = text.indexOf("\n") < 0 ? undefined : text.split("\n")
    if (documents?.[documents.length - 1] === "") documents.pop()
    if (documents === undefined || documents.length === 1) return this.onDocument(documents?.[0] ?? text)
    return Effect.suspend(() => {
      this.batch = []
      return Effect.forEach(documents, (document) => this.onDocument(document), { discard: true }).pipe(
        Effect.ensuring(Effect.sync(() => {
          this.flush()
          this.batch = undefined
        }))
      )
    })
  }

  private onDocument(document: string): Effect.Effect<void, Disconnect> {
    const command = Protocol.decode(document)
    if (!("_tag" in command) || command._tag === "Disconnect") return Effect.fail(disconnects.badRequest)
    const allowed = command._tag === "connect" ? this.status === "Waiting" : this.status === "Connected"
    if (!allowed) return Effect.fail(disconnects.badRequest)
    if (command._tag === "pong") return this.pong()
    const { id } = command
    return this.handle(command).pipe(
      Effect.catchTag("ProtocolError", (error) =>
        Effect.suspend(() => {
          if (command._tag === "connect") this.status = "Refused"
          ChannelMetrics.errors(error.code).unsafeUpdate(1, [])
          // Nobody waits for an answer to `send`.
          if (command._tag !== "send") this.reply(Protocol.replies.error(id, error))
          return this.node.complain(command._tag, error)
        }))
    )
  }

  private handle(command: Exclude<Protocol.Command, { _tag: "pong" }>): Handled {
    switch (command._tag) {
      case "publish":
        return this.publish(command)
      case "connect":
        return this.exclusively(this.connect(command))
      case "subscribe":
        return this.exclusively(this.subscribe(command))
      case "unsubscribe":
        return this.exclusively(this.unsubscribe(command))
      case "presence":
      case "presence_stats":
        return this.presence(command)
      case "history":
        return this.history(command)
      case "rpc":
        return Effect.flatMap(
          this.atLeisure(this.node.call(command.method, command.data, this.caller)),
          (data) => {
            const json = Protocol.stringify(data ?? null)
            if (json === undefined) {
              return Effect.fail(internalError(`the method ${command.method} answered what is not JSON`))
            }
            return Effect.sync(() => this.reply(Protocol.replies.rpc(command.id, json)))
          }
        )
      case "send":
        return this.atLeisure(this.node.receive(command.data, this.caller))
      case "refresh":
        return this.refresh(command)
      case "sub_refresh":
        return this.refreshSubscription(command)
      case "ping":
        return Effect.fail(errors.notAvailable)
    }
  }

  /** Code of the application may take its time: replies do not wait for it, and no pong is expected meanwhile. */
  private atLeisure<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      this.flush()
      this.busy = true
      return Effect.ensuring(
        effect,
        Effect.sync(() => {
          this.busy = false
        })
      )
    })
  }

  /** One at a time of what changes subscriptions: the client's commands, and the server's. */
  private exclusively<A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return this.lock.withPermits(1)(effect)
  }

  /** A change by the server. A client whose command takes too long for it is closed with 3004. */
  change(effect: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.flatMap(
      this.lock.withPermitsIfAvailable(1)(effect),
      (done) => done._tag === "Some" ? Effect.void : this.changeLater(effect)
    )
  }

  private changeLater(effect: Effect.Effect<void>): Effect.Effect<void> {
    return Effect.suspend(() => {
      let begun = false
      const work = this.exclusively(Effect.suspend(() => {
        begun = true
        return Effect.uninterruptible(effect)
      }))
      const late = Effect.suspend(() => begun ? Effect.never : Effect.sync(() => this.close(disconnects.internal)))
      return Effect.raceFirst(work, Effect.zipRight(Effect.sleep(patience), late))
    })
  }

  private namespace(channel: string): Either.Either<Namespace, ProtocolError> {
    return this.node.namespaceOf(channel)
  }

  private limit(operation: "publish" | "subscribe" | "history", namespace: Namespace): ProtocolError | undefined {
    const perSecond = namespace[`${operation}Rate`]
    if (perSecond === Infinity) return undefined
    const now = this.node.now()
    const key = `${operation} ${namespace.name}`
    this.rates ??= new Map()
    let rate = this.rates.get(key)
    if (rate === undefined) this.rates.set(key, rate = new RateLimit(perSecond, now))
    return rate.take(now) ? undefined : errors.tooManyRequests
  }

  private isSubscriber(channel: string): boolean {
    return this.subscriptions.get(channel)?.status === "Live"
  }

  // --- connect

  private connect(command: Extract<Protocol.Command, { _tag: "connect" }>): Handled {
    const { client, node } = this
    return Effect.gen(this, function*() {
      this.status = "Connecting"
      const credentials = yield* this.atLeisure(node.authenticator.connect({
        token: command.token,
        data: command.data,
        name: command.name,
        version: command.version,
        headers: command.headers,
        client,
        handshake: this.connection.handshake
      }))
      const subscriptions = yield* this.identify(credentials)
      const prepared = yield* Effect.forEach(
        subscriptions,
        ([subscription, grant]) =>
          Subscribing.prepare(subscription, grant, command.subscriptions.get(subscription.channel))
      )
      this.status = "Connected"
      const { config } = node
      const now = node.now()
      if (config.pingInterval > 0) this.pingAt = now + config.pingInterval * (0.5 + Math.random() / 2)
      this.presenceAt = now + config.presenceInterval * (0.5 + Math.random() / 2)
      yield* Subscribing.commit(
        this,
        prepared,
        (results) =>
          this.reply(Protocol.replies.connect(command.id, {
            client,
            version: config.version,
            ttl: this.ttl(),
            data: credentials.data,
            subscriptions: results,
            ping: config.pingInterval / 1000
          }))
      )
    }).pipe(Effect.tapErrorCause(() =>
      Effect.suspend(() => {
        // The socket may stay open for a while, and must not count among its user's.
        node.roster.leave(this)
        return this.releaseAll
      })
    ))
  }

  /** From here on the user is known, and so are the channels that the server subscribes it to. */
  private identify(
    credentials: Credentials
  ): Effect.Effect<ReadonlyArray<readonly [Subscription, Grant]>, ProtocolError | Disconnect> {
    const { node } = this
    return Effect.suspend(
      (): Effect.Effect<ReadonlyArray<readonly [Subscription, Grant]>, ProtocolError | Disconnect> => {
        this.user = credentials.user
        this.info = credentials.info
        this.meta = credentials.meta
        this.expireAt = credentials.expireAt
        this.clientRefresh = credentials.clientRefresh
        if (credentials.expireAt !== undefined && credentials.expireAt <= node.unixTime()) {
          return Effect.fail(credentials.clientRefresh ? errors.tokenExpired : errors.expired)
        }
        const others = node.roster.of(this.user)
        const { channelLimit, personalChannel, userConnections } = node.config
        if (personalChannel?.singleConnection === true && this.user !== "") {
          for (const other of others) other.close(disconnects.connectionLimit)
        } else if (this.user !== "" && others.length >= userConnections) return Effect.fail(disconnects.connectionLimit)
        node.roster.add(this)
        const grants = new Map(credentials.subscriptions)
        if (personalChannel !== undefined && this.user !== "") {
          const personal = `${personalChannel.prefix}${this.user}`
          if (!grants.has(personal)) grants.set(personal, {})
        }
        if (grants.size > channelLimit) return Effect.fail(disconnects.channelLimit)
        return Effect.forEach(grants, ([channel, grant]) =>
          Effect.map(this.namespace(channel), (namespace) => {
            const subscription = new Subscription(this, channel, namespace, true)
            this.subscriptions.set(channel, subscription)
            return [subscription, grant] as const
          }))
      }
    )
  }

  /** Seconds until the connection expires, if it is the client that refreshes it. */
  private ttl(): number | undefined {
    if (this.expireAt === undefined || !this.clientRefresh) return undefined
    return Math.max(1, Math.ceil(this.expireAt - this.node.unixTime()))
  }

  // --- channels

  private subscribe({ id, params }: Extract<Protocol.Command, { _tag: "subscribe" }>): Handled {
    const { node } = this
    const { channel } = params
    return Effect.gen(this, function*() {
      if (params.unsupported === "delta") return yield* disconnects.badRequest
      if (params.unsupported === "filter") return yield* badRequest("filters are not available")
      if (params.unsupported === "type") return yield* errors.notAvailable
      const namespace = yield* this.namespace(channel)
      if (this.subscriptions.has(channel)) return yield* errors.alreadySubscribed
      if (this.subscriptions.size >= node.config.channelLimit) return yield* errors.limitExceeded
      const limited = this.limit("subscribe", namespace)
      if (limited !== undefined) return yield* limited
      const subscription = new Subscription(this, channel, namespace, false)
      this.subscriptions.set(channel, subscription)
      yield* Effect.gen(this, function*() {
        const grant = yield* this.atLeisure(Access.subscribe({
          params,
          caller: this.caller,
          namespace,
          insecure: node.config.insecure,
          tokens: node.authenticator,
          handler: node.handlerOf(channel)
        }))
        if (grant.expireAt !== undefined && grant.expireAt <= node.unixTime()) {
          return yield* (params.token === "" ? errors.expired : errors.tokenExpired)
        }
        const prepared = yield* Subscribing.prepare(subscription, grant, params)
        yield* Subscribing.commit(this, [prepared], (results) => {
          const result = results.get(channel)
          if (result !== undefined) this.reply(Protocol.replies.subscribe(id, result))
        })
      }).pipe(Effect.tapErrorCause(() => Subscribing.release(subscription)))
    })
  }

  private unsubscribe({ channel, id }: Extract<Protocol.Command, { _tag: "unsubscribe" }>): Handled {
    return Effect.suspend(() => {
      const subscription = this.subscriptions.get(channel)
      const released = subscription === undefined ? Effect.void : Subscribing.release(subscription)
      return Effect.map(released, () => this.reply(Protocol.replies.empty(id, "unsubscribe")))
    })
  }

  /** The server takes a subscription away, and says why. */
  take(subscription: Subscription, reason: Unsubscribe): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (subscription.status !== "Live" && this.subscriptions.get(subscription.channel) !== subscription) {
        return Effect.void
      }
      return Effect.map(
        Subscribing.release(subscription),
        () => this.push(Protocol.pushes.unsubscribe(subscription.channel, reason))
      )
    })
  }

  /** The server subscribes the client. Does nothing if it is subscribed. */
  give(
    channel: string,
    namespace: Namespace,
    grant: Grant,
    since: StreamPosition | undefined
  ): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.subscriptions.has(channel) || this.status !== "Connected") return Effect.void
      if (this.subscriptions.size >= this.node.config.channelLimit) {
        return Effect.sync(() => this.close(disconnects.channelLimit))
      }
      const subscription = new Subscription(this, channel, namespace, true)
      this.subscriptions.set(channel, subscription)
      const asked = since === undefined ? undefined : { ...nothing, recover: true, recoverable: true, since }
      return Subscribing.prepare(subscription, grant, asked).pipe(
        Effect.flatMap((prepared) =>
          Subscribing.commit(this, [prepared], (results) => {
            const result = results.get(channel)
            if (result === undefined) return
            this.push(Protocol.pushes.subscribe(channel, result))
            for (const missed of result.publications) this.push(Protocol.pushes.publication(channel, missed))
          })
        ),
        Effect.tapErrorCause(() => Subscribing.release(subscription)),
        Effect.catchAll((error) =>
          error._tag === "Disconnect" ? Effect.sync(() => this.close(error)) : this.node.complain("subscribe", error)
        )
      )
    })
  }

  private publish({ channel, data, id }: Extract<Protocol.Command, { _tag: "publish" }>): Handled {
    const { node, user } = this
    return Effect.suspend((): Handled => {
      const found = this.namespace(channel)
      if (Either.isLeft(found)) return Effect.fail(found.left)
      const namespace = found.right
      if (data === undefined) return Effect.fail(badRequest("a publication has data"))
      const limited = this.limit("publish", namespace)
      if (limited !== undefined) return Effect.fail(limited)
      const handler = node.handlerOf(channel)
      if (handler !== undefined) {
        return this.atLeisure(handler.publish({ channel, data, caller: this.caller })).pipe(
          Effect.flatMap((instead) =>
            instead._tag === "None" ? Effect.void : this.publishNow(channel, namespace, instead.value)
          ),
          Effect.map(() => this.reply(Protocol.replies.empty(id, "publish")))
        )
      }
      if (!node.config.insecure && !Access.allows(namespace.publish, user, this.isSubscriber(channel))) {
        return Effect.fail(errors.permissionDenied)
      }
      return Effect.map(
        this.publishNow(channel, namespace, data),
        () => this.reply(Protocol.replies.empty(id, "publish"))
      )
    })
  }

  private publishNow(channel: string, namespace: Namespace, data: unknown): Effect.Effect<unknown, ProtocolError> {
    const subscription = this.subscriptions.get(channel)
    const info = subscription === undefined
      ? { user: this.user, client: this.client, connInfo: this.info }
      : this.infoIn(subscription)
    return this.node.publish(channel, namespace, data, {}, info)
  }

  private presence({ _tag, channel, id }: Extract<Protocol.Command, { _tag: "presence" | "presence_stats" }>): Handled {
    const { node, user } = this
    return Effect.flatMap(this.namespace(channel), (namespace): Handled => {
      const limited = this.limit("history", namespace)
      if (limited !== undefined) return Effect.fail(limited)
      if (!namespace.presence) return Effect.fail(errors.notAvailable)
      if (!node.config.insecure && !Access.allows(namespace.readPresence, user, this.isSubscriber(channel))) {
        return Effect.fail(errors.permissionDenied)
      }
      return _tag === "presence"
        ? Effect.map(node.presenceOf(channel), (found) => this.reply(Protocol.replies.presence(id, found)))
        : Effect.map(node.statsOf(channel), (found) => this.reply(Protocol.replies.presenceStats(id, found)))
    })
  }

  /** Whether the client may read the history, and so may ask for positions and recovery. */
  mayReadHistory(namespace: Namespace, isSubscriber: boolean): boolean {
    return this.node.config.insecure || Access.allows(namespace.readHistory, this.user, isSubscriber)
  }

  private history({ channel, id, options }: Extract<Protocol.Command, { _tag: "history" }>): Handled {
    const { node } = this
    return Effect.flatMap(this.namespace(channel), (namespace): Handled => {
      const limited = this.limit("history", namespace)
      if (limited !== undefined) return Effect.fail(limited)
      if (namespace.stream === undefined) return Effect.fail(errors.notAvailable)
      if (!this.mayReadHistory(namespace, this.isSubscriber(channel))) return Effect.fail(errors.permissionDenied)
      const limit = Math.min(options.limit ?? Infinity, node.config.historyLimit)
      return Effect.map(
        node.history(channel, namespace, { ...options, limit: limit === Infinity ? undefined : limit }),
        ({ position, publications }) => this.reply(Protocol.replies.history(id, publications, position))
      )
    })
  }

  // --- refresh

  private refresh({ id, token }: Extract<Protocol.Command, { _tag: "refresh" }>): Handled {
    return Effect.gen(this, function*() {
      if (!this.clientRefresh || token === "") return yield* disconnects.badRequest
      const credentials = yield* this.atLeisure(this.node.authenticator.refresh(token, this.user)).pipe(
        Effect.catchIf((error) => error.code === errors.tokenExpired.code, () => disconnects.expired)
      )
      const channels = [...this.subscriptions.values()].filter(({ serverSide }) => serverSide)
      const lost = [...credentials.subscriptions.keys()].some((channel) => !this.subscriptions.has(channel)) ||
        channels.some(({ channel }) => this.tokenChannels.has(channel) && !credentials.subscriptions.has(channel))
      if (lost) return yield* disconnects.insufficientState
      this.info = credentials.info
      this.meta = credentials.meta
      this.expireAt = credentials.expireAt
      this.reply(Protocol.replies.refresh(id, "refresh", this.ttl()))
    })
  }

  /** Channels that the token had, for which the client connects anew when they change. */
  private get tokenChannels(): ReadonlySet<string> {
    const personal = this.node.config.personalChannel
    const own = personal === undefined ? undefined : `${personal.prefix}${this.user}`
    return new Set(
      [...this.subscriptions.values()].filter(({ channel, serverSide }) => serverSide && channel !== own).map((
        { channel }
      ) => channel)
    )
  }

  private refreshSubscription({ channel, id, token }: Extract<Protocol.Command, { _tag: "sub_refresh" }>): Handled {
    const { client, node, user } = this
    return Effect.gen(this, function*() {
      const subscription = this.subscriptions.get(channel)
      if (subscription === undefined) return yield* errors.permissionDenied
      if (token === "") return yield* disconnects.badRequest
      const grant = yield* this.atLeisure(node.authenticator.subscribe(token, { channel, user, client }))
      subscription.expireAt = grant.expireAt
      subscription.info = grant.info
      this.reply(Protocol.replies.refresh(id, "sub_refresh", ttlOf(grant.expireAt, node.unixTime())))
    })
  }

  /** The server says when the connection expires, or that it has. */
  refreshBy(
    options: { readonly expired?: boolean | undefined; readonly expireAt?: number | undefined; readonly info?: unknown }
  ): void {
    if (options.expired === true) return this.close(disconnects.expired)
    this.expireAt = options.expireAt
    if (options.info !== undefined) this.info = options.info
  }

  // --- time

  private pong(): Effect.Effect<void, Disconnect> {
    return Effect.suspend(() => {
      if (this.pings === 0) return Effect.fail(disconnects.badRequest)
      this.pongAt = --this.pings === 0 ? Infinity : this.node.now() + this.node.config.pongTimeout
      return Effect.void
    })
  }

  /** One look of the node's clock: what is due is done. */
  look(now: number, unixTime: number): void {
    if (this.status === "Over") return
    if (this.status !== "Connected") {
      if (now >= this.staleAt) this.close(disconnects.stale)
      return
    }
    const { config } = this.node
    if (now >= this.pongAt && !this.busy) return this.close(disconnects.noPong)
    if (now >= this.pingAt) {
      this.pingAt = now + config.pingInterval
      this.pongAt = Math.min(this.pongAt, now + config.pongTimeout)
      this.pings++
      this.push(Protocol.pushes.ping)
    }
    if (
      this.expireAt !== undefined && unixTime >= this.expireAt + (this.clientRefresh ? config.expiredDelay / 1000 : 0)
    ) {
      return this.close(disconnects.expired)
    }
    if (now >= this.presenceAt) {
      this.presenceAt = now + config.presenceInterval
      this.renewPresence()
    }
    for (const subscription of this.subscriptions.values()) {
      if (subscription.expireAt === undefined || unixTime < subscription.expireAt + config.expiredDelay / 1000) continue
      subscription.expireAt = undefined
      if (subscription.serverSide) return this.close(disconnects.subscriptionExpired)
      this.node.fork(this.change(this.take(subscription, unsubscribes.expired)))
    }
  }

  private renewPresence(): void {
    const present = [...this.subscriptions.values()].filter(({ present }) => present)
    if (present.length === 0) return
    const renew = (subscription: Subscription) =>
      subscription.status === "Live" ? Subscribing.addPresence(subscription) : Effect.void
    this.node.fork(this.change(
      Effect.catchAll(
        Effect.forEach(present, renew, { discard: true }),
        (error) => this.node.complain("presence", error)
      )
    ))
  }

  /** A publication is missing: the client subscribes again from its position, or connects again. */
  onGap(subscription: Subscription): void {
    if (subscription.status !== "Live") return
    ChannelMetrics.gaps.unsafeUpdate(1, [])
    if (subscription.serverSide) return this.close(disconnects.insufficientState)
    subscription.status = "Over"
    this.node.fork(this.change(this.take(subscription, unsubscribes.insufficientState)))
  }

  // --- the end

  /** The connection has ended: the socket is gone. Nothing of the session is left when this completes. */
  get end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.status = "Over"
      this.node.roster.remove(this)
      return this.exclusively(this.releaseAll)
    })
  }

  private get releaseAll(): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach([...this.subscriptions.values()], Subscribing.release, { discard: true })
    )
  }
}
