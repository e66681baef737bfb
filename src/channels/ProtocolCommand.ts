/**
 * What clients say in the JSON form of the protocol, decoded and checked.
 *
 * @since 1.0.0
 */
import type { HistoryOptions } from "./Channels.js"
import { disconnects } from "./ProtocolCode.js"
import type { StreamPosition } from "./Publication.js"

/**
 * What a client asks for when it subscribes.
 *
 * @since 1.0.0
 * @category models
 */
export interface SubscribeParams {
  readonly channel: string
  readonly token: string
  readonly data: unknown
  readonly recover: boolean
  readonly since: StreamPosition
  readonly positioned: boolean
  readonly recoverable: boolean
  readonly joinLeave: boolean
  /** Answer 112 instead of `recovered: false` (bit 2 of the flags). */
  readonly rejectUnrecovered: boolean
  /** What this server does not have: another type of subscription, a filter, a delta that nobody knows. */
  readonly unsupported: "type" | "filter" | "delta" | undefined
}

/**
 * One thing that a client says. `id` is 0 where the protocol wants none.
 *
 * @since 1.0.0
 * @category models
 */
export type Command =
  | { readonly _tag: "pong" }
  | {
    readonly _tag: "connect"
    readonly id: number
    readonly token: string
    readonly data: unknown
    readonly name: string
    readonly version: string
    readonly headers: ReadonlyMap<string, string>
    readonly subscriptions: ReadonlyMap<string, SubscribeParams>
  }
  | { readonly _tag: "subscribe"; readonly id: number; readonly params: SubscribeParams }
  | { readonly _tag: "unsubscribe"; readonly id: number; readonly channel: string }
  | { readonly _tag: "publish"; readonly id: number; readonly channel: string; readonly data: unknown }
  | { readonly _tag: "presence" | "presence_stats"; readonly id: number; readonly channel: string }
  | { readonly _tag: "history"; readonly id: number; readonly channel: string; readonly options: HistoryOptions }
  | { readonly _tag: "ping"; readonly id: number }
  | { readonly _tag: "send"; readonly id: number; readonly data: unknown }
  | { readonly _tag: "rpc"; readonly id: number; readonly method: string; readonly data: unknown }
  | { readonly _tag: "refresh"; readonly id: number; readonly token: string }
  | { readonly _tag: "sub_refresh"; readonly id: number; readonly channel: string; readonly token: string }

/** Stands for `disconnects.badRequest` while a document is read. */
class Malformed extends Error {}

const malformed = (): never => {
  throw new Malformed()
}

type Fields = Readonly<Record<string, unknown>>

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** `null` and an absent field are the zero value of their type. Only a document's own fields count. */
const field = (fields: Fields, key: string): unknown =>
  Object.hasOwn(fields, key) ? fields[key] ?? undefined : undefined

const object = (value: unknown): Fields => isFields(value) ? value : malformed()

const text = (fields: Fields, key: string): string => {
  const value = field(fields, key) ?? ""
  return typeof value === "string" ? value : malformed()
}

/** A name without which the command means nothing. */
const name = (fields: Fields, key: string): string => text(fields, key) || malformed()

const flag = (fields: Fields, key: string): boolean => {
  const value = field(fields, key) ?? false
  return typeof value === "boolean" ? value : malformed()
}

const integer = (fields: Fields, key: string, least = 0): number => {
  const value = field(fields, key) ?? 0
  return typeof value === "number" && Number.isSafeInteger(value) && value >= least ? value : malformed()
}

/** JSON of any kind; `null` is data too. */
const json = (fields: Fields, key: string): unknown => Object.hasOwn(fields, key) ? fields[key] : undefined

const position = (fields: Fields): StreamPosition => ({
  offset: integer(fields, "offset"),
  epoch: text(fields, "epoch")
})

const entries = (fields: Fields, key: string): ReadonlyArray<[string, unknown]> =>
  Object.entries(object(field(fields, key) ?? {}))

