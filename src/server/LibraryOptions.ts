/**
 * What the configuration means for the library: the options of its parts, which settings they are, and what the library
 * would refuse. What is not refused here can be built.
 */
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ChannelsConfig from "../channels/ChannelsConfig.js"
import * as Tokens from "../channels/Tokens.js"
import * as HubConfig from "../core/HubConfig.js"
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

/**
 * What the library would refuse, a line each.
 */
export const problems = (config: ServerConfig, sourceAt: Problems.SourceAt): Effect.Effect<ReadonlyArray<string>> =>
  Effect.map(Tokens.problems(tokens(config)), (ofTokens) => [
    ...Either.match(HubConfig.make(config.limits), {
      onLeft: (error) => [Problems.ofOption(error, ofLimit, sourceAt)],
      onRight: () => []
    }),
    ...ChannelsConfig.problems(channels(config)).map((error) => Problems.ofOption(error, ofChannels, sourceAt)),
    ...ofTokens.map((error) => Problems.ofOption(error, ofToken, sourceAt))
  ])
