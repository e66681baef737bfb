/**
 * What the server is told, by a file, by the environment and by flags, checked.
 */
import type * as FileSystem from "@effect/platform/FileSystem"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { hostname } from "node:os"
import type { NamespacesOptions } from "../channels/Namespace.js"
import * as HubConfig from "../core/HubConfig.js"
import * as BrokerConfig from "./BrokerConfig.js"
import * as Checks from "./Checks.js"
import * as ConfigFile from "./ConfigFile.js"
import { Configuration } from "./Configuration.js"
import { millis, origin } from "./Leaf.js"
import * as LibraryOptions from "./LibraryOptions.js"
import * as Problems from "./Problems.js"
import { type Environment, fileSetting, type Flags, flagValue, type Given, join, valueAt } from "./Sources.js"
import * as Telemetry from "./Telemetry.js"
import { Unusable } from "./Unusable.js"

/**
 * How tokens of clients are checked.
 */
export interface TokenConfig {
  readonly hmacSecret: Redacted.Redacted | undefined
  readonly rsaPublicKey: string | undefined
  readonly ecdsaPublicKey: string | undefined
  readonly ed25519PublicKey: string | undefined
  readonly jwksUrl: string | undefined
  readonly audience: string | undefined
  readonly issuer: string | undefined
  /** Milliseconds. */
  readonly leeway: number
}

/** Settings that are options of the channels service by the same name. */
const channelTimes = [
  "pingInterval",
  "pongTimeout",
  "staleTimeout",
  "expiredDelay",
  "presenceInterval",
  "presenceTtl",
  "positionCheckInterval"
] as const
const channelCounts = ["channelLimit", "userConnections", "recoveryLimit", "historyLimit"] as const

/**
 * Clients of channels.
 */
export interface ClientConfig {
  readonly allowAnonymous: boolean
  readonly insecure: boolean
  readonly token: TokenConfig
  /** What was given of them, with times in milliseconds. */
  readonly options: Readonly<Partial<Record<typeof channelTimes[number] | typeof channelCounts[number], number>>>
  readonly personalChannel: {
    readonly enabled: boolean
    readonly namespace: string
    readonly singleConnection: boolean
  }
}

/**
 * The configuration of the server.
 */
export interface ServerConfig {
  /** Of this node. */
  readonly name: string
  readonly host: string
  readonly port: number
  readonly origins: "same" | "loopback" | "any" | ReadonlyArray<string>
  readonly trustedProxies: ReadonlyArray<string>
  readonly hub: HubConfig.HubConfig
  readonly limits: HubConfig.HubOptions
  readonly client: ClientConfig
  readonly apiKeys: ReadonlyArray<Redacted.Redacted>
  readonly namespaces: NamespacesOptions
  readonly broker: BrokerConfig.BrokerConfig
  /** Where traces are sent. Absent: there are none. */
  readonly telemetry: Telemetry.TelemetryConfig | undefined
  /** Nothing is configured that says who may do what. */
  readonly development: boolean
}

/**
 * What was loaded, and where its parts came from.
 */
export interface Loaded {
  readonly config: ServerConfig
  readonly sourceAt: Given["sourceAt"]
  /** As it was given, with secrets. */
  readonly value: unknown
}

/** For trying things out on one's own machine: everything is there, and everyone may use it. */
const developmentChannels: NamespacesOptions = {
  withoutNamespace: {
    presence: true,
    joinLeave: true,
    historySize: 100,
    historyTtl: "300 seconds",
    forceRecovery: true,
    allowPresenceForClient: true,
    allowPresenceForAnonymous: true,
    allowHistoryForClient: true,
    allowHistoryForAnonymous: true
  }
}

/** Any of these decides who may do what; so does `client.insecure: false`. */
const decisive = [["client", "allowAnonymous"], ["channels"], ["api", "keys"]]

const isDevelopment = (value: unknown): boolean =>
  decisive.every((path) => valueAt(value, path) === undefined) &&
  Object.keys(valueAt(value, ["client", "token"]) ?? {}).length === 0 &&
  valueAt(value, ["client", "insecure"]) !== false

const time = (input: string | number | undefined, fallback: number): number =>
  (input === undefined ? undefined : millis(input)) ?? fallback

const clientOf = (client: NonNullable<Configuration["client"]>, insecure: boolean): ClientConfig => ({
  allowAnonymous: client.allowAnonymous ?? false,
  insecure,
  token: {
    hmacSecret: client.token?.hmacSecret,
    rsaPublicKey: client.token?.rsaPublicKey,
    ecdsaPublicKey: client.token?.ecdsaPublicKey,
    ed25519PublicKey: client.token?.ed25519PublicKey,
    jwksUrl: client.token?.jwksUrl,
    audience: client.token?.audience,
    issuer: client.token?.issuer,
    leeway: time(client.token?.leeway, 0)
  },
  options: Object.fromEntries([
    ...channelTimes.map((key) => [key, client[key] === undefined ? undefined : millis(client[key])] as const),
    ...channelCounts.map((key) => [key, client[key]] as const)
  ].filter(([, value]) => value !== undefined)),
  personalChannel: {
    enabled: client.personalChannel?.enabled ?? false,
    namespace: client.personalChannel?.namespace ?? "",
    singleConnection: client.personalChannel?.singleConnection ?? false
  }
})

