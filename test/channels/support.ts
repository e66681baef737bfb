/** What the tests of channels share: a server with a scripted authenticator, the official SDK, and a client of bare documents. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as HttpLayerRouter from "@effect/platform/HttpLayerRouter"
import {
  Centrifuge,
  type ClientEvents,
  type EventMap,
  type Options as SdkOptions,
  type Subscription,
  type SubscriptionEvents,
  type SubscriptionOptions,
  type TypedEventEmitter
} from "centrifuge"
import { Disconnect, Hub, type HubConfig, type InvalidOption, NodeGuard, NodeUpgrade } from "effect-ws-hub"
import * as Context from "effect/Context"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { WebSocket } from "ws"
import { Authenticator, type ConnectRequest, type Credentials, type Grant } from "../../src/channels/Authenticator.js"
import { Broker, BrokerError, type BrokerEvent } from "../../src/channels/Broker.js"
import * as BrokerMemory from "../../src/channels/BrokerMemory.js"
import { Channels, mount } from "../../src/channels/Channels.js"
import type { ChannelsOptions } from "../../src/channels/ChannelsConfig.js"
import * as ChannelsLive from "../../src/channels/ChannelsLive.js"
import { Cluster } from "../../src/channels/Cluster.js"
import { MemoryCluster } from "../../src/channels/ClusterMemory.js"
import type { NamespaceOptions, NamespacesOptions } from "../../src/channels/Namespace.js"
import { Presence } from "../../src/channels/Presence.js"
import * as PresenceMemory from "../../src/channels/PresenceMemory.js"
import { disconnects, errors, ProtocolError } from "../../src/channels/ProtocolCode.js"
import * as ServerApi from "../../src/channels/ServerApi.js"
import { connect, type End, type Peer, portOf } from "../node/support.js"

// --- tokens

/**
 * What a token of these tests says. They are JSON as it is: how tokens are signed and read is the authenticator's own
 * business, with tests of its own; here it is what the session makes of them.
 */
export interface Claims {
  /** Absent: anonymous. */
  readonly user?: string
  readonly info?: unknown
  readonly data?: unknown
  readonly meta?: unknown
  /** Unix seconds. */
  readonly expireAt?: number
  /** The server refreshes by itself. */
  readonly serverRefresh?: boolean
  readonly subs?: Readonly<Record<string, Grant>>
  /** Makes it a token for a subscription. */
  readonly channel?: string
  readonly grant?: Grant
  /** Answers with this error or, from 3000, closes with this code. */
  readonly fail?: { readonly code: number; readonly temporary?: boolean }
}

export const token = (claims: Claims): string => JSON.stringify(claims)

/** Unix seconds. At least a second and at most that many seconds from now. */
export const inSeconds = (seconds: number): number => Math.floor(Date.now() / 1000) + seconds

const failed = ({ code, temporary = false }: NonNullable<Claims["fail"]>) =>
  code < 3000
    ? new ProtocolError({ code, reason: `failed with ${code}`, temporary })
    : new Disconnect({ code, reason: `failed with ${code}` })

const parse = (text: string): Effect.Effect<Claims, ProtocolError | Disconnect> =>
  Effect.try({
    try: (): Claims => JSON.parse(text),
    catch: () => disconnects.invalidToken
  }).pipe(
    Effect.filterOrFail(
      (claims) => claims.expireAt === undefined || claims.expireAt > Date.now() / 1000,
      () => errors.tokenExpired
    ),
    Effect.tap(({ fail }) => fail === undefined ? Effect.void : Effect.fail(failed(fail)))
  )

const credentials = (claims: Claims): Credentials => ({
  user: claims.user ?? "",
  info: claims.info,
  data: claims.data,
  meta: claims.meta,
  expireAt: claims.expireAt,
  clientRefresh: claims.serverRefresh !== true,
  subscriptions: new Map(Object.entries(claims.subs ?? {}))
})

/** What the authenticator was asked for, by kind. */
export class Asked {
  readonly connect: Array<ConnectRequest> = []
  readonly refresh: Array<string> = []
  readonly subscribe: Array<string> = []
}

