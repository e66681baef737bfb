/**
 * The limits and timeouts of a hub: from options, or from `Config`.
 *
 * @since 1.0.0
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { InvalidOption } from "./HubError.js"

/**
 * What happens to a frame for a connection whose outbox is full.
 *
 * - `disconnect`: the connection is closed with 1008, and its backlog is given up.
 * - `drop-newest`: the frame is dropped.
 * - `drop-oldest`: the oldest frames of the backlog are dropped until the frame fits.
 * - `conflate`: while the peer is behind, a frame with a `key` replaces the one before it with the same key; what is
 *   still too much disconnects.
 *
 * @since 1.0.0
 * @category models
 */
export type OverflowPolicy = "disconnect" | "drop-newest" | "drop-oldest" | "conflate"

/** A number, where 0 or `"off"` switches the limit off. */
type Limit = number | "off"
/** A duration, where 0 or `"off"` switches it off. */
type Period = Duration.DurationInput | "off"

/**
 * The options of a hub. Every one has a safe default and a `Config` key (`HUB_` and the name in capitals:
 * `messageBytes` is `HUB_MESSAGE_BYTES`). Sizes are in bytes.
 *
 * @since 1.0.0
 * @category models
 */
export interface HubOptions {
  /** Largest message a peer may send; a larger one closes with 1009. It cannot be switched off. Defaults to 65536. */
  readonly messageBytes?: number | undefined
  /**
   * Received and not yet taken by the handler, per connection; at the limit the hub stops reading from that socket
   * (TCP backpressure) until half is taken. What was read already still comes: at most one read of 64 KiB more.
   * It cannot be switched off. Defaults to 262144.
   */
  readonly inboxBytes?: number | undefined
  /**
   * Sent and not yet taken by the peer's kernel, per connection, the frame being added included; it acts from 16 KiB, the
   * high-water mark of a socket. Of tiny frames one waits for every 64 bytes of it. It cannot be switched off. Defaults to
   * 1048576.
   */
  readonly outboxBytes?: number | undefined
  /** What happens when an outbox is full. Defaults to `disconnect`. */
  readonly overflow?: OverflowPolicy | undefined
  /** Connections in the whole hub, handshakes included. 0: no limit. Defaults to 100000. */
  readonly connections?: Limit | undefined
  /** Connections per remote address. Off by default, since behind a proxy all clients share one. */
  readonly connectionsPerAddress?: Limit | undefined
  /** Time for a handshake, authorisation included, behind `NodeGuard` headers too. 0: no limit. Defaults to 10 seconds. */
  readonly handshakeTimeout?: Period | undefined
  /** Messages per second that a peer may send, on average. 0: no limit. Defaults to 1000. */
  readonly messagesPerSecond?: Limit | undefined
  /** Messages that a peer may send at once. Defaults to 2000, or to twice `messagesPerSecond` if that is given. */
  readonly messageBurst?: number | undefined
  /** Whether a peer that exceeds its rate is closed with 1008, or its message is dropped. Defaults to `close`. */
  readonly rateLimit?: "close" | "drop" | undefined
  /** Silence after which a peer is pinged. 0: no pings. Defaults to 25 seconds. */
  readonly heartbeatInterval?: Period | undefined
  /** Time for the answer to a ping, give or take a quarter; then the connection is closed. Defaults to 10 seconds. */
  readonly heartbeatTimeout?: Duration.DurationInput | undefined
  /** Time that a drain waits for connections to end before it cuts them off. 0: at once. Defaults to 10 seconds. */
  readonly drainDeadline?: Duration.DurationInput | undefined
  /** Connections per second that a drain closes, more if the deadline demands it. Defaults to 10000. */
  readonly drainPace?: number | undefined
  /**
   * Time that a closing connection gives each: its handler to end, its outbox to empty, its peer to answer the close
   * frame. Defaults to 2 seconds.
   */
  readonly closeGrace?: Duration.DurationInput | undefined
}

/**
 * The options as the hub uses them: bytes, milliseconds and counts; `Infinity` for what is switched off, and 0 for no
 * heartbeat.
 *
 * @since 1.0.0
 * @category models
 */
export interface HubConfig {
  readonly messageBytes: number
  readonly inboxBytes: number
  readonly outboxBytes: number
  readonly overflow: OverflowPolicy
  readonly connections: number
  readonly connectionsPerAddress: number
  readonly handshakeTimeout: number
  readonly messagesPerSecond: number
  readonly messageBurst: number
  readonly rateLimit: "close" | "drop"
  readonly heartbeatInterval: number
  readonly heartbeatTimeout: number
  readonly drainDeadline: number
  readonly drainPace: number
  readonly closeGrace: number
}

type Parse<A> = (actual: unknown) => A | undefined

const size: Parse<number> = (actual) =>
  typeof actual === "number" && Number.isSafeInteger(actual) && actual > 0 ? actual : undefined

const limit: Parse<number> = (actual) => actual === "off" || actual === 0 ? Infinity : size(actual)

/** Node's timers hold 2^31 - 1 ms; a longer one would fire at once. */
const longest = 2 ** 31 - 1

/**
 * The milliseconds of a duration that is not negative and not too long for a timer.
 *
 * @internal
 */
export const millis = (actual: unknown): number | undefined => {
  const negative = typeof actual === "string"
    ? actual.trim().startsWith("-")
    : typeof actual === "number" && !(actual >= 0)
  const duration = Duration.decodeUnknown(actual)
  if (negative || duration._tag === "None") return undefined
  const ms = Duration.toMillis(duration.value)
  return ms <= longest ? ms : undefined
}

