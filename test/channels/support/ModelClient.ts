/**
 * A client of the protocol that checks what it is told: a small model of the SDK.
 */
import { Effect } from "effect"
import type { TestTransport } from "effect-ws-hub/testing"
import type { Rough } from "./Rough.js"

interface Position {
  offset: number
  epoch: string
}

interface Pub {
  readonly data: unknown
  readonly offset?: number
}

interface Result {
  readonly recoverable?: boolean
  readonly positioned?: boolean
  readonly was_recovering?: boolean
  readonly recovered?: boolean
  readonly offset?: number
  readonly epoch?: string
  readonly publications?: ReadonlyArray<Pub>
}

interface Info {
  readonly info: { readonly client: string }
}

interface Reply {
  readonly id?: number
  readonly error?: { readonly code: number }
  readonly connect?: { readonly client: string; readonly subs?: Readonly<Record<string, Result>> }
  readonly subscribe?: Result
  readonly unsubscribe?: object
  readonly history?: Position & { readonly publications: ReadonlyArray<Pub> }
  readonly push?: {
    readonly channel: string
    readonly pub?: Pub
    readonly join?: Info
    readonly leave?: Info
    readonly subscribe?: Result
    readonly unsubscribe?: { readonly code: number }
  }
}

type Asked =
  | { readonly method: "connect"; readonly since: ReadonlyMap<string, Position> }
  | { readonly method: "subscribe"; readonly channel: string; readonly since: Position | undefined }
  | { readonly method: "unsubscribe" | "history"; readonly channel: string }
  | { readonly method: "publish"; readonly channel: string; readonly data: string }

/** One subscription as the client sees it, from the reply on. */
interface Subscribed {
  readonly serverSide: boolean
  readonly position: Position | undefined
  /** Without a position: how many publications of the channel the node had been told of. */
  readonly from: number
  last: number | undefined
  readonly others: Map<string, "join" | "leave">
}

export interface Socket {
  readonly peer: TestTransport.Peer
  readonly asked: Map<number, Asked>
  seen: number
  client: string
  /** Messages that it sent. */
  said: number
  /** Its connect command failed: what it says after that is 3501. */
  refused: boolean
}

/** Codes that a client never gets whatever the network does: its own fault, or a defect. */
const forbidden = new Set([1011, 3501])

/** At most so many publications are recovered. */
export const recoverable = 4

/** So many publications of a channel are kept. */
export const kept = 6

export class ModelClient {
  readonly user: string
  readonly wanted = new Set<string>()
  readonly subscribed = new Map<string, Subscribed>()
  socket: Socket | undefined = undefined
  /** What a recovery brought, and what could not be recovered: that both happen is checked at the end. */
  readonly seen = { recovered: 0, unrecovered: 0, publications: 0, joins: 0, histories: 0, closed: new Set<number>() }
  /** Where it stood in channels that it is not subscribed to any more. */
  private readonly known = new Map<string, Position>()
  /** What it published, and was told is published. */
  private readonly confirmed: Array<string> = []
  private id = 0
  private readonly rough: Rough
  private readonly lost: Set<string>

  constructor(user: string, rough: Rough, lost: Set<string>) {
    this.user = user
    this.rough = rough
    this.lost = lost
  }

  get isConnected(): boolean {
    return this.socket !== undefined && this.socket.client !== ""
  }

  private wrong(what: string): void {
    this.rough.violations.push(`${this.user} ${this.socket?.client ?? ""}: ${what}`)
  }

  // --- what it says

  /** A new socket; with it comes all that it wants to be subscribed to. */
  connect(peer: TestTransport.Peer): Effect.Effect<void> {
    const since = new Map(this.known)
    this.socket = { peer, asked: new Map(), seen: 0, client: "", said: 0, refused: false }
    const id = ++this.id
    this.socket.asked.set(id, { method: "connect", since })
    const subs = Object.fromEntries([...since].map(([channel, at]) => [channel, { recover: true, ...at }]))
    return this.say([
      { connect: { token: this.user, subs }, id },
      ...[...this.wanted].map((channel) => this.toSubscribe(channel))
    ])
  }

  toSubscribe(channel: string): object {
    const id = ++this.id
    this.wanted.add(channel)
    const known = this.known.get(channel)
    const since = known === undefined ? undefined : { ...known }
    this.socket?.asked.set(id, { method: "subscribe", channel, since })
    return { id, subscribe: { channel, ...(since === undefined ? {} : { recover: true, ...since }) } }
  }

  toUnsubscribe(channel: string): object {
    const id = ++this.id
    this.wanted.delete(channel)
    this.socket?.asked.set(id, { method: "unsubscribe", channel })
    return { id, unsubscribe: { channel } }
  }

  toPublish(channel: string, data: string): object {
    const id = ++this.id
    this.socket?.asked.set(id, { method: "publish", channel, data: JSON.stringify(data) })
    return { id, publish: { channel, data } }
  }

