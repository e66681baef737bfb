/**
 * What a schema cannot say: values that do not go together, and keys that nobody can read.
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import { createPublicKey } from "node:crypto"
import { isIPv4 } from "node:net"
import type { NamespaceOptions } from "../channels/Namespace.js"
import type { Problem } from "./Problems.js"
import type { ServerConfig } from "./ServerConfig.js"

/**
 * Whether only this machine reaches a host. Names other than `localhost` may lead anywhere.
 */
export const isLoopback = (host: string): boolean => {
  const plain = host.toLowerCase().replace(/^::ffff:/, "")
  return plain === "localhost" || plain === "::1" || (isIPv4(plain) && plain.startsWith("127."))
}

type Check = (config: ServerConfig) => ReadonlyArray<Problem>

const problem = (path: string, message: string): Problem => ({ path: path.split("."), message })

const development: Check = ({ client, development, host }) =>
  development && !client.insecure && !isLoopback(host)
    ? [problem(
      "http.host",
      `${host} can be reached from other machines, and nothing says who may do what. Configure tokens, channels or API keys` +
        " (`effect-ws-hub gen-config` prints a configuration to begin with), or say --client-insecure to let everyone do everything."
    )]
    : []

const pings: Check = ({ client: { pingInterval, pongTimeout } }) =>
  pingInterval > 0 && pongTimeout >= pingInterval
    ? [
      problem("client.pongTimeout", `expected less than client.pingInterval, which is ${pingInterval / 1000} seconds.`)
    ]
    : []

const types = { rsaPublicKey: "rsa", ecdsaPublicKey: "ec", ed25519PublicKey: "ed25519" } as const

const typeOf = (key: string): string | undefined => {
  try {
    return createPublicKey(key).asymmetricKeyType
  } catch {
    return undefined
  }
}

const keys: Check = ({ client: { token } }) =>
  (["rsaPublicKey", "ecdsaPublicKey", "ed25519PublicKey"] as const).flatMap((name) => {
    const key = token[name]
    if (key === undefined) return []
    const type = typeOf(key)
    if (type === types[name]) return []
    return [problem(
      `client.token.${name}`,
      `expected a public key of type ${types[name]}, got ${
        type === undefined ? "what cannot be read" : `one of ${type}`
      }.`
    )]
  })

const url: Check = ({ client: { token: { jwksUrl } } }) =>
  jwksUrl === undefined || URL.canParse(jwksUrl)
    ? []
    : [problem("client.token.jwksUrl", `expected a URL with http or https, got ${JSON.stringify(jwksUrl)}.`)]

const personal: Check = ({ client: { personalChannel: { enabled, namespace } }, namespaces }) => {
  const exists = namespace === ""
    ? namespaces.withoutNamespace !== undefined
    : Object.hasOwn(namespaces.namespaces ?? {}, namespace)
  return !enabled || exists ? [] : [problem(
    "client.personalChannel.namespace",
    namespace === ""
      ? "channels without a namespace are not configured: configure channels.withoutNamespace, or name a namespace."
      : `there is no namespace ${namespace}.`
  )]
}

const isOff = (input: number | string | undefined): boolean =>
  input === undefined ||
  Option.exists(Option.map(Duration.decodeUnknown(input), Duration.toMillis), (ms) => ms === 0)

const namespaceProblems = (path: ReadonlyArray<string>, options: NamespaceOptions): ReadonlyArray<Problem> => {
  const wanted = (["forceRecovery", "allowRecovery", "forcePositioning", "allowPositioning"] as const)
    .find((key) => options[key] === true)
  if (wanted === undefined) return []
  const recovers = wanted === "forceRecovery" || wanted === "allowRecovery"
  return [
    ...(recovers && ((options.historySize ?? 0) === 0 || isOff(options.historyTtl))
      ? [{ path: [...path, wanted], message: "needs a history: set historySize and historyTtl." }]
      : []),
    ...((options.overflow ?? "disconnect") === "disconnect"
      ? []
      : [{ path: [...path, "overflow"], message: `expected disconnect, since ${wanted} must not lose anything.` }])
  ]
}

const namespaces: Check = ({ namespaces: { namespaces = {}, withoutNamespace } }) => [
  ...(withoutNamespace === undefined ? [] : namespaceProblems(["channels", "withoutNamespace"], withoutNamespace)),
  ...Object.entries(namespaces).flatMap(([name, options]) =>
    namespaceProblems(["channels", "namespaces", name], options)
  )
]

const checks: ReadonlyArray<Check> = [development, pings, keys, url, personal, namespaces]

/**
 * All that does not go together.
 */
export const all: Check = (config) => checks.flatMap((check) => check(config))
