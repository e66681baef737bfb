/**
 * Channels as the program serves them: who may connect, where, and the server API.
 */
import * as Layer from "effect/Layer"
import * as Channels from "../channels/Channels.js"
import * as ChannelsLive from "../channels/ChannelsLive.js"
import * as Tokens from "../channels/Tokens.js"
import * as NodeServerApi from "../node/NodeServerApi.js"
import * as NodeUpgrade from "../node/NodeUpgrade.js"
import type { ServerConfig } from "./ServerConfig.js"

/** What `ChannelsLive` reads as no limit. */
const limit = (count: number): number => count === Infinity ? 0 : count

/**
 * The channels service.
 */
export const channels = ({ client, namespaces }: ServerConfig, version: string) => {
  const { enabled, ...personalChannel } = client.personalChannel
  return ChannelsLive.layer({
    ...namespaces,
    insecure: client.insecure,
    version,
    pingInterval: client.pingInterval,
    pongTimeout: client.pongTimeout,
    channelLimit: limit(client.channelLimit),
    personalChannel: enabled ? personalChannel : undefined
  }).pipe(
    // Not `insecure`, which would be a second warning beside the program's own.
    Layer.provide(Tokens.layer({ ...client.token, allowAnonymous: client.allowAnonymous || client.insecure }))
  )
}

/**
 * `/connection/websocket`, and the server API if there are keys for it.
 */
export const routes = ({ apiKeys, origins, trustedProxies }: ServerConfig) =>
  Layer.merge(
    NodeUpgrade.layer("/connection/websocket", { ...Channels.mount, origins, trustedProxies }),
    NodeServerApi.layer({ keys: apiKeys })
  )