  toReadHistory(channel: string): object {
    const id = ++this.id
    this.socket?.asked.set(id, { method: "history", channel })
    return { id, history: { channel, limit: -1 } }
  }

  say(documents: ReadonlyArray<object>): Effect.Effect<void> {
    if (this.socket === undefined) return Effect.void
    this.socket.said++
    return this.socket.peer.send(documents.map((document) => JSON.stringify(document)).join("\n"))
  }

  // --- what it is told

  /** Reads all that has come. */
  get read(): Effect.Effect<void> {
    return Effect.gen(this, function*() {
      const { socket } = this
      if (socket === undefined) return
      const received = yield* socket.peer.received
      while (socket.seen < received.length) {
        const message = received[socket.seen++]
        for (const document of String(message).split("\n")) {
          const reply: Reply = JSON.parse(document)
          yield* this.on(socket, reply)
        }
      }
      if (!(yield* socket.peer.isGone)) return
      const { code } = yield* socket.peer.closed
      this.seen.closed.add(code)
      if (code === 3010 && this.rough.isLossless && this.lost.size === 0) this.wrong("told of a gap that was none")
      const late = code === 3501 && socket.refused && socket.said > 1
      if (forbidden.has(code) && !late) this.wrong(`closed with ${code}`)
      for (const [channel, { position }] of this.subscribed) this.remember(channel, position)
      this.subscribed.clear()
      this.socket = undefined
    })
  }

  private remember(channel: string, position: Position | undefined): void {
    if (position !== undefined) this.known.set(channel, { ...position })
  }

  private on(socket: Socket, reply: Reply): Effect.Effect<void> {
    if (reply.push !== undefined) return this.onPush(reply.push)
    // Text of a ping: an answer is due.
    if (reply.id === undefined) return socket.peer.send("{}")
    const asked = socket.asked.get(reply.id)
    if (!socket.asked.delete(reply.id)) this.wrong(`answers ${reply.id}, which was not asked`)
    if (asked === undefined) return Effect.void
    if (asked.method !== "publish") this.checkOrder(socket, reply.id, asked.method)
    if (reply.error !== undefined) {
      const { code } = reply.error
      const live = "channel" in asked && this.subscribed.has(asked.channel)
      if (code !== 100 && !(code === 105 && live)) this.wrong(`error ${code} for ${JSON.stringify(asked)}`)
      if (asked.method === "connect") {
        socket.refused = true
        return socket.peer.reset
      }
      return Effect.void
    }
    if (socket.client === "" && asked.method !== "connect") this.wrong("an answer before it is connected")
    switch (asked.method) {
      case "connect": {
        socket.client = reply.connect?.client ?? ""
        for (const [channel, result] of Object.entries(reply.connect?.subs ?? {})) {
          this.begin(channel, result, asked.since.get(channel), true)
        }
        return Effect.void
      }
      case "subscribe":
        if (reply.subscribe === undefined) this.wrong("no answer to subscribe")
        this.begin(asked.channel, reply.subscribe ?? {}, asked.since, false)
        return Effect.void
      case "unsubscribe":
        this.end(asked.channel)
        return Effect.void
      case "publish":
        this.confirmed.push(asked.data)
        return Effect.void
      case "history":
        if (reply.history === undefined) this.wrong("no answer to history")
        else this.checkHistory(asked.channel, reply.history)
        return Effect.void
    }
  }

  /** Whatever it asks for after a publication comes after it. */
  private checkOrder({ asked }: Socket, id: number, method: string): void {
    for (const [earlier, { method: what }] of asked) {
      if (earlier < id && what === "publish") this.wrong(`${method} ${id} is answered before publication ${earlier}`)
    }
  }

  /** What it published itself is there, unless too much has come since. */
  private checkHistory(channel: string, { epoch, offset, publications }: NonNullable<Reply["history"]>): void {
    this.seen.histories++
    for (const data of this.confirmed) {
      const place = this.rough.places.get(data)
      if (place?.channel !== channel || place.epoch !== epoch) continue
      const isKept = place.offset > offset - kept && !this.lost.has(channel)
      const isThere = publications.some((publication) => publication.offset === place.offset)
      if (place.offset > offset || isKept && !isThere) {
        this.wrong(`${data} at ${place.offset} is not in the history of ${channel} up to ${offset}`)
      }
    }
  }

