/**
 * What neither the schema nor the library can say: settings of the program that do not go together.
 */
import { isIPv4 } from "node:net"
import type { Configuration } from "./Configuration.js"
import type { Problem } from "./Problems.js"
import type { ServerConfig } from "./ServerConfig.js"

/**
 * Whether only this machine reaches a host. Names other than `localhost` may lead anywhere.
 */
export const isLoopback = (host: string): boolean => {
  const plain = host.toLowerCase().replace(/^::ffff:/, "")
  return plain === "localhost" || plain === "::1" || (isIPv4(plain) && plain.startsWith("127."))
}

const problem = (path: string, message: string): Problem => ({ path: path.split("."), message })

const development = ({ client, development, host }: ServerConfig): ReadonlyArray<Problem> =>
  development && !client.insecure && !isLoopback(host)
    ? [problem(
      "http.host",
      `${host} can be reached from other machines, and nothing says who may do what. Configure tokens, channels or API keys` +
        " (`effect-ws-hub gen-config` prints a configuration to begin with), or say --client-insecure to let everyone do everything."
    )]
    : []

/** Of one source: `Sources` drops the one of an earlier source. */
const outbox = ({ client, limits }: Configuration): ReadonlyArray<Problem> => {
  const [queueMaxSize, outboxBytes] = [client?.queueMaxSize, limits?.outboxBytes]
  return queueMaxSize === undefined || outboxBytes === undefined || queueMaxSize === outboxBytes
    ? []
    : [problem(
      "client.queueMaxSize",
      `it is ${queueMaxSize}, and limits.outboxBytes is ${outboxBytes}: both are the bytes that wait for a client. Give one of them.`
    )]
}

/** What a channel that is not there has no use for. What says the same as its default is no mistake. */
const personalChannel = ({ client: { personalChannel } }: ServerConfig): ReadonlyArray<Problem> =>
  personalChannel.enabled
    ? []
    : (["namespace", "singleConnection"] as const).filter((key) => Boolean(personalChannel[key])).map((key) =>
      problem(`client.personalChannel.${key}`, "is for client.personalChannel.enabled: true.")
    )

/**
 * All that does not go together.
 */
export const all = (config: ServerConfig, given: Configuration): ReadonlyArray<Problem> => [
  ...development(config),
  ...personalChannel(config),
  ...outbox(given)
]