const subscribeParams = (channel: string, fields: Fields): SubscribeParams => ({
  channel,
  token: text(fields, "token"),
  data: json(fields, "data"),
  recover: flag(fields, "recover"),
  since: position(fields),
  positioned: flag(fields, "positioned"),
  recoverable: flag(fields, "recoverable"),
  joinLeave: flag(fields, "join_leave"),
  rejectUnrecovered: (integer(fields, "flag", -Infinity) & 2) !== 0,
  unsupported: integer(fields, "type", -Infinity) !== 0
    ? "type"
    : field(fields, "tf") !== undefined
    ? "filter"
    : !["", "fossil"].includes(text(fields, "delta"))
    ? "delta"
    : undefined
})

const readers: { readonly [Tag in Exclude<Command["_tag"], "pong">]: (id: number, params: Fields) => Command } = {
  connect: (id, params) => ({
    _tag: "connect",
    id,
    token: text(params, "token"),
    data: json(params, "data"),
    name: text(params, "name").length <= 16 ? text(params, "name") : malformed(),
    version: text(params, "version").length <= 64 ? text(params, "version") : malformed(),
    headers: new Map(
      entries(params, "headers").map(([key, value]) => [
        key.toLowerCase(),
        typeof value === "string" ? value : malformed()
      ])
    ),
    subscriptions: new Map(
      entries(params, "subs").map(([channel, value]) => [channel, subscribeParams(channel, object(value))])
    )
  }),
  subscribe: (id, params) => ({ _tag: "subscribe", id, params: subscribeParams(name(params, "channel"), params) }),
  unsubscribe: (id, params) => ({ _tag: "unsubscribe", id, channel: name(params, "channel") }),
  publish: (id, params) => ({ _tag: "publish", id, channel: name(params, "channel"), data: json(params, "data") }),
  presence: (id, params) => ({ _tag: "presence", id, channel: name(params, "channel") }),
  presence_stats: (id, params) => ({ _tag: "presence_stats", id, channel: name(params, "channel") }),
  history: (id, params) => {
    const since = field(params, "since")
    return {
      _tag: "history",
      id,
      channel: name(params, "channel"),
      options: {
        // As in the server API: none asked for is the position alone, below zero is all.
        limit: integer(params, "limit", -Infinity) < 0 ? undefined : integer(params, "limit"),
        since: since === undefined ? undefined : position(object(since)),
        reverse: flag(params, "reverse")
      }
    }
  },
  ping: (id) => ({ _tag: "ping", id }),
  send: (id, params) => ({ _tag: "send", id, data: json(params, "data") }),
  rpc: (id, params) => ({ _tag: "rpc", id, method: text(params, "method"), data: json(params, "data") }),
  refresh: (id, params) => ({ _tag: "refresh", id, token: text(params, "token") }),
  sub_refresh: (id, params) => ({
    _tag: "sub_refresh",
    id,
    channel: name(params, "channel"),
    token: text(params, "token")
  })
}

/** The first of these that a document has is what it says. */
const tags = Object.keys(readers) as Array<keyof typeof readers>

const ranks: ReadonlyMap<string, number> = new Map(tags.map((tag, rank) => [tag, rank]))

const mostIds = 2 ** 32 - 1

/** A document has one of them, as a rule, among few keys: quicker to find than to look for each. */
const tagOf = (fields: Fields): keyof typeof readers | undefined => {
  let best = tags.length
  for (const key in fields) {
    const rank = ranks.get(key)
    if (rank !== undefined && rank < best && fields[key] !== null) best = rank
  }
  return tags[best]
}

const read = (document: string): Command => {
  const fields = object(JSON.parse(document))
  const tag = tagOf(fields)
  const id = integer(fields, "id")
  if (tag === undefined) return id === 0 && Object.keys(fields).length === 0 ? { _tag: "pong" } : malformed()
  if (id > mostIds || id === 0 && tag !== "send") return malformed()
  return readers[tag](id, object(field(fields, tag)))
}

/**
 * Reads one document. What is not one, or lacks what its command needs, is answered by closing with 3501.
 *
 * @since 1.0.0
 * @category constructors
 */
export const decode = (document: string): Command | typeof disconnects.badRequest => {
  try {
    return read(document)
  } catch (error) {
    if (error instanceof Malformed || error instanceof SyntaxError || error instanceof RangeError) {
      return disconnects.badRequest
    }
    throw error
  }
}
