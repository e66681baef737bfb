/**
 * Which Redis, and how patient to be with it.
 *
 * @since 1.0.0
 */
import * as Duration from "effect/Duration"
import * as Either from "effect/Either"
import * as Redacted from "effect/Redacted"
import type * as tls from "node:tls"
import { InvalidOption } from "../core/HubError.js"

/**
 * The options of the connection to Redis. Give one of `url`, `urls`, `cluster` and `sentinel`; without any it is
 * `redis://127.0.0.1:6379`. An address is `redis://user:password@host:port/database`, or `rediss://` for TLS.
 *
 * @since 1.0.0
 * @category models
 */
export interface RedisOptions {
  /** One server. */
  readonly url?: string | undefined
  /** Several servers that know nothing of each other: each channel lives on one. All nodes must list the same ones. */
  readonly urls?: ReadonlyArray<string> | undefined
  /** Some nodes of a Redis Cluster; it names the others. User, password and TLS of the first are used for all. */
  readonly cluster?: ReadonlyArray<string> | undefined
  /**
   * Sentinels, and the name by which they know the master. It is spoken to over TLS if `tls` is given, or if one of them
   * is. User and password of a Sentinel are those in its address.
   */
  readonly sentinel?: { readonly name: string; readonly urls: ReadonlyArray<string> } | undefined
  /** For servers whose address names none. */
  readonly username?: string | undefined
  /** For servers whose address has none. */
  readonly password?: string | Redacted.Redacted | undefined
  /** For servers whose address names none; a Cluster has only 0. Defaults to 0. */
  readonly database?: number | undefined
  /** Of connections with TLS: `ca`, `cert`, `key`, `servername` … `true`: TLS although the address does not say so. */
  readonly tls?: boolean | tls.ConnectionOptions | undefined
  /** How the names of all keys and pub/sub channels begin; then comes the database, if it is not 0. Defaults to `hub`. */
  readonly prefix?: string | undefined
  /** Time to connect, TLS and authentication included. Defaults to 5 seconds. */
  readonly connectTimeout?: Duration.DurationInput | undefined
  /** Time for the answer to a command. What timed out may still be done. Defaults to 3 seconds. */
  readonly commandTimeout?: Duration.DurationInput | undefined
  /** Publications and other commands without an answer, per server, beyond which more fail at once. Defaults to 50000. */
  readonly maxPending?: number | undefined
  /** The same in UTF-16 units of what they say. Defaults to 67108864. */
  readonly maxPendingUnits?: number | undefined
  /**
   * A connection is asked for a sign of life so often; it is given up after `commandTimeout`. Less than the `timeout` of the
   * Redis server, if it has one: it closes what is idle for so long. Defaults to 2 seconds.
   */
  readonly pingInterval?: Duration.DurationInput | undefined
  /** Longest pause between attempts to connect; the first is 50 milliseconds. Defaults to 2 seconds. */
  readonly retryInterval?: Duration.DurationInput | undefined
  /** Time that a channel is still listened to after it was left, in case it is joined again. Defaults to 1 second. */
  readonly linger?: Duration.DurationInput | undefined
}

/**
 * The address of a server, and who connects to it.
 *
 * @since 1.0.0
 * @category models
 */
export interface RedisServer {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly username: string | undefined
  readonly password: Redacted.Redacted | undefined
  readonly database: number
}

/**
 * How the servers belong together.
 *
 * @since 1.0.0
 * @category models
 */
export type RedisServers =
  | { readonly _tag: "Shards"; readonly servers: ReadonlyArray<RedisServer> }
  | { readonly _tag: "Cluster"; readonly seeds: ReadonlyArray<RedisServer> }
  | {
    readonly _tag: "Sentinel"
    readonly name: string
    readonly sentinels: ReadonlyArray<RedisServer>
    /** The master, all but its host and port. */
    readonly master: RedisServer
  }

/**
 * The options as they are used: times in milliseconds.
 *
 * @since 1.0.0
 * @category models
 */
export interface RedisConfig {
  readonly servers: RedisServers
  readonly tls: tls.ConnectionOptions
  readonly prefix: string
  readonly connectTimeout: number
  readonly commandTimeout: number
  readonly maxPending: number
  readonly maxPendingUnits: number
  readonly pingInterval: number
  readonly retryInterval: number
  readonly linger: number
}

const keys = [
  "url",
  "urls",
  "cluster",
  "sentinel",
  "username",
  "password",
  "database",
  "tls",
  "prefix",
  "connectTimeout",
  "commandTimeout",
  "maxPending",
  "maxPendingUnits",
  "pingInterval",
  "retryInterval",
  "linger"
] as const satisfies ReadonlyArray<keyof RedisOptions>

/** Fails the build when an option is not in the list. */
const complete: Exclude<keyof RedisOptions, typeof keys[number]> extends never ? true : never = true

/** Node's timers hold 2^31 - 1 ms; a longer one would fire at once. */
const longest = 2 ** 31 - 1

const millis = (key: keyof RedisOptions, actual: Duration.DurationInput | undefined, fallback: number, least = 1) => {
  if (actual === undefined) return fallback
  const duration = Duration.decodeUnknown(actual)
  const ms = duration._tag === "Some" ? Duration.toMillis(duration.value) : NaN
  // A negative duration is decoded as none.
  const isNegative = typeof actual === "number" ? actual < 0 : /^\s*-/.test(String(actual))
  if (!isNegative && ms >= least && ms <= longest) return ms
  throw new InvalidOption({
    key,
    expected: `a duration of at least ${least} ms such as "5 seconds" or a number of milliseconds, at most 24 days`,
    actual
  })
}

