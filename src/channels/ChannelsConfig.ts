/**
 * The options of channels: limits and times, and what each namespace offers.
 *
 * @since 1.0.0
 */
import type * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Predicate from "effect/Predicate"
import * as HubConfig from "../core/HubConfig.js"
import { InvalidOption } from "../core/HubError.js"
import type { NamespacesOptions } from "./Namespace.js"
import * as NamespaceCheck from "./NamespaceCheck.js"
import { unknownKeys } from "./UnknownKeys.js"

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
  /**
   * Time for the answer to a ping, less than the interval; then 3012. 0: no answer is asked for. Defaults to 8 seconds.
   */
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
  /** Time after which presence that is not renewed ends, more than the interval. Defaults to 60 seconds. */
  readonly presenceTtl?: Duration.DurationInput | undefined
  /** Time between comparisons of subscribers' positions with the stream. Defaults to 40 seconds. */
  readonly positionCheckInterval?: Duration.DurationInput | undefined
  /** Most publications that a recovery brings; who missed more is told so. Defaults to 300. */
  readonly recoveryLimit?: number | undefined
  /** Most publications that a client reads from history at once. Defaults to 300. */
  readonly historyLimit?: number | undefined
  /**
   * Subscribes each user to a channel of its own, `#user` in this namespace, which no other may subscribe to without a
   * token. A user whose id has a `#` or a `,` has none, since the name would be that of other users too, nor one whose id
   * cannot stand in a name: without a namespace it must not have a `:`. The log says so, once. Defaults to none.
   */
  readonly personalChannel?: {
    /** Empty or absent: without a namespace. */
    readonly namespace?: string | undefined
    /** Closes a user's earlier connections on this node with 3504. */
    readonly singleConnection?: boolean | undefined
  } | undefined
}

/**
 * The limits and times as they are used: milliseconds, counts, `Infinity` for no limit and for no answer to a ping.
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
  readonly personalChannel: {
    readonly namespace: string
    readonly prefix: string
    readonly singleConnection: boolean
  } | undefined
}

/** What an option must be, and how it is read: nothing if it is not that. */
interface Kind<A> {
  readonly expected: string
  readonly read: (actual: unknown) => A | undefined
}

const expectedTime = "a duration such as \"10 seconds\" or a number of milliseconds, at most 24 days"

const time: Kind<number> = { expected: expectedTime, read: HubConfig.millis }

const timeAbove0: Kind<number> = {
  expected: `${expectedTime}, and above 0`,
  read: (actual) => HubConfig.millis(actual) || undefined
}

const count: Kind<number> = {
  expected: "a whole number, or 0 for no limit",
  read: (actual) => Number.isSafeInteger(actual) && Number(actual) >= 0 ? Number(actual) || Infinity : undefined
}

const flag: Kind<boolean> = {
  expected: "true or false",
  read: (actual) => typeof actual === "boolean" ? actual : undefined
}

const text: Kind<string> = { expected: "text", read: (actual) => typeof actual === "string" ? actual : undefined }

const section: Kind<Readonly<Record<PropertyKey, unknown>>> = {
  expected: "an object",
  read: (actual) => Predicate.isRecord(actual) ? actual : undefined
}

/** The options with their defaults, which stand for what is wrong too, and all that is wrong. */
const read = (options: ChannelsOptions): readonly [ChannelsConfig, ReadonlyArray<InvalidOption>] => {
  const problems: Array<InvalidOption> = []
  const wrong = (key: string, expected: string, actual: unknown) =>
    problems.push(new InvalidOption({ key, expected, actual }))
  const value = <A>(key: string, actual: unknown, kind: Kind<A>, fallback: A): A => {
    if (actual === undefined) return fallback
    const found = kind.read(actual)
    if (found === undefined) wrong(key, kind.expected, actual)
    return found ?? fallback
  }
  const own = <A>(key: keyof ChannelsConfig, kind: Kind<A>, fallback: A): A => value(key, options[key], kind, fallback)
  const personal = own("personalChannel", section, {})
  const namespace = value("personalChannel.namespace", personal["namespace"], text, "")
  const singleConnection = value("personalChannel.singleConnection", personal["singleConnection"], flag, false)
  const config: ChannelsConfig = {
    insecure: own("insecure", flag, false),
    name: own("name", text, "node"),
    version: own("version", text, ""),
    pingInterval: own("pingInterval", time, 25_000),
    pongTimeout: own("pongTimeout", time, 8000) || Infinity,
    staleTimeout: own("staleTimeout", timeAbove0, 10_000),
    expiredDelay: own("expiredDelay", time, 25_000),
    channelLimit: own("channelLimit", count, 128),
    userConnections: own("userConnections", count, Infinity),
    presenceInterval: own("presenceInterval", timeAbove0, 27_000),
    presenceTtl: own("presenceTtl", timeAbove0, 60_000),
    positionCheckInterval: own("positionCheckInterval", timeAbove0, 40_000),
    recoveryLimit: own("recoveryLimit", count, 300),
    historyLimit: own("historyLimit", count, 300),
    personalChannel: options.personalChannel === undefined
      ? undefined
      : { namespace, prefix: namespace === "" ? "#" : `${namespace}:#`, singleConnection }
  }
  const { pingInterval, pongTimeout, presenceInterval, presenceTtl } = config
  const seconds = (millis: number) => `${millis / 1000} seconds`
  if (pingInterval % 1000 !== 0) wrong("pingInterval", "whole seconds", options.pingInterval)
  if (pingInterval > 0 && pongTimeout >= pingInterval && pongTimeout !== Infinity) {
    wrong(
      "pongTimeout",
      `less than pingInterval, which is ${seconds(pingInterval)}`,
      options.pongTimeout ?? pongTimeout
    )
  }
  if (presenceTtl <= presenceInterval) {
    const expected = `more than presenceInterval, which is ${seconds(presenceInterval)}`
    wrong("presenceTtl", expected, options.presenceTtl ?? presenceTtl)
  }
  const { namespaces, withoutNamespace } = options
  const exists = namespace === "" ? withoutNamespace !== undefined : Object.hasOwn(namespaces ?? {}, namespace)
  if (options.personalChannel !== undefined && !exists) {
    const expected = "the name of a namespace that is there, or nothing if withoutNamespace is"
    wrong("personalChannel.namespace", expected, namespace)
  }
  problems.push(
    ...unknownKeys("", options, [...Object.keys(config), "withoutNamespace", "namespaces"]),
    ...unknownKeys("personalChannel.", personal, ["namespace", "singleConnection"]),
    ...NamespaceCheck.problems(options)
  )
  return [config, problems]
}

/**
 * All that is wrong with the options, each by its path: `pingInterval`, `namespaces.news.historyTtl`.
 *
 * @internal
 */
export const problems = (options: ChannelsOptions): ReadonlyArray<InvalidOption> => read(options)[1]

/**
 * Checks the options and fills in the defaults. The error names the option that is wrong.
 *
 * @internal
 */
export const make = (options: ChannelsOptions): Either.Either<ChannelsConfig, InvalidOption> => {
  const [config, [problem]] = read(options)
  return problem === undefined ? Either.right(config) : Either.left(problem)
}