const scripted = (asked: Asked, anonymous: boolean) =>
  Layer.succeed(Authenticator, {
    connect: (request) =>
      Effect.suspend(() => {
        asked.connect.push(request)
        if (request.token !== "") return Effect.map(parse(request.token), credentials)
        return anonymous ? Effect.succeed(credentials({})) : Effect.fail(disconnects.badRequest)
      }),
    // Whose it is, the session checks.
    refresh: (text) =>
      Effect.suspend(() => {
        asked.refresh.push(text)
        return Effect.map(parse(text), credentials)
      }),
    subscribe: (text, { channel, user }) =>
      Effect.suspend(() => {
        asked.subscribe.push(text)
        return Effect.flatMap(parse(text), (claims): Effect.Effect<Grant, ProtocolError | Disconnect> =>
          claims.channel === undefined
            ? Effect.fail(errors.permissionDenied)
            : claims.channel !== channel || (claims.user ?? "") !== user
            ? Effect.fail(disconnects.invalidToken)
            : Effect.succeed({ ...claims.grant, expireAt: claims.grant?.expireAt ?? claims.expireAt }))
      })
  })

// --- a broker that can be broken

type Operation = Exclude<keyof Broker["Type"], "listen" | "unsafePublish">

const nothing = () => Effect.void

/** What is wrong with the broker just now. */
export class Faults {
  /** Operations that fail. */
  readonly broken = new Set<Operation>()
  /** Events that the node does not hear of. */
  lose: (event: BrokerEvent) => boolean = () => false
  /** Tells the node of an event. */
  tell: (event: BrokerEvent) => void = () => {}
  /** What an operation waits for before it begins. */
  before: (operation: Operation, channel: string) => Effect.Effect<void> = nothing
  /** What happens after it is done, and before the node knows. */
  after: (operation: Operation, channel: string) => Effect.Effect<void> = nothing

  /** No operation is touched. */
  get areNone(): boolean {
    return this.broken.size === 0 && this.before === nothing && this.after === nothing
  }
}

/**
 * Clients publish as in production, by `unsafePublish`: the real one while nothing is broken, unless it is `elsewhere`,
 * which publishes as a broker does that lives on another machine.
 */
const faulty = (faults: Faults, elsewhere: boolean) =>
  Layer.effect(
    Broker,
    Effect.map(Broker, (real) => {
      const through = <A>(operation: Operation, channel: string, effect: Effect.Effect<A, BrokerError>) =>
        Effect.suspend(() =>
          faults.broken.has(operation)
            ? Effect.fail(new BrokerError({ operation, cause: "broken by the test" }))
            : Effect.zipLeft(
              Effect.zipRight(faults.before(operation, channel), effect),
              Effect.suspend(() => faults.after(operation, channel))
            )
        )
      return Broker.of({
        publish: (channel, publication) => through("publish", channel, real.publish(channel, publication)),
        unsafePublish: (channel, publication, onExit) => {
          if (!elsewhere && real.unsafePublish !== undefined && faults.areNone) {
            return real.unsafePublish(channel, publication, onExit)
          }
          Effect.runCallback(through("publish", channel, real.publish(channel, publication)), { onExit })
        },
        publishJoin: (channel, info) => through("publishJoin", channel, real.publishJoin(channel, info)),
        publishLeave: (channel, info) => through("publishLeave", channel, real.publishLeave(channel, info)),
        subscribe: (channel) => through("subscribe", channel, real.subscribe(channel)),
        unsubscribe: (channel) => through("unsubscribe", channel, real.unsubscribe(channel)),
        history: (channel, request) => through("history", channel, real.history(channel, request)),
        removeHistory: (channel) => through("removeHistory", channel, real.removeHistory(channel)),
        listen: (listener) => {
          faults.tell = listener
          return real.listen((event) => {
            if (!faults.lose(event)) listener(event)
          })
        }
      })
    })
  )

// --- a server

export interface Server {
  readonly channels: Channels["Type"]
  readonly hub: Hub.Hub["Type"]
  readonly port: number
  readonly url: string
  readonly asked: Asked
  readonly faults: Faults
}

