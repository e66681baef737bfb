/**
 * What clients are told in the JSON form of the protocol: replies, and pushes.
 *
 * @since 1.0.0
 */
import type { PresenceStats } from "./Presence.js"
import type { ProtocolError, Unsubscribe } from "./ProtocolCode.js"
import type { ClientInfo, Publication, StreamPosition } from "./Publication.js"
import { remembered } from "./Remembered.js"

/**
 * The JSON text of a value, or `undefined` for what is none: functions, symbols, circles, too deep a nesting.
 *
 * @since 1.0.0
 * @category constructors
 */
export const stringify = (value: unknown): string | undefined => {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

const encoder = new TextEncoder()

/**
 * Whether a text has so many bytes in UTF-8, or fewer.
 *
 * @internal
 */
export const isWithin = (bytes: number, text: string): boolean =>
  text.length * 3 <= bytes || text.length <= bytes && bytesOf(text) <= bytes

/**
 * Of a text in UTF-8.
 *
 * @internal
 */
export const bytesOf = (text: string): number => encoder.encode(text).length

/** More levels than any data of use have, and far fewer than are too many for `stringify`. */
const mostLevels = 1000

/**
 * Whether JSON data is nested so deeply that what is made of it may have no text.
 *
 * @internal
 */
export const isDeep = (data: unknown): boolean => {
  let level = [data]
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > mostLevels) return true
    level = level.flatMap((value) => typeof value === "object" && value !== null ? Object.values(value) : [])
  }
  return false
}

/** `,"key":text`, or nothing. */
const member = (key: string, json: string | undefined): string => json === undefined ? "" : `,"${key}":${json}`

const trueMember = (key: string, value: boolean): string => value ? `,"${key}":true` : ""

const textMember = (key: string, value: string): string => value === "" ? "" : `,"${key}":${JSON.stringify(value)}`

const numberMember = (key: string, value: number): string => value === 0 ? "" : `,"${key}":${value}`

/** An object of members that each begin with a comma. */
const braces = (members: string): string => `{${members.slice(1)}}`

const list = (key: string, items: ReadonlyArray<string>): string => `,"${key}":[${items.join(",")}]`

const clientInfo = (info: ClientInfo): string =>
  `{"user":${JSON.stringify(info.user)},"client":${JSON.stringify(info.client)}${
    member("conn_info", stringify(info.connInfo))
  }${member("chan_info", stringify(info.chanInfo))}}`

const infoMember = remembered((info: ClientInfo | undefined): string => member("info", info && clientInfo(info)))

/** What follows the data. */
const beside = ({ info, offset, tags }: Publication<string>): string =>
  `${infoMember(info)}${numberMember("offset", offset)}${tags === undefined ? "" : member("tags", stringify(tags))}`

const publication = (value: Publication<string>): string => `{"data":${value.data}${beside(value)}}`

/**
 * Whether these publications have so many bytes in a reply, or fewer.
 *
 * @internal
 */
export const areWithin = (bytes: number, publications: ReadonlyArray<Publication<string>>): boolean =>
  isWithin(bytes, publications.map(publication).join(","))

const addressed = remembered((channel: string): string => `{"push":{"channel":${JSON.stringify(channel)},`)

const push = (channel: string, body: string): string => `${addressed(channel)}${body}}}`

/**
 * What the server says of its own accord.
 *
 * @since 1.0.0
 * @category constructors
 */
export const pushes = {
  publication: (channel: string, value: Publication<string>) => push(channel, `"pub":${publication(value)}`),
  join: (channel: string, info: ClientInfo) => push(channel, `"join":{"info":${clientInfo(info)}}`),
  leave: (channel: string, info: ClientInfo) => push(channel, `"leave":{"info":${clientInfo(info)}}`),
  unsubscribe: (channel: string, { code, reason }: Unsubscribe) =>
    push(channel, `"unsubscribe":{"code":${code},"reason":${JSON.stringify(reason)}}`),
  subscribe: (channel: string, result: SubscribeResult) =>
    push(
      channel,
      `"subscribe":${
        braces(
          trueMember("recoverable", result.recoverable) +
            (result.position === undefined
              ? ""
              : textMember("epoch", result.position.epoch) + numberMember("offset", result.position.offset)) +
            trueMember("positioned", result.position !== undefined) +
            member("data", stringify(result.data))
        )
      }`
    ),
  message: (data: string) => `{"push":{"message":{"data":${data}}}}`,
  ping: "{}"
}