  private onPush(push: NonNullable<Reply["push"]>): Effect.Effect<void> {
    const { channel } = push
    const found = this.subscribed.get(channel)
    if (push.subscribe !== undefined) {
      this.begin(channel, push.subscribe, undefined, true)
      return Effect.void
    }
    if (found === undefined) {
      this.wrong(`${JSON.stringify(push)} without a subscription`)
      return Effect.void
    }
    if (push.unsubscribe !== undefined) {
      if (push.unsubscribe.code === 2500 && this.rough.isLossless && !this.lost.has(channel)) {
        this.wrong(`told of a gap in ${channel}, where nothing was lost`)
      }
      this.end(channel)
      if (push.unsubscribe.code < 2500) this.wanted.delete(channel)
      else if (!found.serverSide) return this.say([this.toSubscribe(channel)])
    }
    if (push.pub !== undefined) this.accept(channel, found, push.pub)
    if (push.join !== undefined) this.other(channel, found, "join", push.join)
    if (push.leave !== undefined) this.other(channel, found, "leave", push.leave)
    return Effect.void
  }

  private other(channel: string, { others }: Subscribed, what: "join" | "leave", { info: { client } }: Info): void {
    this.seen.joins++
    if (others.get(client) === what && !this.rough.failedJoins.has(`${channel} ${client}`)) {
      this.wrong(`${what} of ${client} in ${channel} twice`)
    }
    others.set(client, what)
  }

  private begin(channel: string, result: Result, since: Position | undefined, serverSide: boolean): void {
    if (this.subscribed.has(channel)) this.wrong(`subscribed to ${channel} twice`)
    const hasStream = !channel.startsWith("plain")
    const isCache = channel.startsWith("cache")
    if (hasStream !== (result.positioned === true)) this.wrong(`positioned: ${result.positioned} in ${channel}`)
    const publications = result.publications ?? []
    const position = hasStream ? { offset: result.offset ?? 0, epoch: result.epoch ?? "" } : undefined
    const subscribed: Subscribed = {
      serverSide,
      position,
      from: this.rough.delivered.get(channel)?.length ?? 0,
      last: undefined,
      others: new Map()
    }
    this.subscribed.set(channel, subscribed)
    if (position === undefined) return
    if (since !== undefined && result.was_recovering !== true) this.wrong(`${channel} does not say that it recovers`)
    if (result.recovered === true) {
      this.seen.recovered++
      if (since !== undefined && !isCache) {
        if (position.epoch !== since.epoch || position.offset !== since.offset) {
          this.wrong(`recovered ${channel} from ${JSON.stringify(position)}, not ${JSON.stringify(since)}`)
        }
      }
      if (isCache && publications.length > 0) position.offset = (publications[0]?.offset ?? 0) - 1
      for (const publication of publications) this.accept(channel, subscribed, publication)
      return
    }
    if (publications.length > 0) this.wrong(`publications in ${channel}, but not recovered`)
    if (since === undefined || isCache) return
    this.seen.unrecovered++
    const top = this.rough.tops.get(channel)
    const missed = (top?.offset ?? 0) - since.offset
    if (!this.lost.has(channel) && missed >= 0 && missed <= recoverable) {
      this.wrong(`${channel} is not recovered from ${JSON.stringify(since)}, which is known up to ${top?.offset}`)
    }
  }

  private end(channel: string): void {
    this.remember(channel, this.subscribed.get(channel)?.position)
    this.subscribed.delete(channel)
  }

  private accept(channel: string, subscribed: Subscribed, { data, offset = 0 }: Pub): void {
    this.seen.publications++
    const { position } = subscribed
    const text = JSON.stringify(data)
    if (position === undefined) {
      const at = this.rough.delivered.get(channel)?.indexOf(text) ?? -1
      if (at < 0) this.wrong(`${text} in ${channel} out of nowhere`)
      if (subscribed.last !== undefined && at !== subscribed.last + 1) {
        this.wrong(`number ${at} after ${subscribed.last} in ${channel}`)
      }
      subscribed.last = at
      return
    }
    if (offset === 0) return
    if (offset !== position.offset + 1) this.wrong(`offset ${offset} after ${position.offset} in ${channel}`)
    const truth = this.rough.published.get(`${channel} ${position.epoch} ${offset}`)
    if (truth !== text) this.wrong(`${text} at ${offset} of ${channel}, which is ${truth}`)
    position.offset = offset
  }

  /** When nothing is under way: it has seen everything. */
  checkComplete(tops: ReadonlyMap<string, Position>): void {
    for (const [channel, { from, last, position }] of this.subscribed) {
      if (position === undefined) {
        const count = this.rough.delivered.get(channel)?.length ?? 0
        if (last === undefined ? count > from : last !== count - 1) {
          this.wrong(`has seen ${last} of ${count} in ${channel}, from ${from}`)
        }
      } else {
        const top = tops.get(channel)
        if (top?.epoch !== position.epoch || top.offset !== position.offset) {
          this.wrong(`stands at ${JSON.stringify(position)} of ${JSON.stringify(top)} in ${channel}`)
        }
      }
    }
    for (const asked of this.socket?.asked.values() ?? []) this.wrong(`no answer to ${JSON.stringify(asked)}`)
  }
}