export type ServeOptions = ChannelsOptions & {
  readonly hub?: HubConfig.HubOptions | undefined
  /** Whether clients without a token are let in. Defaults to `true`. */
  readonly anonymous?: boolean | undefined
  /** With one there is the server API beside the websocket. */
  readonly apiKey?: string | undefined
  /** What it shares with other nodes, the cluster too. Absent: it is alone, and all is in its own memory. */
  readonly shared?: Layer.Layer<Broker | Presence, InvalidOption> | undefined
  /** Whether the broker confirms publications later, as one on another machine does. Defaults to `false`. */
  readonly elsewhere?: boolean | undefined
}

/** One process, nothing kept. */
const unshared = Layer.mergeAll(BrokerMemory.layer, PresenceMemory.layer)

/** What nodes in memory share; each is a layer for one node. */
export const network = (options?: Parameters<typeof MemoryCluster.make>[0]) =>
  Effect.gen(function*() {
    const broker = yield* BrokerMemory.MemoryNetwork.make
    const presence = yield* PresenceMemory.make
    const cluster = yield* MemoryCluster.make(options)
    const node = () =>
      Layer.mergeAll(
        Layer.succeed(Broker, broker.node()),
        Layer.succeed(Presence, presence),
        Layer.succeed(Cluster, cluster.cluster)
      )
    /** Loses the stream of a channel, as a broker does that starts anew. */
    const lose = (channel: string) => Effect.sync(() => broker.lose(channel))
    return { cluster, lose, node }
  })

/** Everybody may do everything that is switched on. */
export const open: NamespaceOptions = {
  allowSubscribeForClient: true,
  allowSubscribeForAnonymous: true,
  allowPublishForClient: true,
  allowPublishForAnonymous: true,
  allowPresenceForClient: true,
  allowPresenceForAnonymous: true,
  allowHistoryForClient: true,
  allowHistoryForAnonymous: true
}

const kept: NamespaceOptions = { ...open, historySize: 100, historyTtl: "1 minute" }

/** The namespaces that most tests use. */
export const namespaces = {
  withoutNamespace: open,
  namespaces: {
    closed: {},
    users: {
      allowSubscribeForClient: true,
      allowPublishForSubscriber: true,
      allowPresenceForSubscriber: true,
      allowHistoryForSubscriber: true,
      presence: true,
      historySize: 10,
      historyTtl: "1 minute"
    },
    present: { ...open, presence: true },
    joined: { ...open, presence: true, joinLeave: true },
    pushed: { ...open, presence: true, joinLeave: true, forcePushJoinLeave: true },
    kept,
    small: { ...kept, historySize: 3, forceRecovery: true },
    positioned: { ...kept, forcePositioning: true },
    recovered: { ...kept, historySize: 2000, forceRecovery: true },
    asking: { ...kept, allowRecovery: true, allowPositioning: true },
    cached: { ...kept, historySize: 1, forceRecovery: true, forceRecoveryMode: "cache" },
    greeted: { ...kept, historySize: 1, forceRecovery: true, forceRecoveryMode: "cache", autoCacheRecover: true },
    limited: { allowUserLimitedChannels: true },
    words: { ...open, channelRegex: "^\\p{Letter}+$" },
    slowly: { ...open, publishRate: 1, subscribeRate: 1 }
  }
} satisfies NamespacesOptions

/** Serves channels on a free port. Anonymous clients are let in. */
export const serve = (
  { anonymous = true, apiKey, elsewhere = false, hub, shared = unshared, ...options }: ServeOptions = {}
) =>
  Effect.gen(function*() {
    const asked = new Asked()
    const faults = new Faults()
    const http = NodeGuard.createServer()
    const routes = Layer.merge(
      NodeUpgrade.layer("/connection/websocket", { origins: "any", ...mount }),
      ServerApi.layer({ keys: apiKey === undefined ? [] : [Redacted.make(apiKey)] })
    )
    const context = yield* Layer.build(
      HttpLayerRouter.serve(routes, { disableLogger: true, disableListenLog: true }).pipe(
        Layer.provideMerge(ChannelsLive.layer({ ...namespaces, ...options })),
        Layer.provide(Layer.provideMerge(faulty(faults, elsewhere), shared)),
        Layer.provide(scripted(asked, anonymous)),
        Layer.provideMerge(Hub.layer(hub)),
        Layer.provide(NodeHttpServer.layer(() => http, { host: "127.0.0.1", port: 0 }))
      )
    )
    const port = portOf(http)
    const server: Server = {
      channels: Context.get(context, Channels),
      hub: Context.get(context, Hub.Hub),
      port,
      url: `ws://127.0.0.1:${port}/connection/websocket`,
      asked,
      faults
    }
    return server
  })