/**
 * What a subscriber is told. `position`: its own, if positions are checked.
 *
 * @since 1.0.0
 * @category models
 */
export interface SubscribeResult {
  readonly position: StreamPosition | undefined
  readonly recoverable: boolean
  readonly wasRecovering: boolean
  readonly recovered: boolean
  readonly publications: ReadonlyArray<Publication<string>>
  readonly data: unknown
  /** Seconds until it expires, if it does. */
  readonly ttl: number | undefined
}

const expiry = (ttl: number | undefined): string => ttl === undefined ? "" : `,"expires":true,"ttl":${ttl}`

const subscribeResult = (result: SubscribeResult): string =>
  braces(
    expiry(result.ttl) +
      trueMember("recoverable", result.recoverable) +
      textMember("epoch", result.position?.epoch ?? "") +
      (result.publications.length === 0 ? "" : list("publications", result.publications.map(publication))) +
      trueMember("recovered", result.recovered) +
      numberMember("offset", result.position?.offset ?? 0) +
      trueMember("positioned", result.position !== undefined) +
      member("data", stringify(result.data)) +
      trueMember("was_recovering", result.wasRecovering)
  )

/**
 * What a client is told when it has connected.
 *
 * @since 1.0.0
 * @category models
 */
export interface ConnectResult {
  readonly client: string
  readonly version: string
  readonly ttl: number | undefined
  readonly data: unknown
  readonly subscriptions: ReadonlyMap<string, SubscribeResult>
  /** Seconds between pings; 0: none. */
  readonly ping: number
  /** Whether an answer to them is expected. */
  readonly pong: boolean
}

const reply = (id: number, key: string, body: string): string => `{"id":${id},"${key}":${body}}`

/**
 * Answers to commands.
 *
 * @since 1.0.0
 * @category constructors
 */
export const replies = {
  error: (id: number, { code, reason, temporary }: ProtocolError) =>
    reply(
      id,
      "error",
      braces(`,"code":${code},"message":${JSON.stringify(reason)}${trueMember("temporary", temporary)}`)
    ),
  empty: (id: number, key: "publish" | "unsubscribe") => reply(id, key, "{}"),
  connect: (id: number, result: ConnectResult) =>
    reply(
      id,
      "connect",
      braces(
        `,"client":${JSON.stringify(result.client)}` +
          textMember("version", result.version) +
          expiry(result.ttl) +
          member("data", stringify(result.data)) +
          (result.subscriptions.size === 0
            ? ""
            : `,"subs":{${
              Array.from(
                result.subscriptions,
                ([channel, result]) => `${JSON.stringify(channel)}:${subscribeResult(result)}`
              ).join(",")
            }}`) +
          numberMember("ping", result.ping) +
          trueMember("pong", result.pong)
      )
    ),
  subscribe: (id: number, result: SubscribeResult) => reply(id, "subscribe", subscribeResult(result)),
  presence: (id: number, presence: ReadonlyMap<string, ClientInfo>) =>
    reply(
      id,
      "presence",
      `{"presence":{${
        Array.from(presence, ([client, info]) => `${JSON.stringify(client)}:${clientInfo(info)}`).join(",")
      }}}`
    ),
  presenceStats: (id: number, { clients, users }: PresenceStats) =>
    reply(id, "presence_stats", `{"num_clients":${clients},"num_users":${users}}`),
  history: (id: number, publications: ReadonlyArray<Publication<string>>, { epoch, offset }: StreamPosition) =>
    reply(
      id,
      "history",
      braces(
        list("publications", publications.map(publication)) + `,"epoch":${JSON.stringify(epoch)},"offset":${offset}`
      )
    ),
  rpc: (id: number, data: string) => reply(id, "rpc", `{"data":${data}}`),
  refresh: (id: number, key: "refresh" | "sub_refresh", ttl: number | undefined) => reply(id, key, braces(expiry(ttl)))
}