const period: Parse<number> = (actual) => actual === "off" ? 0 : millis(actual)

const oneOf = <A extends string>(...values: ReadonlyArray<A>): Parse<A> => (actual) =>
  values.find((value) => value === actual)

const whole = "a whole number above 0"
const bound = `${whole} (it cannot be switched off)`
const wholeOrOff = `${whole}, or 0 or "off" for no limit`
const time = "a duration such as \"10 seconds\" or a number of milliseconds, at most 24 days"

/** One row per option: its key, its default, what it must be, and how to read it. */
const rows = {
  messageBytes: { fallback: 65536, expected: bound, parse: size },
  inboxBytes: { fallback: 262144, expected: bound, parse: size },
  outboxBytes: { fallback: 1048576, expected: bound, parse: size },
  overflow: {
    fallback: "disconnect",
    expected: "disconnect, drop-newest, drop-oldest or conflate",
    parse: oneOf("disconnect", "drop-newest", "drop-oldest", "conflate")
  },
  connections: { fallback: 100000, expected: wholeOrOff, parse: limit },
  connectionsPerAddress: { fallback: "off", expected: wholeOrOff, parse: limit },
  handshakeTimeout: { fallback: "10 seconds", expected: `${time}, or "off"`, parse: period },
  messagesPerSecond: { fallback: 1000, expected: wholeOrOff, parse: limit },
  messageBurst: { fallback: undefined, expected: whole, parse: size },
  rateLimit: { fallback: "close", expected: "close or drop", parse: oneOf("close", "drop") },
  heartbeatInterval: { fallback: "25 seconds", expected: `${time}, or "off"`, parse: period },
  heartbeatTimeout: { fallback: "10 seconds", expected: time, parse: millis },
  drainDeadline: { fallback: "10 seconds", expected: time, parse: millis },
  drainPace: { fallback: 10000, expected: whole, parse: size },
  closeGrace: { fallback: "2 seconds", expected: time, parse: millis }
} satisfies Record<keyof HubOptions, { fallback: unknown; expected: string; parse: Parse<unknown> }>

const read = <K extends keyof typeof rows>(
  key: K,
  options: HubOptions
): NonNullable<ReturnType<(typeof rows)[K]["parse"]>> => {
  const row: { fallback: unknown; expected: string; parse: Parse<unknown> } = rows[key]
  const actual = options[key] ?? row.fallback
  const parsed = row.parse(actual)
  if (parsed === undefined) throw new InvalidOption({ key, expected: row.expected, actual })
  return parsed as NonNullable<ReturnType<(typeof rows)[K]["parse"]>>
}

/**
 * Checks the options and fills in the defaults. The error names the option that is wrong.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = (options: HubOptions = {}): Either.Either<HubConfig, InvalidOption> =>
  Either.try({
    try: (): HubConfig => {
      const unknown = Object.keys(options).find((key) => !(key in rows))
      if (unknown !== undefined) {
        throw new InvalidOption({ key: unknown, expected: `one of ${Object.keys(rows).join(", ")}`, actual: unknown })
      }
      const messagesPerSecond = read("messagesPerSecond", options)
      const messageBurst = Number.isFinite(messagesPerSecond) ? 2 * messagesPerSecond : 2000
      const config = {
        messageBytes: read("messageBytes", options),
        inboxBytes: read("inboxBytes", options),
        outboxBytes: read("outboxBytes", options),
        overflow: read("overflow", options),
        connections: read("connections", options),
        connectionsPerAddress: read("connectionsPerAddress", options),
        handshakeTimeout: read("handshakeTimeout", options),
        messagesPerSecond,
        messageBurst: read("messageBurst", { messageBurst: options.messageBurst ?? messageBurst }),
        rateLimit: read("rateLimit", options),
        heartbeatInterval: read("heartbeatInterval", options),
        heartbeatTimeout: read("heartbeatTimeout", options),
        drainDeadline: read("drainDeadline", options),
        drainPace: read("drainPace", options),
        closeGrace: read("closeGrace", options)
      }
      if (config.heartbeatInterval > 0 && config.heartbeatTimeout === 0) {
        throw new InvalidOption({
          key: "heartbeatTimeout",
          expected: "a duration above 0 (to switch heartbeats off, set heartbeatInterval to \"off\")",
          actual: options.heartbeatTimeout
        })
      }
      return config
    },
    catch: (error) => {
      if (error instanceof InvalidOption) return error
      throw error
    }
  })

const variable = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()

/**
 * The options from `Config`, under `HUB`: `HUB_MESSAGE_BYTES`, `HUB_OVERFLOW`, `HUB_DRAIN_DEADLINE` and so on; numbers
 * as digits, durations as `"10 seconds"` or milliseconds. What is not set takes the default.
 *
 * @since 1.0.0
 * @category config
 */
export const config: Config.Config<HubOptions> = Config.nested(
  Config.map(
    Config.all(
      (Object.keys(rows) as Array<keyof typeof rows>).map((key) =>
        Config.string(variable(key)).pipe(
          Config.mapOrFail((text) => {
            const value = /^\d+$/.test(text.trim()) ? Number(text) : text.trim()
            return rows[key].parse(value) === undefined
              ? Either.left(
                ConfigError.InvalidData([], `Expected ${rows[key].expected}, got ${JSON.stringify(text)}`)
              )
              : Either.right([key, value] as const)
          }),
          Config.option
        )
      )
    ),
    (entries) =>
      Object.fromEntries(entries.flatMap((entry) => entry._tag === "Some" ? [entry.value] : [])) as HubOptions
  ),
  "HUB"
)