// --- the official SDK

type Heard<Events, Name extends keyof Events> = Events[Name] extends (context: infer Heard) => void ? Heard : never

/** The events of an emitter: all that came, in order, and those of a name to wait for, each taken once. */
export class Log<Events extends EventMap> {
  readonly all: Array<{ readonly name: keyof Events; readonly context: unknown }> = []
  private readonly queues = new Map<keyof Events, Queue.Queue<unknown>>()

  constructor(source: TypedEventEmitter<Events>, names: ReadonlyArray<keyof Events>) {
    for (const name of names) {
      const queue = Effect.runSync(Queue.unbounded<unknown>())
      this.queues.set(name, queue)
      const listener = ((context: unknown) => {
        this.all.push({ name, context })
        queue.unsafeOffer(context)
      }) as Events[typeof name]
      source.on(name, listener)
    }
  }

  /** The next event of this name. */
  next<Name extends keyof Events>(name: Name): Effect.Effect<Heard<Events, Name>> {
    const queue = this.queues.get(name)
    if (queue === undefined) return Effect.dieMessage(`Nobody listens to ${String(name)}.`)
    return Effect.map(Queue.take(queue), (context) => context as Heard<Events, Name>)
  }

  take<Name extends keyof Events>(name: Name, count: number): Effect.Effect<ReadonlyArray<Heard<Events, Name>>> {
    return Effect.replicateEffect(this.next(name), count)
  }

  /** All events of this name so far. */
  heard<Name extends keyof Events>(name: Name): ReadonlyArray<Heard<Events, Name>> {
    return this.all.flatMap((event) => event.name === name ? [event.context as Heard<Events, Name>] : [])
  }

  /** The names of all events so far. */
  get names(): ReadonlyArray<keyof Events> {
    return this.all.map(({ name }) => name)
  }
}

/** A promise of the SDK was rejected. */
export class Refused extends Data.TaggedError("Refused")<{ readonly code: number; readonly reason: string }> {}

/** Calls the SDK; fails with what it rejects with. */
export const call = <A>(run: () => Promise<A>): Effect.Effect<A, Refused> =>
  Effect.tryPromise({
    try: run,
    catch: (error) => {
      const { code, message } = error as { readonly code: number; readonly message: string }
      return new Refused({ code, reason: message })
    }
  })

/** The code that the SDK rejects a call with. */
export const refusal = (run: () => Promise<unknown>): Effect.Effect<number> =>
  Effect.flatMap(
    Effect.either(call(run)),
    (result) => result._tag === "Left" ? Effect.succeed(result.left.code) : Effect.dieMessage("was not refused")
  )

/** A subscription of the SDK. */
export class Sub extends Log<SubscriptionEvents> {
  readonly sub: Subscription
  constructor(sub: Subscription) {
    super(sub, ["subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error"])
    this.sub = sub
  }

  /** The data of the next publications. */
  data(count: number): Effect.Effect<ReadonlyArray<unknown>> {
    return Effect.map(this.take("publication", count), (all) => all.map(({ data }) => data))
  }
}

/** A client of the SDK. */
export class Sdk extends Log<ClientEvents> {
  readonly client: Centrifuge
  constructor(client: Centrifuge) {
    super(client, [
      "connecting",
      "connected",
      "disconnected",
      "message",
      "error",
      "subscribing",
      "subscribed",
      "unsubscribed",
      "publication",
      "join",
      "leave"
    ])
    this.client = client
  }

  /** Begins to connect, and waits until it is connected. */
  get connect() {
    return Effect.suspend(() => {
      this.client.connect()
      return this.next("connected")
    })
  }

  /** Begins to subscribe. */
  sub(channel: string, options?: SubscriptionOptions): Sub {
    const sub = new Sub(this.client.newSubscription(channel, { ...hasty, ...options }))
    sub.sub.subscribe()
    return sub
  }