const whole = (key: keyof RedisOptions, actual: number | undefined, fallback: number, least: number) => {
  if (actual === undefined) return fallback
  if (Number.isSafeInteger(actual) && actual >= least) return actual
  throw new InvalidOption({ key, expected: `a whole number, at least ${least}`, actual })
}

const address = "an address such as redis://user:password@host:6379/0, or rediss:// for TLS"

/** What was given may have a password anywhere, above all if it is wrong: it is not in the error. */
const invalidAddress = (key: keyof RedisOptions, expected = address) =>
  new InvalidOption({ key, expected, actual: "something else, which may have a password in it" })

const decoded = (key: keyof RedisOptions, text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalidAddress(key, "% in a user or password to be written as %25")
  }
}

const server = (key: keyof RedisOptions, text: string, options: RedisOptions): RedisServer => {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const database = url === undefined || url.pathname.length < 2
    ? whole("database", options.database, 0, 0)
    : Number(url.pathname.slice(1))
  if (
    url === undefined || !["redis:", "rediss:"].includes(url.protocol) || url.hostname === "" ||
    !Number.isSafeInteger(database) || database < 0
  ) throw invalidAddress(key)
  const { password } = options
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 6379 : Number(url.port),
    tls: url.protocol === "rediss:" || options.tls === true,
    username: url.username === "" ? options.username : decoded(key, url.username),
    password: url.password !== ""
      ? Redacted.make(decoded(key, url.password))
      : typeof password === "string"
      ? Redacted.make(password)
      : password,
    database
  }
}

const list = (key: keyof RedisOptions, texts: ReadonlyArray<string>, options: RedisOptions) => {
  if (!Array.isArray(texts) || texts.length === 0) {
    throw invalidAddress(key, `a list of ${address}`)
  }
  const found = texts.map((text) => server(key, text, options))
  if (new Set(found.map(({ database, host, port }) => `${host}:${port}/${database}`)).size < found.length) {
    throw new InvalidOption({ key, expected: "each server once", actual: "one of them twice" })
  }
  return found
}

const serversOf = (options: RedisOptions): RedisServers => {
  const { cluster, sentinel, url, urls } = options
  const given = (["url", "urls", "cluster", "sentinel"] as const).filter((key) => options[key] !== undefined)
  if (given.length > 1) {
    throw new InvalidOption({ key: given.join(", "), expected: "only one of them", actual: "all of them" })
  }
  if (cluster !== undefined) {
    const seeds = list("cluster", cluster, options)
    const other = seeds.find(({ database }) => database !== 0)
    if (other !== undefined) throw new InvalidOption({ key: "database", expected: "0", actual: other.database })
    return { _tag: "Cluster", seeds }
  }
  if (sentinel !== undefined) {
    if (typeof sentinel.name !== "string" || sentinel.name === "") {
      throw new InvalidOption({ key: "sentinel", expected: "the name of the master", actual: sentinel.name })
    }
    const sentinels = list("sentinel", sentinel.urls, { tls: options.tls })
    const isTls = options.tls !== undefined && options.tls !== false || sentinels.some(({ tls }) => tls)
    return {
      _tag: "Sentinel",
      name: sentinel.name,
      sentinels,
      master: { ...server("sentinel", "redis://master", options), tls: isTls }
    }
  }
  return {
    _tag: "Shards",
    servers: urls === undefined
      ? [server("url", url ?? "redis://127.0.0.1:6379", options)]
      : list("urls", urls, options)
  }
}

const prefixOf = ({ prefix = "hub" }: RedisOptions): string => {
  if (typeof prefix === "string" && /^[^{}]+$/.test(prefix)) return prefix
  throw new InvalidOption({ key: "prefix", expected: "text without { and }", actual: prefix })
}

/**
 * Checks the options and fills in the defaults. The error names the option that is wrong.
 *
 * @since 1.0.0
 * @category constructors
 */
export const make = (options: RedisOptions = {}): Either.Either<RedisConfig, InvalidOption> =>
  Either.try({
    try: (): RedisConfig => {
      const known: ReadonlyArray<string> = complete ? keys : []
      const unknown = Object.keys(options).find((key) => !known.includes(key))
      if (unknown !== undefined) {
        throw new InvalidOption({ key: unknown, expected: `one of ${keys.join(", ")}`, actual: unknown })
      }
      return {
        servers: serversOf(options),
        tls: typeof options.tls === "object" ? options.tls : {},
        prefix: prefixOf(options),
        connectTimeout: millis("connectTimeout", options.connectTimeout, 5_000),
        commandTimeout: millis("commandTimeout", options.commandTimeout, 3_000),
        maxPending: whole("maxPending", options.maxPending, 50_000, 1),
        maxPendingUnits: whole("maxPendingUnits", options.maxPendingUnits, 67_108_864, 1),
        pingInterval: millis("pingInterval", options.pingInterval, 2_000),
        retryInterval: millis("retryInterval", options.retryInterval, 2_000),
        linger: millis("linger", options.linger, 1_000, 0)
      }
    },
    catch: (error) => {
      if (error instanceof InvalidOption) return error
      throw error
    }
  })
