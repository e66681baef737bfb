/**
 * What the configuration means for the library: the options of its parts, which settings they are, and what the library
 * would refuse. What is not refused here can be built.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ChannelsConfig from "../channels/ChannelsConfig.js"
import * as Tokens from "../channels/Tokens.js"
import * as HubConfig from "../core/HubConfig.js"
import { InvalidOption } from "../core/HubError.js"
import type { Configuration } from "./Configuration.js"
import * as Problems from "./Problems.js"
import type { ServerConfig } from "./ServerConfig.js"

/**
 * Of the hub. `client.queueMaxSize` is another name of `limits.outboxBytes`.
 */
export const hub = ({ client, limits }: Configuration): HubConfig.HubOptions => ({
  ...(client?.queueMaxSize === undefined ? {} : { outboxBytes: client.queueMaxSize }),
  ...limits
  // Each of them was read by `HubConfig`.
} as HubConfig.HubOptions)

/**
 * Of the channels service.
 */
export const channels = ({ client, name, namespaces }: ServerConfig): ChannelsConfig.ChannelsOptions => {
  const { enabled, ...personalChannel } = client.personalChannel
  return {
    ...namespaces,
    ...client.options,
    name,
    insecure: client.insecure,
    personalChannel: enabled ? personalChannel : undefined
  }
}

/**
 * Of who may connect. Not `insecure`, which would be a second warning beside the program's own.
 */
export const tokens = ({ client }: ServerConfig): Tokens.TokensOptions => ({
  ...client.token,
  allowAnonymous: client.allowAnonymous || client.insecure
})

const ofLimit: Problems.Where = (key) => ["limits", key]

const ofChannels: Problems.Where = (key) => {
  const path = key.split(".")
  return [path[0] === "namespaces" || path[0] === "withoutNamespace" ? "channels" : "client", ...path]
}

const ofToken: Problems.Where = (key) => key === "allowAnonymous" ? ["client", key] : ["client", "token", key]

const isNobody = ({ actual, key }: InvalidOption): boolean => key === "hmacSecret" && actual === undefined

/** That nobody can connect, with the way out that the library does not have. */
const withInsecure = (error: InvalidOption, sourceAt: Problems.SourceAt): InvalidOption => {
  const { actual, expected, key } = error
  const insecure = Problems.mention(["client", "insecure"], sourceAt)
  return isNobody(error) && insecure !== undefined
    ? new InvalidOption({
      key,
      actual,
      expected: expected.replace(" or allowAnonymous", `, allowAnonymous or ${insecure}`)
    })
    : error
}

/**
 * What the library would refuse, a line each. That nobody can connect in development mode is for want of an address of
 * this machine, which `Checks` tells with the ways out.
 */
export const problems = (config: ServerConfig, sourceAt: Problems.SourceAt): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(Tokens.problems(tokens(config)), (ofTokens) => [
    ...Either.match(HubConfig.make(config.limits), {
      onLeft: (error) => [Problems.ofOption(error, ofLimit, sourceAt)],
      onRight: () => []
    }),
    ...ChannelsConfig.problems(channels(config)).map((error) => Problems.ofOption(error, ofChannels, sourceAt)),
    ...ofTokens.filter((error) => !(config.development && isNobody(error))).map((error) =>
      Problems.ofOption(withInsecure(error, sourceAt), ofToken, sourceAt)
    )
  ])