  /** Subscribes, and waits until it is. */
  subscribe(channel: string, options?: SubscriptionOptions): Effect.Effect<Sub> {
    return Effect.suspend(() => {
      const sub = this.sub(channel, options)
      return Effect.as(sub.next("subscribed"), sub)
    })
  }

  /** Until the server has dealt with all that this client sent before. */
  get settled(): Effect.Effect<void> {
    return Effect.asVoid(Effect.either(call(() => this.client.rpc("nobody answers", null))))
  }
}

/** The SDK waits half a second before it tries again; nothing here is gained by that. */
const hasty = { minResubscribeDelay: 5, maxResubscribeDelay: 20 }

export type ClientOptions = Partial<SdkOptions> & { readonly claims?: Claims | undefined }

/** A client of the SDK that does nothing yet; it is disconnected with the scope. */
export const sdk = (
  server: Pick<Server, "url">,
  { claims, ...options }: ClientOptions = {}
): Effect.Effect<Sdk, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() =>
      new Sdk(
        new Centrifuge(server.url, {
          websocket: WebSocket,
          minReconnectDelay: 5,
          maxReconnectDelay: 20,
          ...(claims === undefined ? {} : { token: token(claims) }),
          ...options
        })
      )
    ),
    ({ client }) => Effect.sync(() => client.disconnect())
  )

/** A connected client of the SDK. */
export const connected = (
  server: Pick<Server, "url">,
  options: ClientOptions = {}
): Effect.Effect<Sdk, never, Scope.Scope> => Effect.tap(sdk(server, options), (client) => client.connect)

/** A connected client of this user. */
export const user = (
  server: Pick<Server, "url">,
  name: string,
  claims: Claims = {}
): Effect.Effect<Sdk, never, Scope.Scope> => connected(server, { claims: { ...claims, user: name } })

// --- a client of bare documents

/** A document of the protocol, read. */
export type Document = Readonly<Record<string, unknown>>

/** Sends and receives documents as they are. */
export class Wire {
  readonly peer: Peer
  private readonly waiting: Array<Document> = []

  constructor(peer: Peer) {
    this.peer = peer
  }

  /** Sends documents in one frame. */
  send(...documents: ReadonlyArray<unknown>): Effect.Effect<void> {
    return this.text(documents.map((document) => JSON.stringify(document)).join("\n"))
  }

  /** Sends one frame as it is. */
  text(frame: string | Uint8Array): Effect.Effect<void> {
    return this.peer.send(frame)
  }

  /** The next document. */
  get next(): Effect.Effect<Document> {
    return Effect.gen(this, function*() {
      if (this.waiting.length === 0) this.waiting.push(...documents(yield* this.peer.next))
      return this.waiting.shift() ?? {}
    })
  }

  take(count: number): Effect.Effect<ReadonlyArray<Document>> {
    return Effect.replicateEffect(this.next, count)
  }

  /** Sends documents in one frame, and waits for as many. */
  ask(...all: ReadonlyArray<unknown>): Effect.Effect<ReadonlyArray<Document>> {
    return Effect.zipRight(this.send(...all), this.take(all.length))
  }

  /** How it ended. */
  get closed(): Effect.Effect<End> {
    return this.peer.closed
  }

  /** How it ended, and what came before that and was not taken. */
  get rest(): Effect.Effect<ReadonlyArray<Document>> {
    return Effect.map(this.peer.rest, (frames) => [...this.waiting.splice(0), ...frames.flatMap(documents)])
  }
}

/** The documents in a frame. Empty frames, empty lines and binary frames are faults of the server. */
const documents = (frame: string | Uint8Array): ReadonlyArray<Document> => {
  if (typeof frame !== "string") throw new Error("The server sent a binary frame.")
  return frame.split("\n").map((line): Document => JSON.parse(line))
}

/** Opens a socket. */
export const wire = (server: Pick<Server, "url">) =>
  Effect.map(Effect.orDie(connect(server.url)), (peer) => new Wire(peer))

/** Opens a socket and connects in the protocol with command 1. */
export const online = (server: Pick<Server, "url">, claims?: Claims) =>
  Effect.tap(
    wire(server),
    (client) => client.ask({ id: 1, connect: claims === undefined ? {} : { token: token(claims) } })
  )
