/**
 * The options of channels: limits and times, and what each namespace offers.
 *
 * @since 1.0.0
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import { InvalidOption } from "../core/HubError.js"
import type { NamespacesOptions } from "./Namespace.js"

/**
 * The options of channels. Everything has a safe default.
 *
 * @since 1.0.0
 * @category models
 */
export interface ChannelsOptions extends NamespacesOptions {
  /** Clients may do everything that their channels offer, without any permission. For development. Defaults to `false`. */
  readonly insecure?: boolean | undefined
  /** Name of this node. Defaults to `node`. */
  readonly name?: string | undefined
  /** Version that clients are told. Defaults to none. */
  readonly version?: string | undefined
  /** Time between pings, in whole seconds. 0: no pings. Defaults to 25 seconds. */
  readonly pingInterval?: Duration.DurationInput | undefined
  /** Time for the answer to a ping, less than the interval; then 3012. Defaults to 8 seconds. */
  readonly pongTimeout?: Duration.DurationInput | undefined
  /** Time for a new connection to send its connect command; then 3502. Defaults to 10 seconds. */
  readonly staleTimeout?: Duration.DurationInput | undefined
  /** Time for a client to refresh what has expired, connection (3005) or subscription (2501). Defaults to 25 seconds. */
  readonly expiredDelay?: Duration.DurationInput | undefined
  /** Channels that a client may be subscribed to. 0: no limit. Defaults to 128. */
  readonly channelLimit?: number | undefined
  /** Connections of one user on this node. 0: no limit, which is the default. */
  readonly userConnections?: number | undefined
  /** Time between renewals of presence. Defaults to 27 seconds. */
  readonly presenceInterval?: Duration.DurationInput | undefined
  /** Time after which presence that is not renewed ends. Defaults to 60 seconds. */
  readonly presenceTtl?: Duration.DurationInput | undefined
  /** Time between comparisons of subscribers' positions with the stream. Defaults to 40 seconds. */
  readonly positionCheckInterval?: Duration.DurationInput | undefined
  /** Most publications that a recovery brings; who missed more is told so. Defaults to 300. */
  readonly recoveryLimit?: number | undefined
  /** Most publications that a client reads from history at once. Defaults to 300. */
  readonly historyLimit?: number | undefined
  /** Subscribes each user to a channel of its own, `#user` in this namespace. Defaults to none. */
  readonly personalChannel?: {
    /** Empty or absent: without a namespace. */
    readonly namespace?: string | undefined
    /** Closes a user's earlier connections on this node with 3504. */
    readonly singleConnection?: boolean | undefined
  } | undefined
}

/**
 * The limits and times as they are used: milliseconds, counts, `Infinity` for no limit.
 *
 * @internal
 */
export interface ChannelsConfig {
  readonly insecure: boolean
  readonly name: string
  readonly version: string
  readonly pingInterval: number
  readonly pongTimeout: number
  readonly staleTimeout: number
  readonly expiredDelay: number
  readonly channelLimit: number
  readonly userConnections: number
  readonly presenceInterval: number
  readonly presenceTtl: number
  readonly positionCheckInterval: number
  readonly recoveryLimit: number
  readonly historyLimit: number
  readonly personalChannel: { readonly prefix: string; readonly singleConnection: boolean } | undefined
}

const millis = (key: string, value: Duration.DurationInput | undefined, fallback: string): number => {
  const input = value ?? fallback
  const duration = Duration.decodeUnknown(input)
  const millis = duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
  if (millis >= 0 && millis < 2 ** 31) return millis
  throw new InvalidOption({ key, expected: "a duration such as \"10 seconds\", at most 24 days", actual: input })
}

const above0 = (key: string, value: Duration.DurationInput | undefined, fallback: string): number => {
  const found = millis(key, value, fallback)
  if (found > 0) return found
  throw new InvalidOption({ key, expected: "a duration above 0", actual: value })
}

const count = (key: string, value: number | undefined, fallback: number): number => {
  const actual = value ?? fallback
  if (Number.isSafeInteger(actual) && actual >= 0) return actual === 0 ? Infinity : actual
  throw new InvalidOption({ key, expected: "a whole number, or 0 for no limit", actual })
}

/** Where nothing may be lost, nothing may be dropped. */
const checkOverflow = ({ namespaces = {}, withoutNamespace = {} }: NamespacesOptions): void => {
  const all = Object.entries(namespaces).map(([name, options]) => [`namespaces.${name}`, options] as const)
  for (const [path, options] of [["withoutNamespace", withoutNamespace] as const, ...all]) {
    const wanted = (["forceRecovery", "allowRecovery", "forcePositioning", "allowPositioning"] as const)
      .find((key) => options[key] === true)
    if (wanted === undefined || (options.overflow ?? "disconnect") === "disconnect") continue
    throw new InvalidOption({
      key: `${path}.overflow`,
      expected: `disconnect, since ${wanted} must not lose anything`,
      actual: options.overflow
    })
  }
}

/**
 * Checks the options and fills in the defaults. The error names the option that is wrong.
 *
 * @internal
 */
export const make = (options: ChannelsOptions): Either.Either<ChannelsConfig, InvalidOption> =>
  Either.try({
    try: (): ChannelsConfig => {
      const pingInterval = millis("pingInterval", options.pingInterval, "25 seconds")
      const pongTimeout = above0("pongTimeout", options.pongTimeout, "8 seconds")
      if (pingInterval % 1000 !== 0) {
        throw new InvalidOption({ key: "pingInterval", expected: "whole seconds", actual: options.pingInterval })
      }
      if (pingInterval > 0 && pongTimeout >= pingInterval) {
        throw new InvalidOption({ key: "pongTimeout", expected: "less than pingInterval", actual: options.pongTimeout })
      }
      checkOverflow(options)
      const personal = options.personalChannel
      return {
        insecure: options.insecure ?? false,
        name: options.name ?? "node",
        version: options.version ?? "",
        pingInterval,
        pongTimeout,
        staleTimeout: above0("staleTimeout", options.staleTimeout, "10 seconds"),
        expiredDelay: millis("expiredDelay", options.expiredDelay, "25 seconds"),
        channelLimit: count("channelLimit", options.channelLimit, 128),
        userConnections: count("userConnections", options.userConnections, 0),
        presenceInterval: above0("presenceInterval", options.presenceInterval, "27 seconds"),
        presenceTtl: above0("presenceTtl", options.presenceTtl, "60 seconds"),
        positionCheckInterval: above0("positionCheckInterval", options.positionCheckInterval, "40 seconds"),
        recoveryLimit: count("recoveryLimit", options.recoveryLimit, 300),
        historyLimit: count("historyLimit", options.historyLimit, 300),
        personalChannel: personal === undefined ? undefined : {
          prefix: personal.namespace === undefined || personal.namespace === "" ? "#" : `${personal.namespace}:#`,
          singleConnection: personal.singleConnection ?? false
        }
      }
    },
    catch: (error) => {
      if (error instanceof InvalidOption) return error
      throw error
    }
  })
