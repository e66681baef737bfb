/**
 * What the command is told, by flags and by the environment, checked.
 */
import * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as HubConfig from "../core/HubConfig.js"
import type { InvalidOption } from "../core/HubError.js"
import { settingOf } from "./Settings.js"

/**
 * The configuration of the server.
 */
export interface ServerConfig {
  readonly host: string
  readonly port: number
  readonly origins: "same" | "any" | ReadonlyArray<string>
  readonly trustedProxies: ReadonlyArray<string>
  readonly hub: HubConfig.HubConfig
  readonly limits: HubConfig.HubOptions
}

/**
 * A setting has a value it cannot have, or the command line is wrong. The message says all of it.
 */
export class Unusable extends Data.TaggedError("Unusable")<{ readonly message: string }> {}

/** The values of flags, by the variable that they win over. */
export type Flags = ReadonlyMap<string, string>

const checked = (key: string, expected: string, parse: (text: string) => string | undefined) =>
  Config.string(key).pipe(Config.mapOrFail((text) => {
    const value = parse(text.trim())
    return value === undefined
      ? Either.left(ConfigError.InvalidData([], `Expected ${expected}, got ${JSON.stringify(text)}`))
      : Either.right(value)
  }))

const list = (key: string, expected: string, parse: (text: string) => string | undefined) =>
  Config.string(key).pipe(
    Config.mapOrFail((text) =>
      Either.mapLeft(
        Either.all(text.split(",").map((part) => Either.fromNullable(parse(part.trim()), () => part))),
        (part) => ConfigError.InvalidData([], `Expected ${expected}, got ${JSON.stringify(part)}`)
      )
    ),
    Config.withDefault<ReadonlyArray<string>>([])
  )

const port = (text: string) => /^\d{1,5}$/.test(text) && Number(text) <= 65535 ? text : undefined

const host = (text: string) => /^[\w.:%-]+$/.test(text) ? text : undefined

/** Browsers write an origin in lower case and without the port that its scheme has anyway. */
const origin = (text: string): string | undefined => {
  if (text === "any") return text
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^/?#@\s]+$/i.test(text) || !URL.canParse(text)) return undefined
  const standard = new URL(text).origin
  return standard === "null" ? text.toLowerCase() : standard
}

const config = Config.all({
  host: Config.withDefault(checked("HOST", "an IP address or a host name", host), "127.0.0.1"),
  port: Config.withDefault(checked("PORT", "a whole number from 0 to 65535", port), "8000"),
  origins: list("ALLOWED_ORIGINS", "origins such as https://app.example, without a path, or \"any\"", origin),
  trustedProxies: list("TRUSTED_PROXIES", "IP addresses or CIDR ranges such as 10.0.0.0/8", (text) => text || undefined)
}).pipe(Config.nested("HUB"), Config.zip(HubConfig.config))

const leaves = (
  error: ConfigError.ConfigError
): ReadonlyArray<Exclude<ConfigError.ConfigError, { _op: "And" | "Or" }>> =>
  error._op === "And" || error._op === "Or" ? [...leaves(error.left), ...leaves(error.right)] : [error]

/** How the user gave the value of a variable: the name to look for. */
const source = (variable: string, flags: Flags): string =>
  flags.has(variable) ? settingOf(variable.slice("HUB_".length).toLowerCase())?.flag ?? variable : variable

/**
 * What is wrong with an option, by the names under which the user knows it.
 */
export const describeOption = (error: InvalidOption, flags: Flags): string =>
  error.message.replace(/^[a-z]+\b|\b[a-z]+(?:[A-Z][a-z]+)+\b/g, (key) => {
    const setting = settingOf(key)
    return setting === undefined ? key : source(setting.variable, flags)
  })

const variableOf = (path: ReadonlyArray<string>): string => {
  const name = path.join("_")
  return name.startsWith("HUB_") ? name : `HUB_${name}`
}

const describe = (error: ConfigError.ConfigError, flags: Flags): string =>
  leaves(error).map(({ message, path }) =>
    `${source(variableOf(path), flags)}: ${message.charAt(0).toLowerCase()}${message.slice(1)}.`
  ).join("\n")

/**
 * Reads the configuration. The error names every flag and variable whose value is wrong.
 */
export const load = (
  flags: Flags,
  environment: Readonly<Record<string, string | undefined>>
): Effect.Effect<ServerConfig, Unusable> =>
  Effect.gen(function*() {
    const values = new Map<string, string>()
    for (const [name, value] of Object.entries(environment)) {
      if (name.startsWith("HUB_") && value !== undefined) values.set(name, value)
    }
    for (const [name, value] of flags) values.set(name, value)
    const provider = ConfigProvider.fromMap(values, { pathDelim: "_" })
    const [server, limits] = yield* Effect.mapError(
      provider.load(config),
      (error) => new Unusable({ message: describe(error, flags) })
    )
    const hub = yield* Effect.mapError(
      HubConfig.make(limits),
      (error) => new Unusable({ message: describeOption(error, flags) })
    )
    return {
      host: server.host,
      port: Number(server.port),
      origins: server.origins.length === 0 ? "same" : server.origins.includes("any") ? "any" : server.origins,
      trustedProxies: server.trustedProxies,
      hub,
      limits
    }
  })