/** Where this machine is all that lets somebody in, no page may be from elsewhere under a name that leads here. */
const originsOf = (given: ReadonlyArray<string>, onlyHere: boolean): ServerConfig["origins"] => {
  const origins = given.map((text) => origin(text) ?? text)
  return origins.length === 0 ? (onlyHere ? "loopback" : "same") : origins.includes("any") ? "any" : origins
}

const configOf = (given: Configuration, development: boolean): ServerConfig => {
  const limits = LibraryOptions.hub(given)
  const host = given.http?.host ?? "127.0.0.1"
  const client = clientOf(given.client ?? {}, given.client?.insecure ?? (development && Checks.isLoopback(host)))
  return {
    name: given.node?.name ?? hostname(),
    host,
    port: given.http?.port ?? 8000,
    origins: originsOf(given.http?.allowedOrigins ?? [], client.insecure && Checks.isLoopback(host)),
    trustedProxies: given.http?.trustedProxies ?? [],
    hub: Either.getOrElse(HubConfig.make(limits), () => Either.getOrThrow(HubConfig.make())),
    limits,
    client,
    apiKeys: given.api?.keys ?? [],
    namespaces: development ? developmentChannels : given.channels ?? {},
    broker: BrokerConfig.make(given.broker),
    telemetry: Telemetry.make(given.telemetry),
    development
  }
}

const decode = Schema.decodeUnknownEither(Configuration, { errors: "all", onExcessProperty: "error" })

/**
 * Checks what was given. The error has a line for each thing that is wrong; what passes can be built.
 */
export const check = ({ problems, sourceAt, value }: Given): Effect.Effect<Loaded, Unusable> =>
  Effect.gen(function*() {
    const decoded = decode(value)
    if (Either.isLeft(decoded)) {
      const found = [...problems, ...Problems.lines(decoded.left, Configuration.ast, sourceAt)]
      return yield* new Unusable({ message: found.join("\n") })
    }
    const given = decoded.right
    const config = configOf(given, isDevelopment(value))
    const found = [
      ...problems,
      ...[
        ...Checks.all(config, given),
        ...BrokerConfig.problems(config.broker, given.broker),
        ...Telemetry.problems(given.telemetry)
      ].map(({ message, path }) => `${Problems.nameAt(path, sourceAt)}: ${message}`),
      ...(yield* LibraryOptions.problems(config, sourceAt))
    ]
    return found.length > 0 ? yield* new Unusable({ message: found.join("\n") }) : { config, sourceAt, value }
  })

/**
 * Reads the configuration from flags, variables and a file that was read. The error names each value that is wrong.
 */
export const load = (
  flags: Flags,
  environment: Environment,
  file?: ConfigFile.ConfigFile
): Effect.Effect<ServerConfig, Unusable> => Effect.map(check(join(flags, environment, file)), ({ config }) => config)

/** Only a variable can be empty: the command line refuses a flag without a value. */
const nameless = (name: string): ConfigFile.ConfigFile => ({
  name: fileSetting.variable,
  value: undefined,
  problems: [
    `${fileSetting.variable}: expected the name of a file, got ${
      JSON.stringify(name)
    }. Name one, or unset the variable.`
  ]
})

/**
 * Reads the file that a flag or a variable names, if there is one, and with it the configuration.
 */
export const loadAll = (
  flags: Flags,
  environment: Environment
): Effect.Effect<Loaded, Unusable, FileSystem.FileSystem> =>
  Effect.gen(function*() {
    const name = flagValue(flags, fileSetting.variable) ?? environment[fileSetting.variable]
    const file = name === undefined ? undefined : name.trim() === "" ? nameless(name) : yield* ConfigFile.read(name)
    return yield* check(join(flags, environment, file))
  })

/**
 * What to say when clients need no permission: in development mode, or since the configuration says so.
 */
export const warning = ({ client, development, host }: ServerConfig): Option.Option<string> =>
  client.insecure
    ? Option.some(
      `${
        development
          ? "development mode, since neither tokens nor channels nor API keys are configured"
          : "client.insecure is true"
      }: ${
        Checks.isLoopback(host) ? "everyone on this machine" : "everyone who reaches this address"
      } may do everything.${
        development
          ? " `effect-ws-hub gen-config` prints a configuration to begin with."
          : " This is for development only."
      }`
    )
    : Option.none()

/**
 * All that `serve` warns of: what `warning` says, and what the library says of tokens.
 */
export const warnings = (config: ServerConfig): ReadonlyArray<string> => {
  const { hmacSecret } = config.client.token
  return [
    ...Option.toArray(warning(config)),
    ...(hmacSecret !== undefined && Redacted.value(hmacSecret).length < 32
      ? ["hmacSecret is shorter than 32 characters: it can be guessed from any token."]
      : [])
  ]
}
